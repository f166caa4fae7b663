"""Searches of a table of all points, over many seeds: how many samples until the best is found.

    rows = sample_rows("cifar10-alphax", found(workdir, best))

A sample is a distinct point that the search asked for: one that it asks for again costs nothing, as
in the thesis (unique valid samples). The best is every point whose reward is the table's largest: a
tie counts as found. A seed that does not find it within the budget counts as the budget, which is
then a lower bound: `found` says so, and so do the rows.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from experiments.report.interval import mean_interval, median_interval
from experiments.report.rows import Row
from experiments.runner.search_journal import Recorded, recorded
from experiments.runner.workdir import RESULTS, read_results


class Found(NamedTuple):
    """A search of a table.

    Attributes:
      samples: distinct points until the best, or the budget.
      found: whether it was found.
      best: float64 `[samples]`, the best reward after each distinct point.
    """

    samples: int
    found: bool
    best: Float[np.ndarray, " samples"]


@functools.cache
def found(workdir: Path, best: float) -> tuple[Found, ...]:
    """What each seed of a finished run has found, whose steps are the budget.

    Args:
      workdir: the run's; its points are vectors of whole numbers.
      best: the largest reward there is.
    """
    budget = read_results(workdir / RESULTS)["steps"]
    return tuple(_found(each, best, budget) for each in recorded(workdir))


def _found(search: Recorded, best: float, budget: int) -> Found:
    points = np.array([search.points[i] for i in search.told])
    _, first = np.unique(points, axis=0, return_index=True)
    curve = np.fmax.accumulate(search.values[np.sort(first)])
    hit = np.flatnonzero(curve >= best)
    if not len(hit):
        return Found(budget, False, curve)
    return Found(int(hit[0]) + 1, True, curve[: hit[0] + 1])


def sample_rows(name: str, found: Sequence[Found]) -> list[Row]:
    """Three rows of a method: median and mean of the samples, and the part of seeds that found it.

    Args:
      name: of the rows.
      found: one a seed.
    """
    samples = [each.samples for each in found]
    part = float(np.mean([each.found for each in found]))
    values = {
        "median_samples_to_best": median_interval(samples)._asdict(),
        "mean_samples_to_best": mean_interval(samples)._asdict(),
        "found_fraction": {"value": part, "low": part, "high": part, "n": len(found)},
    }
    return [
        {"name": name, "metric": metric, "unit": "seed", **value}
        for metric, value in values.items()
    ]
