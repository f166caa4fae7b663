"""TwoMoon through the runner: seeds with data sets of their own, the methods, rows and pictures."""

import jax
import numpy as np
import pytest

from experiments.mpl import figures as mpl_figures
from experiments.mpl import moons as glue
from experiments.mpl.tables import TABLES
from experiments.run import build
from experiments.runner import config as configs
from experiments.runner import search_loop
from experiments.runner.checks import ConfigError
from experiments.runner.loop import train
from mpl import moons
from mpl.teaching import learned
from tests.experiments.runner.short_runs import ONE

pytest.importorskip("sklearn")

QUICK = {"steps": 60, "chunk": 20, "eval_every": 60, "checkpoint_every": 60, "each": 100, "seed": 5}
LONG = {"chunk": 500, "eval_every": 1500, "checkpoint_every": 1500, "scale": 1.0}
LONG |= {"learning_rate": 1.0, "num_seeds": 1, "steps": 1500}


def configured(size, **changes):
    pairs = [(key.replace("__", "."), str(value)) for key, value in changes.items()]
    return configs.load(f"mpl/moons:{size},smoke", pairs)


def trained(config, workdir):
    """Runs a config as `experiments.run` does; returns the states and the rows of each seed."""
    work = build(config)
    loop = search_loop.train if config.method == glue.SVM else train
    done = loop(work, config, workdir, devices=ONE)
    rows = []
    for index, state in enumerate(done.states):
        folder = workdir / f"seed_{config.seed + index}" if config.num_seeds > 1 else workdir
        folder.mkdir(exist_ok=True)
        rows.append(work.finish(state, folder))
    return done.states, rows


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """States and folders of the methods of the picture, on two data sets each."""
    found = {}
    for method in (*moons.METHODS[:3], glue.SVM):
        changes = QUICK | {"pseudo_labels": {"steps": 120, "stages__teacher": 60}}.get(method, {})
        changes |= {"steps": 1} if method == glue.SVM else {}
        folder = tmp_path_factory.mktemp("runs") / method
        found[method] = (*trained(configured(method, **changes), folder), folder)
    return found


@pytest.mark.parametrize("method", ["supervised", "mpl"])
def test_seeds_side_by_side_are_those_alone(runs, tmp_path, method):
    together = runs[method][0]
    (alone,), _ = trained(configured(method, **QUICK | {"seed": 6, "num_seeds": 1}), tmp_path)
    np.testing.assert_array_equal(alone.targets.points, together[1].targets.points)
    assert not np.array_equal(together[0].targets.points, together[1].targets.points)
    pairs = zip(*(jax.tree.leaves(state.stages) for state in (alone, together[1])), strict=True)
    for left, right in pairs:
        if left.dtype == np.float32:
            np.testing.assert_allclose(left, right, atol=1e-5)


def test_methods_of_a_seed_see_one_data_set(runs):
    given = runs["supervised"][0][1].targets
    for method in ("pseudo_labels", "mpl"):
        other = runs[method][0][1].targets
        assert all(np.array_equal(*parts) for parts in zip(given, other, strict=True))
    config = configured(glue.SVM, **QUICK | {"steps": 1})
    again = glue.data_set(config, jax.random.key(6))
    np.testing.assert_allclose(given.points, again.points, atol=1e-6)
    assert given.labelled.tolist() == again.labelled.tolist()


def test_all_labels_and_a_wide_start_find_separated_moons(tmp_path):
    config = configured("all_labels", **LONG | {"noise": 0.02, "num_seeds": 2})
    _, rows = trained(config, tmp_path)
    assert min(row["value"] for each in rows for row in each if row["metric"] == "accuracy") > 99
    assert glue.accuracies(tmp_path).min() > 0.99


def test_pseudo_labels_follow_their_teacher(tmp_path):
    config = configured(
        "pseudo_labels", **LONG | {"steps": 3000, "noise": 0.05, "stages__teacher": 1500}
    )
    (state,), _ = trained(config, tmp_path)
    predict = jax.jit(glue.perceptron.two_moon().apply, static_argnames="train")
    guesses = [
        np.argmax(predict(*learned(stage), state.targets.points, train=False)[0], -1)
        for stage in state.stages
    ]
    assert np.mean(guesses[0] == guesses[1]) > 0.97


def test_the_picture_shows_where_only_feedback_helped():
    right = {
        "supervised": np.array([1.0, 0.8, 0.9]),
        "pseudo_labels": np.array([0.9, 0.8, 0.9]),
        "mpl": np.array([1.0, 0.7, 1.0]),
    }
    assert mpl_figures.typical(right) == 2
    assert mpl_figures.typical({"mpl": np.array([1.0])}) == 0


def test_the_table_makes_rows_and_a_picture(runs, tmp_path):
    table = TABLES["mpl/two_moon"]
    workdirs = {method: folder for method, (_, _, folder) in runs.items()}
    for method, (_, each, _) in runs.items():
        rate, accuracy = table.rows(method, workdirs)
        assert (rate["metric"], accuracy["metric"]) == ("success_rate", "accuracy")
        assert rate["n"] == accuracy["n"] == 2
        assert 0 <= rate["low"] <= rate["value"] <= rate["high"] <= 1
        of_seeds = [row["value"] for rows in each for row in rows if row["metric"] == "accuracy"]
        np.testing.assert_allclose(accuracy["value"], np.mean(of_seeds), rtol=1e-6)
    (picture,) = table.draw([], workdirs, tmp_path)
    assert picture.stat().st_size > 10_000
    assert table.draw([], {}, tmp_path) == []


@pytest.mark.parametrize(
    ("method", "key", "value"),
    [
        ("mpl", "learning_rate", 0.0),
        ("mpl", "noise", -0.1),
        ("mpl", "shown", 0),
        ("mpl", "each", 2),
        ("mpl", "method", "magic"),
        ("mpl", "stages.teacher", 5),
        ("pseudo_labels", "stages.teacher", 0),
        ("pseudo_labels", "stages.teacher", 40),
    ],
)
def test_bad_settings_name_their_key(method, key, value):
    with pytest.raises(ConfigError, match=key.replace(".", r"\.")):
        build(configured(method, **{key: value}))
