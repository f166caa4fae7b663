"""Batch normalization of children that share weights, and of one that is trained alone.

Children that share weights have no averages in common: they are normalised by the statistics of the
batch, in training and in evaluation (so did the public code; the thesis does not say). A child that
is trained alone keeps running averages, for its test.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Averages = dict[str, tuple[Array, Array]]  # mean and variance by the name of the layer


def init(channels: int) -> dict[str, Array]:
    """Scale 1 and offset 0, each float32 `[channels]`."""
    return {"scale": jnp.ones(channels), "offset": jnp.zeros(channels)}


def fresh(weights: Any) -> Averages:
    """Averages of all normalizations among weights, before any batch: mean 0, variance 1."""
    found = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(weights):
        names = [str(getattr(part, "key", getattr(part, "idx", part))) for part in path]
        if names[-1] == "scale":
            found["/".join(names[:-1])] = (jnp.zeros_like(leaf), jnp.ones_like(leaf))
    return found


class Norms:
    """The normalizations of one call of a network.

    Attributes:
        averages: before the call; `None` for the batch's statistics alone.
        train: whether they follow the batch.
        after: averages after the call: those of `averages` whose layers did not run stay.
    """

    def __init__(
        self,
        averages: Mapping[str, tuple[Array, Array]] | None,
        *,
        train: bool,
        decay: float = 0.9,
        epsilon: float = 1e-5,
    ) -> None:
        self.averages, self.train = averages, train
        self.after: Averages | None = None if averages is None else dict(averages)
        self._decay, self._epsilon = decay, epsilon

    def __call__(
        self, name: str, weights: Mapping[str, Array], inputs: Float[Array, "*batch channels"]
    ) -> Float[Array, "*batch channels"]:
        """Normalises over all axes but the last.

        Args:
            name: where the layer's scale stands among the weights, "node/operation/bn".
            weights: from `init`.
            inputs: of any number of axes.
        """
        axes = tuple(range(inputs.ndim - 1))
        if self.averages is None or self.train:
            mean = jnp.mean(inputs, axes)
            var = jnp.maximum(jnp.mean(jnp.square(inputs), axes) - jnp.square(mean), 0.0)
        if self.averages is not None and self.after is not None:
            old_mean, old_var = self.averages[name]
            if self.train:
                d = self._decay
                new = (d * old_mean + (1 - d) * mean, d * old_var + (1 - d) * var)
                self.after[name] = jax.tree.map(jax.lax.stop_gradient, new)
            else:
                mean, var = old_mean, old_var
        factor = weights["scale"] * jax.lax.rsqrt(var + self._epsilon)
        offset = weights["offset"] - mean * factor
        return inputs * jnp.expand_dims(factor, axes) + jnp.expand_dims(offset, axes)
