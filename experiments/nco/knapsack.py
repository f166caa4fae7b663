"""Glue of the knapsack: builds an `Experiment` from `experiments/configs/nco/knapsack.py`."""

from __future__ import annotations

import functools
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from experiments.nco import training as pointer_training
from experiments.nco.decoding import Model
from experiments.report.interval import mean_interval
from experiments.report.markdown import markdown
from experiments.runner.checks import ConfigError, check_bool, check_float, check_int
from experiments.runner.experiment import Experiment, Phase
from experiments.runner.workdir import replace_text
from nco import knapsack_solvers, search
from nco.policy_gradient import Policy
from nco.problems import knapsack
from nco.problems.problem import Problem

SOLVERS: dict[str, Any] = {
    "optimal": knapsack_solvers.exact,
    "skip_greedy": knapsack_solvers.ratio_greedy,
    "stop_greedy": functools.partial(knapsack_solvers.ratio_greedy, skip=False),
}


def build(config: ConfigDict) -> Experiment:
    """Checks the config and makes the experiment; raises ConfigError naming the key."""
    _check(config)
    problem = knapsack.problem(config.capacity, stop_rule=config.stop_rule)
    policy = pointer_training.policy(config, problem)
    learner = pointer_training.learner(config, problem, (config.batch_size, config.num_items, 2))

    def batch(_: Any, key: Any, step: Any) -> Any:
        return problem.sample(key, config.batch_size, config.num_items)

    # Validation instances have a seed of their own, apart from every run's and from the test sets'.
    validation = problem.sample(jax.random.key(20_000), config.eval.instances, config.num_items)
    decode = jax.jit(functools.partial(search.greedy, policy, problem))

    def evaluate(state: Any, step: int) -> dict[str, float]:
        return {"value": float(jnp.mean(decode(state.params, validation).reward))}

    return Experiment(
        init=learner.init,
        phases=(Phase("train", config.steps, learner.update, batch, ()),),
        cycle=False,
        evaluate=evaluate,
        headline=("value", "max"),
        finish=functools.partial(_finish, config, problem, policy),
    )


def _check(config: ConfigDict) -> None:
    check_int(config, "num_items", low=1, high=1000)
    check_float(config, "capacity", low=0.0)
    check_bool(config, "stop_rule")
    pointer_training.check(config)
    pointer_training.check_finish(config)
    if check_bool(config, "finish.solvers"):
        try:  # a missing library is found now, not after training
            knapsack_solvers.exact(np.ones(2), np.ones(2), 1.0)
        except ImportError as error:
            raise ConfigError(
                "finish.solvers", f"false, as one cannot run: {error}", True
            ) from error


def _finish(
    config: ConfigDict, problem: Problem, policy: Policy, state: Any, workdir: Path
) -> list[dict[str, Any]]:
    """Saves the model and compares it with solvers on the first public instances."""
    name = f"knap{config.num_items}"
    pointer_training.save_model(config, name, state, Path(workdir))
    if not config.finish.instances:
        return []
    instances = pointer_training.public_instances(config.num_items, config.finish.instances)
    model = Model(policy, state.params, name, problem)
    found = pointer_training.decode_and_sample(model, instances, config.finish)
    stop_at = config.capacity if config.stop_rule else None
    worth = {method: values(instances, actions, stop_at) for method, actions in found.items()}
    if config.finish.solvers:
        for method, solver in SOLVERS.items():
            worth[method], _ = fill(solver, instances, config.capacity)
    rows = [
        {"name": f"{name}-{method}", "metric": "value", "unit": "instance"}
        | mean_interval(each)._asdict()
        for method, each in worth.items()
    ]
    table = markdown(rows, columns=("name", "metric", "value", "low", "high", "n"))
    replace_text(Path(workdir) / "table.md", table + "\n")
    return rows


def values(instances: np.ndarray, actions: np.ndarray, stop_at: float | None = None) -> np.ndarray:
    """Value of what was taken, float64 `[instances]`; actions of -1 take nothing.

    Args:
        instances: weights and values, `[instances, items, 2]`.
        actions: items in the order of their choice, `[instances, items]`.
        stop_at: the capacity, under the stop rule, whose last item may not fit and then counts not.
    """
    chosen = np.where(actions >= 0, actions, 0)
    weight, gained = (
        np.where(actions >= 0, np.take_along_axis(column.astype(np.float64), chosen, axis=1), 0.0)
        for column in np.moveaxis(instances, -1, 0)
    )
    if stop_at is not None:
        gained = np.where(np.cumsum(weight, axis=1) <= stop_at, gained, 0.0)
    return gained.sum(axis=1)


def fill(solver: Any, instances: np.ndarray, capacity: float) -> tuple[np.ndarray, np.ndarray]:
    """Values of a solver's answers and its seconds, float64 `[instances]` each."""
    wide = instances.astype(np.float64)
    worth, seconds = np.zeros(len(wide)), np.zeros(len(wide))
    solver(*wide[0].T, capacity)  # imports what it needs
    for index, items in enumerate(wide):
        start = time.perf_counter()
        taken = solver(*items.T, capacity)
        seconds[index] = time.perf_counter() - start
        worth[index] = items[taken, 1].sum()
    return worth, seconds
