"""The estimators against exact enumeration: five cities, all 120 tours."""

import itertools

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nco import critic, pointer
from nco import policy_gradient as pg
from nco.problems import tsp
from tests.nco import drawn

TOURS = np.array(list(itertools.permutations(range(5))), np.int32)
SAMPLES, ESTIMATES = 3, 3000
POLICY = pointer.policy(tsp.problem)


def _params():
    return drawn.parameters(pointer.init, scale=0.8, embed=6, hidden=6)


def _critic():
    def init(key):
        # A critic that starts near the mean reward: the interval is then narrow enough to tell.
        del key
        params = drawn.parameters(critic.init, scale=0.08, embed=4, hidden=4)
        return params | {"head": params["head"] | {"b_2": np.array([-2.5], np.float32)}}

    return pg.critic(init, critic.apply, optax.adam(1e-2))


BASELINES = {
    "moving_average": pg.moving_average(),
    "critic": _critic(),
    "multi_sample": pg.multi_sample(),
    "greedy_rollout": pg.greedy_rollout(POLICY, tsp.problem.reward, period=2),
}


@jax.jit
def _exact_gradient(params, inputs):
    tours = jnp.broadcast_to(TOURS[:, None], (120, inputs.shape[0], 5))

    def expected_reward(p):
        probability = jnp.exp(POLICY.log_prob(p, inputs, tours)[0])
        return jnp.mean(jnp.sum(probability * tsp.problem.reward(inputs, tours), axis=0))

    return jax.flatten_util.ravel_pytree(jax.grad(expected_reward)(params))[0]


@jax.jit
def _estimates(params, states, inputs, keys):
    """Every baseline's estimates of the gradient, one row a key, and its states after them."""

    def estimate(key):
        def losses(p):
            sample = POLICY.sample(p, key, inputs, num_samples=SAMPLES)
            reward = tsp.problem.reward(inputs, sample.actions)
            found, after = [], {}
            for name, baseline in BASELINES.items():
                advantage, after[name], _ = baseline.update(
                    states[name], reward, inputs, params=params, key=key
                )
                found.append(pg.reinforce_loss(sample.log_prob, advantage))
            return jnp.stack(found), after

        grads, after = jax.jacrev(losses, has_aux=True)(params)
        return jax.vmap(lambda g: -jax.flatten_util.ravel_pytree(g)[0])(grads), after

    return jax.vmap(estimate)(keys)


@pytest.fixture(scope="module")
def estimates():
    """The exact gradient, and `[estimate, baseline, parameter]` of the first and a later step."""
    params, inputs = _params(), jnp.asarray(drawn.instances(2, 5))
    states = {name: b.init(jax.random.key(1), params, inputs) for name, b in BASELINES.items()}
    first, after = _estimates(
        params, states, inputs, jax.random.split(jax.random.key(5), ESTIMATES)
    )
    states = jax.tree.map(lambda x: x[0], after)
    later, _ = _estimates(params, states, inputs, jax.random.split(jax.random.key(6), ESTIMATES))
    return np.asarray(_exact_gradient(params, inputs)), {"first": first, "later": later}


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("step", ["first", "later"])
def test_mean_of_the_estimator_is_the_exact_gradient(estimates, name, step):
    exact, found = estimates
    # Directions: the exact gradient itself, and a few random ones.
    directions = np.stack([exact, *np.random.default_rng(0).normal(size=(5, exact.size))])
    along = np.asarray(found[step])[:, list(BASELINES).index(name)] @ directions.T
    expected = directions @ exact
    error = along.mean(0) - expected
    standard_error = along.std(0, ddof=1) / np.sqrt(ESTIMATES)
    assert (np.abs(error) < 3.5 * standard_error).all(), error / standard_error
    # The interval is narrow enough to see a wrong sign or a missing half along the exact gradient.
    assert 3.5 * standard_error[0] < 0.5 * expected[0]


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
    inputs, reward = drawn.instances(4, 5), np.float32([[-1, -2, -3, -4], [-2, -2, -2, -2]])
    params = drawn.parameters(critic.init, scale=0.08, embed=8, hidden=8)
    baseline = pg.critic(lambda key: params, critic.apply, optax.sgd(1.0))

    @jax.jit
    def run(state, reward, inputs):
        advantage, after, _ = baseline.update(state, reward, inputs)
        return advantage, *(critic.apply(s["params"], inputs) for s in (state, after))

    state = baseline.init(jax.random.key(1), None, inputs)
    advantage, before, later = map(np.asarray, run(state, reward, inputs))
    np.testing.assert_allclose(advantage, reward - before[None], rtol=1e-6)
    assert np.abs(later - before).min() > 0.1  # the update was large enough to be seen


def test_critic_learns_the_mean_reward_of_each_input():
    inputs, target = drawn.instances(4, 5), np.float32([[-1, -2, -3, -4]])
    params = drawn.parameters(critic.init, scale=0.3, embed=16, hidden=16)
    baseline = pg.critic(lambda key: params, critic.apply, optax.adam(1e-2))
    state = baseline.init(jax.random.key(1), None, inputs)
    update = jax.jit(baseline.update)
    advantage, state, metrics = update(state, target, inputs)
    mean_squared = np.mean(np.square(advantage))
    np.testing.assert_allclose(metrics["critic_loss"], mean_squared, rtol=1e-5)
    for _ in range(300):
        advantage, state, metrics = update(state, target, inputs)
    assert float(metrics["critic_loss"]) < 0.01


def test_greedy_rollout_replaces_its_copy_only_by_a_significantly_better_policy():
    params, inputs = jax.tree.map(jnp.asarray, _params()), drawn.instances(64, 5)
    baseline = pg.greedy_rollout(POLICY, tsp.problem.reward, period=2)
    start = baseline.init(jax.random.key(0), params, inputs)
    update = jax.jit(baseline.update)

    @jax.jit
    def greedy_reward(params, inputs):
        greedy = POLICY.sample(params, jax.random.key(0), inputs, greedy=True)
        return tsp.problem.reward(inputs, greedy.actions)

    reward = greedy_reward(params, inputs)
    advantage, _, _ = update(start, reward, inputs, params=params)
    np.testing.assert_allclose(advantage, 0.0, atol=1e-6)

    trained = _trained(params, inputs)
    _, early, _ = update(start, reward, inputs, params=trained)
    advantage, late, _ = update(early, reward, inputs, params=trained)
    np.testing.assert_allclose(advantage, 0.0, atol=1e-6)  # of the copy that is being replaced
    _, worse, _ = update(early | {"params": trained}, reward, inputs, params=params)
    leaf = lambda s: np.asarray(s["params"]["start"])  # noqa: E731
    assert np.array_equal(leaf(early), params["start"])  # no test yet
    assert np.array_equal(leaf(late), trained["start"])
    assert np.array_equal(leaf(worse), trained["start"])
    assert not np.array_equal(params["start"], trained["start"])


@jax.jit
def _trained(params, inputs):
    """A clearly better policy: some steps of REINFORCE with many samples."""
    tx = optax.adam(3e-2)

    def step(state, key):
        params, opt_state = state

        def loss(p):
            sample = POLICY.sample(p, key, inputs, num_samples=8)
            advantage, _, _ = pg.multi_sample().update(
                (), tsp.problem.reward(inputs, sample.actions), inputs
            )
            return pg.reinforce_loss(sample.log_prob, advantage)

        updates, opt_state = tx.update(jax.grad(loss)(params), opt_state)
        return (optax.apply_updates(params, updates), opt_state), None

    keys = jax.random.split(jax.random.key(0), 60)
    (params, _), _ = jax.lax.scan(step, (params, tx.init(params)), keys)
    return params


def test_p_value_equals_scipys():
    from scipy import stats

    p_value = jax.jit(pg._one_sided_p_value)
    gain = np.random.default_rng(0).normal(0.2, 1.0, 50).astype(np.float32)
    for sample in (gain, -gain, gain[:3]):
        expected = stats.ttest_1samp(sample, 0.0, alternative="greater").pvalue
        np.testing.assert_allclose(p_value(sample), expected, rtol=1e-3)


def test_entropy_bonus_and_reward_bounds():
    log_prob, entropy = jnp.array([[-1.0, -2.0]]), jnp.array([[0.5, 1.5]])
    loss = pg.reinforce_loss(log_prob, jnp.array([[1.0, -1.0]]), entropy, entropy_weight=0.1)
    np.testing.assert_allclose(loss, -0.5 - 0.1)
    np.testing.assert_allclose(pg.clip_reward(jnp.array([[-9.0, 2.0]]), (-5.0, 1.0)), [[-5.0, 1.0]])
    grad = jax.grad(lambda a: pg.reinforce_loss(log_prob, a))(jnp.array([[1.0, 2.0]]))
    np.testing.assert_array_equal(grad, 0.0)  # the advantage is a constant


def test_ppo_loss_is_reinforce_at_the_old_policy_and_flat_beyond_the_clip():
    log_prob, advantage = jnp.array([[-1.0, -2.0, -0.5]]), jnp.array([[1.0, -1.0, 2.0]])
    ppo = jax.jit(jax.value_and_grad(lambda x: pg.ppo_loss(x, log_prob, advantage, clip=0.2)))
    reinforce = jax.jit(jax.grad(lambda x: pg.reinforce_loss(x, advantage)))
    np.testing.assert_allclose(ppo(log_prob)[1], reinforce(log_prob), rtol=1e-6)
    moved = log_prob + jnp.array([[0.3, -0.3, -0.3]])  # ratios 1.35, 0.74, 0.74
    loss, grad = jax.tree.map(np.asarray, ppo(moved))
    assert grad[0, 0] == 0.0
    assert grad[0, 1] == 0.0
    assert grad[0, 2] != 0.0  # a good action that became unlikely may come back
    expected = -(1.2 * 1.0 + 0.8 * -1.0 + np.exp(-0.3) * 2.0) / 3
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
