"""A searcher that asks for the points of a list, in order: grids, instances, repetitions.

With it a measurement is a search like any other: its objective measures one point, its journal
keeps what was measured, and a run that is killed goes on at the next point.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from search.interface import Outcome, Searcher, Trial, check_count, check_open, trial_seed


class State(NamedTuple):
    """How far the list has been asked for.

    Attributes:
        seed: of the search.
        asked: points asked for.
        told: ids of the trials that have an outcome.
    """

    seed: int
    asked: int
    told: frozenset[int]


def searcher(points: Sequence[Any]) -> Searcher:
    """The points of a list, one after another; a search of it has at most as many trials.

    Args:
        points: what the objective takes; where a journal keeps them, JSON has to have them.

    Raises:
        ValueError: in `ask`, fewer than 1 point or more than are left; in `tell`, an outcome of a
            trial that was not asked for, or has one.
    """

    def ask(state: State, n: int) -> tuple[State, list[Trial]]:
        check_count(n)
        if state.asked + n > len(points):
            raise ValueError(f"n: expected at most the {len(points) - state.asked} points left")
        ids = range(state.asked, state.asked + n)
        trials = [Trial(i, points[i], trial_seed(state.seed, i)) for i in ids]
        return state._replace(asked=state.asked + n), trials

    def tell(state: State, outcomes: Sequence[Outcome]) -> State:
        told = set(state.told)
        for outcome in outcomes:
            check_open(outcome.id, state.asked, told.__contains__)
            told.add(outcome.id)
        return state._replace(told=frozenset(told))

    return Searcher(lambda seed: State(seed, 0, frozenset()), ask, tell)
