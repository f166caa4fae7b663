"""One architecture, trained from scratch (Pham 2021, section 4.2.2, "Deriving Architectures").

Its choices are constants, so that the child alone is compiled, with its own weights alone.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Int

from enas import normalization
from enas.tasks import Judged, Task
from nco.policy_gradient import Learner, Metrics

PyTree = Any


@flax.struct.dataclass
class State:
    """All that the training of one architecture needs to go on.

    Attributes:
        step: int32 scalar.
        key: of the run; folded in, never split.
        weights: of this child.
        averages: of its batch normalizations.
        carry: what goes on from batch to batch.
        opt_state: of the optimiser.
    """

    step: Array
    key: Array
    weights: PyTree
    averages: PyTree
    carry: PyTree
    opt_state: PyTree


def fixed(
    task: Task, choices: Int[np.ndarray, " decisions"], tx: optax.GradientTransformation
) -> Learner:
    """A `Learner` that trains one architecture.

    Args:
        task: the supernet and its loss.
        choices: the architecture, a NumPy array.
        tx: optimiser.
    """

    def init(key: Array) -> State:
        weights = task.supernet.restrict(task.supernet.init(jax.random.fold_in(key, 2)), choices)
        return State(
            step=jnp.zeros((), jnp.int32),
            key=key,
            weights=weights,
            averages=normalization.fresh(weights),
            carry=task.carry,
            opt_state=tx.init(weights),
        )

    def update(state: State, batch: PyTree) -> tuple[State, Metrics]:
        key = jax.random.fold_in(jax.random.fold_in(state.key, 1), state.step)

        def loss_fn(weights: PyTree) -> tuple[Array, Judged]:
            judged = task.judge(
                weights,
                choices,
                state.carry,
                batch,
                train=True,
                key=key,
                averages=state.averages,
            )
            return judged.loss, judged

        (loss, judged), grads = jax.value_and_grad(loss_fn, has_aux=True)(state.weights)
        updates, opt_state = tx.update(grads, state.opt_state, state.weights)
        state = dataclasses.replace(
            state,
            step=state.step + 1,
            weights=optax.apply_updates(state.weights, updates),
            averages=judged.averages,
            carry=judged.carry,
            opt_state=opt_state,
        )
        return state, judged.metrics | {"loss": loss, "grad_norm": optax.tree.norm(grads)}

    return Learner(init, update)
