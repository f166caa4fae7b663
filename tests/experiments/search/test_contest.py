"""The command that fills `search/contest`, small, and the glue of its configs."""

import json

import numpy as np
import pytest

from experiments import run
from experiments.report import table as results_table
from experiments.runner import config as configs
from experiments.runner.checks import ConfigError
from experiments.search import contest as search_contest
from search import baselines, contest, interface

pytest.importorskip("sklearn")
TASKS = ("tree-wine-accuracy", "knn-wine-log_loss")


def fill(folder, *words):
    search_contest.main([
        "--tasks", *TASKS, "--budget", "16", "--rows", "45", "--workdir", str(folder),
        "--table", str(folder / "t.json"), *words,
    ])  # fmt: skip
    return {(row["name"], row["metric"]): row for row in results_table.read_table(
        folder / "t.json").rows}  # fmt: skip


@pytest.fixture
def quick(monkeypatch):
    """Rewards that take no time: of the first coordinates; and few random points."""
    monkeypatch.setattr(search_contest, "REFERENCE", 40)
    monkeypatch.setattr(
        contest, "validated",
        lambda model, features, labels, metric, point, seed, folds: (
            float(point[0]) if metric == "accuracy" else -float(point[1])
        ),
    )  # fmt: skip


def test_scores_are_of_what_the_searches_found(quick, tmp_path, capsys):
    rows = fill(tmp_path, "--methods", "random", "--seeds", "2")
    expected = []
    for task, sign, place in (("tree", 1, 0), ("knn", -1, 1)):
        box = contest.MODELS[task].box
        values = [
            interface.maximise(
                baselines.random(box), lambda x, _, s=sign, p=place: s * float(x[p]),
                budget=budget, batch_size=8, seed=seed,
            ).values
            for budget, seed in ((40, 10_000), (16, 0), (16, 1))
        ]  # fmt: skip
        typical, known = np.median(values[0]), max(each.max() for each in values)
        expected.append([100 * (each.max() - typical) / (known - typical) for each in values[1:]])
    score = rows["random", "score"]
    assert score["value"] == pytest.approx(np.mean(expected), abs=1e-3)
    assert (score["n"], score["seeds"]) == (2, [0, 1])
    label = "score_knn_wine_log_loss"
    assert rows["random", label]["value"] == pytest.approx(np.mean(expected[1]), abs=1e-3)
    assert capsys.readouterr().out.count("seed=") == 4
    fill(tmp_path, "--methods", "random", "--seeds", "2")
    assert "seed=" not in capsys.readouterr().out  # all of it was there


def test_a_better_search_lowers_the_scores_of_the_others(quick, tmp_path):
    before = fill(tmp_path, "--methods", "random", "--seeds", "1")["random", "score"]["value"]
    rows = fill(tmp_path, "--methods", "random", "turbo", "--seeds", "1")
    best = [rows[name, "score"]["value"] for name in ("random", "turbo")]
    assert best[0] <= before
    assert max(best) <= 100.0


def test_the_protocol_is_16_batches_of_8():
    config = configs.load("search/contest:svm-digits-accuracy,paper")
    assert (config.steps, config.batch_size, config.preset) == (128, 8, "paper")


def test_samples_are_a_fixed_part_of_the_data():
    features, labels = search_contest.samples("digits", 300)
    assert (features.shape, labels.shape) == ((300, 64), (300,))
    again, _ = search_contest.samples("digits", 300)
    np.testing.assert_array_equal(features, again)
    assert len(search_contest.samples("wine", 300)[1]) == 178
    assert min(np.bincount(search_contest.samples("wine", 45)[1])) >= 3


def test_a_contest_through_the_runner(tmp_path):
    folder = tmp_path / "run"
    words = ["--config=search/contest:tree-wine-accuracy,smoke", f"--workdir={folder}", "--quiet"]
    assert run.main(words) == 0
    (row,) = json.loads((folder / "results.json").read_text())["rows"]
    assert row["name"] == "tree-wine-accuracy-lamcts_turbo"
    assert 0.6 < row["value"] <= 1.0


def test_settings_of_a_config_are_checked():
    for key, value in (("method", "adam"), ("task", "dog"), ("rows", "3"), ("folds", "1")):
        config = configs.load("search/contest:knn-wine-accuracy,smoke", [(key, value)])
        with pytest.raises(ConfigError, match=key):
            search_contest.build(config)
