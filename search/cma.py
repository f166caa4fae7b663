"""CMA-ES through the library `cma`, as a pure function of a run's trials.

The thesis names scipy.optimize as its source (Wang 2022, section 5.3), which has no CMA-ES.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from search.partition import require

TRIES = 50  # of a generation, before points outside the region are let be


def population(dim: int) -> int:
    """Points of one generation."""
    return 4 + math.floor(3 * math.log(dim))


def propose(
    *,
    start: Float[np.ndarray, " dim"],
    sigma: float,
    points: Float[np.ndarray, "n dim"],
    values: Float[np.ndarray, " n"],
    told: Bool[np.ndarray, " n"],
    count: int,
    rng: np.random.Generator,
    inside: Callable[[Any], Bool[np.ndarray, " k"]] | None = None,
) -> Float[np.ndarray, "count dim"]:
    """The next points of a run. The run is repeated from its start at every call.

    Generation g is trials g * population to (g + 1) * population - 1. While a generation is not
    told in full, further points are drawn from the distribution of the last full one. A failed
    trial ranks last.

    Args:
        start: the first mean, in the unit cube.
        sigma: the first standard deviation.
        points: of the run's trials so far, in the unit cube.
        values: rewards, nan where open or failed.
        told: which have an outcome.
        count: how many points.
        rng: of the run: the same at each call.
        inside: which points are allowed; others are drawn again, up to a number of tries.

    Raises:
        ImportError: `cma` is absent; says what to install.
    """
    library = require("cma")
    size = population(len(start))
    strategy = library.CMAEvolutionStrategy(
        list(start), sigma,
        {
            "popsize": size, "bounds": [0.0, 1.0], "verbose": -9, "seed": math.nan,
            "randn": lambda *shape: rng.standard_normal(shape),
        },
    )  # fmt: skip
    first = 0
    while True:
        drawn = _draw(strategy, size, inside)
        last = first + size
        if last > len(points) or not told[first:last].all():
            break
        costs = np.where(np.isfinite(values[first:last]), -values[first:last], np.inf)
        worst = costs[np.isfinite(costs)].max(initial=0.0)
        strategy.tell(list(points[first:last]), list(np.where(np.isinf(costs), worst + 1, costs)))
        first = last
    offset = len(points) - first
    more = [drawn]
    while sum(map(len, more)) < offset + count:
        more.append(_draw(strategy, size, inside))
    return np.clip(np.concatenate(more)[offset : offset + count], 0.0, 1.0)


def _draw(strategy: Any, size: int, inside: Any) -> Float[np.ndarray, "size dim"]:
    drawn = np.array(strategy.ask(size))
    for _ in range(0 if inside is None else TRIES):
        bad = np.flatnonzero(~inside(drawn))
        if len(bad) == 0:
            break
        drawn[bad] = np.array(strategy.ask(len(bad)))
    return drawn
