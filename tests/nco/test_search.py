import itertools

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nco import pointer, search
from nco.problems import tsp
from tests.nco import oracle


@pytest.fixture(scope="module")
def model():
    policy = pointer.policy(tsp.problem)
    return policy, pointer.init(jax.random.key(0), embed=16, hidden=16, scale=0.3)


def _optimum(coords):
    return min(
        oracle.tour_length(np.asarray(coords, np.float64), np.array(t))
        for t in itertools.permutations(range(len(coords)))
        if t[0] == 0
    )


def test_best_of_samples_is_the_minimum_of_what_was_sampled_and_never_beats_the_optimum(model):
    policy, params = model
    inputs = tsp.sample(jax.random.key(1), 3, 7)
    best, curve = search.best_of_samples(
        policy, tsp.problem, params, jax.random.key(2), inputs, num_samples=60, chunk=20
    )
    assert curve.shape == (3, 3)
    assert (np.diff(curve, axis=0) >= 0).all()
    np.testing.assert_array_equal(curve[-1], best.reward)
    np.testing.assert_allclose(-tsp.tour_length(inputs, best.actions), best.reward, rtol=1e-6)
    sampled = [
        tsp.problem.reward(
            inputs,
            policy.sample(
                params, jax.random.fold_in(jax.random.key(2), i), inputs, num_samples=20
            ).actions,
        )
        for i in range(3)
    ]
    np.testing.assert_allclose(best.reward, np.concatenate(sampled).max(0), rtol=1e-6)
    for b in range(3):
        assert -best.reward[b] >= _optimum(inputs[b]) - 1e-5


CITIES = 8
EVERY_TOUR = np.array([(0, *rest) for rest in itertools.permutations(range(1, CITIES))])


@pytest.fixture(scope="module")
def draw(model):
    policy, params = model

    def run(seed, inputs):
        sample = policy.sample(params, jax.random.key(seed), inputs, num_samples=16)
        return sample.actions[:, 0], -tsp.problem.reward(inputs, sample.actions)[:, 0]

    return jax.jit(run)


@settings(max_examples=60, deadline=None)
@given(
    # A coarse grid: cities that coincide, or lie on one line, are common.
    cells=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=8, max_size=8),
    seed=st.integers(0, 2**16),
)
def test_no_sampled_tour_beats_all_tours(draw, cells, seed):
    coords = np.array(cells, np.float32) / 4
    tours, found = map(np.asarray, draw(seed, jnp.asarray(coords[None])))
    np.testing.assert_array_equal(np.sort(tours, axis=1), np.tile(np.arange(CITIES), (16, 1)))
    wide = coords.astype(np.float64)

    def lengths(tours):
        ordered = wide[tours]
        return np.linalg.norm(ordered - np.roll(ordered, -1, axis=1), axis=-1).sum(1)

    np.testing.assert_allclose(found, lengths(tours), rtol=1e-5, atol=1e-5)
    assert found.min() >= lengths(EVERY_TOUR).min() - 1e-5


def test_best_of_samples_refuses_a_ragged_count(model):
    policy, params = model
    with pytest.raises(ValueError, match="multiple of chunk=20, got 50"):
        search.best_of_samples(
            policy,
            tsp.problem,
            params,
            jax.random.key(0),
            tsp.sample(jax.random.key(1), 1, 4),
            num_samples=50,
            chunk=20,
        )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"chunk": 0}, "chunk: expected at least 1, got 0"),
        ({"temperature": 0.0}, "temperature: expected a positive number, got 0.0"),
        ({"num_samples": 0}, "num_samples: expected a positive multiple"),
    ],
)
def test_best_of_samples_names_what_is_impossible(model, options, words):
    policy, params = model
    inputs = tsp.sample(jax.random.key(1), 1, 4)
    options = {"num_samples": 4} | options
    with pytest.raises(ValueError, match=words):
        search.best_of_samples(policy, tsp.problem, params, jax.random.key(0), inputs, **options)


def test_greedy_returns_tours_and_their_rewards(model):
    policy, params = model
    inputs = tsp.sample(jax.random.key(3), 4, 6)
    found = search.greedy(policy, tsp.problem, params, inputs)
    assert (np.sort(found.actions, axis=-1) == np.arange(6)).all()
    np.testing.assert_allclose(found.reward, -tsp.tour_length(inputs, found.actions), rtol=1e-6)


@pytest.mark.parametrize("shuffle", [True, False])
def test_active_search_from_scratch_finds_the_optimum_of_a_small_instance(model, shuffle):
    policy, params = model
    instance = tsp.sample(jax.random.key(4), 1, 8)[0]
    result = jax.jit(
        lambda key: search.active_search(
            policy,
            tsp.problem,
            params,
            key,
            instance,
            num_candidates=16 * 120 - 3,
            batch=16,
            learning_rate=1e-2,
            shuffle=shuffle,
        )
    )(jax.random.key(5))
    assert result.best_so_far.shape == (120,)  # ceil(K / B)
    assert (np.diff(result.best_so_far) >= 0).all()
    assert sorted(result.actions.tolist()) == list(range(8))
    np.testing.assert_allclose(-tsp.tour_length(instance, result.actions), result.reward, rtol=1e-6)
    np.testing.assert_allclose(-result.reward, _optimum(instance), rtol=0.02)
    # It learns: late samples are better than early ones on average.
    assert result.mean_reward[-10:].mean() > result.mean_reward[:10].mean() + 0.1


def test_active_search_is_algorithm_2_line_by_line(model):
    """Lines 2 to 17 in NumPy, with Adam, its clipping and its decay written out.

    Only the draws (orders and tours, by the keys that the search uses) and the gradient of
    log p(tour) come from the policy; batch 4, so that each tour's gradient can be taken alone.
    """
    policy, params = model
    cities, batch, steps, alpha, rate = 6, 4, 7, 0.9, 0.02
    instance = tsp.sample(jax.random.key(12), 1, cities)[0]
    key = jax.random.key(13)
    result = search.active_search(
        *(policy, tsp.problem, params, key, instance),
        num_candidates=batch * steps - 1,
        batch=batch,
        learning_rate=rate,
        decay=alpha,
        decay_rate=0.5,
        decay_steps=3,
        max_grad_norm=0.05,
    )

    @jax.jit
    def gradient(theta, inputs, tour):
        return jax.grad(lambda p: policy.log_prob(p, inputs[None], tour[None, None])[0][0, 0])(
            theta
        )

    draw = jax.jit(lambda theta, key, inputs: policy.sample(theta, key, inputs).actions[0])
    flat, unflatten = jax.flatten_util.ravel_pytree(params)
    theta = np.asarray(flat, np.float64)
    first = np.zeros_like(theta)  # Adam's moments
    second = np.zeros_like(theta)
    s = np.asarray(instance, np.float64)
    k_first, k_steps = jax.random.split(key)
    pi = np.asarray(search.random_solutions(tsp.problem, k_first, instance[None]).actions[0])
    shortest, b = oracle.tour_length(s, pi), None  # lines 2 and 3
    curve, means = [], []
    for t in range(steps):  # n = ceil(K / B)
        k_order, k_sample = jax.random.split(jax.random.fold_in(k_steps, t))
        orders = jnp.tile(jnp.arange(cities)[None], (batch, 1))
        orders = np.asarray(jax.random.permutation(k_order, orders, axis=1, independent=True))
        inputs = instance[orders]
        now = unflatten(jnp.asarray(theta, jnp.float32))
        tours = np.asarray(draw(now, k_sample, inputs))  # line 6
        own = np.take_along_axis(orders, tours, axis=1)
        lengths = np.array([oracle.tour_length(s, tour) for tour in own])
        j = lengths.argmin()  # line 7
        if lengths[j] < shortest:  # lines 9 to 12
            pi, shortest = own[j], lengths[j]
        # The first baseline is the mean of the other samples, later ones the moving average.
        base = (lengths.sum() - lengths) / (batch - 1) if b is None else np.full(batch, b)
        g = np.zeros_like(theta)
        for i in range(batch):  # line 13
            ascent = jax.flatten_util.ravel_pytree(gradient(now, inputs[i], tours[i]))[0]
            g += (lengths[i] - base[i]) * np.asarray(ascent, np.float64) / batch
        g *= min(1.0, 0.05 / np.linalg.norm(g))
        first = 0.9 * first + 0.1 * g  # line 14
        second = 0.999 * second + 0.001 * g**2
        m, v = first / (1 - 0.9 ** (t + 1)), second / (1 - 0.999 ** (t + 1))
        theta = theta - rate * 0.5 ** (t // 3) * m / (np.sqrt(v) + 1e-8)
        b = lengths.mean() if b is None else alpha * b + (1 - alpha) * lengths.mean()  # line 15
        curve.append(shortest)
        means.append(lengths.mean())
    np.testing.assert_allclose(-result.best_so_far, curve, rtol=1e-5)
    np.testing.assert_allclose(-result.mean_reward, means, rtol=1e-5)
    np.testing.assert_array_equal(result.actions, pi)  # line 17
    np.testing.assert_allclose(-result.reward, shortest, rtol=1e-6)
    moved = np.asarray(jax.flatten_util.ravel_pytree(result.params)[0]) - np.asarray(flat)
    expected = theta - np.asarray(flat, np.float64)
    assert np.abs(expected).max() > rate  # several steps were taken
    # Adam divides by the gradient's size: where that is near rounding, its step is too.
    np.testing.assert_allclose(moved, expected, atol=rate / 40)


def test_active_search_maps_over_instances(model):
    policy, params = model
    instances = tsp.sample(jax.random.key(6), 2, 5)
    keys = jax.random.split(jax.random.key(7), 2)

    def run(key, instance):
        return search.active_search(
            policy, tsp.problem, params, key, instance, num_candidates=64, batch=16
        ).reward

    together = jax.vmap(run)(keys, instances)
    alone = jnp.stack([run(k, x) for k, x in zip(keys, instances, strict=True)])
    np.testing.assert_allclose(together, alone, rtol=1e-5)


def test_random_solutions_are_uniform_permutations():
    inputs = jnp.zeros((6000, 3, 2))
    actions = np.asarray(search.random_solutions(tsp.problem, jax.random.key(8), inputs).actions)
    counts = [int((actions == np.array(t)).all(1).sum()) for t in itertools.permutations(range(3))]
    assert sum(counts) == 6000
    assert max(counts) - min(counts) < 250


def test_an_ensemble_takes_the_best_models_tour(model):
    policy, params = model
    others = [pointer.init(jax.random.key(i), embed=16, hidden=16, scale=0.3) for i in (1, 2)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), params, *others)
    inputs = tsp.sample(jax.random.key(9), 20, 6)
    found = search.greedy_ensemble(policy, tsp.problem, stacked, inputs)
    alone = [search.greedy(policy, tsp.problem, one, inputs) for one in (params, *others)]
    rewards = np.stack([one.reward for one in alone])
    np.testing.assert_allclose(found.reward, rewards.max(0), rtol=1e-6)
    assert len(set(rewards.argmax(0).tolist())) > 1  # no model is best everywhere
    np.testing.assert_allclose(found.reward, -tsp.tour_length(inputs, found.actions), rtol=1e-6)


def test_perturbed_greedy_decoding_lies_between_greedy_and_random(model):
    _, params = model
    inputs = tsp.sample(jax.random.key(10), 8, 6)
    plain = pointer.policy(tsp.problem).sample(params, jax.random.key(0), inputs, greedy=True)

    def agreement(deviation):
        policy = pointer.policy(tsp.problem, perturbation=deviation)
        drawn = policy.sample(params, jax.random.key(11), inputs, num_samples=40)
        np.testing.assert_allclose(
            drawn.log_prob, policy.log_prob(params, inputs, drawn.actions)[0], rtol=1e-5
        )
        return float(jnp.mean(jnp.all(drawn.actions == plain.actions, axis=-1)))

    assert agreement(0.0) == 1.0
    assert 1.0 > agreement(0.02) > agreement(0.5) > agreement(50.0)


def test_the_uniform_policy_gives_every_tour_the_same_probability():
    policy, inputs = search.uniform_policy(tsp.problem), tsp.sample(jax.random.key(1), 2, 5)
    sample = policy.sample(None, jax.random.key(2), inputs, num_samples=3)
    np.testing.assert_allclose(sample.log_prob, -np.log(120), rtol=1e-6)
    np.testing.assert_allclose(sample.entropy, np.log(120), rtol=1e-6)
    for score in policy.log_prob(None, inputs, sample.actions):
        np.testing.assert_allclose(np.abs(score), np.log(120), rtol=1e-6)
    found, _ = search.best_of_samples(
        policy, tsp.problem, None, jax.random.key(3), inputs, num_samples=2000, chunk=500
    )
    optima = [_optimum(coords) for coords in inputs]  # of 120 tours, 2,000 draws miss none
    np.testing.assert_allclose(-found.reward, optima, rtol=1e-5)
