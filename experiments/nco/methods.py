"""Every method of chapter 2 by its name: what may be said of it, and how it solves instances.

A new method is a function here, and an entry of `METHODS`. Configs read the entries, so nothing
imports jax before a method is made.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import numpy as np
from ml_collections import ConfigDict

from experiments.nco import solver_pool
from experiments.nco.config import ACTIVE_STEPS, SAMPLES, SCRATCH_STEPS
from experiments.runner.checks import ConfigError, UserError, check_float, check_int
from nco import knapsack_solvers, solvers

if TYPE_CHECKING:
    from nco.many import Found, Model

METAHEURISTICS = get_args(solvers.Metaheuristic)
BATCH = 128  # solutions of an update of Active Search


class Part(NamedTuple):
    """Some instances, solved together.

    Attributes:
        inputs: float32 `[instances, items, features]`, as a network reads them.
        matrices: weights, float `[instances, city, city]`, where a solver is to go by these.
    """

    inputs: np.ndarray
    matrices: np.ndarray | None = None


Solve = Callable[[Part, int], "Found"]  # (part, seed)


class Method(NamedTuple):
    """A method of chapter 2.

    Attributes:
        make: `(config) -> solve`, where `solve(part, seed)` finds a solution of each instance.
        fields: of a config, with their values; None depends on the model.
        instances: how many it solves, where nothing else is asked for.
        part: how many of them between two entries of the journal; 0 leaves it to the device.
        problems: that it is for.
        paper: fields at the thesis's budget, by the task's name.
    """

    make: Callable[[ConfigDict], Solve]
    fields: Mapping[str, Any] = {}
    instances: int = 1000
    part: int = 100
    problems: tuple[str, ...] = ("tsp",)
    paper: Callable[[str], Mapping[str, Any]] = lambda task: {}


class Trained(NamedTuple):
    """A model, ready to search with: what its file says, and the items it was trained on."""

    config: dict[str, Any]
    meta: dict[str, Any]
    items: int
    model: Model


def trained(config: ConfigDict) -> list[Trained]:
    """Loads the models that a config names.

    Raises:
        UserError: one is not there, or is of another problem.
    """
    from experiments.nco import decoding, problems
    from experiments.runner import pretrained

    kind, found = problems.PROBLEMS[config.problem], []
    for name in config.models:
        try:
            loaded = pretrained.load(name)
            model = decoding.of(loaded, name, perturbation=config.get("perturbation"))
        except (LookupError, ValueError) as error:
            raise UserError(f"models: {error}") from error
        known = loaded.config
        if known["experiment"] != kind.experiment:
            raise ConfigError("models", f"models of {kind.experiment}", known["experiment"])
        items = known.get(kind.size, config.get("size", 1))
        if kind.task == "knap":  # the network reads neither: it knows those that it has seen
            seen = {"size": items, "capacity": known["capacity"], "stop_rule": known["stop_rule"]}
            for key, value in seen.items():
                if config[key] != value:
                    raise ConfigError(key, f"{value}, as in training", config[key])
        if config.get("scratch"):
            model = decoding.untrained(model, known["model"])
        found.append(Trained(known, loaded.meta, items, model))
    if not found:
        raise ConfigError("models", "at least one", ())
    return found


def _network(search: Callable[..., Found]) -> Callable[[ConfigDict], Solve]:
    """A method of one network, the one trained on the nearest number of items."""

    def make(config: ConfigDict) -> Solve:
        models = trained(config)
        if len(models) > 1 and "folder" not in config:
            raise ConfigError("models", "one model", tuple(config.models))

        def solve(part: Part, seed: int) -> Found:
            items = part.inputs.shape[1]
            nearest = min(models, key=lambda each: abs(each.items - items))
            return search(config, nearest, part.inputs, seed)

        return solve

    return make


def _greedy(config: ConfigDict, one: Trained, inputs: np.ndarray, seed: int) -> Found:
    from experiments.nco import decoding

    return decoding.greedy(one.model, inputs)


def _sample(config: ConfigDict, one: Trained, inputs: np.ndarray, seed: int) -> Found:
    from experiments.nco import decoding

    best = decoding.settings(one.config, one.meta, inputs.shape[1]).temperature
    return decoding.best_of_samples(
        one.model,
        inputs,
        num_samples=config.samples,
        temperature=best if config.temperature is None else config.temperature,
        seed=seed,
    )


def _active(config: ConfigDict, one: Trained, inputs: np.ndarray, seed: int) -> Found:
    from experiments.nco import decoding

    rate = decoding.settings(one.config, one.meta, inputs.shape[1]).learning_rate
    rate *= 100 if config.scratch else 1  # training's first rate, in the thesis
    return decoding.active_search(
        one.model,
        inputs,
        steps=config.steps_each,
        batch=BATCH,
        learning_rate=rate if config.learning_rate is None else config.learning_rate,
        seed=seed,
        at_once=config.part,
    )


def _ensemble(config: ConfigDict) -> Solve:
    """The best of all models' greedy solutions."""
    import jax

    from experiments.nco import decoding

    models = trained(config)
    shapes = [(each.config["model"], jax.tree.map(np.shape, each.model.params)) for each in models]
    if any(shape != shapes[0] for shape in shapes):
        raise UserError("models: expected models with the same settings and shapes")
    stacked = jax.tree.map(lambda *x: np.stack(x), *[each.model.params for each in models])
    return lambda part, seed: decoding.greedy_ensemble(models[0].model, stacked, part.inputs)


def _random(config: ConfigDict) -> Solve:
    """As many solutions, each chosen uniformly."""
    from experiments.nco import decoding, problems
    from nco.many import Model
    from nco.search import uniform_policy

    problem = problems.PROBLEMS[config.problem].problem(config)
    model = Model(uniform_policy(problem), (), "random", problem)
    options = {"num_samples": config.samples, "temperature": 1.0}
    return lambda part, seed: decoding.best_of_samples(model, part.inputs, seed=seed, **options)


def _solver(
    tours: Callable[..., np.ndarray] | None = None,
    items: Callable[..., np.ndarray] | None = None,
    **options: str,
) -> Callable[[ConfigDict], Solve]:
    """A solver of tours, of knapsacks, or one of each; options take the value of a field."""

    def make(config: ConfigDict) -> Solve:
        given = {name: config[field] for name, field in options.items()}

        def solve(part: Part, seed: int) -> Found:
            from nco.many import Found

            if config.problem == "knapsack":
                assert items is not None
                chosen, seconds = solver_pool.fill_many(items, part.inputs, config.capacity)
                return Found(chosen, seconds, 0.0)
            assert tours is not None
            inputs = part.inputs if part.matrices is None else None
            solver = functools.partial(tours, **given)
            found = solver_pool.solve_many(solver, inputs, matrices=part.matrices, processes=1)
            return Found(found.tours, found.seconds, 0.0)

        return solve

    return make


def _limited(name: solvers.Metaheuristic) -> Method:
    """A metaheuristic, until its time is up."""
    solver = functools.partial(solvers.or_tools, metaheuristic=name)
    return Method(_solver(solver, time_limit_s="time_limit"), {"time_limit": 0.5}, 100)


def _of_knapsacks(solver: Callable[..., np.ndarray]) -> Method:
    return Method(_solver(None, solver), problems=("knapsack",))


def _scratch_steps(task: str) -> int:
    return SCRATCH_STEPS.get(task, SCRATCH_STEPS[""])


def _drawn(task: str) -> dict[str, int]:
    return {"samples": SAMPLES if task.startswith("tsp") else 1280}


_BOTH = ("tsp", "knapsack")
_DRAWN = {"models": (), "samples": 1280}
_ACTIVE = {"models": (), "learning_rate": None, "curve": ()}
METHODS: Mapping[str, Method] = {
    "greedy": Method(_network(_greedy), {"models": ()}, 10_000, 2000, _BOTH),
    "ensemble": Method(_ensemble, {"models": ()}, 10_000, 2000, _BOTH),
    "sample": Method(
        *(_network(_sample), _DRAWN | {"temperature": None, "curve": ()}, 1000, 100, _BOTH),
        paper=_drawn,
    ),
    "perturbed": Method(
        *(_network(_sample), _DRAWN | {"temperature": 1.0, "perturbation": 1.0}, 1000, 100, _BOTH),
        paper=_drawn,
    ),
    "active": Method(
        *(_network(_active), _ACTIVE | {"steps_each": 200, "scratch": False}, 50, 0, _BOTH),
        paper=lambda task: {"steps_each": ACTIVE_STEPS},
    ),
    "active_scratch": Method(
        *(_network(_active), _ACTIVE | {"steps_each": 1000, "scratch": True}, 5, 0, _BOTH),
        paper=lambda task: {"steps_each": _scratch_steps(task)},
    ),
    "random": Method(
        *(_random, {"samples": BATCH * 1000}, 5, 100, _BOTH),
        paper=lambda task: {"samples": BATCH * _scratch_steps(task)},
    ),
    "optimal": Method(_solver(solver_pool.near_optimal, knapsack_solvers.exact), problems=_BOTH),
    "christofides": Method(_solver(solvers.christofides)),
    "or_tools": Method(_solver(solvers.or_tools)),
    "proven": Method(
        *(_solver(solvers.exact, time_limit_s="proof_limit"), {"proof_limit": 60.0}, 10, 1)
    ),
    "dynamic_programming": _of_knapsacks(knapsack_solvers.dynamic_programming),
    "skip_greedy": _of_knapsacks(knapsack_solvers.ratio_greedy),
    "stop_greedy": _of_knapsacks(functools.partial(knapsack_solvers.ratio_greedy, skip=False)),
} | {f"or_tools_{name}": _limited(name) for name in METAHEURISTICS}


def check(config: ConfigDict) -> None:
    """Checks the fields of a config's method, by the values that these have at first."""
    for key, value in METHODS[config.method].fields.items():
        if key == "curve":
            if not all(isinstance(count, int) and count > 0 for count in config.curve):
                raise ConfigError("curve", "numbers of solutions", tuple(config.curve))
        elif isinstance(value, int) and not isinstance(value, bool):
            check_int(config, key, low=1)
        elif (value is None or isinstance(value, float)) and config[key] is not None:
            check_float(config, key, positive=True)
