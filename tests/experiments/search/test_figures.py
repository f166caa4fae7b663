"""Figures 4.6, 5.7 and 5.10 are drawn from whatever rows and searches there are."""

import json

import numpy as np
import pytest

from experiments.report import rows as result_rows
from experiments.report import table as results_table
from experiments.report.finished import Finished
from experiments.report.interval import Interval
from experiments.search import figures as search_figures


def row(name, metric, value, config="", n=5):
    return result_rows.row(
        name, metric, Interval(value, value - 1, value + 2, n), unit="seed",
        command="python -m experiments.search.nasbench201", config=config, machine="none",
        commit="",
    )  # fmt: skip


def lanas(name, value, height=5, c=0.1, num_init=50):
    config = f"height={height} c={c} num_init={num_init} one_hot budget={1000 + num_init}"
    return row(name, "median_samples_to_best", value, config)


@pytest.fixture
def results(monkeypatch, tmp_path):
    monkeypatch.setattr(results_table, "RESULTS", tmp_path)
    return tmp_path


def test_rows_that_differ_in_one_setting_make_a_line():
    rows = [lanas("a", 300, height=10), lanas("b", 200), lanas("c", 150, c=0.5),
            lanas("d", 400, height=7, c=0.5), lanas("e", 90, num_init=10)]  # fmt: skip
    heights = search_figures.lines(rows, "height")
    assert [[r["name"] for r in line] for line in heights.values()] == [["b", "a"], ["c", "d"]]
    (inits,) = search_figures.lines(rows, "num_init").values()  # the budget does not count
    assert [r["name"] for r in inits] == ["e", "b"]
    assert search_figures.lines(rows, "select_every") == {}
    labels = [search_figures._apart(rest, heights) for rest in heights]
    assert labels == ["c=0.1", "c=0.5"]


def test_lanas_is_drawn_from_rows(results, capsys):
    pytest.importorskip("matplotlib")
    assert search_figures.main(["lanas"]) == 2
    assert "run experiments.search.nasbench201" in capsys.readouterr().err
    path = results_table.table_path("search/nasbench201")
    rows = [lanas("cifar10-lanas", 200), lanas("cifar10-lanas_h3_c0.1", 300, height=3)]
    results_table.write_table(path, "t", rows)
    assert search_figures.main(["lanas"]) == 0
    assert (results / "search" / "figure4_6.png").stat().st_size > 10_000


def finish(folder, *searches):
    kept = Finished(folder / "finished.jsonl")
    for key, curve in searches:
        kept.add(key, {"costs": curve, "seconds": 1.0})


def test_searches_are_sorted_by_function_and_method(tmp_path):
    finish(
        tmp_path / "a",
        ("levy3 turbo fast budget=3 seed=0", [5.0, 4.0, 3.0]),
        ("levy3 turbo fast budget=2 seed=1", [9.0, 9.0]),
        ("levy3 lamcts_turbo fast budget=3 c=1 theta=20 rbf seed=0", [6.0, 5.0, 2.0]),
        ("levy3 lamcts_turbo fast budget=3 c=10 theta=20 rbf seed=0", [6.0, 6.0, 6.0]),
        ("levy3 lamcts_turbo fast budget=3 c=1 theta=20 linear seed=0", [7.0, 7.0, 7.0]),
    )
    finish(
        tmp_path / "b",
        ("levy3 turbo fast budget=3 seed=2", [8.0, 4.0, 1.0]),
        ("levy3 cma fast budget=3 seed=0", [1.0, 1.0, 1.0]),
        ("levy3 cma paper budget=3 seed=0", [2.0, 2.0, 2.0]),
        ("hopper lamcts_turbo fast budget=2 c=10 theta=100 rbf seed=0", [1.0, 2.0]),
    )
    found = search_figures.searches([tmp_path / "a", tmp_path / "b"])
    assert set(found["levy3"]) == {"turbo", "lamcts_turbo", "cma fast", "cma paper"}
    np.testing.assert_array_equal(found["levy3"]["turbo"], [[5, 4, 3], [8, 4, 1]])
    np.testing.assert_array_equal(found["levy3"]["lamcts_turbo"], [[6, 5, 2]])
    np.testing.assert_array_equal(found["hopper"]["lamcts_turbo"], [[1, 2]])
    assert not search_figures._falls(found["hopper"]["lamcts_turbo"])
    assert search_figures._falls(found["levy3"]["turbo"])


def test_searches_are_drawn_or_said_to_be_missing(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    out = tmp_path / "x.png"
    words = ["synthetic", "--workdir", str(tmp_path), "--out", str(out)]
    assert search_figures.main(words) == 2
    assert "expected finished searches" in capsys.readouterr().err
    finish(tmp_path, *[(f"levy{dim} cma fast budget=3 seed={seed}", [5.0 + seed, 3.0, 0.0])
                       for dim in (2, 3) for seed in (0, 1)])  # fmt: skip
    assert search_figures.main(words) == 0
    assert out.stat().st_size > 10_000


def test_an_ablation_is_a_suffix():
    rows = [
        row(name, "best_value", value)
        for name, value in (
            ("ackley20-lamcts_turbo", 5.0), ("ackley20-lamcts_turbo_c10", 6.0),
            ("ackley20-lamcts_turbo_c0.1", 7.0), ("ackley20-lamcts_turbo_linear", 8.0),
            ("levy20-lamcts_turbo_theta40", 9.0), ("ackley20-turbo_stock", 1.0),
        )
    ]  # fmt: skip
    rows.append(row("ackley20-lamcts_turbo_c10", "best_value_at_100", 99.0))
    found = search_figures.ablated(rows)
    assert list(found) == ["c", "theta", "kernel"]
    (line,) = found["c"].values()
    assert [(value, r["value"]) for value, r in line] == [("0.1", 7.0), ("1", 5.0), ("10", 6.0)]
    assert [value for value, _ in found["kernel"]["ackley20-lamcts_turbo"]] == ["linear", "rbf"]
    assert [value for value, _ in found["theta"]["levy20-lamcts_turbo"]] == ["40"]


def test_ablations_are_drawn_from_rows(results, capsys):
    pytest.importorskip("matplotlib")
    assert search_figures.main(["ablations"]) == 2
    assert "--suffix" in capsys.readouterr().err
    path = results_table.table_path("search/synthetic")
    results_table.write_table(path, "t", [
        row("ackley20-lamcts_turbo", "best_value", 5.0),
        row("ackley20-lamcts_turbo_c10", "best_value", 6.0),
        row("ackley20-lamcts_turbo_poly", "best_value", 6.0),
    ])  # fmt: skip
    assert search_figures.main(["ablations"]) == 0
    assert (results / "search" / "figure5_10.png").stat().st_size > 10_000
    assert json.loads(path.read_text())["title"] == "t"  # nothing is measured or written


def test_a_workdir_is_of_the_searches_only(capsys):
    with pytest.raises(SystemExit):
        search_figures.main(["lanas", "--workdir", "runs/x"])
    assert "drawn from results/" in capsys.readouterr().err
