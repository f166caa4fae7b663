"""AlphaX: Monte-Carlo tree search over network edits, with a learned predictor of accuracy.

An iteration selects and adds a node as in `search.mcts`. Its reward is half a measured and half a
predicted accuracy (equation 3.2): the accuracy of one network drawn below the new node, and the
mean prediction for k more of them. The same searcher is both forms of the thesis:

    sequential   ask(state, 1), tell
    distributed  ask(state, n) while trials are open, tell in any order

While a trial is open, its iteration counts by the prediction alone: this is the first
backpropagation of the distributed form (equation 3.4). `tell` replaces it by equation 3.5, the
second one. Both are computed from the record of the search, so a lost server is replayed from its
journal. Clients, queue and retries are those of `search.evaluate`.

The predictor is fitted anew from all outcomes, in the order of their trials, whenever enough new
ones are known. So the same outcomes make the same predictor, in whatever order they came. The
prediction of an iteration is recorded when it is made and never made again.

Source: Wang 2022, chapter 3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int, Real

from search import decisions, mcts, meta_dnn
from search.bandit import Form
from search.decisions import Problem, State
from search.interface import Outcome, Searcher, Trial
from search.mcts import Tree
from search.meta_dnn import Predictor

PyTree = Any


class Search(NamedTuple):
    """The state of a search.

    Attributes:
        tree: its record, `mcts.Tree`; `mcts.statistics` says what Q and N are.
        params: the predictor's; None before the first fit.
        fitted_to: how many outcomes it was fitted to.
    """

    tree: Tree
    params: PyTree
    fitted_to: int


class Job(NamedTuple):
    """The point of a trial, where weights are to be transferred.

    Attributes:
        network: its encoding, `[digits]`.
        number: the trial's own, under which its weights are to be kept for its children.
        parent: the trial whose weights to start from, -1 for none.
    """

    network: Int[np.ndarray, " digits"]
    number: int
    parent: int


def searcher(
    problem: Problem,
    *,
    c: float = 0.5,
    form: Form = "algorithm",
    predictor: Predictor | None = None,
    encode: Callable[[Any], Real[np.ndarray, "n hot"]] | None = None,
    rollouts: int = 10,
    num_init: int = 20,
    refit_every: int = 50,
    refit_growth: float = 0.1,
    unknown: mcts.Unknown = "loss",
    unique: bool = True,
    repeats: int = 100,
    transfer: bool = False,
) -> Searcher:
    """AlphaX as a searcher; its state is a `Search`.

    Args:
        problem: states and actions; its points are vectors of one length.
        c: weight of exploration in the unit of the rewards. The thesis's is 0.5, for accuracies in
            [0, 1], whose differences are far smaller.
        form: of the bound; equation 3.1 is "algorithm".
        predictor: the Meta-DNN, `meta_dnn.multi_stage()` by default.
        encode: turns points `[n, digits]` into what the predictor reads; the digits by default.
        rollouts: k, the networks that are predicted in an iteration. The thesis does not say how
            many.
        num_init: outcomes before the first fit. Until then a reward is the accuracy alone.
        refit_every: outcomes between one fit and the next, at least.
        refit_growth: by this share, too, the outcomes have to grow between two fits, so that all
            fits together cost in proportion to the outcomes; 0 for no such rule.
        unknown: how an iteration counts that has neither an accuracy nor a prediction
            (`mcts.statistics`).
        unique: see `mcts.searcher`.
        repeats: see `mcts.searcher`.
        transfer: points are a `Job`, with the trial whose weights to start from
            (`transfer_parent`).

    Raises:
        ValueError: a setting out of range, or no problem.
    """
    decisions.check(problem)
    settings = mcts.check(mcts.Settings(c, form, unknown, unique, repeats))
    for name, value in (
        ("rollouts", rollouts), ("num_init", num_init), ("refit_every", refit_every)
    ):  # fmt: skip
        if value < 1:
            raise ValueError(f"{name}: expected at least 1, got {value}")
    if not refit_growth >= 0:
        raise ValueError(f"refit_growth: expected at least 0, got {refit_growth}")
    model = predictor or meta_dnn.multi_stage()

    def encoded(states: Sequence[State]) -> Any:
        points = np.stack([problem.point(state) for state in states])
        return encode(points) if encode else points

    def ask(search: Search, n: int) -> tuple[Search, list[Trial]]:
        search = refit(search)

        def predict(states: Sequence[State]) -> Any:
            return model.predict(search.params, encoded(states))

        before = len(search.tree.terminals)
        tree, trials = mcts.propose(
            problem,
            settings,
            search.tree,
            n,
            predict=predict if search.fitted_to else None,
            rollouts=rollouts,
        )
        if transfer:
            trials = [
                trial._replace(
                    point=Job(trial.point, number, transfer_parent(problem, tree, number))
                )
                for number, trial in enumerate(trials, before)
            ]
        return search._replace(tree=tree), trials

    def refit(search: Search) -> Search:
        good = search.tree.good
        more = max(refit_every, int(refit_growth * search.fitted_to))
        wanted = search.fitted_to + more if search.fitted_to else num_init
        if len(good) < wanted:
            return search
        # The data are in the order of the trials, and the seed counts the fits' outcomes.
        data = encoded([search.tree.terminals[trial] for trial in good])
        seed = np.random.SeedSequence([search.tree.seed, len(good)]).generate_state(1)[0] >> 1
        params = model.fit(data, search.tree.values[good], int(seed))
        return Search(search.tree, params, len(good))

    def tell(search: Search, outcomes: Sequence[Outcome]) -> Search:
        return search._replace(tree=mcts.tell(search.tree, outcomes))

    return Searcher(lambda seed: Search(mcts.begin(problem, seed), None, 0), ask, tell)


def edit_distance(
    one: Int[np.ndarray, "*n digits"], other: Int[np.ndarray, " digits"]
) -> Int[np.ndarray, "*n"]:
    """In how many digits encodings of one length differ (absent layers are zeros)."""
    return np.sum(one != other, axis=-1)


def transfer_parent(problem: Problem, tree: Tree, trial: int) -> int:
    """The trained network whose weights a trial's network starts from.

    Goes up from the node where the trial's rollout began to the first node below which a network
    has been trained, and takes the one of them that is the fewest edits away, the earliest of such.

    Args:
        problem: of the search.
        tree: of the search.
        trial: its number.

    Returns:
        The number of a trial that has a value, or -1 where none has.
    """
    iteration = int(np.flatnonzero(tree.trial == trial)[0])
    here = problem.point(tree.terminals[trial])
    trained = np.isfinite(tree.values)
    for edge in tree.edges[tree.of == iteration][::-1]:
        below = np.unique(tree.trial[tree.of[tree.edges == edge]])
        below = below[trained[below] & (below != trial)]
        if len(below):
            networks = np.stack([problem.point(tree.terminals[each]) for each in below])
            return int(below[np.argmin(edit_distance(networks, here))])
    everything = np.flatnonzero(trained)
    everything = everything[everything != trial]
    if not len(everything):
        return -1
    networks = np.stack([problem.point(tree.terminals[each]) for each in everything])
    return int(everything[np.argmin(edit_distance(networks, here))])
