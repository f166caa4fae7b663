"""Histories, outcomes, spaces, and the loop in one process."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from search import interface, spaces
from search.interface import Outcome, Searcher, Trial
from tests.search.contract import check_searcher


def uniform(space: spaces.Space) -> Searcher:
    def ask(state, n):
        rng = interface.generator(state.seed, state.asked)
        return interface.extend(state, space.sample(rng, n))

    kind = np.float64 if isinstance(space, spaces.Box) else np.int64
    return Searcher(lambda seed: interface.begin(seed, space.dim, kind), ask, interface.record)


def test_a_searcher_of_the_simplest_kind_keeps_the_contract():
    space = spaces.box(-1.0, 2.0, 3)
    check_searcher(
        uniform(space), lambda x, seed: -float(x @ x), valid=lambda x: space.contains(x[None])[0]
    )


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Outcome(1, 2.0, "ok"), Outcome(1, 2.0, "ok")),
        (Outcome(1, math.inf, "ok"), Outcome(1, math.nan, "failed")),
        (Outcome(1, math.nan, "ok"), Outcome(1, math.nan, "failed")),
        (Outcome(1, 3.0, "timeout"), Outcome(1, math.nan, "timeout")),
    ],
)
def test_only_finite_values_are_ok(outcome, expected):
    found = interface.settled(outcome)
    assert (found.id, found.status) == (expected.id, expected.status)
    np.testing.assert_equal(found.value, expected.value)


def broken(point, seed):
    raise RuntimeError("no")


def test_a_failing_objective_is_an_outcome():
    assert interface.score(Trial(4, np.zeros(1), 0), broken).status == "failed"


@pytest.mark.parametrize(
    ("returned", "note"),
    [
        (np.zeros(3), "got an array of shape (3,)"),
        (np.zeros((1, 1)), "got an array of shape (1, 1)"),
        ([1.0, 2.0], "got [1.0, 2.0]"),
        (None, "got None"),
        ("1.5", "got '1.5'"),
        (1j, "got 1j"),
        ({}, "got {}"),
        (interface.Measured(None, {}), "got None"),
        (math.nan, "the objective returned nan"),
    ],
)
def test_what_is_no_number_fails_and_says_what_it_is(returned, note):
    report = interface.attempt(Trial(0, np.zeros(1), 0), lambda point, seed: returned)
    assert report.outcome.status == "failed"
    assert report.note.endswith(note)


@pytest.mark.parametrize("returned", [2, True, np.float32(2.0), np.array(2.0), jnp.ones(())])
def test_numbers_of_all_kinds_are_rewards(returned):
    report = interface.attempt(Trial(0, np.zeros(1), 0), lambda point, seed: returned)
    assert (report.outcome.status, report.outcome.value) == ("ok", float(returned))


def test_an_exception_is_noted_with_the_line_that_raised_it():
    trial = Trial(0, np.zeros(1), 0)
    note = interface.attempt(trial, lambda point, seed: broken(point, seed)).note
    line = broken.__code__.co_firstlineno + 1
    assert note == f"RuntimeError: no (test_interface.py, line {line}, in broken)"
    assert interface.attempt(trial, lambda point: 0.0).note.endswith("were given")


SQUARE = spaces.box(-1.0, 1.0, 2)


def test_a_search_whose_first_trials_all_fail_stops_and_says_why():
    calls = []

    def objective(point, seed):
        calls.append(point)
        return undefined

    with pytest.raises(interface.ObjectiveError) as error:
        interface.maximise(uniform(SQUARE), objective, budget=100)
    assert len(calls) == interface.FAILURES
    words = str(error.value)
    assert words.startswith(
        "the search stops, because its first 5 trials all failed\ntrial 0 failed"
    )
    assert "NameError: name 'undefined' is not defined (test_interface.py, line" in words
    with np.printoptions(precision=6):
        assert words.endswith(f"\n  point: {calls[0]}")
    calls.clear()
    with pytest.raises(interface.ObjectiveError, match="its first 8 trials"):
        interface.maximise(uniform(SQUARE), objective, budget=100, batch_size=8)
    with pytest.raises(interface.ObjectiveError, match="its first 3 trials"):
        interface.maximise(uniform(SQUARE), objective, budget=3)
    with pytest.raises(ValueError, match="give_up: expected at least 0"):
        interface.maximise(uniform(SQUARE), objective, budget=3, give_up=-1)


def test_the_first_failure_is_shown_once():
    def often(point, seed):
        if seed % 3:
            raise ValueError("not here")
        return 1.0

    with pytest.warns(RuntimeWarning, match=r"trial \d failed: ValueError: not here") as shown:
        run = interface.maximise(uniform(SQUARE), often, budget=40, give_up=0)
    assert len([each for each in shown if each.category is RuntimeWarning]) == 1
    assert np.isnan(run.values).sum() > 10


def test_a_run_has_its_best_point():
    run = interface.maximise(uniform(SQUARE), lambda x, seed: -float(x @ x), budget=30)
    best = int(np.argmax(run.values))
    assert run.trial.id == best
    assert run.value == run.best[-1] == run.values[best]
    np.testing.assert_array_equal(run.point, run.trials[best].point)
    with pytest.warns(RuntimeWarning):
        failed = interface.maximise(uniform(SQUARE), broken, budget=6, give_up=0)
    for name in ("trial", "point", "value"):
        with pytest.raises(ValueError, match="all 6 did"):
            getattr(failed, name)


def test_a_searcher_that_gives_too_few_trials_is_named():
    short = uniform(SQUARE)._replace(ask=lambda state, n: (state, []))
    with pytest.raises(ValueError, match="expected the searcher to give 1 trials, got 0"):
        interface.maximise(short, broken, budget=3)


def test_a_history_notes_values_by_trial_in_any_order():
    history, trials = interface.extend(interface.begin(0, 2), np.arange(8.0).reshape(4, 2))
    history = interface.record(history, [Outcome(3, 1.5, "ok"), Outcome(0, 9.0, "failed")])
    history = interface.record(history, [Outcome(1, -2.0, "ok")])
    np.testing.assert_array_equal(history.good, [1, 3])
    np.testing.assert_array_equal(history.told, [True, True, False, True])
    np.testing.assert_array_equal(history.values, [np.nan, -2.0, np.nan, 1.5])
    assert [trial.id for trial in trials] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (Outcome(4, 0.0, "ok"), "outcome 4: expected a trial from 0 to 1"),
        (Outcome(-1, 0.0, "ok"), "outcome -1: expected a trial"),
        (Outcome(0, 0.0, "ok"), "outcome 0: expected an open trial"),
        (Outcome(1, 0.0, "lost"), "outcome 1: status: expected one of ok, failed, timeout"),
    ],
)
def test_outcomes_that_cannot_be(outcome, words):
    history, _ = interface.extend(interface.begin(0, 1), np.zeros((2, 1)))
    history = interface.record(history, [Outcome(0, 1.0, "ok")])
    with pytest.raises(ValueError, match=words):
        interface.record(history, [outcome])


def test_best_so_far_skips_failures():
    space = spaces.choices([2, 3])
    run = interface.maximise(
        uniform(space), lambda x, seed: math.nan if x[0] else float(x[1]), budget=20, batch_size=3
    )
    expected, best = [], -math.inf
    for trial in run.trials:
        best = best if trial.point[0] else max(best, float(trial.point[1]))
        expected.append(best)
    np.testing.assert_array_equal(run.best, expected)
    assert len(run.trials) == 20
    assert np.isnan(run.values).any()


def test_trials_have_seeds_of_their_own():
    seeds = {interface.trial_seed(seed, number) for seed in range(20) for number in range(20)}
    assert len(seeds) == 400
    assert interface.trial_seed(1, 2) == interface.trial_seed(1, 2)


def test_units_go_to_points_and_back():
    space = spaces.box([-5.0, 0.0], [10.0, 1e-3])
    points = space.sample(np.random.default_rng(0), 50)
    assert space.contains(points).all()
    np.testing.assert_allclose(space.from_unit(space.to_unit(points)), points, rtol=1e-12)
    assert space.contains(space.from_unit(np.array([[2.0, -1.0]]))).all()
    table = spaces.choices([5, 2, 3])
    cells = table.every()
    np.testing.assert_array_equal(table.from_unit(table.to_unit(cells)), cells)
    np.testing.assert_array_equal(table.rows(cells), np.arange(30))
    assert len(np.unique(cells, axis=0)) == 30


def test_one_hot_marks_each_choice():
    table = spaces.choices([2, 3])
    np.testing.assert_array_equal(
        table.one_hot(np.array([[0, 0], [1, 2]])), [[1, 0, 1, 0, 0], [0, 1, 0, 0, 1]]
    )


def test_a_mutant_differs_in_one_choice():
    table, rng = spaces.choices([2, 3, 5]), np.random.default_rng(0)
    parent = np.array([1, 2, 4])
    children = np.array([table.mutate(rng, parent) for _ in range(300)])
    assert ((children != parent).sum(1) == 1).all()
    assert table.contains(children).all()
    assert len(np.unique(children, axis=0)) == 1 + 2 + 4


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: spaces.box(1.0, 1.0, 2), "low < high"),
        (lambda: spaces.box([0.0], [1.0, 2.0]), "one length"),
        (lambda: spaces.box(0.0, math.inf, 2), "finite"),
        (lambda: spaces.choices([3, 1]), "at least 2"),
        (lambda: spaces.choices([]), "at least 2"),
        (lambda: interface.begin(-1, 2), "seed: expected"),
        (lambda: interface.check_count(0), "n: expected at least 1"),
        (lambda: interface.generator(0, -1), "at least 0"),
    ],
)
def test_what_makes_no_sense_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()
