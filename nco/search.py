"""Finding solutions with a policy: greedy decoding, the best of many samples, and Active Search.

Source: Pham 2021, ch. 2, section 2.4.1 and Algorithm 2. All functions are pure and jit;
`active_search` maps over instances with vmap.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from nco.actor_critic import adam_optimizer
from nco.policy_gradient import Policy, Sample, moving_average, reinforce_loss
from nco.problems.problem import Problem, rewards

PyTree = Any
_ROUND = 10  # chunks of samples in a call


class Solutions(NamedTuple):
    """One solution an instance.

    Attributes:
        actions: int32 `[batch, items]`, -1 after the end.
        reward: float32 `[batch]`; a tour's length is its negative.
    """

    actions: Array
    reward: Array


class ActiveSearchResult(NamedTuple):
    """What a search on one instance found.

    Attributes:
        actions: int32 `[items]`, the best solution, in the instance's own numbering.
        reward: float32 scalar, its reward.
        best_so_far: float32 `[steps]`, the best reward after each step.
        mean_reward: float32 `[steps]`, the mean reward of each step's samples.
        params: the policy's parameters at the end.
    """

    actions: Array
    reward: Array
    best_so_far: Array
    mean_reward: Array
    params: PyTree


def greedy(
    policy: Policy, problem: Problem, params: PyTree, inputs: Float[Array, "batch items features"]
) -> Solutions:
    """Takes the likeliest item at every step.

    Raises:
        ValueError: the instances hold NaN or an infinity (every search does, outside of jit).
    """
    check_finite(inputs)
    actions = policy.sample(params, jax.random.key(0), inputs, greedy=True).actions  # draws nothing
    return Solutions(actions[0], rewards(problem, inputs, actions)[0])


def greedy_ensemble(
    policy: Policy,
    problem: Problem,
    params: PyTree,
    inputs: Float[Array, "batch items features"],
) -> Solutions:
    """The best of several models' greedy solutions of each instance (greedy@16 of the thesis).

    Args:
        policy: the architecture that the models share.
        problem: scores their solutions.
        params: leaves `[models, ...]`, the models' parameters stacked.
        inputs: the instances.
    """
    found = jax.vmap(lambda one: greedy(policy, problem, one, inputs))(params)
    return _best_sample(found.actions, found.reward)


def best_of_samples(
    policy: Policy,
    problem: Problem,
    params: PyTree,
    key: Array,
    inputs: Float[Array, "batch items features"],
    *,
    num_samples: int,
    temperature: float | Float[Array, ""] = 1.0,
    chunk: int = 128,
) -> tuple[Solutions, Float[Array, "chunks batch"]]:
    """Best of `num_samples` samples an instance, in memory that does not grow with their number.

    Args:
        policy: proposes solutions.
        problem: scores them.
        params: the policy's parameters.
        key: PRNG key; consumed.
        inputs: the instances.
        num_samples: solutions an instance, a multiple of `chunk`.
        temperature: T of eq. 2.15 (T* in the thesis: 2.0, 2.2 and 1.5 for TSP20, 50 and 100).
        chunk: solutions an instance that are in memory at once.

    Returns:
        The best solutions (actions of -1 where no reward was a number), and the best reward so far
        after each chunk.

    Raises:
        ValueError: `num_samples` is no positive multiple of `chunk`, `chunk` is not positive, or
            `temperature` is a number that is not.
    """
    check_finite(inputs)
    if chunk < 1:
        raise ValueError(f"chunk: expected at least 1, got {chunk}")
    if isinstance(temperature, int | float) and not temperature > 0:
        raise ValueError(f"temperature: expected a positive number, got {temperature}")
    chunk = min(chunk, num_samples)
    if num_samples < 1 or num_samples % chunk:
        raise ValueError(
            f"num_samples: expected a positive multiple of chunk={chunk}, got {num_samples}"
        )

    def body(best: Solutions, index: Array) -> tuple[Solutions, Array]:
        sample = policy.sample(
            params,
            jax.random.fold_in(key, index),
            inputs,
            num_samples=chunk,
            temperature=temperature,
        )
        best = _better(best, _best_sample(sample.actions, rewards(problem, inputs, sample.actions)))
        return best, best.reward

    nothing = Solutions(
        jnp.full(inputs.shape[:2], -1, jnp.int32), jnp.full(inputs.shape[:1], -jnp.inf)
    )
    return jax.lax.scan(body, nothing, jnp.arange(num_samples // chunk))


def plan(num_samples: int, largest: int) -> tuple[list[int], int]:
    """Cuts many samples into calls of `best_of_samples`: how many each draws, and its chunk.

    Where a divisor allows it all calls are alike, so that one program is compiled.

    Args:
        num_samples: in all.
        largest: bound on the samples drawn at once.

    >>> plan(1280, 128), plan(1500, 128), plan(1009, 128)
    (([1280], 128), ([750, 750], 125), ([896, 113], 128))
    """
    fitting = [size for size in range(1, largest + 1) if num_samples % size == 0]
    chunk = fitting[-1] if 4 * fitting[-1] >= largest else largest
    chunk = min(chunk, num_samples)
    chunks, rest = divmod(num_samples, chunk)
    together = max(size for size in range(1, _ROUND + 1) if chunks % size == 0)
    return [together * chunk] * (chunks // together) + [rest] * (rest > 0), chunk


def active_search(
    policy: Policy,
    problem: Problem,
    params: PyTree,
    key: Array,
    instance: Float[Array, "items features"],
    *,
    num_candidates: int,
    batch: int = 128,
    learning_rate: float = 1e-5,
    decay: float = 0.99,
    decay_rate: float = 0.96,
    decay_steps: int = 5000,
    max_grad_norm: float = 1.0,
    shuffle: bool = True,
) -> ActiveSearchResult:
    """Algorithm 2: policy gradients on one instance, keeping the best solution that was sampled.

    Each step feeds `batch` copies of the instance, every copy in an order of its own ("we randomly
    shuffle the input sequence"), samples one solution of each, and takes one Adam step against a
    moving-average baseline. The baseline is `nco.policy_gradient.moving_average`, whose docstring
    settles what Algorithm 2 leaves undefined. The first best solution is a random one (line 2).

    Args:
        policy: proposes solutions.
        problem: scores them.
        params: trained parameters, or fresh ones to start from scratch.
        key: PRNG key; consumed.
        instance: the instance.
        num_candidates: K, solutions considered in all; the number of steps is ceil(K / batch).
        batch: B.
        learning_rate: of Adam; a hundredth of training's in the thesis when the parameters are
            trained.
        decay: alpha of the baseline.
        decay_rate: factor of each decay of the learning rate.
        decay_steps: updates between two decays (a staircase), as in training.
        max_grad_norm: bound on the gradient's L2 norm.
        shuffle: whether copies are permuted.

    Raises:
        ValueError: `num_candidates` or `batch` is not positive.
    """
    check_finite(instance)
    if num_candidates < 1 or batch < 1:
        raise ValueError(
            f"num_candidates and batch: expected positive, got {num_candidates} and {batch}"
        )
    steps = math.ceil(num_candidates / batch)
    items = instance.shape[0]
    tx = adam_optimizer(
        learning_rate,
        decay_rate=decay_rate,
        decay_steps=decay_steps,
        max_grad_norm=max_grad_norm,
    )
    baseline = moving_average(decay)
    copies = jnp.broadcast_to(instance[None], (batch, *instance.shape))
    k_first, k_steps = jax.random.split(key)

    def body(state: tuple, step: Array) -> tuple[tuple, tuple[Array, Array]]:
        params, opt_state, baseline_state, best = state
        k_order, k_sample = jax.random.split(jax.random.fold_in(k_steps, step))
        order = jnp.broadcast_to(jnp.arange(items, dtype=jnp.int32)[None], (batch, items))
        if shuffle:
            order = jax.random.permutation(k_order, order, axis=1, independent=True)
        inputs = jnp.take_along_axis(copies, order[..., None], axis=1)

        def loss_fn(params: PyTree) -> tuple[Array, tuple]:
            sample = policy.sample(params, k_sample, inputs)
            reward = jax.lax.stop_gradient(rewards(problem, inputs, sample.actions))
            advantage, new_baseline, _ = baseline.update(baseline_state, reward, inputs)
            return reinforce_loss(sample.log_prob, advantage), (
                sample.actions,
                reward,
                new_baseline,
            )

        grads, (actions, reward, new_baseline) = jax.grad(loss_fn, has_aux=True)(params)
        updates, opt_state = tx.update(grads, opt_state, params)
        own = jnp.take_along_axis(order, jnp.maximum(actions[0], 0), axis=1)
        own = jnp.where(actions[0] < 0, -1, own)[:, None]  # [samples=batch, batch=1, items]
        found = _best_sample(own, reward[0][:, None])
        best = _better(best, found)
        new_params = optax.apply_updates(params, updates)
        return (new_params, opt_state, new_baseline, best), (best.reward[0], jnp.mean(reward))

    first = random_solutions(problem, k_first, instance[None])
    state = (params, tx.init(params), baseline.init(key, params, copies), first)
    state, (best_so_far, mean_reward) = jax.lax.scan(body, state, jnp.arange(steps))
    best = state[3]
    return ActiveSearchResult(best.actions[0], best.reward[0], best_so_far, mean_reward, state[0])


def uniform_policy(problem: Problem) -> Policy:
    """Picks a feasible item uniformly at every step; it has no parameters.

    With `best_of_samples` it is random search.
    """

    def follow(inputs: Array, samples: int, pick: Array, choose: Any) -> tuple[Array, Array]:
        spread = jnp.broadcast_to(inputs[None], (samples, *inputs.shape))

        def body(state: PyTree, pick_step: Array) -> tuple[PyTree, tuple[Array, Array]]:
            feasible = problem.feasible(state)
            choices = jnp.sum(feasible, axis=-1)
            action = jnp.where(choices > 0, choose(feasible, pick_step), -1).astype(jnp.int32)
            entropy = jnp.log(jnp.maximum(choices, 1).astype(jnp.float32))
            return problem.step(state, action), (action, entropy)

        _, (actions, entropy) = jax.lax.scan(body, problem.reset(spread), pick)
        return jnp.moveaxis(actions, 0, -1), jnp.sum(entropy, axis=0)

    def sample(
        params: PyTree,
        key: Array,
        inputs: Array,
        *,
        num_samples: int = 1,
        temperature: float | Array = 1.0,
        greedy: bool = False,
    ) -> Sample:
        del params, temperature, greedy  # a uniform distribution has neither
        batch, items, _ = inputs.shape
        noise = jax.random.uniform(key, (items, num_samples, batch, items))
        actions, entropy = follow(
            inputs,
            num_samples,
            noise,
            lambda feasible, pick: jnp.argmax(jnp.where(feasible, pick, -1.0), axis=-1),
        )
        return Sample(actions, -entropy, entropy)

    def log_prob(params: PyTree, inputs: Array, actions: Array) -> tuple[Array, Array]:
        del params
        given = jnp.moveaxis(actions, -1, 0)
        _, entropy = follow(inputs, actions.shape[0], given, lambda feasible, pick: pick)
        return -entropy, entropy

    return Policy(sample, log_prob)


def random_solutions(
    problem: Problem, key: Array, inputs: Float[Array, "batch items features"]
) -> Solutions:
    """One solution of each instance by `uniform_policy`; the key is consumed."""
    actions = uniform_policy(problem).sample(None, key, inputs).actions
    return Solutions(actions[0], rewards(problem, inputs, actions)[0])


def check_finite(inputs: Any) -> None:
    """Checks that instances are finite, where their numbers are known: not within jit.

    Raises:
        ValueError: the first instance that holds NaN or an infinity.
    """
    if isinstance(inputs, jax.core.Tracer):
        return
    bad = ~np.isfinite(np.asarray(inputs))
    if bad.any():
        where = ", ".join(map(str, np.argwhere(bad)[0]))
        found = np.asarray(inputs)[bad][0]
        raise ValueError(f"inputs: expected finite numbers, got {found} at [{where}]")


def _best_sample(actions: Array, reward: Array) -> Solutions:
    index = jnp.argmax(reward, axis=0)
    best = jnp.take_along_axis(actions, index[None, :, None], axis=0)[0]
    return Solutions(best, jnp.take_along_axis(reward, index[None], axis=0)[0])


def _better(first: Solutions, second: Solutions) -> Solutions:
    """The better of two solutions an instance; the first where they tie."""
    replace = second.reward > first.reward
    return Solutions(
        jnp.where(replace[:, None], second.actions, first.actions),
        jnp.where(replace, second.reward, first.reward),
    )
