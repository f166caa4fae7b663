"""Q-learning against the Bellman equation by hand, and its exploration."""

import collections
import math

import numpy as np
import pytest

from search import design_spaces, interface, q_learning
from search.interface import Outcome
from search.spaces import choices
from tests.search.contract import check_searcher

SPACE = choices([3, 2, 3])
PROBLEM = design_spaces.choices_in_order(SPACE)


def objective(point, seed):
    return 0.5 + 0.4 * math.sin(float(point @ np.array([1.0, 2.0, 4.0])))


def test_contract():
    check_searcher(
        q_learning.searcher(PROBLEM, decay=5),
        objective,
        valid=lambda point: SPACE.contains(point[None])[0],
    )


def test_values_are_those_of_the_bellman_equation_in_a_dictionary():
    alpha, gamma = 0.3, 0.9
    tool = q_learning.searcher(PROBLEM, alpha=alpha, gamma=gamma, initial=0.2, decay=10)
    state = tool.init(1)
    q = collections.defaultdict(lambda: 0.2)
    for _ in range(12):
        before = len(state.tree.trial)
        state, (trial,) = tool.ask(state, 1)
        iterations = range(before, len(state.tree.trial))  # known objects taught once more
        state = tool.tell(state, [Outcome(trial.id, objective(trial.point, 0), "ok")])
        for iteration in iterations:
            end = state.tree.terminals[state.tree.trial[iteration]]
            for i in reversed(range(len(end))):
                s, a = end[:i], end[i]
                if i + 1 == len(end):
                    target = objective(np.array(end), 0)
                else:
                    after = PROBLEM.actions(end[: i + 1])
                    target = gamma * max(q[end[: i + 1], b] for b in after)
                q[s, a] += alpha * (target - q[s, a])
    for node, s in enumerate(state.tree.states):
        edges = range(int(state.tree.first[node]), int(state.tree.first[node + 1]))
        for a, edge in enumerate(edges):
            assert state.values[edge] == pytest.approx(q[s, a], rel=1e-12)


def test_greedy_repeats_the_best_and_epsilon_one_is_uniform():
    greedy = q_learning.searcher(PROBLEM, epsilon=0.0, decay=0, alpha=1.0, initial=0.0, repeats=5)
    run = interface.maximise(greedy, lambda x, s: 1.0, budget=6)
    assert len({tuple(trial.point) for trial in run.trials}) == 1
    drawn = q_learning.searcher(PROBLEM, epsilon=1.0, decay=0)
    run = interface.maximise(drawn, lambda x, s: 1.0, budget=18)
    assert len({tuple(trial.point) for trial in run.trials}) == 18


def test_epsilon_falls():
    tool = q_learning.searcher(PROBLEM, epsilon=0.0, decay=8, alpha=1.0, initial=0.0, repeats=1)
    run = interface.maximise(tool, objective, budget=30)
    firsts = [state[0] for state in run.state.tree.terminals]
    assert len(set(firsts[:8])) > 1
    assert len(set(run.state.tree.terminals[12:])) == 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"alpha": 0.0}, r"alpha: expected a number in \(0, 1\], got 0"),
        ({"gamma": 1.5}, r"gamma: expected a number in \[0, 1\], got 1.5"),
        ({"epsilon": -0.1}, r"epsilon: expected a number in \[0, 1\], got -0.1"),
        ({"initial": math.inf}, "initial: expected a finite number"),
        ({"decay": -1}, "decay, repeats: expected at least 0 and 1"),
    ],
)
def test_errors(settings, words):
    with pytest.raises(ValueError, match=words):
        q_learning.searcher(PROBLEM, **settings)
