"""TwoMoon's data, and the Laplacian SVM on it."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mpl import moons
from mpl.laplacian_svm import laplacian_svm
from mpl.models import perceptron


def test_moons_are_drawn_apart_and_three_of_each_are_labelled():
    key = jax.random.key(3)
    near, far = (moons.moons(key, noise=0.05, separation=gap) for gap in (0.0, 1.0))
    assert np.bincount(near.labels).tolist() == [1000, 1000]
    assert near.labels[near.labelled].tolist() == [0, 0, 0, 1, 1, 1]
    assert len(set(near.labelled.tolist())) == 6
    moved = np.asarray(far.points - near.points)
    np.testing.assert_allclose(moved[near.labels == 0], [[0.0, 0.5]] * 1000, atol=1e-6)
    np.testing.assert_allclose(moved[near.labels == 1], [[0.0, -0.5]] * 1000, atol=1e-6)
    np.testing.assert_allclose(far.points.mean(0), [0.0, 0.0], atol=0.02)
    # A straight line tells them apart only when they are far.
    upper, lower = far.points[far.labels == 0, 1], far.points[far.labels == 1, 1]
    assert upper.min() > lower.max()
    assert near.points[near.labels == 0, 1].min() < near.points[near.labels == 1, 1].max()


def test_moons_are_scikit_learns():
    from sklearn.datasets import make_moons

    theirs, labels = make_moons(40, shuffle=False)
    ours = moons.moons(jax.random.key(0), each=20, noise=0.0, separation=0.0)
    np.testing.assert_allclose(ours.points, theirs - [0.5, 0.25], atol=1e-6)
    assert ours.labels.tolist() == labels.tolist()


def test_laplacian_svm_finds_moons_that_no_line_separates():
    drawn = moons.moons(jax.random.key(0), noise=0.05, separation=0.0)
    points, labels, shown = (np.asarray(part) for part in drawn)
    some = np.concatenate([shown, np.setdiff1d(np.arange(0, 2000, 3), shown)])
    points, labels = points[some], labels[some]
    first = np.arange(6)
    machine = laplacian_svm(points, first, labels[first])
    assert np.mean((machine(points) > 0) == labels) > 0.99
    # Without the graph it is an ordinary machine of six points, which does not find them.
    plain = laplacian_svm(points, first, labels[first], intrinsic=0.0)
    assert np.mean((plain(points) > 0) == labels) < 0.97
    with pytest.raises(ValueError, match="labels"):
        laplacian_svm(points, first[:3], labels[first[:3]])


def test_a_machine_without_a_graph_is_scikit_learns():
    from sklearn.svm import SVC

    rng = np.random.default_rng(0)
    points = rng.normal(size=(30, 2))
    labels = (points[:, 0] + 0.3 * points[:, 1] > 0).astype(int)
    rows = np.arange(30)
    ambient, width = 0.05, 0.7
    ours = laplacian_svm(points, rows, labels, width=width, ambient=ambient, intrinsic=0.0)
    # Hinge loss averaged over l + ambient |f|^2 is an SVC of C = 1 / (2 l ambient).
    theirs = SVC(C=1.0 / (2 * 30 * ambient), gamma=1.0 / (2 * width**2)).fit(points, labels)
    new = rng.normal(size=(50, 2))
    np.testing.assert_allclose(ours(new), theirs.decision_function(new), atol=5e-3)


def test_accuracy_leaves_labelled_points_out():
    made = moons.Moons(np.zeros((4, 2)), np.array([0, 0, 1, 1]), np.array([0, 3]))
    given = np.array([1, 0, 1, 0])  # wrong on the labelled ones alone
    assert moons.accuracy(given, made) == 1.0


def test_views_hide_the_labels_of_a_batch():
    made = moons.moons(jax.random.key(1), each=20)
    rows = jnp.array([0, 39, 7])
    few = moons.views(made, rows)
    np.testing.assert_array_equal(few["labelled"], made.points[made.labelled])
    np.testing.assert_array_equal(few["weak"], made.points[rows])
    assert few["labels"].tolist() == [0, 0, 0, 1, 1, 1]
    assert "targets" not in few
    every = moons.views(made, rows, all_labels=True, label=lambda points: points + 1.0)
    assert every["labels"].tolist() == [0, 1, 0]
    np.testing.assert_array_equal(every["targets"], made.points[rows] + 1.0)


def test_each_method_learns_from_what_its_name_says():
    net, made = perceptron.two_moon(), moons.moons(jax.random.key(1), each=20)
    batch = moons.views(made, jnp.arange(0, 40, 4), label=lambda points: points)
    own, baseline = set(), set()
    for method in moons.METHODS:
        learner = moons.learner(method, net)
        state = jax.eval_shape(learner.init, jax.random.key(0))
        _, metrics = jax.eval_shape(learner.update, state, batch)
        own |= {method for name in metrics if re.fullmatch("teacher_(?!grad_norm).*", name)}
        baseline |= {method for name in metrics if name == "h_advantage"}
    assert own == {"mpl", "mpl_likeliest"}
    assert baseline == {"mpl", "mpl_pure"}
    with pytest.raises(ValueError, match=r"method: expected one of supervised, .*got 'magic'"):
        moons.learner("magic", net)
