"""The tables of chapter 2 as runs of `nco/measure`: public instances, studies, the thesis's tables.

    python -m experiments.report --fill nco/tsp --only 'tsp20-*' --jobs 2
    python -m experiments.report --fill nco/tsp --only tsp20-greedy --config.models=runs/mine

tsp and knapsack: every method on the field's public instances, always the first ones; a gap is to
"optimal" on the same instances, near-optimal tours and exact knapsacks. tables: 2.2 to 2.4 of the
thesis cell by cell, from the same runs; it measured on instances that were never published, so
compare gaps. ratios: figure 2.3. temperature: T* of sampling, by grid search on validation
instances. budget: quality and seconds by solutions considered. sizes: instances of other sizes
than in training. tsplib: the files in runs/tsplib.

Some cells are of networks that are not shipped, in runs/e0 to e3, runs/paper20 and runs/sup20;
`results/nco/page.toml` has the commands that train them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from experiments.nco import figures
from experiments.nco.measure import file_rows, reached, rows
from experiments.nco.methods import BATCH, METAHEURISTICS
from experiments.nco.printed import PRINTED, Column, Printed, printed, source
from experiments.nco.problems import gap_percent, of_task
from experiments.report.interval import Interval, mean_interval
from experiments.report.rows import Row
from experiments.report.sweep import Cell, Table, Workdirs

Counts = Mapping[str, Any]  # instances, or (instances, changes), by name


def _cell(task: str, method: str, count: int, best: str = "", **changes: Any) -> Cell:
    """A method on the first instances of a task, and the optimum's cell, which its gap needs."""
    needs = () if method == "optimal" else (best or f"{task}-optimal",)
    return Cell(f"nco/measure:{task}-{method},cpu", {"instances": count} | changes, needs=needs)


def _cells(task: str, counts: Counts) -> dict[str, Cell]:
    """Cells by TASK-NAME, whose last part is the method: `sample1280`, `demo-greedy@4`."""
    made = {}
    for name, count in counts.items():
        known = re.sub(r"@\d+$", "", name.rpartition("-")[2]).rstrip("0123456789")
        method = "ensemble" if "@" in name else known
        first, changes = (count, {}) if isinstance(count, int) else count
        made[f"{task}-{name}"] = _cell(task, method, first, **changes)
    return made


def _limited(count: int, seconds: float) -> dict[str, Any]:
    """The solvers that run until their time is up."""
    return {f"or_tools_{name}": (count, {"time_limit": seconds}) for name in METAHEURISTICS}


def _sampled(count: int, temperature: float, **models: str) -> tuple[int, dict[str, Any]]:
    return count, {"temperature": temperature, **models}


_E0, _SUP20, _PAPER20, _TSP50 = (
    {"models": name} for name in ("runs/e0", "runs/sup20", "runs/paper20", "nco/tsp50")
)
TSP = (
    _cells(
        "tsp20",
        _limited(100, 0.5)
        | {"optimal": 2000, "christofides": 1000, "or_tools": 1000, "proven": 10}
        | {"greedy": 10_000, "sample1280": _sampled(2000, 2.5), "perturbed1280": 1000}
        | {"active": 50, "active_scratch": 5, "random": 5}
        | {"demo-greedy": (10_000, _E0), "demo-sample1280": _sampled(1000, 1.0, **_E0)}
        | {"demo-greedy@4": (10_000, {"models": "runs/e0,runs/e1,runs/e2,runs/e3"})}
        | {"paper-greedy": (10_000, _PAPER20), "paper-sample1280": _sampled(1000, 2.0, **_PAPER20)}
        | {"supervised-greedy": (10_000, _SUP20)}
        | {"supervised-sample1280": _sampled(500, 1.0, **_SUP20)},
    )
    | _cells(
        "tsp50",
        _limited(30, 1.0)
        | {"optimal": 200, "christofides": 200, "or_tools": 200, "proven": 10}
        | {"greedy": 10_000, "sample1280": _sampled(200, 0.5), "perturbed1280": 200}
        | {"active": 10, "active_scratch": 1, "random": 1},
    )
    | _cells(
        "tsp100",
        {"optimal": 50, "christofides": 50, "or_tools": 50}
        | {"greedy": 2000, "sample1280": _sampled(50, 0.2), "active": (1, {"steps_each": 100})}
        | {"from50-greedy": (2000, _TSP50), "from50-sample1280": _sampled(50, 0.5, **_TSP50)},
    )
)


def _knapsacks(task: str, first: int, active: int, steps: int, scratch: int) -> dict[str, Cell]:
    """Active Search takes fewer instances and, of many items, fewer updates."""
    return _cells(
        task,
        {"optimal": 10_000, "skip_greedy": 10_000, "stop_greedy": 10_000, "greedy": 10_000}
        | {"dynamic_programming": first, "perturbed1280": first}
        | {"sample1280": _sampled(first, 1.0), "active": (active, {"steps_each": steps})}
        | {"active_scratch": (scratch, {"steps_each": 500})}
        | {"random": (scratch, {"samples": 500 * BATCH})},
    )


KNAPSACK = (
    _knapsacks("knap50", 200, 4, 200, 4)
    | _knapsacks("knap100", 50, 1, 100, 2)
    | _knapsacks("knap200", 50, 1, 100, 1)
)


def _with_gap(name: str, workdirs: Workdirs, best: str) -> list[Row]:
    """A cell's rows, with the gap where the cell `best` is another one and there."""
    known = reached(workdirs[best]) if best in workdirs and best != name else None
    return rows(name, of_task(name), reached(workdirs[name]), known)


def _without_seconds(made: list[Row]) -> list[Row]:
    return [row for row in made if row["metric"] != "instance_seconds"]


def _rows(name: str, workdirs: Workdirs) -> list[Row]:
    """Rows of TASK-METHOD, the thesis's figure beside its metric."""
    made = _with_gap(name, workdirs, f"{name.partition('-')[0]}-optimal")
    figure, where = printed(name, made[0]["metric"])
    return [made[0] | {"reference": figure, "source": where}, *made[1:]]


class Shown(NamedTuple):
    """A cell of tables 2.2 to 2.4, and the one of `TSP` or `KNAPSACK` that fills it."""

    title: str
    table: Printed
    column: Column
    task: str
    measured: str

    @property
    def reference(self) -> float | None:
        return self.column.cells[self.table.rows.index(self.task)]


def shown(known: Mapping[str, Cell]) -> dict[str, Shown]:
    """The cells of tables 2.2 to 2.4 that one of `known` fills, by their names."""
    found = {}
    for title, table in PRINTED.items():
        for task in table.rows:
            for column in table.columns:
                pattern = re.compile(rf"{task}-{column.method}")
                fitting = [name for name in known if pattern.fullmatch(name)]
                if fitting:
                    ours = f" (here {column.ours})" if column.ours else ""
                    name = f"{title[5:]} {task.upper()} {column.title}{ours}"
                    if "@" in fitting[-1]:  # as many models as there were
                        name = re.sub(r"@\d+", f"@{fitting[-1].rpartition('@')[2]}", name)
                    found[name] = Shown(title, table, column, task, fitting[-1])
    return found


MEASURED = TSP | KNAPSACK
SHOWN = shown(MEASURED)


def _optimum(cell: Shown) -> str:
    """The name of the cell that this one's gap is to."""
    wanted = (cell.title, cell.task, "optimal")
    return next(n for n, c in SHOWN.items() if (c.title, c.task, c.column.method) == wanted)


def _shown_rows(name: str, workdirs: Workdirs) -> list[Row]:
    cell, made = SHOWN[name], []
    best = reached(workdirs[_optimum(cell)]) if _optimum(cell) in workdirs else None
    best = None if name == _optimum(cell) else best
    for row in rows(name, of_task(cell.task), reached(workdirs[name]), best):
        if row["metric"] == cell.table.metric:
            where = "" if cell.reference is None else source(cell.title, cell.column, cell.task)
            made.append(row | {"reference": cell.reference, "source": where})
        elif row["metric"] == "gap_percent" and cell.title != "table2.3":  # a table of times
            made.append(row)
    return made


RATIOS = _cells(
    "tsp20",
    {"optimal": 100, "christofides": 100, "or_tools": 100, "greedy": 100}
    | {"sample1280": _sampled(100, 2.5), "active": (100, {"steps_each": 100})},
)


def _ratio_rows(name: str, workdirs: Workdirs) -> list[Row]:
    ratio = figures.ratios(name, workdirs)
    if ratio is None:
        return []
    optimal, shared = (ratio < 1 + 1e-4).astype(float), {"name": name, "unit": "instance"}
    return [
        shared | {"metric": "optimal_fraction"} | mean_interval(optimal)._asdict(),
        shared | {"metric": "ratio"} | mean_interval(ratio)._asdict(),
    ]


class Grid(NamedTuple):
    """Temperatures, on so many instances with so many samples, and T* of the thesis (2.5.1)."""

    instances: int
    samples: int
    values: tuple[float, ...]
    star: float


GRIDS = {
    "tsp20": Grid(200, 1280, (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0), 2.0),
    "tsp50": Grid(100, 640, (0.4, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0), 2.2),
    "tsp100": Grid(30, 640, (0.2, 0.3, 0.5, 0.75, 1.0), 1.5),
}


def _grid(task: str, grid: Grid) -> dict[str, Cell]:
    """A cell a temperature; T* is the best of them, and has no run of its own."""
    cells = {f"{task}-optimal": _cell(task, "optimal", grid.instances, validation=True)}
    drawn: dict[str, Any] = {"validation": True, "models": f"nco/{task}", "samples": grid.samples}
    for value in grid.values:
        changes = drawn | {"temperature": value}
        cells[f"{task}-T{value:g}"] = _cell(task, "sample", grid.instances, **changes)
    last = list(cells.values())[-1]
    return cells | {f"{task}-T*": last._replace(needs=tuple(cells))}


TEMPERATURES = {
    name: cell for task, grid in GRIDS.items() for name, cell in _grid(task, grid).items()
}


def _temperature_rows(name: str, workdirs: Workdirs) -> list[Row]:
    task, _, what = name.partition("-")
    best = f"{task}-optimal"
    if what != "T*":
        return _without_seconds(_with_gap(name, workdirs, best)) if name != best else []
    cells = {value: f"{task}-T{value:g}" for value in GRIDS[task].values}
    if not {best, *cells.values()} <= set(workdirs):
        return []
    optimum = reached(workdirs[best]).values
    gaps = {
        value: gap_percent(of_task(task), reached(workdirs[cell]).values, optimum).mean()
        for value, cell in cells.items()
    }
    row = {"name": name, "metric": "temperature", "value": min(gaps, key=lambda t: gaps[t])}
    return [row | {"reference": GRIDS[task].star, "source": "Pham 2021, section 2.5.1"}]


_MARKS = [BATCH * each for each in (1, 2, 5, 10, 20, 50, 100, 200)]
_DRAWN = {"temperature": 2.5, "samples": _MARKS[-1], "curve": ",".join(map(str, _MARKS[3:]))}
BUDGET = _cells(
    "tsp20",
    {"optimal": 200, "sample": (200, _DRAWN)}
    | {"sample128": (200, {"temperature": 2.5, "samples": 128, "curve": "128"})}
    | {"active": (10, {"curve": ",".join(map(str, _MARKS))})},
)


def _budget_rows(name: str, workdirs: Workdirs) -> list[Row]:
    """Rows of a search that is stopped early; its seconds are its share of the whole one's."""
    best = f"{name.partition('-')[0]}-optimal"
    if best not in workdirs or name == best:
        return []
    found, optimum, made = reached(workdirs[name]), reached(workdirs[best]).values, []
    for count, (values, share) in found.curves.items():
        shared = {"name": f"{name.rstrip('0123456789')}{count}", "unit": "instance"}
        gap = mean_interval(gap_percent(of_task(name), values, optimum))
        # Measured for the whole search: a part's share has no interval of its own.
        mean = float(found.seconds.mean()) * share
        seconds = Interval(mean, mean, mean, len(values))
        if share == 1:
            seconds = mean_interval(found.seconds)
        made.append(shared | {"metric": "gap_percent"} | gap._asdict())
        made.append(shared | {"metric": "instance_seconds"} | seconds._asdict())
    return made


_CITIES = (20, 50, 100, 150, 200)
SIZES = {f"tsp{n}-optimal": _cell("tsp20", "optimal", 50, size=n) for n in _CITIES}
for _task in ("tsp20", "tsp50"):
    for _n in _CITIES:
        _on, _best, _size = f"{_task}-on-{_n}", f"tsp{_n}-optimal", {"size": _n}
        SIZES[f"{_on}-greedy"] = _cell(_task, "greedy", 50, _best, **_size)
        SIZES[f"{_on}-sample1280"] = _cell(_task, "sample", 50, _best, temperature=1.0, **_size)


def _size_rows(name: str, workdirs: Workdirs) -> list[Row]:
    if name.endswith("-optimal"):
        return []
    return _without_seconds(_with_gap(name, workdirs, f"tsp{name.split('-')[2]}-optimal"))


TSPLIB = {
    "tsplib-near_optimal": Cell("nco/measure:tsplib-optimal,cpu"),
    "tsplib-greedy": Cell("nco/measure:tsplib-greedy,cpu"),
    "tsplib-active": Cell("nco/measure:tsplib-active,cpu", {"steps_each": 50}),
}


def _file_rows(name: str, workdirs: Workdirs) -> list[Row]:
    return file_rows(name.partition("-")[2], reached(workdirs[name]))


_PUBLIC = "of the public instances: the pointer network and its baselines"
TABLES: Mapping[str, Table] = {
    "nco/tsp": Table(f"Tours {_PUBLIC}", TSP, _rows, figures.draw_tours),
    "nco/knapsack": Table(f"Knapsacks {_PUBLIC}", KNAPSACK, _rows),
    "nco/tables": Table(
        "Tables 2.2, 2.3 and 2.4 of Pham 2021, cell by cell",
        {
            name: MEASURED[cell.measured]._replace(needs=(_optimum(cell),))
            for name, cell in SHOWN.items()
        },
        _shown_rows,
    ),
    "nco/ratios": Table(
        "Figure 2.3 of Pham 2021: ratios to the optimum of the same instances",
        *(RATIOS, _ratio_rows, figures.draw_ratios),
    ),
    "nco/temperature": Table(
        "Sampling at several temperatures, on validation instances",
        *(TEMPERATURES, _temperature_rows),
    ),
    "nco/budget": Table(
        "Quality and time against the number of solutions considered",
        *(BUDGET, _budget_rows, figures.draw_budget),
    ),
    "nco/sizes": Table(
        "Networks on instances of other sizes than they were trained on", SIZES, _size_rows
    ),
    "nco/tsplib": Table("TSPLIB instances under TSPLIB's rounding", TSPLIB, _file_rows),
}
