"""The baselines keep the contract, and search."""

import importlib.util

import numpy as np
import pytest

from search import baselines, benchmarks, interface, spaces
from tests.search.contract import check_searcher

BOX = spaces.box(-5.0, 10.0, 3)
TABLE = spaces.choices([4, 3, 5])
LARGE = benchmarks.supernet()  # more points than an int64 can count


def needs(name):
    absent = importlib.util.find_spec(name) is None
    return pytest.mark.skipif(absent, reason=f"{name} is absent")


def sphere(x, seed):
    return -float(((np.asarray(x) - 1.0) ** 2).sum())


SEARCHERS = [
    pytest.param(BOX, lambda: baselines.random(BOX), id="random-box"),
    pytest.param(TABLE, lambda: baselines.random(TABLE), id="random"),
    pytest.param(LARGE, lambda: baselines.random(LARGE), id="random-supernet"),
    pytest.param(
        TABLE, lambda: baselines.regularised_evolution(TABLE, population=5, tournament=3), id="rea"
    ),
    pytest.param(
        BOX, lambda: baselines.bayesian(BOX, num_init=4, candidates=20, fit_steps=2), id="bo"
    ),
    pytest.param(BOX, lambda: baselines.cma_es(BOX), id="cma", marks=needs("cma")),
    pytest.param(
        BOX, lambda: baselines.tpe(BOX, n_startup_trials=4), id="tpe", marks=needs("optuna")
    ),
    pytest.param(
        TABLE, lambda: baselines.tpe(TABLE, n_startup_trials=4), id="tpe-choices",
        marks=needs("optuna"),
    ),
    pytest.param(BOX, lambda: baselines.scipy(BOX, "differential_evolution"), id="de"),
    pytest.param(BOX, lambda: baselines.scipy(BOX, "dual_annealing"), id="annealing"),
]  # fmt: skip


@pytest.mark.parametrize(("space", "make"), SEARCHERS)
def test_it_keeps_the_contract(space, make):
    check_searcher(make(), sphere, budget=15, valid=lambda x: space.contains(x[None])[0])


def test_a_failed_trial_costs_what_was_the_worst_before_it():
    values = np.array([np.nan, -3.0, np.nan, -5.0, np.nan, -9.0])
    assert baselines.costs_of(values) == [0.0, 3.0, 3.0, 5.0, 5.0, 9.0]
    assert baselines.costs_of(values[:4]) == [
        0.0,
        3.0,
        3.0,
        5.0,
    ]  # what comes later changes nothing


@pytest.mark.parametrize("method", ["differential_evolution", "dual_annealing"])
def test_a_trial_at_a_time_is_what_scipy_does_at_once(method):
    from scipy import optimize

    seen = []

    def cost(x):
        seen.append(np.array(x))
        return -sphere(x, 0)

    bounds = list(zip(BOX.low, BOX.high, strict=True))
    getattr(optimize, method)(cost, bounds, rng=interface.generator(5, 0, 3), maxiter=40)
    run = interface.maximise(baselines.scipy(BOX, method), sphere, budget=90, seed=5)
    assert len(seen) > 90
    for trial, x in zip(run.trials, seen, strict=False):
        np.testing.assert_allclose(trial.point, np.clip(x, BOX.low, BOX.high))


def test_evolution_keeps_a_population_of_the_latest():
    """By hand: only mutants of the best of the last three can come, from the fourth trial on."""
    searcher = baselines.regularised_evolution(TABLE, population=3, tournament=50)
    run = interface.maximise(searcher, sphere, budget=40, seed=1)
    points = np.array([trial.point for trial in run.trials])
    for number in range(3, 40):
        latest = np.arange(number - 3, number)
        parents = points[latest[run.values[latest] == run.values[latest].max()]]
        assert 1 in (points[number] != parents).sum(1)


def test_random_choices_come_once_each():
    run = interface.maximise(baselines.random(TABLE), sphere, budget=60, batch_size=7)
    assert len({tuple(trial.point) for trial in run.trials}) == 60


def test_evolution_and_the_process_beat_chance():
    wide = spaces.choices([5] * 6)
    for space, made, budget in (
        (wide, baselines.regularised_evolution(wide, population=10, tournament=5), 200),
        (BOX, baselines.bayesian(BOX, num_init=8, candidates=200, fit_steps=5), 25),
    ):
        chance = interface.maximise(baselines.random(space), sphere, budget=budget, seed=0)
        assert interface.maximise(made, sphere, budget=budget, seed=0).best[-1] > chance.best[-1]


def test_bad_settings_and_absent_libraries_are_named(monkeypatch):
    with pytest.raises(ValueError, match="population, tournament: expected at least 1"):
        baselines.regularised_evolution(TABLE, population=0)

    def absent(name):
        raise ImportError(name)

    monkeypatch.setattr("search.partition.importlib.import_module", absent)
    for make, package in ((baselines.cma_es, "cma"), (baselines.tpe, "optuna")):
        with pytest.raises(ImportError, match=f"pip install {package}"):
            make(BOX)


def test_random_search_of_a_list_asks_for_each_point_once():
    points = np.random.default_rng(0).integers(0, 9, (30, 4)) + 10 * np.arange(30)[:, None]
    run = interface.maximise(baselines.listed(points), lambda x, seed: 0.0, budget=30, batch_size=4)
    asked = np.stack([trial.point for trial in run.trials])
    np.testing.assert_array_equal(asked[np.argsort(asked[:, 0])], points)
    assert not np.array_equal(asked, points)
