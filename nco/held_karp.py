"""The optimal tour of a few cities, whatever the weights: dynamic programming, nothing rounded.

Source: M. Held and R. M. Karp, "A dynamic programming approach to sequencing problems", 1962.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from nco.whole import whole


def tour(weights: Float[np.ndarray, "city city"]) -> list[int]:
    """A tour from city 0 whose exact sum of weights is least.

    It takes time and memory of 2^cities: milliseconds for 12 cities, ten times as long where the
    weights are not in the proportion of whole numbers below 2^57.

    Args:
        weights: finite, at least 0, and 0 from a city to itself; may be asymmetric.

    >>> import numpy as np
    >>> tour(np.array([[0.0, 1, 9, 1], [1, 0, 1, 9], [9, 1, 0, 1], [1, 9, 1, 0]]))
    [0, 3, 2, 1]
    """
    counted, _ = whole(weights)
    if counted.max() >= 2**57:  # or sums would overflow
        counted = counted.astype(object)
    rest = len(weights) - 1
    step, sets = counted[1:, 1:], np.arange(1 << rest)
    has = (sets[:, None] >> np.arange(rest)) & 1 == 1
    sizes = has.sum(axis=1)
    # Of the ways from city 0 through all of a set, the least sum that ends with each city.
    beyond = counted.max() * (rest + 2) + 1
    cost = np.full((1 << rest, rest), beyond, counted.dtype)
    cost[1 << np.arange(rest), np.arange(rest)] = counted[0, 1:]
    for size in range(2, rest + 1):
        for last in range(rest):
            these = sets[has[:, last] & (sizes == size)]
            cost[these, last] = (cost[these ^ (1 << last)] + step[:, last]).min(axis=1)
    left, found, back = len(sets) - 1, [0], counted[1:, 0]
    while left:
        city = int(np.argmin(cost[left] + back))
        found.insert(1, city + 1)
        left, back = left ^ 1 << city, step[:, city]
    return found
