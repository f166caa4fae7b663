"""Glue of the travelling salesman: builds an `Experiment` from `experiments/configs/nco/tsp.py`."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from experiments import data
from experiments.nco import decoding as solution_search
from experiments.nco import solver_pool, tours
from experiments.nco import training as pointer_training
from experiments.nco.decoding import Model
from experiments.report.interval import mean_interval
from experiments.report.markdown import markdown
from experiments.runner.checks import ConfigError, check_bool, check_int
from experiments.runner.experiment import Experiment, Phase
from experiments.runner.workdir import replace_text
from nco import search, solvers
from nco.policy_gradient import Policy
from nco.problems import tsp

SOLVERS: dict[str, Callable[..., np.ndarray]] = {
    "christofides": solvers.christofides,
    "or_tools": solvers.or_tools,
    "near_optimal": solver_pool.near_optimal,
}


def build(config: ConfigDict) -> Experiment:
    """Checks the config and makes the experiment; raises ConfigError naming the key."""
    _check(config)
    policy = pointer_training.policy(config, tsp.problem)
    learner = pointer_training.learner(config, tsp.problem, (config.batch_size, config.cities, 2))

    def batch(_: Any, key: Any, step: Any) -> Any:
        return tsp.problem.sample(key, config.batch_size, config.cities)

    # Validation instances have a seed of their own, apart from every run's and from the test sets'.
    validation = tsp.sample(jax.random.key(20_000), config.eval.instances, config.cities)
    decode = jax.jit(functools.partial(search.greedy, policy, tsp.problem))

    def evaluate(state: Any, step: int) -> dict[str, float]:
        return {"tour_length": -float(jnp.mean(decode(state.params, validation).reward))}

    return Experiment(
        init=learner.init,
        phases=(Phase("train", config.steps, learner.update, batch, ()),),
        cycle=False,
        evaluate=evaluate,
        headline=("tour_length", "min"),
        finish=functools.partial(_finish, config, policy),
    )


def _check(config: ConfigDict) -> None:
    check_int(config, "cities", low=1, high=1000)
    pointer_training.check(config)
    pointer_training.check_finish(config)
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


def _finish(config: ConfigDict, policy: Policy, state: Any, workdir: Path) -> list[dict[str, Any]]:
    """Saves the model; compares it with solvers; searches for a tour of real cities."""
    pointer_training.save_model(config, f"tsp{config.cities}", state, Path(workdir))
    rows = []
    if config.finish.instances:
        rows += _compare(config, policy, state.params, Path(workdir))
    if config.finish.real_cities:
        rows += _real_cities(config, policy, state.params, Path(workdir))
    if rows:
        table = markdown(rows, columns=("name", "metric", "value", "low", "high", "n"))
        replace_text(Path(workdir) / "table.md", table + "\n")
    return rows


def _compare(
    config: ConfigDict, policy: Policy, params: Any, workdir: Path
) -> list[dict[str, Any]]:
    """Greedy, best of samples and solvers on fresh instances: the first of the public test set."""
    count, options = config.finish.instances, config.finish
    instances = pointer_training.public_instances(config.cities, count)
    model = Model(policy, params, f"tsp{config.cities}", tsp.problem)
    found = pointer_training.decode_and_sample(model, instances, options)
    if options.solvers:
        processes = min(2, os.cpu_count() or 1)
        for name, solver in SOLVERS.items():
            solved = solver_pool.solve_many(solver, instances, processes=processes)
            found[name] = solved.tours
    reached = {name: lengths(instances, tour) for name, tour in found.items()}
    rows = []
    for name, values in reached.items():
        row = {"name": f"tsp{config.cities}-{name}", "metric": "tour_length", "unit": "instance"}
        rows.append(row | mean_interval(values)._asdict())
    first = {name: tour[0] for name, tour in found.items()}
    captions = {name: float(values[0]) for name, values in reached.items()}
    title = f"One instance of {config.cities} cities"
    tours.draw_tours(workdir / "tours.png", instances[0], first, captions, title=title)
    return rows


def _real_cities(
    config: ConfigDict, policy: Policy, params: Any, workdir: Path
) -> list[dict[str, Any]]:
    """Active Search from the trained model on the first of the bundled European cities."""
    cities = data.load("cities")
    count = min(config.cities, len(cities["name"]))
    coords, names = np.asarray(cities["coords"][:count], np.float32), list(cities["name"][:count])
    km = float(cities["km_per_unit"])
    found = solution_search.active_search(
        Model(policy, params, "cities", tsp.problem),
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
    tours.draw_tours(
        workdir / "cities.png",
        coords,
        panels,
        reached,
        unit="km",
        labels=names,
        title="Real cities",
    )
    return rows


def lengths(instances: np.ndarray, tour: np.ndarray) -> np.ndarray:
    """Lengths of closed tours in float64, `[instances]`."""
    ordered = np.take_along_axis(instances.astype(np.float64), tour[..., None], axis=1)
    return np.linalg.norm(ordered - np.roll(ordered, -1, axis=1), axis=-1).sum(-1)
