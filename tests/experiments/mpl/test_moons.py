"""TwoMoon: the data, the Laplacian SVM, the methods side by side, the rows and the picture."""

import functools

import jax
import numpy as np
import pytest

from experiments.mpl import laplacian_svm
from experiments.mpl import moons as mpl_moons
from experiments.mpl.moons import METHODS, Setting
from experiments.report import table as results_table
from experiments.report.interval import rate_interval

QUICK = Setting(steps=60, batch=16)


def test_moons_are_drawn_apart_and_three_of_each_are_labelled():
    near, far = (mpl_moons.moons(3, Setting(noise=0.05, separation=gap)) for gap in (0.0, 1.0))
    assert np.bincount(near.labels).tolist() == [1000, 1000]
    assert near.labels[near.labelled].tolist() == [0, 0, 0, 1, 1, 1]
    moved = far.points - near.points
    np.testing.assert_allclose(moved[near.labels == 0], [[0.0, 0.5]] * 1000, atol=1e-6)
    np.testing.assert_allclose(moved[near.labels == 1], [[0.0, -0.5]] * 1000, atol=1e-6)
    np.testing.assert_allclose(far.points.mean(0), [0.0, 0.0], atol=0.02)
    # A straight line tells them apart only when they are far.
    upper, lower = far.points[far.labels == 0, 1], far.points[far.labels == 1, 1]
    assert upper.min() > lower.max()


def test_laplacian_svm_finds_moons_that_no_line_separates():
    given = mpl_moons.moons(0, Setting(noise=0.05, separation=0.0))
    some = np.concatenate([given.labelled, np.setdiff1d(np.arange(0, 2000, 3), given.labelled)])
    points, labels = given.points[some], given.labels[some]
    first = np.arange(6)
    machine = laplacian_svm.laplacian_svm(points, first, labels[first])
    assert np.mean((machine(points) > 0) == labels) > 0.99
    # Without the graph it is an ordinary machine of six points, which does not find them.
    plain = laplacian_svm.laplacian_svm(points, first, labels[first], intrinsic=0.0)
    assert np.mean((plain(points) > 0) == labels) < 0.97
    with pytest.raises(ValueError, match="labels"):
        laplacian_svm.laplacian_svm(points, first[:3], labels[first[:3]])


def test_a_machine_without_a_graph_is_scikit_learns():
    from sklearn.svm import SVC

    rng = np.random.default_rng(0)
    points = rng.normal(size=(30, 2))
    labels = (points[:, 0] + 0.3 * points[:, 1] > 0).astype(int)
    rows = np.arange(30)
    ambient, width = 0.05, 0.7
    ours = laplacian_svm.laplacian_svm(
        points, rows, labels, width=width, ambient=ambient, intrinsic=0.0
    )
    # Hinge loss averaged over l + ambient |f|^2 is an SVC of C = 1 / (2 l ambient).
    theirs = SVC(C=1.0 / (2 * 30 * ambient), gamma=1.0 / (2 * width**2)).fit(points, labels)
    new = rng.normal(size=(50, 2))
    np.testing.assert_allclose(ours(new), theirs.decision_function(new), atol=5e-3)


def test_seeds_side_by_side_are_those_alone():
    made, params = mpl_moons.fit_all(QUICK, 2, ("supervised", "mpl"))
    for method in ("supervised", "mpl"):
        one = mpl_moons.fit(
            method,
            QUICK,
            QUICK.steps,
            jax.random.fold_in(jax.random.key(0), 1),
            mpl_moons.Moons(*(part[1] for part in made)),
        )
        for left, right in zip(jax.tree.leaves(one), jax.tree.leaves(params[method]), strict=True):
            np.testing.assert_allclose(left, right[1], atol=1e-5)


def test_all_labels_and_a_wide_start_find_separated_moons():
    setting = Setting(steps=1500, scale=1.0, rate=1.0, noise=0.02)
    made, params = mpl_moons.fit_all(setting, 2, ("all_labels",))
    guess = jax.vmap(functools.partial(mpl_moons.predict, setting))
    given = np.asarray(guess(params["all_labels"], made.points))
    assert mpl_moons.accuracies(given, made).min() > 0.99


def test_pseudo_labels_follow_their_teacher():
    setting = Setting(noise=0.05, steps=1500, scale=1.0, rate=1.0)
    made, params = mpl_moons.fit_all(setting, 1, ("supervised", "pseudo_labels"))
    guesses = [
        mpl_moons.predict(setting, jax.tree.map(lambda leaf: leaf[0], params[name]), made.points[0])
        for name in ("supervised", "pseudo_labels")
    ]
    assert np.mean(guesses[0] == guesses[1]) > 0.97


def test_accuracy_leaves_labelled_points_out():
    made = mpl_moons.Moons(np.zeros((1, 4, 2)), np.array([[0, 0, 1, 1]]), np.array([[0, 3]]))
    given = np.array([[1, 0, 1, 0]])  # wrong on the labelled ones alone
    assert mpl_moons.accuracies(given, made).tolist() == [1.0]


def test_rates_have_exact_intervals():
    value, low, high, n = rate_interval(np.array([True] * 5 + [False] * 5))
    assert (value, n) == (0.5, 10)
    assert (round(low, 4), round(high, 4)) == (0.1871, 0.8129)  # Clopper and Pearson's table
    assert rate_interval(np.zeros(4, bool)).low == 0.0


def test_the_picture_shows_where_only_feedback_helped():
    right = {
        "supervised": np.array([1.0, 0.8, 0.9]),
        "pseudo_labels": np.array([0.9, 0.8, 0.9]),
        "mpl": np.array([1.0, 0.7, 1.0]),
    }
    assert mpl_moons.typical(right) == 2
    assert mpl_moons.typical({"mpl": np.array([1.0])}) == 0


def test_command_writes_rows_and_a_picture(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(results_table, "RESULTS", tmp_path)
    words = ["--seeds", "2", "--svms", "1", "--steps", "20", "--label", "tiny"]
    assert mpl_moons.main(words) == 0
    rows = results_table.read_table(tmp_path / "mpl" / "two_moon.json").rows
    names = {row["name"] for row in rows if row["metric"] == "success_rate"}
    assert names == {f"tiny-{name}" for name in (*METHODS[:3], "laplacian_svm")}
    assert all("separation 1" in row["config"] for row in rows)
    assert (tmp_path / "mpl" / "two_moon_tiny.png").stat().st_size > 10_000
    assert "tiny-mpl" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--seeds", "0"], "--seeds"),
        (["--rate", "0"], "--rate"),
        (["--methods", "magic"], "--methods"),
        (["--drawn", "300"], "--drawn"),
    ],
)
def test_command_refuses(words, named, capsys):
    with pytest.raises(SystemExit) as stopped:
        mpl_moons.main(words)
    assert stopped.value.code == 2
    assert named in capsys.readouterr().err


def test_other_data_sets_are_those_of_their_seeds():
    made, params = mpl_moons.fit_all(QUICK, 2, ("supervised",), first=5)
    alone = mpl_moons.moons(6, QUICK)
    assert np.array_equal(made.points[1], alone.points)
    one = mpl_moons.fit(
        "supervised", QUICK, QUICK.steps, jax.random.fold_in(jax.random.key(0), 6), alone
    )
    found = jax.tree.map(lambda leaf: leaf[1], params["supervised"])
    for left, right in zip(jax.tree.leaves(one), jax.tree.leaves(found), strict=True):
        np.testing.assert_allclose(left, right, atol=1e-5)
