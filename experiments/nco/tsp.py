"""Glue of the travelling salesman: builds an `Experiment` from `experiments/configs/nco/tsp.py`."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from experiments import data
from experiments.nco import decoding, solver_pool, tours, training
from experiments.nco.problems import PROBLEMS, lengths
from experiments.report.rows import Row
from experiments.runner.checks import ConfigError, check_bool, check_int
from experiments.runner.command import stage
from experiments.runner.experiment import Experiment
from nco import pointer, solvers
from nco.many import Model
from nco.problems import tsp

SOLVERS: dict[str, Callable[..., np.ndarray]] = {
    "christofides": solvers.christofides,
    "or_tools": solvers.or_tools,
    "near_optimal": solver_pool.near_optimal,
}


def build(config: ConfigDict) -> Experiment:
    """Checks the config and makes the experiment; raises ConfigError naming the key."""
    _check(config)
    return training.by_policy_gradients(config, PROBLEMS["tsp"], functools.partial(_finish, config))


def _check(config: ConfigDict) -> None:
    check_int(config, "cities", low=1, high=1000)
    training.check(config)
    training.check_finish(config)
    if check_bool(config, "finish.solvers"):
        for name, solver in SOLVERS.items():  # a missing library is found now, not after training
            try:
                solver(np.eye(4))
            except ImportError as error:
                raise ConfigError(
                    "finish.solvers", f"false, as {name} cannot run: {error}", True
                ) from error
    check_bool(config, "finish.real_cities")
    check_int(config, "finish.search_candidates", low=1)


def _finish(config: ConfigDict, state: Any, workdir: Path) -> list[Row]:
    """Saves the model; compares it with solvers; searches for a tour of real cities."""
    name, workdir = f"tsp{config.cities}", Path(workdir)
    training.save_model(config, name, state, workdir)
    rows = []
    if config.finish.instances:
        chosen = SOLVERS if config.finish.solvers else {}
        tools = {each: functools.partial(_solve, tool) for each, tool in chosen.items()}
        compared = training.compare(config, PROBLEMS["tsp"], name, state.params, tools, workdir)
        rows += compared.rows
        first = {method: tour[0] for method, tour in compared.found.items()}
        captions = {method: float(values[0]) for method, values in compared.reached.items()}
        title = f"One instance of {config.cities} cities"
        picture = workdir / "tours.png"
        panels = tours.side_by_side(compared.instances[0], first, captions)
        tours.draw_panels(picture, panels, title=title)
    if config.finish.real_cities:
        rows += _real_cities(config, state.params, workdir)
    if rows:
        training.write_table(rows, workdir)
    return rows


def _solve(
    solver: Callable[..., np.ndarray], instances: np.ndarray, done: Callable[[int], Any]
) -> np.ndarray:
    processes, told = min(2, os.cpu_count() or 1), lambda *_: done(1)
    return solver_pool.solve_many(solver, instances, processes=processes, progress=told).tours


def _real_cities(config: ConfigDict, params: Any, workdir: Path) -> list[Row]:
    """Active Search from the trained model on the first of the bundled European cities."""
    cities = data.load("cities")
    count = min(config.cities, len(cities["name"]))
    coords, names = np.asarray(cities["coords"][:count], np.float32), list(cities["name"][:count])
    km = float(cities["km_per_unit"])
    with stage(f"Active Search of {count} cities, {config.finish.search_candidates:,} tours"):
        found = decoding.active_search(
            Model(pointer.policy(tsp.problem), params, "cities", tsp.problem),
            coords[None],
            steps=-(-config.finish.search_candidates // 128),
            learning_rate=config.finish.search_rate,
        )
    panels, rows = {"active": found.actions[0]}, []
    if config.finish.solvers:
        panels["near_optimal"] = solver_pool.near_optimal(coords)
    reached = {name: float(lengths(coords[None], t[None])[0]) * km for name, t in panels.items()}
    for name, value in reached.items():
        row = {"name": f"cities{count}-{name}", "metric": "tour_km", "value": value}
        rows.append(row | {"low": value, "high": value, "n": 1, "unit": "instance"})
    maps = tours.side_by_side(coords, panels, reached, unit="km", labels=names)
    tours.draw_panels(workdir / "cities.png", maps, title="Real cities")
    return rows
