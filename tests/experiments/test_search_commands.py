"""The commands that fill the tables of `search`, small, and that they go on where they stopped."""

import json

import numpy as np
import pytest

from experiments import config as configs
from experiments import results_table, run, search_nasbench201, search_synthetic
from experiments.config import ConfigError
from experiments.data.registry import MissingDataset
from experiments.finished import Finished
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


@pytest.mark.parametrize("function", ["sphere20", "ackley", "ackley1"])
def test_an_unknown_function_is_refused(function):
    with pytest.raises(ConfigError, match="a name and a dimension"):
        search_synthetic.parse(function)


def test_samples_to_the_best_are_counted_to_its_first_place():
    values = np.array([0.1, 0.5, 0.3, 0.5])
    found = search_nasbench201._found(values, np.array([0, 2, 3, 1]))
    assert (found.samples, found.found) == (3, True)
    np.testing.assert_array_equal(found.best, [0.1, 0.3, 0.5])
    missed = search_nasbench201._found(values, np.array([0, 2]))
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


def test_a_cell_search_through_the_runner(monkeypatch, tmp_path):
    values = np.random.default_rng(0).random(search_nasbench201.ROWS)
    monkeypatch.setattr(search_nasbench201, "rewards", lambda task: values)
    words = ["--config=search/nasbench201:cifar10,smoke", f"--workdir={tmp_path / 'run'}"]
    assert run.main([*words, "--quiet"]) == 0
    (row,) = json.loads((tmp_path / "run" / "results.json").read_text())["rows"]
    assert row["name"] == "cifar10-lanas"
    assert 0.9 < row["value"] <= values.max()


def test_settings_of_a_config_are_checked():
    for key, value in (("method", "adam"), ("tree.leaf_size", "1"), ("evaluate.kind", "cloud")):
        config = configs.load("search/synthetic:ackley20,smoke", [(key, value)])
        with pytest.raises(ConfigError, match=key):
            search_synthetic.build(config)
