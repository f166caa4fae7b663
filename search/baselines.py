"""Other optimisers behind the same interface, to compare a tree search with.

Random search, regularised evolution and Bayesian optimisation (`search.gp` with expected
improvement) are written here, and TuRBO in `search.turbo`, as no registry has its authors' code.
The rest are libraries, imported where they are used: TPE (Optuna), CMA-ES (cma), Nevergrad's
default, and SciPy's differential evolution and dual annealing. SMAC has a file of its own.

A library's optimiser is run again from its start for every trial, on the values known by then. So a
search has no hidden state and resumes from its journal, but a trial takes the longer the more there
are before it: after 1,000 trials in 20 dimensions, 0.1 s with CMA-ES, 0.03 s with differential
evolution and 0.02 s with dual annealing. All 1,000 trials of CMA-ES take it about a minute.
`nevergrad_default` alone keeps its optimiser from one trial to the next.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

from search import cma, gp, spaces, turbo
from search.acquisition import expected_improvement
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
    trial_seed,
)
from search.partition import require
from search.spaces import Box, Choices, Space

Points = Shaped[np.ndarray, "n dim"]


def random(space: Space, *, unique: bool = True) -> Searcher:
    """Uniform points.

    Args:
        space: what to search.
        unique: whether choices come without replacement. The expected number of trials to the best
            of N is then (N + 1) / 2. Once all were asked for, they come again in the same order.
    """
    spaces.check(space, Box, Choices)

    def propose(history: History, n: int) -> Points:
        if isinstance(space, Choices) and unique and space.size <= 2**24:
            order = generator(history.seed, 0).permutation(space.size)
            rows = order[np.arange(history.asked, history.asked + n) % space.size]
            return np.stack(np.unravel_index(rows, tuple(space.sizes)), 1)
        return space.sample(generator(history.seed, history.asked), n)

    return from_history(space, propose)


def listed(points: Shaped[np.ndarray, "n dim"]) -> Searcher:
    """Random search of a list, without replacement: on average half of it until the best.

    Once all were asked for, they come again in the same order.

    Raises:
        ValueError: an empty list.
    """
    if not len(points):
        raise ValueError("points: expected at least one, got none")

    def ask(state: History, n: int) -> tuple[History, list[Trial]]:
        check_count(n)
        order = generator(state.seed).permutation(len(points))
        return extend(state, points[order[np.arange(state.asked, state.asked + n) % len(points)]])

    return Searcher(lambda seed: begin(seed, points.shape[1], points.dtype), ask, record)


def regularised_evolution(
    space: Choices, *, population: int = 100, tournament: int = 25, unique: bool = False
) -> Searcher:
    """Regularised evolution: the best of a random tournament gets a mutant, the oldest dies.

    Source: Real et al., "Regularized evolution for image classifier architecture search", 2019;
    named in Wang 2022, section 2.2.2.

    Args:
        space: choices.
        population: the latest trials, of which those with a value can be parents.
        tournament: how many of them compete, drawn with replacement.
        unique: a mutant that was asked for already is mutated again, at most 100 times.

    Raises:
        ValueError: a population or tournament below 1, or a space that is not of choices.
    """
    spaces.check(space, Choices)
    if population < 1 or tournament < 1:
        raise ValueError(
            f"population, tournament: expected at least 1, got {population}, {tournament}"
        )

    def propose(history: History, n: int) -> Points:
        points = history.points
        new: list[Any] = []
        for number in range(history.asked, history.asked + n):
            rng = generator(history.seed, number)
            alive = history.good[-population:]
            if number < population or len(alive) == 0:
                new.append(space.sample(rng, 1)[0])
                continue
            entrants = alive[rng.integers(len(alive), size=tournament)]
            parent = points[entrants[int(np.argmax(history.values[entrants]))]]
            child = space.mutate(rng, parent)
            for _ in range(100 if unique else 0):
                if not (points == child).all(1).any():
                    break
                child = space.mutate(rng, child)
            new.append(child)
        return np.array(new)

    return from_history(space, propose)


def bayesian(
    space: Box, *, num_init: int = 30, candidates: int = 2000, fit_steps: int = 50
) -> Searcher:
    """A Gaussian process of all trials; the largest expected improvement of random candidates.

    Args:
        space: a box.
        num_init: trials of the Latin hypercube at the start.
        candidates: uniform points that are looked at, and as many near the best sample.
        fit_steps: Adam steps of each fit.

    Raises:
        ValueError: a space that is no box.
    """
    spaces.check(space, Box)

    def propose(history: History, n: int) -> Points:
        rng, good = generator(history.seed, history.asked), history.good
        if history.asked < num_init or len(good) < 2:
            return _design(space, history, num_init, n, rng)
        units, values = space.to_unit(history.points[good]), history.values[good]
        near = units[int(np.argmax(values))] + 0.05 * rng.standard_normal((candidates, space.dim))
        found = np.concatenate([rng.random((candidates, space.dim)), np.clip(near, 0.0, 1.0)])
        mean, deviation = gp.predict(gp.fit(units, values, steps=fit_steps), found)
        gain = expected_improvement(mean, deviation, float(values.max()))
        return space.from_unit(found[np.argsort(-gain, kind="stable")[:n]])

    return from_history(space, propose)


def cma_es(space: Box, *, sigma: float = 0.5) -> Searcher:
    """CMA-ES (`cma`) from a random mean.

    Args:
        space: a box.
        sigma: first standard deviation, as a share of the box's side.

    Raises:
        ImportError: `cma` is absent; names the package. So do the other libraries' searchers.
        ValueError: a space that is no box.
    """
    spaces.check(space, Box)
    require("cma")

    def propose(history: History, n: int) -> Points:
        rng = generator(history.seed, 0)
        units = cma.propose(
            start=rng.random(space.dim), sigma=sigma, points=space.to_unit(history.points),
            values=history.values, told=history.told, count=n, rng=rng,
        )  # fmt: skip
        return space.from_unit(units)

    return from_history(space, propose)


def tpe(space: Space, **settings: Any) -> Searcher:
    """The tree-structured Parzen estimator of Optuna.

    It sees the trials that have a value; those that are open or failed are unknown to it, and may
    be proposed again.

    Args:
        space: a box, or choices, which it treats as categories.
        settings: of `optuna.samplers.TPESampler`.
    """
    spaces.check(space, Box, Choices)
    require("optuna")

    def propose(history: History, n: int) -> Points:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        names = [f"x{i}" for i in range(space.dim)]
        kinds: list[Any]
        if isinstance(space, Choices):
            kinds = [
                optuna.distributions.CategoricalDistribution(tuple(range(int(size))))
                for size in space.sizes
            ]
        else:
            kinds = [
                optuna.distributions.FloatDistribution(float(low), float(high))
                for low, high in zip(space.low, space.high, strict=True)
            ]
        distributions = dict(zip(names, kinds, strict=True))
        sampler = optuna.samplers.TPESampler(
            seed=trial_seed(history.seed, history.asked), **settings
        )
        study = optuna.create_study(direction="maximize", sampler=sampler)
        study.add_trials(
            [
                optuna.trial.create_trial(
                    params=dict(zip(names, history.points[i].tolist(), strict=True)),
                    distributions=distributions, value=float(history.values[i]),
                )
                for i in history.good
            ]
        )  # fmt: skip
        asked = [study.ask(distributions) for _ in range(n)]
        return np.array([[trial.params[name] for name in names] for trial in asked])

    return from_history(space, propose)


def nevergrad_default(space: Box, *, budget: int) -> Searcher:
    """Nevergrad's default for real vectors, NGOpt, which chooses by dimension and budget.

    It asks for one point at a time (`one_at_a_time`). The optimiser of the last `ask` is kept and
    told what is new. That gives the same points as running it again, in a time that grows with the
    budget instead of its square.

    Args:
        space: a box.
        budget: how many trials there will be.
    """
    spaces.check(space, Box)
    library = require("nevergrad")
    kept: dict[int, _Kept] = {}  # the last, by its seed: a cache that changes no result

    def wanted(history: History, costs: list[float]) -> Float[np.ndarray, " dim"]:
        run = kept.pop(history.seed, None)
        if run is None or costs[: len(run.costs)] != run.costs:
            parameter = library.p.Array(shape=(space.dim,)).set_bounds(space.low, space.high)
            parameter.random_state.seed(trial_seed(history.seed, 0))
            optimizer = library.optimizers.NGOpt(parameter, budget=budget, num_workers=1)
            run = _Kept(optimizer, optimizer.ask(), [])
        for cost in costs[len(run.costs) :]:
            run.optimizer.tell(run.candidate, cost)
            run = _Kept(run.optimizer, run.optimizer.ask(), [*run.costs, cost])
        kept.clear()
        kept[history.seed] = run
        return np.asarray(run.candidate.value)

    return one_at_a_time(space, wanted)


class _Kept(NamedTuple):
    """An optimiser that was told these costs and then asked for one candidate."""

    optimizer: Any
    candidate: Any
    costs: list[float]


Scipy = Literal["differential_evolution", "dual_annealing"]


class _Wanted(Exception):
    """Raised in place of the first value that is not known."""


class Chain(NamedTuple):
    """A search, and which of its trials the method asked for (the others filled a batch)."""

    history: History
    chain: tuple[int, ...]


def scipy(space: Box, method: Scipy) -> Searcher:
    """SciPy's differential evolution or dual annealing, at their defaults.

    They ask for one point at a time (`one_at_a_time`). A method that ends starts again with another
    seed.

    Args:
        space: a box.
        method: its name in `scipy.optimize`.

    Raises:
        ValueError: an unknown method, or a space that is no box.
    """
    spaces.check(space, Box)
    if method not in ("differential_evolution", "dual_annealing"):
        raise ValueError(
            f"method: expected differential_evolution or dual_annealing, got {method!r}"
        )

    return one_at_a_time(space, functools.partial(_wanted, space, method))


def one_at_a_time(space: Box, wanted: Callable[[History, list[float]], Any]) -> Searcher:
    """A method whose next point follows from the costs of all its points before.

    The rest of a batch, and what is asked for while that point is open, is uniform. A point that
    failed costs as much as the worst of the method's points before it, or 0 as the first.

    Args:
        space: a box.
        wanted: `(history, costs of the method's points) -> its next point [dim]`.
    """

    def ask(state: Chain, n: int) -> tuple[Chain, list[Trial]]:
        check_count(n)
        history, chain = state
        points = space.sample(generator(history.seed, history.asked), n)
        if not chain or history.told[chain[-1]]:
            points[0] = wanted(history, costs_of(history.values[list(chain)]))
            chain = (*chain, history.asked)
        history, trials = extend(history, points)
        return Chain(history, chain), trials

    def tell(state: Chain, outcomes: Sequence[Outcome]) -> Chain:
        return state._replace(history=record(state.history, outcomes))

    return Searcher(lambda seed: Chain(begin(seed, space.dim), ()), ask, tell)


def _wanted(
    space: Box, method: Scipy, history: History, costs: list[float]
) -> Float[np.ndarray, " dim"]:
    """The point that the method asks for after points of these costs."""
    from scipy import optimize

    used, found = 0, np.zeros(space.dim)

    def cost(x: Any) -> float:
        nonlocal used, found
        if used == len(costs):
            found = np.clip(np.asarray(x, np.float64), space.low, space.high)
            raise _Wanted
        used += 1
        return float(costs[used - 1])

    bounds = list(zip(space.low, space.high, strict=True))
    restart = 0
    while True:
        rng = generator(history.seed, restart, 3)
        restart += 1
        try:
            getattr(optimize, method)(cost, bounds, rng=rng)
        except _Wanted:
            return found


def costs_of(values: Float[np.ndarray, " n"]) -> list[float]:
    """Costs of rewards; a failed one has the worst before it, whatever comes later, or 0."""
    costs, worst = list[float](), -np.inf
    for value in values.tolist():
        if np.isfinite(value):
            worst = max(worst, -value)
            costs.append(-value)
        else:
            costs.append(worst if worst > -np.inf else 0.0)
    return costs


def _design(
    space: Box, history: History, num_init: int, n: int, rng: np.random.Generator
) -> Points:
    design = turbo.latin_hypercube(num_init, space.dim, generator(history.seed, 0, 1))
    units = np.concatenate([design[history.asked : history.asked + n], rng.random((n, space.dim))])
    return space.from_unit(units[:n])


def from_history(space: Space, propose: Callable[[History, int], Points]) -> Searcher:
    """A searcher whose state is its history alone."""

    def ask(history: History, n: int) -> tuple[History, list[Trial]]:
        check_count(n)
        return extend(history, propose(history, n))

    dtype = np.int64 if isinstance(space, Choices) else np.float64
    return Searcher(lambda seed: begin(seed, space.dim, dtype), ask, record)
