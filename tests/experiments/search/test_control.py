"""The table `search/control`, small, and the glue of its configs."""

import pytest

from experiments import run
from experiments.report.rows import TableError
from experiments.runner import config as configs
from experiments.runner.checks import ConfigError
from experiments.runner.search_journal import JOURNAL
from experiments.search import control as search_control
from experiments.search.control import TABLES
from experiments.search.curves import curves
from search import baselines, control, interface
from tests.experiments.search.cells import by_metric, changed, ended

TABLE = TABLES["search/control"]


def filled(folder, name, **changes):
    return list(TABLE.rows(name, ended(folder, {name: changed(TABLE, name, **changes)})))


def test_the_rovers_rows_are_what_the_searches_found(tmp_path):
    rows = filled(tmp_path, "rover-random", steps=60, num_seeds=2)
    box = control.rover_box()
    runs = [
        interface.maximise(baselines.random(box), control.rover, budget=60, seed=seed)
        for seed in range(2)
    ]
    found = by_metric(rows)
    assert set(found) == {"best_value", "best_value_at_50"}
    for metric, mark in (("best_value", 60), ("best_value_at_50", 50)):
        expected = sum(each.best[mark - 1] for each in runs) / 2
        assert found[metric] == pytest.approx(expected)
    assert all((row["name"], row["n"]) == ("rover-random", 2) for row in rows)


def made_up(monkeypatch, values):
    """Locomotion with these rewards in turn, and 7 for points tried again."""
    left = list(values)
    monkeypatch.setattr(control, "require", lambda: None)
    monkeypatch.setattr(
        control, "problem",
        lambda task, **_: (
            control.policy_box(task), lambda point, seed: left.pop(0), lambda point, seed: 7.0,
        ),
    )  # fmt: skip


def test_rows_of_locomotion_count_evaluations_to_the_threshold(monkeypatch, tmp_path):
    made_up(monkeypatch, [1, 2, 400, 3, 1, 2, 3, 4])
    rows = filled(tmp_path, "swimmer-random", steps=4, num_seeds=2, episodes=10)
    assert by_metric(rows) == {
        "best_value": 202.0,
        "fresh_value": 7.0,
        "episodes": 40.0,
        "reached_fraction": 0.5,
        "evaluations_to_threshold": 3.5,
        "episodes_to_threshold": 35.0,
    }
    assert all(row.get("reference") is None for row in rows)


def test_the_published_number_stands_beside_lamcts(monkeypatch, tmp_path):
    pytest.importorskip("sklearn")
    made_up(monkeypatch, [326.0] * 4)
    for row in filled(tmp_path, "swimmer-lamcts_turbo", steps=4, num_seeds=1):
        published = 126.0 if row["metric"].endswith("_to_threshold") else None
        assert row.get("reference") == published
    cell = TABLE.cells["swimmer-lamcts_turbo"]
    tree = configs.load(cell.config).tree
    assert (tree.leaf_size, tree.kernel) == (100, "rbf")


def test_a_search_of_which_all_evaluations_fail_has_no_row(monkeypatch, tmp_path, capsys):
    def broken(point, seed):
        raise ValueError("no ground")

    monkeypatch.setattr(control, "problem", lambda task, **_: (control.rover_box(), broken, None))
    with pytest.raises(AssertionError):  # the run ends with an error
        filled(tmp_path, "rover-random", steps=3, num_seeds=1)
    said = capsys.readouterr().err
    assert "first 3 trials all failed" in said
    assert "ValueError: no ground" in said
    (journal,) = tmp_path.rglob(JOURNAL)
    with pytest.raises(TableError, match=r"every evaluation failed: .*no ground"):
        curves(journal.parent)


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
    assert capsys.readouterr().err.count("ncolab[control]") == 1


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
