"""Searches of a table's command: each is run once, kept, and made into rows with the others."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from experiments.report import rows
from experiments.report import rows as result_rows
from experiments.report.finished import Finished
from experiments.report.interval import mean_interval
from experiments.report.rows import Row
from experiments.runner.experiment import Search
from search import interface
from search.interface import Run


def run_once(
    kept: Finished,
    key: str,
    work: Search,
    *,
    budget: int,
    seed: int,
    more: Callable[[Run], dict[str, Any]] = lambda run: {},
) -> dict[str, Any]:
    """What a search has found: `best` so far after each evaluation, `seconds`, and `more`.

    Raises:
      RuntimeError: all evaluations failed; the message is what the first raises.
    """
    if key in kept:
        return kept[key]
    since = time.monotonic()
    run = interface.maximise(
        work.searcher, work.objective, budget=budget, batch_size=work.batch_size, seed=seed
    )
    seconds = time.monotonic() - since
    if not np.isfinite(run.values).any():
        try:
            value = work.objective(run.trials[0].point, run.trials[0].seed)
        except Exception as error:
            raise RuntimeError(f"{key}: every evaluation failed: {error}") from error
        raise RuntimeError(f"{key}: every evaluation failed: the first gives {value}")
    # A failed first evaluation counts as the first value that there is.
    best = np.where(np.isfinite(run.best), run.best, run.values[np.isfinite(run.values)][0])
    kept.add(key, {"best": [round(float(b), 8) for b in best], "seconds": seconds} | more(run))
    print(f"{key}: {best[-1]:.4g} in {seconds:.0f} s", flush=True)
    return kept[key]


def over_seeds(
    name: str,
    values: dict[str, Iterable[float]],
    *,
    records: Sequence[dict[str, Any]],
    references: dict[str, tuple[float, str]],
    **known: Any,
) -> list[Row]:
    """A row for each metric: mean and interval over seeds.

    Args:
      name: of the rows.
      values: of each metric, one a seed.
      records: what `run_once` gave, for the seconds.
      references: a reference value and its source, of some metrics.
      known: other fields of the rows.
    """
    seconds = sum(each["seconds"] for each in records)
    made = []
    for metric, numbers in values.items():
        reference, source = references.get(metric, (None, ""))
        made.append(
            result_rows.row(
                name, metric, mean_interval(list(numbers)), unit="seed",
                machine=rows.here(), seconds=seconds, reference=reference, source=source,
                **known,
            )
        )  # fmt: skip
    return made


def at_marks(
    records: Sequence[dict[str, Any]], marks: Iterable[int], budget: int
) -> dict[str, list[float]]:
    """`best_value`, and `best_value_at_N` for the marks below the budget; one a seed."""
    found = {
        f"best_value_at_{mark}": [each["best"][mark - 1] for each in records]
        for mark in marks
        if mark < budget
    }
    return found | {"best_value": [each["best"][budget - 1] for each in records]}
