"""Searches of small spaces end with their budget, and every searcher refuses other kinds of space.

Once all points of a space are known, points come again.
"""

import importlib.util
import inspect

import numpy as np
import pytest

from search import (
    alphax,
    baselines,
    decisions,
    design_spaces,
    distinct,
    embedding,
    interface,
    lamcts,
    lamcts_choices,
    lanas,
    lanas_table,
    mcts,
    optimistic,
    q_learning,
    smac,
    spaces,
    turbo,
)
from search.meta_dnn import Predictor

BOX = spaces.box(-1.0, 1.0, 2)
MEANS = Predictor(
    lambda encodings, values, seed: values.mean(), lambda mean, points: np.full(len(points), mean)
)


def needs(name):
    absent = importlib.util.find_spec(name) is None
    return pytest.mark.skipif(absent, reason=f"{name} is absent")


def one_by_one(module, **settings):
    return lambda space: module.searcher(design_spaces.choices_in_order(space), **settings)


def near(encodings, values, rng):
    return lambda at: (at.sum(1), np.ones(len(at)))


LAMCTS = lamcts.Settings(solver="random", num_init=4, leaf_size=2, candidates=8, fit_steps=1)
OF_CHOICES = {
    "lanas": lanas.searcher,  # whose 200 random trials are more than there are points
    "lanas-walk": lambda s: lanas.searcher(s, num_init=2, select_every=1, sampling="hit_and_run"),
    "lanas-bayes": lambda s: lanas.searcher(s, num_init=2, select_every=1, surrogate=near),
    "lamcts": lambda s: lamcts_choices.searcher(s, LAMCTS),
    "random": baselines.random,
    "evolution": lambda s: baselines.regularised_evolution(s, population=3, unique=True),
    "mcts": one_by_one(mcts, repeats=5),
    "alphax": one_by_one(alphax, predictor=MEANS, num_init=2, refit_every=2, repeats=5),
    "q_learning": one_by_one(q_learning, repeats=5),
    "distinct": lambda s: distinct.searcher(baselines.regularised_evolution(s), s.dim, idle=9),
    "listed": lambda s: baselines.listed(s.every()),
}
LIBRARIES = [
    pytest.param(baselines.tpe, id="tpe", marks=needs("optuna")),
    pytest.param(lambda s: smac.searcher(s, budget=8), id="smac", marks=needs("smac")),
]


def summed(point, seed):
    return float(np.sum(point))


@pytest.mark.parametrize("sizes", [[2], [3, 2, 4]], ids=["2", "24"])
@pytest.mark.parametrize("name", OF_CHOICES)
def test_a_search_goes_on_after_all_points_are_known(name, sizes):
    if name == "lamcts":
        pytest.importorskip("sklearn")
    space = spaces.choices(sizes)
    run = interface.maximise(
        OF_CHOICES[name](space), summed, budget=space.size + 7, batch_size=3, seed=1
    )
    points = np.array([trial.point for trial in run.trials])
    assert len(points) == space.size + 7
    assert space.contains(points).all()
    if name in ("lanas", "random", "lamcts", "listed"):
        assert len(np.unique(space.rows(points[: space.size]))) == space.size


@pytest.mark.parametrize("make", LIBRARIES)
def test_a_librarys_search_of_two_points_ends(make):
    space = spaces.choices([2])
    run = interface.maximise(make(space), summed, budget=8, batch_size=4)
    assert len(run.trials) == 8
    assert run.value == 1.0


def test_a_space_of_one_point_is_searched():
    only = decisions.Problem((), lambda s: (1,), lambda s, a: (*s, a), bool)
    for searcher in (
        mcts.searcher(only, repeats=3),
        q_learning.searcher(only, repeats=3),
        alphax.searcher(only, predictor=MEANS, num_init=2, refit_every=2, repeats=3),
        baselines.listed(np.ones((1, 1), np.int64)),
    ):
        run = interface.maximise(searcher, summed, budget=7, batch_size=2)
        assert (len(run.trials), run.value) == (7, 1.0)
    with pytest.raises(ValueError, match="points: expected at least one"):
        baselines.listed(np.ones((0, 1)))


def test_the_compiled_form_goes_on_after_its_last_tree():
    """Of 24 rows, 6 and three trees of 5 leave 3; after these all come again."""
    space = spaces.choices([3, 2, 4])
    settings = lanas_table.Settings(3, 0.1, "algorithm", 6, 5)
    values = space.every().sum(1) / 10.0
    searcher = lanas_table.searcher(space, values, budget=30, settings=settings)
    run = interface.maximise(searcher, summed, budget=30, batch_size=4)
    rows = space.rows(np.array([trial.point for trial in run.trials]))
    assert len(set(rows[:24])) == 24
    np.testing.assert_array_equal(rows[24:], rows[:6])


OF_BOXES = {
    "lamcts": lamcts.searcher,
    "turbo": turbo.searcher,
    "bo": baselines.bayesian,
    "cma": baselines.cma_es,
    "nevergrad": lambda space: inspect.unwrap(baselines.nevergrad_default)(space, budget=9),
    "scipy": lambda space: inspect.unwrap(baselines.scipy)(space, "dual_annealing"),
    "doo": optimistic.doo,
    "soo": optimistic.soo,
    "voo": optimistic.voo,
    "hesbo": lambda space: inspect.unwrap(embedding.hashed)(space, 1, baselines.random),
}


def refusal(make, space):
    """What a searcher says to a space, without the checks of annotations that tests have on."""
    with pytest.raises(ValueError, match=r"^(space|problem): expected ") as error:
        inspect.unwrap(make)(space)
    return str(error.value)


@pytest.mark.parametrize("name", OF_BOXES)
def test_a_searcher_of_boxes_refuses_choices(name):
    words = refusal(OF_BOXES[name], spaces.choices([3, 2]))
    assert words.startswith("space: expected a box (spaces.box), got choices of sizes [3, 2]; ")
    assert "searched by lanas, lamcts_choices" in words


def test_a_searcher_of_choices_refuses_boxes():
    table = lambda space: inspect.unwrap(lanas_table.searcher)(  # noqa: E731
        space, np.zeros(2), budget=9, settings=lanas_table.Settings()
    )
    makes = (lamcts_choices.searcher, baselines.regularised_evolution, table)
    for make in (*makes, design_spaces.choices_in_order):
        words = refusal(make, BOX)
        assert "expected choices (spaces.choices), got a box of dimension 2" in words
        assert "searched by lamcts, turbo" in words


def test_what_is_no_space_is_refused():
    for make in (lanas.searcher, baselines.random, baselines.tpe, lamcts.searcher):
        assert refusal(make, [3, 2]).endswith("got list")
    for module in (mcts, alphax, q_learning):
        words = refusal(module.searcher, spaces.choices([3, 2]))
        assert "got Choices; design_spaces.choices_in_order(space) makes one" in words
