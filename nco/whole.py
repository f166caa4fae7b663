"""Floating-point numbers as whole numbers, without rounding, for solvers that must not round."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from jaxtyping import Float, Shaped


def whole(
    numbers: Float[np.ndarray, "*shape"],
) -> tuple[Shaped[np.ndarray, "*shape"], Fraction]:
    """Whole numbers in exact proportion to finite float64 ones, without a common divisor.

    Returns:
        The whole numbers, int64 where a sum of all of them fits with room to spare, else Python's
        integers as objects; and the factor: `numbers * factor` are the whole numbers.

    >>> import numpy as np
    >>> whole(np.array([0.5, 1.0, 2.5]))
    (array([1, 2, 5]), Fraction(2, 1))
    """
    ratios = [number.as_integer_ratio() for number in numbers.ravel().tolist()]
    common = max((below for _, below in ratios), default=1)  # each is a power of two
    found = [above * (common // below) for above, below in ratios]
    divisor = math.gcd(*found) or 1
    found = [number // divisor for number in found]
    kind = np.int64 if sum(map(abs, found)) < 2**61 else object
    return np.array(found, kind).reshape(numbers.shape), Fraction(common, divisor)
