"""Every method of chapter 2 by its name: the network's searches, and the solvers beside them.

A method takes instances and tells what it reached on each and how long one took. `experiments.
nco_tables` runs them on the field's public instances.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, get_args

import jax
import numpy as np

from experiments.nco import decoding as solution_search
from experiments.nco import knapsack as nco_knapsack
from experiments.nco import solver_pool
from experiments.nco import tsp as nco_tsp
from experiments.nco.decoding import Found, Model
from experiments.runner import pretrained
from nco import knapsack_solvers, pointer, search, solvers
from nco.problems.problem import Problem

METAHEURISTICS = get_args(solvers.Metaheuristic)


class Task(NamedTuple):
    """What is solved.

    Attributes:
        name: "tsp20", "knap50", ...
        problem: its functions.
        items: cities or items.
        metric: "tour_length" or "value".
        sign: -1 where less is better.
        capacity: of the knapsack.
        stop_rule: the knapsack's.
    """

    name: str
    problem: Problem
    items: int
    metric: str
    sign: int
    capacity: float = 0.0
    stop_rule: bool = False


class Reached(NamedTuple):
    """What a method reached.

    Attributes:
        values: float64 `[instances]`, tour lengths or values.
        seconds: float64 `[instances]`, without the time to compile; instances that were solved
            together share it equally.
        actions: int32 `[instances, items]`, or `None`.
        together: how many were solved together; the last ones may be fewer.
    """

    values: np.ndarray
    seconds: np.ndarray
    actions: np.ndarray | None = None
    together: int = 1


class Options(NamedTuple):
    """How far each method goes; the numbers of instances are of the first ones.

    Attributes:
        instances: for greedy decoding and the cheap baselines.
        first: for sampling and the solvers.
        samples: solutions an instance, the best kept.
        temperature: of sampling.
        perturbation: deviation, in nats, of the noise under which greedy decoding is repeated.
        active: instances for Active Search from the trained model.
        active_steps: its updates an instance, of 128 samples each.
        active_batch: instances that a device searches at once; 0 leaves it to the device.
        learning_rate: its rate.
        scratch: instances for Active Search from an untrained model, and for random search with as
            many solutions.
        scratch_steps: its updates an instance.
        scratch_rate: its rate.
        limited: instances for the solvers that run until their time is up.
        time_limit: their seconds an instance.
        proven: instances whose optimal tour is proven.
        proof_limit: seconds that a proof may take.
    """

    instances: int = 10_000
    first: int = 1000
    samples: int = 1280
    temperature: float = 1.0
    perturbation: float = 1.0
    active: int = 50
    active_steps: int = 200
    active_batch: int = 0
    learning_rate: float = 1e-5
    scratch: int = 5
    scratch_steps: int = 1000
    scratch_rate: float = 1e-3
    limited: int = 100
    time_limit: float = 0.5
    proven: int = 0
    proof_limit: float = 60.0


class Method(NamedTuple):
    """What a method reaches on instances.

    Attributes:
        first: how many of the first instances it is asked to take.
        solve: the method.
        how: its settings in words, for the record.
    """

    first: int
    solve: Callable[[np.ndarray], Reached]
    how: str = ""


def task(name: str, config: dict[str, Any]) -> Task:
    """The task of a name such as "tsp20", for a model that was trained by a config.

    Raises:
        ValueError: no such name, or the model was trained for another problem.
    """
    match = re.fullmatch(r"(tsp|knap)(\d{1,4})", name)
    if match is None or int(match[2]) < 1:
        raise ValueError(f"TASK: expected tspN or knapN, such as tsp20; got {name!r}")
    kind, items = match[1], int(match[2])
    if kind == "tsp" and items < 2:
        raise ValueError(f"TASK: expected two cities or more, got {name!r}")
    trained = config.get("experiment")
    if trained != {"tsp": "nco_tsp", "knap": "nco_knapsack"}[kind]:
        raise ValueError(f"--model: expected one trained for {kind}, got one of {trained}")
    if kind == "tsp":
        return Task(name, solution_search.tsp.problem, items, "tour_length", -1)
    if items != config["num_items"]:
        raise ValueError(f"TASK: expected knap{config['num_items']}, as in training; got {name!r}")
    capacity, stop_rule = config["capacity"], config["stop_rule"]
    problem = solution_search.knapsack.problem(capacity, stop_rule=stop_rule)
    return Task(name, problem, items, "value", 1, capacity, stop_rule)


def task_of(config: dict[str, Any]) -> Task:
    """The task that a model was trained for.

    Raises:
        ValueError: it is no model of chapter 2.
    """
    kinds = {"nco_tsp": ("tsp", "cities"), "nco_knapsack": ("knap", "num_items")}
    if config.get("experiment") not in kinds:
        raise ValueError(f"expected a model of tours or knapsacks, got {config.get('experiment')}")
    kind, size = kinds[config["experiment"]]
    return task(f"{kind}{config[size]}", config)


def learned(
    task: Task, loaded: Sequence[pretrained.Pretrained], options: Options
) -> dict[str, Method]:
    """The network's methods. More than one model makes the ensemble's row too.

    Raises:
        ValueError: the models are not of one shape.
    """
    model = solution_search.of(loaded[0], "--model")
    noisy = solution_search.of(loaded[0], "--model", perturbation=options.perturbation)
    uniform = Model(search.uniform_policy(task.problem), (), "random", task.problem)
    draw = functools.partial(
        solution_search.best_of_samples,
        num_samples=options.samples,
        temperature=options.temperature,
    )

    def active(model: Model, steps: int, rate: float) -> tuple[Callable[[np.ndarray], Found], str]:
        run = functools.partial(solution_search.active_search, at_once=options.active_batch)
        return (
            lambda x: run(model, x, steps=steps, learning_rate=rate),
            f"{steps} updates of 128 samples, rate {rate:g}",
        )

    many = 128 * options.scratch_steps
    untrained = _untrained(loaded[0], model)
    methods: dict[str, tuple[int, Callable[[np.ndarray], Found], str]] = {
        "greedy": (options.instances, functools.partial(solution_search.greedy, model), ""),
        f"sample{options.samples}": (
            options.first,
            functools.partial(draw, model),
            f"{options.samples} samples, T = {options.temperature:g}",
        ),
        f"perturbed{options.samples}": (
            options.first,
            functools.partial(draw, noisy),
            f"{options.samples} solutions, deviation {options.perturbation:g}",
        ),
        "active": (
            options.active,
            *active(model, options.active_steps, options.learning_rate),
        ),
        "active_scratch": (
            options.scratch,
            *active(untrained, options.scratch_steps, options.scratch_rate),
        ),
        "random": (
            options.scratch,
            lambda x: solution_search.best_of_samples(
                uniform, x, num_samples=many, temperature=1.0
            ),
            f"{many} samples",
        ),
    }
    if len(loaded) > 1:
        kinds = [
            (each.config["experiment"], each.config["model"], jax.tree.map(np.shape, each.params))
            for each in loaded
        ]
        if any(kind != kinds[0] for kind in kinds):
            raise ValueError("--ensemble: expected models with the same settings and shapes")
        stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *[m.params for m in loaded])
        ensemble = functools.partial(solution_search.greedy_ensemble, model, stacked)
        methods[f"greedy@{len(loaded)}"] = (options.instances, ensemble, f"{len(loaded)} models")

    def reached(solve: Callable[[np.ndarray], Found], x: np.ndarray) -> Reached:
        found = solve(x)
        values = score(task, x, found.actions)
        return Reached(values, found.seconds, found.actions, found.together)

    return {
        name: Method(first, functools.partial(reached, solve), how)
        for name, (first, solve, how) in methods.items()
    }


def _untrained(loaded: pretrained.Pretrained, model: Model) -> Model:
    """The same network before training: its config's start, by seed 0."""
    settings = loaded.config["model"]
    params = pointer.init(
        jax.random.key(0),
        input_dim=model.problem.input_dim,
        embed=settings["embed"],
        hidden=settings["hidden"],
        scale=settings["scale"] or None,
    )
    return model._replace(params=params, name="untrained")


def baselines(task: Task, options: Options) -> dict[str, Method]:
    """The solvers; the first one, "optimal", is what gaps are measured against."""
    if task.sign > 0:
        return {
            name: Method(
                options.first if name == "dynamic_programming" else options.instances,
                functools.partial(_fill, solver, task.capacity),
            )
            for name, solver in (
                nco_knapsack.SOLVERS | {"dynamic_programming": knapsack_solvers.dynamic_programming}
            ).items()
        }
    methods = {
        "optimal": Method(options.first, functools.partial(_tour, solver_pool.near_optimal)),
        "christofides": Method(options.first, functools.partial(_tour, solvers.christofides)),
        "or_tools": Method(options.first, functools.partial(_tour, solvers.or_tools)),
    }
    proof = functools.partial(solvers.exact, time_limit_s=options.proof_limit)
    methods["proven"] = Method(options.proven, functools.partial(_tour, proof))
    for heuristic in METAHEURISTICS:
        solver = functools.partial(
            solvers.or_tools, metaheuristic=heuristic, time_limit_s=options.time_limit
        )
        methods[f"or_tools_{heuristic}"] = Method(
            options.limited, functools.partial(_tour, solver), f"{options.time_limit:g} s"
        )
    return methods


def _tour(solver: Callable[..., np.ndarray], instances: np.ndarray) -> Reached:
    found = solver_pool.solve_many(solver, instances)
    return Reached(found.lengths, found.seconds, found.tours)


def _fill(solver: Callable[..., np.ndarray], capacity: float, instances: np.ndarray) -> Reached:
    return Reached(*nco_knapsack.fill(solver, instances, capacity))


def score(task: Task, instances: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """Tour lengths or values, in float64."""
    if task.sign > 0:
        stop_at = task.capacity if task.stop_rule else None
        return nco_knapsack.values(instances, actions, stop_at)
    return nco_tsp.lengths(instances, actions)


def gap_percent(task: Task, reached: np.ndarray, best: np.ndarray) -> np.ndarray:
    """How much worse than the optimum of the same instances, in percent of it."""
    count = min(len(best), len(reached))
    worse = task.sign * (best[:count] - reached[:count])
    return 100 * worse / np.where(best[:count] > 0, best[:count], 1.0)  # 0 where both are
