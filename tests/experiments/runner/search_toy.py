"""Glue of a toy search: random points of a square, some of whose evaluations fail."""

from __future__ import annotations

import functools
import math
import time
from typing import Any

from experiments.runner import search_loop
from experiments.runner.experiment import Search
from search import evaluate, interface, spaces
from search.interface import Searcher

SQUARE = spaces.box(-1.0, 1.0, 2)


def build(config: Any) -> Search:
    work = Search(
        searcher=climber(),
        objective=functools.partial(objective, config.pause_s, config.broken),
        headline=("reward", "max"),
        evaluator=functools.partial(evaluate.pool, workers=2) if config.pool else None,
        batch_size=config.batch_size,
        asynchronous=config.asynchronous,
    )
    return work._replace(finish=lambda searched, _: search_loop.best_row("toy", work, searched))


def climber() -> Searcher:
    """Draws near the best point so far, so that what is told decides what is asked."""

    def ask(state: Any, n: int) -> Any:
        rng = interface.generator(state.seed, state.asked)
        points = SQUARE.sample(rng, n)
        if len(state.good):
            best = state.points[state.good[state.values[state.good].argmax()]]
            points = SQUARE.from_unit(SQUARE.to_unit(0.5 * (best + points)))
        return interface.extend(state, points)

    return Searcher(lambda seed: interface.begin(seed, 2), ask, interface.record)


def objective(pause_s: float, broken: bool, point: Any, seed: int) -> float:
    time.sleep(pause_s)
    if broken and seed % 3 == 0:
        raise ValueError("one of three")
    return math.nan if broken and seed % 3 == 1 else -float(point @ point)


def undefined(pause_s: float, broken: bool, point: Any, seed: int) -> float:
    """An objective with a slip of the pen."""
    return nowhere(point)  # type: ignore[name-defined]
