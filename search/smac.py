"""SMAC: a random forest of all trials, and the largest expected improvement by local search.

    searcher = smac.searcher(space, budget=300)

SMAC keeps its state in objects and a folder. Here it is built again from the history whenever its
forest is fitted, after every eighth trial as in SMAC itself, so that the state of a search is its
trials and the points that the last fit has proposed. A fit takes about two seconds.

Needs SMAC: `pip install smac`.

Source: Hutter et al., "Sequential model-based optimization for general algorithm configuration",
2011; Wang 2022 names it in section 2.1.
"""

from __future__ import annotations

import contextlib
import functools
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Shaped

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
from search.spaces import Box, Choices, Space, check

RETRAIN_AFTER = 8  # SMAC's default

Points = Shaped[np.ndarray, "n dim"]


class Queue(NamedTuple):
    """A search, and what SMAC has proposed and no `ask` has taken yet."""

    history: History
    queued: Points


def searcher(space: Space, *, budget: int, retrain_after: int = RETRAIN_AFTER) -> Searcher:
    """SMAC's facade for hyperparameters, at its defaults.

    The first points are its Sobol design, of 10 a dimension and at most a quarter of the budget. Of
    what a fit proposes, a fifth is random, as is SMAC's default. A trial that failed costs as much
    as the worst so far; an open one is not proposed again. When all choices are used up, they
    come again at random.

    Args:
        space: a box, or choices, which it treats as categories.
        budget: how many trials there will be.
        retrain_after: trials from one fit to the next.

    Raises:
        ImportError: SMAC is absent; says what to install.
        ValueError: a budget below 4, no trial between fits, or no space.
    """
    check(space, Box, Choices)
    require("smac")
    if budget < 4 or retrain_after < 1:
        raise ValueError(
            f"budget, retrain_after: expected at least 4 and 1, got {budget}, {retrain_after}"
        )
    dtype = np.int64 if isinstance(space, Choices) else np.float64
    propose = functools.partial(_propose, space, budget, retrain_after)

    def init(seed: int) -> Queue:
        return Queue(begin(seed, space.dim, dtype), np.zeros((0, space.dim), dtype))

    def ask(state: Queue, n: int) -> tuple[Queue, list[Trial]]:
        check_count(n)
        history, queued = state
        trials: list[Trial] = []
        while len(trials) < n:
            if len(queued) == 0:
                queued = propose(history)
            taken = min(n - len(trials), len(queued))
            history, more = extend(history, queued[:taken])
            trials, queued = trials + more, queued[taken:]
        return Queue(history, queued), trials

    def tell(state: Queue, outcomes: Sequence[Outcome]) -> Queue:
        return state._replace(history=record(state.history, outcomes))

    return Searcher(init, ask, tell)


def _propose(space: Space, budget: int, count: int, history: History) -> Points:
    """The design at first, then so many points of a forest that knows this history."""
    from smac.main.exceptions import ConfigurationSpaceExhaustedException

    new = count  # of all points asked for, some open and none told, SMAC would look for ever
    if isinstance(space, Choices):
        new = min(count, space.size - len(np.unique(history.points, axis=0)))
    if new == 0:
        return space.sample(generator(history.seed, history.asked), count)
    with _scenario(space, budget, trial_seed(history.seed, history.asked)) as scenario:
        if history.asked == 0:
            return _points(space, _facade().get_initial_design(scenario).select_configurations())
        optimizer, found = _told(space, scenario, history, count), list[Any]()
        # One more choice, and there may be none left to propose.
        with contextlib.suppress(ConfigurationSpaceExhaustedException):
            while len(found) < new:
                found.append(optimizer.ask().config)
    if not found:
        return space.sample(generator(history.seed, history.asked), count)
    return _points(space, found)


def _told(space: Space, scenario: Any, history: History, count: int) -> Any:
    """SMAC after these trials, which it did not ask for."""
    from ConfigSpace import Configuration
    from smac.runhistory import StatusType, TrialInfo, TrialValue

    facade = _facade()
    optimizer = facade(
        scenario, _never, overwrite=True, logging_level=False,
        initial_design=facade.get_initial_design(scenario, n_configs=0),
        config_selector=facade.get_config_selector(scenario, retrain_after=count),
    )  # fmt: skip
    worst = float(max(-history.values[history.good], default=0.0))
    points = history.points
    if not isinstance(space, Choices):
        points = np.clip(space.to_unit(points), 0.0, 1.0)
    for point, value, told in zip(points.tolist(), history.values, history.told, strict=True):
        values = {f"x{i}": each for i, each in enumerate(point)}
        info = TrialInfo(Configuration(scenario.configspace, values=values), seed=0)
        if not told:
            optimizer.runhistory.add_running_trial(info)
        elif np.isfinite(value):
            optimizer.tell(info, TrialValue(cost=float(-value)), save=False)
        else:
            failed = TrialValue(cost=worst, status=StatusType.CRASHED)
            optimizer.tell(info, failed, save=False)
    return optimizer


@contextlib.contextmanager
def _scenario(space: Space, budget: int, seed: int) -> Iterator[Any]:
    """A deterministic problem whose files are deleted, and whose forest uses one thread.

    SMAC asks for all cores, a thousand times a fit for a handful of points: threads only cost.
    """
    import joblib
    from ConfigSpace import Categorical, ConfigurationSpace, Float
    from smac import Scenario
    from smac.utils import logging

    logging.get_logger("smac").setLevel("ERROR")
    names = [f"x{i}" for i in range(space.dim)]
    configurations = ConfigurationSpace(seed=seed)
    if isinstance(space, Choices):
        sizes = (int(size) for size in space.sizes)
        pairs = zip(names, sizes, strict=True)
        configurations.add([Categorical(name, list(range(size))) for name, size in pairs])
    else:
        configurations.add([Float(name, (0.0, 1.0)) for name in names])
    with tempfile.TemporaryDirectory() as folder, joblib.parallel_config(backend="sequential"):
        yield Scenario(
            configurations, deterministic=True, n_trials=budget, seed=seed, output_directory=folder
        )


def _facade() -> Any:
    from smac import HyperparameterOptimizationFacade

    return HyperparameterOptimizationFacade


def _points(space: Space, configurations: Sequence[Any]) -> Points:
    rows = [[each[f"x{i}"] for i in range(space.dim)] for each in configurations]
    if isinstance(space, Choices):
        return np.array(rows, np.int64)
    return space.from_unit(np.array(rows, np.float64))


def _never(config: Any, seed: int = 0) -> float:
    """SMAC wants an objective, and `ask` and `tell` do not call it."""
    raise AssertionError("SMAC called its objective")
