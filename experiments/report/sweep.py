"""A table is a sweep: cells that are runs of `experiments.run`, and rows that are made from them.

    TABLES = {"search/synthetic": Table(
        "Test functions: the best value after so many evaluations",
        {"ackley20-turbo": Cell("search/synthetic:ackley20,paper", {"method": "turbo"})},
        rows=...,
    )}

stands in `experiments/GROUP/tables.py`; `python -m experiments.report --fill search/synthetic`
makes the runs that are missing, each by its own command in its own folder, and writes the rows. A
run's folder is named by what identifies the run, so tables that need the same run share it. Runs
keep and resume themselves: a sweep that is killed goes on where its runs were, and holds nothing
itself.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import fnmatch
import importlib
import os
import queue
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from experiments.report.rows import Row, TableError, complete, from_run
from experiments.report.table import read_table, table_path, write_table
from experiments.runner import config as configs
from experiments.runner.checks import ConfigError, UserError, flatten, nearest
from experiments.runner.command import command_line
from experiments.runner.workdir import CONFIG, RESULTS, check_identity, read_results

ROOT = Path(__file__).resolve().parents[2]
RUN = "experiments.run"
Workdirs = Mapping[str, Path]  # of a table's finished cells, by the cell's name


class Cell(NamedTuple):
    """A run of a table.

    Attributes:
      config: as `--config` takes it.
      changes: values by dotted key, as `--config.KEY=VALUE`; `num_seeds` is among them.
      flags: further words of `experiments.run`, such as `--cpu_devices=2`.
      needs: other cells whose folders its rows read; whoever asks for it asks for them.
    """

    config: str
    changes: Mapping[str, Any] = {}
    flags: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()


def own_rows(name: str, workdirs: Workdirs) -> list[Row]:
    """The rows that the cell's run wrote; a single one is called by the cell's name."""
    found = read_results(workdirs[name] / RESULTS)["rows"]
    names = {row["name"] for row in found}
    return [{**row, "name": name} for row in found] if len(names) == 1 else list(found)


class Table(NamedTuple):
    """A table of results.

    Attributes:
      title: of its file.
      cells: its runs by name, in the order in which they are made.
      rows: `(name, workdirs) -> rows` of a cell, from its own folder and those of the finished
        others (a gap needs the optimum's); what the run's results.json knows (command's machine,
        commit, seconds, seeds) is filled in.
      draw: `(rows, workdirs, folder) -> paths` of its pictures, made from all rows of the table's
        file, and from the folders of the finished cells where curves are drawn.
    """

    title: str
    cells: Mapping[str, Cell]
    rows: Callable[[str, Workdirs], Iterable[Row]] = own_rows
    draw: Callable[[Sequence[Row], Workdirs, Path], Iterable[Path]] | None = None


class Job(NamedTuple):
    """A cell as it is run: its checked config, its folder, its command."""

    name: str
    config: ConfigDict
    workdir: Path
    words: tuple[str, ...]

    @property
    def command(self) -> str:
        return command_line(RUN, self.words)

    @property
    def is_done(self) -> bool:
        """Whether its run has ended, at the number of steps that is asked for."""
        found = read_results(self.workdir / RESULTS)
        return found.get("steps", found.get("step")) == self.config.steps

    @property
    def state(self) -> str:
        if self.is_done:
            return "done"
        return "begun" if (self.workdir / CONFIG).exists() else "missing"


class Filled(NamedTuple):
    """What `fill` came to: the rows of all finished cells, and why others failed, a line each."""

    rows: list[Row]
    failed: list[str]


def tables() -> dict[str, Table]:
    """Every table that is declared, by `GROUP/TABLE`."""
    found: dict[str, Table] = {}
    for path in sorted(ROOT.glob("experiments/*/tables.py")):
        module = importlib.import_module(f"experiments.{path.parent.name}.tables")
        found |= getattr(module, "TABLES", {})
    return found


def find(name: str) -> Table:
    """The table called `GROUP/TABLE`.

    Raises:
      TableError: there is none; the message lists those there are.
    """
    known = tables()
    if name in known:
        return known[name]
    near = nearest(name, known)
    hint = f"; did you mean {near}?" if near else ""
    raise TableError(f"--fill: expected one of {', '.join(known)}; got {name!r}{hint}")


def plan(
    table: Table,
    only: Sequence[str],
    overrides: Sequence[tuple[str, str]],
    folder: Path,
) -> list[Job]:
    """The cells that are asked for, and those that they need, their configs loaded and checked.

    Args:
      table: whose.
      only: patterns of cells' names; none for all.
      overrides: `--config.KEY=VALUE`, for each cell whose config has the key.
      folder: where runs have theirs.

    Raises:
      TableError: a pattern that matches no cell.
      ConfigError: a cell's config cannot be used, or no cell has an override's key.
      WorkdirError: a cell's folder holds another run.
    """
    asked = {n for n in table.cells if not only or any(fnmatch.fnmatch(n, o) for o in only)}
    asked |= {other for n in asked for other in table.cells[n].needs}
    names = [n for n in table.cells if n in asked]
    for pattern in only:
        if not fnmatch.filter(table.cells, pattern):
            near = nearest(pattern, table.cells)
            hint = f"; did you mean {near}?" if near else f": {', '.join(table.cells)}"
            raise TableError(f"--only: expected names of cells, got {pattern!r}{hint}")
    used: set[str] = set()
    jobs = []
    for name in names:
        cell = table.cells[name]
        changes = {key: str(value) for key, value in cell.changes.items()}
        known = flatten(configs.load(cell.config))
        changes |= {key: value for key, value in overrides if key in known}
        used |= {key for key, _ in overrides if key in known}
        config = configs.load(cell.config, list(changes.items()))
        stem = cell.config.replace("/", "-").replace(":", "-").replace(",", "-")
        workdir = folder / f"{stem}-{config.steps}-{configs.digest(config)[:8]}"
        changed = [f"--config.{key}={value}" for key, value in changes.items()]
        words = [f"--config={cell.config}", f"--workdir={workdir}", *changed, *cell.flags]
        check_identity(workdir, config)
        jobs.append(Job(name, config, workdir, tuple(words)))
    for key, _ in overrides:
        if key not in used:
            raise ConfigError(f"--config.{key}", "a key that a cell's config has", key)
    return jobs


def fill(
    name: str,
    jobs: Sequence[Job],
    *,
    workers: int,
    path: Path,
    say: Callable[[str], None] = print,
) -> Filled:
    """Makes the runs that are missing, some at a time, and writes the rows after each.

    Args:
      name: of the table, `GROUP/TABLE`.
      jobs: from `plan`.
      workers: runs at once, each on its own core where there are several.
      path: of the table's file.
      say: takes a line at a time.

    Raises:
      KeyboardInterrupt: the runs have been told to save, and have ended.
    """
    table = find(name)
    runs = {job.workdir: job for job in reversed(jobs)}  # a run that several cells need, once
    todo = [job for job in reversed(runs.values()) if not job.is_done]
    lock, failed = threading.Lock(), list[str]()
    rows = write(name, table, jobs, path)

    def ended(job: Job, code: int, seconds: float) -> None:
        with lock:
            if code or not job.is_done:
                failed.append(f"{job.name}: {_last_line(job)} (see {_log(job)})")
                say(f"{job.name}: failed")
                return
            say(f"{job.name}: done in {seconds:.0f} s")
            rows[:] = write(name, table, jobs, path)

    with _Children() as children, concurrent.futures.ThreadPoolExecutor(workers) as pool:
        cores: queue.Queue[int] = queue.Queue()
        for core in range(workers):
            cores.put(core)

        def one(job: Job) -> None:
            core, since = cores.get(), time.monotonic()
            try:
                if not children.stopping:
                    code = children.run([*_started(core, workers), *_python(job)], _log(job))
                    if not children.stopping:
                        ended(job, code, time.monotonic() - since)
            finally:
                cores.put(core)

        list(pool.map(one, todo))
        if children.stopping:
            raise KeyboardInterrupt
    return Filled(rows, failed)


def write(name: str, table: Table, jobs: Sequence[Job], path: Path) -> list[Row]:
    """Writes the rows of the finished cells into the table's file; returns them.

    Raises:
      TableError: a row is not as agreed; the file stays as it was.
    """
    done = {job.name: job for job in jobs if job.is_done}
    workdirs = finished(jobs)
    rows: list[Row] = []
    for cell, job in done.items():
        ended = read_results(job.workdir / RESULTS)
        known = {key: ended.get(key) for key in ("machine", "commit", "seconds", "seeds")}
        known |= {"command": recorded_command(name, cell), "config": _described(job)}
        own = {"command": known["command"], "config": known["config"]}
        rows += [from_run(complete({**row, **own}, known)) for row in table.rows(cell, workdirs)]
    if rows:
        write_table(path, table.title, rows, whole=True)
    return rows


def finished(jobs: Sequence[Job]) -> Workdirs:
    """Folders of the cells whose runs have ended, by name."""
    return {job.name: job.workdir for job in jobs if job.is_done}


def recorded_command(name: str, cell: str) -> str:
    """The command by which a cell's rows are measured again."""
    return command_line("experiments.report", ("--fill", name, "--only", cell))


def check_record(name: str, overrides: Sequence[tuple[str, str]]) -> None:
    """Refuses to record what the table's own command would not measure again.

    Raises:
      UserError: settings were overridden.
    """
    if overrides:
        changed = " ".join(f"--config.{key}={value}" for key, value in overrides)
        raise UserError(
            f"--record: expected the cells as {name} declares them, got {changed}; "
            "without --record the rows go into the folder of the runs"
        )


def listing(name: str, jobs: Sequence[Job]) -> str:
    """What a table needs, what is there, and what each cell took when it was recorded."""
    path = table_path(name)
    recorded = read_table(path).rows if path.exists() else []
    width = max((len(job.name) for job in jobs), default=0)
    lines = []
    for job in jobs:
        mine = recorded_command(name, job.name)
        seconds = [row["seconds"] for row in recorded if row["command"] == mine]
        took = f"{max(seconds) / 60:.1f} min" if seconds else "not recorded"
        lines.append(f"{job.name:{width}}  {job.state:8} {took:>13}  {job.command}")
    return "\n".join(lines)


def _described(job: Job) -> str:
    """The cell's config and changes, as a row says them."""
    words = [word.removeprefix("--config.") for word in job.words if word.startswith("--config.")]
    return " ".join([job.words[0].removeprefix("--config="), *words])


def _log(job: Job) -> Path:
    return job.workdir.with_name(job.workdir.name + ".log")


def _last_line(job: Job) -> str:
    with contextlib.suppress(OSError):
        lines = [line for line in _log(job).read_text().splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith(("error:", "stopped:"))]
        return (errors or lines or ["no output"])[-1]
    return "no output"


def _python(job: Job) -> list[str]:
    return [sys.executable, "-m", RUN, *job.words, "--quiet"]


def _started(core: int, workers: int) -> list[str]:
    """Words before a command: its own core, and an end where this process is killed outright.

    Two runs share two cores badly; and a run that went on alone would hold its folder.
    """
    code = ["import ctypes,os,sys"]
    if workers > 1 and hasattr(os, "sched_getaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        code.append(f"os.sched_setaffinity(0, {{{allowed[core % len(allowed)]}}})")
    if sys.platform == "linux":
        code.append("ctypes.CDLL(None).prctl(1, 15)")  # PR_SET_PDEATHSIG, SIGTERM
    return [sys.executable, "-c", "; ".join([*code, "os.execv(sys.argv[1], sys.argv[1:])"])]


class _Children:
    """Processes that are told to save and end where this one is interrupted or terminated."""

    def __init__(self) -> None:
        self.stopping = False
        self._running: set[subprocess.Popen[bytes]] = set()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> _Children:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._stop)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _stop(self, *_: object) -> None:
        self.stopping = True
        for child in list(self._running):
            child.send_signal(signal.SIGTERM)

    def run(self, words: Sequence[str], log: Path) -> int:
        """Runs a command to its end, its output appended to a file; returns its exit code."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as out:
            out.write(f"$ {shlex.join(words)}\n".encode())
            out.flush()
            # A session of its own: a terminal's Ctrl-C comes once, through this process.
            child = subprocess.Popen(
                words, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
            )
            self._running.add(child)
            if self.stopping:
                child.send_signal(signal.SIGTERM)
            try:
                return child.wait()
            finally:
                self._running.discard(child)
