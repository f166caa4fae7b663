"""Test sets that a seed defines: those that papers on learned solvers of TSP and knapsack report.

The rule is `numpy.random.seed(1234)`, then one `uniform(size=(10000, n, 2))`: the legacy generator,
whose stream NumPy keeps for ever. The TSP sets are those of Kool et al., "Attention, learn to solve
routing problems!", 2019; the knapsack sets follow the same rule, with the capacities of Pham 2021,
ch. 2.
"""

from typing import Any

import numpy as np

TEST_SEED = 1234
TEST_SIZE = 10_000

# Means over all 10,000 instances. Tours are the best of LKH-3 in 5 runs (20 cities), 3 (50) and 1
# (100): optimal for 20, and more runs on 200 of the others shortened the mean by less than 0.0003.
# Knapsack values are exact, by branch and bound.
MEAN_OPTIMAL_TOUR = {20: 3.8357, 50: 5.6961, 100: 7.7649}
MEAN_OPTIMAL_VALUE = {50: 20.1264, 100: 40.4522, 200: 57.5978}
CAPACITY = {50: 12.5, 100: 25.0, 200: 25.0}


def load_tsp(*, cities: int, count: int = TEST_SIZE, seed: int = TEST_SEED) -> dict[str, Any]:
    """Random cities in the unit square; the defaults give the public test set.

    Args:
      cities: n.
      count: the first `count` instances; any number, as the stream goes on.
      seed: another seed gives another set by the same rule.

    Returns:
      coords: float32 [count, n, 2] in [0, 1); mean_optimum: mean length of an optimal tour over the
      whole public test set, or None for any other.
    """
    coords = _uniform(seed, count, cities)
    known = seed == TEST_SEED and count == TEST_SIZE
    return {"coords": coords, "mean_optimum": MEAN_OPTIMAL_TOUR.get(cities) if known else None}


def load_knapsack(*, items: int, count: int = TEST_SIZE, seed: int = TEST_SEED) -> dict[str, Any]:
    """Random items; the defaults give the test set.

    Args: as `load_tsp`; `items` is one of 50, 100, 200.

    Returns:
      weights, values: float32 [count, n] in [0, 1); capacity: 12.5, 25 or 25; mean_optimum: mean
      value of an optimal choice over the whole test set, or None for any other.
    """
    drawn = _uniform(seed, count, items)
    known = seed == TEST_SEED and count == TEST_SIZE
    return {
        "weights": drawn[..., 0],
        "values": drawn[..., 1],
        "capacity": CAPACITY[items],
        "mean_optimum": MEAN_OPTIMAL_VALUE.get(items) if known else None,
    }


def _uniform(seed: int, count: int, size: int) -> np.ndarray:
    # The first `count` of a longer draw are the draw of `count`: the stream is filled in order.
    return np.random.RandomState(seed).uniform(size=(count, size, 2)).astype(np.float32)
