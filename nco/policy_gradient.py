"""The policy-gradient estimator of every room: interfaces, losses and baselines.

A stochastic policy proposes discrete objects, something scores them, and REINFORCE moves the
policy towards the better ones. **Rewards are maximised**; a cost, such as a tour's length, enters
as its negative.

Shapes: `samples` objects are drawn for each of `batch` inputs, and rewards, log-probabilities and
advantages are all float32 `[samples, batch]`.

Source: Pham 2021, ch. 2, section 2.4 (eqs. 2.3-2.6, Algorithms 1 and 2).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

PyTree = Any
Metrics = dict[str, Array]  # float32 scalars


class Sample(NamedTuple):
    """Objects drawn from a policy.

    Attributes:
        actions: pytree, leaves `[samples, batch, ...]`.
        log_prob: float32 `[samples, batch]`, nats, summed over one object's decisions;
            differentiable in the policy's parameters (the actions are not).
        entropy: float32 `[samples, batch]`, nats, the decisions' entropies summed along the
            sampled object.
    """

    actions: PyTree
    log_prob: Array
    entropy: Array


class Policy(NamedTuple):
    """A stochastic policy over discrete objects, as pure functions.

    Attributes:
        sample: `(params, key, inputs, *, num_samples=1, temperature=1.0, greedy=False) -> Sample`;
            the key is consumed.
        log_prob: `(params, inputs, actions) -> (log_prob, entropy)`, each `[samples, batch]`:
            scores given actions, for off-policy losses, PPO, or rewards that the host computes.
    """

    sample: Callable[..., Sample]
    log_prob: Callable[..., tuple[Array, Array]]


class Baseline(NamedTuple):
    """A baseline b(s) of eq. 2.4, as pure functions over an explicit state.

    Attributes:
        init: `(key, params, inputs) -> baseline_state`; `params` are the policy's, `inputs` an
            example batch.
        update: `(baseline_state, reward [samples, batch], inputs, *, params=None, key=None) ->
            (advantage [samples, batch], baseline_state, Metrics)`. The advantage uses the state
            *before* the update, so that no sample's baseline depends on the sample itself and the
            estimator stays unbiased.
    """

    init: Callable[..., PyTree]
    update: Callable[..., tuple[Array, PyTree, Metrics]]


class Learner(NamedTuple):
    """Something that learns: made by a factory, driven by a loop that knows nothing about it.

    Attributes:
        init: `(key) -> State`, a frozen dataclass that holds all that must survive a kill, among
            it `step` (int32 scalar) and `key` (folded in, never split).
        update: `(state, batch) -> (State, Metrics)`, traced: jit, scan, vmap or shard it.
    """

    init: Callable[..., PyTree]
    update: Callable[..., tuple[PyTree, Metrics]]


def reinforce_loss(
    log_prob: Float[Array, "samples batch"],
    advantage: Float[Array, "samples batch"],
    entropy: Float[Array, "samples batch"] | float = 0.0,
    *,
    entropy_weight: float = 0.0,
) -> Float[Array, ""]:
    """Surrogate whose gradient is the REINFORCE estimate of eq. 2.5.

    Minimising it maximises the expected reward: `-mean(advantage * log_prob) - entropy_weight *
    mean(entropy)`. The advantage is a constant here, whatever made it.

    Args:
        log_prob: nats, differentiable in the policy's parameters.
        advantage: reward minus baseline.
        entropy: nats; only read where `entropy_weight` is not zero.
        entropy_weight: weight of the entropy bonus.

    >>> import jax.numpy as jnp
    >>> float(reinforce_loss(jnp.array([[-1.0, -2.0]]), jnp.array([[0.5, -0.5]])))
    -0.25
    """
    policy_term = jnp.mean(jax.lax.stop_gradient(advantage) * log_prob)
    return -policy_term - _bonus(entropy, entropy_weight)


def ppo_loss(
    log_prob: Float[Array, "samples batch"],
    old_log_prob: Float[Array, "samples batch"],
    advantage: Float[Array, "samples batch"],
    entropy: Float[Array, "samples batch"] | float = 0.0,
    *,
    clip: float = 0.2,
    entropy_weight: float = 0.0,
) -> Float[Array, ""]:
    """Clipped surrogate of PPO (Schulman et al. 2017, eq. 7) with an entropy bonus.

    With `old_log_prob == log_prob` its gradient is that of `reinforce_loss`.

    Args:
        log_prob: nats, under the parameters that are being updated.
        old_log_prob: nats, under the parameters that drew the samples; a constant.
        advantage: reward minus baseline; a constant.
        entropy: nats; only read where `entropy_weight` is not zero.
        clip: half-width of the interval around 1 that the probability ratio may use.
        entropy_weight: weight of the entropy bonus.
    """
    advantage = jax.lax.stop_gradient(advantage)
    ratio = jnp.exp(log_prob - jax.lax.stop_gradient(old_log_prob))
    clipped = jnp.clip(ratio, 1.0 - clip, 1.0 + clip)
    policy_term = jnp.mean(jnp.minimum(ratio * advantage, clipped * advantage))
    return -policy_term - _bonus(entropy, entropy_weight)


def _bonus(entropy: Array | float, weight: float) -> Array | float:
    return weight * jnp.mean(jnp.asarray(entropy)) if weight else 0.0


def clip_reward(
    reward: Float[Array, "samples batch"], bounds: tuple[float, float] | None
) -> Float[Array, "samples batch"]:
    """Reward clipped to `(low, high)` before any baseline sees it; `None` leaves it as it is."""
    return reward if bounds is None else jnp.clip(reward, bounds[0], bounds[1])


def moving_average(decay: float = 0.99) -> Baseline:
    """Exponential moving average of the batch's mean reward (Algorithm 2, line 15).

    The printed line averages an undefined b_i; the average here follows the mean of the rewards,
    which is what the text describes. Its first value, which the thesis leaves open, is chosen so
    that the estimator is unbiased from the first step: each sample's first baseline is the mean of
    the *other* samples of the first batch (zero if there is no other), and the average then starts
    at that batch's mean.

    Args:
        decay: alpha; 0.99 in the thesis's Active Search.
    """

    def init(key: Array, params: PyTree, inputs: PyTree) -> PyTree:
        del key, params, inputs
        return {"value": jnp.zeros(()), "started": jnp.zeros((), bool)}

    def update(
        state: PyTree,
        reward: Array,
        inputs: PyTree,
        *,
        params: PyTree = None,
        key: Array | None = None,
    ) -> tuple[Array, PyTree, Metrics]:
        del inputs, params, key
        mean = jnp.mean(reward)
        others = (jnp.sum(reward) - reward) / max(reward.size - 1, 1)
        advantage = reward - jnp.where(state["started"], state["value"], others)
        value = jnp.where(state["started"], decay * state["value"] + (1.0 - decay) * mean, mean)
        state = {"value": value, "started": jnp.ones((), bool)}
        return advantage, state, {"baseline": value}

    return Baseline(init, update)


def multi_sample(*, standardize: bool = False, epsilon: float = 1e-4) -> Baseline:
    """Mean reward of the *other* samples of the same input (shared baseline, leave-one-out).

    It needs no state and tells inputs apart. The plain mean over all samples, one's own among
    them, gives this advantage times (samples - 1) / samples.

    Args:
        standardize: whether an input's advantages are divided by the standard deviation of its
            rewards (as in Shao et al. 2024, eq. 3), so that the few inputs whose samples differ
            most do not dominate the gradient. It follows another objective, in which inputs have
            other weights; and as the deviation depends on one's own sample too, it is unbiased for
            none.
        epsilon: added to the deviation, in the rewards' unit; samples that are alike but for
            rounding get advantages near zero.

    Raises:
        ValueError: at trace time, where fewer than two samples an input are drawn.
    """

    def init(key: Array, params: PyTree, inputs: PyTree) -> PyTree:
        del key, params, inputs
        return ()

    def update(
        state: PyTree,
        reward: Array,
        inputs: PyTree,
        *,
        params: PyTree = None,
        key: Array | None = None,
    ) -> tuple[Array, PyTree, Metrics]:
        del inputs, params, key
        num_samples = reward.shape[0]
        if num_samples < 2:
            raise ValueError(f"multi_sample: num_samples: expected at least 2, got {num_samples}")
        others = (jnp.sum(reward, axis=0, keepdims=True) - reward) / (num_samples - 1)
        advantage = reward - others
        if standardize:
            advantage = advantage / (jnp.std(reward, axis=0, keepdims=True) + epsilon)
        return advantage, state, {"baseline": jnp.mean(reward)}

    return Baseline(init, update)


def critic(
    init_critic: Callable[[Array], PyTree],
    apply_critic: Callable[[PyTree, PyTree], Array],
    tx: optax.GradientTransformation,
) -> Baseline:
    """A learned b(s): trained by mean squared error on the sampled rewards (eq. 2.6, Algorithm 1).

    Args:
        init_critic: `(key) -> critic_params`.
        apply_critic: `(critic_params, inputs) -> [batch]`, the predicted reward of each input.
        tx: the critic's own optimiser; it holds the clipping of its gradient too.
    """

    def init(key: Array, params: PyTree, inputs: PyTree) -> PyTree:
        del params, inputs
        critic_params = init_critic(key)  # theta_v
        return {"params": critic_params, "opt_state": tx.init(critic_params)}

    def update(
        state: PyTree,
        reward: Array,
        inputs: PyTree,
        *,
        params: PyTree = None,
        key: Array | None = None,
    ) -> tuple[Array, PyTree, Metrics]:
        del params, key
        reward = jax.lax.stop_gradient(reward)

        def loss_fn(critic_params: PyTree) -> tuple[Array, Array]:
            value = apply_critic(critic_params, inputs)
            return jnp.mean(jnp.square(value[None] - reward)), value

        (loss, value), grads = jax.value_and_grad(loss_fn, has_aux=True)(state["params"])
        updates, opt_state = tx.update(grads, state["opt_state"], state["params"])
        state = {"params": optax.apply_updates(state["params"], updates), "opt_state": opt_state}
        metrics = {
            "baseline": jnp.mean(value),
            "critic_loss": loss,
            "critic_grad_norm": optax.tree.norm(grads),
        }
        return reward - value[None], state, metrics

    return Baseline(init, update)


def greedy_rollout(
    policy: Policy,
    reward_fn: Callable[[PyTree, PyTree], Array],
    *,
    period: int = 100,
    significance: float = 0.05,
) -> Baseline:
    """Reward of the greedy object of a frozen copy of the policy (Kool et al. 2019).

    Every `period` updates the frozen copy and the present policy both decode the current batch,
    which neither was trained on, greedily; the copy is replaced where the present policy is better
    by a one-sided paired t-test at `significance`, which needs a batch of two at least.

    Args:
        policy: the policy that is being trained.
        reward_fn: `(inputs, actions) -> reward [samples, batch]`; clipped where the samples'
            rewards are.
        period: updates between two tests.
        significance: level of the test.
    """

    def greedy_reward(params: PyTree, inputs: PyTree) -> Array:
        # Greedy decoding draws nothing; the key only fills the argument.
        sample = policy.sample(params, jax.random.key(0), inputs, greedy=True)
        return jax.lax.stop_gradient(reward_fn(inputs, sample.actions)[0])

    def init(key: Array, params: PyTree, inputs: PyTree) -> PyTree:
        del key, inputs
        # A copy: a donated training state must not hold one buffer twice.
        return {"params": jax.tree.map(jnp.copy, params), "step": jnp.zeros((), jnp.int32)}

    def update(
        state: PyTree,
        reward: Array,
        inputs: PyTree,
        *,
        params: PyTree = None,
        key: Array | None = None,
    ) -> tuple[Array, PyTree, Metrics]:
        del key
        if params is None:
            raise ValueError("greedy_rollout: params: expected the policy's parameters, got None")
        frozen, step = state["params"], state["step"] + 1
        value = greedy_reward(frozen, inputs)

        def test() -> PyTree:
            gain = greedy_reward(params, inputs) - value
            better = _one_sided_p_value(gain) < significance
            return jax.tree.map(lambda new, old: jnp.where(better, new, old), params, frozen)

        frozen = jax.lax.cond(step % period == 0, test, lambda: frozen)
        advantage = reward - value[None]
        return advantage, {"params": frozen, "step": step}, {"baseline": jnp.mean(value)}

    return Baseline(init, update)


def _one_sided_p_value(gain: Float[Array, " batch"]) -> Float[Array, ""]:
    """P-value of a one-sided t-test of mean(gain) > 0."""
    freedom = float(max(gain.shape[0] - 1, 1))
    mean, deviation = jnp.mean(gain), jnp.std(gain, ddof=1) if gain.shape[0] > 1 else jnp.inf
    t = mean / (deviation / jnp.sqrt(float(gain.shape[0])) + 1e-12)
    tail = 0.5 * jax.scipy.special.betainc(0.5 * freedom, 0.5, freedom / (freedom + jnp.square(t)))
    return jnp.where(t > 0, tail, 1.0 - tail)
