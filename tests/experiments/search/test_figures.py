"""Figures 4.6, 5.6, 5.7 and 5.10 are drawn from whatever rows and searches there are."""

import numpy as np
import pytest

from experiments.report import table as results_table
from experiments.search import figures as search_figures
from experiments.search import nasbench201, synthetic


def row(name, metric, value, n=5):
    return {
        "name": name, "metric": metric, "value": value, "low": value - 1, "high": value + 2, "n": n
    }  # fmt: skip


LANAS = {"height": 5, "c": 0.1, "num_init": 50, "select_every": 20, "form": "equation"}


@pytest.fixture
def results(monkeypatch, tmp_path):
    monkeypatch.setattr(results_table, "RESULTS", tmp_path)
    return tmp_path


def test_rows_that_differ_in_one_setting_make_a_line():
    settings = {
        "a": LANAS | {"height": 10}, "b": LANAS, "c": LANAS | {"c": 0.5},
        "d": LANAS | {"height": 7, "c": 0.5}, "e": LANAS | {"num_init": 10},
    }  # fmt: skip
    rows = [row(name, search_figures.METRIC, 100.0) for name in settings]
    heights = search_figures.lines(rows, settings, "height")
    named = [[(value, r["name"]) for value, r in line] for line in heights.values()]
    assert named == [[(5, "b"), (10, "a")], [(5, "c"), (7, "d")]]
    (inits,) = search_figures.lines(rows, settings, "num_init").values()
    assert [r["name"] for _, r in inits] == ["e", "b"]
    assert search_figures.lines(rows, settings, "select_every") == {}
    labels = [search_figures._apart(rest, heights) for rest in heights]
    assert labels == ["c=0.1", "c=0.5"]


def test_lines_come_in_the_order_of_their_settings():
    settings = {
        f"h{height}_c{c:g}": LANAS | {"height": height, "c": c}
        for c in (0.1, 0.03, 0.0, 0.5, 0.01) for height in (7, 3)
    }  # fmt: skip
    rows = [row(name, search_figures.METRIC, 100.0) for name in settings]
    heights = search_figures.lines(rows, settings, "height")
    labels = [search_figures._apart(rest, heights) for rest in heights]
    assert labels == ["c=0", "c=0.01", "c=0.03", "c=0.1", "c=0.5"]


def test_a_logarithmic_axis_has_plain_numbers():
    plt = pytest.importorskip("experiments.report.figures").pyplot()
    for low, high, expected in (
        (40, 400, ["50", "70", "100", "200", "300"]),
        (0.1, 30, ["0.1", "0.2", "0.5", "1", "2", "5", "10", "20"]),
        (1e-1, 1e6, ["0.1", "1", "10", "100", "1000", "10000", "100000", "1e+06"]),
    ):
        _, axis = plt.subplots()
        axis.set(yscale="log", ylim=(low, high))
        search_figures._plain_ticks(axis)
        axis.figure.canvas.draw()
        assert [label.get_text() for label in axis.get_yticklabels()] == expected
        plt.close(axis.figure)


def test_lanas_is_drawn_from_rows(results):
    pytest.importorskip("matplotlib")
    settings = {"cifar10-lanas": LANAS, "cifar10-lanas_h3": LANAS | {"height": 3}}
    rows = [row(name, search_figures.METRIC, 200.0) for name in (*settings, "cifar10-random")]
    assert search_figures.lanas(settings, rows[2:], {}, results) == []
    (picture,) = search_figures.lanas(settings, rows, {}, results)
    assert picture.name == "figure4_6.png"
    assert picture.stat().st_size > 10_000


@pytest.fixture
def searches(monkeypatch, tmp_path):
    """Finished cells, each folder called as its cell: what `curves` finds there."""
    found = {
        "levy3-turbo": [[-5.0, -4.0, -3.0], [-8.0, -4.0, -1.0]],
        "levy3-lamcts_turbo": [[-6.0, -5.0, -2.0]],
        "levy3-lamcts_turbo_c10": [[-6.0, -6.0, -6.0]],
        "levy20-cma": [[-1.0, -1.0]],
        "hopper-lamcts_turbo": [[1.0, 2.0]],
    }
    monkeypatch.setattr(search_figures, "curves", lambda path: np.array(found[path.name]))
    return {name: tmp_path / name for name in found}


def test_searches_are_sorted_by_problem_and_method(searches):
    rows = [row(name, "best_value", 1.0) for name in (*searches, "levy20-turbo")]
    found = search_figures.panels(rows, searches)
    assert list(found) == ["levy3", "hopper"]  # of levy20 a method is not there
    assert set(found["levy3"]) == {"turbo", "lamcts_turbo"}
    np.testing.assert_array_equal(found["levy3"]["turbo"], [[-5, -4, -3], [-8, -4, -1]])


LAMCTS = {"c": 1.0, "leaf_size": 20, "kernel": "rbf"}


def test_searches_and_ablations_are_drawn_where_there_are_any(searches, tmp_path):
    pytest.importorskip("matplotlib")
    settings = {"levy3-lamcts_turbo": LAMCTS, "levy3-lamcts_turbo_c10": LAMCTS | {"c": 10.0}}
    rows = [row(name, "best_value", 1.0) for name in searches if name.startswith("levy3")]
    assert search_figures.control(rows, {}, tmp_path) == []
    assert search_figures.synthetic(settings, rows[:1], {}, tmp_path) == []
    pictures = search_figures.synthetic(settings, rows, searches, tmp_path)
    assert [path.name for path in pictures] == ["figure5_7.png", "figure5_10.png"]
    pictures += search_figures.control(
        [row("hopper-lamcts_turbo", "best_value", 2.0)], searches, tmp_path
    )
    assert pictures[-1].name == "figure5_6.png"
    assert all(path.stat().st_size > 10_000 for path in pictures)


def test_the_figures_of_settings_show_the_rows_that_have_them():
    ablated = synthetic._ablated()
    base = search_figures.BASE
    assert ablated[base] == LAMCTS
    assert ablated[f"{base}_c0.1"] == LAMCTS | {"c": 0.1}
    assert ablated[f"{base}_linear"] == LAMCTS | {"kernel": "linear"}
    assert ablated[f"{base}_theta40"] == LAMCTS | {"leaf_size": 40}
    rows = [row(name, "best_value", 1.0) for name in ablated]
    for varied, values in (
        ("c", [0.0, 0.1, 1.0, 10.0, 100.0]),
        ("leaf_size", [10, 20, 40, 100]),
        ("kernel", ["linear", "poly", "rbf"]),
    ):
        (line,) = search_figures.lines(rows, ablated, varied).values()
        assert [value for value, _ in line] == values
    shown = nasbench201._lanas_settings()
    assert set(shown) == {
        f"cifar10-{name}" for name in nasbench201.METHODS if name.startswith("lanas")
    }
    assert shown["cifar10-lanas_h3_c0.5"] == LANAS | {"height": 3, "c": 0.5, "form": "algorithm"}
