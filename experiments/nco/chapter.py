"""Tables 2.2 to 2.4 and figures 2.3 and 2.4 of Pham 2021, beside the seed's numbers.

    python -m experiments.nco.chapter table2.2 --models nco/tsp20 nco/tsp50
    python -m experiments.nco.chapter table2.3 --recorded
    python -m experiments.nco.chapter figure2.3 --models nco/tsp20 --instances 200

A table measures its methods by `experiments.nco.tables`, for each model given, then puts a row a
cell into `experiments/results/nco/tables.json`, the seed's figure as its reference, and a row for
the cell's gap to the optimum of the same instances; with --recorded it only collects what
`results/nco/tsp.json` and `knapsack.json` hold. Options after `--` go to `experiments.nco.tables`
(`-- --active 15`). It says which cells nothing fills.

Our instances are the field's public ones, the seed's were never published: compare gaps.
`experiments/nco/printed.py` says what stands in for what is in no registry.
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.nco import decoding as solution_search
from experiments.nco import methods as nco_methods
from experiments.nco import tables as nco_tables
from experiments.nco import training as pointer_training
from experiments.nco.methods import Options, Task
from experiments.nco.printed import PRINTED, source
from experiments.nco.tables import Parser
from experiments.report import rows as result_rows
from experiments.report import table as results_table
from experiments.report.interval import mean_interval
from experiments.runner import pretrained
from experiments.runner.pretrained import Pretrained

TITLE = "Tables 2.2, 2.3 and 2.4 of Pham 2021, cell by cell"
FIGURES = ("figure2.3", "figure2.4")
COMPARED = ("christofides", "or_tools", "greedy", "sample", "active", "active_scratch")
Models = dict[str, tuple[Task, Pretrained]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    cut = words.index("--") if "--" in words else len(words)
    flags = parse(words[:cut], words[cut + 1 :])
    try:
        models = _load(flags.models)
        if flags.what in PRINTED:
            return table(flags.what, models, flags.rest, recorded=flags.recorded)
        command = shlex.join(["python", "-m", "experiments.nco.chapter", *words])
        return FIGURE[flags.what](models, flags, command)
    except (LookupError, ValueError, OSError) as error:
        print(f"error: {error}\nTry --help.", file=sys.stderr)
        return 2


def _load(names: Sequence[str]) -> Models:
    """Models with their tasks; each (task, way of learning) once.

    Raises:
        ValueError: two are alike, whose rows would have one name.
    """
    models: Models = {}
    for name in names:
        loaded = pretrained.load(name)
        task = nco_methods.task_of(loaded.config)
        for other, (known, before) in models.items():
            learning = {each.config.get("learning") for each in (loaded, before)}
            if known.name == task.name and len(learning) == 1:
                raise ValueError(f"--models: {other} and {name} are both for {task.name}")
        models[name] = (task, loaded)
    return models


def parse(words: Sequence[str], rest: Sequence[str] = ()) -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(
        prog="python -m experiments.nco.chapter",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("what", choices=(*PRINTED, *FIGURES), help="what to fill or draw")
    add("--models", nargs="+", default=[], metavar="MODEL", help="shipped names or runs' folders")
    add("--recorded", action="store_true", help="tables: only collect what results/ holds")
    add("--instances", type=int, metavar="N", help="figure2.3: instances (100)")
    add("--active_steps", type=int, metavar="N", help="figures: updates of Active Search (200)")
    add("--scratch_steps", type=int, metavar="N", help="figure2.3: from an untrained model (none)")
    add("--out", type=Path, metavar="DIR", help="figures: where (experiments/results/nco)")
    flags = parser.parse_args(words)
    flags.rest = list(rest)
    of_figures = ("instances", "active_steps", "scratch_steps", "out")
    if flags.what in PRINTED:
        for name in of_figures:
            if getattr(flags, name) is not None:
                parser.error(f"--{name} is of figures; for a table, options follow after --")
        if flags.recorded and (flags.models or rest):
            parser.error("--recorded measures nothing: expected no --models, and nothing after --")
    elif flags.recorded or rest:
        parser.error(f"{flags.what}: expected neither --recorded nor options after --")
    if not flags.models and not flags.recorded:
        parser.error(f"--models: {flags.what} needs at least one")
    for name, default, low in (
        ("instances", 100, 2),
        ("active_steps", 200, 1),
        ("scratch_steps", 0, 0),
    ):
        if getattr(flags, name) is None:
            setattr(flags, name, default)
        if not low <= getattr(flags, name) <= 10_000:
            parser.error(f"--{name}: expected {low} to 10,000, got {getattr(flags, name)}")
    return flags


def table(what: str, models: Models, rest: Sequence[str], *, recorded: bool) -> int:
    """Measures (unless `recorded`) and collects the cells of a table; prints it.

    Raises:
        ValueError: a model is for no row of the table.
    """
    rows = PRINTED[what].rows
    for model, (task, _) in models.items():
        if task.name not in rows:
            raise ValueError(f"{model}: {what} has rows {', '.join(rows)}, got {task.name}")
    codes = [
        nco_tables.main([task.name, "--model", model, *rest]) for model, (task, _) in models.items()
    ]
    if "--dry_run" in rest:
        return max(codes)
    cells, missing = collect(what)
    if cells:
        results_table.write_table(results_table.table_path("nco/tables"), TITLE, cells)
    for cell in cells:
        if cell["metric"] == "gap_percent":
            continue
        figure = f", the seed's {cell['reference']:g}" if cell["reference"] is not None else ""
        print(f"{cell['name']}: {cell['value']:.4g} (n={cell['n']}{figure})")
    for name in missing:
        print(f"{name}: not measured yet")
    return max(codes, default=0)


def collect(what: str) -> tuple[list[dict[str, Any]], list[str]]:
    """The cells of a table from the recorded rows, and the names of those that nothing fills."""
    printed = PRINTED[what]
    group = "knapsack" if what == "table2.4" else "tsp"
    path = results_table.table_path(f"nco/{group}")
    rows = results_table.read_table(path).rows if path.exists() else []
    by_name = {(row["name"], row["metric"]): row for row in rows}
    cells, missing = [], []
    for place, task in enumerate(printed.rows):
        for column in printed.columns:
            name = f"{what[5:]} {task.upper()} {column.title}"
            name += f" (here {column.ours})" if column.ours else ""
            pattern = re.compile(rf"{task}-{column.method}")
            found = [row["name"] for row in rows if pattern.fullmatch(row["name"])]
            best = found[-1] if found else ""  # the most samples, as the file is sorted by number
            if (best, printed.metric) not in by_name:
                missing.append(name)
                continue
            if "@" in best:  # as many models as there were
                name = re.sub(r"@\d+", f"@{best.rpartition('@')[2]}", name)
            paper = column.cells[place]
            for metric in (printed.metric, "gap_percent"):
                if (best, metric) not in by_name:
                    continue
                row = by_name[best, metric]
                known = paper if metric == printed.metric else None
                text = "" if known is None else source(what, column, task)
                config = f"{best}, {row['config']}"
                changed = {"name": name, "reference": known, "source": text, "config": config}
                if what == "table2.3" and metric == "gap_percent":
                    continue  # a table of times
                cells.append(row | changed)
    return cells, missing


def figure_ratios(models: Models, flags: argparse.Namespace, command: str) -> int:
    """Figure 2.3: ratios to the optimum, sorted, for each method on the same instances."""
    from experiments.report.figures import DASHES, PALETTE, STYLE, pyplot

    options = Options(
        instances=flags.instances,
        first=flags.instances,
        active=flags.instances,
        active_steps=flags.active_steps,
        scratch=flags.instances,
        scratch_steps=max(flags.scratch_steps, 1),
    )
    plt, folder = pyplot(), flags.out or results_table.RESULTS / "nco"
    folder.mkdir(parents=True, exist_ok=True)
    compared = [name for name in COMPARED if flags.scratch_steps or name != "active_scratch"]
    rows: list[dict[str, Any]] = []
    panels: dict[str, dict[str, np.ndarray]] = {}
    for model, (task, loaded) in models.items():
        name = "-".join(filter(None, (task.name, loaded.config.get("learning", ""))))
        methods = _methods(model, task, loaded, options)
        instances = pointer_training.public_instances(task.items, flags.instances)
        best = methods["optimal"].solve(instances).values
        for method, each in methods.items():
            if method.rstrip("0123456789") not in compared:
                continue
            ratio = np.sort((each.solve(instances).values / best) ** -task.sign)
            panels.setdefault(name, {})[method] = ratio
            shared = {"name": f"{name}-{method}", "unit": "instance", "config": f"model {model}"}
            shared |= {"command": command}
            shared["config"] += f", {each.how}" if each.how else ""
            optimal = (ratio < 1 + 1e-4).astype(float)
            rows.append(shared | {"metric": "optimal_fraction", "value": mean_interval(optimal)})
            rows.append(shared | {"metric": "ratio", "value": mean_interval(ratio)})
            print(f"{name}-{method}: ratio {ratio.mean():.4f}, optimal {optimal.mean():.1%}")
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
        made = [result_rows.row(**row) for row in rows]
        title = "Figure 2.3 of Pham 2021: ratios to the optimum of the same instances"
        results_table.write_table(results_table.table_path("nco/ratios"), title, made)
    print(f"wrote {path}")
    return 0


def figure_tours(models: Models, flags: argparse.Namespace, command: str) -> int:
    """Figure 2.4: tours of the first public instance by each model, and a near-optimal one."""
    from experiments.nco.tours import Panel, caption, draw_panels

    del command
    panels = []
    options = Options(active_steps=flags.active_steps)
    for model, (task, _) in models.items():
        if task.sign > 0:
            raise ValueError(f"{model}: expected a network of tours, got one of {task.name}")
    folder = flags.out or results_table.RESULTS / "nco"
    folder.mkdir(parents=True, exist_ok=True)
    for model, (task, loaded) in models.items():
        instances = pointer_training.public_instances(task.items, 1)
        methods = _methods(model, task, loaded, options)
        found = {each: methods[each].solve(instances) for each in ("greedy", "active", "optimal")}
        shortest = min(float(each.values[0]) for each in found.values())
        for method, each in found.items():
            assert each.actions is not None
            assert found["optimal"].actions is not None
            text = caption(float(each.values[0]), best=shortest)
            reference = found["optimal"].actions[0]
            title = f"{task.name}, {method}"
            panels.append(Panel(title, instances[0], each.actions[0], None, text, reference))
    path = folder / "figure2_4.png"
    draw_panels(path, panels)
    print(f"wrote {path}")
    return 0


def _methods(
    model: str, task: Task, loaded: Pretrained, options: Options
) -> dict[str, nco_methods.Method]:
    known = solution_search.settings(model, loaded.config, task.items)
    options = options._replace(**known._asdict(), scratch_rate=100 * known.learning_rate)
    return nco_methods.baselines(task, options) | nco_methods.learned(task, [loaded], options)


FIGURE = {"figure2.3": figure_ratios, "figure2.4": figure_tours}


if __name__ == "__main__":
    raise SystemExit(main())
