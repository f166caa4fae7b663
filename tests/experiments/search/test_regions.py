"""Where LA-MCTS searches: the cells, small, and the pictures."""

import json

import numpy as np
import pytest

from experiments.runner import config as configs
from experiments.runner.checks import ConfigError
from experiments.search import region_figures
from experiments.search import regions as glue
from experiments.search.regions import TABLES
from search import benchmarks, lamcts, partition, regions
from tests.experiments.search.cells import changed, ended

pytest.importorskip("sklearn")

TABLE = TABLES["search/regions"]
SMALL = {"num_seeds": 2, "marks": "0,2", "tree__num_init": 12, "tree__leaf_size": 6}


def rows(name, workdirs):
    return {(row["name"], row["metric"]): row for row in TABLE.rows(name, workdirs)}


def test_leaves_of_a_sine_hold_its_maxima(tmp_path):
    workdirs = ended(tmp_path, {"sine-2": changed(TABLE, "sine-2", num_seeds=3)})
    found = rows("sine-2", workdirs)
    assert found["sine-2", "maxima_inside"]["value"] > 0.5
    # A region above 0.5 takes a third of the interval at most, if it is no larger than it must be.
    assert 5 < found["sine-2", "volume_percent"]["value"] < 45
    trees = [glue.sine(lamcts.Settings(), seed, "sine-2") for seed in range(3)]
    means = [
        max(tree.values[leaf.members].mean() for leaf in partition.leaves(tree.root))
        for tree in trees
    ]
    np.testing.assert_allclose(found["sine-2", "leaf_mean"]["value"], np.mean(means))
    pytest.importorskip("matplotlib")
    (picture,) = TABLE.draw([], workdirs, tmp_path)
    assert picture.name == "figure5_3.png"
    assert picture.stat().st_size > 10_000


@pytest.fixture(scope="module")
def plane(tmp_path_factory):
    """Short iterations of a search that learns small trees."""
    cell = changed(TABLE, "ackley2-random", together=4, **SMALL)
    return ended(tmp_path_factory.mktemp("plane"), {"ackley2-random": cell})


def test_rows_are_means_of_the_iterations(plane):
    found = rows("ackley2-random", plane)
    settings = lamcts.Settings(solver="random", num_init=12, leaf_size=6)
    runs = [
        regions.iterations(
            glue.box_of("ackley2-random"), settings, benchmarks.objective("ackley"),
            seed=seed, count=3, batch=4,
        )
        for seed in range(2)
    ]  # fmt: skip
    for metric, each in (
        ("selected_regret", [-run[2].selected for run in runs]),
        ("splits", [regions.splits(run[2].root) for run in runs]),
        ("best_value", [-run[2].best for run in runs]),
    ):
        np.testing.assert_allclose(found["ackley2-random-2", metric]["value"], np.mean(each))
    assert -1 <= found["ackley2-random", "regret_correlation"]["value"] <= 1
    first, last = (found[f"ackley2-random-{k}", "volume_percent"]["value"] for k in (0, 2))
    assert 0 < last < first <= 100
    assert found["ackley2-random-0", "contains_optimum"]["value"] in (0.0, 0.5, 1.0)
    results = json.loads((plane["ackley2-random"] / "results.json").read_text())
    assert results["seeds"] == [0, 1]


def test_pictures_are_of_the_iterations(plane, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(region_figures, "PANELS", dict(enumerate([10.0] * 3 + [5.0] * 5)))
    monkeypatch.setattr(region_figures, "PIXELS", 61)
    # The splits of any search are drawn alike.
    workdirs = {"ackley20-turbo": plane["ackley2-random"], **plane}
    drawn = list(TABLE.draw([], workdirs, tmp_path))
    assert [picture.name for picture in drawn] == ["figure5_9.png", "figure5_11.png"]
    assert all(picture.stat().st_size > 10_000 for picture in drawn)


def test_settings_are_those_of_the_docstring():
    def settings(task):
        return glue.settings_of(configs.load(f"search/regions:{task},cpu"))

    for task in glue.TASKS:
        each = settings(task)
        assert (each.c, each.leaf_size, each.kernel, each.form) == (1.0, 20, "rbf", "algorithm")
    assert (settings("ackley2-random").solver, settings("ackley2-turbo").solver) == (
        "random",
        "turbo",
    )
    large, small = settings("ackley20-turbo"), settings("ackley2-turbo")
    assert (large.round_init, large.round_most) == (20, 40)
    assert (small.round_init, small.round_most) == (10, 20)
    assert configs.load("search/regions:ackley2-random,cpu").together == 10


@pytest.mark.parametrize(("key", "value"), [("marks", "-1"), ("tree.c", "-1"), ("task", "levy2")])
def test_settings_of_a_config_are_checked(key, value):
    with pytest.raises(ConfigError, match=key):
        glue.build(configs.load("search/regions:ackley2-random,smoke", [(key, value)]))
