"""TwoMoon: two half circles of points, of which few have labels (Pham 2021, section 5.3.1).

The thesis does not say how the moons lie, and this decides what a method can find. The usual moons
reach into each other (`separation=0`), and only a bent boundary tells them apart. Drawn apart
(`separation=1`: one moved up by a half, the other down), a straight line through the gap is right,
and few labels place it badly: there feedback helps a teacher. Labels are drawn, so a boundary
through dense points moves at random until it lies where few are; a teacher that proposes the
likeliest label instead grows surer of what it said.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array


class Moons(NamedTuple):
    """A data set.

    Attributes:
        points: float32 `[points, 2]`, about the origin; a moon's radius is 1.
        labels: int32 `[points]`, 0 of the upper moon and 1 of the lower.
        labelled: int32 `[2 * each]`, rows of the points whose labels a learner is shown.
    """

    points: Array
    labels: Array
    labelled: Array


def moons(
    key: Array,
    *,
    each: int = 1000,
    shown: int = 3,
    noise: float = 0.13,
    separation: float = 1.0,
) -> Moons:
    """Two moons about the origin, some labelled points in each; may be vmapped over keys.

    Args:
        key: PRNG key; consumed.
        each: points of a moon.
        shown: labelled points of a moon.
        noise: standard deviation of the points about their moon.
        separation: vertical distance by which the moons are drawn apart; from 0.5 a straight line
            tells them apart.
    """
    k_noise, *k_shown = jax.random.split(key, 3)
    angle = jnp.linspace(0.0, jnp.pi, each)
    upper = jnp.stack([jnp.cos(angle), jnp.sin(angle) + separation / 2.0], axis=-1)
    lower = jnp.stack([1.0 - jnp.cos(angle), 0.5 - jnp.sin(angle) - separation / 2.0], axis=-1)
    points = jnp.concatenate([upper, lower]) - jnp.array([[0.5, 0.25]])
    chosen = [
        side * each + jax.random.choice(k, each, (shown,), replace=False)
        for side, k in enumerate(k_shown)
    ]
    return Moons(
        points + noise * jax.random.normal(k_noise, points.shape),
        jnp.repeat(jnp.arange(2, dtype=jnp.int32), each),
        jnp.concatenate(chosen).astype(jnp.int32),
    )
