"""Every method of chapter 2 on the field's public instances, from a trained model, into results/.

    python -m experiments.nco_tables tsp20 --model nco/tsp20 --cpu_devices 2
    python -m experiments.nco_tables knap50 --model nco/knap50 --methods greedy,active --active 20
    python -m experiments.nco_tables tsp50 --model nco/tsp50 --ensemble runs/a runs/b --dry_run

Writes `experiments/results/nco/tsp.json` or `knapsack.json`: for each method the mean over
instances with its 95% interval, `gap_percent` to the optimum of the same instances (TSP:
near-optimal tours), and `instance_seconds`, without the time to compile. How many instances a
method takes, always the first ones, is its row's n. The seed's figures stand beside them as
references, though it measured on instances that were never published: compare gaps.

Methods: greedy, sampleK (the best of K), perturbedK (the best of K greedy solutions under noise),
greedy@k (the best of k models), active (Active Search from the model), active_scratch (from an
untrained one), random (as many solutions as active_scratch); for tours optimal, christofides,
or_tools, or_tools with simulated_annealing, tabu_search and guided_local_search, which run until
their time limit, and proven (OR-Tools' CP-SAT, where --proven asks for it); for knapsacks optimal
(OR-Tools' branch and bound), dynamic_programming, skip_greedy and stop_greedy.
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from experiments import nco_methods, pointer_training, pretrained, results_table
from experiments.nco_methods import Method, Options, Task
from experiments.results_table import mean_interval

SOURCE = {-1: "Pham 2021, table 2.2", 1: "Pham 2021, table 2.4"}
TITLES = {
    "tsp": "Tours of the public instances: the pointer network and its baselines",
    "knapsack": "Knapsacks of the public instances: the pointer network and its baselines",
}
# The seed's figures, on its own instances.
_METHODS = ("greedy", "sample", "active", "active_scratch", "christofides", "or_tools", "optimal")
_TOURS = {
    20: (3.89, 3.82, 3.82, 3.96, 4.30, 3.85, 3.82),
    50: (5.95, 5.70, 5.70, 5.87, 6.62, 5.80, 5.68),
    100: (8.30, 7.88, 7.83, 8.19, 9.18, 7.99, 7.77),
}
_FILLINGS = ("greedy", "active_scratch", "random", "stop_greedy", "optimal")
_VALUES = {
    50: (19.86, 20.07, 17.91, 19.24, 20.07),
    100: (40.27, 40.50, 33.23, 38.53, 40.50),
    200: (57.10, 57.45, 35.95, 55.42, 57.45),
}
HELP = {
    "instances": "instances for greedy decoding and the cheap baselines",
    "first": "instances for sampling and the solvers",
    "samples": "solutions an instance, the best kept",
    "temperature": "of sampling",
    "perturbation": "noise, in nats, under which greedy decoding is repeated",
    "active": "instances for Active Search from the model",
    "active_steps": "its updates, of 128 samples each",
    "learning_rate": "its learning rate",
    "scratch": "instances for Active Search from an untrained model, and for random search",
    "scratch_steps": "updates of the former, and as many solutions of the latter",
    "scratch_rate": "its learning rate",
    "limited": "instances for the solvers with a time limit",
    "time_limit": "their limit in seconds",
    "proven": "instances for tours that are proven optimal: seconds to minutes each from 50 cities",
}


class Parser(argparse.ArgumentParser):
    """Says what was wrong, on exit code 2."""

    def error(self, message: str) -> NoReturn:
        print(f"error: {message}\nTry --help.", file=sys.stderr)
        raise SystemExit(2)


def reference(task: Task, method: str) -> float | None:
    """The seed's figure for a method's mean, if it has one."""
    columns, table = (_METHODS, _TOURS) if task.sign < 0 else (_FILLINGS, _VALUES)
    name = "sample" if method.startswith("sample") else method
    if name not in columns or task.items not in table:
        return None
    return table[task.items][columns.index(name)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    flags = parse(words)
    if flags.cpu_devices:
        from experiments.distributed import make_cpu_devices

        make_cpu_devices(flags.cpu_devices)
    start = time.monotonic()
    command = shlex.join(["python", "-m", "experiments.nco_tables", *words])
    rows = [
        results_table.row(**row, command=command, config=f"model {flags.model}", seconds=seconds)
        for row, seconds in measure(flags.found, flags.methods, flags.optimal, flags.label)
    ]
    print(f"{len(rows)} rows in {time.monotonic() - start:.0f} s")
    if not flags.dry_run:
        group = "tsp" if flags.found.sign < 0 else "knapsack"
        path = results_table.table_path(f"nco/{group}")
        results_table.write_table(path, TITLES[group], rows)
        print(f"wrote {path}; the README files follow by: python -m experiments.report --tables")
    return 0


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Reads the command line, loads the models, and finds the methods that were asked for."""
    parser = Parser(
        prog="python -m experiments.nco_tables",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("task", metavar="TASK", help="tsp20, tsp50, tsp100, knap50, knap100, knap200 (or any size)")
    add("--model", required=True, help="a shipped name (nco/tsp20), a run's folder, or an .npz")
    add("--ensemble", nargs="+", default=[], metavar="MODEL", help="more models, for greedy@k")
    add("--methods", metavar="A,B", help="these only (all)")
    add("--label", default="", metavar="L", help="rows are called TASK-L-METHOD: another recipe")
    for name, default in Options._field_defaults.items():
        text = f"{HELP[name]} (%(default)s)"
        add(f"--{name}", type=type(default), default=default, metavar="N", help=text)
    add("--cpu_devices", type=int, metavar="N", help="split instances over N cores")
    add("--dry_run", action="store_true", help="measure, write nothing")
    flags = parser.parse_args(words)
    options = Options(*[getattr(flags, name) for name in Options._fields])
    for name, given in options._asdict().items():
        counts = name in ("instances", "first", "active", "scratch", "limited", "proven")
        low = 0 if name in ("active", "scratch", "limited", "proven") else 1 if counts else 1e-12
        if not low <= given <= (10_000 if counts else 1e9):
            interval = f"{low} to 10,000" if counts else "a positive number"
            parser.error(f"--{name}: expected {interval}, got {given}")
    try:
        loaded = [pretrained.load(name) for name in (flags.model, *flags.ensemble)]
        flags.found = nco_methods.task(flags.task, loaded[0].config)
        methods = nco_methods.baselines(flags.found, options)
        flags.optimal = methods["optimal"]
        methods |= nco_methods.learned(flags.found, loaded, options)
    except (LookupError, ValueError, OSError) as error:
        parser.error(str(error))
    if flags.label and not re.fullmatch(r"[a-z0-9_]+", flags.label):
        parser.error(f"--label: expected a word in lower case, got {flags.label!r}")
    asked = flags.methods.split(",") if flags.methods else list(methods)
    if not set(asked) <= set(methods):
        parser.error(f"--methods: expected some of {','.join(methods)}; got {flags.methods}")
    flags.methods = {name: methods[name] for name in methods if name in asked}
    return flags


def measure(
    task: Task, methods: dict[str, Method], optimal: Method, label: str = ""
) -> Iterator[tuple[dict[str, Any], float]]:
    """Yields `(row, seconds)` for each method and metric; prints each method as it is done."""
    methods = {name: method for name, method in methods.items() if method.first}
    most = max((method.first for method in methods.values()), default=1)
    prefix = f"{task.name}-{label}-" if label else f"{task.name}-"
    everything = pointer_training.public_instances(task.items, most)
    start = time.monotonic()
    best = optimal.solve(everything[: optimal.first])  # first, since all gaps need it
    before = time.monotonic() - start
    for name, method in methods.items():
        start = time.monotonic()
        reached = best if name == "optimal" else method.solve(everything[: method.first])
        seconds = time.monotonic() - start + (before if name == "optimal" else 0.0)
        value = mean_interval(reached.values)
        print(f"{prefix}{name}: {value.value:.5g} (n={value.n}, {seconds:.0f} s)", flush=True)
        paper = reference(task, name)
        source = "" if paper is None else SOURCE[task.sign]
        shared = {"name": f"{prefix}{name}", "unit": "instance"}
        yield (
            shared | {"metric": task.metric, "value": value, "reference": paper, "source": source},
            seconds,
        )
        yield (
            shared | {"metric": "instance_seconds", "value": mean_interval(reached.seconds)},
            seconds,
        )
        if name != "optimal":
            gap = nco_methods.gap_percent(task, reached.values, best.values)
            yield shared | {"metric": "gap_percent", "value": mean_interval(gap)}, seconds


if __name__ == "__main__":
    raise SystemExit(main())
