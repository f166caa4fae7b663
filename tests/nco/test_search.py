import functools
import inspect
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
from tests.nco import drawn, oracle

POLICY = pointer.policy(tsp.problem)


def _params(seed=0):
    return drawn.parameters(pointer.init, scale=0.3, seed=seed, embed=16, hidden=16)


def _optimum(coords):
    return min(
        oracle.tour_length(np.asarray(coords, np.float64), np.array(t))
        for t in itertools.permutations(range(len(coords)))
        if t[0] == 0
    )


def _assert_rewards_are_lengths(found, inputs):
    assert (np.sort(found.actions, axis=-1) == np.arange(inputs.shape[1])).all()
    lengths = [oracle.tour_length(*each) for each in zip(inputs, found.actions, strict=True)]
    np.testing.assert_allclose(-found.reward, lengths, rtol=1e-6)


def test_best_of_samples_is_the_minimum_of_what_was_sampled_and_never_beats_the_optimum():
    params, key, inputs = _params(), jax.random.key(2), drawn.instances(3, 7)
    search_60 = functools.partial(
        search.best_of_samples, POLICY, tsp.problem, num_samples=60, chunk=20
    )
    best, curve = jax.jit(search_60)(params, key, inputs)
    assert curve.shape == (3, 3)
    assert (np.diff(curve, axis=0) >= 0).all()
    np.testing.assert_array_equal(curve[-1], best.reward)
    _assert_rewards_are_lengths(best, inputs)

    @jax.jit
    def rewards(params, key, inputs):
        sample = POLICY.sample(params, key, inputs, num_samples=20)
        return tsp.problem.reward(inputs, sample.actions)

    sampled = [rewards(params, jax.random.fold_in(key, i), inputs) for i in range(3)]
    np.testing.assert_allclose(best.reward, np.concatenate(sampled).max(0), rtol=1e-6)
    for b in range(3):
        assert -best.reward[b] >= _optimum(inputs[b]) - 1e-5


CITIES = 8
EVERY_TOUR = np.array([(0, *rest) for rest in itertools.permutations(range(1, CITIES))])


@jax.jit
def _draw(params, seed, inputs):
    sample = POLICY.sample(params, jax.random.key(seed), inputs, num_samples=16)
    return sample.actions[:, 0], -tsp.problem.reward(inputs, sample.actions)[:, 0]


@settings(max_examples=60, deadline=None)
@given(
    # A coarse grid: cities that coincide, or lie on one line, are common.
    cells=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=8, max_size=8),
    seed=st.integers(0, 2**16),
)
def test_no_sampled_tour_beats_all_tours(cells, seed):
    coords = np.array(cells, np.float32) / 4
    tours, found = map(np.asarray, _draw(_params(), seed, coords[None]))
    np.testing.assert_array_equal(np.sort(tours, axis=1), np.tile(np.arange(CITIES), (16, 1)))
    wide = coords.astype(np.float64)

    def lengths(tours):
        ordered = wide[tours]
        return np.linalg.norm(ordered - np.roll(ordered, -1, axis=1), axis=-1).sum(1)

    np.testing.assert_allclose(found, lengths(tours), rtol=1e-5, atol=1e-5)
    assert found.min() >= lengths(EVERY_TOUR).min() - 1e-5


def _best_of(**options):
    inputs = jnp.asarray(drawn.instances(1, 4))
    search.best_of_samples(POLICY, tsp.problem, _params(), jax.random.key(0), inputs, **options)


def test_best_of_samples_refuses_a_ragged_count():
    with pytest.raises(ValueError, match="multiple of chunk=20, got 50"):
        _best_of(num_samples=50, chunk=20)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"chunk": 0}, "chunk: expected at least 1, got 0"),
        ({"temperature": 0.0}, "temperature: expected a positive number, got 0.0"),
        ({"num_samples": 0}, "num_samples: expected a positive multiple"),
    ],
)
def test_best_of_samples_names_what_is_impossible(options, words):
    with pytest.raises(ValueError, match=words):
        _best_of(**({"num_samples": 4} | options))


@jax.jit
def _greedy(params, inputs):
    return search.greedy(POLICY, tsp.problem, params, inputs)


def test_greedy_returns_tours_and_their_rewards():
    inputs = drawn.instances(20, 6)
    _assert_rewards_are_lengths(_greedy(_params(), inputs), inputs)


@pytest.mark.parametrize("shuffle", [True, False])
def test_active_search_from_scratch_finds_the_optimum_of_a_small_instance(shuffle):
    params, instance = _params(), drawn.instances(1, 8)[0]
    search_from_scratch = functools.partial(
        search.active_search,
        POLICY,
        tsp.problem,
        num_candidates=16 * 120 - 3,
        batch=16,
        learning_rate=1e-2,
        shuffle=shuffle,
    )
    result = jax.jit(search_from_scratch)(params, jax.random.key(5), instance)
    assert result.best_so_far.shape == (120,)  # ceil(K / B)
    assert (np.diff(result.best_so_far) >= 0).all()
    assert sorted(result.actions.tolist()) == list(range(8))
    length = oracle.tour_length(instance, np.asarray(result.actions))
    np.testing.assert_allclose(-result.reward, length, rtol=1e-6)
    np.testing.assert_allclose(-result.reward, _optimum(instance), rtol=0.02)
    # It learns: late samples are better than early ones on average.
    mean_reward = np.asarray(result.mean_reward)
    assert mean_reward[-10:].mean() > mean_reward[:10].mean() + 0.1


@jax.jit
def _random_solutions(key, inputs):
    return search.random_solutions(tsp.problem, key, inputs)


# Few enough that each tour's gradient can be taken alone.
CITIES_OF_SHORT, BATCH, STEPS, ALPHA, RATE = 6, 4, 7, 0.9, 0.02


@jax.jit
def _short_search(params, key, instance):
    return search.active_search(
        *(POLICY, tsp.problem, params, key, instance),
        num_candidates=BATCH * STEPS - 1,
        batch=BATCH,
        learning_rate=RATE,
        decay=ALPHA,
        decay_rate=0.5,
        decay_steps=3,
        max_grad_norm=0.05,
    )


def test_active_search_is_algorithm_2_line_by_line():
    """Lines 2 to 17 in NumPy, with Adam, its clipping and its decay written out.

    Only the draws (orders and tours, by the keys that the search uses) and the gradient of
    log p(tour) come from the policy.
    """
    cities, batch, steps, alpha, rate = CITIES_OF_SHORT, BATCH, STEPS, ALPHA, RATE
    params, instance, key = _params(), drawn.instances(1, cities)[0], jax.random.key(13)
    result = _short_search(params, key, instance)
    flat, unflatten = jax.flatten_util.ravel_pytree(params)

    @jax.jit
    def gradients(theta, inputs, tours):  # of log p(tour), one row a tour
        def of_one(inputs, tour):
            return jax.grad(
                lambda x: POLICY.log_prob(unflatten(x), inputs[None], tour[None, None])[0][0, 0]
            )(theta)

        return jax.vmap(of_one)(inputs, tours)

    @jax.jit
    def draw(theta, k_step):  # orders, and tours of the copies in these orders
        k_order, k_sample = jax.random.split(k_step)
        orders = jnp.tile(jnp.arange(cities)[None], (batch, 1))
        orders = jax.random.permutation(k_order, orders, axis=1, independent=True)
        copies = jnp.asarray(instance)[orders]
        return orders, POLICY.sample(unflatten(theta), k_sample, copies).actions[0]

    theta = np.asarray(flat, np.float64)
    first = np.zeros_like(theta)  # Adam's moments
    second = np.zeros_like(theta)
    s = np.asarray(instance, np.float64)
    k_first, k_steps = jax.random.split(key)
    pi = np.asarray(_random_solutions(k_first, instance[None]).actions[0])
    shortest, b = oracle.tour_length(s, pi), None  # lines 2 and 3
    curve, means = [], []
    for t in range(steps):  # n = ceil(K / B)
        now = theta.astype(np.float32)
        orders, tours = map(np.asarray, draw(now, jax.random.fold_in(k_steps, t)))  # line 6
        own = np.take_along_axis(orders, tours, axis=1)
        lengths = np.array([oracle.tour_length(s, tour) for tour in own])
        j = lengths.argmin()  # line 7
        if lengths[j] < shortest:  # lines 9 to 12
            pi, shortest = own[j], lengths[j]
        # The first baseline is the mean of the other samples, later ones the moving average.
        base = (lengths.sum() - lengths) / (batch - 1) if b is None else np.full(batch, b)
        g = np.zeros_like(theta)
        ascents = np.asarray(gradients(now, instance[orders], tours), np.float64)
        for i in range(batch):  # line 13
            g += (lengths[i] - base[i]) * ascents[i] / batch
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


def test_active_search_maps_over_instances():
    params, instances = _params(), drawn.instances(2, CITIES_OF_SHORT)
    keys = jax.random.split(jax.random.key(7), 2)
    together = jax.jit(jax.vmap(lambda *args: _short_search(params, *args).reward))(keys, instances)
    alone = [_short_search(params, *one).reward for one in zip(keys, instances, strict=True)]
    np.testing.assert_allclose(together, alone, rtol=1e-5)


def test_random_solutions_are_uniform_permutations():
    inputs = np.zeros((6000, 3, 2), np.float32)
    actions = np.asarray(_random_solutions(jax.random.key(8), inputs).actions)
    counts = [int((actions == np.array(t)).all(1).sum()) for t in itertools.permutations(range(3))]
    assert sum(counts) == 6000
    assert max(counts) - min(counts) < 250


def test_an_ensemble_takes_the_best_models_tour():
    models, inputs = [_params(seed) for seed in range(3)], drawn.instances(20, 6)
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *models)
    ensemble = jax.jit(functools.partial(search.greedy_ensemble, POLICY, tsp.problem))
    found = ensemble(stacked, inputs)
    rewards = np.stack([_greedy(one, inputs).reward for one in models])
    np.testing.assert_allclose(found.reward, rewards.max(0), rtol=1e-6)
    assert len(set(rewards.argmax(0).tolist())) > 1  # no model is best everywhere
    _assert_rewards_are_lengths(found, inputs)


def test_perturbed_greedy_decoding_lies_between_greedy_and_random():
    @jax.jit
    def drawn_and_scored(params, key, inputs, deviation):
        # The deviation is an argument of the program, which the annotation (a float) rules out.
        policy = inspect.unwrap(pointer.policy)(tsp.problem, perturbation=deviation)
        plain = POLICY.sample(params, key, inputs, greedy=True)
        sample = policy.sample(params, key, inputs, num_samples=40)
        alike = jnp.mean(jnp.all(sample.actions == plain.actions, axis=-1))
        return sample.log_prob, policy.log_prob(params, inputs, sample.actions)[0], alike

    def agreement(deviation):
        sampled, scored, alike = drawn_and_scored(
            _params(seed=2), jax.random.key(11), drawn.instances(20, 6), deviation
        )
        np.testing.assert_allclose(sampled, scored, rtol=1e-5)
        return float(alike)

    assert agreement(0.0) == 1.0
    assert 1.0 > agreement(0.02) > agreement(0.5) > agreement(50.0)


def test_the_uniform_policy_gives_every_tour_the_same_probability():
    policy, inputs = search.uniform_policy(tsp.problem), drawn.instances(2, 5)

    @jax.jit
    def run(key, inputs):
        sample = policy.sample(None, key, inputs, num_samples=3)
        found, _ = search.best_of_samples(
            policy, tsp.problem, None, key, inputs, num_samples=2000, chunk=500
        )
        return sample, policy.log_prob(None, inputs, sample.actions), found.reward

    sample, scores, reward = run(jax.random.key(2), inputs)
    np.testing.assert_allclose(sample.log_prob, -np.log(120), rtol=1e-6)
    np.testing.assert_allclose(sample.entropy, np.log(120), rtol=1e-6)
    for score in scores:
        np.testing.assert_allclose(np.abs(score), np.log(120), rtol=1e-6)
    optima = [_optimum(coords) for coords in inputs]  # of 120 tours, 2,000 draws miss none
    np.testing.assert_allclose(-reward, optima, rtol=1e-5)
