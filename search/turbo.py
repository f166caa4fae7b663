"""TuRBO-1: Bayesian optimisation in one trust region that grows and shrinks with success.

The functions serve `searcher`, which starts again whenever the region has collapsed, and LA-MCTS,
which starts it again in the part of the space that its tree selects. Points are in the unit cube,
rewards are maximised.

Source: Wang 2022, section 5.2; Eriksson et al., "Scalable global optimization via local Bayesian
optimization", 2019, for the constants, which are the defaults here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from search import gp, spaces
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
    settled,
)
from search.spaces import Box

Inside = Callable[[Any], Bool[np.ndarray, " n"]]


class Settings(NamedTuple):
    """Constants of TuRBO-1; `FAST` is a cheaper set.

    Attributes:
        length_init: side of the trust region at a start, as a share of the cube's.
        length_min: below this side the region has collapsed.
        length_max: the largest side.
        success_tolerance: successes in a row that double the side.
        success_margin: a success improves on the best by more than this share of its size.
        failure_tolerance: failures in a row that halve the side; 0 means max(4, dim), by batch.
        fit_steps: Adam steps of each fit of the process.
        learning_rate: of them.
        warm_start: each fit begins with the hyperparameters of the one before.
        candidates: points looked at for each proposal; 0 means min(100 dim, 5000).
        perturbed: about how many coordinates of the centre a candidate changes.
        data: the process sees the best sample and its nearest neighbours, this many in all.
    """

    length_init: float = 0.8
    length_min: float = 2.0**-7
    length_max: float = 1.6
    success_tolerance: int = 3
    success_margin: float = 1e-3
    failure_tolerance: int = 0
    fit_steps: int = 50
    learning_rate: float = 0.1
    warm_start: bool = False
    candidates: int = 0
    perturbed: float = 20.0
    data: int = 1000


FAST = Settings(fit_steps=5, warm_start=True, candidates=500, data=200)


class TrustRegion(NamedTuple):
    """The state of one run of TuRBO-1.

    Attributes:
        length: side of the region.
        successes: in a row.
        failures: in a row.
        best: highest reward of this run.
        hyper: of the last fit.
    """

    length: float
    successes: int
    failures: int
    best: float
    hyper: gp.Hyper


def start(settings: Settings, dim: int) -> TrustRegion:
    """The state of a run that has no value yet."""
    return TrustRegion(settings.length_init, 0, 0, -math.inf, gp.initial(dim))


def advance(
    region: TrustRegion, settings: Settings, values: Sequence[float], dim: int
) -> TrustRegion:
    """Takes the rewards of a batch that was proposed together; failed trials are left out."""
    if len(values) == 0:
        return region
    best = max(values)
    tolerance = settings.failure_tolerance or math.ceil(max(4.0, dim) / len(values))
    if not math.isfinite(region.best) or best > region.best + settings.success_margin * abs(
        region.best
    ):
        successes, failures = region.successes + 1, 0
    else:
        successes, failures = 0, region.failures + 1
    length = region.length
    if successes >= settings.success_tolerance:
        length, successes = min(2.0 * length, settings.length_max), 0
    elif failures >= tolerance:
        length, failures = length / 2.0, 0
    return region._replace(
        length=length, successes=successes, failures=failures, best=max(best, region.best)
    )


def propose(
    region: TrustRegion,
    settings: Settings,
    points: Float[np.ndarray, "n dim"],
    values: Float[np.ndarray, " n"],
    count: int,
    rng: np.random.Generator,
    inside: Inside | None = None,
) -> tuple[TrustRegion, Float[np.ndarray, "count dim"]]:
    """Thompson sampling: each point is the best candidate of one draw of the posterior.

    Args:
        region: of the run.
        settings: of TuRBO-1.
        points: data, in the unit cube; the best of them is the centre.
        values: their rewards.
        count: how many points.
        rng: the random numbers.
        inside: which candidates are allowed; the centre is expected to be.

    Returns:
        The run with the hyperparameters that were fitted, and the points.
    """
    centre = points[int(np.argmax(values))]
    if len(points) > settings.data:
        near = np.argsort(((points - centre) ** 2).sum(1), kind="stable")[: settings.data]
        points, values = points[near], values[near]
    hyper = region.hyper if settings.warm_start else None
    posterior = gp.fit(
        points, values, steps=settings.fit_steps, learning_rate=settings.learning_rate, start=hyper
    )
    scales = posterior.hyper.length_scales
    sides = region.length * scales / np.exp(np.log(scales).mean())
    low = np.clip(centre - sides / 2.0, 0.0, 1.0)
    high = np.clip(centre + sides / 2.0, 0.0, 1.0)
    size = settings.candidates or min(100 * len(centre), 5000)
    found = candidates(centre, low, high, size, rng, settings.perturbed, inside)
    draws = gp.sample(posterior, found, rng.standard_normal((count, len(found))))
    chosen: list[int] = []
    for draw in draws:
        draw[chosen] = -np.inf
        chosen.append(int(np.argmax(draw)) if len(chosen) < len(found) else chosen[-1])
    return region._replace(hyper=posterior.hyper), found[chosen]


def candidates(
    centre: Float[np.ndarray, " dim"],
    low: Float[np.ndarray, " dim"],
    high: Float[np.ndarray, " dim"],
    size: int,
    rng: np.random.Generator,
    perturbed: float,
    inside: Inside | None,
) -> Float[np.ndarray, "some dim"]:
    """Points of a box that share most coordinates with its centre, all of them allowed.

    Where too few Sobol points are, the box shrinks towards the centre; fewer than `size` may come
    back, at least one.
    """
    from scipy.stats import qmc

    dim, kept = len(centre), np.zeros((0, len(centre)))
    share = min(perturbed / dim, 1.0)
    for _ in range(8):
        design = qmc.Sobol(dim, rng=rng).random(1 << (size - 1).bit_length())[:size]
        mask = rng.random((size, dim)) <= share
        unchanged = np.flatnonzero(~mask.any(1))
        mask[unchanged, rng.integers(dim, size=len(unchanged))] = True
        points = np.where(mask, low + design * (high - low), centre)
        good = np.ones(size, bool) if inside is None else inside(points)
        kept = np.concatenate([kept, points[good]])[:size]
        if len(kept) == size:
            return kept
        if good.mean() < 0.1:
            low, high = (low + centre) / 2.0, (high + centre) / 2.0
    return kept if len(kept) else np.clip(centre[None] + 1e-6 * rng.standard_normal(dim), 0.0, 1.0)


class State(NamedTuple):
    """A search: its trials, the trust region, and the trial with which its run began."""

    history: History
    region: TrustRegion
    first: int


def searcher(space: Box, *, num_init: int = 30, settings: Settings | None = None) -> Searcher:
    """TuRBO-1 alone: after a collapse it starts afresh from a new design, all else forgotten.

    Args:
        space: what to search.
        num_init: trials of the Latin hypercube of each start.
        settings: of TuRBO-1; the published constants by default.

    Raises:
        ValueError: fewer than two trials to start with, or a space that is no box.
    """
    spaces.check(space, Box)
    constants = settings or Settings()
    if num_init < 2:
        raise ValueError(f"num_init: expected at least 2, got {num_init}")

    def init(seed: int) -> State:
        return State(begin(seed, space.dim), start(constants, space.dim), 0)

    def ask(state: State, n: int) -> tuple[State, list[Trial]]:
        check_count(n)
        history = state.history
        if state.region.length < constants.length_min:
            state = State(history, start(constants, space.dim), history.asked)
        ours = history.good[history.good >= state.first]
        left = num_init - (history.asked - state.first)
        rng = generator(history.seed, history.asked)
        if left > 0 or len(ours) < 2:
            design = latin_hypercube(num_init, space.dim, generator(history.seed, state.first, 1))
            done = num_init - left
            units = np.concatenate([design[done : done + n], rng.random((n, space.dim))])[:n]
            region = state.region
        else:
            region, units = propose(
                state.region, constants, space.to_unit(history.points[ours]),
                history.values[ours], n, rng,
            )  # fmt: skip
        history, trials = extend(history, space.from_unit(units))
        return State(history, region, state.first), trials

    def tell(state: State, outcomes: Sequence[Outcome]) -> State:
        history = record(state.history, outcomes)
        region = heed(state.region, constants, outcomes, state.first, num_init, space.dim)
        return State(history, region, state.first)

    return Searcher(init, ask, tell)


def heed(
    region: TrustRegion,
    settings: Settings,
    outcomes: Sequence[Outcome],
    first: int,
    num_init: int,
    dim: int,
) -> TrustRegion:
    """Takes outcomes of a run that began with trial `first`: its design's set only the best."""
    good = [each for each in map(settled, outcomes) if each.status == "ok" and each.id >= first]
    design = [each.value for each in good if each.id < first + num_init]
    if design:
        region = region._replace(best=max(region.best, *design))
    return advance(region, settings, [e.value for e in good if e.id >= first + num_init], dim)


def latin_hypercube(n: int, dim: int, rng: np.random.Generator) -> Float[np.ndarray, "n dim"]:
    """A design of the unit cube with one point in each of n slices of every axis."""
    from scipy.stats import qmc

    return qmc.LatinHypercube(dim, rng=rng).random(n)
