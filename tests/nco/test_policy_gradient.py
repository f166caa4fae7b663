"""The estimators against exact enumeration: five cities, all 120 tours."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nco import critic, pointer
from nco import policy_gradient as pg
from nco.problems import tsp

TOURS = jnp.array(list(itertools.permutations(range(5))), jnp.int32)[:, None]
SAMPLES, ESTIMATES = 3, 3000


def _policy():
    k_params, k_inputs = jax.random.split(jax.random.key(0))
    params = pointer.init(k_params, embed=6, hidden=6, scale=0.8)
    return pointer.policy(tsp.problem), params, tsp.sample(k_inputs, 2, 5)


def _exact_gradient(policy, params, inputs):
    tours = jnp.broadcast_to(TOURS, (120, inputs.shape[0], 5))

    def expected_reward(p):
        probability = jnp.exp(policy.log_prob(p, inputs, tours)[0])
        return jnp.mean(jnp.sum(probability * tsp.problem.reward(inputs, tours), axis=0))

    return jax.grad(expected_reward)(params)


def _critic(policy):
    del policy

    def init(key):
        # A critic that starts near the mean reward: the interval is then narrow enough to tell.
        params = critic.init(key, embed=4, hidden=4)
        return params | {"head": params["head"] | {"b_2": jnp.array([-2.5])}}

    return pg.critic(init, critic.apply, optax.adam(1e-2))


BASELINES = {
    "moving_average": lambda policy: pg.moving_average(),
    "critic": _critic,
    "multi_sample": lambda policy: pg.multi_sample(),
    "greedy_rollout": lambda policy: pg.greedy_rollout(policy, tsp.problem.reward, period=2),
}


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("warm", [False, True], ids=["first_step", "later_step"])
def test_mean_of_the_estimator_is_the_exact_gradient(name, warm):
    policy, params, inputs = _policy()
    baseline = BASELINES[name](policy)
    state = baseline.init(jax.random.key(1), params, inputs)

    def draw(key):
        sample = policy.sample(params, key, inputs, num_samples=SAMPLES)
        return sample, tsp.problem.reward(inputs, sample.actions)

    if warm:
        _, state, _ = baseline.update(
            state, draw(jax.random.key(2))[1], inputs, params=params, key=None
        )
    exact = _exact_gradient(policy, params, inputs)
    # Directions: the exact gradient itself, and a few random ones.
    rng = np.random.default_rng(0)
    directions = [exact] + [
        jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), jnp.float32), params)
        for _ in range(5)
    ]

    def estimate(key):
        def loss(p):
            sample = policy.sample(p, key, inputs, num_samples=SAMPLES)
            reward = tsp.problem.reward(inputs, sample.actions)
            advantage, _, _ = baseline.update(state, reward, inputs, params=params, key=key)
            return pg.reinforce_loss(sample.log_prob, advantage)

        grads = jax.grad(loss)(params)
        return jnp.stack([-_dot(grads, d) for d in directions])

    keys = jax.random.split(jax.random.key(3), ESTIMATES)
    estimates = np.asarray(jax.jit(jax.vmap(estimate))(keys), np.float64)
    expected = np.array([_dot(exact, d) for d in directions])
    error = estimates.mean(0) - expected
    standard_error = estimates.std(0, ddof=1) / np.sqrt(ESTIMATES)
    assert (np.abs(error) < 3.5 * standard_error).all(), error / standard_error
    # The interval is narrow enough to see a wrong sign or a missing half along the exact gradient.
    assert 3.5 * standard_error[0] < 0.5 * expected[0]


def _dot(a, b):
    return sum(jnp.vdot(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def test_moving_average_follows_the_mean_reward():
    baseline = pg.moving_average(0.9)
    state = baseline.init(jax.random.key(0), None, None)
    first, second = jnp.array([[1.0, 3.0]]), jnp.array([[5.0, 7.0]])
    advantage, state, _ = baseline.update(state, first, None)
    np.testing.assert_allclose(advantage, [[-2.0, 2.0]])  # the other sample is the first baseline
    advantage, state, _ = baseline.update(state, second, None)
    np.testing.assert_allclose(advantage, [[3.0, 5.0]])  # the state before the update
    np.testing.assert_allclose(state["value"], 0.9 * 2.0 + 0.1 * 6.0)


def test_multi_sample_leaves_ones_own_reward_out():
    baseline = pg.multi_sample()
    reward = jnp.array([[1.0, 0.0], [2.0, 0.0], [6.0, 3.0]])
    advantage, _, _ = baseline.update((), reward, None)
    np.testing.assert_allclose(advantage, [[-3.0, -1.5], [-1.5, -1.5], [4.5, 3.0]])
    with pytest.raises(ValueError, match="at least 2, got 1"):
        baseline.update((), reward[:1], None)


def test_standardized_advantages_weigh_inputs_alike():
    reward = np.random.default_rng(0).normal(size=(8, 5)) * [0.1, 1.0, 10.0, 0.0, 1.0] - 3.0
    reward[:, 4] = [1.0] + [0.0] * 7  # one sample apart from the rest: the largest advantage
    baseline = pg.multi_sample(standardize=True, epsilon=1e-4)
    advantage, _, _ = baseline.update((), jnp.asarray(reward, jnp.float32), None)
    others = (reward.sum(0) - reward) / 7
    np.testing.assert_allclose(
        advantage, (reward - others) / (reward.std(0) + 1e-4), rtol=1e-3, atol=5e-3
    )
    np.testing.assert_allclose(np.abs(advantage).max(0)[3:], [0.0, 8 / 7**0.5], atol=5e-3)
    # The scale and the shift of an input's rewards do not matter.
    moved, _, _ = baseline.update((), jnp.asarray(5.0 * reward + 1.0, jnp.float32), None)
    np.testing.assert_allclose(moved[:, [0, 1, 2, 4]], advantage[:, [0, 1, 2, 4]], rtol=3e-3)


def test_critics_advantage_uses_its_parameters_before_the_update():
    inputs = tsp.sample(jax.random.key(0), 4, 5)
    baseline = pg.critic(lambda k: critic.init(k, embed=8, hidden=8), critic.apply, optax.sgd(1.0))
    state = baseline.init(jax.random.key(1), None, inputs)
    reward = jnp.array([[-1.0, -2.0, -3.0, -4.0], [-2.0, -2.0, -2.0, -2.0]])
    advantage, after, _ = baseline.update(state, reward, inputs)
    before, later = (critic.apply(s["params"], inputs) for s in (state, after))
    np.testing.assert_allclose(advantage, reward - before[None], rtol=1e-6)
    assert np.abs(later - before).min() > 0.1  # the update was large enough to be seen


def test_critic_learns_the_mean_reward_of_each_input():
    inputs = tsp.sample(jax.random.key(0), 4, 5)
    target = jnp.array([[-1.0, -2.0, -3.0, -4.0]])
    baseline = pg.critic(
        lambda k: critic.init(k, embed=16, hidden=16, scale=0.3), critic.apply, optax.adam(1e-2)
    )
    state = baseline.init(jax.random.key(1), None, inputs)
    update = jax.jit(lambda s: baseline.update(s, target, inputs))
    advantage, state, metrics = update(state)
    np.testing.assert_allclose(metrics["critic_loss"], jnp.mean(jnp.square(advantage)), rtol=1e-5)
    for _ in range(300):
        advantage, state, metrics = update(state)
    assert float(metrics["critic_loss"]) < 0.01


def test_greedy_rollout_replaces_its_copy_only_by_a_significantly_better_policy():
    policy, params, _ = _policy()
    inputs = tsp.sample(jax.random.key(4), 64, 5)
    greedy = policy.sample(params, jax.random.key(0), inputs, greedy=True)
    reward = tsp.problem.reward(inputs, greedy.actions)
    baseline = pg.greedy_rollout(policy, tsp.problem.reward, period=2)
    start = baseline.init(jax.random.key(0), params, inputs)
    advantage, _, _ = baseline.update(start, reward, inputs, params=params)
    np.testing.assert_allclose(advantage, 0.0, atol=1e-6)

    trained = _trained(policy, params, inputs)
    _, early, _ = baseline.update(start, reward, inputs, params=trained)
    advantage, late, _ = baseline.update(early, reward, inputs, params=trained)
    np.testing.assert_allclose(advantage, 0.0, atol=1e-6)  # of the copy that is being replaced
    _, worse, _ = baseline.update(early | {"params": trained}, reward, inputs, params=params)
    leaf = lambda s: np.asarray(s["params"]["start"])  # noqa: E731
    assert np.array_equal(leaf(early), params["start"])  # no test yet
    assert np.array_equal(leaf(late), trained["start"])
    assert np.array_equal(leaf(worse), trained["start"])


def _trained(policy, params, inputs):
    """A clearly better policy: some steps of REINFORCE with many samples."""
    tx = optax.adam(3e-2)

    @jax.jit
    def step(params, opt_state, key):
        def loss(p):
            sample = policy.sample(p, key, inputs, num_samples=8)
            advantage, _, _ = pg.multi_sample().update(
                (), tsp.problem.reward(inputs, sample.actions), inputs
            )
            return pg.reinforce_loss(sample.log_prob, advantage)

        updates, opt_state = tx.update(jax.grad(loss)(params), opt_state)
        return optax.apply_updates(params, updates), opt_state

    opt_state = tx.init(params)
    for i in range(60):
        params, opt_state = step(params, opt_state, jax.random.key(i))
    return params


def test_p_value_equals_scipys():
    from scipy import stats

    gain = np.random.default_rng(0).normal(0.2, 1.0, 50).astype(np.float32)
    for sample in (gain, -gain, gain[:3]):
        expected = stats.ttest_1samp(sample, 0.0, alternative="greater").pvalue
        np.testing.assert_allclose(pg._one_sided_p_value(jnp.asarray(sample)), expected, rtol=1e-3)


def test_entropy_bonus_and_reward_bounds():
    log_prob, entropy = jnp.array([[-1.0, -2.0]]), jnp.array([[0.5, 1.5]])
    loss = pg.reinforce_loss(log_prob, jnp.array([[1.0, -1.0]]), entropy, entropy_weight=0.1)
    np.testing.assert_allclose(loss, -0.5 - 0.1)
    np.testing.assert_allclose(pg.clip_reward(jnp.array([[-9.0, 2.0]]), (-5.0, 1.0)), [[-5.0, 1.0]])
    grad = jax.grad(lambda a: pg.reinforce_loss(log_prob, a))(jnp.array([[1.0, 2.0]]))
    np.testing.assert_array_equal(grad, 0.0)  # the advantage is a constant


def test_ppo_loss_is_reinforce_at_the_old_policy_and_flat_beyond_the_clip():
    log_prob, advantage = jnp.array([[-1.0, -2.0, -0.5]]), jnp.array([[1.0, -1.0, 2.0]])
    at_old = jax.grad(lambda x: pg.ppo_loss(x, log_prob, advantage, clip=0.2))(log_prob)
    reinforce = jax.grad(lambda x: pg.reinforce_loss(x, advantage))(log_prob)
    np.testing.assert_allclose(at_old, reinforce, rtol=1e-6)
    moved = log_prob + jnp.array([[0.3, -0.3, -0.3]])  # ratios 1.35, 0.74, 0.74
    grad = jax.grad(lambda x: pg.ppo_loss(x, log_prob, advantage, clip=0.2))(moved)
    assert grad[0, 0] == 0.0
    assert grad[0, 1] == 0.0
    assert grad[0, 2] != 0.0  # a good action that became unlikely may come back
    loss = pg.ppo_loss(moved, log_prob, advantage, clip=0.2)
    expected = -(1.2 * 1.0 + 0.8 * -1.0 + np.exp(-0.3) * 2.0) / 3
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
