"""Searches of a table of all points, over many seeds: how many samples until the best is found.

    rows = sample_rows("cifar10-alphax", found(workdir, best))

A sample is a distinct point that the search asked for: one that it asks for again costs nothing, as
in the thesis (unique valid samples). The best is every point whose reward is the table's largest: a
tie counts as found. A seed that does not find it within the budget counts as the budget, which is
then a lower bound: `found` says so, and so do the rows.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from experiments.report import rows as result_rows
from experiments.report.interval import mean_interval, median_interval
from experiments.report.rows import Row
from experiments.runner.search_journal import Recorded, recorded
from experiments.runner.workdir import RESULTS, read_results
from search.interface import Outcome, Searcher


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


def samples_to_best(
    searcher: Searcher,
    reward: Callable[[Any], float],
    best: float,
    *,
    seed: int,
    budget: int,
    batch_size: int = 1,
    idle: int = 20_000,
    trials: int | None = None,
) -> Found:
    """Searches until the best is found.

    Args:
      searcher: over the table's points, which are arrays.
      reward: a point's.
      best: the largest reward there is.
      seed: of the search.
      budget: distinct points at most.
      batch_size: trials asked for at once.
      idle: trials in a row that were all asked for before, after which a search counts as stuck.
      trials: at most, those asked for before among them; without limit if None.
    """
    state, seen, curve = searcher.init(seed), set[bytes](), list[float]()
    top, repeated, left = -math.inf, 0, math.inf if trials is None else trials
    while len(seen) < budget and repeated < idle and left > 0 and top < best:
        state, asked = searcher.ask(state, batch_size)
        left -= len(asked)
        values = [float(reward(trial.point)) for trial in asked]
        for trial, value in zip(asked, values, strict=True):
            key = np.asarray(trial.point).tobytes()
            repeated = repeated + 1 if key in seen else 0
            if repeated or top >= best or len(seen) == budget:
                continue
            seen.add(key)
            top = max(top, value)
            curve.append(top)
        outcomes = [
            Outcome(trial.id, value, "ok") for trial, value in zip(asked, values, strict=True)
        ]
        state = searcher.tell(state, outcomes)
    found = top >= best
    return Found(len(curve) if found else budget, found, np.array(curve))


def sample_rows(name: str, found: Sequence[Found], **known: Any) -> list[Row]:
    """Three rows of a method: median and mean of the samples, and the part of seeds that found it.

    Args:
      name: of the rows.
      found: one a seed.
      known: further fields of the rows.
    """
    if "command" in known:  # a command of its own, which no run completes
        seeds = list(range(len(found)))
        whole = {"seeds": seeds, "machine": result_rows.here(), "commit": result_rows.checkout()}
        known = whole | known
    samples = [each.samples for each in found]
    part = float(np.mean([each.found for each in found]))
    values = {
        "median_samples_to_best": median_interval(samples)._asdict(),
        "mean_samples_to_best": mean_interval(samples)._asdict(),
        "found_fraction": {"value": part, "low": part, "high": part, "n": len(found)},
    }
    return [
        {"name": name, "metric": metric, "unit": "seed", **value, **known}
        for metric, value in values.items()
    ]
