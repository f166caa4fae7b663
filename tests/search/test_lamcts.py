"""LA-MCTS and TuRBO-1: their rounds, their regions, and the contract."""

import functools
import importlib.util
import pickle

import numpy as np
import pytest

from search import benchmarks, interface, lamcts, partition, spaces, turbo
from tests.search.contract import check_searcher

pytest.importorskip("sklearn")

BOX = spaces.box(-5.0, 10.0, 3)
QUICK = turbo.Settings(fit_steps=2, candidates=64)
SMALL = lamcts.Settings(
    num_init=6, round_init=4, leaf_size=4, turbo=QUICK, candidates=64, fit_steps=2
)
needs_cma = pytest.mark.skipif(importlib.util.find_spec("cma") is None, reason="cma is absent")


def sphere(x, seed):
    return -float(((x - 1.0) ** 2).sum())


@pytest.mark.parametrize("solver", ["random", "bo", "turbo", pytest.param("cma", marks=needs_cma)])
def test_it_keeps_the_contract(solver):
    searcher = lamcts.searcher(BOX, SMALL._replace(solver=solver))
    check_searcher(searcher, sphere, budget=15, valid=lambda x: BOX.contains(x[None])[0])


def test_turbo_alone_keeps_the_contract():
    searcher = turbo.searcher(BOX, num_init=5, settings=QUICK)
    check_searcher(searcher, sphere, budget=15, valid=lambda x: BOX.contains(x[None])[0])


@pytest.mark.parametrize("solver", ["random", "bo", "turbo", pytest.param("cma", marks=needs_cma)])
def test_every_trial_lies_in_the_region_of_its_round(solver):
    searcher = lamcts.searcher(BOX, SMALL._replace(solver=solver, c=0.0))
    state = searcher.init(1)
    regions = set()
    for _ in range(25):
        state, (trial,) = searcher.ask(state, 1)
        if state.first >= 0:
            assert partition.inside(state.region, BOX.to_unit(trial.point[None]))[0]
            regions.add(len(state.region))
        state = searcher.tell(state, [interface.score(trial, sphere)])
    assert regions - {0}


def test_a_round_ends_when_the_trust_region_has_collapsed_or_its_trials_are_spent():
    settings = SMALL._replace(turbo=QUICK._replace(failure_tolerance=1))
    for most, expected in ((0, None), (7, 7)):
        searcher = lamcts.searcher(BOX, settings._replace(round_most=most))
        state, starts = searcher.init(0), []
        for _ in range(70):
            state, (trial,) = searcher.ask(state, 1)
            starts += [state.first] * (state.first not in starts)
            # Nothing ever improves: each step is a failure and halves the side.
            state = searcher.tell(state, [interface.Outcome(trial.id, -float(trial.id), "ok")])
        lengths = np.diff(starts[1:])
        assert len(lengths) > 2
        # 0.8 / 2^7 < 2^-7: seven failures after the four trials of the design.
        assert set(lengths) == {expected or settings.round_init + 7}


def test_the_trust_region_grows_and_shrinks_by_the_published_rules():
    region = turbo.start(turbo.Settings(), 5)
    region = region._replace(best=-10.0)
    for value in (-9.9, -9.8, -9.7):
        region = turbo.advance(region, turbo.Settings(), [value], 5)
    assert (region.length, region.successes, region.best) == (1.6, 0, -9.7)
    for _ in range(5):  # an improvement by less than a thousandth is a failure
        region = turbo.advance(region, turbo.Settings(), [-9.6999], 5)
    assert (region.length, region.failures) == (0.8, 0)
    assert region.best == -9.6999
    # In batches of four, failures count as many: ceil(max(4, 5) / 4) = 2.
    for _ in range(2):
        region = turbo.advance(region, turbo.Settings(), [-20.0] * 4, 5)
    assert region.length == 0.4
    assert turbo.advance(region, turbo.Settings(), [], 5) == region


def test_candidates_are_near_the_centre_and_share_coordinates_with_it():
    rng = np.random.default_rng(0)
    centre = np.full(40, 0.5)
    found = turbo.candidates(centre, centre - 0.1, centre + 0.1, 300, rng, 20.0, None)
    assert found.shape == (300, 40)
    assert np.abs(found - centre).max() <= 0.1
    changed = (found != centre).sum(1)
    assert changed.min() >= 1
    assert abs(changed.mean() - 20) < 1.0
    half = turbo.candidates(
        centre, centre - 0.1, centre + 0.1, 300, rng, 20.0, lambda x: x[:, 0] >= 0.5
    )
    assert (half[:, 0] >= 0.5).all()
    none = turbo.candidates(centre, centre - 0.1, centre + 0.1, 8, rng, 20.0,
                            lambda x: np.zeros(len(x), bool))  # fmt: skip
    np.testing.assert_allclose(none, centre[None], atol=1e-4)


@pytest.mark.parametrize("make", ["turbo", "lamcts"])
def test_it_gets_near_the_optimum(make):
    settings = turbo.Settings(fit_steps=5, candidates=100, warm_start=True)
    searcher = {
        "turbo": lambda: turbo.searcher(BOX, num_init=10, settings=settings),
        "lamcts": lambda: lamcts.searcher(
            BOX, lamcts.Settings(num_init=10, round_init=5, leaf_size=8, turbo=settings)
        ),
    }[make]()
    run = interface.maximise(searcher, sphere, budget=50, seed=0)
    blind = max(sphere(x, 0) for x in BOX.sample(np.random.default_rng(0), 50))
    assert run.best[-1] > -0.5
    assert run.best[-1] > blind


def test_the_region_closes_in_on_the_optimum_of_ackley_2():
    """Figure 5.11: after a few trees the selected region holds the origin and is small."""
    box = benchmarks.FUNCTIONS["ackley"].box(2)
    settings = lamcts.Settings(solver="random", c=0.1, num_init=30, leaf_size=10)
    objective = benchmarks.objective("ackley")
    run = interface.maximise(lamcts.searcher(box, settings), objective, budget=70, seed=0)
    grid = np.random.default_rng(0).random((4000, 2))
    root, values = lamcts.tree(settings, box, run.state.history)
    _, region = partition.select(root, values, c=0.0)
    volume = partition.inside(region, grid).mean()
    origin = box.to_unit(np.zeros((1, 2)))
    assert partition.inside(region, origin)[0]
    assert volume < 0.2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"solver": "adam"}, "solver: expected one of"),
        ({"kernel": "sigmoid"}, "kernel: expected one of"),
        ({"leaf_size": 1}, "leaf_size: expected at least 2"),
        ({"num_init": 1}, "num_init: expected at least 2"),
        ({"c": -1.0}, "c: expected a finite number"),
    ],
)
def test_settings_out_of_range_are_refused(change, words):
    with pytest.raises(ValueError, match=words):
        lamcts.searcher(BOX, lamcts.Settings()._replace(**change))
    with pytest.raises(ValueError, match="num_init"):
        turbo.searcher(BOX, num_init=1)


@pytest.mark.parametrize("name", list(benchmarks.FUNCTIONS))
def test_test_functions_have_their_minimum_where_they_should(name):
    function = benchmarks.FUNCTIONS[name]
    best = np.zeros(7) if name in ("ackley", "rastrigin") else np.ones(7)
    assert abs(function.cost(best)) < 1e-12
    points = function.box(7).sample(np.random.default_rng(0), 200)
    assert min(function.cost(x) for x in points) > 0
    near = best + 1e-4 * np.random.default_rng(1).standard_normal((50, 7))
    assert min(function.cost(x) for x in near) > 0


@pytest.mark.parametrize(
    ("name", "point", "expected"),
    [
        ("ackley", [1.0, 1.0], 3.6253849384403627),
        ("rosenbrock", [2.0, 1.0, 0.0], 100 * 9 + 1 + 100 * 1 + 0),
        ("levy", [5.0, 1.0], 1.0 * (1 + 10 * np.sin(2 * np.pi + 1) ** 2)),
        ("rastrigin", [0.5, -1.0], 10 * 2 + 0.25 + 10 + 1 - 10),
    ],
)
def test_test_functions_at_points_worked_out_by_hand(name, point, expected):
    np.testing.assert_allclose(benchmarks.FUNCTIONS[name].cost(np.array(point)), expected)


@pytest.mark.parametrize("name", list(benchmarks.FUNCTIONS))
def test_moved_functions_are_the_same_elsewhere(name):
    function = benchmarks.FUNCTIONS[name]
    objective, other = benchmarks.moved(name, 6, 0), benchmarks.moved(name, 6, 1)
    offset = objective.args[0].args[1]
    place = offset + function.minimum
    assert abs(objective(place, 0)) < 1e-12
    assert function.box(6).contains(place[None])[0]
    assert np.ptp(place) > 0.1 * (function.high - function.low)
    point = function.box(6).sample(np.random.default_rng(2), 1)[0]
    np.testing.assert_allclose(objective(point, 0), -function.cost(point - offset))
    assert abs(other(place, 0)) > 1e-3
    assert pickle.loads(pickle.dumps(objective))(point, 0) == objective(point, 0)


def test_spaces_have_their_published_sizes():
    assert benchmarks.nasbench101().size == 2**21 * 3**5
    assert benchmarks.convnet60k().size == 59_049
    assert benchmarks.supernet().size == (3 * 6 * 10 * 15 * 21 * 4**10) ** 2  # no longer an int64
    assert f"{benchmarks.supernet().size:.1e}" == "3.5e+21"


def test_objectives_pickle_and_look_up():
    space = benchmarks.nasbench201()
    values = np.arange(15625.0)
    objective = functools.partial(benchmarks.look_up, space, values)
    assert objective(np.array([0, 0, 0, 0, 1, 2]), 0) == 7.0
    with pytest.raises(ValueError, match="name: expected one of"):
        benchmarks.objective("sphere")


@pytest.mark.parametrize("reuse", [True, False])
def test_a_success_of_a_round_is_better_than_all_that_it_reuses(reuse):
    """An old sample of -1 is in the region; proposals of -5, -4, -3 improve on the design alone."""
    settings = SMALL._replace(reuse=reuse, leaf_size=100, round_init=2)
    searcher = lamcts.searcher(BOX, settings)
    state, trials = searcher.ask(searcher.init(0), 6)
    values = [-1.0, -20.0, -20.0, -20.0, -20.0, -20.0]
    state = searcher.tell(
        state, [interface.Outcome(t.id, v, "ok") for t, v in zip(trials, values, strict=True)]
    )
    for value in (-10.0, -11.0, -5.0, -4.0, -3.0):
        state, (trial,) = searcher.ask(state, 1)
        state = searcher.tell(state, [interface.Outcome(trial.id, value, "ok")])
    assert state.first == 6
    assert state.trust.best == (-1.0 if reuse else -3.0)
    grown = min(2 * QUICK.length_init, QUICK.length_max)
    assert state.trust.length == (QUICK.length_init if reuse else grown)
