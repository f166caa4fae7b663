"""The search: shared weights and controller in turns, and what is derived (Pham 2021, 4.2.2).

A `Child` is all that a search needs to know of a supernet and its task: how weights start, the loss
of one architecture on a batch of training data, and its reward on a batch of validation data.
`enas.tasks` makes those of the thesis; a user's own is three functions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from enas.controller import Controller
from nco.actor_critic import State as ControllerState
from nco.actor_critic import actor_critic
from nco.policy_gradient import Baseline, Metrics, Sample, moving_average

PyTree = Any


class Child(NamedTuple):
    """One architecture of a supernet on its task, as pure functions.

    Attributes:
        init: `(key) -> (weights, carry)`: the weights that all architectures share, and what goes
            on from one training batch to the next (the hidden state of back-propagation through
            time), or `()`.
        loss: traced `(weights, carry, choices, batch, key) -> (loss, (carry, Metrics))` on training
            data; `choices` is int32 `[decisions]`.
        reward: traced `(weights, choices, batch) -> float32 scalar` on validation data, maximised.
    """

    init: Callable[[Array], tuple[PyTree, PyTree]]
    loss: Callable[..., tuple[Array, tuple[PyTree, Metrics]]]
    reward: Callable[[PyTree, Array, PyTree], Array]


@flax.struct.dataclass
class State:
    """All that a search needs to go on.

    Attributes:
        step: int32 scalar, updates of both kinds.
        key: of the run; folded in, never split.
        weights: omega, of all children.
        carry: what goes on from batch to batch.
        opt_state: of the optimiser of omega, which counts its own updates.
        controller: theta, its optimiser and baseline (`nco.actor_critic.State`).
    """

    step: Array
    key: Array
    weights: PyTree
    carry: PyTree
    opt_state: PyTree
    controller: ControllerState


class Search(NamedTuple):
    """The two updates of a search; either is a `Learner`'s, on the same state.

    Attributes:
        init: `(key) -> State`.
        weights: `(State, training batch) -> (State, Metrics)`: a step on omega (eq. 4.1).
        controller: `(State, validation batch) -> (State, Metrics)`: a step on theta.
    """

    init: Callable[[Array], State]
    weights: Callable[[State, PyTree], tuple[State, Metrics]]
    controller: Callable[[State, PyTree], tuple[State, Metrics]]


def search(
    controller: Controller,
    child: Child,
    tx: optax.GradientTransformation,
    *,
    controller_tx: optax.GradientTransformation | None = None,
    baseline: Baseline | None = None,
    entropy_weight: float = 0.0,
    prior_weight: float = 0.0,
    num_children: int = 1,
    num_samples: int = 1,
    proposals: Callable[[Array], Int[Array, " decisions"]] | None = None,
) -> Search:
    """Efficient neural architecture search.

    The controller ascends E[R + entropy_weight * entropy - prior_weight * KL], where R is the
    child's reward and KL the divergence of its decisions from their priors. The thesis says that
    the divergence is "added" to the reward; as a higher reward is better and the divergence is to
    "enforce the sparsity", it is subtracted.

    Args:
        controller: from `enas.controller`.
        child: the supernet and its task.
        tx: optimiser of omega, with its schedule, decay and clipping.
        controller_tx: of theta; Adam at 0.00035 by default.
        baseline: of the reward; a moving average by default, with decay 0.99 (from the public code;
            the thesis does not say).
        entropy_weight: 0.0001 for recurrent cells, 0.1 for images in the thesis.
        prior_weight: 0.8 in the thesis's macro space.
        num_children: M of eq. 4.1; they run one after another. The carry is the last one's.
        num_samples: architectures in a step on theta (1 in the thesis).
        proposals: `(key) -> choices` of the architectures that omega is trained on, in place of the
            controller's samples (an untrained controller's, say).

    Raises:
        ValueError: `num_children` or `num_samples` is below 1.
    """
    for name, number in (("num_children", num_children), ("num_samples", num_samples)):
        if number < 1:
            raise ValueError(f"{name}: expected at least 1, got {number}")

    def bonus(params: PyTree, sample: Sample) -> Array:
        own = entropy_weight * sample.entropy
        if prior_weight:
            own = own - prior_weight * controller.divergence(params, sample.actions)
        return own

    def rewards(inputs: PyTree, actions: Array) -> Array:
        weights, batch = inputs
        return jax.lax.map(lambda one: child.reward(weights, one, batch), actions[:, 0])[:, None]

    learner = actor_critic(
        controller.policy,
        baseline or moving_average(0.99),
        optax.adam(0.00035) if controller_tx is None else controller_tx,
        init_params=controller.init,
        reward=rewards,
        example_inputs=(),
        num_samples=num_samples,
        bonus=bonus if entropy_weight or prior_weight else None,
    )

    def init(key: Array) -> State:
        weights, carry = child.init(jax.random.fold_in(key, 2))
        return State(
            step=jnp.zeros((), jnp.int32),
            key=key,
            weights=weights,
            carry=carry,
            opt_state=tx.init(weights),
            controller=learner.init(jax.random.fold_in(key, 3)),
        )

    def propose(state: State, key: Array) -> Array:
        if proposals is not None:
            return jax.vmap(proposals)(jax.random.split(key, num_children))
        params = state.controller.params
        return controller.policy.sample(params, key, (), num_samples=num_children).actions[:, 0]

    def step_weights(state: State, batch: PyTree) -> tuple[State, Metrics]:
        key = jax.random.fold_in(jax.random.fold_in(state.key, 1), state.step)
        k_propose, k_loss = jax.random.split(key)
        choices = propose(state, k_propose)

        def one(index: Array | int) -> tuple[PyTree, PyTree, Metrics]:
            k_one = jax.random.fold_in(k_loss, index)

            def loss_fn(weights: PyTree) -> tuple[Array, tuple[PyTree, Metrics]]:
                return child.loss(weights, state.carry, choices[index], batch, k_one)

            (loss, (carry, said)), grads = jax.value_and_grad(loss_fn, has_aux=True)(state.weights)
            return grads, carry, {"loss": loss, **said}

        grads, carry, said = _mean_over(one, num_children)
        updates, opt_state = tx.update(grads, state.opt_state, state.weights)
        state = dataclasses.replace(
            state,
            step=state.step + 1,
            weights=optax.apply_updates(state.weights, updates),
            carry=carry,
            opt_state=opt_state,
        )
        return state, said | {"grad_norm": optax.tree.norm(grads)}

    def step_controller(state: State, batch: PyTree) -> tuple[State, Metrics]:
        inner, said = learner.update(state.controller, (state.weights, batch))
        return dataclasses.replace(state, step=state.step + 1, controller=inner), said

    return Search(init, step_weights, step_controller)


def _mean_over(
    one: Callable[[Any], tuple[PyTree, PyTree, Metrics]], number: int
) -> tuple[PyTree, PyTree, Metrics]:
    """Gradients and metrics averaged over children that run one after another; the last carry."""
    if number == 1:
        return one(0)

    def add(total: tuple, index: Array) -> tuple[tuple, PyTree]:
        grads, carry, said = one(index)
        return jax.tree.map(jnp.add, total, (grads, said)), carry

    shapes = jax.eval_shape(one, 0)
    start = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), (shapes[0], shapes[2]))
    total, carries = jax.lax.scan(add, start, jnp.arange(number))
    grads, said = jax.tree.map(lambda leaf: leaf / number, total)
    return grads, jax.tree.map(lambda leaf: leaf[-1], carries), said


class Derived(NamedTuple):
    """Architectures and their rewards with shared weights.

    Attributes:
        best: int32 `[decisions]`, the one with the highest reward.
        choices: int32 `[samples, decisions]`.
        rewards: float32 `[samples]`.
    """

    best: Array
    choices: Array
    rewards: Array


def derive(
    child: Child,
    weights: PyTree,
    choices: Int[Array, "samples decisions"],
    batch: PyTree,
    *,
    at_once: int = 1,
) -> Derived:
    """Ranks architectures by their reward on one minibatch with shared weights, and takes the best.

    Args:
        child: the supernet and its task.
        weights: omega.
        choices: the architectures, samples of the trained controller.
        batch: of validation data, the same for all.
        at_once: 1 runs only what each one chooses, one after another; more evaluates so many at a
            time as mixtures by mask, faster where a device has room for all operations.
    """
    rewards = evaluate(child, weights, choices, batch, at_once=at_once)
    return Derived(choices[jnp.argmax(rewards)], choices, rewards)


def evaluate(
    child: Child,
    weights: PyTree,
    choices: Int[Array, "samples decisions"],
    batch: PyTree,
    *,
    at_once: int = 1,
) -> Float[Array, " samples"]:
    """The reward of each architecture; arguments as in `derive`."""

    def one(chosen: Array) -> Array:
        return child.reward(weights, chosen, batch)

    if at_once == 1:
        return jax.lax.map(one, choices)
    return jax.lax.map(one, choices, batch_size=at_once)


def sample(
    controller: Controller, state: State, key: Array, num_samples: int
) -> Int[Array, "samples decisions"]:
    """Architectures of a search's controller; the key is consumed."""
    params = state.controller.params
    return controller.policy.sample(params, key, (), num_samples=num_samples).actions[:, 0]
