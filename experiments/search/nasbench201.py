"""LaNAS and the baselines on NAS-Bench-201: glue of `configs/search/nasbench201`, and the table.

    python -m experiments.search.nasbench201                          hours
    python -m experiments.search.nasbench201 --tasks cifar10 --methods lanas random
    python -m experiments.search.nasbench201 --list

How many samples a search needs until it has found the best of the 15,625 cells. The reward is a
cell's validation accuracy, the mean over its trainings in the table, from 0 to 1; the best is any
cell of the largest reward (there is one in each task); samples are distinct cells. A seed that has
not found it within the budget counts as the budget. Random search expects 7,813.

`lanas_thesis` has the thesis's settings: height 8, 200 random samples, 50 between trees, c = 0.1 of
the largest reward, its algorithm's bound. `lanas` is smaller, with equation 4.3's bound;
`lanas_h5_c0.1` and so on have that of algorithm 4, at other heights and c; `lanas_tuned` has c = 0
and a tree every 5 samples, chosen among five settings on CIFAR-10. `alphax` and `mcts` have
c = 0.1, `alphax_c0.5` and `mcts_c0.5` the thesis's c, `mcts_equation` its other printed bound.
`lamcts` splits by k-means on standardised [x, f], `lamcts_unscaled` as printed. tpe,
tpe_300 and smac need Optuna and SMAC, and run only if they are named; TPE asks for cells that it
knows, for hours on ImageNet-16, so that tpe_300 has a limit of trials.
"""

from __future__ import annotations

import argparse
import functools
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np

from experiments.data import catalogue, registry
from experiments.data.nasbench201 import TASKS
from experiments.report import table as results_table
from experiments.report.finished import Finished
from experiments.runner import search_loop
from experiments.runner.checks import check_choice, check_float, check_int
from experiments.runner.evaluators import evaluator
from experiments.runner.experiment import Search
from experiments.runner.one_thread import one_thread
from experiments.search import tables as search_tables
from experiments.search.methods import TABLE_METHODS, on_table
from experiments.search.nasbench201_methods import METHODS, ROWS, TOGETHER
from experiments.search.tabular import Found, sample_rows
from search import benchmarks, interface
from search.partition import Kernel, require

TABLE = "search/nasbench201"
TITLE = "NAS-Bench-201: samples to the best cell"
MADE_UP = "made_up"


def rewards(task: str) -> np.ndarray:
    """Mean validation accuracy of each cell, from 0 to 1, float64 [15625].

    The task "made_up" needs no data: a random sum over the edges' operations, and noise.

    Raises:
      MissingDataset: the table is not there; the message is the command that gets it.
    """
    if task == MADE_UP:
        space, rng = benchmarks.nasbench201(), interface.generator(0)
        scores = space.one_hot(space.every()) @ rng.standard_normal(30)
        scores += 0.5 * rng.standard_normal(ROWS)
        return 0.5 + 0.4 * (scores - scores.min()) / np.ptp(scores)
    table = registry.load(catalogue.DATASETS["nasbench201"])
    return np.nanmean(table[f"{task}_val_acc"].astype(np.float64), axis=1) / 100.0


def build(config: Any) -> Search:
    """A search of NAS-Bench-201's table by the ask/tell form."""
    task = check_choice(config, "task", (*TASKS, MADE_UP))
    check_choice(config, "method", TABLE_METHODS)
    for method in ("lanas", "lamcts", "alphax", "mcts"):
        check_float(config, f"{method}.c", low=0.0)
    check_choice(config, "lamcts.kernel", get_args(Kernel))
    for key in ("height", "num_init", "select_every"):
        check_int(config, f"lanas.{key}", low=1)
    space = benchmarks.nasbench201()
    settings = config.get(config.method, {})
    searcher = on_table(config.method, space, dict(settings), budget=config.steps)
    work = Search(
        searcher=searcher,
        objective=functools.partial(benchmarks.look_up, space, rewards(task)),
        headline=("accuracy", "max"),
        evaluator=evaluator(config),
        batch_size=check_int(config, "batch_size", low=1),
        asynchronous=bool(config.asynchronous),
    )
    label = f"{task}-{config.method}"
    return work._replace(finish=lambda found, _: search_loop.best_row(label, work, found))


@search_tables.command
def main(arguments: Sequence[str] | None = None) -> int:
    """Fills the table."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    options = _options(words)
    if options.list:
        for name, (_, config) in METHODS.items():
            print(f"{name:32}{config}")
        return 0
    out = search_tables.path(options, TABLE)
    for method, package in {"tpe": "optuna", "tpe_300": "optuna", "smac": "smac"}.items():
        if method in options.methods:
            require(package)
    command = shlex.join(["python", "-m", "experiments.search.nasbench201", *words])
    with one_thread():
        _fill(options, out, command)
    names = [f"{task}-{method}" for task in options.tasks for method in options.methods]
    search_tables.show(out, names)
    return 0


def _fill(options: argparse.Namespace, out: Path, command: str) -> None:
    kept = Finished(options.workdir / "finished.jsonl")
    for task in options.tasks:
        values = rewards(task)
        for method in options.methods:
            run, config = METHODS[method]
            seeds = list(range(options.seeds))
            keys = {seed: f"{task} {method} {config} seed={seed}" for seed in seeds}
            missing = [seed for seed in seeds if keys[seed] not in kept]
            together = TOGETHER if method.startswith("lanas") else 1
            for start in range(0, len(missing), together):
                some, since = missing[start : start + together], time.monotonic()
                for seed, found in zip(some, run(values, some), strict=True):
                    seconds = (time.monotonic() - since) / len(some)
                    kept.add(keys[seed], [found.samples, bool(found.found), seconds])
            done = [kept[key] for key in keys.values()]
            found_all = [Found(each[0], each[1], np.zeros(0)) for each in done]
            made = sample_rows(
                f"{task}-{method}", found_all, command=command, config=config, seeds=seeds,
                seconds=sum(each[2] for each in done),
            )  # fmt: skip
            results_table.write_table(out, TITLE, made, whole=True)
            print(f"{task}-{method}: {made[0]['value']:.0f} samples (median)", flush=True)


def _options(words: Sequence[str]) -> argparse.Namespace:
    parser = search_tables.parser("search_nasbench201", __doc__, "runs/search_nasbench201")
    add = parser.add_argument
    add("--tasks", nargs="+", default=list(TASKS), choices=TASKS, help="whose accuracies (all)")
    every = [name for name in METHODS if name not in ("tpe", "tpe_300", "smac")]
    add("--methods", nargs="+", default=every, choices=list(METHODS), metavar="METHOD",
        help="--list shows them (all but tpe, tpe_300 and smac)")  # fmt: skip
    add("--seeds", type=search_tables.positive, default=50, metavar="N", help="searches each (50)")
    add("--list", action="store_true", help="show the methods and their settings")
    return parser.parse_args(words)


if __name__ == "__main__":
    raise SystemExit(main())
