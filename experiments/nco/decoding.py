"""Models by name, and their searches of many instances (`nco.many`) with a clock and a bar."""

from __future__ import annotations

import dataclasses
import functools
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.nco.problems import of_experiment
from experiments.runner import pretrained
from nco import many, pointer
from nco.many import Found, Model, Progress
from nco.policy_gradient import Policy
from nco.problems import tsp
from nco.problems.problem import Problem

RANDOM = "random"
PROGRAMS = many.Programs(time.perf_counter)  # of this process
greedy = functools.partial(many.greedy, programs=PROGRAMS)
greedy_ensemble = functools.partial(many.greedy_ensemble, programs=PROGRAMS)
at_least_greedy = functools.partial(many.at_least_greedy, programs=PROGRAMS)
best_of_samples = functools.partial(many.best_of_samples, programs=PROGRAMS)


class Settings(NamedTuple):
    """How a model is best searched with: T of sampling, and Active Search's learning rate."""

    temperature: float = 1.0
    learning_rate: float = 1e-5


def settings(config: dict[str, Any], meta: dict[str, Any], items: int) -> Settings:
    """What a model's own file says, for instances of a size.

    The temperature is the model's T* (`temperature` of its `meta`, the best of the grid in the
    table nco/temperature), else the one that its run ended with (`finish.temperature`). With more
    items than in training it is at most 1: T* was not sought there, and networks are unsure enough
    by themselves. The rate is the run's `finish.search_rate`: in the thesis, a hundredth of
    training's.

    Args:
        config: of the loaded model.
        meta: of the loaded model.
        items: of the instances.
    """
    finish, found = config.get("finish", {}), Settings()
    temperature = meta.get("temperature", finish.get("temperature", found.temperature))
    if items > config.get("cities", config.get("num_items", items)):
        temperature = min(temperature, 1.0)
    return Settings(temperature, finish.get("search_rate", found.learning_rate))


def load(name: str, seed: int = 0, problem: Problem | None = None) -> Model:
    """Loads a model of tours by name, or makes an untrained one for the name "random".

    Args:
        name: shipped, a run's folder, or an .npz file.
        seed: of an untrained one.
        problem: a problem of one's own that the model was trained for, instead of tours.

    Raises:
        ValueError: if the model was trained for another problem.
        Exception: what `experiments.runner.pretrained.load` raises for a model that is not there.
    """
    if name == RANDOM:
        params = pointer.init(jax.random.key(seed), scale=None)
        return Model(pointer.policy(tsp.problem), params, name)
    loaded = pretrained.load(name)
    trained = loaded.config.get("experiment")
    if problem is None and trained != "nco_tsp":
        expected = "a network that reads cities (or `problem=`, for a problem of your own)"
        raise ValueError(f"{name}: expected {expected}, got one of {trained}")
    return of(loaded, name, problem=problem)


def of(
    loaded: pretrained.Pretrained,
    name: str,
    *,
    perturbation: float | None = None,
    problem: Problem | None = None,
) -> Model:
    """A loaded model with the policy that its settings describe.

    Args:
        loaded: of an experiment of `nco`.
        name: for messages.
        perturbation: see `nco.pointer.policy`.
        problem: one's own; `None` for that of its experiment.

    Raises:
        ValueError: if it is of another experiment, or reads another number of features.
    """
    try:
        if problem is None:
            problem = of_experiment(loaded.config.get("experiment")).problem(loaded.config)
        elif problem.input_dim != len(loaded.params["embed"]):
            features = len(loaded.params["embed"])
            raise ValueError(f"input_dim: expected {features}, as trained; got {problem.input_dim}")
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    known = [field.name for field in dataclasses.fields(pointer.Settings)]
    model = loaded.config["model"]
    settings = pointer.Settings(**{key: model[key] for key in known if key in model})
    params = jax.tree.map(jnp.asarray, loaded.params) | {"settings": settings}
    return Model(_policy(problem, perturbation), params, name, problem)


@functools.lru_cache(maxsize=8)
def _policy(problem: Problem, perturbation: float | None) -> Policy:
    """One policy for all models of a problem, so that they share programs."""
    return pointer.policy(problem, perturbation=perturbation)


def untrained(model: Model, settings: dict[str, Any]) -> Model:
    """The same network before training: its config's start, by seed 0."""
    params = pointer.init(
        jax.random.key(0),
        input_dim=model.problem.input_dim,
        embed=settings["embed"],
        hidden=settings["hidden"],
        scale=settings["scale"] or None,
        settings=model.params["settings"],
    )
    return model._replace(params=params, name="untrained")


def active_search(
    model: Model, inputs: np.ndarray, progress: Progress | None = None, **options: Any
) -> Found:
    """`nco.many.active_search`, with a callback for each step.

    It is called from within the compiled program, which then cannot be kept in jax's compilation
    cache, nor shared by devices or instances; `None` avoids that.
    """
    if progress is None:
        return many.active_search(model, inputs, programs=PROGRAMS, **options)
    watched = model._replace(policy=_watched(model.policy, progress))
    found = many.active_search(watched, inputs, programs=PROGRAMS, alone=True, **options)
    jax.effects_barrier()  # the last steps' progress
    return found


def _watched(policy: Policy, progress: Progress) -> Policy:
    """The policy, telling of each time that it is sampled, from within a compiled loop too."""

    def sample(*args: Any, **kwargs: Any) -> Any:
        jax.debug.callback(lambda: progress(1))
        return policy.sample(*args, **kwargs)

    return policy._replace(sample=sample)
