"""A flax module as two pure functions, so that learners need to know no framework."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

PyTree = Any


class Network(NamedTuple):
    """A classifier.

    Attributes:
        init: `(key) -> (params, stats)`; `stats` are the averages of batch normalization, an empty
            dict where there are none.
        apply: `(params, stats, inputs, *, key=None, train=False) -> (logits [B, K], stats)`, logits
            float32. In training, batch normalization uses the batch and moves its averages, and
            `key` draws what dropout and stochastic depth drop; else averages are used, nothing is
            dropped, and `stats` come back as they were.
    """

    init: Callable[[Array], tuple[PyTree, PyTree]]
    apply: Callable[..., tuple[Array, PyTree]]


def network(module: nn.Module, shape: tuple[int, ...]) -> Network:
    """The two functions of a module whose call takes `(inputs, train=...)`.

    Args:
        module: has "params" and at most the collection "batch_stats".
        shape: of one input, without the batch axis.
    """

    def init(key: Array) -> tuple[PyTree, PyTree]:
        variables = module.init(key, jnp.zeros((1, *shape)), train=False)
        return variables["params"], variables.get("batch_stats", {})

    def apply(
        params: PyTree, stats: PyTree, inputs: Array, *, key: Array | None = None, train: bool
    ) -> tuple[Array, PyTree]:
        variables = {"params": params}
        if stats:
            variables["batch_stats"] = stats
        rngs = {} if key is None else {"dropout": key}
        if not train:
            logits: Any = module.apply(variables, inputs, train=False)
            return logits.astype(jnp.float32), stats
        logits, changed = module.apply(
            variables, inputs, train=True, rngs=rngs, mutable=["batch_stats"]
        )
        return logits.astype(jnp.float32), changed.get("batch_stats", stats)

    return Network(init, apply)


def predictor(
    network: Network, prepare: Callable[[Array], Array] = jnp.asarray, *, at_once: int = 256
) -> Callable[[PyTree, PyTree, np.ndarray], np.ndarray]:
    """`(params, stats, inputs) -> logits [N, K]` on the host, of any number of inputs.

    Args:
        network: which predicts, as in evaluation.
        prepare: traced, from given inputs to those of the network.
        at_once: how many inputs go through it in one call.
    """

    @jax.jit
    def some(params: PyTree, stats: PyTree, inputs: Array) -> Array:
        return network.apply(params, stats, prepare(inputs), train=False)[0]

    def predict(params: PyTree, stats: PyTree, inputs: np.ndarray) -> np.ndarray:
        missing = -len(inputs) % at_once
        padded = np.concatenate([inputs, np.repeat(inputs[:1], missing, axis=0)])
        parts = [
            np.asarray(some(params, stats, padded[start : start + at_once]))
            for start in range(0, len(padded), at_once)
        ]
        return np.concatenate(parts)[: len(inputs)]

    return predict


def count(network: Network) -> int:
    """Number of trainable parameters, found without computing any."""
    params, _ = jax.eval_shape(network.init, jax.random.key(0))
    return sum(leaf.size for leaf in jax.tree.leaves(params))
