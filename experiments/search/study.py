"""Studies: searches of a list, whose objective measures at each of its points for each seed.

    def build(config):
        def measure(seed, point):
            return study.found({f"lanas-{point}": {"error": error}}, error)
        return study.search(config.sizes, measure, ("error", "min"))

Rows are means over seeds of what was measured, by name and metric.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from experiments.report.rows import Row
from experiments.report.sweep import Workdirs
from experiments.runner.checks import UserError
from experiments.runner.experiment import Search
from experiments.runner.search_journal import Recorded, recorded
from experiments.runner.workdir import RESULTS, read_results
from search import listed
from search.interface import Measured

Metrics = Mapping[str, Mapping[str, float]]  # of a row, by its name


def found(rows: Metrics, reward: float, **more: Any) -> Measured:
    """What an objective has measured: rows, the headline's reward, and more for the journal."""
    return Measured(float(reward), {"rows": rows, **more})


def search(
    points: Sequence[Any],
    measure: Callable[[int, Any], Measured],
    headline: tuple[str, str],
    finish: Callable[[Any, Any], object] = lambda searched, workdir: None,
) -> Search:
    """A search of a list.

    Args:
      points: JSON has to have them.
      measure: `(seed, point) -> found(...)`.
      headline: metric and "max" or "min".
      finish: `(searched, workdir)`, to write more than rows.
    """

    def of_seed(seed: int) -> Callable[[Any, int], Measured]:
        return lambda point, _: measure(seed, point)

    def rows(searched: Any, workdir: Any) -> list[Row]:
        made = list[Row]()
        for number in searched.told:
            report = searched.reports[number]
            if report.more is None:
                raise UserError(
                    f"{workdir}: expected a measurement of {points[number]}, got {report.note}; "
                    "remove the folder to measure again"
                )
            made += [
                {"name": name, "metric": metric, "value": value}
                for name, metrics in report.more["rows"].items()
                for metric, value in metrics.items()
            ]
        finish(searched, workdir)
        return made

    return Search(
        searcher=listed.searcher(points), objective=of_seed(0), of_seed=of_seed,
        headline=headline, budget=len(points), curve=False, finish=rows,
    )  # fmt: skip


def written(name: str, workdirs: Workdirs) -> list[Row]:
    """The rows of a table's cell: those that its run wrote, under their own names."""
    return list(read_results(workdirs[name] / RESULTS)["rows"])


def measured(name: str, workdirs: Workdirs) -> list[Recorded]:
    """What a finished cell's journals hold, one a seed; none where it has not finished."""
    return recorded(workdirs[name]) if name in workdirs else []
