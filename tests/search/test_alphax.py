"""AlphaX: what is backpropagated, in whatever order accuracies arrive, and its parents."""

import math
import random

import numpy as np
import pytest

from search import alphax, design_spaces, interface, mcts, meta_dnn
from search.alphax import Job
from search.interface import Outcome
from search.meta_dnn import Predictor
from search.spaces import choices
from tests.search.contract import _equal, check_searcher

SPACE = choices([3, 3, 3, 3])
PROBLEM = design_spaces.choices_in_order(SPACE)


def objective(point, seed):
    return 0.5 + 0.1 * math.sin(3.0 + float(point @ np.array([1.0, 2.0, 4.0, 0.5])))


def linear():
    """A predictor by least squares: quick, exact, and what it was given can be seen."""

    def fit(encodings, values, seed):
        x = np.column_stack([encodings, np.ones(len(encodings))]).astype(float)
        ridge = x.T @ x + 1e-3 * np.eye(x.shape[1])
        return {"w": np.linalg.solve(ridge, x.T @ values), "x": x, "y": values.copy()}

    def predict(params, encodings):
        return np.column_stack([encodings, np.ones(len(encodings))]).astype(float) @ params["w"]

    return Predictor(fit, predict)


def searcher(**changes):
    settings = {"c": 0.1, "predictor": linear(), "num_init": 3, "refit_every": 4, "rollouts": 4}
    return alphax.searcher(PROBLEM, **settings | changes)


def test_contract():
    check_searcher(searcher(), objective, valid=lambda point: SPACE.contains(point[None])[0])


def test_contract_with_meta_dnn():
    training = meta_dnn.Training(epochs=1, batch=8, min_steps=5)
    model = meta_dnn.mlp((4,), training)
    check_searcher(searcher(predictor=model, encode=SPACE.one_hot), objective, budget=9)


def test_contract_with_transfer():
    check_searcher(searcher(transfer=True), lambda job, seed: objective(job.network, seed))


def run(tool, *, late, seed=0, rounds=10, batch=3):
    """A search whose outcomes come at once, or late and in a drawn order; and its calls."""
    state, waiting, calls = tool.init(seed), [], []
    for _ in range(rounds):
        state, trials = tool.ask(state, batch)
        calls.append(("ask", batch))
        waiting += [interface.score(trial, objective) for trial in trials]
        if late is None:
            told, waiting = waiting, []
        else:
            late.shuffle(waiting)
            told, waiting = waiting[:batch], waiting[batch:]
        for outcome in told:
            state = tool.tell(state, [outcome])
            calls.append(("tell", [outcome]))
    for outcome in waiting:
        state = tool.tell(state, [outcome])
        calls.append(("tell", [outcome]))
    return state, calls


@pytest.mark.parametrize("late", [None, random.Random(1), random.Random(2)])
def test_statistics_are_those_of_the_sequential_equations(late):
    """Equation 3.3 with q of 3.2, in the order of the iterations, to the last bit."""
    state, _ = run(searcher(), late=late)
    tree = state.tree
    q, n = np.zeros(len(tree.child)), np.zeros(len(tree.child), int)
    mixed = 0
    for iteration, trial in enumerate(tree.trial):
        accuracy, predicted = tree.values[trial], tree.predicted[iteration]
        assert accuracy == objective(PROBLEM.point(tree.terminals[trial]), 0)
        reward = accuracy if np.isnan(predicted) else (accuracy + predicted) / 2
        mixed += not np.isnan(predicted)
        for edge in tree.edges[tree.of == iteration]:
            q[edge] += reward
            n[edge] += 1
    assert mixed > 15
    found = mcts.statistics(tree)
    np.testing.assert_array_equal(found.visits, n)
    np.testing.assert_array_equal(found.total, q)


def test_two_backpropagations_are_one():
    """Equations 3.4 and 3.5: the prediction at once, then half of what it was off; N once."""
    tool = searcher()
    state, _ = run(tool, late=None, rounds=4)
    before = mcts.statistics(state.tree)
    state, trials = tool.ask(state, 3)
    asked = mcts.statistics(state.tree)
    new = np.arange(len(before.visits), len(asked.visits))
    grown = mcts.Statistics(*(np.append(old, np.zeros(len(new))) for old in before))
    q, n = grown.total.copy(), grown.visits.copy()
    first = len(state.tree.trial) - 3  # nothing was asked twice here
    for iteration in range(first, first + 3):
        edges = state.tree.edges[state.tree.of == iteration]
        np.add.at(q, edges, state.tree.predicted[iteration])
        np.add.at(n, edges, 1)
    np.testing.assert_allclose(asked.total, q, rtol=1e-14)
    np.testing.assert_array_equal(asked.visits, n)
    for trial in reversed(trials):
        accuracy = objective(trial.point, 0)
        state = tool.tell(state, [Outcome(trial.id, accuracy, "ok")])
        (iteration,) = np.flatnonzero(state.tree.trial == trial.id)
        edges = state.tree.edges[state.tree.of == iteration]
        np.add.at(q, edges, (accuracy - state.tree.predicted[iteration]) / 2)
        np.testing.assert_allclose(mcts.statistics(state.tree).total, q, rtol=1e-14)
        np.testing.assert_array_equal(mcts.statistics(state.tree).visits, n)


def test_the_prediction_is_the_mean_over_other_rollouts_of_the_new_node():
    asked = []
    inner = linear()

    def predict(params, encodings):
        asked.append(encodings.copy())
        return inner.predict(params, encodings)

    tool = searcher(predictor=Predictor(inner.fit, predict), rollouts=5)
    state, _ = run(tool, late=None, rounds=3)
    asked.clear()
    tree = state.tree
    state, _ = tool.ask(state, 1)
    iteration = len(state.tree.trial) - 1
    assert len(asked) == iteration + 1 - len(tree.trial)
    expected = inner.predict(state.params, asked[-1]).mean()
    assert state.tree.predicted[iteration] == expected
    edge = state.tree.edges[state.tree.of == iteration][-1]
    prefix = state.tree.states[state.tree.child[edge]]
    assert asked[-1].shape == (5, 4)
    assert (asked[-1][:, : len(prefix)] == prefix).all()


def test_a_failed_training_leaves_the_prediction():
    tool = searcher()
    state, _ = run(tool, late=None, rounds=4)
    state, (trial,) = tool.ask(state, 1)
    kept = mcts.statistics(state.tree)
    state = tool.tell(state, [Outcome(trial.id, math.nan, "failed")])
    after = mcts.statistics(state.tree)
    np.testing.assert_array_equal(after.total, kept.total)
    assert np.isfinite(mcts.rewards(state.tree)).all()


def test_the_predictor_sees_all_outcomes_in_the_order_of_their_trials():
    state, _ = run(searcher(refit_every=1, refit_growth=0.0), late=random.Random(3))
    tool = searcher(refit_every=1, refit_growth=0.0)
    state, _ = tool.ask(state, 1)
    assert state.fitted_to == 30
    points = np.stack([PROBLEM.point(s) for s in state.tree.terminals[:30]])
    np.testing.assert_array_equal(state.params["x"][:, :4], points)
    np.testing.assert_array_equal(state.params["y"], [objective(p, 0) for p in points])


def test_fits_grow_apart_with_the_samples():
    fits = []
    inner = linear()

    def fit(encodings, values, seed):
        fits.append(len(values))
        return inner.fit(encodings, values, seed)

    tool = searcher(predictor=Predictor(fit, inner.predict), refit_every=2, refit_growth=0.5)
    run(tool, late=None, rounds=30, batch=1)
    assert fits == [3, 5, 7, 10, 15, 22]


def test_a_batch_in_any_order_is_the_same_search():
    ends = []
    for order in range(3):
        shuffler, tool = random.Random(order), searcher()
        state = tool.init(5)
        for _ in range(5):
            state, trials = tool.ask(state, 4)
            outcomes = [interface.score(trial, objective) for trial in trials]
            shuffler.shuffle(outcomes)
            state = tool.tell(state, outcomes)
        ends.append(state)
    assert _equal(ends[0], ends[1])
    assert _equal(ends[0], ends[2])


def test_a_server_lost_at_any_call_is_replayed_and_goes_on():
    tool = searcher()
    end, calls = run(tool, late=random.Random(4), rounds=6)
    for lost_at in range(0, len(calls), 5):
        state = tool.init(0)
        for place, (kind, argument) in enumerate(calls):
            if place == lost_at:  # begin again, with what the journal has
                state = tool.init(0)
                for old, what in calls[:place]:
                    state = tool.ask(state, what)[0] if old == "ask" else tool.tell(state, what)
            state = tool.ask(state, argument)[0] if kind == "ask" else tool.tell(state, argument)
        assert _equal(state, end)


@pytest.mark.parametrize("favourite", [0, 1, 2])
def test_predictions_lead_the_search_where_accuracies_do_not(favourite):
    """All accuracies are equal; the predictor likes one choice of the first edge."""
    model = Predictor(lambda x, y, seed: (), lambda params, x: 0.4 + 0.2 * (x[:, 0] == favourite))
    run = interface.maximise(
        searcher(predictor=model, c=0.05), lambda point, seed: 0.5, budget=40, batch_size=2
    )
    visits = mcts.statistics(run.state.tree).visits[:3]
    assert visits.argmax() == favourite
    assert visits[favourite] > 1.5 * np.delete(visits, favourite).max()


def test_a_parent_is_the_nearest_trained_network_below_the_nearest_node():
    tool = searcher(transfer=True, unique=True)
    state, trials = tool.ask(tool.init(2), 1)
    assert isinstance(trials[0].point, Job)
    assert trials[0].point.parent == -1, "nothing is trained yet"
    for _ in range(12):
        value = objective(trials[0].point.network, 0)
        state = tool.tell(state, [Outcome(trials[0].id, value, "ok")])
        state, trials = tool.ask(state, 1)
        number, tree = trials[0].id, state.tree
        iteration = np.flatnonzero(tree.trial == number)[0]
        path = [0, *tree.child[tree.edges[tree.of == iteration]]]
        networks = [PROBLEM.point(s) for s in tree.terminals]
        expected = -1
        for node in reversed(path):  # by hand: which iterations passed the node
            passed = {
                int(tree.trial[i])
                for i in range(len(tree.trial))
                if node in [0, *tree.child[tree.edges[tree.of == i]]]
            }
            trained = sorted(t for t in passed if t < number)
            if trained:
                expected = min(trained, key=lambda t: (sum(networks[t] != networks[number]), t))
                break
        assert trials[0].point.parent == expected


def test_an_open_network_is_nobodys_parent():
    tool = searcher(transfer=True)
    state, trials = tool.ask(tool.init(0), 5)
    assert [trial.point.parent for trial in trials] == [-1] * 5
    state = tool.tell(state, [Outcome(3, 0.5, "ok"), Outcome(1, math.nan, "failed")])
    state, trials = tool.ask(state, 3)
    assert [trial.point.parent for trial in trials] == [3] * 3


def test_no_network_is_its_own_parent():
    state, _ = run(searcher(), late=None, rounds=3)
    for trial in range(9):
        parent = alphax.transfer_parent(PROBLEM, state.tree, trial)
        assert parent != trial
        assert parent >= 0


def test_edit_distance_counts_digits():
    one = np.array([[1, 0, 2], [1, 1, 2], [0, 1, 3]])
    np.testing.assert_array_equal(alphax.edit_distance(one, np.array([1, 1, 2])), [1, 0, 2])


@pytest.mark.parametrize("name", ["rollouts", "num_init", "refit_every"])
def test_counts_are_checked(name):
    with pytest.raises(ValueError, match=f"{name}: expected at least 1, got 0"):
        searcher(**{name: 0})


def test_growth_and_c_are_checked():
    with pytest.raises(ValueError, match="refit_growth: expected at least 0, got -0"):
        searcher(refit_growth=-0.5)
    with pytest.raises(ValueError, match="c: expected a finite number of at least 0"):
        searcher(c=math.nan)
