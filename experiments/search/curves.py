"""What the searches of a run have found: the best reward after each evaluation, rows over seeds."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from experiments.report.interval import mean_interval
from experiments.report.rows import Row, TableError
from experiments.runner.search_journal import recorded


@functools.cache
def curves(workdir: Path) -> Float[np.ndarray, "seed evaluation"]:
    """The best reward so far of each seed of a finished run; a failed start has the first value.

    Raises:
      TableError: a seed of which every evaluation failed; the message is that of its first.
    """
    searches = recorded(workdir)
    for each in searches:
        if not np.isfinite(each.values).any():
            why = each.reports[each.told[0]].note
            raise TableError(f"{workdir}: every evaluation failed: {why}")
    return np.array([each.best for each in searches])


def at_marks(
    found: Float[np.ndarray, "seed evaluation"], marks: Iterable[int]
) -> dict[str, Float[np.ndarray, " seed"]]:
    """`best_value`, and `best_value_at_N` for the marks below the budget."""
    below = [mark for mark in marks if mark < found.shape[1]]
    return {f"best_value_at_{mark}": found[:, mark - 1] for mark in below} | {
        "best_value": found[:, -1]
    }


def over_seeds(
    name: str,
    values: Mapping[str, Sequence[float] | np.ndarray],
    references: Mapping[str, tuple[float, str]] | None = None,
) -> list[Row]:
    """A row for each metric: mean and interval over seeds.

    Args:
      name: of the rows.
      values: of each metric, one a seed.
      references: a reference value and its source, of some metrics.
    """
    known = references or {}
    rows = []
    for metric, numbers in values.items():
        row: dict[str, Any] = {"name": name, "metric": metric, "unit": "seed"}
        row |= mean_interval(numbers)._asdict()
        rows.append(row | dict(zip(("reference", "source"), known.get(metric, ()), strict=False)))
    return rows
