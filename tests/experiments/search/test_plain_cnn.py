"""The plain CNNs: their table and how it is made, searches of it, and the picture."""

import csv

import numpy as np
import pytest

from experiments import run
from experiments.data import catalogue, registry, tables
from experiments.report import table as results_table
from experiments.runner import config as configs
from experiments.runner.checks import ConfigError
from experiments.search import plain_cnn, plain_cnn_training
from experiments.search.plain_cnn import TABLES
from search import design_spaces
from search import plain_cnn as search_plain_cnn
from tests.experiments.search.cells import changed, ended

TABLE = TABLES["search/plain_cnn"]


def test_the_table_is_written_as_it_is_read(tmp_path, monkeypatch):
    codes = design_spaces.plain_cnns()
    accuracies = np.random.default_rng(0).random((len(codes), 2))
    plain_cnn_training.write(tmp_path / "plain_cnn.csv", codes, accuracies)
    monkeypatch.setattr(tables, "PLAIN_CNN", tmp_path / "plain_cnn.csv")
    found = registry.load(catalogue.DATASETS["plain_cnn"])
    np.testing.assert_array_equal(found["encodings"], codes)
    np.testing.assert_allclose(found["accuracy"], 100 * accuracies, atol=1e-4)


def test_a_run_trains_each_network_and_writes_the_table(tmp_path):
    config = "--config=search/plain_cnn_training:digits,smoke"
    words = [config, f"--workdir={tmp_path}", "--config.depths=1,", "--config.together=2"]
    assert run.main([*words, "--config.epochs=8", "--config.steps=4", "--quiet"]) == 0
    with (tmp_path / "plain_cnn.csv").open() as file:
        header, *rows = csv.reader(file)
    with tables.PLAIN_CNN.open() as file:
        assert next(csv.reader(file)) == header
        bundled = [row for row in csv.reader(file) if row[0] == "1"]
    assert [row[:3] for row in rows] == [row[:3] for row in bundled]
    # The bundled one was made by the same trainings, on another machine perhaps.
    of_run, of_package = (np.array([row[3:] for row in each], float) for each in (rows, bundled))
    np.testing.assert_allclose(of_run, of_package, atol=5.0)


def test_every_network_is_trained_as_often_as_asked():
    codes = design_spaces.plain_cnns()
    chunks = search_plain_cnn.chunks(codes, (1, 2, 3, 4, 5), 2, 32)
    assert len(chunks) == configs.load("search/plain_cnn_training").steps
    counts = np.zeros((len(codes), 2), int)
    for training, first, count in chunks:
        counts[first : first + count, training] += 1
        assert len(np.unique(codes[first : first + count, 0])) == 1
    assert (counts == 1).all()


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


def test_rows_are_of_the_samples_and_of_the_actions(tmp_path, monkeypatch):
    # Ties at the top count as found: so many that a search takes a moment.
    easy = {code: min(value, 0.93) for code, value in plain_cnn.rewards().items()}
    monkeypatch.setattr(plain_cnn, "rewards", lambda: easy)
    names = ("global", "sequential_c2", "sequential", "random")
    workdirs = ended(tmp_path, {name: changed(TABLE, name, num_seeds=2) for name in names})
    rows = {
        (row["name"], row["metric"]): row for name in workdirs for row in TABLE.rows(name, workdirs)
    }
    for name in workdirs:
        assert 1 <= rows[name, "median_samples_to_best"]["value"] <= 1364
        assert rows[name, "found_fraction"]["value"] == 1.0
    distance = rows["sequential_c2", "sibling_distance_percent"]
    assert (distance["n"], distance["unit"], distance["seeds"]) == (1363, "instance", [])
    assert ("random", "sibling_distance_percent") not in rows
    pytest.importorskip("matplotlib")
    (picture,) = TABLE.draw([], workdirs, tmp_path)
    assert picture.stat().st_size > 10_000
    assert list(TABLE.draw([], {"global": workdirs["global"]}, tmp_path)) == []


def test_actions_separate_the_networks_as_recorded():
    recorded = results_table.read_table(results_table.table_path("search/plain_cnn")).rows
    known = {(row["name"], row["metric"]): row["value"] for row in recorded}
    for order in plain_cnn.ORDERS:
        for name, values in plain_cnn.separations(order, plain_cnn.rewards()).items():
            expected = known[order, f"sibling_{name}_percent"]
            np.testing.assert_allclose(values.mean(), expected)


@pytest.mark.parametrize(("key", "value"), [("c", "-1"), ("actions", "local"), ("form", "none")])
def test_settings_of_a_config_are_checked(key, value):
    with pytest.raises(ConfigError, match=key):
        plain_cnn.build(configs.load("search/plain_cnn:digits,smoke", [(key, value)]))
