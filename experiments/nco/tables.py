"""The tables of chapter 2 as runs of `nco/solve`: public instances, studies, the thesis's tables.

    python -m experiments.report --fill nco/tsp --only 'tsp20-*' --jobs 2
    python -m experiments.report --fill nco/tsp --only tsp20-greedy --config.models=runs/mine
    python -m experiments.report --fill nco/paper --list

Tables: tsp and knapsack (every method on the field's public instances), tables (2.2 to 2.4 of the
thesis cell by cell, from the same runs), paper (all of their cells at the thesis's budgets), ratios
(figure 2.3), temperature (T* of sampling, by grid search on validation instances), budget (quality
and seconds by solutions considered), sizes (instances of other sizes than in training), tsplib.

How many instances a method takes, always the first ones, is its row's n. A gap is to "optimal" on
the same instances: near-optimal tours, exact knapsacks. The thesis measured on instances that were
never published: compare gaps.

Three kinds of cells need networks that are not shipped: `tsp20-demo-*` four of `nco/tsp:20,demo`
with seeds 0 to 3 in runs/e0 to runs/e3, `tsp20-paper-*` one of `nco/tsp:20,paper` after 2,000
updates in runs/paper20, `tsp20-supervised-*` one of `nco/supervised:20,cpu` in runs/sup20.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple, NoReturn

import numpy as np

from experiments.nco import figures
from experiments.nco.config import CAPACITY
from experiments.nco.methods import BATCH, METAHEURISTICS
from experiments.nco.printed import PRINTED, Column, Printed, printed, source
from experiments.nco.problems import PROBLEMS, Kind, gap_percent
from experiments.nco.solve import file_rows, reached, rows
from experiments.report.interval import Interval, mean_interval
from experiments.report.rows import Row
from experiments.report.sweep import Cell, Table, Workdirs


class Parser(argparse.ArgumentParser):
    """Until the commands of mpl and search have `experiments.runner.command.Parser`."""

    def error(self, message: str) -> NoReturn:
        print(f"error: {message}\nTry --help.", file=sys.stderr)
        raise SystemExit(2)


def _cell(task: str, method: str, count: int, preset: str = "cpu", **changes: Any) -> Cell:
    """A method on the first instances of a task; all but the optimum need that for their gap."""
    needs = () if method == "optimal" else (f"{task}-optimal",)
    size = {} if task == "tsplib" else {"instances": count}
    return Cell(f"nco/solve:{task}-{method},{preset}", size | changes, needs=needs)


def _named(task: str, cells: Mapping[str, tuple[Any, ...]]) -> dict[str, Cell]:
    """Cells of a task from (method, instances, fields), by TASK-NAME."""
    return {
        f"{task}-{name}": _cell(task, method, count, **(more[0] if more else {}))
        for name, (method, count, *more) in cells.items()
    }


def _solvers(first: int, limited: int, seconds: float) -> dict[str, tuple[Any, ...]]:
    """The solvers of tours; those that run until their time limit solve fewer instances."""
    return {
        "optimal": ("optimal", first),
        "christofides": ("christofides", min(first, 1000)),
        "or_tools": ("or_tools", min(first, 1000)),
    } | {
        f"or_tools_{name}": (f"or_tools_{name}", limited, {"time_limit": seconds})
        for name in (METAHEURISTICS if limited else ())
    }


_DEMO = {"models": ",".join(f"runs/e{seed}" for seed in range(4))}
TSP: Mapping[str, Cell] = (
    _named(
        "tsp20",
        _solvers(2000, 100, 0.5)
        | {
            "greedy": ("greedy", 10_000),
            "sample1280": ("sample", 2000, {"temperature": 2.5}),
            "perturbed1280": ("perturbed", 1000),
            "active": ("active", 50),
            "active_scratch": ("active_scratch", 5),
            "random": ("random", 5),
            "demo-greedy": ("greedy", 10_000, {"models": "runs/e0"}),
            "demo-greedy@4": ("ensemble", 10_000, _DEMO),
            "demo-sample1280": ("sample", 1000, {"models": "runs/e0", "temperature": 1.0}),
            "paper-greedy": ("greedy", 10_000, {"models": "runs/paper20"}),
            "paper-sample1280": ("sample", 1000, {"models": "runs/paper20", "temperature": 2.0}),
            "supervised-greedy": ("greedy", 10_000, {"models": "runs/sup20"}),
            "supervised-sample1280": ("sample", 500, {"models": "runs/sup20", "temperature": 1.0}),
            "proven": ("proven", 10),
        },
    )
    | _named(
        "tsp50",
        _solvers(200, 30, 1.0)
        | {
            "greedy": ("greedy", 10_000),
            "sample1280": ("sample", 200, {"temperature": 0.5}),
            "perturbed1280": ("perturbed", 200),
            "active": ("active", 10),
            "active_scratch": ("active_scratch", 1),
            "random": ("random", 1),
            "proven": ("proven", 10),
        },
    )
    | _named(
        "tsp100",
        _solvers(50, 0, 0.0)
        | {
            "greedy": ("greedy", 2000),
            "sample1280": ("sample", 50, {"temperature": 0.2}),
            "active": ("active", 1, {"steps_each": 100}),
            "from50-greedy": ("greedy", 2000, {"models": "nco/tsp50"}),
            "from50-sample1280": ("sample", 50, {"models": "nco/tsp50", "temperature": 0.5}),
        },
    )
)


def _knapsacks(items: str, first: int, active: int, steps: int, scratch: int) -> dict[str, Cell]:
    """The cells of KNAPN; Active Search takes fewer instances and, of many items, fewer updates."""
    greedy = ("optimal", "skip_greedy", "stop_greedy", "greedy")
    return _named(
        f"knap{items}",
        {name: (name, 10_000) for name in greedy}
        | {
            "dynamic_programming": ("dynamic_programming", first),
            "sample1280": ("sample", first, {"temperature": 1.0}),
            "perturbed1280": ("perturbed", first),
            "active": ("active", active, {"steps_each": steps}),
            "active_scratch": ("active_scratch", scratch, {"steps_each": 500}),
            "random": ("random", scratch, {"samples": 500 * BATCH}),
        },
    )


KNAPSACK: Mapping[str, Cell] = (
    _knapsacks("50", 200, 4, 200, 4)
    | _knapsacks("100", 50, 1, 100, 2)
    | _knapsacks("200", 50, 1, 100, 1)
)


def _kind(task: str) -> Kind:
    return next(kind for kind in PROBLEMS.values() if task.startswith(kind.task))


def _with_gap(name: str, workdirs: Workdirs, best: str) -> list[Row]:
    """A cell's rows, and the gap where the cell `best` is there and another one."""
    known = reached(workdirs[best]) if best in workdirs and best != name else None
    return rows(name, _kind(name), reached(workdirs[name]), known)


def _rows(name: str, workdirs: Workdirs) -> list[Row]:
    """Rows of TASK-METHOD, the thesis's figure beside its metric."""
    made = _with_gap(name, workdirs, f"{name.partition('-')[0]}-optimal")
    figure, where = printed(name, made[0]["metric"])
    return [made[0] | {"reference": figure, "source": where}, *made[1:]]


# Tables 2.2 to 2.4: cells of the tables above under the thesis's names.


class _Printed(NamedTuple):
    """A printed cell: where it stands, and the cell of `TSP` or `KNAPSACK` that fills it."""

    title: str
    table: Printed
    column: Column
    task: str
    measured: str


def printed_cells(known: Mapping[str, Cell]) -> dict[str, _Printed]:
    """The cells of tables 2.2 to 2.4 that one of `known` fills, by their names."""
    found = {}
    for title, table in PRINTED.items():
        for task in table.rows:
            for column in table.columns:
                pattern = re.compile(rf"{task}-{column.method}")
                if not (fitting := [name for name in known if pattern.fullmatch(name)]):
                    continue
                name = f"{title[5:]} {task.upper()} {column.title}"
                name += f" (here {column.ours})" if column.ours else ""
                if "@" in fitting[-1]:  # as many models as there were
                    name = re.sub(r"@\d+", f"@{fitting[-1].rpartition('@')[2]}", name)
                found[name] = _Printed(title, table, column, task, fitting[-1])
    return found


CELLS: Mapping[str, _Printed] = printed_cells({**TSP, **KNAPSACK})


def _optimum(cell: _Printed) -> str:
    """The name of the cell that a printed cell's gap is to."""
    wanted = (cell.title, cell.task, "optimal")
    return next(n for n, c in CELLS.items() if (c.title, c.task, c.column.method) == wanted)


def _printed_cell(cell: _Printed) -> Cell:
    needs = {cell.measured: ()}.get(f"{cell.task}-optimal", (_optimum(cell),))
    return {**TSP, **KNAPSACK}[cell.measured]._replace(needs=needs)


def _printed_rows(name: str, workdirs: Workdirs) -> list[Row]:
    cell = CELLS[name]
    best, metric = _optimum(cell), cell.table.metric
    known = reached(workdirs[best]) if best in workdirs and best != name else None
    made = []
    for row in rows(name, _kind(cell.task), reached(workdirs[name]), known):
        figure = cell.column.cells[cell.table.rows.index(cell.task)]
        if row["metric"] == metric:
            where = "" if figure is None else source(cell.title, cell.column, cell.task)
            made.append(row | {"reference": figure, "source": where})
        elif row["metric"] == "gap_percent" and cell.title != "table2.3":  # a table of times
            made.append(row)
    return made


def _paper() -> dict[str, Cell]:
    """Every cell that the thesis prints, at its budgets, of networks of its recipe.

    Networks of `nco/tsp:N,paper` in runs/tspN, and with seeds 0 to 15 in runs/tspN-0 to
    runs/tspN-15; of `nco/knapsack:N,paper` in runs/knapN; of `nco/supervised:N,paper` in runs/supN.
    """
    cells = {}
    for table in PRINTED.values():
        for task in table.rows:
            cells[f"{task}-optimal"] = _cell(task, "optimal", 1000, "paper")
            for column in table.columns:
                name = column.method.replace(r"sample\d+", "sample").replace(r"\d+", "16")
                models = {"models": f"runs/{task}"}
                if name == "supervised-greedy":
                    models = {"models": f"runs/sup{task[3:]}"}
                if name == "greedy@16":
                    models = {"models": ",".join(f"runs/{task}-{seed}" for seed in range(16))}
                method = {"greedy@16": "ensemble"}.get(name, name.rpartition("-")[2])
                if method not in ("greedy", "ensemble", "sample", "active", "active_scratch"):
                    models = {}
                cells[f"{task}-{name}"] = _cell(task, method, 1000, "paper", **models)
    return cells


# Figure 2.3 and the studies.

_COMPARED = {
    "optimal": ("optimal", {}),
    "christofides": ("christofides", {}),
    "or_tools": ("or_tools", {}),
    "greedy": ("greedy", {}),
    "sample1280": ("sample", {"temperature": 2.5}),
    "active": ("active", {"steps_each": 100}),
}
RATIOS = {
    f"tsp20-{name}": _cell("tsp20", method, 100, **changes)
    for name, (method, changes) in _COMPARED.items()
}


def _ratio_rows(name: str, workdirs: Workdirs) -> list[Row]:
    ratio = figures.ratios(name, workdirs)
    if ratio is None:
        return []
    optimal = mean_interval((ratio < 1 + 1e-4).astype(float))
    shared = {"name": name, "unit": "instance"}
    return [
        shared | {"metric": "optimal_fraction"} | optimal._asdict(),
        shared | {"metric": "ratio"} | mean_interval(ratio)._asdict(),
    ]


_GRIDS = {
    "tsp20": (200, 1280, (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0)),
    "tsp50": (100, 640, (0.4, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)),
    "tsp100": (30, 640, (0.2, 0.3, 0.5, 0.75, 1.0)),
}
STARS = {"tsp20": 2.0, "tsp50": 2.2, "tsp100": 1.5}  # Pham 2021, section 2.5.1


def _grid(task: str) -> dict[str, Cell]:
    """A cell a temperature, and T*, which is the best of them and has no run of its own."""
    count, samples, grid = _GRIDS[task]
    cells = {f"{task}-optimal": _cell(task, "optimal", count, validation=True)}
    drawn = {"validation": True, "models": f"nco/{task}", "samples": samples}
    for value in grid:
        cells[f"{task}-T{value:g}"] = _cell(task, "sample", count, temperature=value, **drawn)
    last = list(cells)[-1]
    return cells | {f"{task}-T*": cells[last]._replace(needs=tuple(cells))}


TEMPERATURES = {name: cell for task in _GRIDS for name, cell in _grid(task).items()}


def _temperature_rows(name: str, workdirs: Workdirs) -> list[Row]:
    task, _, what = name.partition("-")
    best = f"{task}-optimal"
    if what != "T*":
        found = _with_gap(name, workdirs, best) if what != "optimal" else []
        return [row for row in found if row["metric"] != "instance_seconds"]
    grid = {f"{task}-T{value:g}": value for value in _GRIDS[task][2]}
    if not {best, *grid} <= set(workdirs):
        return []
    kind, optimum = _kind(task), reached(workdirs[best]).values
    gaps = {
        value: float(gap_percent(kind, reached(workdirs[each]).values, optimum).mean())
        for each, value in grid.items()
    }
    row = {"name": name, "metric": "temperature", "value": min(gaps, key=lambda t: gaps[t])}
    return [row | {"reference": STARS[task], "source": "Pham 2021, section 2.5.1"}]


_MARKS = tuple(BATCH * each for each in (1, 2, 5, 10, 20, 50, 100, 200))
BUDGET = {
    "tsp20-optimal": _cell("tsp20", "optimal", 200),
    "tsp20-sample128": _cell("tsp20", "sample", 200, temperature=2.5, samples=128, curve="128"),
    "tsp20-sample": _cell("tsp20", "sample", 200, temperature=2.5, samples=_MARKS[-1],
                          curve=",".join(map(str, _MARKS[3:]))),
    "tsp20-active": _cell("tsp20", "active", 10, curve=",".join(map(str, _MARKS))),
}  # fmt: skip


def _budget_rows(name: str, workdirs: Workdirs) -> list[Row]:
    """Rows of a search that is stopped early; its seconds are its share of the whole one's."""
    task, stem = name.partition("-")[0], name.rstrip("0123456789")
    if f"{task}-optimal" not in workdirs or name == f"{task}-optimal":
        return []
    found, best = reached(workdirs[name]), reached(workdirs[f"{task}-optimal"])
    made: list[Row] = []
    for count, (values, share) in found.curves.items():
        shared = {"name": f"{stem}{count}", "unit": "instance"}
        gap = mean_interval(gap_percent(_kind(task), values, best.values))
        # Measured for the whole search: a part's share has no interval of its own.
        mean = float(found.seconds.mean()) * share
        seconds = Interval(mean, mean, mean, len(values))
        if share == 1:
            seconds = mean_interval(found.seconds)
        made.append(shared | {"metric": "gap_percent"} | gap._asdict())
        made.append(shared | {"metric": "instance_seconds"} | seconds._asdict())
    return made


SIZES = {f"tsp{n}-optimal": _cell("tsp20", "optimal", 50, size=n) for n in (20, 50, 100, 150, 200)}
SIZES |= {
    f"tsp{trained}-on-{n}-{name}": _cell(
        f"tsp{trained}", method, 50, size=n, **changes
    )._replace(needs=(f"tsp{n}-optimal",))
    for trained in (20, 50)
    for n in (20, 50, 100, 150, 200)
    for name, method, changes in (("greedy", "greedy", {}),
                                  ("sample1280", "sample", {"temperature": 1.0}))
}  # fmt: skip


def _size_rows(name: str, workdirs: Workdirs) -> list[Row]:
    if name.endswith("-optimal"):
        return []
    found = _with_gap(name, workdirs, f"tsp{name.split('-')[2]}-optimal")
    return [row for row in found if row["metric"] != "instance_seconds"]


TSPLIB = {
    "tsplib-near_optimal": Cell("nco/solve:tsplib-optimal,cpu"),
    "tsplib-greedy": Cell("nco/solve:tsplib-greedy,cpu"),
    "tsplib-active": Cell("nco/solve:tsplib-active,cpu", {"steps_each": 50}),
}


def _file_rows(name: str, workdirs: Workdirs) -> list[Row]:
    return file_rows(name.partition("-")[2], reached(workdirs[name]))


_PUBLIC = "of the public instances: the pointer network and its baselines"
TABLES: Mapping[str, Table] = {
    "nco/tsp": Table(f"Tours {_PUBLIC}", TSP, _rows, figures.draw_tours),
    "nco/knapsack": Table(f"Knapsacks {_PUBLIC}", KNAPSACK, _rows),
    "nco/tables": Table(
        "Tables 2.2, 2.3 and 2.4 of Pham 2021, cell by cell",
        {name: _printed_cell(cell) for name, cell in CELLS.items()},
        _printed_rows,
    ),
    "nco/paper": Table("Tables 2.2 to 2.4 of Pham 2021 at its budgets", _paper(), _rows),
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
