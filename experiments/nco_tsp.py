"""Glue of the travelling salesman: builds an `Experiment` from `experiments/configs/nco/tsp.py`."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from experiments import data, pointer_training, pretrained, solver_pool, tours
from experiments.config import ConfigError, check_bool, check_float, check_int
from experiments.experiment import Experiment, Phase
from experiments.markdown_tables import markdown
from experiments.results_table import mean_interval
from nco import search, solvers
from nco.policy_gradient import Policy
from nco.problems import tsp

SOLVERS = {
    "Christofides": solvers.christofides,
    "OR-Tools": solvers.or_tools,
    "near-optimal": solvers.near_optimal,
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
        finish=functools.partial(_finish, config, policy, decode),
    )


def _check(config: ConfigDict) -> None:
    check_int(config, "cities", low=1, high=1000)
    pointer_training.check(config)
    check_int(config, "eval.instances", low=1)
    check_int(config, "finish.instances", low=0, high=10_000)
    check_int(config, "finish.samples", low=1)
    check_float(config, "finish.temperature", positive=True)
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
    check_float(config, "finish.search_rate", positive=True)
    if config.finish.instances and config.finish.samples % min(config.finish.samples, 128):
        raise ConfigError("finish.samples", "a multiple of 128", config.finish.samples)


def _finish(
    config: ConfigDict, policy: Policy, decode: Any, state: Any, workdir: Path
) -> list[dict[str, Any]]:
    """Saves the model; compares it with solvers; searches for a tour of real cities."""
    params = jax.tree.map(np.asarray, state.params)
    meta = {"step": int(state.step), "name": f"tsp{config.cities}"}
    settings = config.to_dict()
    settings["model"]["clip"] = config.model.clip or None
    pretrained.save(Path(workdir) / "model.npz", params, settings, meta)
    rows = []
    if config.finish.instances:
        rows += _compare(config, policy, decode, state.params, Path(workdir))
    if config.finish.real_cities:
        rows += _real_cities(config, policy, state.params, Path(workdir))
    if rows:
        table = markdown(rows, columns=("name", "metric", "value", "low", "high", "n"))
        _write(Path(workdir) / "table.md", table + "\n")
    return rows


def _compare(
    config: ConfigDict, policy: Policy, decode: Any, params: Any, workdir: Path
) -> list[dict[str, Any]]:
    """Greedy, best of samples and solvers on fresh instances: the first of the public test set."""
    count, options = config.finish.instances, config.finish
    rng = np.random.RandomState(1234)  # the test set that the field uses
    instances = rng.uniform(size=(10_000, config.cities, 2))[:count].astype(np.float32)
    sampled = jax.jit(
        functools.partial(
            search.best_of_samples,
            policy,
            tsp.problem,
            num_samples=options.samples,
            temperature=options.temperature,
        )
    )
    found: dict[str, np.ndarray] = {}
    found["greedy"] = np.asarray(decode(params, jnp.asarray(instances)).actions)
    size = min(count, 250)
    parts = [
        np.asarray(
            sampled(params, jax.random.key(i), jnp.asarray(_padded(instances, i, size)))[0][0]
        )
        for i in range(0, count, size)
    ]
    found[f"best of {options.samples}"] = np.concatenate(parts)[:count]
    if options.solvers:
        processes = min(2, os.cpu_count() or 1)
        for name, solver in SOLVERS.items():
            solved = solver_pool.solve_many(solver, instances, processes=processes)
            found[name] = solved.tours
    lengths = {name: _lengths(instances, tour) for name, tour in found.items()}
    rows = []
    for name, values in lengths.items():
        row = {"name": f"tsp{config.cities} {name}", "metric": "tour_length", "unit": "instance"}
        rows.append(row | mean_interval(values)._asdict())
    first = {name: tour[0] for name, tour in found.items()}
    captions = {name: float(values[0]) for name, values in lengths.items()}
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
    run = jax.jit(
        functools.partial(
            search.active_search,
            policy,
            tsp.problem,
            num_candidates=config.finish.search_candidates,
            learning_rate=config.finish.search_rate,
        )
    )
    result = run(params, jax.random.key(0), jnp.asarray(coords))
    panels, rows = {"Active Search": np.asarray(result.actions)}, []
    if config.finish.solvers:
        panels["near-optimal"] = solvers.near_optimal(coords)
    lengths = {name: float(_lengths(coords[None], t[None])[0]) * km for name, t in panels.items()}
    for name, value in lengths.items():
        row = {"name": f"cities{count} {name}", "metric": "tour_km", "value": value}
        rows.append(row | {"low": value, "high": value, "n": 1, "unit": "instance"})
    tours.draw_tours(
        workdir / "cities.png",
        coords,
        panels,
        lengths,
        unit="km",
        labels=names,
        title="Real cities",
    )
    return rows


def _lengths(instances: np.ndarray, tour: np.ndarray) -> np.ndarray:
    ordered = np.take_along_axis(instances.astype(np.float64), tour[..., None], axis=1)
    return np.linalg.norm(ordered - np.roll(ordered, -1, axis=1), axis=-1).sum(-1)


def _padded(instances: np.ndarray, start: int, size: int) -> np.ndarray:
    """`size` instances from `start` on, the last repeated, so that one program serves all parts."""
    index = np.minimum(np.arange(start, start + size), len(instances) - 1)
    return instances[index]


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text)
    os.replace(temporary, path)
