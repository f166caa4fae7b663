"""One network that learns without a teacher beside it: supervised, UDA, FixMatch, Pseudo Labels.

These methods differ in their `mpl.objectives.Objective` and in what the batches hold. The learner
is the same.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from mpl.models.network import Network
from mpl.objectives import Batch, Metrics, Objective
from nco.policy_gradient import Learner

PyTree = Any


@flax.struct.dataclass
class State:
    """All that a run needs to go on.

    Attributes:
        step: int32 scalar, updates done.
        key: PRNG key of the run; folded in, never split.
        params: the network's parameters.
        stats: its averages of batch normalization.
        opt_state: its optimiser's state.
        average: the moving average of `params`, to be evaluated in their place; `()` without.
    """

    step: Array
    key: Array
    params: PyTree
    stats: PyTree
    opt_state: PyTree
    average: PyTree


def views_of(
    network: Network,
    params: PyTree,
    stats: PyTree,
    batch: Batch,
    views: Sequence[str],
    key: Array,
) -> tuple[dict[str, Array], PyTree]:
    """Logits of several views of a batch, in one pass through the network in training.

    So batch normalization sees labelled and unlabelled, weakly and strongly augmented inputs in one
    batch, as in the public code of UDA and FixMatch.
    """
    inputs = [batch[view] for view in views]
    logits, stats = network.apply(params, stats, jnp.concatenate(inputs), key=key, train=True)
    ends, start, parts = [len(each) for each in inputs], 0, {}
    for view, length in zip(views, ends, strict=True):
        parts[view] = logits[start : start + length]
        start += length
    return parts, stats


def learner(
    network: Network,
    objective: Objective,
    tx: optax.GradientTransformation,
    *,
    average_decay: float = 0.0,
) -> Learner:
    """A `Learner` of one network and one objective.

    Args:
        network: what learns.
        objective: what from.
        tx: its optimiser.
        average_decay: of the moving average of the parameters, which `evaluated` then returns; 0
            for none. FixMatch has 0.999; the thesis has no such average.
    """

    def init(key: Array) -> State:
        params, stats = network.init(jax.random.fold_in(key, 2))
        average = jax.tree.map(jnp.copy, params) if average_decay else ()
        return State(jnp.zeros((), jnp.int32), key, params, stats, tx.init(params), average)

    def update(state: State, batch: Mapping[str, Any]) -> tuple[State, Metrics]:
        key = jax.random.fold_in(jax.random.fold_in(state.key, 1), state.step)

        def loss_fn(params: PyTree) -> tuple[Array, tuple[PyTree, Metrics]]:
            logits, stats = views_of(network, params, state.stats, batch, objective.views, key)
            loss, metrics = objective.loss(logits, batch, state.step)
            return loss, (stats, metrics | {"loss": loss})

        grads, (stats, metrics) = jax.grad(loss_fn, has_aux=True)(state.params)
        updates, opt_state = tx.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        average = state.average
        if average_decay:
            average = optax.incremental_update(params, average, 1.0 - average_decay)
        metrics["grad_norm"] = optax.tree.norm(grads)
        state = dataclasses.replace(
            state,
            step=state.step + 1,
            params=params,
            stats=stats,
            opt_state=opt_state,
            average=average,
        )
        return state, metrics

    return Learner(init, update)


def evaluated(state: State) -> tuple[PyTree, PyTree]:
    """The `(params, stats)` that predictions are made with."""
    return (state.average if jax.tree.leaves(state.average) else state.params), state.stats
