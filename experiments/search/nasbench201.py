"""LaNAS and the baselines on NAS-Bench-201: glue of `configs/search/nasbench201`, and the table.

    python -m experiments.report --fill search/nasbench201 --list
    python -m experiments.report --fill search/nasbench201 --only cifar10-lanas cifar10-random

How many samples a search needs until it has found the best of the 15,625 cells. The reward is a
cell's validation accuracy, the mean over its trainings in the table, from 0 to 1; the best is any
cell of the largest reward (there is one in each task); samples are distinct cells. A seed that has
not found it within the budget counts as the budget. Random search expects 7,813.

Rows are TASK-METHOD, `METHODS` below. `lanas_thesis` has the thesis's settings: height 8, 200
random samples, 50 between trees, c = 0.1 of the largest reward, its algorithm's bound. `lanas` is
smaller, with equation 4.3's bound; `lanas_h5_c0.1` and so on have that of algorithm 4, at other
heights and c; `lanas_tuned` has c = 0 and a tree every 5 samples, chosen among five settings on
CIFAR-10. `alphax` and `mcts` have c = 0.1, `alphax_c0.5` and `mcts_c0.5` the thesis's c,
`mcts_equation` its other printed bound. `lamcts` splits by k-means on standardised [x, f],
`lamcts_unscaled` as printed. tpe, tpe_300 and smac need Optuna and SMAC; TPE asks for cells that it
knows, for hours on ImageNet-16, so that tpe_300 has a limit of trials.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from jaxtyping import Float

from experiments.data import catalogue, registry
from experiments.data.nasbench201 import TASKS
from experiments.report.rows import Row
from experiments.report.sweep import Cell, Table, Workdirs
from experiments.runner.checks import check_choice
from experiments.runner.experiment import Search
from experiments.search import figures
from experiments.search.methods import TABLE_METHODS, Rewards, Wanted, asked
from experiments.search.tabular import found, sample_rows
from search import benchmarks, distinct, interface

MADE_UP = "made_up"
ROWS = 15_625
SEEDS = 50


@functools.cache
def rewards(task: str) -> Float[np.ndarray, " row"]:
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
    """A search of NAS-Bench-201's table; in the preset `best`, until it has found the best cell."""
    task = check_choice(config, "task", (*TASKS, MADE_UP))
    method = check_choice(config, "method", tuple(TABLE_METHODS))
    for each in TABLE_METHODS.values():
        each.check(config)
    entry, space, values = TABLE_METHODS[method], benchmarks.nasbench201(), rewards(task)
    settings = dict(config[entry.settings]) if entry.settings else {}
    searcher = entry.make(Rewards(space, values), Wanted(config.steps, settings))
    if config.get("distinct", False):
        searcher = distinct.searcher(searcher, space.dim, idle=entry.idle)
    return asked(
        config, searcher, functools.partial(benchmarks.look_up, space, values),
        f"{task}-{method}", headline=("accuracy", "max"),
        goal=float(values.max()) if config.get("until_best", False) else None,
    )  # fmt: skip


def _lanas(
    height: int = 5, c: float = 0.1, form: str = "equation", num_init: int = 50, every: int = 20
) -> dict[str, Any]:
    """LaNAS compiled, whose trials do not depend on the batch; its budget is of whole trees."""
    steps = num_init + 3000 // every * every
    return {
        "method": "lanas_table", "steps": steps, "batch_size": 25,
        "lanas.height": height, "lanas.c": c, "lanas.form": form,
        "lanas.num_init": num_init, "lanas.select_every": every,
    }  # fmt: skip


def _evolution(population: int, tournament: int) -> dict[str, Any]:
    return {
        "method": "regularised_evolution", "steps": 5000,
        "regularised_evolution.population": population,
        "regularised_evolution.tournament": tournament,
    }  # fmt: skip


def _uct(method: str, c: float, form: str = "algorithm") -> dict[str, Any]:
    name = method.partition("_")[0]
    return {"method": method, "steps": ROWS, f"{name}.c": c, f"{name}.form": form}


_LAMCTS = {"method": "lamcts", "steps": 1000, "batch_size": 10}
# Rows' names, and what is different from `search/nasbench201:TASK,best`.
METHODS: dict[str, dict[str, Any]] = {
    "random": {"method": "random", "steps": ROWS, "batch_size": 25},  # without replacement
    "regularised_evolution": _evolution(50, 10),
    "regularised_evolution_10_3": _evolution(10, 3),
    "regularised_evolution_100_25": _evolution(100, 25),
    "lanas": _lanas(),
    "lanas_thesis": _lanas(8, 0.1, "algorithm", 200, 50),
    "lanas_tuned": _lanas(5, 0.0, "algorithm", 50, 5),
    "lamcts": _LAMCTS,
    "lamcts_unscaled": _LAMCTS | {"lamcts.scale_values": False},
    "lamcts_bo": _LAMCTS | {"lamcts.scale_values": False, "lamcts.solver": "bo"},
    "alphax": _uct("alphax", 0.1),
    "alphax_c0.5": _uct("alphax", 0.5),
    "alphax_mlp": _uct("alphax_mlp", 0.1),
    "alphax_parts": _uct("alphax_parts", 0.1),
    "mcts": _uct("mcts", 0.1),
    "mcts_c0.5": _uct("mcts", 0.5),
    "mcts_equation": _uct("mcts", 0.1, "equation"),
    "q_learning": {"method": "q_learning", "steps": 2000},
    "tpe": {"method": "tpe", "steps": 1000},
    "tpe_300": {"method": "tpe", "steps": 300, "distinct": False},
    "smac": {"method": "smac", "steps": 1000},
    **{
        f"lanas_h{height}_c{c:g}": _lanas(height, c, "algorithm")
        for height in (3, 5, 7)
        for c in (0.0, 0.01, 0.03, 0.1, 0.5)
    },
    **{f"lanas_init{num_init}": _lanas(num_init=num_init) for num_init in (10, 200)},
    **{f"lanas_select{every}": _lanas(every=every) for every in (5, 50)},
}


def _rows(name: str, workdirs: Workdirs) -> list[Row]:
    best = float(rewards(name.partition("-")[0]).max())
    return sample_rows(name, found(workdirs[name], best))


def _lanas_settings() -> dict[str, dict[str, Any]]:
    """LaNAS's, by the rows that figure 4.6 shows."""
    return {
        f"cifar10-{name}": {
            key.removeprefix("lanas."): value
            for key, value in changes.items()
            if key.startswith("lanas.")
        }
        for name, changes in METHODS.items()
        if changes["method"] == "lanas_table"
    }


TABLES = {
    "search/nasbench201": Table(
        "NAS-Bench-201: samples to the best cell",
        {
            f"{task}-{method}": Cell(
                f"search/nasbench201:{task},best", {**changes, "num_seeds": SEEDS}
            )
            for task in TASKS
            for method, changes in METHODS.items()
        },
        _rows,
        functools.partial(figures.lanas, _lanas_settings()),
    )
}
