"""What a problem has to say, so that a policy can propose its solutions item by item."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Int

PyTree = Any


class Problem(NamedTuple):
    """A problem whose solutions are sequences of item indices, as pure functions.

    An instance is a set of `items` vectors of `input_dim` features. A solution picks items one at
    a time; the problem says which may come next. Where none may, the solution is complete and the
    remaining actions are -1.

    Attributes:
        name: short name, e.g. `"tsp"`.
        input_dim: features an item.
        sample: `(key, batch, items) -> float32 [batch, items, input_dim]`, random instances; the
            key is consumed.
        reset: `(inputs [..., items, input_dim]) -> state`, the state before the first action.
        feasible: `(state) -> bool [..., items]`, the items that may come next.
        step: `(state, action int32 [...]) -> state`.
        reward: `(inputs [batch, items, input_dim], actions int32 [samples, batch, items]) ->
            float32 [samples, batch]`; maximised.
    """

    name: str
    input_dim: int
    sample: Callable[[Array, int, int], Array]
    reset: Callable[[Array], PyTree]
    feasible: Callable[[PyTree], Array]
    step: Callable[[PyTree, Array], PyTree]
    reward: Callable[[Array, Array], Array]


def rewards(problem: Problem, inputs: Array, actions: Int[Array, "samples batch items"]) -> Array:
    """The problem's rewards of solutions, float `[samples, batch]`.

    Raises:
        ValueError: `problem.reward` returns another shape.
    """
    found = problem.reward(inputs, actions)
    check_rewards(found, actions.shape[:2])
    return found


def check_rewards(found: Array, wanted: tuple[int, ...]) -> None:
    """Checks the shape of what a reward function returned.

    Raises:
        ValueError: it is not `[samples, batch]`, such as one number for all.
    """
    if jnp.shape(found) != wanted:
        raise ValueError(
            f"reward: expected one for each solution, [samples, batch] = {list(wanted)}, "
            f"got shape {list(jnp.shape(found))}"
        )
