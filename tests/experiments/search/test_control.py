"""The command that fills `search/control`, small, and the glue of its configs."""

import numpy as np
import pytest

from experiments import run
from experiments.report import table as results_table
from experiments.runner import config as configs
from experiments.runner.checks import ConfigError
from experiments.search import control as search_control
from search import baselines, control, interface


def fill(folder, *words):
    search_control.main([
        "--methods", "random", "--workdir", str(folder), "--table", str(folder / "t.json"), *words,
    ])  # fmt: skip
    return {(row["name"], row["metric"]): row for row in results_table.read_table(
        folder / "t.json").rows}  # fmt: skip


def test_the_rovers_rows_are_what_the_searches_found(tmp_path, capsys):
    words = ("--tasks", "rover", "--budget", "60")
    rows = fill(tmp_path, *words, "--seeds", "2")
    box = control.rover_box()
    runs = [
        interface.maximise(baselines.random(box), control.rover, budget=60, seed=seed)
        for seed in range(2)
    ]
    for metric, mark in (("best_value", 60), ("best_value_at_50", 50)):
        row = rows["rover-random", metric]
        assert row["value"] == pytest.approx(np.mean([each.best[mark - 1] for each in runs]))
        assert (row["n"], row["seeds"]) == (2, [0, 1])
    assert set(rows) == {("rover-random", "best_value"), ("rover-random", "best_value_at_50")}
    assert capsys.readouterr().out.count("seed=") == 2
    assert fill(tmp_path, *words, "--seeds", "3")["rover-random", "best_value"]["n"] == 3
    assert capsys.readouterr().out.count("seed=") == 1  # the first two were there


def made_up(monkeypatch, values):
    """Locomotion with these rewards in turn, and 7 for points tried again."""
    left = list(values)
    monkeypatch.setattr(control, "require", lambda: None)
    monkeypatch.setattr(
        search_control, "problem",
        lambda task, **_: (
            control.policy_box(task), lambda point, seed: left.pop(0), lambda point, seed: 7.0,
        ),
    )  # fmt: skip


def test_rows_of_locomotion_count_evaluations_to_the_threshold(monkeypatch, tmp_path):
    made_up(monkeypatch, [1, 2, 400, 3, 1, 2, 3, 4])
    rows = fill(tmp_path, "--tasks", "swimmer", "--budget", "4", "--seeds", "2", "--episodes", "10")
    found = {metric: row["value"] for (_, metric), row in rows.items()}
    assert found == {
        "best_value": 202.0,
        "fresh_value": 7.0,
        "episodes": 40.0,
        "reached_fraction": 0.5,
        "evaluations_to_threshold": 3.5,
        "episodes_to_threshold": 35.0,
    }
    assert rows["swimmer-random", "evaluations_to_threshold"]["reference"] is None


def test_the_published_number_stands_beside_lamcts(monkeypatch, tmp_path):
    pytest.importorskip("sklearn")
    made_up(monkeypatch, [326.0] * 4)
    fill(tmp_path, "--tasks", "swimmer", "--budget", "4", "--seeds", "1", "--methods",
         "lamcts_turbo")  # fmt: skip
    for row in results_table.read_table(tmp_path / "t.json").rows:
        published = 126.0 if row["metric"].endswith("_to_threshold") else None
        assert row["reference"] == published
        assert "theta=100 rbf" in row["config"]


def test_a_search_of_which_all_evaluations_fail_is_not_kept(monkeypatch, tmp_path):
    def broken(point, seed):
        raise ValueError("no ground")

    monkeypatch.setattr(
        search_control, "problem", lambda task, **_: (control.rover_box(), broken, None)
    )
    with pytest.raises(RuntimeError, match="every evaluation failed: no ground"):
        fill(tmp_path, "--tasks", "rover", "--budget", "3", "--seeds", "1")
    assert not (tmp_path / "finished.jsonl").exists()


def test_the_theses_settings_are_in_the_configs():
    for task, c, theta, kernel in (
        ("lunar", 1.0, 20, "rbf"),
        ("rover", 1.0, 20, "rbf"),
        ("hopper", 10.0, 100, "rbf"),
        ("humanoid", 10.0, 100, "linear"),
    ):
        tree = configs.load(f"search/control:{task},paper").tree
        assert (tree.c, tree.leaf_size, tree.kernel, tree.num_init) == (c, theta, kernel, 30)


def test_a_run_without_the_packages_says_what_is_missing(monkeypatch, tmp_path, capsys):
    def absent():
        raise ImportError('mujoco is needed here: pip install "ncolab[control]"')

    monkeypatch.setattr(control, "require", absent)
    words = ["--config=search/control:swimmer,smoke", f"--workdir={tmp_path / 'run'}", "--quiet"]
    assert run.main([*words, "--config.method=random"]) == 2
    assert not (tmp_path / "run").exists()
    table = ["--workdir", str(tmp_path / "table"), "--tasks", "lunar", "rover"]
    assert search_control.main(table) == 2
    assert not (tmp_path / "table").exists()
    assert capsys.readouterr().err.count("ncolab[control]") == 2


def test_a_rover_through_the_runner(tmp_path):
    folder = tmp_path / "run"
    words = ["--config=search/control:rover,smoke", f"--workdir={folder}", "--quiet"]
    assert run.main([*words, "--config.method=random"]) == 0
    assert (folder / "results.json").exists()


@pytest.mark.parametrize("task", ["lunar", "swimmer"])
def test_a_search_through_the_runner(task, tmp_path):
    for package in ("gymnasium", "Box2D", "mujoco"):
        pytest.importorskip(package)
    words = [f"--config=search/control:{task},smoke", f"--workdir={tmp_path / 'run'}", "--quiet"]
    assert run.main([*words, "--config.method=random", "--config.steps=3"]) == 0


def test_settings_of_a_config_are_checked():
    for key, value in (("method", "adam"), ("task", "dog"), ("terrains", "0")):
        config = configs.load("search/control:lunar,smoke", [(key, value)])
        with pytest.raises(ConfigError, match=key):
            search_control.build(config)
