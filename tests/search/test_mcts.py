"""UCT against a slow oracle, its statistics under any order of outcomes, and its errors."""

import collections
import copy
import math
import random

import numpy as np
import pytest

from search import bandit, design_spaces, interface, mcts
from search.interface import Outcome
from search.mcts import Problem
from search.spaces import choices
from tests.search.contract import _equal, check_searcher

SPACE = choices([3, 2, 4])
TABLE = design_spaces.choices_in_order(SPACE)


def value(state):
    """A reward without ties."""
    return math.sin(1.0 + sum((i + 1) * x for i, x in enumerate(state))) + 0.01 * len(state)


def objective(point, seed):
    return value([int(x) for x in point])


def arms(n):
    """One decision."""
    return Problem((), lambda s: range(n), lambda s, a: (*s, a), lambda s: len(s) == 1)


def subsets(n, size):
    """Sets of `size` of n numbers, one after the other: many ways to one state."""
    return Problem(
        (),
        lambda s: [i for i in range(n) if i not in s],
        lambda s, a: tuple(sorted((*s, a))),
        lambda s: len(s) == size,
    )


@pytest.mark.parametrize("unique", [True, False])
@pytest.mark.parametrize("unknown", ["visit", "loss"])
def test_contract(unique, unknown):
    searcher = mcts.searcher(TABLE, c=0.3, unique=unique, unknown=unknown)
    check_searcher(searcher, objective, valid=lambda point: SPACE.contains(point[None])[0])


def test_contract_with_words_as_actions():
    problem = design_spaces.plain_cnn("sequential")
    check_searcher(mcts.searcher(problem, c=0.1), lambda point, seed: float(point.sum()))


def oracle(problem, c, form, seed, iterations, reward):
    """Textbook UCT, one iteration after the other, in dictionaries keyed by state."""
    n, q = collections.Counter(), collections.defaultdict(float)
    tree, evaluated = {problem.root}, []
    for iteration in range(iterations):
        rng = interface.generator(seed, iteration)
        s, path = problem.root, []
        while True:
            actions = list(problem.actions(s))
            total = sum(n[s, a] for a in actions)
            bound = []
            for a in actions:
                if n[s, a] == 0:
                    bound.append(math.inf)
                elif form == "algorithm":
                    bonus = 2 * c * math.sqrt(2 * math.log(total) / n[s, a])
                    bound.append(q[s, a] / n[s, a] + bonus)
                else:
                    bound.append(q[s, a] / n[s, a] + c * math.sqrt(math.log(total) / n[s, a]))
            best = [i for i, b in enumerate(bound) if math.isclose(b, max(bound), rel_tol=1e-14)]
            a = actions[best[0] if len(best) == 1 else rng.choice(best)]
            path.append((s, a))
            s = problem.step(s, a)
            if s not in tree or problem.terminal(s):
                break
        tree.add(s)
        while not problem.terminal(s):
            actions = list(problem.actions(s))
            s = problem.step(s, actions[int(rng.integers(len(actions)))])
        evaluated.append(s)
        for edge in path:
            n[edge] += 1
            q[edge] += reward(s)
    return n, q, evaluated


def by_state(problem, tree, found):
    """Statistics of a tree as dictionaries keyed by (state, action)."""
    n, q = {}, {}
    for node, state in enumerate(tree.states):
        actions = [] if problem.terminal(state) else list(problem.actions(state))
        for place, action in enumerate(actions):
            edge = int(tree.first[node]) + place
            if found.visits[edge]:
                n[state, action], q[state, action] = found.visits[edge], found.total[edge]
    return n, q


@pytest.mark.parametrize("form", ["algorithm", "equation"])
@pytest.mark.parametrize("problem", [TABLE, subsets(5, 3), design_spaces.plain_cnn("sequential")])
def test_the_same_as_textbook_uct_in_dictionaries(problem, form):
    reward = (lambda s: value([len(str(x)) for x in s])) if problem not in (TABLE,) else value
    searcher = mcts.searcher(problem, c=0.2, form=form, unique=False)
    state = searcher.init(7)
    for _ in range(100):
        state, (trial,) = searcher.ask(state, 1)
        state = searcher.tell(state, [Outcome(trial.id, reward(state.terminals[-1]), "ok")])
    n, q, evaluated = oracle(problem, 0.2, form, 7, 100, reward)
    assert list(state.terminals) == evaluated
    found_n, found_q = by_state(problem, state, mcts.statistics(state))
    assert found_n == {edge: count for edge, count in n.items() if count}
    assert found_q == {edge: total for edge, total in q.items() if n[edge]}  # to the last bit


def run_late(searcher, seed, order, batch=4, rounds=5):
    """Asks for batches and tells what comes back in an order that `order` draws."""
    state, waiting, calls = searcher.init(seed), [], []
    for _ in range(rounds):
        state, trials = searcher.ask(state, batch)
        calls.append(("ask", batch))
        waiting += [interface.score(trial, objective) for trial in trials]
        order.shuffle(waiting)
        told, waiting = waiting[: batch - 1], waiting[batch - 1 :]
        state = searcher.tell(state, told)
        calls.append(("tell", told))
    return searcher.tell(state, waiting), [*calls, ("tell", waiting)]


def test_statistics_after_outcomes_out_of_order_are_those_of_one_after_the_other():
    searcher = mcts.searcher(choices_10(), c=0.3)
    state, _ = run_late(searcher, 3, random.Random(0))
    found = mcts.statistics(state)
    # Equation 3.3, iteration after iteration, over the recorded paths.
    n, q = np.zeros(len(state.child), int), np.zeros(len(state.child))
    for iteration, trial in enumerate(state.trial):
        for edge in state.edges[state.of == iteration]:
            n[edge] += 1
            q[edge] += value(state.terminals[trial])
    np.testing.assert_array_equal(found.visits, n)
    np.testing.assert_array_equal(found.total, q)
    assert len(state.trial) >= len(state.terminals) == 20


def test_any_order_of_a_batch_gives_the_same_state_and_the_same_search_after_it():
    searcher = mcts.searcher(choices_10(), c=0.3)
    ends = []
    for order in range(4):
        state, shuffler = searcher.init(1), random.Random(order)
        for _ in range(6):
            state, trials = searcher.ask(state, 5)
            outcomes = [interface.score(trial, objective) for trial in trials]
            shuffler.shuffle(outcomes)
            for outcome in outcomes:
                state = searcher.tell(state, [outcome])
        ends.append(state)
    assert all(_equal(ends[0], other) for other in ends[1:])


def choices_10():
    return design_spaces.choices_in_order(choices([10, 10]))


def test_a_search_replayed_from_its_calls_is_the_search():
    searcher = mcts.searcher(choices_10(), c=0.3)
    state, calls = run_late(searcher, 3, random.Random(5))
    again = searcher.init(3)
    for kind, argument in calls:
        if kind == "ask":
            again, _ = searcher.ask(again, argument)
        else:
            again = searcher.tell(again, argument)
    assert _equal(state, again)


@pytest.mark.parametrize("form", ["algorithm", "equation", "root"])
def test_bounds_are_the_printed_formulas(form):
    searcher = mcts.searcher(arms(4), c=0.7, unique=False)
    state = searcher.init(0)
    for _ in range(3):
        state, (trial,) = searcher.ask(state, 1)
        state = searcher.tell(state, [Outcome(trial.id, float(trial.point[0]), "ok")])
    found = mcts.bounds(state, mcts.statistics(state), 0, c=0.7, form=form)
    seen = [int(s[0]) for s in state.terminals]
    for arm in range(4):
        if arm not in seen:
            assert found[arm] == math.inf
            continue
        bonus = {
            "algorithm": 2 * 0.7 * math.sqrt(2 * math.log(3)),
            "equation": 0.7 * math.sqrt(math.log(3)),
            "root": 2 * 0.7 * math.sqrt(2 * math.sqrt(3)),
        }[form]
        assert found[arm] == pytest.approx(arm + bonus)


def test_open_trials_count_as_visits_of_the_parent():
    searcher = mcts.searcher(arms(2), c=0.5, unique=False)
    state, trials = searcher.ask(searcher.init(0), 2)
    state = searcher.tell(state, [Outcome(t.id, 1.0, "ok") for t in trials])
    state, _ = searcher.ask(state, 3)
    found = mcts.bounds(state, mcts.statistics(state, "visit"), 0, c=0.5)
    counts = np.bincount(state.edges)
    expected = 1.0 + 2 * 0.5 * np.sqrt(2 * math.log(5) / counts)
    np.testing.assert_allclose(found, expected)


def test_the_best_arm_gets_most_visits_and_more_exploration_spreads_them():
    def visits(c):
        searcher = mcts.searcher(arms(3), c=c, unique=False)
        run = interface.maximise(searcher, lambda x, s: [0.2, 0.5, 0.8][x[0]], budget=100)
        return mcts.statistics(run.state).visits

    assert visits(0.1).argmax() == 2
    assert visits(0.1)[2] > 75
    assert visits(5.0)[2] < 50


def test_an_open_trial_is_a_loss_or_a_visit_without_reward():
    searcher = mcts.searcher(arms(2), c=0.0, unique=False)
    state, trials = searcher.ask(searcher.init(0), 2)
    rewards = {0: 1.0, 1: 3.0}
    arm = {trial.id: int(trial.point[0]) for trial in trials}
    assert set(arm.values()) == {0, 1}, "the second of a batch goes elsewhere"
    state = searcher.tell(state, [Outcome(i, rewards[arm[i]], "ok") for i in arm])
    state, (third,) = searcher.ask(state, 1)
    assert third.point[0] == 1
    seen = mcts.statistics(state, "visit")
    np.testing.assert_array_equal(seen.visits, [1, 2])
    np.testing.assert_array_equal(seen.known, [1, 1])
    np.testing.assert_array_equal(seen.total, [1.0, 3.0])
    lost = mcts.statistics(state, "loss")
    np.testing.assert_array_equal(lost.known, [1, 2])
    np.testing.assert_array_equal(lost.total, [1.0, 4.0])  # 3 and the least reward, 1
    failed = searcher.tell(state, [Outcome(third.id, math.nan, "failed")])
    np.testing.assert_array_equal(mcts.statistics(failed, "loss").total, [1.0, 4.0])
    told = searcher.tell(state, [Outcome(third.id, 5.0, "ok")])
    np.testing.assert_array_equal(mcts.statistics(told, "loss").total, [1.0, 8.0])


def test_a_unique_search_lists_the_space_then_asks_again():
    searcher = mcts.searcher(TABLE, c=1.0, repeats=200)
    run = interface.maximise(searcher, objective, budget=SPACE.size, batch_size=3)
    points = {tuple(trial.point) for trial in run.trials}
    assert len(points) == SPACE.size
    assert run.best[-1] == max(value(cell) for cell in SPACE.every())
    _, trials = searcher.ask(run.state, 2)
    assert len(trials) == 2
    assert all(tuple(trial.point) in points for trial in trials)


def test_a_known_point_takes_its_value_along():
    searcher = mcts.searcher(arms(2), c=0.0, repeats=3)
    state, trials = searcher.ask(searcher.init(0), 2)
    state = searcher.tell(state, [Outcome(t.id, float(t.point[0]), "ok") for t in trials])
    state, _ = searcher.ask(state, 1)
    assert len(state.trial) == 6  # two, three that found nothing new, one asked for again
    assert mcts.statistics(state, "visit").total[1] == 4.0


def test_equal_states_are_one_node():
    searcher = mcts.searcher(subsets(4, 2), c=1.0, unique=False)
    run = interface.maximise(searcher, lambda x, s: float(x.sum()), budget=80)
    assert len(set(run.state.states)) == len(run.state.states) == 1 + 4 + 6


def test_errors_say_what_was_expected():
    with pytest.raises(ValueError, match="c: expected a finite number of at least 0, got -1"):
        mcts.searcher(TABLE, c=-1)
    with pytest.raises(ValueError, match="form: expected one of algorithm, equation"):
        mcts.check(mcts.Settings(0.1, form="ucb2"))
    with pytest.raises(ValueError, match="unknown: expected one of visit, loss, got 'win'"):
        mcts.check(mcts.Settings(0.1, unknown="win"))
    with pytest.raises(ValueError, match="repeats: expected at least 1, got 0"):
        mcts.searcher(TABLE, repeats=0)
    searcher = mcts.searcher(TABLE)
    with pytest.raises(ValueError, match="seed: expected"):
        searcher.init(-1)
    with pytest.raises(ValueError, match="n: expected at least 1"):
        searcher.ask(searcher.init(0), 0)
    with pytest.raises(ValueError, match="outcome 0: expected a trial from 0 to -1"):
        searcher.tell(searcher.init(0), [Outcome(0, 1.0, "ok")])
    with pytest.raises(ValueError, match="root: expected a state that is not terminal"):
        mcts.searcher(TABLE._replace(terminal=lambda s: True)).init(0)
    with pytest.raises(ValueError, match="actions: expected at least one in a state"):
        mcts.searcher(TABLE._replace(actions=lambda s: [])).init(0)
    endless = mcts.searcher(TABLE._replace(terminal=lambda s: False, actions=lambda s: [0]))
    with pytest.raises(ValueError, match="step: expected a terminal state within"):
        endless.ask(endless.init(0), 1)


def test_states_are_never_changed_in_place():
    searcher = mcts.searcher(TABLE, c=0.3)
    state, trials = searcher.ask(searcher.init(0), 3)
    kept = copy.deepcopy(state)
    searcher.ask(state, 4)
    searcher.tell(state, [interface.score(trial, objective) for trial in trials])
    assert _equal(state, kept)


def test_no_visit_means_an_infinite_bound():
    assert bandit.upper_bound(np.zeros(2), 1, np.array([0, 1]), c=0.0)[0] == math.inf
