"""What a run tells: metrics.jsonl, timing.jsonl, TensorBoard, and a progress bar.

`WORKDIR/metrics.jsonl` holds one JSON object a line, nothing in it depends on the clock, so two
runs of one config compare byte for byte:

    {"step": 100, "kind": "train", "phase": "train", "loss": 0.25, ...}       mean over one dispatch
    {"step": 100, "kind": "eval", "phase": "train", "tour_length": 4.5, ...}  what it returned

With several seeds each seed has its own line, with "seed": the number it ran with, followed by a
line without "seed" that holds the mean over the seeds. `WORKDIR/timing.jsonl` has the wall clock:

    {"step": 100, "seconds": 1.52, "updates": 100, "items": 12800}            since the line before
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from experiments.runner.checks import UserError
from experiments.runner.workdir import METRICS, TENSORBOARD, TIMING, replacing

Record = dict[str, Any]
SLOW = 2.0  # seconds; signals are heeded between dispatches


class Journal:
    """An append-only file of JSON lines that never holds a record beyond `step` after a resume.

    Args:
      path: the file, made if absent, with its folder.
      step: records of later steps are dropped, and so is a torn last line; None leaves the file as
        it is.
    """

    def __init__(self, path: Path, step: int | None = None) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        if step is not None:
            drop_beyond(path, step)
        self._file = path.open("ab")

    def write(self, record: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(record, allow_nan=False).encode() + b"\n")

    def sync(self) -> None:
        """Returns when all that was written is on disk."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self.sync()
        self._file.close()


def drop_beyond(path: Path, step: int) -> None:
    """Removes records beyond `step` and unreadable lines, by writing and replacing."""
    if not path.exists():
        return
    lines = path.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if line.endswith(b"\n") and _step_of(line) <= step]
    unreadable = sum(math.isinf(_step_of(line)) for line in lines[:-1])
    if unreadable:
        warnings.warn(f"{path}: {unreadable} unreadable lines dropped", stacklevel=2)
    if len(kept) == len(lines):
        return
    with replacing(path) as temporary, temporary.open("xb") as file:
        file.writelines(kept)
        file.flush()
        os.fsync(file.fileno())


def read(path: Path | str) -> list[Record]:
    """Reads a journal; a torn last line, of a run still being written, is left out.

    Raises:
      UserError: another line is no record; names the file and the line.
    """
    lines = Path(path).read_bytes().splitlines(keepends=True)
    whole = [line for line in lines if line.endswith(b"\n")]
    for number, line in enumerate(whole, 1):
        if math.isinf(_step_of(line)):
            raise UserError(
                f"{path}:{number}: expected a JSON object with a step, got {line[:40]!r}"
            )
    return [json.loads(line) for line in whole]


def _step_of(line: bytes) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf


def records(
    step: int, kind: str, phase: str, values: Mapping[str, Any], seeds: Sequence[int]
) -> list[Record]:
    """Makes the lines of one step.

    Args:
      step: updates done.
      kind: "train" or "eval".
      phase: the phase's name.
      values: each metric's value for each seed, [seeds], float64.
      seeds: the seeds, one or more.

    Returns:
      One record a seed and one with the mean; a single record, without "seed", for one seed.
    """
    head = {"step": step, "kind": kind, "phase": phase}
    names = sorted(values)
    mean = {**head, **{name: float(np.mean(values[name])) for name in names}}
    if len(seeds) == 1:
        return [mean]
    each = [
        {**head, "seed": seed, **{name: float(values[name][i]) for name in names}}
        for i, seed in enumerate(seeds)
    ]
    return [*each, mean]


class Board:
    """TensorBoard event files, if tensorboardX is installed."""

    def __init__(self, folder: Path, step: int) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            notice = 'TensorBoard files are not written: pip install "ncolab[metrics]"'
            print(notice, file=sys.stderr)
            self._writer = None
            return
        # Events beyond `step` were written by a run that was killed: TensorBoard hides them.
        self._writer = SummaryWriter(str(folder), purge_step=step + 1)

    def write(self, records: Iterable[Record]) -> None:
        if self._writer is None:
            return
        for record in records:
            seed = f"/seed_{record['seed']}" if "seed" in record else ""
            for name, value in record.items():
                if name not in ("step", "kind", "phase", "seed"):
                    tag = f"{record['kind']}/{name}{seed}"
                    self._writer.add_scalar(tag, value, record["step"])

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


class Progress:
    """A bar with rate, time left and the headline metric; or one line an evaluation.

    Args:
      start: steps that are done.
      steps: steps in all.
      headline: the metric that is shown.
      items: inputs a step, for the rate.
      quiet: no bar.
      first: what the bar says before the first phase.
    """

    def __init__(
        self, start: int, steps: int, headline: str, items: int, quiet: bool, first: str = ""
    ) -> None:
        self.steps, self.headline, self.items, self.done = steps, headline, items, start
        self.out: TextIO = sys.stdout
        self._since: tuple[float, int] | None = None  # when the first dispatch was ready, and at
        self._bar, self._headline, self._evaluations = None, "", 0
        if not quiet and sys.stderr.isatty():
            from tqdm import tqdm

            # Without tqdm's rate and time left, which count compiling as work.
            form = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]"
            look = {"bar_format": form, "dynamic_ncols": True, "desc": first}
            self._bar = tqdm(total=steps, initial=start, **look)

    def advance(self, step: int, phase: str) -> None:
        if self._bar is not None:
            self._bar.set_description(phase, refresh=False)
            self._bar.set_postfix_str(self._told(), refresh=False)
            self._bar.update(step - self.done)
        self.done = step
        if self._since is None:
            self._since = time.monotonic(), step

    def restart_clock(self) -> None:
        """Leaves what came so far out of the rate."""
        self._since = None

    def evaluated(
        self, step: int, phase: str, train: Mapping[str, Any], evals: Record, seconds: float = 0.0
    ) -> None:
        """Shows what was evaluated; of the first time most was compiling: it is no rate's."""
        self._evaluations += 1
        if self._since is not None and self._evaluations == 1:
            self._since = self._since[0] + seconds, self._since[1]
        self._headline = f"{self.headline} {evals[self.headline]:.6g}"
        if self._bar is not None:
            self._bar.set_postfix_str(self._told())
            return
        parts = [f"step {step}/{self.steps} ({phase})"]
        if "loss" in train:
            parts.append(f"loss {train['loss']:.5g}")
        parts.append(self._headline)
        if rate := self._rate():
            parts.append(f"{rate:.4g} steps/s")
            if step < self.steps:
                parts.append(self._left(rate))
        print("  ".join(parts), file=self.out, flush=True)

    def _told(self) -> str:
        """What the bar says beside how far it is: time left, items a second, the headline."""
        rate = self._rate()
        left = self._left(rate) if rate else ""
        items = f"{rate * self.items:.3g} items/s" if rate and self.items > 1 else ""
        return ", ".join(filter(None, (left, items, self._headline)))

    def _left(self, rate: float) -> str:
        return f"{duration((self.steps - self.done) / rate)} left"

    def say(self, text: str) -> None:
        """Prints a line without breaking the bar."""
        if self._bar is not None:
            self._bar.write(text)
        else:
            print(text, file=self.out, flush=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def _rate(self) -> float:
        if self._since is None or self.done == self._since[1]:
            return 0.0
        return (self.done - self._since[1]) / max(time.monotonic() - self._since[0], 1e-9)


def duration(seconds: float) -> str:
    """Returns a time as hours, minutes and seconds.

    >>> duration(3723.4)
    '1:02:03'
    """
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


class Writer:
    """All of the above for one run."""

    def __init__(self, workdir: Path, step: int, seeds: Sequence[int], progress: Progress) -> None:
        self.seeds, self.progress = seeds, progress
        self.metrics = Journal(workdir / METRICS, step)
        self.timing = Journal(workdir / TIMING, step)
        self.board = Board(workdir / TENSORBOARD, step)
        self._since, self._train = time.monotonic(), dict[str, Any]()
        self._ready, self._slow = time.monotonic(), 0

    def compiled(self) -> float:
        """Leaves a compilation that has just ended out of the rates; returns the time."""
        self.progress.restart_clock()
        return time.monotonic()

    def ready(self, since: float, chunk: int) -> None:
        """Notes that a dispatch is done that was begun at `since`; warns once if they take long."""
        now = time.monotonic()
        seconds, self._ready = now - max(since, self._ready), now
        self._slow += seconds > SLOW and chunk > 1
        if seconds > SLOW and self._slow == 2:  # one may have waited for another process
            better = max(1, int(chunk * SLOW / (2 * seconds)))
            self.progress.say(
                f"one dispatch of {chunk} updates took {seconds:.1f} s, so a signal waits as long; "
                f"a chunk of about {better} would be prompter"
            )

    def train(self, step: int, phase: str, values: Mapping[str, Any], updates: int) -> None:
        """Records the mean metrics of one dispatch, given as [seeds] a metric."""
        lines = records(step, "train", phase, values, self.seeds)
        for line in lines:
            self.metrics.write(line)
        self.board.write(lines)
        now = time.monotonic()
        self.timing.write(
            {
                "step": step,
                "seconds": round(now - self._since, 6),
                "updates": updates,
                "items": updates * self.progress.items * len(self.seeds),
            }
        )
        self._since, self._train = now, lines[-1]
        self.progress.advance(step, phase)

    def evaluated(
        self, step: int, phase: str, values: Mapping[str, Any], seconds: float = 0.0
    ) -> Record:
        """Records what was evaluated in some seconds, [seeds] a metric, and returns the mean."""
        lines = records(step, "eval", phase, values, self.seeds)
        for line in lines:
            self.metrics.write(line)
        self.board.write(lines)
        self.progress.evaluated(step, phase, self._train, lines[-1], seconds)
        return lines[-1]

    def sync(self) -> None:
        self.metrics.sync()
        self.timing.sync()

    def close(self) -> None:
        self.metrics.close()
        self.timing.close()
        self.board.close()
        self.progress.close()


class NullWriter:
    """The writer of processes other than the first."""

    def compiled(self) -> float:
        return time.monotonic()

    def ready(self, *_: Any) -> None: ...

    def train(self, *_: Any) -> None: ...

    def evaluated(self, *_: Any) -> None: ...

    def sync(self) -> None: ...

    def close(self) -> None: ...
