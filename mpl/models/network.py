"""A flax module as two pure functions, so that learners need to know no framework.

`network` takes a module of `flax.linen`, `from_nnx` one of `flax.nnx`. Anything else that gives a
`Network` will do as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
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


def from_nnx(make: Callable[[nnx.Rngs], nnx.Module]) -> Network:
    """The two functions of a `flax.nnx` module whose call takes the inputs alone.

    The parameters are its `nnx.Param`s, in a dict by path ("layers.0.kernel"). The `stats` are its
    other variables, but for the state of random numbers: `key` makes that anew for each call.

    Args:
        make: `(rngs) -> module`. It is called after `module.train()` in training and after
            `module.eval()` elsewhere, nnx's switches of dropout and batch normalization.

    Raises:
        ValueError: from `apply`, in training without a `key`, where the module draws.
    """

    def parts(module: nnx.Module) -> tuple[Any, ...]:
        return nnx.split(module, nnx.Param, nnx.RngState, ...)

    graph, *known = parts(nnx.eval_shape(lambda: make(nnx.Rngs(0))))
    of_params, of_draws, of_stats = (dict(nnx.to_flat_state(part)) for part in known)

    def values(state: Any, known: Mapping[Any, Any]) -> dict[str, Array]:
        found = dict(nnx.to_flat_state(state))
        return {_dotted(path): found[path][...] for path in known}

    def filled(known: Mapping[Any, Any], given: Mapping[str, Array]) -> Any:
        flat = [(path, like.replace(given[_dotted(path)])) for path, like in known.items()]
        return nnx.from_flat_state(flat)

    def init(key: Array) -> tuple[PyTree, PyTree]:
        _, params, _, stats = parts(make(nnx.Rngs(key)))
        return values(params, of_params), values(stats, of_stats)

    def apply(
        params: PyTree, stats: PyTree, inputs: Array, *, key: Array | None = None, train: bool
    ) -> tuple[Array, PyTree]:
        if train and of_draws and key is None:
            raise ValueError("key: expected one in training, as the module draws; got None")
        start = jax.random.key(0) if key is None else key
        draws = {
            _dotted(path): jax.random.fold_in(start, index)
            if isinstance(like, nnx.RngKey)
            else jnp.zeros(like.shape, like.dtype)
            for index, (path, like) in enumerate(of_draws.items())
        }
        given = ((of_params, params), (of_draws, draws), (of_stats, stats))
        module: Any = nnx.merge(graph, *(filled(*each) for each in given))
        module.train() if train else module.eval()
        logits = module(inputs).astype(jnp.float32)
        if not train:
            return logits, stats
        return logits, values(parts(module)[3], of_stats)

    return Network(init, apply)


def _dotted(path: tuple[Any, ...]) -> str:
    return ".".join(map(str, path))


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
