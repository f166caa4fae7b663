"""What searches are tried on: NAS-Bench-201 as a space, and four test functions.

The functions are costs with minimum 0; searchers maximise, so `negated` makes them objectives.
Their minimum is the origin or near it, where some methods begin; `moved` puts it elsewhere.

Source: Wang 2022, section 5.3, for the boxes; the functions' standard definitions.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, Real

from search import spaces
from search.interface import generator
from search.spaces import Box, Choices

Cost = Callable[[Any], float]  # of a vector [dim], to be minimised


def ackley(x: Real[np.ndarray, " dim"]) -> float:
    """Ackley's function with a = 20, b = 0.2, c = 2 pi; 0 at the origin."""
    x = np.asarray(x, np.float64)
    near = -20.0 * np.exp(-0.2 * np.sqrt(np.mean(x**2)))
    return float(near - np.exp(np.mean(np.cos(2.0 * np.pi * x))) + 20.0 + np.e)


def rosenbrock(x: Real[np.ndarray, " dim"]) -> float:
    """Rosenbrock's function; 0 where all coordinates are 1."""
    x = np.asarray(x, np.float64)
    return float(np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2))


def levy(x: Real[np.ndarray, " dim"]) -> float:
    """Levy's function; 0 where all coordinates are 1."""
    w = 1.0 + (np.asarray(x, np.float64) - 1.0) / 4.0
    ends = np.sin(np.pi * w[0]) ** 2 + (w[-1] - 1.0) ** 2 * (1.0 + np.sin(2 * np.pi * w[-1]) ** 2)
    inner = (w[:-1] - 1.0) ** 2 * (1.0 + 10.0 * np.sin(np.pi * w[:-1] + 1.0) ** 2)
    return float(ends + inner.sum())


def rastrigin(x: Real[np.ndarray, " dim"]) -> float:
    """Rastrigin's function; 0 at the origin."""
    x = np.asarray(x, np.float64)
    return float(10.0 * len(x) + np.sum(x**2 - 10.0 * np.cos(2.0 * np.pi * x)))


class Function(NamedTuple):
    """A test function.

    Attributes:
        cost: of a point.
        low: of each coordinate in its box.
        high: likewise.
        minimum: each coordinate of the best point, whose cost is 0.
    """

    cost: Cost
    low: float
    high: float
    minimum: float

    def box(self, dim: int) -> Box:
        """Its box in so many dimensions."""
        return spaces.box(self.low, self.high, dim)


FUNCTIONS = MappingProxyType(
    {
        "ackley": Function(ackley, -5.0, 10.0, 0.0),
        "rosenbrock": Function(rosenbrock, -10.0, 10.0, 1.0),
        "levy": Function(levy, -10.0, 10.0, 1.0),
        "rastrigin": Function(rastrigin, -5.12, 5.12, 0.0),
    }
)


def negated(cost: Cost, point: Real[np.ndarray, " dim"], seed: int) -> float:
    """The objective of a cost: `functools.partial(negated, ackley)`, which pickles."""
    return -cost(point)


def objective(name: str) -> functools.partial[float]:
    """The objective of a test function.

    Raises:
        ValueError: an unknown name.
    """
    return functools.partial(negated, _function(name).cost)


def moved(name: str, dim: int, seed: int) -> functools.partial[float]:
    """The objective of a test function whose minimum is at a random point of its box.

    Each coordinate of that point is uniform in the middle four fifths of its interval. The box
    stays, so that it has other parts of the function in it.

    Args:
        name: of the function.
        dim: its dimensions.
        seed: draws the point.

    Raises:
        ValueError: an unknown name.
    """
    function = _function(name)
    low, high = function.low, function.high
    place = generator(seed, 0, 7).uniform(0.9 * low + 0.1 * high, 0.1 * low + 0.9 * high, dim)
    return functools.partial(
        negated, functools.partial(_apart, function.cost, place - function.minimum)
    )


class Problem(NamedTuple):
    """A test function, its dimensions, and whether each seed has its minimum elsewhere."""

    name: str
    dim: int
    moved: bool

    @property
    def box(self) -> Box:
        """What is searched."""
        return FUNCTIONS[self.name].box(self.dim)

    def objective(self, seed: int) -> functools.partial[float]:
        """The reward, to be maximised; the seed matters where the minimum is moved."""
        return moved(self.name, self.dim, seed) if self.moved else objective(self.name)


def problem(function: str) -> Problem:
    """The problem of a function's name with its dimension, and "_moved" where it is.

    Raises:
        ValueError: an unknown function, or a dimension below 2.

    >>> problem("ackley20_moved")
    Problem(name='ackley', dim=20, moved=True)
    """
    match = re.fullmatch(r"([a-z]+)(\d+)(_moved)?", function)
    if match is None or match[1] not in FUNCTIONS or int(match[2]) < 2:
        known = ", ".join(FUNCTIONS)
        raise ValueError(f"function: expected one of {known} and a dimension, got {function!r}")
    return Problem(match[1], int(match[2]), match[3] is not None)


def _apart(cost: Cost, offset: Float[np.ndarray, " dim"], point: Real[np.ndarray, " dim"]) -> float:
    return cost(np.asarray(point, np.float64) - offset)


def _function(name: str) -> Function:
    if name not in FUNCTIONS:
        raise ValueError(f"name: expected one of {', '.join(FUNCTIONS)}, got {name!r}")
    return FUNCTIONS[name]


def nasbench201() -> Choices:
    """The space of NAS-Bench-201: one of five operations on each of a cell's six edges."""
    return spaces.choices([5] * 6)


def nasbench101() -> Choices:
    """LaNAS's encoding of NASBench-101: 21 edges that are there or not, 5 operations of three.

    The thesis reports, at 40,000 samples, a regret of 0.011 % for LaNAS and of 0.137 % for the
    second best, and that random search needs 700 times as many samples. This was not measured here,
    as no package has the table of accuracies. AlphaX's actions and encoding are
    `design_spaces.nasbench101`.
    """
    return spaces.choices([2] * 21 + [3] * 5)


def convnet60k() -> Choices:
    """ConvNet-60K: ten 3x3 convolutions of 32, 64 or 96 filters each, 59,049 networks.

    The thesis also says "depth 1 to 10", which would give 88,572; the depth is fixed here. It
    reports that LaNAS needs 22 times fewer samples than random search. This was not measured here,
    as the accuracies were never published.
    """
    return spaces.choices([3] * 10)


def supernet() -> Choices:
    """LaNAS's two cells for a supernet: 15 whole numbers each, 3.5e21 pairs (section 4.2).

    Of five nodes, node i takes two of the inputs before it, in one of 3, 6, 10, 15 and 21 ways, and
    each of the ten inputs has one of four operations.
    """
    return spaces.choices(([3, 6, 10, 15, 21] + [4] * 10) * 2)


def look_up(
    space: Choices,
    values: Float[np.ndarray, " size"],
    point: Int[np.ndarray, " dim"],
    seed: int,
) -> float:
    """The objective of a table of all points: `functools.partial(look_up, space, values)`."""
    return float(values[space.rows(point[None])[0]])
