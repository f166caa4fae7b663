"""Where LA-MCTS searches: the rows of the command, small."""

import numpy as np
import pytest

from experiments.report import table as results_table
from experiments.search import region_figures as search_region_figures
from experiments.search import regions as search_regions
from search import lamcts, partition, regions

pytest.importorskip("sklearn")


def rows(path):
    return {(row["name"], row["metric"]): row for row in results_table.read_table(path).rows}


def test_leaves_of_a_sine_hold_its_maxima(tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "t.json"
    assert search_regions.main(["sine", "--seeds", "3", "--out", str(path)]) == 0
    assert (tmp_path / "figure5_3.png").stat().st_size > 10_000
    found = rows(path)
    assert found["sine-2", "maxima_inside"]["value"] > 0.5
    # A region above 0.5 takes a third of the interval at most, if it is no larger than it must be.
    assert 5 < found["sine-2", "volume_percent"]["value"] < 45
    interval, maxima = search_regions.SINES["sine-2"]
    roots, _ = search_regions.sine("sine-2", 1)
    _, values = search_regions.samples(interval, 0)
    means = [values[leaf.members].mean() for leaf in partition.leaves(roots[0])]
    _, again = search_regions.sine("sine-2", 1)
    assert {metric: value for _, metric, value in again}["leaf_mean"] == [max(means)]
    np.testing.assert_allclose(np.sin(maxima), 1.0)
    assert interval.contains(maxima[:, None]).all()


@pytest.fixture
def brief(monkeypatch):
    """Two short iterations of a search that learns small trees."""
    settings = lamcts.Settings(solver="random", num_init=12, leaf_size=6)
    monkeypatch.setattr(search_regions, "MARKS", (0, 2))
    monkeypatch.setattr(search_region_figures, "PANELS", dict(enumerate([10.0] * 3 + [5.0] * 5)))
    monkeypatch.setattr(search_regions, "PLANE_SETTINGS", {"random": (settings, 4)})
    monkeypatch.setattr(search_regions, "SPACE_SETTINGS", settings)
    return settings


def test_rows_are_means_of_the_iterations(brief, tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "t.json"
    assert search_regions.main(["ackley20", "--seeds", "2", "--out", str(path)]) == 0
    assert (tmp_path / "figure5_9.png").stat().st_size > 10_000
    found = rows(path)
    runs = [
        regions.iterations(
            search_regions.SPACE, brief, search_regions.benchmarks.objective("ackley"),
            seed=seed, count=3,
        )
        for seed in range(2)
    ]  # fmt: skip
    for metric, each in (
        ("selected_regret", [-run[2].selected for run in runs]),
        ("splits", [regions.splits(run[2].root) for run in runs]),
        ("best_value", [-run[2].best for run in runs]),
    ):
        row = found["ackley20-turbo-2", metric]
        np.testing.assert_allclose(row["value"], np.mean(each))
        assert row["seeds"] == [0, 1]
    assert ("ackley20-turbo-2", "volume_percent") not in found
    assert -1 <= found["ackley20-turbo", "regret_correlation"]["value"] <= 1


def test_the_region_of_a_plane_is_measured_and_drawn(brief, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(search_regions, "MARKS", (0, 7))
    path = tmp_path / "t.json"
    assert search_regions.main(["ackley2", "--seeds", "2", "--out", str(path)]) == 0
    assert (tmp_path / "figure5_11.png").stat().st_size > 10_000
    found = rows(path)
    first, last = (found[f"ackley2-random-{k}", "volume_percent"]["value"] for k in (0, 7))
    assert 0 < last < first <= 100
    assert found["ackley2-random-0", "contains_optimum"]["value"] in (0.0, 0.5, 1.0)


def test_the_optimum_lies_in_a_region_or_not():
    edge = partition.Boundary(np.array([[1.0, 0.0]]), np.ones(1), -0.4, 1.0, "linear")
    bare = partition.Node(np.array([0]), None, None, None)
    for side in (True, False):
        each = regions.Iteration(None, bare, ((edge, side),), -3.0, -2.0)
        found = search_regions.measured(search_regions.PLANE, each)
        assert found["contains_optimum"] == float(side)  # the origin is at 0.5
        np.testing.assert_allclose(found["volume_percent"], 60 if side else 40, atol=2)
        assert (found["selected_regret"], found["splits"], found["best_value"]) == (3.0, 0.0, 2.0)


def test_no_seed_is_refused(capsys):
    with pytest.raises(SystemExit):
        search_regions.main(["sine", "--seeds", "0"])
    assert "--seeds" in capsys.readouterr().err
