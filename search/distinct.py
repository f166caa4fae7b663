"""Any searcher, but a point that is known is not evaluated again.

With a table as objective, only distinct points count as samples. Whenever the inner searcher asks
for a known point, it is told the value at once and asked again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Shaped

from search.interface import (
    History,
    Outcome,
    PyTree,
    Searcher,
    Trial,
    begin,
    check_count,
    extend,
    record,
    settled,
)


class State(NamedTuple):
    """A search.

    Attributes:
        inner: the state of the searcher within.
        history: the trials that were handed out.
        numbers: what the searcher within calls them.
        stuck: whether it has given up.
    """

    inner: PyTree
    history: History
    numbers: Int[np.ndarray, " asked"]
    stuck: bool


def searcher(within: Searcher, dim: int, *, idle: int = 100) -> Searcher:
    """The same search, in which a trial whose point has an outcome is answered from memory.

    A point that is still open may be asked for twice. A search that proposes nothing new for long
    is stuck: from then on it repeats its first point, which costs no more thought, until its
    budget is spent.

    Args:
        within: over points that are vectors of whole numbers.
        dim: their length.
        idle: known points in a row, after which a search is stuck.

    Raises:
        ValueError: `idle` below 1.
    """
    if idle < 1:
        raise ValueError(f"idle: expected at least 1, got {idle}")

    def init(seed: int) -> State:
        none = np.zeros(0, np.int64)
        return State(within.init(seed), begin(seed, dim, np.int64), none, False)

    def ask(state: State, n: int) -> tuple[State, list[Trial]]:
        check_count(n)
        inner, history, numbers, stuck = state
        new, repeated = list[Trial](), 0
        while len(new) < n and not stuck:
            inner, asked = within.ask(inner, n - len(new))
            again = list[Outcome]()
            for trial in asked:
                value = _known(history, trial.point)
                if value is None:
                    new.append(trial)
                    repeated = 0
                else:
                    again.append(settled(Outcome(trial.id, value, "ok")))
                    repeated += 1
            if again:
                inner = within.tell(inner, again)
            stuck = repeated >= idle
        points = [trial.point for trial in new] + list(history.points[:1]) * (n - len(new))
        named = [trial.id for trial in new] + [-1] * (n - len(new))
        history, trials = extend(history, np.stack(points))
        return State(inner, history, np.concatenate([numbers, named]), stuck), trials

    def tell(state: State, outcomes: Sequence[Outcome]) -> State:
        history = record(state.history, outcomes)
        named = [
            outcome._replace(id=int(state.numbers[outcome.id]))
            for outcome in outcomes
            if state.numbers[outcome.id] >= 0
        ]
        inner = within.tell(state.inner, named) if named else state.inner
        return state._replace(inner=inner, history=history)

    return Searcher(init, ask, tell)


def _known(history: History, point: Shaped[np.ndarray, " dim"]) -> float | None:
    """The value of a point that has an outcome, nan where it failed; None for any other."""
    same = np.flatnonzero((history.points == point).all(1) & history.told)
    return float(history.values[same[0]]) if len(same) else None
