"""Searches with a network: batches, rounds of samples, determinism, and the bar's count."""

import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import solve
from experiments.nco import decoding
from experiments.runner import pretrained
from experiments.runner.pretrained import Pretrained
from nco import many, pointer, search
from nco.many import Model
from nco.policy_gradient import Policy, Sample
from nco.problems import knapsack, tsp

POINTS = np.random.default_rng(0).uniform(size=(7, 6, 2)).astype(np.float32)


def sorting_policy():
    """Visits cities in the order of a noisy linear score: quick to compile, and it can learn."""

    def sample(params, key, inputs, *, num_samples=1, temperature=1.0, greedy=False):
        score = jnp.einsum("bnf,f->bn", inputs, params["direction"])
        noise = jax.random.normal(key, (num_samples, *score.shape))
        drawn = score[None] + (0.0 if greedy else temperature) * noise
        log_prob = -0.5 * jnp.sum((jax.lax.stop_gradient(drawn) - score[None]) ** 2, axis=-1)
        actions = jnp.argsort(drawn, axis=-1).astype(jnp.int32)
        return Sample(actions, log_prob, jnp.zeros_like(log_prob))

    return Policy(sample, lambda *_: None)


def scores():
    return Model(sorting_policy(), {"direction": jnp.array([1.0, 0.0])}, "sorting")


def small_network():
    """A pointer network that was never trained."""
    params = pointer.init(jax.random.key(0), embed=8, hidden=8, scale=None)
    return Model(pointer.policy(tsp.problem), params, "small")


model = pytest.fixture(scores, scope="module")
network = pytest.fixture(small_network, scope="module")


def lengths(tours, points=POINTS):
    ordered = np.take_along_axis(points[: len(tours)], tours[..., None], axis=1)
    return np.linalg.norm(ordered - np.roll(ordered, 1, axis=1), axis=-1).sum(axis=1)


def check(found, progress, count, units):
    assert found.actions.dtype == np.int32
    assert found.actions.shape == (count, 6)
    np.testing.assert_array_equal(np.sort(found.actions), np.tile(np.arange(6), (count, 1)))
    assert (found.seconds > 0).all()
    assert found.seconds.shape == (count,)
    assert found.compile_seconds > 0
    assert sum(progress) == units


def test_a_trained_problem_of_ones_own_loads_from_its_runs_folder(tmp_path):
    params = pointer.init(jax.random.key(0), embed=4, hidden=4)
    config = {"experiment": "my_problem", "model": {"glimpses": 2, "clip": None}}
    pretrained.save(tmp_path / "model.npz", params, config, {})
    own = knapsack.problem(2.0)._replace(name="mine")
    model = decoding.load(str(tmp_path), problem=own)
    assert model.problem is own
    assert model.params["settings"] == pointer.Settings(glimpses=2, clip=None)
    assert decoding.load(str(tmp_path), problem=own).policy is model.policy
    with pytest.raises(ValueError, match=r"`problem=`, for a problem of your own.*my_problem"):
        decoding.load(str(tmp_path))
    with pytest.raises(ValueError, match="input_dim: expected 2, as trained; got 3"):
        decoding.load(str(tmp_path), problem=own._replace(input_dim=3))


def test_greedy_takes_every_instance(model):
    progress = []
    found = decoding.greedy(model, POINTS, progress.append)
    check(found, progress, 7, 7)
    np.testing.assert_array_equal(found.actions, np.argsort(POINTS[..., 0], axis=1))


def test_batches_of_one_size_cover_everything_once():
    covered = []
    for batch, padded in many._batches(POINTS, 3):
        assert padded.shape == (3, 6, 2)
        real = batch.stop - batch.start
        np.testing.assert_array_equal(padded[:real], POINTS[batch])
        covered += range(7)[batch]
    assert covered == list(range(7))


@pytest.mark.parametrize("samples", [1, 5, 300, 1009])
def test_best_of_samples(model, samples):
    progress = []
    found = decoding.best_of_samples(
        model, POINTS, progress.append, num_samples=samples, temperature=1.0, seed=0
    )
    check(found, progress, 7, 7 * samples)


def draw(model, **options):
    given = {"num_samples": 256, "temperature": 1.0, "seed": 0} | options
    return decoding.best_of_samples(model, POINTS, lambda _: None, **given)


def test_more_samples_are_better_and_seeds_repeat(model):
    few, many = draw(model, num_samples=4), draw(model, num_samples=4000)
    assert (lengths(many.actions) <= lengths(few.actions)).all()
    assert lengths(many.actions).sum() < lengths(few.actions).sum()
    np.testing.assert_array_equal(draw(model, num_samples=4).actions, few.actions)
    assert (draw(model, num_samples=4, seed=1).actions != few.actions).any()


def test_the_greedy_solution_is_a_candidate_where_asked(model):
    few, greedy = draw(model, num_samples=2), decoding.greedy(model, POINTS)
    both = decoding.at_least_greedy(few, model, POINTS)
    each = [lengths(found.actions) for found in (few, greedy, both)]
    np.testing.assert_array_equal(each[2], np.minimum(each[0], each[1]))
    assert (each[2] < each[0]).any()
    assert (each[2] < each[1]).any()
    np.testing.assert_allclose(-both.best_so_far[-1], each[2], rtol=1e-5)
    assert (both.seconds > few.seconds).all()
    worst = decoding.at_least_greedy(few, model, POINTS, reward=lambda x: lengths(x))
    np.testing.assert_array_equal(lengths(worst.actions), np.maximum(each[0], each[1]))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_instances_that_are_not_finite_are_refused_by_every_search(model, bad):
    points = POINTS.copy()
    points[2, 4, 1] = bad
    key, own = jax.random.key(0), jnp.asarray(points)
    for search_them in (
        lambda: decoding.greedy(model, points),
        lambda: decoding.best_of_samples(model, points, num_samples=4, temperature=1.0),
        lambda: decoding.active_search(model, points, steps=1, batch=2, learning_rate=1e-3),
        lambda: search.greedy(model.policy, tsp.problem, model.params, own),
        lambda: search.best_of_samples(
            model.policy, tsp.problem, model.params, key, own, num_samples=2
        ),
    ):
        with pytest.raises(ValueError, match=rf"finite numbers, got {bad} at \[2, 4, 1\]"):
            search_them()
    with pytest.raises(ValueError, match=r"finite numbers, got .* at \[4, 1\]"):
        search.active_search(model.policy, tsp.problem, model.params, key, own[2], num_candidates=2)


def test_more_search_is_never_worse_than_greedy(tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(1).uniform(size=(3, 30, 2)))
    found = []
    for words in (("greedy",), ("sample", "--samples", 1), ("active", "--steps", 1, "--batch", 2)):
        out = tmp_path / "out.json"
        words = ("--model", "nco/tsp20", "--method", *words, "--json", out, tmp_path / "x.npy")
        assert solve.main([*map(str, words)]) == 0
        found.append(json.loads(out.read_text())["lengths"])
    assert (np.array(found[1:]) <= np.array(found[0])).all()


def test_curves_tell_the_best_so_far(model):
    many = draw(model, num_samples=2560)
    assert many.best_so_far.shape == (2, 7)
    np.testing.assert_array_equal(many.considered, [1280, 2560])
    assert (np.diff(many.best_so_far, axis=0) >= 0).all()
    np.testing.assert_allclose(-many.best_so_far[-1], lengths(many.actions), rtol=1e-5)
    options = {"steps": 3, "batch": 4, "learning_rate": 0.05}
    found = decoding.active_search(model, POINTS[:2], **options)
    np.testing.assert_array_equal(found.considered, [4, 8, 12])
    assert (np.diff(found.best_so_far, axis=0) >= 0).all()
    np.testing.assert_allclose(-found.best_so_far[-1], lengths(found.actions), rtol=1e-5)


def test_an_ensemble_keeps_the_best_models_tour(model):
    along_y = model._replace(params={"direction": jnp.array([0.0, 1.0])})
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), model.params, along_y.params)
    both = decoding.greedy_ensemble(model, stacked, POINTS)
    each = [lengths(decoding.greedy(one, POINTS).actions) for one in (model, along_y)]
    np.testing.assert_allclose(lengths(both.actions), np.minimum(*each), rtol=1e-6)
    assert (each[0] < each[1]).any()
    assert (each[1] < each[0]).any()


@pytest.mark.parametrize("policy", ["scores", pytest.param("network", marks=pytest.mark.slow)])
def test_devices_share_the_instances(policy):
    code = """
import sys
import jax
jax.config.update("jax_num_cpu_devices", int(sys.argv[1]))
import numpy as np
from experiments.nco import decoding
from tests.experiments.nco import test_decoding
model = {"scores": test_decoding.scores, "network": test_decoding.small_network}[sys.argv[2]]()
assert jax.device_count() == int(sys.argv[1])
for count in sys.argv[3:]:
    points = np.random.default_rng(0).uniform(size=(int(count), 6, 2)).astype(np.float32)
    found = [
        decoding.greedy(model, points),
        decoding.best_of_samples(model, points, num_samples=16, temperature=1.0),
        decoding.active_search(model, points, steps=3, batch=4, learning_rate=1e-3),
    ]
    print([each.actions.tolist() for each in found])
"""

    def run(devices, *instances):
        words = [sys.executable, "-c", code, str(devices), policy, *map(str, instances)]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        return [[np.array(each) for each in json.loads(line)] for line in done.stdout.splitlines()]

    one, (greedy, _, active) = run(1, 6, 3)
    (three,) = run(3, 6)
    for alone, shared in zip(one, three, strict=True):
        np.testing.assert_array_equal(alone, shared)
    # With fewer instances than devices the batch is filled up, and sampling draws other numbers.
    ((padded, sampled, alone),) = run(4, 3)
    np.testing.assert_array_equal(greedy, padded)
    np.testing.assert_array_equal(active, alone)
    np.testing.assert_array_equal(np.sort(sampled, axis=1), np.tile(np.arange(6), (3, 1)))


def test_rounds_differ_from_one_another(model):
    # Ten rounds of the same samples would find no more than one.
    points = np.random.default_rng(1).uniform(size=(4, 20, 2)).astype(np.float32)

    def found(num_samples):
        options = {"num_samples": num_samples, "temperature": 0.3, "seed": 0}
        tours = decoding.best_of_samples(model, points, lambda _: None, **options).actions
        return lengths(tours, points)

    one, ten = found(1280), found(12800)
    assert (ten <= one).all()
    assert (ten < one).any()


def test_temperature_reaches_the_policy(model):
    cold = draw(model, temperature=1e-6).actions
    np.testing.assert_array_equal(cold, np.argsort(POINTS[..., 0], axis=1))


@pytest.mark.parametrize("samples", [1, 2, 127, 128, 129, 1000, 1280, 9973, 12_800, 100_003])
@pytest.mark.parametrize("largest", [1, 16, 128])
def test_plans_add_up(samples, largest):
    rounds, chunk = search.plan(samples, largest)
    assert sum(rounds) == samples
    assert 1 <= chunk <= largest
    assert len(set(rounds)) <= 2
    assert all(draw <= 10 * chunk for draw in rounds)
    # what `nco.search.best_of_samples` asks of each draw
    assert all(draw % min(chunk, draw) == 0 for draw in rounds)


def test_active_search_learns_on_each_instance(model):
    progress = []
    options = {"batch": 4, "learning_rate": 0.05, "seed": 0}
    found = decoding.active_search(model, POINTS[:3], progress.append, steps=40, **options)
    check(found, progress, 3, 3 * 40)
    unseen = decoding.active_search(model, POINTS[:3], None, steps=40, **options)
    np.testing.assert_array_equal(unseen.actions, found.actions)
    untrained = decoding.greedy(model, POINTS[:3], progress.append)
    assert (lengths(found.actions) < lengths(untrained.actions)).all()


def test_instances_are_searched_independently(model):
    options = {"steps": 40, "batch": 4, "learning_rate": 0.05, "seed": 0}
    both = decoding.active_search(model, POINTS[:2], None, **options)
    alone = decoding.active_search(model, POINTS[:1], None, **options)
    np.testing.assert_array_equal(both.actions[0], alone.actions[0])


@pytest.mark.parametrize("at_once", [2, 3, 5, 9])
def test_instances_that_are_searched_at_once_find_what_each_finds_alone(model, at_once):
    options = {"steps": 20, "batch": 8, "learning_rate": 0.05, "seed": 0}
    alone = decoding.active_search(model, POINTS[:5], at_once=1, **options)
    found = decoding.active_search(model, POINTS[:5], at_once=at_once, **options)
    assert (alone.together, found.together) == (1, min(5, at_once))
    np.testing.assert_array_equal(found.actions, alone.actions)
    np.testing.assert_allclose(found.best_so_far, alone.best_so_far, rtol=1e-6)
    assert found.seconds.shape == (5,)


def test_pointer_networks_that_learn_at_once_find_what_each_finds_alone(network):
    options = {"steps": 4, "batch": 8, "learning_rate": 1e-2, "seed": 0}
    alone = decoding.active_search(network, POINTS[:4], at_once=1, **options)
    found = decoding.active_search(network, POINTS[:4], at_once=4, **options)
    np.testing.assert_array_equal(found.actions, alone.actions)
    np.testing.assert_allclose(found.best_so_far, alone.best_so_far, rtol=1e-5)


def test_an_accelerator_searches_as_many_at_once_as_its_memory_takes(monkeypatch):
    assert many.searched_at_once(128 * 20) == 1  # this is a CPU
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    counts = [many.searched_at_once(128 * cities) for cities in (20, 100, 10_000)]
    assert counts[0] > counts[1] > counts[2] == 1


@pytest.mark.parametrize("cities", [2, 5])
def test_the_pointer_network(cities):
    model = decoding.load("random", 0)
    points = POINTS[:2, :cities]
    found = decoding.greedy(model, points, lambda _: None)
    np.testing.assert_array_equal(np.sort(found.actions), np.tile(np.arange(cities), (2, 1)))


def test_untrained_networks_follow_the_seed():
    one, again, other = (decoding.load("random", seed).params["embed"] for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()


class TestLoading:
    @pytest.fixture
    def pretrained(self, monkeypatch):
        def serve(params, config):
            loaded = Pretrained(params, config, {})
            monkeypatch.setattr(decoding.pretrained, "load", lambda name: loaded)

        return serve

    def test_a_model_keeps_its_settings(self, pretrained):
        params = pointer.init(jax.random.key(0))
        settings = {"glimpses": 2, "clip": None, "forget_bias": 0.5, "center": 0.5, "spread": 0.3}
        pretrained(params, {"experiment": "nco_tsp", "model": {**settings, "hidden": 128}})
        loaded = decoding.load("some/model")
        assert (loaded.name, loaded.problem) == ("some/model", tsp.problem)
        assert loaded.params["settings"] == pointer.Settings(**settings)
        np.testing.assert_array_equal(loaded.params["embed"], params["embed"])

    def test_a_network_for_another_problem_is_refused(self, pretrained):
        pretrained({}, {"experiment": "nco_knapsack"})
        with pytest.raises(ValueError, match=r"some/model: .* got .* nco_knapsack"):
            decoding.load("some/model")
