"""The 0-1 knapsack: items of a weight and a value, and a capacity (Pham 2021, ch. 2, eq. 2.7)."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from nco.problems.problem import Problem


class State(NamedTuple):
    """A knapsack that is being filled.

    Attributes:
        weights: float32 `[..., items]`.
        taken: bool `[..., items]`, items that were pointed at.
        room: two float32 `[...]`, whose exact sum is the capacity that is left: with one number,
            the rounding of many subtractions could let in an item that does not fit.
        full: bool `[...]`, whether the last item did not fit (with the stop rule alone).
    """

    weights: Array
    taken: Array
    room: tuple[Array, Array]
    full: Array


def sample(key: Array, batch: int, items: int) -> Float[Array, "batch items 2"]:
    """Instances whose weights and values are uniform in [0, 1]; the key is consumed."""
    return jax.random.uniform(key, (batch, items, 2))


def problem(capacity: float, *, stop_rule: bool = False) -> Problem:
    """The knapsack of one capacity; an item's two features are its weight and its value.

    By default items that do not fit any more are masked, and the knapsack is complete when none
    fits. The reward is the value of all that was chosen. A weight below 1.2e-38 counts as zero, as
    XLA counts subnormal numbers.

    Args:
        capacity: W.
        stop_rule: the thesis's rule instead: any item may be pointed at, and the knapsack is
            complete once the total weight exceeds W; the item that made it so is left out.

    Raises:
        ValueError: the capacity is negative or not finite.

    >>> import jax.numpy as jnp
    >>> items = jnp.array([[[0.6, 1.0], [0.5, 2.0], [0.4, 3.0]]])
    >>> float(problem(1.0).reward(items, jnp.array([[[2, 1, -1]]]))[0, 0])
    5.0
    """
    if not 0.0 <= capacity < float("inf"):
        raise ValueError(f"capacity: expected a finite number of at least 0, got {capacity}")

    def reset(inputs: Float[Array, "*batch items 2"]) -> State:
        shape = inputs.shape[:-2]
        return State(
            weights=inputs[..., 0],
            taken=jnp.zeros(inputs.shape[:-1], bool),
            room=(jnp.full(shape, capacity, inputs.dtype), jnp.zeros(shape, inputs.dtype)),
            full=jnp.zeros(shape, bool),
        )

    def feasible(state: State) -> Bool[Array, "*batch items"]:
        if stop_rule:
            return ~state.taken & ~state.full[..., None]
        return ~state.taken & _fits(state.weights, jax.tree.map(lambda x: x[..., None], state.room))

    def step(state: State, action: Int[Array, "*batch"]) -> State:
        chosen = jax.nn.one_hot(action, state.weights.shape[-1], dtype=bool)
        # A sum over one item and zeros is that item's weight, exactly; -1 takes nothing.
        weight = jnp.sum(jnp.where(chosen, state.weights, 0.0), axis=-1)
        fits = _fits(weight, state.room)
        room = _less(state.room, jnp.where(fits, weight, 0.0))
        return State(state.weights, state.taken | chosen, room, state.full | ~fits)

    def reward(
        inputs: Float[Array, "batch items 2"], actions: Int[Array, "samples batch decisions"]
    ) -> Float[Array, "samples batch"]:
        samples = actions.shape[0]
        spread = jnp.broadcast_to(inputs[None], (samples, *inputs.shape))
        values = spread[..., 1]

        def body(state: State, action: Array) -> tuple[State, Array]:
            after = step(state, action)
            new = after.taken & ~state.taken
            counts = jnp.any(new, axis=-1) & ~after.full
            return after, jnp.where(counts, jnp.sum(jnp.where(new, values, 0.0), axis=-1), 0.0)

        _, gained = jax.lax.scan(body, reset(spread), jnp.moveaxis(actions, -1, 0))
        return jnp.sum(gained, axis=0)

    return Problem("knapsack", 2, sample, reset, feasible, step, reward)


def _fits(weight: Array, room: tuple[Array, Array]) -> Array:
    high, low = room
    return weight - high <= low


def _less(room: tuple[Array, Array], weight: Array) -> tuple[Array, Array]:
    """The room less a weight, both parts of it exact (Knuth's two-sum)."""
    high, low = room
    rest = high - weight
    part = rest - high
    lost = (high - (rest - part)) + (-weight - part)
    return rest, low + lost
