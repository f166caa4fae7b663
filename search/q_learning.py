"""Q-learning with epsilon-greedy exploration over the states and actions of `search.mcts`.

A baseline of Wang 2022 (sections 2.3 and 3.1): the value of an action is learned by the Bellman
equation, and one epsilon for all states says how often an action is drawn instead of chosen,

    Q(s, a) += alpha (r + gamma max_a' Q(s', a') - Q(s, a)),     r = 0 but at a terminal state,

which is applied from the end of an object to its beginning. The thesis prints argmax for max, and
no settings. Unlike the tree search's, these values depend on the order in which outcomes are told,
between one `tell` and the next; within one they are taken in the order of their trials.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from search import decisions, mcts
from search.decisions import DEEPEST, Problem, State
from search.interface import Outcome, Searcher, Trial, check_count, generator, trial_seed
from search.mcts import Tree


class Search(NamedTuple):
    """The state of a search.

    Attributes:
        tree: nodes, actions, and the paths of all iterations, as in `mcts`, without predictions.
        values: float64 `[edges]`, Q(s, a).
    """

    tree: Tree
    values: Float[np.ndarray, " edges"]


def searcher(
    problem: Problem,
    *,
    alpha: float = 0.1,
    gamma: float = 1.0,
    initial: float = 0.5,
    epsilon: float = 0.1,
    decay: int = 200,
    repeats: int = 100,
) -> Searcher:
    """Q-learning with ask and tell; its state is a `Search`.

    Args:
        problem: what to search.
        alpha: learning rate, in (0, 1].
        gamma: discount of what follows, in [0, 1].
        initial: Q before the first visit, in the unit of the rewards.
        epsilon: the part of actions that are drawn, in the end.
        decay: iterations in which it falls from 1 to that, as a line; 0 for none.
        repeats: an object that is known teaches its value once more and another one is built; after
            so many in a row it is asked for again.

    Raises:
        ValueError: a setting out of range, or no problem.
    """
    decisions.check(problem)
    for name, value, low in (("alpha", alpha, 1e-12), ("gamma", gamma, 0), ("epsilon", epsilon, 0)):
        if not low <= value <= 1:
            raise ValueError(
                f"{name}: expected a number in {'(' if low else '['}0, 1], got {value}"
            )
    if not math.isfinite(initial):
        raise ValueError(f"initial: expected a finite number, got {initial}")
    if decay < 0 or repeats < 1:
        raise ValueError(f"decay, repeats: expected at least 0 and 1, got {decay, repeats}")

    def init(seed: int) -> Search:
        tree = mcts.begin(problem, seed)
        return Search(tree, np.full(len(tree.child), initial, np.float64))

    def ask(search: Search, n: int) -> tuple[Search, list[Trial]]:
        check_count(n)
        tree, values = search
        trials: list[Trial] = []
        repeated = 0
        while len(trials) < n:
            iteration = len(tree.trial)
            left = max(0.0, 1.0 - iteration / decay) if decay else 0.0
            part = epsilon + (1.0 - epsilon) * left
            tree, path, state = _build(problem, tree, values, part, iteration)
            values = np.append(values, np.full(len(tree.child) - len(values), initial))
            known = mcts.find(tree.terminals, state)
            if known >= 0 and repeated < repeats:
                repeated += 1
                tree = mcts.record(tree, path, known)
                values = _learn(tree, values, np.array([iteration]), alpha, gamma)
                continue
            repeated, number = 0, len(tree.terminals)
            tree = mcts.add_trial(mcts.record(tree, path, number), state)
            trials.append(Trial(number, problem.point(state), trial_seed(tree.seed, number)))
        return Search(tree, values), trials

    def tell(search: Search, outcomes: Sequence[Outcome]) -> Search:
        tree = mcts.tell(search.tree, outcomes)
        ids = [outcome.id for outcome in outcomes]
        iterations = np.flatnonzero(np.isin(tree.trial, ids))
        return Search(tree, _learn(tree, search.values, iterations, alpha, gamma))

    return Searcher(init, ask, tell)


def _build(
    problem: Problem,
    tree: Tree,
    values: Float[np.ndarray, " edges"],
    part: float,
    iteration: int,
) -> tuple[Tree, list[int], State]:
    """Goes from the root to a terminal state, of whose nodes those that are new are added."""
    rng = generator(tree.seed, iteration)
    node, path = 0, list[int]()
    while not problem.terminal(tree.states[node]):
        first, end = int(tree.first[node]), int(tree.first[node + 1])
        best = np.arange(first, end)
        if rng.random() >= part and first < len(values):  # a node that is new has equal values
            here = values[first:end]
            best = first + np.flatnonzero(here == here.max())
        edge = int(rng.choice(best))
        path.append(edge)
        tree, node = mcts.follow(problem, tree, node, edge)
        if len(path) > DEEPEST:
            raise ValueError(f"step: expected a terminal state within {DEEPEST} actions")
    return tree, path, tree.states[node]


def _learn(
    tree: Tree,
    values: Float[np.ndarray, " edges"],
    iterations: Int[np.ndarray, " some"],
    alpha: float,
    gamma: float,
) -> Float[np.ndarray, " edges"]:
    values = values.copy()
    for iteration in iterations:
        reward = tree.values[tree.trial[iteration]]
        if np.isnan(reward):
            continue
        target = reward
        for edge in tree.edges[tree.of == iteration][::-1]:
            values[edge] += alpha * (target - values[edge])
            node = int(np.searchsorted(tree.first, edge, side="right")) - 1
            target = gamma * values[tree.first[node] : tree.first[node + 1]].max()
    return values
