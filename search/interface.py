"""The one interface of every optimiser: `init`, `ask`, `tell`. Reward is maximised.

A searcher proposes points and learns what they are worth; it knows neither how a point is
evaluated nor where, so one loop serves an objective in this process, a pool and a cluster:

    state = searcher.init(seed)
    state, trials = searcher.ask(state, 4)
    outcomes = [score(trial, objective) for trial in trials]
    state = searcher.tell(state, outcomes)        # any of them, in any order, now or later

What a searcher promises (`tests/search/contract.py` checks it of each):

- its functions are pure: a state is a tree of NumPy arrays, numbers and tuples that is never
  changed in place, and there is no other state;
- randomness comes from the seed given to `init` and the number of the trial (`generator`), so the
  same calls in the same order give the same trials. A journal of the calls is a checkpoint;
- trials are numbered from 0 in the order in which they were asked;
- outcomes may come in another order than the trials, or never; a failed one (`status` other than
  "ok") is recorded, counts as an evaluation, and is not asked for again on that account;
- `ask(state, n)` always gives n trials. Where all points of a small space are known, points come
  again, so a search ends with its budget and not before.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

PyTree = Any
Point = Any  # a pytree of NumPy arrays, numbers, strings and tuples; most searchers: one array

STATUSES = ("ok", "failed", "timeout")
FAILURES = 5  # a search stops where so many of its first trials all failed


class Trial(NamedTuple):
    """A point to evaluate.

    Attributes:
        id: its number, from 0.
        point: where to evaluate; an array `[dim]` for the searchers over boxes and tables.
        seed: for whatever is random in the evaluation, from 0 to 2**31 - 1.
    """

    id: int
    point: Point
    seed: int


class Outcome(NamedTuple):
    """What became of a trial.

    Attributes:
        id: the trial's.
        value: the reward, higher is better; nan unless the status is "ok".
        status: one of `STATUSES`.
    """

    id: int
    value: float
    status: str


class Measured(NamedTuple):
    """What an objective may return in place of a reward: the reward, and what else it measured.

    Attributes:
        value: the reward.
        more: numbers, strings, and lists and dicts of them, for the journal; no searcher sees it.
    """

    value: float
    more: dict[str, Any]


class Report(NamedTuple):
    """How an evaluation ended.

    Attributes:
        outcome: for the searcher.
        note: what went wrong, in words for the journal; empty where nothing did.
        more: what the objective measured besides the reward, for the journal.
    """

    outcome: Outcome
    note: str
    more: dict[str, Any] | None = None


class ObjectiveError(ValueError):
    """All of the first trials of a search failed: its objective is broken, not unlucky."""


class Searcher(NamedTuple):
    """An optimiser, made by a factory such as `lanas.searcher(...)`.

    Attributes:
        init: `(seed) -> state`; the seed is a whole number of at least 0.
        ask: `(state, n) -> (state, n trials)`. Trials may be asked for while others are open.
        tell: `(state, outcomes) -> state`.
    """

    init: Callable[[int], PyTree]
    ask: Callable[[PyTree, int], tuple[PyTree, list[Trial]]]
    tell: Callable[[PyTree, Sequence[Outcome]], PyTree]


def generator(seed: int, *numbers: int) -> np.random.Generator:
    """The random numbers that belong to a seed and, say, a trial: always the same ones."""
    if seed < 0 or min(numbers, default=0) < 0:
        raise ValueError(f"seed, numbers: expected at least 0, got {(seed, *numbers)}")
    return np.random.default_rng([seed, *numbers])


def trial_seed(seed: int, number: int) -> int:
    """The seed of a trial's evaluation, from 0 to 2**31 - 1."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0]) >> 1


def score(trial: Trial, objective: Callable[[Point, int], float | Measured]) -> Outcome:
    """The outcome of evaluating a trial in this process, as `attempt` does."""
    return attempt(trial, objective).outcome


def attempt(trial: Trial, objective: Callable[[Point, int], float | Measured]) -> Report:
    """Evaluates a trial in this process. Whatever the objective does, there is a report.

    An exception, a number that is not finite, and what is no number are failures; the note says
    which, and for an exception the line that raised it.
    """
    failed = Outcome(trial.id, math.nan, "failed")
    try:
        returned = objective(trial.point, trial.seed)
    except Exception as error:
        return Report(failed, f"{type(error).__name__}: {error}{_raised_at(error)}")
    try:
        value, more = measured(returned)
    except TypeError as error:
        return Report(failed, f"TypeError: {error}")
    outcome = settled(Outcome(trial.id, value, "ok"))
    note = "" if outcome.status == "ok" else f"the objective returned {value}"
    return Report(outcome, note, more)


def _raised_at(error: Exception) -> str:
    """The last line of an objective's traceback; nothing where calling it failed already."""
    trace = error.__traceback__ and error.__traceback__.tb_next
    if trace is None:
        return ""
    while trace.tb_next is not None:
        trace = trace.tb_next
    code = trace.tb_frame.f_code
    return f" ({code.co_filename.rpartition('/')[2]}, line {trace.tb_lineno}, in {code.co_name})"


def measured(returned: Any) -> tuple[float, dict[str, Any] | None]:
    """The reward that an objective returned, and what else it measured, if anything.

    Raises:
        TypeError: it is no real number, such as an array with axes, None, or a string.
    """
    value, more = returned if isinstance(returned, Measured) else (returned, None)
    with contextlib.suppress(TypeError, ValueError):
        if not (isinstance(value, str | bytes) or np.ndim(value) or np.iscomplexobj(value)):
            return float(value), more
    shape = getattr(value, "shape", None)
    got = f"an array of shape {tuple(shape)}" if shape else f"{value!r:.60}"
    raise TypeError(f"objective: expected it to return one real number, got {got}")


def told_of(trial: Trial, report: Report) -> str:
    """A failure in words: what went wrong, and at which point."""
    with np.printoptions(precision=6, threshold=20, linewidth=10_000):
        return f"trial {trial.id} failed: {report.note}\n  point: {trial.point!s:.400}"


def check_working(trials: Sequence[Trial], reports: Sequence[Report], limit: int) -> None:
    """Checks that not all of the trials that ended first have failed.

    Raises:
        ObjectiveError: `limit` (0 for none) have ended, and all failed; says why the first did.
    """
    if not 0 < limit <= len(reports) or any(each.outcome.status == "ok" for each in reports):
        return
    raise ObjectiveError(
        f"the search stops, because its first {len(reports)} trials all failed\n"
        f"{told_of(trials[0], reports[0])}"
    )


def settled(outcome: Outcome) -> Outcome:
    """An outcome as it is recorded: an "ok" without a finite value is "failed", and so on.

    Raises:
        ValueError: an unknown status.
    """
    if outcome.status not in STATUSES:
        raise ValueError(
            f"outcome {outcome.id}: status: expected one of {', '.join(STATUSES)}, "
            f"got {outcome.status!r}"
        )
    if outcome.status == "ok" and math.isfinite(outcome.value):
        return Outcome(int(outcome.id), float(outcome.value), "ok")
    status = "failed" if outcome.status == "ok" else outcome.status
    return Outcome(int(outcome.id), math.nan, status)


def check_count(n: int) -> None:
    """Checks the `n` of an `ask`.

    Raises:
        ValueError: it is below 1.
    """
    if n < 1:
        raise ValueError(f"n: expected at least 1 trial to ask for, got {n}")


class History(NamedTuple):
    """All trials of a search whose points are vectors of one length: the state of many searchers.

    Attributes:
        seed: of the search.
        points: `[asked, dim]`, row i is trial i's.
        values: float64 `[asked]`, nan while open and where failed.
        told: whether there is an outcome, `[asked]`.
    """

    seed: int
    points: Shaped[np.ndarray, "asked dim"]
    values: Float[np.ndarray, " asked"]
    told: Bool[np.ndarray, " asked"]

    @property
    def asked(self) -> int:
        """How many trials there are."""
        return len(self.points)

    @property
    def good(self) -> Int[np.ndarray, " ok"]:
        """Numbers of the trials that have a value, ascending: no matter when they were told."""
        return np.flatnonzero(np.isfinite(self.values))


def begin(seed: int, dim: int, dtype: Any = np.float64) -> History:
    """The history of a search before its first trial.

    Raises:
        ValueError: a negative seed, or no dimension.
    """
    if seed < 0:
        raise ValueError(f"seed: expected a whole number of at least 0, got {seed}")
    if dim < 1:
        raise ValueError(f"dim: expected at least 1, got {dim}")
    return History(int(seed), np.zeros((0, dim), dtype), np.zeros(0), np.zeros(0, bool))


def extend(history: History, points: Shaped[np.ndarray, "new dim"]) -> tuple[History, list[Trial]]:
    """Adds trials at the given points.

    Returns:
        The longer history, and the trials; their points are copies.
    """
    points = np.asarray(points, history.points.dtype)
    first = history.asked
    trials = [
        Trial(first + i, point.copy(), trial_seed(history.seed, first + i))
        for i, point in enumerate(points)
    ]
    open_values = np.full(len(points), np.nan)
    return history._replace(
        points=np.concatenate([history.points, points]),
        values=np.concatenate([history.values, open_values]),
        told=np.concatenate([history.told, np.zeros(len(points), bool)]),
    ), trials


def record(history: History, outcomes: Sequence[Outcome]) -> History:
    """Notes outcomes.

    Raises:
        ValueError: an outcome of a trial that was never asked, or has one already.
    """
    values, told = history.values.copy(), history.told.copy()
    for outcome in map(settled, outcomes):
        check_open(outcome.id, len(told), lambda number: bool(told[number]))
        values[outcome.id], told[outcome.id] = outcome.value, True
    return history._replace(values=values, told=told)


def check_open(number: int, asked: int, is_told: Callable[[int], bool]) -> None:
    """Checks that a trial waits for its outcome.

    Raises:
        ValueError: it was never asked, or has one already.
    """
    if not 0 <= number < asked:
        raise ValueError(f"outcome {number}: expected a trial from 0 to {asked - 1}")
    if is_told(number):
        raise ValueError(f"outcome {number}: expected an open trial; this one has an outcome")


def check_asked(trials: Sequence[Trial], n: int) -> None:
    """Checks that a searcher gave as many trials as it was asked for.

    Raises:
        ValueError: it did not, and a loop would not end.
    """
    if len(trials) != n:
        raise ValueError(f"ask: expected the searcher to give {n} trials, got {len(trials)}")


class Run(NamedTuple):
    """What `maximise` did: one entry a trial, in the order of their numbers.

    Attributes:
        state: the searcher's last.
        trials: all that were asked.
        values: float64 `[budget]`, nan where an evaluation failed.
    """

    state: PyTree
    trials: list[Trial]
    values: Float[np.ndarray, " budget"]

    @property
    def best(self) -> Float[np.ndarray, " budget"]:
        """The best value so far after each trial; -inf before the first that did not fail."""
        return np.maximum.accumulate(np.where(np.isnan(self.values), -np.inf, self.values))

    @property
    def trial(self) -> Trial:
        """The best trial: the earliest of the highest value.

        Raises:
            ValueError: every trial failed.
        """
        if np.isnan(self.values).all():
            raise ValueError(f"expected a trial that did not fail; all {len(self.values)} did")
        return self.trials[int(np.nanargmax(self.values))]

    @property
    def point(self) -> Point:
        """The best trial's point; raises as `trial` does."""
        return self.trial.point

    @property
    def value(self) -> float:
        """The best trial's value; raises as `trial` does."""
        return float(self.values[self.trial.id])


def maximise(
    searcher: Searcher,
    objective: Callable[[Point, int], float | Measured],
    *,
    budget: int,
    batch_size: int = 1,
    seed: int = 0,
    give_up: int = FAILURES,
) -> Run:
    """Runs a search in this process: ask, evaluate, tell, until the budget is spent.

    Args:
        searcher: what proposes.
        objective: `(point, seed) -> reward`; the first failure (`attempt`) is shown as a warning.
        budget: evaluations.
        batch_size: trials asked for at once.
        seed: of the search.
        give_up: the search stops if so many first trials all fail; 0 to go on whatever happens.

    Raises:
        ValueError: a budget or batch size below 1, a negative `give_up`.
        ObjectiveError: all of the first trials failed.
    """
    check_count(budget)
    check_count(batch_size)
    if give_up < 0:
        raise ValueError(f"give_up: expected at least 0, got {give_up}")
    state = searcher.init(seed)
    trials, reports, shown = list[Trial](), list[Report](), False
    while len(trials) < budget:
        wanted = min(batch_size, budget - len(trials))
        state, asked = searcher.ask(state, wanted)
        check_asked(asked, wanted)
        ended = [attempt(trial, objective) for trial in asked]
        state = searcher.tell(state, [report.outcome for report in ended])
        trials, reports = trials + asked, reports + ended
        check_working(trials, reports, min(give_up, budget))
        for trial, report in zip(asked, ended, strict=True):
            if report.note and not shown:
                shown = True
                warnings.warn(told_of(trial, report), RuntimeWarning, stacklevel=2)
    return Run(state, trials, np.array([report.outcome.value for report in reports]))
