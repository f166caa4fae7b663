import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.nco import training as pointer_training
from experiments.runner import config as configs
from nco import actor_critic, critic, pointer, search
from nco import policy_gradient as pg
from nco.problems import tsp
from tests.nco import drawn


def make(baseline, *, tx=None, num_samples=1, items=6, batch=8, **options):
    policy = pointer.policy(tsp.problem)
    if baseline == "greedy_rollout":
        baseline = pg.greedy_rollout(policy, tsp.problem.reward, period=3)
    return actor_critic.actor_critic(
        policy,
        baseline,
        tx or actor_critic.adam_optimizer(),
        init_params=lambda k: drawn.parameters(pointer.init, scale=0.3, embed=16, hidden=16),
        reward=tsp.problem.reward,
        example_inputs=jax.ShapeDtypeStruct((batch, items, 2), jnp.float32),
        num_samples=num_samples,
        **options,
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"reward": lambda inputs, actions: jnp.zeros(())}, r"reward: .* = \[2, 8\], got .*\[\]"),
        ({"reward": lambda inputs, actions: jnp.zeros((8,))}, r"reward: .* \[2, 8\], got .*\[8\]"),
        ({"feasible": lambda state: jnp.ones((2, 8))}, r"feasible: .*bool \[2, 8, 6\].*float32"),
        ({"feasible": lambda state: jnp.ones((2, 8, 6))}, r"feasible: .*bool .*got float32"),
        ({}, r"inputs: expected \[batch, items, 3\], as input_dim.*got shape \[8, 6, 2\]"),
    ],
    ids=["one reward", "no samples", "feasible", "no flags", "input_dim"],
)
def test_what_is_wrong_with_a_problem_of_ones_own_is_named(changes, words):
    problem = tsp.problem._replace(**changes)
    features = 2 if changes else 3
    policy, params = pointer.policy(problem), pointer.init(jax.random.key(0), input_dim=features)
    learner = actor_critic.actor_critic(
        policy,
        pg.multi_sample(),
        optax.sgd(0.1),
        init_params=lambda key: params,
        reward=problem.reward,
        example_inputs=None,
        num_samples=2,
    )
    batch, key = jax.ShapeDtypeStruct((8, 6, 2), jnp.float32), jax.random.key(0)
    with pytest.raises(ValueError, match=words):
        jax.eval_shape(learner.update, jax.eval_shape(learner.init, key), batch)
    find = functools.partial(search.best_of_samples, policy, problem, num_samples=2, chunk=2)
    with pytest.raises(ValueError, match=words):
        jax.eval_shape(find, params, key, batch)


def test_update_is_algorithm_1_line_by_line():
    """Lines 6 to 14, written out with the pieces, give the same parameters.

    Plain gradient steps in place of Adam's, whose first step is little but the gradient's sign.
    """

    def near(key):  # a critic near the mean reward, as it is after a while
        params = drawn.parameters(critic.init, scale=0.3, embed=8, hidden=8)
        return params | {"head": params["head"] | {"b_2": np.array([-2.5], np.float32)}}

    learner = make(pg.critic(near, critic.apply, optax.sgd(0.5)), tx=optax.sgd(0.5))
    policy = pointer.policy(tsp.problem)
    state = learner.init(jax.random.key(0))
    batch = drawn.instances(8, 6)
    new, metrics = jax.jit(learner.update)(state, batch)

    @jax.jit
    def written_out(params, critic_params, batch):
        key = jax.random.fold_in(jax.random.fold_in(state.key, 1), state.step)
        k_sample, _ = jax.random.split(key)
        tours = policy.sample(params, k_sample, batch).actions
        length = tsp.tour_length(batch, tours[0])
        b = critic.apply(critic_params, batch)  # predicts the reward, -L

        def weighted(params):
            return jnp.mean((length + b) * policy.log_prob(params, batch, tours)[0][0])

        def mean_squared(params):
            return jnp.mean((critic.apply(params, batch) + length) ** 2)

        return length, jax.grad(weighted)(params), jax.grad(mean_squared)(critic_params)

    length, *both = written_out(state.params, state.baseline["params"], batch)
    for grads, old, now in zip(
        both,
        (state.params, state.baseline["params"]),
        (new.params, new.baseline["params"]),
        strict=True,
    ):
        largest = max(float(np.abs(g).max()) for g in jax.tree.leaves(grads))
        assert largest > 0.01  # the gradient is seen well above the tolerance
        jax.tree.map(
            lambda p, g, n: np.testing.assert_allclose(
                n, p - np.float32(0.5) * np.asarray(g), rtol=1e-5, atol=2e-6
            ),
            *(old, grads, now),
        )
    np.testing.assert_allclose(metrics["reward"], -np.mean(length), rtol=1e-6)
    assert int(new.step) == 1


@pytest.mark.parametrize("decay_begin", [0, 2])
def test_adam_optimizer_clips_and_decays(decay_begin):
    tx = actor_critic.adam_optimizer(1e-3, decay_steps=2, decay_begin=decay_begin)
    params = {"w": jnp.zeros(3)}
    state = tx.init(params)
    update, gradient = jax.jit(tx.update), {"w": jnp.array([30.0, 40.0, 0.0])}
    sizes = []
    for _ in range(decay_begin + 5):
        updates, state = update(gradient, state, params)
        sizes.append(float(np.abs(updates["w"]).max()))
    # A constant gradient makes Adam's step its learning rate: a staircase of factors 0.96.
    held = [1e-3] * decay_begin
    np.testing.assert_allclose(sizes, [*held, 1e-3, 1e-3, 9.6e-4, 9.6e-4, 9.216e-4], rtol=1e-4)
    first_moment = jax.tree.leaves(optax.tree_utils.tree_get(state, "mu"))[0]
    clipped = (1 - 0.9 ** (decay_begin + 5)) * np.array([0.6, 0.8, 0.0])
    np.testing.assert_allclose(first_moment, clipped, rtol=1e-5)


def test_muon_changes_the_matrices_between_hidden_units_alone():
    params = drawn.parameters(pointer.init, scale=0.08, embed=16, hidden=16)
    rng = np.random.default_rng(1)
    grads = jax.tree.map(
        lambda leaf: (rng.choice([-1, 1], leaf.shape) * rng.uniform(0.5, 1.5, leaf.shape)).astype(
            np.float32
        ),
        params,
    )
    tx = actor_critic.muon_optimizer(0.1, others=0.5)
    updates, _ = jax.jit(lambda g, p: tx.update(g, tx.init(p), p))(grads, params)
    updates = jax.tree.map(np.asarray, updates)
    for path, update in jax.tree_util.tree_leaves_with_path(updates):
        if path[-1].key in ("w_h", "w_ref", "w_q"):
            singular = np.linalg.svd(update, compute_uv=False)  # all alike
            assert singular[-1] > 0.3 * singular[0], path
            np.testing.assert_allclose(np.sqrt(np.mean(update**2)), 0.1 * 0.2, rtol=0.3)
        else:  # Adam's first step, with Nesterov's momentum: all elements alike
            assert 0.5 * 0.1 <= np.abs(update).max() < 1.5 * 0.5 * 0.1
            np.testing.assert_allclose(np.abs(update), np.abs(update).max(), rtol=1e-3)


def test_muons_rates_decay_by_a_staircase():
    params = {"w_h": jnp.zeros((3, 3)), "b": jnp.zeros(3)}
    grads = {"w_h": jnp.eye(3), "b": jnp.ones(3)}

    def updates(decay_rate):
        tx = actor_critic.muon_optimizer(1.0, decay_rate=decay_rate, decay_steps=2, decay_begin=1)
        state, step, made = tx.init(params), jax.jit(tx.update), []
        for _ in range(6):
            update, state = step(grads, state, params)
            made.append([float(np.abs(update[name]).max()) for name in ("w_h", "b")])
        return np.array(made)

    staircase = np.array([1.0, 1.0, 1.0, 0.5, 0.5, 0.25])[:, None]
    np.testing.assert_allclose(updates(0.5), updates(1.0) * staircase, rtol=1e-4)


def test_training_shortens_tours():
    learner = make(pg.multi_sample(), num_samples=8, batch=16, tx=optax.adam(1e-2))

    @jax.jit
    def train(state):
        def body(state, _):
            key = jax.random.fold_in(jax.random.fold_in(state.key, 0), state.step)
            return learner.update(state, tsp.sample(key, 16, 6))

        return jax.lax.scan(body, state, None, length=150)

    _, metrics = train(learner.init(jax.random.key(0)))
    length = -np.asarray(metrics["reward"])
    assert length[:10].mean() > 2.95  # random tours of six cities: 6 * 0.5214 = 3.13
    assert length[-10:].mean() < 2.85


def test_reward_bounds_reach_the_greedy_rollout():
    """Where samples and the greedy tour are both clipped to one number, nothing is an advantage."""
    config = configs.load(
        "nco/tsp:20,smoke",
        [("cities", "6"), ("baseline", "greedy_rollout"), ("reward_bounds", "-1.0,0.0")],
    )
    learner = pointer_training.learner(config, tsp.problem, (8, 6, 2))

    @jax.jit
    def first(key, batch):
        _, metrics = learner.update(learner.init(key), batch)
        return metrics["baseline"], metrics["advantage_rms"]

    baseline, advantage_rms = first(jax.random.key(0), drawn.instances(8, 6))
    assert baseline == -1.0
    assert advantage_rms == 0.0


def test_reward_bounds_reach_the_baseline():
    learner = make(pg.moving_average(), reward_bounds=(-1.0, 0.0))

    @jax.jit
    def first(state, batch):
        new, metrics = learner.update(state, batch)
        return new.baseline["value"], metrics["reward"]

    value, reward = first(learner.init(jax.random.key(0)), drawn.instances(8, 6))
    np.testing.assert_allclose(value, -1.0)
    assert reward < -2.0  # the reported reward is the earned one


def test_supervised_learning_is_cross_entropy_and_learns_its_labels():
    policy = pointer.policy(tsp.problem)
    learner = actor_critic.supervised(
        policy,
        optax.adam(1e-2),
        init_params=lambda k: drawn.parameters(pointer.init, scale=0.4, embed=16, hidden=16),
    )
    inputs = drawn.instances(4, 5)
    labels = np.int32([[0, 1, 2, 3, 4], [0, 2, 4, 1, 3], [0, 4, 3, 2, 1], [0, 3, 1, 4, 2]])
    state = learner.init(jax.random.key(1))
    expected = -np.mean(jax.jit(policy.log_prob)(state.params, inputs, labels[None])[0])
    update = jax.jit(learner.update)
    state, metrics = update(state, (inputs, labels))
    np.testing.assert_allclose(metrics["loss"], expected, rtol=1e-6)
    for _ in range(200):
        state, metrics = update(state, (inputs, labels))
    assert metrics["loss"] < 0.1
    greedy = jax.jit(lambda *args: policy.sample(*args, greedy=True).actions[0])
    np.testing.assert_array_equal(greedy(state.params, jax.random.key(2), inputs), labels)
