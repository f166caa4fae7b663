"""Tables 2.2 to 2.4 of Pham 2021 as printed, and which of our methods fills which column.

Two of the cells are only quoted there. What stands in for what is in no registry, and is named in
the cell: near-optimal tours (fast-tsp) for LK-H, proven ones (CP-SAT) for Concorde, OR-Tools'
branch and bound for MinKnap and ExpKnap too, greedy@k for greedy@16. fast-tsp runs until its time
is up, so that its seconds are a budget, not a need. "Optimal" knapsacks are by dynamic programming,
as in the thesis, on weights that are rounded up to a 100,000th of the capacity; the optima are
those of OR-Tools. The greedy rule that skips what does not fit is ours: the thesis's stops there.
"""

from __future__ import annotations

import re
from typing import NamedTuple

QUOTED = "Vinyals et al. 2015, quoted in Pham 2021, table 2.2"


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        title: of the thesis.
        method: a regular expression for the method's name in a cell of nco/tsp or nco/knapsack.
        cells: the thesis's figures by row; `None` where it has none.
        ours: what stands here for the thesis's method, where that is another.
    """

    title: str
    method: str
    cells: tuple[float | None, ...]
    ours: str = ""


class Printed(NamedTuple):
    """A table as the thesis prints it: its rows' names, the metric of its cells, its columns."""

    rows: tuple[str, ...]
    metric: str
    columns: tuple[Column, ...]


PRINTED = {
    "table2.2": Printed(
        ("tsp20", "tsp50", "tsp100"),
        "tour_length",
        (
            Column("Supervised", "supervised-greedy", (3.88, 6.09, 10.81)),
            Column("RL pretraining, greedy", "greedy", (3.89, 5.95, 8.30)),
            Column("RL pretraining, greedy@16", r"greedy@\d+", (None, 5.80, 7.97)),
            Column("RL pretraining, sampling", r"sample\d+", (3.82, 5.70, 7.88)),
            Column("RL pretraining, Active", "active", (3.82, 5.70, 7.83)),
            Column("AS", "active_scratch", (3.96, 5.87, 8.19)),
            Column("Christofides", "christofides", (4.30, 6.62, 9.18)),
            Column("OR Tools' local search", "or_tools", (3.85, 5.80, 7.99)),
            Column("Concorde / LK-H", "optimal", (3.82, 5.68, 7.77), "fast-tsp"),
        ),
    ),
    "table2.3": Printed(
        ("tsp50", "tsp100"),
        "instance_seconds",
        (
            Column("RL pretraining, greedy", "greedy", (0.003, 0.01)),
            Column("RL pretraining, greedy@16", r"greedy@\d+", (0.04, 0.15)),
            Column("OR-Tools' local search", "or_tools", (0.02, 0.10)),
            Column("Concorde", "proven", (0.05, 0.22), "CP-SAT"),
            Column("LK-H", "optimal", (0.14, 0.88), "fast-tsp's time budget"),
        ),
    ),
    "table2.4": Printed(
        ("knap50", "knap100", "knap200"),
        "value",
        (
            Column("RL pretraining, greedy", "greedy", (19.86, 40.27, 57.10)),
            Column("Active Search", "active_scratch", (20.07, 40.50, 57.45)),
            Column("Random Search", "random", (17.91, 33.23, 35.95)),
            Column("Greedy", "stop_greedy", (19.24, 38.53, 55.42)),
            Column("Greedy that skips", "skip_greedy", (None, None, None)),
            Column("MinKnap / ExpKnap / OR-Tools", "optimal", (20.07, 40.50, 57.45), "OR-Tools"),
            Column("Optimal", "dynamic_programming", (20.07, 40.50, 57.45), "on rounded weights"),
        ),
    ),
}


def printed(name: str, metric: str) -> tuple[float | None, str]:
    """The thesis's figure for a row such as ("tsp20-greedy", "tour_length"), and its source.

    Returns `(None, "")` where the thesis has none.
    """
    task, _, method = name.partition("-")
    for title, table in PRINTED.items():
        if table.metric != metric or task not in table.rows:
            continue
        for column in table.columns:
            figure = column.cells[table.rows.index(task)]
            if figure is not None and re.fullmatch(column.method, method):
                return figure, source(title, column, task)
    return None, ""


def source(table: str, column: Column, task: str) -> str:
    """Where a printed figure is from."""
    quoted = column.title == "Supervised" and task != "tsp100"
    return QUOTED if quoted else f"Pham 2021, table {table[5:]}"
