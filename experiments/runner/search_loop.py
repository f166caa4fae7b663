"""The search loop: ask, evaluate, tell, with every step in a journal before it counts.

A search that is killed at any moment and started again asks for the same trials in the same order,
given the same order of outcomes; what was asked for and has no outcome is evaluated again.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from experiments.runner import metrics as metric_files
from experiments.runner import search_journal
from experiments.runner.checks import ConfigError, UserError, plain
from experiments.runner.experiment import Finished, Search
from experiments.runner.metrics import Progress
from experiments.runner.one_thread import one_thread
from experiments.runner.search_journal import JOURNAL, Journal, JournalError, Replayed
from experiments.runner.workdir import METRICS, TIMING, WorkdirError, claim, write_config
from search.evaluate import Evaluator, InProcess, PoolError
from search.interface import ObjectiveError, Report, Trial, check_asked, check_working, told_of

PATIENCE_S = 0.5  # how long a signal may wait for an evaluation elsewhere
LINES = 50  # of progress, without a bar
USED_UP = "search in another folder: this one's trials are used up"


class Searched(NamedTuple):
    """A search as far as it has come.

    Attributes:
      seed: of the searcher.
      state: the searcher's last; None where the seed was over before this process began, and
        other seeds were not: then the points are as JSON has them.
      trials: all that were asked for, by id.
      reports: what became of each, by id; open trials have none.
      told: ids in the order in which the searcher was told.
      overhead_s: seconds in the searcher since this process took the search up.
    """

    seed: int
    state: Any
    trials: list[Trial]
    reports: dict[int, Report]
    told: list[int]
    overhead_s: float

    @property
    def best(self) -> tuple[Trial, float] | None:
        """The earliest told trial of the highest value, and the value; None where all failed."""
        good = [i for i in self.told if self.reports[i].outcome.status == "ok"]
        if not good:
            return None
        first = max(good, key=lambda i: self.reports[i].outcome.value)
        return self.trials[first], self.reports[first].outcome.value


def train(
    work: Search,
    config: ConfigDict,
    workdir: Path | str,
    *,
    devices: list[Any] | None = None,
    quiet: bool = True,
    profile: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> Finished:
    """Searches until each seed has its budget or its goal, from the journal in `workdir` on.

    Args:
      work: what to search with.
      config: `seed`, `num_seeds` (one search after another, each with a folder) and `steps` are
        read.
      workdir: made if absent; refused if it holds a run of another config or is in use.
      devices: ignored; an objective takes the devices that it likes.
      quiet: no progress bar.
      profile: ignored.
      stop: asked after each evaluation; where true, returns, and leaves open trials to the next
        start.

    Raises:
      WorkdirError: the workdir cannot be used, or its journal is not this search's.
      UserError: all of the first `work.give_up` trials of this start failed, and none before it had
        a value. The first failure is shown when it comes.
    """
    workdir = Path(workdir)
    if work.headline[1] not in ("max", "min"):
        raise ConfigError("headline", "max or min", work.headline[1])
    if work.require is not None:
        work.require()
    with claim(workdir, config), one_thread():
        write_config(workdir, config)
        budget = work.budget or config.steps
        total = budget * config.num_seeds
        name = f"best_{work.headline[0]}"
        seeds = [config.seed + index for index in range(config.num_seeds)]
        folders = [workdir / f"seed_{seed}" if len(seeds) > 1 else workdir for seed in seeds]
        several = len(seeds) > 1
        begun = [
            _resume(work, seed, folder, budget if several else None)
            for seed, folder in zip(seeds, folders, strict=True)
        ]
        done = sum(len(each.told) for each in begun)
        if any(len(each.told) > budget for each in begun):
            most = max(len(each.told) for each in begun)
            raise WorkdirError(f"{workdir} has done {most} steps, more than steps = {budget}")
        # Rewritten from the journal: what it holds follows from that.
        lines = metric_files.Journal(workdir / METRICS, -1)
        timing = metric_files.Journal(workdir / TIMING, done)
        progress = Progress(done, total, name, 1, quiet)
        finished, stopped = [], False
        try:
            for seed, folder, found in zip(seeds, folders, begun, strict=True):
                one = work if work.of_seed is None else work._replace(objective=work.of_seed(seed))
                told = _Told(one, config, seed, budget, lines, timing, progress)
                searched = _search(one, budget, seed, folder, found, told, stop)
                finished.append(searched)
                stopped = not told.is_over
                if stopped:
                    break
        finally:
            for each in (lines, timing, progress):
                each.close()
    return Finished(finished, sum(len(each.told) for each in finished), stopped)


def _resume(work: Search, seed: int, folder: Path, budget: int | None) -> Replayed:
    """The search so far; with a budget, without a state where it is over.

    Replaying takes as long as searching did: too long for seeds whose state nobody needs any more.
    """
    path = folder / JOURNAL
    records = search_journal.read(path)
    try:
        if budget is not None:
            found = search_journal.unreplayed(records)
            values = [found.reports[i].outcome.value for i in found.told]
            goal = math.inf if work.goal is None else work.goal
            if len(values) == budget or any(value >= goal for value in values):
                search_journal.replay(work.searcher, seed, records[:1])  # whose journal it is
                return found
        return search_journal.replay(work.searcher, seed, records)
    except JournalError as error:
        raise JournalError(f"{path}: {error}") from error


class _Told:
    """Records what the searcher is told: best so far, seconds, progress."""

    def __init__(
        self,
        work: Search,
        config: ConfigDict,
        seed: int,
        budget: int,
        lines: metric_files.Journal,
        timing: metric_files.Journal,
        progress: Progress,
    ) -> None:
        self._work, self._lines, self._timing, self._progress = work, lines, timing, progress
        self._seed = {"seed": seed} if config.num_seeds > 1 else {}
        self._every, self._last = max(1, budget // LINES), budget
        self._best, self._step, self._shown = -math.inf, 0, 0
        self._failure_shown = False
        self._since = time.monotonic()

    def note(self, report: Report) -> None:
        """Takes the next outcome in the order of the tells."""
        self._step += 1
        if report.outcome.status == "ok":
            self._best = max(self._best, report.outcome.value)
        if math.isfinite(self._best):
            self._lines.write(self._line())

    def heard(self, trial: Trial, report: Report) -> None:
        """Shows the first failure of this start."""
        if report.note and not self._failure_shown:
            self._failure_shown = True
            self._progress.say(told_of(trial, report))

    def check_working(self, trials: list[Trial], fresh: list[Report]) -> None:
        """Ends a search that has no value, and of whose trials of this start too many failed."""
        if math.isinf(self._best):
            first = [trials[report.outcome.id] for report in fresh]
            try:
                check_working(first, fresh, min(self._work.give_up, self._last))
            except ObjectiveError as error:
                again = USED_UP if self.is_over else "give the same command again"
                raise UserError(f"{error}\nmend the objective and {again}") from error

    @property
    def is_over(self) -> bool:
        """Whether the budget is used up, or the goal reached."""
        goal = math.inf if self._work.goal is None else self._work.goal
        return self._step >= self._last or self._best >= goal

    def replayed(self) -> None:
        """What was noted is on the bar, and in timing.jsonl, already."""
        self._shown, self._since = self._step, time.monotonic()

    def show(self, overhead_s: float) -> None:
        """Brings the bar and timing.jsonl up to what was noted."""
        before, self._shown = self._shown, self._step
        updates, step = self._step - before, self._progress.done + self._step - before
        self._progress.advance(step, "search")
        now = time.monotonic()
        self._timing.write(
            {"step": step, "seconds": round(now - self._since, 6), "updates": updates}
            | {"items": updates, "overhead_s": round(overhead_s, 6)}
        )
        self._since = now
        shown = self._step // self._every > before // self._every
        if math.isfinite(self._best) and (shown or self._step == self._last):
            self._progress.evaluated(step, "search", {}, self._line())

    def _line(self) -> dict[str, Any]:
        metric, mode = self._work.headline
        best = self._best if mode == "max" else -self._best
        head = {"step": self._step, "kind": "eval", "phase": "search"} | self._seed
        return head | {f"best_{metric}": best}


def _search(
    work: Search,
    budget: int,
    seed: int,
    folder: Path,
    found: Replayed,
    told: _Told,
    stop: Callable[[], bool],
) -> Searched:
    state, trials, reports, order = found
    trials, reports, order, overhead = list(trials), dict(reports), list(order), 0.0
    begun = len(order)
    for number in order:
        told.note(reports[number])
    told.replayed()
    if told.is_over:
        return Searched(seed, state, trials, reports, order, overhead)
    make = work.evaluator or InProcess
    evaluator: Evaluator
    journal = Journal(folder / JOURNAL)
    try:
        with make(work.objective) as evaluator:
            for trial in trials:
                if trial.id not in reports:
                    evaluator.submit(trial)
            while not told.is_over and not stop():
                since = time.perf_counter()
                ids = _to_tell(work, trials, reports, order)
                if ids:
                    journal.told(ids)
                    state = work.searcher.tell(state, [reports[i].outcome for i in ids])
                    order += ids
                    for number in ids:
                        told.note(reports[number])
                    told.check_working(
                        trials, [reports[i] for i in order[begun : begun + work.give_up]]
                    )
                wanted = 0 if told.is_over else _to_ask(work, budget, len(trials), len(order))
                if wanted:
                    state, asked = work.searcher.ask(state, wanted)
                    check_asked(asked, wanted)
                    journal.asked(asked)
                    trials += asked
                spent = time.perf_counter() - since
                overhead += spent
                if ids:
                    told.show(spent)
                if told.is_over:
                    break
                for trial in trials[len(trials) - wanted :]:
                    evaluator.submit(trial)
                if len(reports) == len(trials):
                    continue
                for report in evaluator.collect(PATIENCE_S):
                    journal.ended(report)
                    reports[report.outcome.id] = report
                    told.heard(trials[report.outcome.id], report)
                journal.sync()
    except PoolError as error:
        raise UserError(f"evaluate.kind: {error}") from error
    finally:
        journal.close()
    return Searched(seed, state, trials, reports, order, overhead)


def _to_tell(
    work: Search, trials: list[Trial], reports: dict[int, Report], told: list[int]
) -> list[int]:
    """Which outcomes to tell now: any, or, in step, those of a whole batch, by id."""
    known = set(told)
    ready = [number for number in reports if number not in known]
    if work.asynchronous:
        return ready
    return sorted(ready) if len(known) + len(ready) == len(trials) else []


def _to_ask(work: Search, budget: int, asked: int, told: int) -> int:
    """How many trials to ask for now."""
    still_open, left = asked - told, budget - asked
    if work.asynchronous:
        return max(0, min(work.batch_size - still_open, left))
    return min(work.batch_size, left) if still_open == 0 else 0


def best_row(name: str, work: Search, searched: Searched) -> list[dict[str, Any]]:
    """The row of a search that says no more than the best value, for its `finish`.

    Raises:
      UserError: every trial failed; says why the first did.
    """
    if searched.best is None:
        first = searched.told[0]
        why = told_of(searched.trials[first], searched.reports[first])
        words = f"{name}: expected a trial that did not fail; all of them did"
        raise UserError(f"{words}\n{why}\nmend the objective and {USED_UP}")
    value = searched.best[1] if work.headline[1] == "max" else -searched.best[1]
    return [
        {"name": name, "metric": f"best_{work.headline[0]}", "value": value, "n": 1, "unit": "seed"}
    ]


def best_points(work: Search, searches: Sequence[Searched]) -> list[dict[str, Any]]:
    """Where the best value of each seed was found: seed, trial, value and point, as JSON has it."""
    found = []
    for each in searches:
        if each.best is not None:
            trial, reward = each.best
            value = reward if work.headline[1] == "max" else -reward
            point = plain(trial.point)
            found.append({"seed": each.seed, "trial": trial.id, "value": value, "point": point})
    return found
