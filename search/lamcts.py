"""LA-MCTS: a tree that is learned from all samples picks the region in which a solver searches.

Each round builds the tree from scratch (`partition`), descends it by upper confidence bounds, and
gives the leaf's region to a solver that proposes points inside it: uniform ones, Bayesian
optimisation, TuRBO-1 until its trust region collapses, or CMA-ES. With TuRBO-1 inside, much of the
gain over TuRBO alone comes from starting again at the best sample, not from the tree
(`experiments/results/search`).

Source: Wang 2022, chapter 5.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Float

from search import bandit, cma, gp, partition, spaces, turbo
from search.acquisition import expected_improvement
from search.bandit import Form
from search.interface import (
    History,
    Outcome,
    Searcher,
    Trial,
    begin,
    check_count,
    extend,
    generator,
    record,
)
from search.partition import Kernel, Region
from search.spaces import Box
from search.turbo import TrustRegion

Solver = Literal["random", "bo", "turbo", "cma"]


class Settings(NamedTuple):
    """Settings of LA-MCTS; by default the thesis's for test functions, lunar lander and rover.

    Attributes:
        solver: what searches inside the region.
        c: C_p, the weight of exploration, in the unit of the reward.
        form: of the bound (`search.bandit`); the thesis's values of C_p are for "algorithm".
        leaf_size: theta, the most samples that a leaf holds without being split.
        kernel: of the support vector machines.
        scale_values: whether k-means sees standardised [x, f]; by default as they are.
        num_init: trials of the Latin hypercube before the first tree.
        round_init: random trials in the region with which a round of TuRBO-1 starts.
        round_most: a round of TuRBO-1 or CMA-ES ends after so many trials; 0 for no limit.
        reuse: whether TuRBO-1 uses all samples inside the region, those of earlier rounds too, as
            the thesis prints; a success is then a point better than all of them. Without, it uses
            the round's own samples only.
        turbo: constants of TuRBO-1.
        candidates: points among which Bayesian optimisation chooses.
        fit_steps: Adam steps of each fit in Bayesian optimisation.
    """

    solver: Solver = "turbo"
    c: float = 1.0
    form: Form = "algorithm"
    leaf_size: int = 20
    kernel: Kernel = "rbf"
    scale_values: bool = False
    num_init: int = 30
    round_init: int = 30
    round_most: int = 0
    reuse: bool = True
    turbo: turbo.Settings = turbo.Settings()
    candidates: int = 2000
    fit_steps: int = 50


class State(NamedTuple):
    """A search.

    Attributes:
        history: its trials.
        region: of the round, as boundaries.
        first: the trial with which the round began; -1 before the first round.
        trust: of TuRBO-1 in this round.
    """

    history: History
    region: Region
    first: int
    trust: TrustRegion


def searcher(space: Box, settings: Settings | None = None) -> Searcher:
    """LA-MCTS in a box.

    Args:
        space: what to search.
        settings: of the tree and the solver.

    Raises:
        ImportError: scikit-learn is absent, or, for CMA-ES, `cma`; says what to install.
        ValueError: a setting out of range, or a space that is no box.
    """
    spaces.check(space, Box)
    chosen = settings or Settings()
    check(chosen)
    propose = {"random": _random, "bo": _bo, "turbo": _turbo, "cma": _cma}[chosen.solver]

    def init(seed: int) -> State:
        return State(begin(seed, space.dim), (), -1, turbo.start(chosen.turbo, space.dim))

    def ask(state: State, n: int) -> tuple[State, list[Trial]]:
        check_count(n)
        history = state.history
        rng = generator(history.seed, history.asked)
        left = chosen.num_init - history.asked
        if left > 0 or len(history.good) < 2:
            design = turbo.latin_hypercube(
                chosen.num_init, space.dim, generator(history.seed, 0, 1)
            )
            done = chosen.num_init - left
            units = np.concatenate([design[done : done + n], rng.random((n, space.dim))])[:n]
        else:
            if _is_over(chosen, state):
                state = _begin_round(chosen, space, state)
            state, units = propose(chosen, space, state, n, rng)
        history, trials = extend(history, space.from_unit(units))
        return state._replace(history=history), trials

    def tell(state: State, outcomes: Sequence[Outcome]) -> State:
        trust = state.trust
        if chosen.solver == "turbo" and state.first >= 0:
            trust = turbo.heed(
                trust, chosen.turbo, outcomes, state.first, chosen.round_init, space.dim
            )
        return state._replace(history=record(state.history, outcomes), trust=trust)

    return Searcher(init, ask, tell)


def check(settings: Settings) -> None:
    """Checks settings.

    Raises:
        ValueError: names what is out of range.
    """
    bandit.check(settings.c, settings.form)
    for name, choices in (("solver", Solver), ("kernel", Kernel)):
        value = getattr(settings, name)
        if value not in get_args(choices):
            raise ValueError(f"{name}: expected one of {get_args(choices)}, got {value!r}")
    lows = {"leaf_size": 2, "num_init": 2, "round_init": 2, "round_most": 0, "candidates": 1}
    for name, low in lows.items():
        value = getattr(settings, name)
        if value < low:
            raise ValueError(f"{name}: expected at least {low}, got {value}")


def _is_over(settings: Settings, state: State) -> bool:
    """Whether to learn a new tree: after each trial for solvers that keep nothing."""
    if state.first < 0 or settings.solver in ("random", "bo"):
        return True
    spent = state.history.asked - state.first
    if settings.round_most and spent >= settings.round_most:
        return True
    if settings.solver == "cma":
        return spent >= 10 * cma.population(state.history.points.shape[1])
    return state.trust.length < settings.turbo.length_min


def _begin_round(settings: Settings, space: Box, state: State) -> State:
    history = state.history
    root, values = tree(settings, space, history)
    _, region = partition.select(root, values, c=settings.c, form=settings.form)
    trust = turbo.start(settings.turbo, space.dim)
    if settings.reuse:  # the centre is an old sample then, and a success is what is better than it
        here = partition.inside(region, space.to_unit(history.points[history.good]))
        trust = trust._replace(best=float(values[here].max(initial=-math.inf)))
    return State(history, region, history.asked, trust)


def tree(
    settings: Settings, space: Box, history: History
) -> tuple[partition.Node, Float[np.ndarray, " n"]]:
    """The tree of all samples so far, and their rewards, to which its members are indices."""
    good = history.good
    values = history.values[good]
    root = partition.build(
        space.to_unit(history.points[good]), values, leaf_size=settings.leaf_size,
        kernel=settings.kernel, scale_values=settings.scale_values, seed=history.seed % 2**32,
    )  # fmt: skip
    return root, values


Proposed = tuple[State, Float[np.ndarray, "n dim"]]


def _members(
    space: Box, state: State
) -> tuple[Float[np.ndarray, "m dim"], Float[np.ndarray, " m"]]:
    """The samples inside the region, in the unit cube, and their rewards."""
    good = state.history.good
    units = space.to_unit(state.history.points[good])
    here = partition.inside(state.region, units)
    return units[here], state.history.values[good][here]


def _random(
    settings: Settings, space: Box, state: State, n: int, rng: np.random.Generator
) -> Proposed:
    units, _ = _members(space, state)
    return state, partition.sample(state.region, units, n, rng)


def _bo(settings: Settings, space: Box, state: State, n: int, rng: np.random.Generator) -> Proposed:
    """Expected improvement over points of the region, by a process of all samples."""
    good = state.history.good
    values = state.history.values[good]
    units, _ = _members(space, state)
    found = partition.sample(state.region, units, settings.candidates, rng)
    posterior = gp.fit(space.to_unit(state.history.points[good]), values, steps=settings.fit_steps)
    gain = expected_improvement(*gp.predict(posterior, found), float(values.max()))
    order = np.argsort(-gain, kind="stable")[:n]
    return state, found[np.resize(order, n)]


def _turbo(
    settings: Settings, space: Box, state: State, n: int, rng: np.random.Generator
) -> Proposed:
    units, values = _members(space, state)
    history = state.history
    ours = history.good[history.good >= state.first]
    left = settings.round_init - (history.asked - state.first)
    if left > 0 or len(ours) < 2:
        return state, partition.sample(state.region, units, n, rng)
    if not settings.reuse or len(values) < 2:
        units, values = space.to_unit(history.points[ours]), history.values[ours]
    trust, points = turbo.propose(
        state.trust, settings.turbo, units, values, n, rng,
        lambda points: partition.inside(state.region, points),
    )  # fmt: skip
    return state._replace(trust=trust), points


def _cma(
    settings: Settings, space: Box, state: State, n: int, rng: np.random.Generator
) -> Proposed:
    """CMA-ES from the best sample of the region, as wide as its samples; the rest is rejected."""
    history = state.history
    before = history.good[history.good < state.first]
    units = space.to_unit(history.points[before])
    here = partition.inside(state.region, units)
    members, rewards = units[here], history.values[before][here]
    spread = float(members.std(0).mean()) if len(members) > 1 else 0.1
    run = slice(state.first, history.asked)
    points = cma.propose(
        start=members[int(np.argmax(rewards))],
        sigma=float(np.clip(spread, 0.01, 0.3)),
        points=space.to_unit(history.points[run]),
        values=history.values[run],
        told=history.told[run],
        count=n,
        rng=generator(history.seed, state.first, 2),
        inside=lambda points: partition.inside(state.region, points),
    )
    return state, points
