"""Encodings, and rewards against scikit-learn's own cross-validation."""

import functools
import pickle
import warnings

import numpy as np
import pytest

from search import contest

sklearn = pytest.importorskip("sklearn")


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3, dtype=np.int32), 18)
    features = rng.standard_normal((54, 4)) * [1.0, 10.0, 0.1, 1.0] + labels[:, None]
    return np.concatenate([features, np.ones((54, 1))], 1), labels  # one column says nothing


def test_numbers_are_spread_over_their_range():
    units = np.linspace(0, 1, 1001)
    line = [contest.real("a", -1.0, 3.0).decode(np.array([u])) for u in units]
    np.testing.assert_allclose(line, np.linspace(-1, 3, 1001))
    ratio = [contest.real("a", 1e-3, 1e3, log=True).decode(np.array([u])) for u in units]
    np.testing.assert_allclose(ratio, np.logspace(-3, 3, 1001))
    assert 1e-3 <= min(ratio) < max(ratio) <= 1e3  # rounding does not leave it
    counts = np.bincount([contest.whole("n", 2, 6).decode(np.array([u])) for u in units])
    np.testing.assert_allclose(counts[2:], 200, atol=1)
    few = [contest.whole("n", 1, 30, log=True).decode(np.array([u])) for u in units]
    assert (min(few), max(few)) == (1, 30)
    assert all(isinstance(value, int) for value in few)
    assert np.mean(np.array(few) == 1) == pytest.approx(np.log(2) / np.log(31), abs=2e-3)


def test_categories_take_a_coordinate_each_but_two_share_one():
    two, three = contest.category("w", "a", "b"), contest.category("k", "a", "b", "c")
    assert (two.dim, three.dim) == (1, 3)
    assert [two.decode(np.array([u])) for u in (0.0, 0.49, 0.5, 1.0)] == ["a", "a", "b", "b"]
    assert three.decode(np.array([0.2, 0.7, 0.3])) == "b"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: contest.real("a", 1.0, 1.0), "a: expected low < high, got 1.0 and 1.0"),
        (lambda: contest.real("a", 0.0, 1.0, log=True), "a: expected 0 < low < high"),
        (lambda: contest.whole("n", 5, 2), "n: expected low < high, got 5 and 2"),
        (lambda: contest.category("c", "one"), "c: expected at least two choices"),
        (lambda: contest.MODELS["knn"].decode(np.zeros(5)), r"point: expected \[3\], got \[5\]"),
        (lambda: contest.known("dog", "accuracy"), "model: expected one of knn"),
        (lambda: contest.known("svm", "log_loss"), "metric: expected accuracy for svm"),
        (lambda: contest.normalised(1.0, typical=2.0, best_known=2.0), "best_known: expected more"),
    ],
)
def test_what_does_not_fit_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


CASES = [(name, metric) for name, model in contest.MODELS.items() for metric in model.metrics]


@pytest.mark.parametrize(("name", "metric"), CASES)
def test_the_reward_is_scikit_learns_cross_validation(name, metric, data):
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model, (features, labels) = contest.MODELS[name], data
    point = model.box.sample(np.random.default_rng(1), 1)[0]
    reward = functools.partial(contest.validated, name, features, labels, metric)
    reward = pickle.loads(pickle.dumps(reward))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = cross_val_score(
            make_pipeline(StandardScaler(), model.make(model.decode(point))), features, labels,
            scoring="accuracy" if metric == "accuracy" else "neg_log_loss",
            cv=StratifiedKFold(3, shuffle=True, random_state=0),
        ).mean()  # fmt: skip
    assert reward(point, 0) == pytest.approx(expected, rel=1e-9)
    assert reward(point, 5) == reward(point, 0)


@pytest.mark.parametrize("name", contest.MODELS)
def test_every_corner_of_a_space_is_a_model(name, data):
    model = contest.MODELS[name]
    for unit in (0.0, 1.0):
        values = model.decode(np.full(model.box.dim, unit))
        assert set(values) == {parameter.name for parameter in model.parameters}
        reward = contest.validated(name, *data, "accuracy", np.full(model.box.dim, unit), 0)
        assert 0.0 <= reward <= 1.0


def test_scores_go_from_a_typical_point_to_the_best():
    scores = contest.normalised(np.array([-2.0, -1.0, 0.0]), typical=-2.0, best_known=0.0)
    np.testing.assert_allclose(scores, [0.0, 50.0, 100.0])
