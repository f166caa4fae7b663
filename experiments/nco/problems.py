"""The problems of chapter 2, each in one entry: what experiments, methods and tables need of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from nco import knapsack_solvers, solvers
from nco.problems import knapsack, tsp
from nco.problems.problem import Problem

PUBLIC = 10_000  # test instances that the field uses, of any size
VALIDATION_SEED = 20_001  # of instances that no table reports


class Kind(NamedTuple):
    """A problem as the experiments know it.

    Attributes:
        task: begins the names of its tasks, such as "tsp20".
        experiment: of the configs that train for it, and so of its models.
        size: the field of those configs that holds the number of items.
        metric: of a solution.
        mode: "min" or "max".
        problem: its functions, from the fields of a config.
        score: `(instances, actions, config) -> float64 [instances]`, exact.
    """

    task: str
    experiment: str
    size: str
    metric: str
    mode: str
    problem: Callable[[Mapping[str, Any]], Problem]
    score: Callable[[np.ndarray, np.ndarray, Mapping[str, Any]], np.ndarray]

    @property
    def sign(self) -> int:
        """1 where more is better, -1 where less is."""
        return 1 if self.mode == "max" else -1


def lengths(instances: np.ndarray, tours: np.ndarray) -> np.ndarray:
    """Lengths of closed tours in float64, `[instances]`, of instances `[instances, city, 2]`."""
    pairs = zip(instances, tours, strict=True)
    return np.array([solvers.tour_length(solvers.distances(c), tour) for c, tour in pairs])


def _worth(instances: np.ndarray, actions: np.ndarray, config: Mapping[str, Any]) -> np.ndarray:
    stop_at = config["capacity"] if config["stop_rule"] else None
    return knapsack_solvers.worth(instances, actions, stop_at)


PROBLEMS: Mapping[str, Kind] = {
    "tsp": Kind(
        *("tsp", "nco_tsp", "cities", "tour_length", "min"),
        problem=lambda config: tsp.problem,
        score=lambda instances, actions, config: lengths(instances, actions),
    ),
    "knapsack": Kind(
        *("knap", "nco_knapsack", "num_items", "value", "max"),
        problem=lambda config: knapsack.problem(config["capacity"], stop_rule=config["stop_rule"]),
        score=_worth,
    ),
}


def of_task(name: str) -> Kind:
    """The problem of a task, or of a cell whose name begins with one: "tsp20-greedy"."""
    return next(kind for kind in PROBLEMS.values() if name.startswith(kind.task))


def of_experiment(name: str | None) -> Kind:
    """The problem that a config of an experiment trains for.

    Raises:
        ValueError: it is for none.
    """
    for kind in PROBLEMS.values():
        if kind.experiment == name:
            return kind
    known = " or ".join(kind.experiment for kind in PROBLEMS.values())
    raise ValueError(f"expected a model of {known}, got {name}")


def public_instances(items: int, count: int) -> np.ndarray:
    """The first of the 10,000 test instances that the field uses, float32 `[count, items, 2]`.

    They are points of the unit square for the TSP, and (weight, value) for the knapsack.
    """
    uniform = np.random.RandomState(1234).uniform(size=(PUBLIC, items, 2))
    return uniform[:count].astype(np.float32)


def validation_instances(problem: Problem, items: int, count: int) -> np.ndarray:
    """Instances to choose settings on, float32 `[count, items, 2]`."""
    return np.asarray(problem.sample(jax.random.key(VALIDATION_SEED), count, items))


def gap_percent(kind: Kind, reached: np.ndarray, best: np.ndarray) -> np.ndarray:
    """How much worse than the optimum of the same instances, in percent of it."""
    count = min(len(best), len(reached))
    worse = kind.sign * (best[:count] - reached[:count])
    return 100 * worse / np.where(best[:count] > 0, best[:count], 1.0)  # 0 where both are
