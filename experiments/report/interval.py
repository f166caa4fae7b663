"""Numbers with their 95% intervals: of a mean, a median, and a rate of success."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool


class Interval(NamedTuple):
    """A mean with its confidence interval; low = high = value where n is 1."""

    value: float
    low: float
    high: float
    n: int


def mean_interval(values: Sequence[float] | np.ndarray, level: float = 0.95) -> Interval:
    """The mean of independent values and its interval by Student's t.

    Args:
      values: one a seed or one an instance, any shape, at least one; finite.
      level: the probability that the interval holds the true mean, if the values are normal.

    Raises:
      ValueError: no values, a value that is not finite, or `level` outside (0, 1).

    >>> mean_interval([1.0, 2.0, 3.0])
    Interval(value=2.0, low=-0.48..., high=4.48..., n=3)
    """
    flat = np.asarray(values, np.float64).reshape(-1)
    if flat.size == 0 or not np.isfinite(flat).all():
        raise ValueError(f"values: expected finite numbers, at least one; got {values}")
    if not 0 < level < 1:
        raise ValueError(f"level: expected a probability between 0 and 1; got {level}")
    mean = float(flat.mean())
    if flat.size == 1:
        return Interval(mean, mean, mean, 1)
    from scipy.stats import t

    error = float(flat.std(ddof=1)) / math.sqrt(flat.size)
    half = float(t.ppf((1 + level) / 2, flat.size - 1)) * error
    return Interval(mean, mean - half, mean + half, flat.size)


def median_interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """The median of independent values, and its interval between two of them (binomial, exact).

    With fewer than 6 values there is none at 95 %, and the least and the largest are given.

    >>> median_interval([1, 2, 3, 4, 5, 6, 7, 8, 9])
    Interval(value=5.0, low=2.0, high=8.0, n=9)
    """
    ordered, n = sorted(float(value) for value in values), len(values)
    below = [math.comb(n, k) / 2**n for k in range(n + 1)]  # P(k values lie below the median)
    tail, place = below[0], 0
    while place + 1 < n // 2 and tail + below[place + 1] <= (1 - level) / 2:
        place += 1
        tail += below[place]
    return Interval(float(np.median(ordered)), ordered[place], ordered[n - 1 - place], n)


def rate_interval(successes: Bool[np.ndarray, " runs"]) -> Interval:
    """A success rate and its exact 95% interval (Clopper and Pearson)."""
    count, n = int(np.sum(successes)), len(successes)
    from scipy.stats import binomtest

    low, high = binomtest(count, n).proportion_ci(0.95, method="exact")
    return Interval(count / n, float(low), float(high), n)
