"""How parameters start: the thesis's one interval for all of them, or LeCun's for each.

With the thesis's U[-0.08, 0.08] (Pham 2021, ch. 2, section 2.5.1) the two coordinates of a city
reach the attention so weakly that tanh is linear there. The softmax then hardly depends on the
query, and training stays for a thousand updates or more at tours that are sorted along one
direction. LeCun's scale keeps the variance of every layer's input and leaves that plateau within
some hundred updates.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array


def uniform(
    key: Array, shape: tuple[int, ...], scale: float | None, *, bias: bool = False
) -> Array:
    """Draws a parameter from an interval around zero; the key is consumed.

    Args:
        key: PRNG key.
        shape: of the parameter; its first axis is what a product sums over.
        scale: half-width of the interval; `None` is LeCun's, sqrt(3 / shape[0]), with zero biases.
        bias: whether it is added rather than multiplied.

    >>> float(jnp.abs(uniform(jax.random.key(0), (300, 9), None)).max()) <= 0.1
    True
    """
    if scale is None:
        if bias:
            return jnp.zeros(shape)
        scale = math.sqrt(3.0 / shape[0])
    return jax.random.uniform(key, shape, minval=-scale, maxval=scale)
