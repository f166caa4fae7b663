"""Objects that are built action by action, as functions that the user declares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from search.interface import Point

State = Any  # hashable, compared by value
Action = Any
DEEPEST = 10_000  # actions from the root to a terminal state


def itself(state: State) -> Point:
    """A terminal state as the point to evaluate, where it is a tuple of numbers: an array."""
    return np.asarray(state)


class Problem(NamedTuple):
    """A space of objects that are built action by action; pure functions.

    Attributes:
        root: where every object begins. States are hashable and compare by value; tuples of
            numbers, strings and tuples, say.
        actions: `(state) -> actions` that are legal in a state that is not terminal, always in one
            order, at least one.
        step: `(state, action) -> state`. No sequence of actions comes back to where it was.
        terminal: `(state) -> bool`: whether the object is complete.
        point: `(state) -> point`: what a trial of a terminal state holds.
    """

    root: State
    actions: Callable[[State], Sequence[Action]]
    step: Callable[[State, Action], State]
    terminal: Callable[[State], bool]
    point: Callable[[State], Point] = itself


def check(problem: object) -> None:
    """Checks that a tree search over decisions is given a problem.

    Raises:
        ValueError: it is none, such as a space; says how a space of choices becomes one.
    """
    if not isinstance(problem, Problem):
        raise ValueError(
            f"problem: expected a decisions.Problem, got {type(problem).__name__}; "
            "design_spaces.choices_in_order(space) makes one of choices"
        )


def rollout(problem: Problem, state: State, rng: np.random.Generator) -> State:
    """Uniformly random actions from a state to a terminal one.

    Raises:
        ValueError: a state that is not terminal has no action, or none ends within 10,000 actions.
    """
    for _ in range(DEEPEST):
        if problem.terminal(state):
            return state
        actions = legal(problem, state)
        state = problem.step(state, actions[int(rng.integers(len(actions)))])
    raise ValueError(f"step: expected a terminal state within {DEEPEST} actions, got {state!r}")


def legal(problem: Problem, state: State) -> Sequence[Action]:
    """The actions of a state that is not terminal.

    Raises:
        ValueError: there is none.
    """
    actions = problem.actions(state)
    if not len(actions):
        raise ValueError(f"actions: expected at least one in a state not terminal, got {state!r}")
    return actions
