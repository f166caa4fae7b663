"""Searches of a table of all points, over many seeds: how many samples until the best is found.

    rows = sample_rows("cifar10-alphax", found(workdir, best))

What counts as a sample and as found, `search.progress` says; a seed that does not find the best
within the budget counts as the budget, and `found_fraction` tells of it.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from experiments.report.interval import mean_interval, median_interval
from experiments.report.rows import Row
from experiments.runner.search_journal import recorded
from experiments.runner.workdir import RESULTS, read_results
from search import progress
from search.progress import Found


@functools.cache
def found(workdir: Path, best: float) -> tuple[Found, ...]:
    """What each seed of a finished run has found, whose steps are the budget.

    Args:
      workdir: the run's; its points are vectors of whole numbers.
      best: the largest reward there is.
    """
    budget = read_results(workdir / RESULTS)["steps"]
    return tuple(
        progress.until_best(
            np.array([each.points[i] for i in each.told]), each.values, best, budget
        )
        for each in recorded(workdir)
    )


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
