"""The commands that fill the tables of `search`, small, and that they go on where they stopped."""

import functools
import json

import numpy as np
import pytest

from experiments import run
from experiments.data.registry import MissingDataset
from experiments.report import table as results_table
from experiments.report.finished import Finished
from experiments.runner import config as configs
from experiments.runner.checks import ConfigError
from experiments.search import nasbench201 as search_nasbench201
from experiments.search import nasbench201_methods
from experiments.search import synthetic as search_synthetic
from search import baselines, benchmarks, interface


def test_what_is_finished_is_remembered_but_for_a_torn_line(tmp_path):
    path = tmp_path / "some" / "finished.jsonl"
    Finished(path).add("one", [1.5, True])
    with path.open("a") as file:
        file.write('{"key": "two", "resu')
    again = Finished(path)
    assert again["one"] == [1.5, True]
    assert "two" not in again
    again.add("three", {"x": 3})
    assert Finished(path)["three"] == {"x": 3}
    assert Finished(path)["one"] == [1.5, True]


def synthetic(folder, *words):
    search_synthetic.main([
        "--functions", "levy3", "--methods", "random", "--workdir", str(folder),
        "--table", str(folder / "t.json"), *words,
    ])  # fmt: skip
    return {(row["name"], row["metric"]): row for row in results_table.read_table(
        folder / "t.json").rows}  # fmt: skip


def test_the_test_functions_table_is_what_the_searches_found(tmp_path, capsys):
    rows = synthetic(tmp_path, "--seeds", "2", "--budget", "120")
    space = benchmarks.FUNCTIONS["levy"].box(3)
    runs = [
        interface.maximise(
            baselines.random(space), benchmarks.objective("levy"), budget=120, seed=seed
        )
        for seed in range(2)
    ]
    for metric, mark in (("best_value", 120), ("best_value_at_100", 100)):
        row = rows["levy3-random", metric]
        expected = np.mean([-run.best[mark - 1] for run in runs])
        np.testing.assert_allclose(row["value"], expected, atol=1e-7)
        assert (row["n"], row["seeds"]) == (2, [0, 1])
    assert capsys.readouterr().out.count("seed=") == 2
    assert (
        synthetic(tmp_path, "--seeds", "3", "--budget", "120")["levy3-random", "best_value"]["n"]
        == 3
    )
    assert capsys.readouterr().out.count("seed=") == 1  # the first two were there


def test_a_moved_function_has_another_minimum_for_each_seed(tmp_path):
    rows = synthetic(tmp_path, "--functions", "levy3_moved", "--seeds", "2", "--budget", "30")
    expected = []
    for seed in range(2):
        objective = benchmarks.moved("levy", 3, seed)
        searcher = baselines.random(benchmarks.FUNCTIONS["levy"].box(3))
        expected.append(-interface.maximise(searcher, objective, budget=30, seed=seed).best[-1])
    row = rows["levy3_moved-random", "best_value"]
    np.testing.assert_allclose(row["value"], np.mean(expected), atol=1e-7)


@pytest.mark.parametrize("function", ["sphere20", "ackley", "ackley1", "ackley20moved"])
def test_an_unknown_function_is_refused(function):
    with pytest.raises(ConfigError, match="a name and a dimension"):
        search_synthetic.parse(function)


def test_samples_to_the_best_are_counted_to_its_first_place():
    values = np.array([0.1, 0.5, 0.3, 0.5])
    found = nasbench201_methods.first_of(values, np.array([0, 2, 3, 1]))
    assert (found.samples, found.found) == (3, True)
    np.testing.assert_array_equal(found.best, [0.1, 0.3, 0.5])
    missed = nasbench201_methods.first_of(values, np.array([0, 2]))
    assert (missed.samples, missed.found) == (2, False)


def test_random_search_of_the_cells_needs_half_of_them(monkeypatch, tmp_path):
    values = np.random.default_rng(0).random(search_nasbench201.ROWS)
    monkeypatch.setattr(search_nasbench201, "rewards", lambda task: values)
    path = tmp_path / "t.json"
    search_nasbench201.main([
        "--tasks", "cifar10", "--methods", "random", "--seeds", "300",
        "--workdir", str(tmp_path), "--table", str(path),
    ])  # fmt: skip
    rows = {row["metric"]: row for row in results_table.read_table(path).rows}
    mean = rows["mean_samples_to_best"]
    assert mean["low"] < 7813 < mean["high"]
    assert rows["found_fraction"]["value"] == 1.0


def test_the_command_says_how_to_get_the_table(monkeypatch, capsys, tmp_path):
    def missing(task):
        raise MissingDataset("python -m experiments.data fetch nasbench201")

    monkeypatch.setattr(search_nasbench201, "rewards", missing)
    assert search_nasbench201.main(["--workdir", str(tmp_path)]) == 2
    assert "fetch nasbench201" in capsys.readouterr().err
    assert search_nasbench201.main(["--list"]) == 0
    assert "height=5 c=0.1 form=equation" in capsys.readouterr().out


def test_the_rows_of_a_tree_search_say_its_bound():
    configs = {name: config for name, (_, config) in nasbench201_methods.METHODS.items()}
    assert "c=0.1 form=equation" in configs["mcts_equation"]
    assert "c=0.1 form=algorithm" in configs["alphax"]
    assert "form=algorithm" in configs["lamcts"]
    assert "batch=10 budget=1000" in configs["lamcts"]


def test_a_tree_search_of_the_cells_stops_at_its_budget():
    values = np.random.default_rng(0).random(search_nasbench201.ROWS)
    make = functools.partial(nasbench201_methods._make_mcts, c=0.1)
    (found,) = nasbench201_methods._asked(make, 25, values, [0])
    assert found.samples == 25 or found.found
    assert (np.diff(found.best) >= 0).all()


@pytest.mark.parametrize(
    "method", ["lanas", "lamcts", "alphax", "mcts", "q_learning", "regularised_evolution", "random"]
)
def test_a_cell_search_through_the_runner(monkeypatch, tmp_path, method):
    values = np.random.default_rng(0).random(search_nasbench201.ROWS)
    monkeypatch.setattr(search_nasbench201, "rewards", lambda task: values)
    words = ["--config=search/nasbench201:cifar10,smoke", f"--workdir={tmp_path / 'run'}"]
    assert run.main([*words, f"--config.method={method}", "--quiet"]) == 0
    (row,) = json.loads((tmp_path / "run" / "results.json").read_text())["rows"]
    assert row["name"] == f"cifar10-{method}"
    assert 0.8 < row["value"] <= values.max()


def test_settings_of_a_config_are_checked():
    for key, value in (("method", "adam"), ("tree.leaf_size", "1"), ("evaluate.kind", "cloud")):
        config = configs.load("search/synthetic:ackley20,smoke", [(key, value)])
        with pytest.raises(ConfigError, match=key):
            search_synthetic.build(config)
