"""Upper confidence bounds: how much a branch may be worth, given what was seen of it.

Wang 2022 prints three formulas that differ. The argument `form` says which is meant, and every
recorded result names it:

    "algorithm"  mean + 2 c sqrt(2 log n / n')      eq. 3.1, algorithm 4, and eq. 5's C_p
    "equation"   mean +   c sqrt(  log n / n')      eq. 4.3: the bonus is 2.83 times smaller
    "root"       mean + 2 c sqrt(2 sqrt(n) / n')    a power of n in place of its logarithm

where n counts the visits of the parent and n' those of the branch. Chapter 5 divides by n' a value
that it calls a mean; we read it as the sum.
"""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import numpy as np

Form = Literal["algorithm", "equation", "root"]


def upper_bound(
    mean: Any, parent: Any, visits: Any, *, c: float, form: Form = "algorithm", xp: Any = np
) -> Any:
    """The bound of each branch; infinite where it has no visit.

    Args:
        mean: of the rewards seen in the branch, any shape; ignored where `visits` is 0.
        parent: visits of the parent, n, at least 1 where any branch has a visit.
        visits: of the branch, n'.
        c: weight of the bonus, in the unit of the rewards.
        form: which formula.
        xp: `numpy` or `jax.numpy`.

    Raises:
        ValueError: an unknown form, or a negative c.
    """
    check(c, form)
    total = xp.maximum(xp.asarray(parent, mean.dtype), 1.0)
    count = xp.asarray(visits, mean.dtype)
    spread = xp.sqrt(total) if form == "root" else xp.log(total)
    factor = c if form == "equation" else 2.0 * math.sqrt(2.0) * c
    bonus = factor * xp.sqrt(spread / xp.maximum(count, 1.0))
    return xp.where(count > 0, mean + bonus, xp.inf)


def check(c: float, form: str) -> None:
    """Checks the settings of a bound.

    Raises:
        ValueError: an unknown form, or a c that is negative or not finite.
    """
    if form not in get_args(Form):
        raise ValueError(f"form: expected one of {', '.join(get_args(Form))}, got {form!r}")
    if not (math.isfinite(c) and c >= 0):
        raise ValueError(f"c: expected a finite number of at least 0, got {c}")
