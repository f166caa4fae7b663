"""Searches of tables over many seeds, the plain CNNs' table and its figures, predictors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from experiments.data import catalogue, registry, tables
from experiments.report.interval import median_interval
from experiments.report.table import read_table
from experiments.search import alphax as search_alphax
from experiments.search import plain_cnn as search_plain_cnn
from experiments.search import plain_cnn_training
from experiments.search import tabular as tabular_search
from experiments.search import weight_transfer_study as study
from search import design_spaces, interface
from search.interface import Searcher


def scripted(points):
    """A searcher that asks for these points."""
    rows = np.array(points)

    def ask(state, n):
        first = state.asked
        return interface.extend(state, rows[first : first + n])

    return Searcher(lambda seed: interface.begin(seed, rows.shape[1]), ask, interface.record)


@pytest.mark.parametrize("batch", [1, 3])
def test_samples_are_distinct_points_until_the_best(batch):
    points = [[0], [2], [0], [2], [5], [1], [9], [7], [9]]
    found = tabular_search.samples_to_best(
        scripted(points), lambda x: x[0], 9.0, seed=0, budget=20, batch_size=batch
    )
    assert found.samples == 5
    assert found.found
    np.testing.assert_array_equal(found.best, [0, 2, 5, 5, 9])


def test_a_search_that_does_not_find_it_counts_as_its_budget():
    points = [[i] for i in range(9)]
    found = tabular_search.samples_to_best(scripted(points), lambda x: x[0], 99.0, seed=0, budget=4)
    assert (found.samples, found.found) == (4, False)
    np.testing.assert_array_equal(found.best, [0, 1, 2, 3])


def test_trials_can_be_limited_too():
    points = [[0], [0], [1], [0], [2]]
    found = tabular_search.samples_to_best(
        scripted(points), lambda x: x[0], 2.0, seed=0, budget=9, trials=4
    )
    assert (found.samples, found.found) == (9, False)
    np.testing.assert_array_equal(found.best, [0, 1])


@pytest.mark.parametrize("n", [6, 9, 20, 51])
def test_the_interval_of_a_median_is_scipys(n):
    values = np.random.default_rng(n).exponential(size=n)
    found = median_interval(values)
    expected = stats.quantile_test(values, q=0, p=0.5).confidence_interval(0.95)
    assert found.value == np.median(values)
    assert (found.low, found.high) == (expected.low, expected.high)


def test_rows_say_how_many_seeds_found_it():
    found = [tabular_search.Found(n, n < 30, np.zeros(n)) for n in (10, 20, 30, 30)]
    rows = tabular_search.sample_rows(
        "x", found, command="make test", config="c=1", seconds=1.0, seeds=[3, 4, 5, 6]
    )
    values = {row["metric"]: row["value"] for row in rows}
    assert values == {
        "median_samples_to_best": 25.0,
        "mean_samples_to_best": 22.5,
        "found_fraction": 0.5,
    }
    assert all(row["seeds"] == [3, 4, 5, 6] for row in rows)


@pytest.mark.parametrize("depth", [1, 3])
def test_a_plain_cnn_computes_what_xla_convolutions_do(depth):
    rng = np.random.default_rng(depth)
    kernels, filters = rng.integers(0, 2, depth), rng.integers(0, 2, depth)
    mask = plain_cnn_training.masks(jnp.asarray(kernels), jnp.asarray(filters))
    params = plain_cnn_training.init(jax.random.key(0), mask)
    bias = jnp.linspace(-0.5, 0.5, 8)
    params["layers"] = [{**layer, "b": bias} for layer in params["layers"]]
    images = jnp.asarray(rng.normal(size=(4, 8, 8)), jnp.float32)
    x = images[..., None]
    for i, layer in enumerate(params["layers"]):
        size, width = (3, 5)[kernels[i]], (4, 8)[filters[i]]
        cut = (5 - size) // 2
        weights = layer["w"][cut : 5 - cut, cut : 5 - cut, : x.shape[-1], :width]
        x = jax.lax.conv_general_dilated(
            x, weights, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        x = jax.nn.relu(x + bias[None, None, None, :width])
    pooled = np.asarray(x.mean(axis=(1, 2)))
    pooled = (pooled - pooled.mean(0)) / np.sqrt(pooled.var(0) + 1e-5)
    expected = pooled @ np.asarray(params["w"])[: x.shape[-1]] + np.asarray(params["b"])
    found = plain_cnn_training.logits(params, mask, images)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_training_repeats_itself_and_learns():
    data = jax.tree.map(jnp.asarray, plain_cnn_training.load_images())
    keys = jax.random.split(jax.random.key(0), 2)
    both = jnp.ones((2, 2), int)
    settings = plain_cnn_training.Settings(epochs=3)
    found = plain_cnn_training.train(both, both, keys, data, settings=settings)
    again = plain_cnn_training.train(both, both, keys, data, settings=settings)
    np.testing.assert_array_equal(found, again)
    assert (np.asarray(found) > 0.25).all()  # of ten classes
    assert found[0] != found[1]


def test_the_table_is_written_as_it_is_read(tmp_path, monkeypatch):
    codes = design_spaces.plain_cnns()
    accuracies = np.random.default_rng(0).random((len(codes), 2))
    plain_cnn_training.write(tmp_path / "plain_cnn.csv", codes, accuracies)
    monkeypatch.setattr(tables, "PLAIN_CNN", tmp_path / "plain_cnn.csv")
    found = registry.load(catalogue.DATASETS["plain_cnn"])
    np.testing.assert_array_equal(found["encodings"], codes)
    np.testing.assert_allclose(found["accuracy"], 100 * accuracies, atol=1e-4)


def test_the_bundled_table_is_of_all_plain_cnns():
    found = registry.load(catalogue.DATASETS["plain_cnn"])
    np.testing.assert_array_equal(found["encodings"], design_spaces.plain_cnns())
    assert found["accuracy"].shape[1] >= 1
    assert ((found["accuracy"] > 5) & (found["accuracy"] <= 100)).all()
    means = found["accuracy"].mean(axis=1)
    depth = found["encodings"][:, 0]
    by_depth = [means[depth == d].mean() for d in range(1, 6)]
    assert by_depth == sorted(by_depth)
    assert means.max() > 94


def test_the_bundled_table_is_the_one_registered():
    registry.verify(tables.PLAIN_CNN.parent, catalogue.DATASETS["plain_cnn"].checksums)


def test_siblings_by_hand():
    """With a reward that is the depth, the children of the root differ and no others do."""
    problem = design_spaces.plain_cnn("global")
    known = {tuple(map(int, code)): code[0] / 100 for code in design_spaces.plain_cnns()}
    found = search_plain_cnn.siblings(problem, known)
    nodes = sum(2**k for depth in range(1, 6) for k in range(2 * depth))
    assert len(found.distance) == 10 + nodes
    assert sorted(found.distance[found.distance > 1e-9].round(9)) == [1] * 4 + [2] * 3 + [3, 3, 4]
    assert sorted(np.unique(found.overlap)) == [0.0, 50.0]
    layered = search_plain_cnn.siblings(design_spaces.plain_cnn("sequential"), known)
    assert layered.distance.mean() > 0


def test_the_command_writes_rows_and_the_figure(tmp_path, capsys):
    out = tmp_path / "plain_cnn.json"
    words = ["--seeds", "2", "--c", "1.0", "0.2", "--out", str(out)]
    assert search_plain_cnn.main(words) == 0
    rows = {(row["name"], row["metric"]): row for row in read_table(out).rows}
    for order in ("global", "sequential"):
        row = rows[order, "median_samples_to_best"]
        assert 1 <= row["value"] <= 1364
        assert row["config"] == "c=1 form=algorithm"
        assert rows[order, "found_fraction"]["value"] == 1.0
        other = rows[f"{order}_c0.2", "median_samples_to_best"]
        assert other["config"] == "c=0.2 form=algorithm"
    assert (tmp_path / "figure4_1.png").stat().st_size > 10_000
    assert "| global_c0.2 |" in capsys.readouterr().out


def test_random_search_asks_for_each_network_once():
    codes = [tuple(code) for code in design_spaces.plain_cnns()[:30]]
    run = interface.maximise(
        search_plain_cnn.uniform(codes), lambda x, seed: 0.0, budget=30, batch_size=4
    )
    assert {tuple(trial.point) for trial in run.trials} == set(codes)
    assert [tuple(trial.point) for trial in run.trials] != codes


def test_the_first_epoch_that_reaches_a_target():
    assert study.first(np.array([0.1, 0.5, 0.4]), 0.5) == 2
    assert study.first(np.array([0.1, 0.5, 0.4]), 0.6) == 4


def test_a_transferred_child_starts_ahead():
    data = jax.tree.map(jnp.asarray, plain_cnn_training.load_images())
    curves = study.curves(0, data, epochs=3)
    assert curves.transferred[0] > curves.scratch[0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["predictors", "--seeds", "0"], "--seeds: expected 1 to 10,000, got 0"),
        (["predictors", "--task", "mnist"], "invalid choice: 'mnist'"),
    ],
)
def test_bad_arguments_are_named(words, message, capsys):
    with pytest.raises(SystemExit):
        search_alphax.main(words)
    assert message in capsys.readouterr().err
