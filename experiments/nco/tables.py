"""Every method of chapter 2 on the field's public instances, from a trained model, into results/.

    python -m experiments.nco.tables tsp20 --model nco/tsp20 --cpu_devices 2
    python -m experiments.nco.tables knap50 --model nco/knap50 --methods greedy,active --active 20
    python -m experiments.nco.tables tsp50 --model nco/tsp50 --ensemble runs/a runs/b --dry_run
    python -m experiments.nco.tables tsp50 --model runs/paper50 --paper   # the seed's budgets

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
(OR-Tools' branch and bound), dynamic_programming (on weights that are rounded up), skip_greedy and
stop_greedy.

--paper searches as long as the seed did, by the paper preset's finish.samples, active_steps and
scratch_steps: 1,280,000 samples, 10,000 updates from a trained model, 100,000 (200,000 at 100
cities, 5,000 for knapsacks) from an untrained one. That is for accelerators.
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from experiments.nco import decoding as solution_search
from experiments.nco import methods as nco_methods
from experiments.nco import printed as seed_tables
from experiments.nco import training as pointer_training
from experiments.nco.methods import Method, Options, Task
from experiments.report import rows as result_rows
from experiments.report import table as results_table
from experiments.report.interval import mean_interval
from experiments.runner import config as configs
from experiments.runner import pretrained
from experiments.runner.checks import ConfigError
from experiments.runner.distributed import make_cpu_devices

TITLES = {
    "tsp": "Tours of the public instances: the pointer network and its baselines",
    "knapsack": "Knapsacks of the public instances: the pointer network and its baselines",
}
HELP = {
    "instances": "instances for greedy decoding and the cheap baselines",
    "first": "instances for sampling and the solvers",
    "samples": "solutions an instance, the best kept",
    "temperature": "of sampling",
    "perturbation": "noise, in nats, under which greedy decoding is repeated",
    "active": "instances for Active Search from the model",
    "active_steps": "its updates, of 128 samples each",
    "active_batch": "instances that a device searches at once",
    "learning_rate": "its learning rate",
    "scratch": "instances for Active Search from an untrained model, and for random search",
    "scratch_steps": "updates of the former, and as many solutions of the latter",
    "scratch_rate": "its learning rate",
    "limited": "instances for the solvers with a time limit",
    "time_limit": "their limit in seconds",
    "proven": "instances for tours that are proven optimal: seconds to minutes each from 50 cities",
    "proof_limit": "seconds that a proof may take",
}
COUNTS = ("instances", "first", "active", "scratch", "limited", "proven")  # of instances
MAY_BE_NONE = ("active", "active_batch", "scratch", "limited", "proven")
PAPER = ("samples", "active_steps", "scratch_steps")  # what --paper reads of the paper preset
UNSAID = {
    "samples": f"{Options().samples:,}",
    "active_steps": str(Options().active_steps),
    "active_batch": "one on a CPU, on others what takes some 3 GiB",
    "scratch_steps": f"{Options().scratch_steps:,}",
    "temperature": "the T* recorded for this model, or its finish.temperature",
    "learning_rate": "the model's finish.search_rate, or 1e-5",
    "scratch_rate": "100 times learning_rate",
}


class Parser(argparse.ArgumentParser):
    """Says what was wrong, on exit code 2."""

    def error(self, message: str) -> NoReturn:
        print(f"error: {message}\nTry --help.", file=sys.stderr)
        raise SystemExit(2)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    flags = parse(words)
    start = time.monotonic()
    group = "tsp" if flags.found.sign < 0 else "knapsack"
    path = results_table.table_path(f"nco/{group}")
    if not (flags.dry_run or flags.replace) and (taken := _of_others(path, flags)):
        others = ", ".join(taken.values())
        print(
            f"error: --model: {path.name} holds rows {', '.join(taken)} of {others}, not of "
            f"{flags.model}; --label NAME calls yours TASK-NAME-METHOD, --replace drops those",
            file=sys.stderr,
        )
        return 2
    command = shlex.join(["python", "-m", "experiments.nco.tables", *words])
    count, failed = 0, []
    for name, made in measure(flags.found, flags.methods, flags.optimal, flags.label):
        if isinstance(made, Exception):
            failed.append(f"{name}: {made}")
            continue
        rows = [
            result_rows.row(
                **row, command=command, config=f"model {flags.model}{how}", seconds=seconds
            )
            for row, how, seconds in made
        ]
        count += len(rows)
        if not flags.dry_run:  # after each method: what was measured stays
            results_table.write_table(path, TITLES[group], rows)
    print(f"{count} rows in {time.monotonic() - start:.0f} s")
    if not flags.dry_run:
        print(f"wrote {path}; the README files follow by: python -m experiments.report --tables")
    for line in failed:
        print(f"failed: {line}", file=sys.stderr)
    return 1 if failed else 0


def _of_others(path: Path, flags: argparse.Namespace) -> dict[str, str]:
    """Recorded rows that these methods would replace though another model made them, and it."""
    if not path.exists():
        return {}
    prefix = f"{flags.found.name}-{flags.label}-" if flags.label else f"{flags.found.name}-"
    learned = [f"{prefix}{name}" for name in flags.methods if name in flags.learned]
    made = {
        row["name"]: row["config"].split(",")[0].removeprefix("model ")
        for row in results_table.read_table(path).rows
        if row["name"] in learned
    }
    return {name: model for name, model in made.items() if model != str(flags.model)}


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Reads the command line, loads the models, and finds the methods that were asked for."""
    parser = Parser(
        prog="python -m experiments.nco.tables",
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
        shown = UNSAID.get(name, default)
        said = None if name in UNSAID else default
        text = f"{HELP[name]} ({shown})"
        add(f"--{name}", type=type(default), default=said, metavar="N", help=text)
    add("--paper", action="store_true", help="as many samples and updates as the seed's")
    add("--cpu_devices", type=int, metavar="N", help="split instances over N cores")
    add("--replace", action="store_true", help="replace rows that another model has made")
    add("--dry_run", action="store_true", help="measure, write nothing; minutes, as without it")
    flags = parser.parse_args(words)
    if flags.label and not re.fullmatch(r"[a-z0-9_]+", flags.label):
        parser.error(f"--label: expected a word in lower case, got {flags.label!r}")
    try:
        if flags.cpu_devices is not None:
            make_cpu_devices(flags.cpu_devices)  # before anything else uses jax
        loaded = [pretrained.load(name) for name in (flags.model, *flags.ensemble)]
        flags.found = nco_methods.task(flags.task, loaded[0].config)
        options = _options(parser, flags, loaded[0].config)
        flags.label = flags.label or loaded[0].config.get("learning", "")
        methods = nco_methods.baselines(flags.found, options)
        flags.optimal = methods["optimal"]
        learned = nco_methods.learned(flags.found, loaded, options)
        methods |= learned
        flags.learned = frozenset(learned) - {"active_scratch", "random"}  # theirs is no model's
    except (LookupError, ValueError, OSError) as error:
        parser.error(str(error))
    asked = flags.methods.split(",") if flags.methods else list(methods)
    if not set(asked) <= set(methods):
        parser.error(f"--methods: expected some of {','.join(methods)}; got {flags.methods}")
    flags.methods = {name: methods[name] for name in methods if name in asked}
    return flags


def _options(parser: Parser, flags: argparse.Namespace, config: dict[str, Any]) -> Options:
    """What was asked, with what depends on the model filled in."""
    known = solution_search.settings(flags.model, config, flags.found.items)
    unsaid = Options()._asdict() | known._asdict()
    unsaid["scratch_rate"] = 100 * known.learning_rate  # training's first rate, in the seed
    if flags.paper:
        room = "tsp" if flags.found.sign < 0 else "knapsack"
        try:
            finish = configs.load(f"nco/{room}:{flags.found.items},paper").finish
        except ConfigError:
            parser.error(f"--paper: the seed has no budget for {flags.task}")
        unsaid |= {name: finish[name] for name in PAPER if name in finish}
    given = {name: getattr(flags, name) for name in Options._fields}
    given = {name: unsaid[name] if value is None else value for name, value in given.items()}
    for name, value in given.items():
        counts = name in COUNTS
        low = 0 if name in MAY_BE_NONE else 1 if counts else 1e-12
        if not low <= value <= (10_000 if counts else 1e9):
            interval = f"{low} to 10,000" if counts else "a positive number"
            parser.error(f"--{name}: expected {interval}, got {value}")
    return Options(**given)


def measure(
    task: Task, methods: dict[str, Method], optimal: Method, label: str = ""
) -> Iterator[tuple[str, list[tuple[dict[str, Any], str, float]] | Exception]]:
    """Yields each method's name with its rows, settings and seconds, or with why it failed."""
    methods = {name: method for name, method in methods.items() if method.first}
    most = max((method.first for method in methods.values()), default=1)
    prefix = f"{task.name}-{label}-" if label else f"{task.name}-"
    everything = pointer_training.public_instances(task.items, most)
    start = time.monotonic()
    best = optimal.solve(everything[: optimal.first])  # first, since all gaps need it
    before = time.monotonic() - start
    for name, method in methods.items():
        start = time.monotonic()
        try:
            reached = best if name == "optimal" else method.solve(everything[: method.first])
        except (RuntimeError, TimeoutError) as error:  # no solution, or no proof, in time
            yield f"{prefix}{name}", error
            continue
        seconds = time.monotonic() - start + (before if name == "optimal" else 0.0)
        value = mean_interval(reached.values)
        gap = nco_methods.gap_percent(task, reached.values, best.values)
        above = "" if name == "optimal" else f", gap {np.mean(gap):.3g}% (n={len(gap)})"
        print(
            f"{prefix}{name}: {value.value:.5g} (n={value.n}{above}, {seconds:.0f} s)", flush=True
        )
        figure, source = seed_tables.printed(f"{prefix}{name}", task.metric)
        shared = {"name": f"{prefix}{name}", "unit": "instance"}
        rows = [
            shared | {"metric": task.metric, "value": value, "reference": figure, "source": source},
            shared | {"metric": "instance_seconds"} | _seconds(reached.seconds, reached.together),
        ]
        if name != "optimal":
            rows.append(shared | {"metric": "gap_percent", "value": mean_interval(gap)})
        how = f", {method.how}" if method.how else ""
        yield f"{prefix}{name}", [(row, how, seconds) for row in rows]


def _seconds(seconds: np.ndarray, together: int) -> dict[str, Any]:
    """Mean seconds an instance; its interval is over dispatches, which share theirs equally.

    Args:
        seconds: of each instance.
        together: instances in a dispatch, the last one's perhaps fewer.
    """
    each = mean_interval(seconds[::together])
    mean = float(seconds.mean())  # dispatches have different sizes
    low, high = max(0.0, mean - (each.value - each.low)), mean + (each.high - each.value)
    unit = "round" if together > 1 else "instance"
    return {"value": mean, "low": low, "high": high, "n": each.n, "unit": unit}


if __name__ == "__main__":
    raise SystemExit(main())
