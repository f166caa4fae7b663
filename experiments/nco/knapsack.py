"""Glue of the knapsack: builds an `Experiment` from `experiments/configs/nco/knapsack.py`."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from experiments.nco import solver_pool, training
from experiments.nco.problems import PROBLEMS
from experiments.report.rows import Row
from experiments.runner.checks import check_bool, check_float, check_int
from experiments.runner.experiment import Experiment
from nco import knapsack_solvers

SOLVERS: dict[str, Any] = {
    "optimal": knapsack_solvers.exact,
    "skip_greedy": knapsack_solvers.ratio_greedy,
    "stop_greedy": functools.partial(knapsack_solvers.ratio_greedy, skip=False),
}


def build(config: ConfigDict) -> Experiment:
    """Checks the config and makes the experiment; raises ConfigError naming the key."""
    _check(config)
    return training.by_policy_gradients(
        config, PROBLEMS["knapsack"], functools.partial(_finish, config)
    )


def _check(config: ConfigDict) -> None:
    check_int(config, "num_items", low=1, high=1000)
    check_float(config, "capacity", low=0.0)
    check_bool(config, "stop_rule")
    training.check(config)
    training.check_finish(config)
    check_bool(config, "finish.solvers")


def _finish(config: ConfigDict, state: Any, workdir: Path) -> list[Row]:
    """Saves the model and compares it with solvers on the first public instances."""
    name, workdir = f"knap{config.num_items}", Path(workdir)
    training.save_model(config, name, state, workdir)
    if not config.finish.instances:
        return []
    chosen = SOLVERS if config.finish.solvers else {}
    tools = {each: functools.partial(_fill, config, tool) for each, tool in chosen.items()}
    compared = training.compare(config, PROBLEMS["knapsack"], name, state.params, tools, workdir)
    rows = compared.rows
    training.write_table(rows, workdir)
    return rows


def _fill(config: ConfigDict, solver: Any, instances: np.ndarray, _: Any) -> np.ndarray:
    return solver_pool.fill_many(solver, instances, config.capacity)[0]
