import itertools

import jax
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
