"""The Euclidean travelling salesman problem in the plane (Pham 2021, ch. 2, eq. 2.1)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from nco.problems.problem import Problem


def sample(key: Array, batch: int, cities: int) -> Float[Array, "batch cities 2"]:
    """Instances whose cities are drawn uniformly from the unit square; the key is consumed."""
    return jax.random.uniform(key, (batch, cities, 2))


def tour_length(
    coords: Float[Array, "*#batch cities 2"], tour: Int[Array, "*#batch cities"]
) -> Float[Array, "*batch"]:
    """Length of a closed tour, in the coordinates' unit (eq. 2.1).

    Args:
        coords: the cities; leading axes broadcast against the tour's.
        tour: a permutation of 0 .. cities - 1, in the order of the visit.

    >>> import jax.numpy as jnp
    >>> square = jnp.array([[0.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, 0.0]])
    >>> float(tour_length(square, jnp.arange(4)))
    4.0
    """
    ordered = jnp.take_along_axis(coords, tour[..., None], axis=-2)
    step = ordered - jnp.roll(ordered, -1, axis=-2)
    return jnp.sum(jnp.sqrt(jnp.sum(jnp.square(step), axis=-1)), axis=-1)


def augment(
    key: Array, coords: Float[Array, "batch cities 2"], tours: Int[Array, "batch cities"]
) -> tuple[Float[Array, "batch cities 2"], Int[Array, "batch cities"]]:
    """The same instances and tours in new orders of the cities, turned and mirrored at random.

    Args:
        key: PRNG key; consumed.
        coords: in the unit square.
        tours: labels of the instances.
    """
    k_order, k_flip, k_swap = jax.random.split(key, 3)
    batch, cities, _ = coords.shape
    flip = jax.random.bernoulli(k_flip, shape=(batch, 1, 2))
    coords = jnp.where(flip, 1.0 - coords, coords)
    swap = jax.random.bernoulli(k_swap, shape=(batch, 1, 1))
    coords = jnp.where(swap, coords[..., ::-1], coords)
    order = jnp.broadcast_to(jnp.arange(cities), (batch, cities))
    order = jax.random.permutation(k_order, order, axis=1, independent=True)
    place = jnp.argsort(order, axis=1)  # where a city is fed now
    renamed = jnp.take_along_axis(place, tours, axis=1)
    return jnp.take_along_axis(coords, order[..., None], axis=1), canonical(renamed)


def canonical(tours: Int[Array, "batch cities"]) -> Int[Array, "batch cities"]:
    """The same tours from city 0 on, towards its neighbour of the smaller number."""
    cities = tours.shape[1]
    start = jnp.argmin(tours, axis=1, keepdims=True)
    steps = jnp.arange(cities)[None]
    onward = jnp.take_along_axis(tours, (start + steps) % cities, axis=1)
    back = jnp.take_along_axis(tours, (start - steps) % cities, axis=1)
    return jnp.where(onward[:, 1:2] < back[:, 1:2], onward, back).astype(jnp.int32)


def _reset(inputs: Float[Array, "*batch cities 2"]) -> Bool[Array, "*batch cities"]:
    return jnp.zeros(inputs.shape[:-1], bool)  # visited


def _feasible(visited: Bool[Array, "*batch cities"]) -> Bool[Array, "*batch cities"]:
    return ~visited


def _step(
    visited: Bool[Array, "*batch cities"], action: Int[Array, "*batch"]
) -> Bool[Array, "*batch cities"]:
    return visited | jax.nn.one_hot(action, visited.shape[-1], dtype=bool)


def _reward(
    inputs: Float[Array, "batch cities 2"], actions: Int[Array, "samples batch cities"]
) -> Float[Array, "samples batch"]:
    return -tour_length(inputs[None], actions)


problem = Problem(
    name="tsp",
    input_dim=2,
    sample=sample,
    reset=_reset,
    feasible=_feasible,
    step=_step,
    reward=_reward,
)
