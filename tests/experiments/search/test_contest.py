"""The table `search/contest`, small, and the glue of its configs."""

import json

import numpy as np
import pytest

from experiments import run
from experiments.report import sweep
from experiments.runner import config as configs
from experiments.runner.checks import ConfigError
from experiments.search import contest as search_contest
from experiments.search.contest import TABLES
from search import baselines, contest, interface
from tests.experiments.search.cells import by_metric, changed, ended

pytest.importorskip("sklearn")
TABLE = TABLES["search/contest"]
TASKS = ("tree-wine-log_loss", "knn-breast_cancer-log_loss")
FIRST = f"random-{TASKS[0]}"


@pytest.fixture
def quick(monkeypatch):
    """Two tasks, whose rewards take no time: of the first coordinates."""
    needs = {
        f"{method}-{TASKS[0]}": tuple(f"{n}-{t}" for n in (method, "reference") for t in TASKS)
        for method in ("random", "turbo")
    }
    monkeypatch.setattr(search_contest, "TASKS", TASKS)
    monkeypatch.setattr(search_contest, "NEEDS", needs)
    monkeypatch.setattr(
        contest, "validated",
        lambda model, features, labels, metric, point, seed, folds: (
            float(point[0]) if model == "tree" else -float(point[1])
        ),
    )  # fmt: skip


def filled(folder, *methods, seeds=2):
    cells = {
        f"reference-{task}": changed(TABLE, f"reference-{task}", rows=45, steps=40)
        for task in TASKS
    } | {
        f"{method}-{task}": changed(
            TABLE, f"{method}-{task}", rows=45, steps=16, num_seeds=seeds
        )
        for method in methods
        for task in TASKS
    }  # fmt: skip
    return ended(folder, cells)


def test_scores_are_of_what_the_searches_found(quick, tmp_path):
    rows = list(TABLE.rows(FIRST, filled(tmp_path, "random")))
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
    found = by_metric(rows)
    assert found["score"] == pytest.approx(np.mean(expected), abs=1e-3)
    assert all((row["name"], row["n"]) == ("random", 2) for row in rows)
    label = "score_knn_breast_cancer_log_loss"
    assert found[label] == pytest.approx(np.mean(expected[1]), abs=1e-3)
    assert found["evaluations"] == 16


def test_a_better_search_lowers_the_scores_of_the_others(quick, tmp_path):
    before = by_metric(list(TABLE.rows(FIRST, filled(tmp_path, "random", seeds=1))))["score"]
    workdirs = filled(tmp_path, "random", "turbo", seeds=1)
    best = [
        by_metric(list(TABLE.rows(f"{method}-{TASKS[0]}", workdirs)))["score"]
        for method in ("random", "turbo")
    ]
    assert best[0] <= before
    assert max(best) <= 100.0


def test_a_method_has_rows_when_all_its_tasks_have_ended(quick, tmp_path):
    workdirs = filled(tmp_path, "random")
    assert [name for name in workdirs if list(TABLE.rows(name, workdirs))] == [FIRST]
    for missing in (f"random-{TASKS[1]}", f"reference-{TASKS[1]}"):
        some = {name: folder for name, folder in workdirs.items() if name != missing}
        assert not list(TABLE.rows(FIRST, some))


def test_a_methods_cell_takes_its_other_tasks_and_the_references_along(tmp_path):
    jobs = sweep.plan(TABLE, [f"tpe-{search_contest.TASKS[0]}"], [], tmp_path)
    names = {f"{some}-{task}" for some in ("tpe", "reference") for task in search_contest.TASKS}
    assert {job.name for job in jobs} == names


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
