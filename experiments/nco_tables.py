"""Every method of chapter 2 on the field's public instances, from a trained model, into results/.

    python -m experiments.nco_tables tsp20 --model nco/tsp20
    python -m experiments.nco_tables knap50 --model runs/knap50 --active 50 --active_steps 200

Writes `experiments/results/nco/tsp.json` or `knapsack.json`: one row a method and metric, the mean
over instances with its 95% interval, and `gap_percent` to the optimum of the same instances (TSP:
near-optimal tours). Greedy decoding takes all instances; each other method takes the first ones, as
many as its row's n says. The seed's figures stand beside them as references, though it measured on
instances that were never published: compare gaps.
"""

from __future__ import annotations

import argparse
import functools
import re
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn

import jax
import numpy as np

from experiments import nco_knapsack, pointer_training, pretrained, results_table, solver_pool
from experiments.results_table import mean_interval
from nco import pointer, search, solvers
from nco.policy_gradient import Policy
from nco.problems import knapsack, tsp
from nco.problems.problem import Problem

SOURCE = "Pham 2021, table 2.2"
SOURCE_KNAPSACK = "Pham 2021, table 2.4"
# The seed's figures, on its own instances.
REFERENCE = {
    "tsp20-greedy": 3.89,
    "tsp20-active": 3.82,
    "tsp20-christofides": 4.30,
    "tsp20-or_tools": 3.85,
    "tsp20-optimal": 3.82,
    "tsp50-greedy": 5.95,
    "tsp50-active": 5.70,
    "tsp50-christofides": 6.62,
    "tsp50-or_tools": 5.80,
    "tsp50-optimal": 5.68,
    "tsp100-greedy": 8.30,
    "tsp100-active": 7.83,
    "tsp100-christofides": 9.18,
    "tsp100-or_tools": 7.99,
    "tsp100-optimal": 7.77,
    "knap50-greedy": 19.86,
    "knap50-random": 17.91,
    "knap50-stop_greedy": 19.24,
    "knap50-optimal": 20.07,
    "knap100-greedy": 40.27,
    "knap100-random": 33.23,
    "knap100-stop_greedy": 38.53,
    "knap100-optimal": 40.50,
    "knap200-greedy": 57.10,
    "knap200-random": 35.95,
    "knap200-stop_greedy": 55.42,
    "knap200-optimal": 57.45,
}


class Task(NamedTuple):
    """What a table is about.

    Attributes:
        name: "tsp20", "knap50", ...
        problem: what is solved.
        items: cities or items.
        metric: "tour_length" or "value".
        sign: -1 where less is better.
    """

    name: str
    problem: Problem
    items: int
    metric: str
    sign: int


class Parser(argparse.ArgumentParser):
    """Says what was wrong, on exit code 2."""

    def error(self, message: str) -> NoReturn:
        print(f"error: {message}\nTry --help.", file=sys.stderr)
        raise SystemExit(2)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = Parser(
        prog="python -m experiments.nco_tables",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("task", metavar="TASK", help="tsp20, tsp50, tsp100, knap50, knap100, knap200 (or any size)")
    add("--model", required=True, help="a shipped name (nco/tsp20), a run's folder, or an .npz")
    for name, default, text in (
        ("instances", 10_000, "for greedy decoding and the cheap baselines"),
        ("first", 1000, "instances for sampling, random search and the other solvers"),
        ("samples", 1280, "solutions an instance, the best kept"),
        ("active", 20, "instances for Active Search from the trained model; 0 leaves it out"),
        ("active_steps", 200, "updates of Active Search, of 128 samples each"),
    ):
        add(f"--{name}", type=int, default=default, metavar="N", help=f"{text} (%(default)s)")
    add("--temperature", type=float, default=1.0, metavar="T", help="of sampling (%(default)s)")
    add("--learning_rate", type=float, default=1e-5, metavar="R", help="of Active Search")
    add("--dry_run", action="store_true", help="print the table, write nothing")
    flags = parser.parse_args(words)
    for name, low in (("instances", 1), ("first", 1), ("samples", 1), ("active", 0)):
        if not low <= getattr(flags, name) <= (10_000 if name != "samples" else 10**9):
            parser.error(f"--{name}: expected at least {low}, got {getattr(flags, name)}")
    chunk = min(flags.samples, pointer_training.CHUNK)
    if flags.samples % chunk:
        parser.error(f"--samples: expected a multiple of {chunk}, got {flags.samples}")
    try:
        model = pretrained.load(flags.model)
        found = task(flags.task, model)
    except (LookupError, ValueError, OSError) as error:
        parser.error(str(error))
    start = time.monotonic()
    rows = [
        results_table.row(
            **row,
            command=shlex.join(["python", "-m", "experiments.nco_tables", *words]),
            config=f"model {flags.model}",
            seconds=seconds,
        )
        for row, seconds in measure(found, model, flags)
    ]
    print(f"{len(rows)} rows in {time.monotonic() - start:.0f} s")
    if not flags.dry_run:
        group = "tsp" if found.sign < 0 else "knapsack"
        path = results_table.table_path(f"nco/{group}")
        title = {
            "tsp": "Tours of the public instances: the pointer network and its baselines",
            "knapsack": "Knapsacks of the public instances: the pointer network and its baselines",
        }[group]
        results_table.write_table(path, title, rows)
        print(f"wrote {path}")
    return 0


def task(name: str, model: pretrained.Pretrained) -> Task:
    """The task of a name such as "tsp20".

    Raises:
        ValueError: no such name, or the model was trained for another problem.
    """
    match = re.fullmatch(r"(tsp|knap)(\d{1,4})", name)
    if match is None or int(match[2]) < 1:
        raise ValueError(f"TASK: expected tspN or knapN, such as tsp20; got {name!r}")
    kind, items = match[1], int(match[2])
    trained = model.config.get("experiment")
    if trained != {"tsp": "nco_tsp", "knap": "nco_knapsack"}[kind]:
        raise ValueError(f"--model: expected one trained for {kind}, got one of {trained}")
    if kind == "tsp":
        return Task(name, tsp.problem, items, "tour_length", -1)
    capacity = model.config["capacity"]
    if items == model.config["num_items"]:
        return Task(name, knapsack.problem(capacity), items, "value", 1)
    raise ValueError(
        f"TASK: expected knap{model.config['num_items']}, as in training; got {name!r}"
    )


def measure(task: Task, model: pretrained.Pretrained, flags: argparse.Namespace) -> Any:
    """Yields `(row, seconds)` for each method and metric; prints each method as it is done."""
    settings = model.config["model"]
    policy = pointer.policy(
        task.problem, **{key: settings[key] for key in ("glimpses", "clip", "forget_bias")}
    )
    params = jax.tree.map(jax.numpy.asarray, model.params)
    everything = pointer_training.public_instances(task.items, flags.instances)
    start = time.monotonic()
    best, methods = baselines(task, everything, flags, model)
    before = {"optimal": time.monotonic() - start}  # found first, since all gaps need it
    methods |= learned(task, policy, params, flags)
    for name, (count, solve) in methods.items():
        instances = everything[: min(count, flags.instances)]
        start = time.monotonic()
        reached = solve(instances)
        seconds = time.monotonic() - start + before.get(name, 0.0)
        interval = mean_interval(reached)
        print(f"{task.name}-{name}: {interval.value:.5g} (n={interval.n}, {seconds:.0f} s)")
        reference = REFERENCE.get(f"{task.name}-{name}")
        source = "" if reference is None else (SOURCE if task.sign < 0 else SOURCE_KNAPSACK)
        shared = {"name": f"{task.name}-{name}", "unit": "instance"}
        yield (
            shared
            | {"metric": task.metric, "value": interval, "reference": reference, "source": source},
            seconds,
        )
        if name != "optimal":
            both = min(len(best), len(reached))
            gap = 100 * task.sign * (best[:both] - reached[:both]) / best[:both]
            yield shared | {"metric": "gap_percent", "value": mean_interval(gap)}, seconds


Method = tuple[int, Callable[[np.ndarray], np.ndarray]]


def learned(
    task: Task, policy: Policy, params: Any, flags: argparse.Namespace
) -> dict[str, Method]:
    """The network's methods: how many instances each takes, and what it reaches on them."""
    problem = task.problem

    def greedy(instances: np.ndarray) -> np.ndarray:
        return score(task, instances, pointer_training.greedy(policy, problem, params, instances))

    def sampled(proposing: Policy) -> Callable[[np.ndarray], np.ndarray]:
        draw = functools.partial(
            pointer_training.best_of, samples=flags.samples, temperature=flags.temperature
        )
        return lambda x: score(task, x, draw(proposing, problem, params, x))

    def active(instances: np.ndarray) -> np.ndarray:
        run = jax.jit(
            functools.partial(
                search.active_search,
                policy,
                problem,
                num_candidates=128 * flags.active_steps,
                learning_rate=flags.learning_rate,
            )
        )
        keys = jax.random.split(jax.random.key(0), len(instances))
        actions = [run(params, key, one).actions for key, one in zip(keys, instances, strict=True)]
        return score(task, instances, np.stack(actions))

    methods: dict[str, Method] = {
        "greedy": (flags.instances, greedy),
        f"sample{flags.samples}": (flags.first, sampled(policy)),
        "random": (flags.first, sampled(search.uniform_policy(problem))),
    }
    if flags.active:
        methods["active"] = (flags.active, active)
    return methods


def baselines(
    task: Task, instances: np.ndarray, flags: argparse.Namespace, model: pretrained.Pretrained
) -> tuple[np.ndarray, dict[str, Method]]:
    """The optimum of each instance (of the first ones for the TSP), and the solvers."""
    if task.sign > 0:
        found = nco_knapsack.solved(instances, model.config["capacity"])
        each = {
            name: (flags.instances, lambda x, worth=worth: worth[: len(x)])
            for name, worth in found.items()
        }
        return found["optimal"], each  # type: ignore[return-value]

    def by(solver: Any) -> Callable[[np.ndarray], np.ndarray]:
        return lambda x: solver_pool.solve_many(solver, x).lengths

    best = by(solvers.near_optimal)(instances[: flags.first])
    return best, {
        "optimal": (flags.first, lambda x: best[: len(x)]),
        "christofides": (flags.first, by(solvers.christofides)),
        "or_tools": (flags.first, by(solvers.or_tools)),
    }


def score(task: Task, instances: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """Tour lengths or values, in float64."""
    if task.sign > 0:
        return nco_knapsack.values(instances, actions)
    ordered = np.take_along_axis(instances.astype(np.float64), actions[..., None], axis=1)
    return np.linalg.norm(ordered - np.roll(ordered, -1, axis=1), axis=-1).sum(-1)


if __name__ == "__main__":
    raise SystemExit(main())
