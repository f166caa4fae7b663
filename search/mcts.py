"""Monte-Carlo tree search (UCT) over states and actions that the user declares.

    problem = Problem(root, actions, step, terminal)
    searcher = mcts.searcher(problem, c=0.1)       # ask and tell, `search.interface`

One iteration selects actions by upper confidence bounds until it takes an action whose child is not
in the tree yet. It adds the child and plays uniformly random actions from there to a terminal
state, which is evaluated. Equal states are one node, however they were reached.

The state of a search is a record: which actions each iteration took from which nodes, which
evaluation it waits for, what was predicted for it, and the outcomes. The statistics N and Q are
computed from the record, added up in the order of the iterations (`statistics`). So they are the
same to the last bit whether outcomes came one by one, in another order, or from a journal.

Source: Wang 2022, chapter 3 (equations 3.1 to 3.5). Where algorithm 3 of section 3.4 differs from
that section's text, the text holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Float, Int

from search import bandit, decisions
from search.bandit import Form
from search.decisions import DEEPEST, Problem, State, legal, rollout
from search.interface import (
    Outcome,
    Searcher,
    Trial,
    check_count,
    check_open,
    generator,
    settled,
    trial_seed,
)

Unknown = Literal["visit", "loss"]
# (terminal states) -> their predicted rewards
Predict = Callable[[Sequence[State]], Float[np.ndarray, " n"]]


class Tree(NamedTuple):
    """A search. Iteration i took the edges `edges[of == i]`; an edge is an action in a node.

    Attributes:
        seed: of the search.
        states: of the nodes; the root is the first.
        first: int64 `[nodes + 1]`: node i's edges are `first[i]` to `first[i + 1]` - 1.
        child: int64 `[edges]`, the node that an edge leads to, -1 before its first visit.
        edges: int64 `[steps]`, all edges taken, iteration after iteration.
        of: int64 `[steps]`, the iteration that took each.
        trial: int64 `[iterations]`, the trial whose value belongs to each. Several iterations may
            have one trial: a point that is known is not evaluated again.
        predicted: float64 `[iterations]`, the mean prediction of the iteration's rollouts when it
            was made, nan where there was no predictor.
        terminals: the state that each trial evaluates.
        values: float64 `[trials]`, nan while open and where failed.
        told: bool `[trials]`, whether there is an outcome.
    """

    seed: int
    states: tuple[State, ...]
    first: Int[np.ndarray, " bounds"]
    child: Int[np.ndarray, " edges"]
    edges: Int[np.ndarray, " steps"]
    of: Int[np.ndarray, " steps"]
    trial: Int[np.ndarray, " iterations"]
    predicted: Float[np.ndarray, " iterations"]
    terminals: tuple[State, ...]
    values: Float[np.ndarray, " trials"]
    told: Any

    @property
    def good(self) -> Int[np.ndarray, " ok"]:
        """Numbers of the trials that have a value, ascending: no matter when they were told."""
        return np.flatnonzero(np.isfinite(self.values))


class Statistics(NamedTuple):
    """What is known of each edge, `[edges]`.

    Attributes:
        visits: int64, N(s, a): iterations through it, those without a reward too.
        known: int64, iterations through it that have a reward.
        total: float64, Q(s, a): the sum of those rewards.
    """

    visits: Int[np.ndarray, " edges"]
    known: Int[np.ndarray, " edges"]
    total: Float[np.ndarray, " edges"]


def begin(problem: Problem, seed: int) -> Tree:
    """A tree of the root alone.

    Raises:
        ValueError: a negative seed, or a root without actions.
    """
    if seed < 0:
        raise ValueError(f"seed: expected a whole number of at least 0, got {seed}")
    if problem.terminal(problem.root):
        raise ValueError(f"root: expected a state that is not terminal, got {problem.root!r}")
    none = np.zeros(0, np.int64)
    empty = Tree(
        int(seed), (), np.zeros(1, np.int64), none, none, none, none, np.zeros(0), (),
        np.zeros(0), np.zeros(0, bool),
    )  # fmt: skip
    return _add_node(problem, empty, problem.root)


def rewards(tree: Tree) -> Float[np.ndarray, " iterations"]:
    """The reward q of each iteration, as it is known now; nan where nothing is.

    Half the value and half the prediction where there are both (equation 3.2), else the one that
    there is. So an iteration counts by its prediction alone until its outcome is told, and the
    second backpropagation of the distributed form (equation 3.5) is a change of this number.
    """
    value = tree.values[tree.trial]
    mixed = np.where(np.isnan(tree.predicted), value, (value + tree.predicted) / 2)
    return np.where(np.isnan(value), tree.predicted, mixed)


def statistics(tree: Tree, unknown: Unknown = "visit") -> Statistics:
    """N and Q of every edge, a function of the recorded iterations and outcomes alone.

    Args:
        tree: of a search.
        unknown: how an iteration without a reward counts, open or failed: "visit", a visit without
            a reward; "loss", a visit with the least reward so far (a virtual loss), or as "visit"
            while there is no reward.
    """
    reward = rewards(tree)
    if unknown == "loss" and not np.isnan(reward).all():
        reward = np.where(np.isnan(reward), np.nanmin(reward), reward)
    taken, count = reward[tree.of], len(tree.child)
    seen = ~np.isnan(taken)
    return Statistics(
        np.bincount(tree.edges, minlength=count),
        np.bincount(tree.edges[seen], minlength=count),
        # Added one by one in the order of the iterations: the order of the outcomes is no matter.
        np.bincount(tree.edges[seen], weights=taken[seen], minlength=count),
    )


def bounds(
    tree: Tree, found: Statistics, node: int, *, c: float, form: Form = "algorithm"
) -> Float[np.ndarray, " actions"]:
    """The upper confidence bound of each action of a node (equation 3.1).

    An action whose visits have no reward yet counts by the mean of the node's known rewards, or 0.
    """
    here = slice(int(tree.first[node]), int(tree.first[node + 1]))
    visits, known, total = found.visits[here], found.known[here], found.total[here]
    everything = total.sum() / max(int(known.sum()), 1)
    mean = np.where(known > 0, total / np.maximum(known, 1), everything)
    return bandit.upper_bound(mean, int(visits.sum()), visits, c=c, form=form)


class Settings(NamedTuple):
    """See `searcher`."""

    c: float
    form: Form = "algorithm"
    unknown: Unknown = "loss"
    unique: bool = True
    repeats: int = 100


def check(settings: Settings) -> Settings:
    """Checks settings.

    Raises:
        ValueError: one is out of range.
    """
    bandit.check(settings.c, settings.form)
    if settings.unknown not in get_args(Unknown):
        names = ", ".join(get_args(Unknown))
        raise ValueError(f"unknown: expected one of {names}, got {settings.unknown!r}")
    if settings.repeats < 1:
        raise ValueError(f"repeats: expected at least 1, got {settings.repeats}")
    return settings


def searcher(
    problem: Problem,
    *,
    c: float = 0.5,
    form: Form = "algorithm",
    unknown: Unknown = "loss",
    unique: bool = True,
    repeats: int = 100,
) -> Searcher:
    """UCT as a searcher; its state is a `Tree`.

    Args:
        problem: what to search.
        c: weight of exploration, in the unit of the rewards. The thesis sets 0.5 for accuracies in
            [0, 1], which explores much.
        form: which of the thesis's bounds (`search.bandit`).
        unknown: how trials without a value, open or failed, count (`statistics`).
        unique: whether a state that was evaluated or is open is not asked for again: the iteration
            takes its value, and another iteration follows. Without, every iteration is a trial.
        repeats: after so many iterations of one `ask` that found nothing new, a known state is
            asked for again, as when the whole space is known.

    Raises:
        ValueError: a setting out of range, or no problem.
    """
    decisions.check(problem)
    settings = check(Settings(c, form, unknown, unique, repeats))

    def ask(tree: Tree, n: int) -> tuple[Tree, list[Trial]]:
        return propose(problem, settings, tree, n)

    return Searcher(lambda seed: begin(problem, seed), ask, tell)


def tell(tree: Tree, outcomes: Sequence[Outcome]) -> Tree:
    """Notes outcomes, in any order.

    Raises:
        ValueError: an outcome of a trial that was never asked, or has one already.
    """
    values, told = tree.values.copy(), tree.told.copy()
    for outcome in map(settled, outcomes):
        check_open(outcome.id, len(told), lambda number: bool(told[number]))
        values[outcome.id], told[outcome.id] = outcome.value, True
    return tree._replace(values=values, told=told)


def propose(
    problem: Problem,
    settings: Settings,
    tree: Tree,
    n: int,
    *,
    predict: Predict | None = None,
    rollouts: int = 0,
) -> tuple[Tree, list[Trial]]:
    """Iterates until there are `n` trials.

    Args:
        problem: what to search.
        settings: of the search.
        tree: of the search.
        n: how many.
        predict: gives the rewards of the terminal states of `rollouts` more rollouts from the
            node that was added; their mean is the iteration's prediction. None: there is none.
        rollouts: see `predict`; at least 1 with it.

    Raises:
        ValueError: n below 1, or a problem whose functions do not fit together.
    """
    check_count(n)
    trials: list[Trial] = []
    repeated = 0
    while len(trials) < n:
        number = len(tree.trial)
        rng = generator(tree.seed, number)
        tree, path, state = descend(problem, settings, tree, rng)
        terminal = rollout(problem, state, rng)
        predicted = np.nan
        if predict is not None:
            others = [rollout(problem, state, rng) for _ in range(rollouts)]
            predicted = float(np.mean(predict(others)))
        known = find(tree.terminals, terminal) if settings.unique else -1
        if known >= 0 and repeated < settings.repeats:
            repeated += 1
            tree = record(tree, path, known, predicted)
            continue
        repeated, identity = 0, len(tree.terminals)
        tree = add_trial(record(tree, path, identity, predicted), terminal)
        seed = trial_seed(tree.seed, identity)
        trials.append(Trial(identity, problem.point(terminal), seed))
    return tree, trials


def descend(
    problem: Problem, settings: Settings, tree: Tree, rng: np.random.Generator
) -> tuple[Tree, list[int], State]:
    """Selection and expansion: by bounds to an action that is new, or to a terminal state.

    Of actions with the same bound (those without a visit have an infinite one) one is drawn.

    Returns:
        The tree with the new node, the edges taken, and the state where they end.
    """
    found = statistics(tree, settings.unknown)
    node, path = 0, list[int]()
    while True:
        upper = bounds(tree, found, node, c=settings.c, form=settings.form)
        best = np.flatnonzero(upper == upper.max())
        action = int(best[0] if len(best) == 1 else rng.choice(best))
        path.append(edge := int(tree.first[node]) + action)
        known = len(tree.states)
        tree, node = follow(problem, tree, node, edge)
        is_new = node == known
        if is_new or tree.first[node] == tree.first[node + 1]:  # a terminal node has no actions
            return tree, path, tree.states[node]
        if len(path) > DEEPEST:
            raise ValueError(f"step: expected a terminal state within {DEEPEST} actions")


def follow(problem: Problem, tree: Tree, node: int, edge: int) -> tuple[Tree, int]:
    """Takes an action of a node, an edge's number; a state that is not in the tree is added.

    Returns:
        The tree, and the node that the edge leads to: the last one where it is new.
    """
    if tree.child[edge] >= 0:
        return tree, int(tree.child[edge])
    state = tree.states[node]
    new = problem.step(state, legal(problem, state)[edge - int(tree.first[node])])
    child = find(tree.states, new)
    if child < 0:
        child = len(tree.states)
        tree = _add_node(problem, tree, new)
    children = tree.child.copy()
    children[edge] = child
    return tree._replace(child=children), child


def _add_node(problem: Problem, tree: Tree, state: State) -> Tree:
    count = 0 if problem.terminal(state) else len(legal(problem, state))
    return tree._replace(
        states=(*tree.states, state),
        first=np.append(tree.first, tree.first[-1] + count),
        child=np.concatenate([tree.child, np.full(count, -1)]),
    )


def record(tree: Tree, path: Sequence[int], trial: int, predicted: float = np.nan) -> Tree:
    """Adds an iteration: the edges that it took, the trial that it waits for, its prediction."""
    number = len(tree.trial)
    return tree._replace(
        edges=np.concatenate([tree.edges, path]),
        of=np.concatenate([tree.of, np.full(len(path), number)]),
        trial=np.append(tree.trial, trial),
        predicted=np.append(tree.predicted, predicted),
    )


def add_trial(tree: Tree, terminal: State) -> Tree:
    """Adds an open trial of a terminal state."""
    return tree._replace(
        terminals=(*tree.terminals, terminal),
        values=np.append(tree.values, np.nan),
        told=np.append(tree.told, False),
    )


def find(states: tuple[State, ...], state: State) -> int:
    """A state's place among others, or -1."""
    try:
        return states.index(state)
    except ValueError:
        return -1
