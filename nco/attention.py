"""Additive attention scores, v . tanh(W_ref r_i + W_q q), at the cost of one division an element.

Nearly all of a pointer network's time goes to the tanh over `[batch, items, hidden]` at every
decoding step (Pham 2021, ch. 2, eq. 2.8). With tanh(a + b) = 1 - 2 / (1 + exp(2a) exp(2b)) the
exponential of the reference side is computed once an instance and that of the query side once a
step, which leaves a multiplication, an addition and a division for each element. The gradient
recomputes the division instead of storing every element of every step.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from nco import initializers

Params = dict[str, Array]

# exp(2a) exp(2b) stays finite in float32 for |a|, |b| up to this bound; tanh(21) is 1 to the
# last digit.
_BOUND = 21.0


class Keys(NamedTuple):
    """The references' side of the scores, computed once an instance.

    Attributes:
        projected: float32 `[batch, items, hidden]`, W_ref r_i, clipped to [-21, 21].
        exponential: exp(2 projected), held constant: its gradient flows through `projected`.
    """

    projected: Array
    exponential: Array


def init(key: Array, *, hidden: int, scale: float | None = 0.08) -> Params:
    """Matrices `[hidden, hidden]` and v `[hidden]`, by `nco.initializers.uniform`."""
    shapes = {"w_ref": (hidden, hidden), "w_q": (hidden, hidden), "v": (hidden,)}
    keys = jax.random.split(key, len(shapes))
    return {
        name: initializers.uniform(k, shape, scale)
        for k, (name, shape) in zip(keys, shapes.items(), strict=True)
    }


def keys_of(params: Params, references: Float[Array, "batch items hidden"]) -> Keys:
    """Projects the references, once an instance."""
    projected = jnp.clip(references @ params["w_ref"], -_BOUND, _BOUND)
    return Keys(projected, jax.lax.stop_gradient(jnp.exp(2.0 * projected)))


def scores(
    params: Params, keys: Keys, queries: Float[Array, "steps samples batch hidden"]
) -> Float[Array, "steps samples batch items"]:
    """Unmasked u_i = v . tanh(W_ref r_i + W_q q) of eq. 2.8, for the queries of many steps.

    The error is about 1e-7 times the sum of |v|, whatever the size of u, while each of W_ref r_i
    and W_q q stays within [-21, 21] in every unit; beyond, the projection is clipped.
    """
    projected = jnp.clip(queries @ params["w_q"], -_BOUND, _BOUND)
    return _additive_scores(keys.projected, keys.exponential, projected, params["v"])


def _half_complement(exponential: Array, query: Array) -> Array:
    """(1 - tanh(key + query)) / 2, as [samples, batch, items, hidden]."""
    return 1.0 / (1.0 + exponential[None] * jnp.exp(2.0 * query)[:, :, None])


@jax.custom_vjp
def _additive_scores(projected: Array, exponential: Array, queries: Array, v: Array) -> Array:
    del projected
    total = jnp.sum(v)
    # A loop over steps: one step's elements fit a cache, those of all steps may not fit the memory.
    return jax.lax.map(
        lambda query: total - 2.0 * (_half_complement(exponential, query) @ v), queries
    )


def _additive_scores_forward(
    projected: Array, exponential: Array, queries: Array, v: Array
) -> tuple[Array, tuple[Array, Array, Array]]:
    return _additive_scores(projected, exponential, queries, v), (exponential, queries, v)


def _additive_scores_backward(
    residuals: tuple[Array, Array, Array], grad: Array
) -> tuple[Array, None, Array, Array]:
    exponential, queries, v = residuals

    def body(
        sums: tuple[Array, Array], step: tuple[Array, Array]
    ) -> tuple[tuple[Array, Array], Array]:
        sum_keys, sum_v = sums
        query, grad_step = step
        half = _half_complement(exponential, query)
        # d tanh(x) / dx = 4 half (1 - half); the factor 4 v, common to all steps, comes after
        # the loop.
        slope = grad_step[..., None] * (half * (1.0 - half))
        # Summed over samples after the loop: on a CPU that reduction is slower than all else here.
        sum_keys = sum_keys + slope
        sum_v = sum_v + jnp.einsum("sbn,sbnh->h", grad_step, half)
        return (sum_keys, sum_v), jnp.sum(slope, axis=2)

    samples = queries.shape[1]
    zeros = (jnp.zeros((samples, *exponential.shape), exponential.dtype), jnp.zeros_like(v))
    (sum_keys, sum_v), sum_queries = jax.lax.scan(body, zeros, (queries, grad))
    scale = 4.0 * v
    grad_keys, grad_queries = (
        scale[None, None] * jnp.sum(sum_keys, axis=0),
        scale[None, None, None] * sum_queries,
    )
    return grad_keys, None, grad_queries, jnp.sum(grad) - 2.0 * sum_v


_additive_scores.defvjp(_additive_scores_forward, _additive_scores_backward)
