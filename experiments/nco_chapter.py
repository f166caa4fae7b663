"""Tables 2.2 to 2.4 and figures 2.3 and 2.4 of Pham 2021, beside the seed's numbers.

    python -m experiments.nco_chapter table2.2 --models nco/tsp20 nco/tsp50
    python -m experiments.nco_chapter table2.3 --recorded
    python -m experiments.nco_chapter figure2.3 --models nco/tsp20 --instances 200

A table measures its methods by `experiments.nco_tables`, for each model given, then puts one row a
cell into `experiments/results/nco/tables.json`, the seed's figure as its reference; with --recorded
it only collects what `results/nco/tsp.json` and `knapsack.json` hold. Options after `--` go to
`experiments.nco_tables` (`-- --active 15`). It says which cells nothing fills.

Our instances are the field's public ones, the seed's were never published: compare gaps. What
stands in for what is in no registry: near-optimal tours (fast-tsp) for LK-H, proven ones (CP-SAT)
for Concorde, branch and bound and dynamic programming for ExpKnap and MinKnap; greedy@k for
greedy@16. Two of the seed's cells are only quoted there, and their source here says from whom.
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments import nco_methods, nco_tables, pointer_training, pretrained, results_table
from experiments.nco_methods import Options
from experiments.nco_tables import Parser
from experiments.results_table import mean_interval

TITLE = "Tables 2.2, 2.3 and 2.4 of Pham 2021, cell by cell"
QUOTED = "Vinyals et al. 2015, quoted in Pham 2021, table 2.2"


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        title: of the seed.
        method: a regular expression for the method's name in a row of tsp.json or knapsack.json.
        cells: the seed's figures by row; `None` where it has none.
    """

    title: str
    method: str
    cells: tuple[float | None, ...]


class Printed(NamedTuple):
    """A table as the seed prints it: its rows' names, the metric of its cells, its columns."""

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
            Column("Concorde / LK-H", "optimal", (3.82, 5.68, 7.77)),
        ),
    ),
    "table2.3": Printed(
        ("tsp50", "tsp100"),
        "instance_seconds",
        (
            Column("RL pretraining, greedy", "greedy", (0.003, 0.01)),
            Column("RL pretraining, greedy@16", r"greedy@\d+", (0.04, 0.15)),
            Column("OR-Tools' local search", "or_tools", (0.02, 0.10)),
            Column("Concorde", "proven", (0.05, 0.22)),
            Column("LK-H", "optimal", (0.14, 0.88)),
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
            Column("MinKnap / ExpKnap / OR-Tools", "dynamic_programming", (20.07, 40.50, 57.45)),
            Column("Optimal", "optimal", (20.07, 40.50, 57.45)),
        ),
    ),
}
FIGURES = ("figure2.3", "figure2.4")
COMPARED = ("christofides", "or_tools", "greedy", "sample", "active")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    cut = words.index("--") if "--" in words else len(words)
    flags, rest = parse(words[:cut]), words[cut + 1 :]
    try:
        names = {model: _task_name(model) for model in flags.models}
        if flags.what in PRINTED:
            return table(flags.what, names, rest, recorded=flags.recorded)
        command = shlex.join(["python", "-m", "experiments.nco_chapter", *words])
        return FIGURE[flags.what](names, flags, command)
    except (LookupError, ValueError, OSError) as error:
        print(f"error: {error}\nTry --help.", file=sys.stderr)
        return 2


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(
        prog="python -m experiments.nco_chapter",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("what", choices=(*PRINTED, *FIGURES), help="what to fill or draw")
    add("--models", nargs="+", default=[], metavar="MODEL", help="shipped names or runs' folders")
    add("--recorded", action="store_true", help="tables: only collect what results/ holds")
    add("--instances", type=int, default=100, metavar="N", help="figure2.3: instances (100)")
    add("--active_steps", type=int, default=200, metavar="N", help="figures: updates of AS (200)")
    add("--out", type=Path, metavar="DIR", help="figures: where (experiments/results/nco)")
    flags = parser.parse_args(words)
    if flags.what in FIGURES or not flags.recorded:
        if not flags.models:
            parser.error(f"--models: {flags.what} needs at least one")
    elif flags.models:
        parser.error("--models: --recorded measures nothing")
    if flags.instances < 2 or flags.active_steps < 1:
        parser.error("--instances, --active_steps: expected at least 2 and 1")
    return flags


def _task_name(model: str) -> str:
    config = pretrained.load(model).config
    kinds = {"nco_tsp": ("tsp", "cities"), "nco_knapsack": ("knap", "num_items")}
    if config.get("experiment") not in kinds:
        raise ValueError(f"{model}: expected a model of chapter 2, got {config.get('experiment')}")
    kind, size = kinds[config["experiment"]]
    return f"{kind}{config[size]}"


def table(what: str, models: dict[str, str], rest: Sequence[str], *, recorded: bool) -> int:
    """Measures (unless `recorded`) and collects the cells of a table; prints it.

    Raises:
        ValueError: a model is for no row of the table.
    """
    printed = PRINTED[what]
    for model, task in models.items():
        if task not in printed.rows:
            raise ValueError(f"{model}: {what} has rows {', '.join(printed.rows)}, got {task}")
    for model, task in models.items():
        if not recorded:
            nco_tables.main([task, "--model", model, *rest])
    cells, missing = collect(what)
    if cells:
        results_table.write_table(results_table.table_path("nco/tables"), TITLE, cells)
    for cell in cells:
        seeds = f", the seed's {cell['reference']:g}" if cell["reference"] is not None else ""
        print(f"{cell['name']}: {cell['value']:.4g} (n={cell['n']}{seeds})")
    for name in missing:
        print(f"{name}: not measured yet")
    return 0


def collect(what: str) -> tuple[list[dict[str, Any]], list[str]]:
    """The cells of a table from the recorded rows, and the names of those that nothing fills."""
    printed = PRINTED[what]
    group = "knapsack" if what == "table2.4" else "tsp"
    path = results_table.table_path(f"nco/{group}")
    rows = results_table.read_table(path).rows if path.exists() else []
    cells, missing = [], []
    for place, task in enumerate(printed.rows):
        for column in printed.columns:
            name = f"{what[5:]} {task.upper()} {column.title}"
            pattern = re.compile(rf"{task}-{column.method}")
            found = [
                row
                for row in rows
                if pattern.fullmatch(row["name"]) and row["metric"] == printed.metric
            ]
            if not found:
                missing.append(name)
                continue
            paper = column.cells[place]
            quoted = column.title == "Supervised" and task != "tsp100"
            source = "" if paper is None else QUOTED if quoted else f"Pham 2021, table {what[5:]}"
            best = found[-1]  # the most samples or models, as the file is sorted by number
            cells.append(best | {"name": name, "reference": paper, "source": source})
    return cells, missing


def figure_ratios(models: dict[str, str], flags: argparse.Namespace, command: str) -> int:
    """Figure 2.3: ratios to the optimum, sorted, for each method on the same instances."""
    from experiments.figures import DASHES, PALETTE, STYLE, pyplot

    options = Options(
        instances=flags.instances,
        first=flags.instances,
        active=flags.instances,
        active_steps=flags.active_steps,
    )
    plt = pyplot()
    rows: list[dict[str, Any]] = []
    panels: dict[str, dict[str, np.ndarray]] = {}
    for model, name in models.items():
        loaded = pretrained.load(model)
        task = nco_methods.task(name, loaded.config)
        methods = nco_methods.baselines(task, options)
        methods |= nco_methods.learned(task, [loaded], options)
        instances = pointer_training.public_instances(task.items, flags.instances)
        best = methods["optimal"].solve(instances).values
        for method, each in methods.items():
            if method.rstrip("0123456789") not in COMPARED:
                continue
            ratio = np.sort((each.solve(instances).values / best) ** -task.sign)
            panels.setdefault(name, {})[method] = ratio
            shared = {"name": f"{name}-{method}", "unit": "instance", "config": f"model {model}"}
            shared |= {"command": command}
            optimal = (ratio < 1 + 1e-4).astype(float)
            rows.append(shared | {"metric": "optimal_fraction", "value": mean_interval(optimal)})
            rows.append(shared | {"metric": "ratio", "value": mean_interval(ratio)})
            print(f"{name}-{method}: ratio {ratio.mean():.4f}, optimal {optimal.mean():.1%}")
    folder = flags.out or results_table.RESULTS / "nco"
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            1, len(panels), figsize=(4.6 * len(panels) + 0.6, 3.4), squeeze=False
        )
        for axis, (name, lines) in zip(axes.flat, panels.items(), strict=True):
            for place, (method, ratio) in enumerate(lines.items()):
                style = {"color": PALETTE[place % len(PALETTE)], "linestyle": DASHES[place % 4]}
                axis.plot(np.linspace(0, 100, len(ratio)), ratio, label=method, **style)
            axis.set_title(f"{name}, {flags.instances} instances")
            axis.set_xlabel("instances, sorted (%)")
            axis.set_ylabel("ratio to the optimum")
            axis.legend()
        path = folder / "figure2_3.png"
        figure.savefig(path)
        plt.close(figure)
    if flags.out is None:
        made = [results_table.row(**row) for row in rows]
        title = "Figure 2.3 of Pham 2021: ratios to the optimum of the same instances"
        results_table.write_table(results_table.table_path("nco/ratios"), title, made)
    print(f"wrote {path}")
    return 0


def figure_tours(models: dict[str, str], flags: argparse.Namespace, command: str) -> int:
    """Figure 2.4: tours of the first public instance by each model, and a near-optimal one."""
    from experiments.tours import Panel, caption, draw_panels

    del command
    panels = []
    options = Options(active_steps=flags.active_steps)
    for model, name in models.items():
        loaded = pretrained.load(model)
        task = nco_methods.task(name, loaded.config)
        if task.sign > 0:
            raise ValueError(f"{model}: expected a network of tours, got one of {name}")
        instances = pointer_training.public_instances(task.items, 1)
        methods = nco_methods.baselines(task, options)
        methods |= nco_methods.learned(task, [loaded], options)
        found = {each: methods[each].solve(instances) for each in ("greedy", "active", "optimal")}
        shortest = min(float(each.values[0]) for each in found.values())
        for method, each in found.items():
            assert each.actions is not None
            assert found["optimal"].actions is not None
            text = caption(float(each.values[0]), best=shortest)
            reference = found["optimal"].actions[0]
            title = f"{name}, {method}"
            panels.append(Panel(title, instances[0], each.actions[0], None, text, reference))
    path = (flags.out or results_table.RESULTS / "nco") / "figure2_4.png"
    draw_panels(path, panels)
    print(f"wrote {path}")
    return 0


FIGURE = {"figure2.3": figure_ratios, "figure2.4": figure_tours}


if __name__ == "__main__":
    raise SystemExit(main())
