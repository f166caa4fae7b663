"""The table of test functions: rows are what the searches found; bad settings are a line."""

import numpy as np
import pytest

from experiments import run
from experiments.runner import config as configs
from experiments.runner.checks import ConfigError
from experiments.search import synthetic
from experiments.search.synthetic import TABLES
from search import baselines, benchmarks, interface
from tests.experiments.search.cells import by_metric, changed, ended

TABLE = TABLES["search/synthetic"]
SMALL = {"function": "levy3", "num_seeds": 2}


def test_rows_are_what_the_searches_found(tmp_path):
    name = "levy20-random"
    workdirs = ended(tmp_path, {name: changed(TABLE, name, **SMALL, steps=120)})
    rows = TABLE.rows(name, workdirs)
    space = benchmarks.FUNCTIONS["levy"].box(3)
    runs = [
        interface.maximise(
            baselines.random(space), benchmarks.objective("levy"), budget=120, seed=seed
        )
        for seed in range(2)
    ]
    found = by_metric(rows)
    assert list(found) == ["best_value_at_100", "best_value"]
    for metric, mark in (("best_value", 120), ("best_value_at_100", 100)):
        expected = np.mean([-run.best[mark - 1] for run in runs])
        np.testing.assert_allclose(found[metric], expected, atol=1e-7)
    assert all((row["name"], row["n"], row["unit"]) == (name, 2, "seed") for row in rows)


def test_a_moved_function_has_another_minimum_for_each_seed(tmp_path):
    name = "levy20_moved-random"
    small = SMALL | {"function": "levy3_moved", "steps": 30}
    workdirs = ended(tmp_path, {name: changed(TABLE, name, **small)})
    expected = []
    for seed in range(2):
        objective = benchmarks.moved("levy", 3, seed)
        searcher = baselines.random(benchmarks.FUNCTIONS["levy"].box(3))
        expected.append(-interface.maximise(searcher, objective, budget=30, seed=seed).best[-1])
    found = by_metric(list(TABLE.rows(name, workdirs)))
    np.testing.assert_allclose(found["best_value"], np.mean(expected), atol=1e-7)


@pytest.mark.parametrize("function", ["sphere20", "ackley", "ackley1", "ackley20moved"])
def test_an_unknown_function_is_refused(function):
    config = configs.load("search/synthetic:ackley20,smoke", [("function", function)])
    with pytest.raises(ConfigError, match="a name and a dimension"):
        synthetic.build(config)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("function=sphere20", "function: expected a name"),
        ("tree.c=-1", "tree.c: expected"),
        ("tree.leaf_size=0", "tree.leaf_size: expected"),
        ("tree.kernel=cubic", "tree.kernel"),
        ("evaluate.timeout_s=5", "evaluate.timeout_s"),
    ],
)
def test_bad_input_is_one_line_before_any_work(override, expected, tmp_path, capsys):
    words = ["--config=search/synthetic:ackley20,smoke", f"--workdir={tmp_path / 'w'}"]
    assert run.main([*words, f"--config.{override}"]) == 2
    assert expected in capsys.readouterr().err
    assert not (tmp_path / "w").exists()


def test_settings_of_a_config_are_checked():
    for key, value in (("method", "adam"), ("tree.leaf_size", "1"), ("evaluate.kind", "cloud")):
        config = configs.load("search/synthetic:ackley20,smoke", [(key, value)])
        with pytest.raises(ConfigError, match=key):
            synthetic.build(config)


def test_an_ablation_changes_what_its_name_says():
    plain = TABLE.cells["ackley20-lamcts_turbo"].changes
    for name, changes in synthetic.ABLATIONS.items():
        cell = TABLE.cells[f"ackley20-lamcts_turbo_{name}"]
        assert cell.changes == {**plain, "num_seeds": 5, **changes}
    stock = TABLE.cells["ackley20-turbo_stock"].config
    assert configs.load(stock).preset == "paper"
