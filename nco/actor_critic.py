"""REINFORCE with any policy and baseline; with a critic it is the thesis's Algorithm 1.

Source: Pham 2021, ch. 2, section 2.4. The thesis's asynchronous workers are replaced by synchronous
data parallelism: the batch is sharded over devices and the gradient is the mean over all of it.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
import optax.contrib
from jaxtyping import Array

from nco.policy_gradient import (
    Baseline,
    Learner,
    Metrics,
    Policy,
    Sample,
    clip_reward,
    reinforce_loss,
)
from nco.problems.problem import check_rewards

PyTree = Any


@flax.struct.dataclass
class State:
    """All that a run needs to go on.

    Attributes:
        step: int32 scalar, updates done.
        key: PRNG key of the run; folded in with the step, never split.
        params: the policy's parameters theta.
        opt_state: its optimiser's state.
        baseline: the baseline's state (a critic holds its parameters and optimiser there).
    """

    step: Array
    key: Array
    params: PyTree
    opt_state: PyTree
    baseline: PyTree


def adam_optimizer(
    learning_rate: float = 1e-3,
    *,
    decay_rate: float = 0.96,
    decay_steps: int = 5000,
    decay_begin: int = 0,
    max_grad_norm: float = 1.0,
) -> optax.GradientTransformation:
    """Adam with clipped gradients and a staircase of learning rates (section 2.5.1).

    Args:
        learning_rate: 1e-3 for TSP20 and TSP50, 1e-4 for TSP100 in the thesis.
        decay_rate: factor of each decay.
        decay_steps: updates between two decays (a staircase).
        decay_begin: updates at the initial rate before the first interval (0 in the thesis).
        max_grad_norm: bound on the gradient's L2 norm.
    """
    schedule = _staircase(
        learning_rate, decay_rate=decay_rate, decay_steps=decay_steps, begin=decay_begin
    )
    return optax.chain(optax.clip_by_global_norm(max_grad_norm), optax.adam(schedule))


def muon_optimizer(
    learning_rate: float = 1e-2,
    *,
    decay_rate: float = 0.96,
    decay_steps: int = 5000,
    decay_begin: int = 0,
    max_grad_norm: float = 1.0,
    matrices: tuple[str, ...] = ("w_h", "w_ref", "w_q"),
    others: float = 0.3,
) -> optax.GradientTransformation:
    """`adam_optimizer` with Muon in place of Adam for some matrices (Jordan et al. 2024).

    Muon's updates have singular values near 1, scaled to the usual size of Adam's (a root mean
    square of 0.2). A pointer network learns in far fewer updates with it, which cost a few products
    of its matrices more. It is not the thesis's.

    Args:
        learning_rate: of these matrices.
        decay_rate: as in `adam_optimizer`.
        decay_steps: as in `adam_optimizer`.
        decay_begin: as in `adam_optimizer`.
        max_grad_norm: as in `adam_optimizer`.
        matrices: names of the parameters that Muon changes: those between hidden units. What reads
            two features through an embedding has a gradient of rank two, of which Muon would make
            an update of full rank, mostly noise.
        others: Adam's learning rate for all other parameters, as a part of `learning_rate`.
    """
    staircase = functools.partial(
        _staircase, decay_rate=decay_rate, decay_steps=decay_steps, begin=decay_begin
    )

    def dimensions(params: PyTree) -> PyTree:
        return jax.tree_util.tree_map_with_path(
            lambda path, _: (
                optax.contrib.MuonDimensionNumbers() if path[-1].key in matrices else None
            ),
            params,
        )

    muon = optax.contrib.muon(
        staircase(learning_rate),
        weight_decay=0.0,
        consistent_rms=0.2,
        adam_learning_rate=staircase(others * learning_rate),
        muon_weight_dimension_numbers=dimensions,
    )
    return optax.chain(optax.clip_by_global_norm(max_grad_norm), muon)


def _staircase(rate: float, *, decay_rate: float, decay_steps: int, begin: int) -> optax.Schedule:
    return optax.exponential_decay(
        rate, decay_steps, decay_rate, transition_begin=begin, staircase=True
    )


def actor_critic(
    policy: Policy,
    baseline: Baseline,
    tx: optax.GradientTransformation,
    *,
    init_params: Callable[[Array], PyTree],
    reward: Callable[[PyTree, PyTree], Array],
    example_inputs: PyTree,
    num_samples: int = 1,
    entropy_weight: float = 0.0,
    reward_bounds: tuple[float, float] | None = None,
    bonus: Callable[[PyTree, Sample], Array] | None = None,
) -> Learner:
    """A `Learner` whose update is one step of Algorithm 1 on a batch of inputs.

    Args:
        policy: proposes objects.
        baseline: b(s); `nco.policy_gradient.critic` makes this the thesis's algorithm.
        tx: optimiser of the policy, its gradient clipping included.
        init_params: `(key) -> params` of the policy.
        reward: `(inputs, actions) -> [samples, batch]`, maximised.
        example_inputs: a batch, or its shapes, from which a baseline may size itself.
        num_samples: objects drawn for each input (1 in the thesis).
        entropy_weight: weight of the entropy bonus (0 in the thesis).
        reward_bounds: rewards are clipped to this interval first; `None` leaves them.
        bonus: `(params, sample) -> [samples, batch]`, a part of the reward that depends on the
            policy itself, such as an entropy: it is added to the reward, after clipping, and its
            own gradient to the policy's.
    """

    def init(key: Array) -> State:
        k_policy, k_baseline = jax.random.split(jax.random.fold_in(key, 2))
        params = init_params(k_policy)
        return State(
            step=jnp.zeros((), jnp.int32),
            key=key,
            params=params,
            opt_state=tx.init(params),
            baseline=baseline.init(k_baseline, params, example_inputs),
        )

    def update(state: State, batch: PyTree) -> tuple[State, Metrics]:
        key = jax.random.fold_in(jax.random.fold_in(state.key, 1), state.step)
        k_sample, k_baseline = jax.random.split(key)

        def loss_fn(params: PyTree) -> tuple[Array, tuple]:
            sample = policy.sample(params, k_sample, batch, num_samples=num_samples)
            earned = jax.lax.stop_gradient(reward(batch, sample.actions))
            check_rewards(earned, sample.log_prob.shape)
            total = clip_reward(earned, reward_bounds)
            own = None if bonus is None else bonus(params, sample)
            if own is not None:
                total = total + jax.lax.stop_gradient(own)
            advantage, baseline_state, metrics = baseline.update(
                state.baseline,
                total,
                batch,
                params=state.params,
                key=k_baseline,
            )
            loss = reinforce_loss(
                sample.log_prob, advantage, sample.entropy, entropy_weight=entropy_weight
            )
            if own is not None:
                loss = loss - jnp.mean(own)
                metrics = metrics | {"bonus": jnp.mean(own)}
            metrics = metrics | {
                "reward": jnp.mean(earned),
                "entropy": jnp.mean(sample.entropy),
                "advantage_rms": jnp.sqrt(jnp.mean(jnp.square(advantage))),
            }
            return loss, (baseline_state, metrics)

        grads, (baseline_state, metrics) = jax.grad(loss_fn, has_aux=True)(state.params)
        updates, opt_state = tx.update(grads, state.opt_state, state.params)
        metrics["grad_norm"] = optax.tree.norm(grads)
        state = dataclasses.replace(
            state,
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            opt_state=opt_state,
            baseline=baseline_state,
        )
        return state, metrics

    return Learner(init, update)


@flax.struct.dataclass
class SupervisedState:
    """All that a supervised run needs to go on; fields as in `State`."""

    step: Array
    key: Array
    params: PyTree
    opt_state: PyTree


def supervised(
    policy: Policy, tx: optax.GradientTransformation, *, init_params: Callable[[Array], PyTree]
) -> Learner:
    """Learning from a solver's answers, as in Vinyals et al. 2015 (section 2.5.1, "Supervised").

    The learner's batches are `(inputs, actions [batch, ...])`; it minimises the cross-entropy of
    each label, -log p(actions | inputs), summed over its decisions and averaged over the batch.

    Args:
        policy: learns to give the labels.
        tx: its optimiser, clipping included.
        init_params: `(key) -> params`.
    """

    def init(key: Array) -> SupervisedState:
        params = init_params(jax.random.fold_in(key, 2))
        return SupervisedState(jnp.zeros((), jnp.int32), key, params, tx.init(params))

    def update(state: SupervisedState, batch: tuple[PyTree, PyTree]) -> tuple[PyTree, Metrics]:
        inputs, actions = batch

        def loss_fn(params: PyTree) -> Array:
            labels = jax.tree.map(lambda x: x[None], actions)  # one sample an input
            return -jnp.mean(policy.log_prob(params, inputs, labels)[0])

        loss, grads = jax.value_and_grad(loss_fn)(state.params)
        updates, opt_state = tx.update(grads, state.opt_state, state.params)
        state = dataclasses.replace(
            state,
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            opt_state=opt_state,
        )
        return state, {"loss": loss, "grad_norm": optax.tree.norm(grads)}

    return Learner(init, update)
