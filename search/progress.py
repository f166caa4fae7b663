"""How far searches have come: samples until the best, regret, evaluations to a threshold.

A sample is a distinct point that a search asked for: one that it asks for again costs nothing, as
in the thesis (unique valid samples). The best is every point whose reward is the largest there is:
a tie counts as found.

Source: Wang 2022, sections 3.3 and 4.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped


class Found(NamedTuple):
    """A search of a table of all points.

    Attributes:
        samples: distinct points until the best, or the budget.
        found: whether it was found.
        best: float64 `[samples]`, the best reward after each distinct point.
    """

    samples: int
    found: bool
    best: Float[np.ndarray, " samples"]


def until_best(
    points: Shaped[np.ndarray, "trial dim"],
    values: Float[np.ndarray, " trial"],
    best: float,
    budget: int,
) -> Found:
    """What a search has found, from its trials.

    Args:
        points: of the trials, in the order in which the searcher was told of them.
        values: their rewards; nan where one failed.
        best: the largest reward there is.
        budget: what a search that has not found it counts, a lower bound.
    """
    _, first = np.unique(points, axis=0, return_index=True)
    curve = np.fmax.accumulate(values[np.sort(first)])
    hit = np.flatnonzero(curve >= best)
    if not len(hit):
        return Found(budget, False, curve)
    return Found(int(hit[0]) + 1, True, curve[: hit[0] + 1])


def regrets(each: Sequence[Found], best: float, budget: int) -> Float[np.ndarray, "seed budget"]:
    """How far below the best searches are after each sample; 0 from where they have found it.

    Args:
        each: one a seed.
        best: the largest reward there is.
        budget: samples, at least as many as any search has.
    """
    curves = [np.pad(one.best, (0, budget - len(one.best)), mode="edge") for one in each]
    return best - np.array(curves)


def first_at(
    curves: Float[np.ndarray, "seed evaluation"], threshold: float, never: int
) -> Int[np.ndarray, " seed"]:
    """After how many evaluations, from 1, each curve first reaches a threshold.

    Args:
        curves: rewards or accuracies, higher is better.
        threshold: to be reached or passed.
        never: what counts for a curve that does not.
    """
    reached = curves >= threshold
    return np.where(reached.any(axis=1), np.argmax(reached, axis=1) + 1, never)
