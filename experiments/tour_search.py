"""Finds tours with a pointer network: greedy, the best of K samples, or Active Search.

The work is cut into dispatches of a fixed shape, so that each program is compiled once and a
progress bar can move between them.
"""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nco import pointer, search
from nco.policy_gradient import Policy
from nco.problems import tsp

RANDOM = "random"
_ROUND = 10  # chunks of samples in a dispatch

Progress = Callable[[int], None]  # told how many units of work were just done


class Model(NamedTuple):
    """A policy with its parameters."""

    policy: Policy
    params: Any
    name: str


class Found(NamedTuple):
    """What a search found.

    Attributes:
        tours: int32 `[instances, city]`.
        seconds: float64 `[instances]`; instances of one dispatch share its time equally.
        compile_seconds: time to compile, not counted above.
    """

    tours: np.ndarray
    seconds: np.ndarray
    compile_seconds: float


def load(name: str, seed: int) -> Model:
    """Loads a model by name, or makes an untrained one for the name "random".

    Raises:
        ValueError: if the model does not read points of the plane.
        Exception: what `experiments.pretrained.load` raises for a model that is not there.
    """
    if name == RANDOM:
        return Model(
            pointer.policy(tsp.problem), pointer.init(jax.random.key(seed), scale=None), name
        )
    from experiments import pretrained

    loaded = pretrained.load(name)
    params = jax.tree.map(jnp.asarray, loaded.params)
    features = params["embed"].shape[0] if "embed" in params else None
    if features != 2:
        raise ValueError(f"{name}: expected a network that reads 2 numbers a city, got {features}")
    settings = loaded.config.get("model", {})
    known = inspect.signature(pointer.policy).parameters
    options = {key: settings[key] for key in known if key in settings}
    return Model(pointer.policy(tsp.problem, **options), params, name)


def greedy(model: Model, points: np.ndarray, progress: Progress) -> Found:
    """The likeliest city at every step.

    Args:
        model: the network.
        points: float32 `[instances, city, 2]` in the unit square.
        progress: told of each instance.
    """
    count, cities, _ = points.shape
    size = min(count, 512, max(1, 2**16 // cities))
    run, compile_seconds = _compile(
        functools.partial(search.greedy, model.policy, tsp.problem), model.params, points[:size]
    )
    tours, seconds = np.zeros((count, cities), np.int32), np.zeros(count)
    for batch, padded in _batches(points, size):
        start = time.perf_counter()
        actions = np.asarray(run(model.params, padded).actions)
        tours[batch] = actions[: batch.stop - batch.start]
        seconds[batch] = (time.perf_counter() - start) / (batch.stop - batch.start)
        progress(batch.stop - batch.start)
    return Found(tours, seconds, compile_seconds)


def best_of_samples(
    model: Model,
    points: np.ndarray,
    progress: Progress,
    *,
    num_samples: int,
    temperature: float,
    seed: int,
) -> Found:
    """The shortest of K sampled tours an instance; memory does not grow with K.

    Args:
        model: the network.
        points: float32 `[instances, city, 2]` in the unit square.
        progress: told of the samples drawn for each instance.
        num_samples: K.
        temperature: T of eq. 2.15; above 1 the samples differ more.
        seed: of the sampling.
    """
    count, cities, _ = points.shape
    rounds, chunk = plan(num_samples, max(1, min(128, 2**24 // cities**2)))  # noise: cities squared
    size = min(count, max(1, 1024 // cities))
    programs: dict[int, Callable[..., Any]] = {}
    compile_seconds = 0.0
    for draw in sorted(set(rounds)):
        programs[draw], taken = _compile(
            functools.partial(
                search.best_of_samples,
                model.policy,
                tsp.problem,
                num_samples=draw,
                temperature=temperature,
                chunk=min(chunk, draw),
            ),
            model.params,
            jax.random.key(0),
            points[:size],
        )
        compile_seconds += taken
    tours, seconds = np.zeros((count, cities), np.int32), np.zeros(count)
    for index, (batch, padded) in enumerate(_batches(points, size)):
        key, real = jax.random.fold_in(jax.random.key(seed), index), batch.stop - batch.start
        start, best = time.perf_counter(), np.full(real, -np.inf)
        for number, draw in enumerate(rounds):
            found, _ = programs[draw](model.params, jax.random.fold_in(key, number), padded)
            reward = np.asarray(found.reward)[:real]
            better = reward > best
            tours[batch][better] = np.asarray(found.actions)[:real][better]
            best = np.maximum(best, reward)
            progress(real * draw)
        seconds[batch] = (time.perf_counter() - start) / real
    return Found(tours, seconds, compile_seconds)


def active_search(
    model: Model,
    points: np.ndarray,
    progress: Progress | None,
    *,
    steps: int,
    batch: int,
    learning_rate: float,
    seed: int,
) -> Found:
    """Active Search: the network goes on learning, on each instance by itself.

    Args:
        model: the network to start from; every instance starts from it anew.
        points: float32 `[instances, city, 2]` in the unit square.
        progress: told of each step. It is called back from the compiled program, which then cannot
            be kept in jax's compilation cache; `None` avoids that.
        steps: updates an instance.
        batch: tours sampled for an update.
        learning_rate: of Adam.
        seed: of the sampling.
    """
    count, cities, _ = points.shape
    run, compile_seconds = _compile(
        functools.partial(
            search.active_search,
            model.policy if progress is None else _watched(model.policy, progress),
            tsp.problem,
            num_candidates=steps * batch,
            batch=batch,
            learning_rate=learning_rate,
        ),
        model.params,
        jax.random.key(0),
        points[0],
    )
    tours, seconds = np.zeros((count, cities), np.int32), np.zeros(count)
    for index, instance in enumerate(points):
        start = time.perf_counter()
        key = jax.random.fold_in(jax.random.key(seed), index)
        tours[index] = np.asarray(run(model.params, key, instance).actions)
        seconds[index] = time.perf_counter() - start
    jax.effects_barrier()  # the last steps' progress
    return Found(tours, seconds, compile_seconds)


def _watched(policy: Policy, progress: Progress) -> Policy:
    """The policy, telling of each time that it is sampled, from within a compiled loop too."""

    def sample(*args: Any, **kwargs: Any) -> Any:
        jax.debug.callback(lambda: progress(1))
        return policy.sample(*args, **kwargs)

    return policy._replace(sample=sample)


def _compile(function: Callable[..., Any], *example: Any) -> tuple[Callable[..., Any], float]:
    start = time.perf_counter()
    program = jax.jit(function).lower(*example).compile()
    return program, time.perf_counter() - start


def _batches(points: np.ndarray, size: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Batches of one size; the last is filled up with copies of the last instance."""
    for start in range(0, len(points), size):
        batch = points[start : start + size]
        missing = ((0, size - len(batch)), (0, 0), (0, 0))
        yield slice(start, start + len(batch)), np.pad(batch, missing, mode="edge")


def plan(num_samples: int, largest: int) -> tuple[list[int], int]:
    """How many samples each dispatch draws, and how many of them at once.

    Where a divisor allows it all dispatches are alike, so that one program is compiled.

    Args:
        num_samples: in all.
        largest: bound on the samples drawn at once.

    >>> plan(1280, 128), plan(1500, 128), plan(1009, 128)
    (([1280], 128), ([750, 750], 125), ([896, 113], 128))
    """
    fitting = [size for size in range(1, largest + 1) if num_samples % size == 0]
    chunk = fitting[-1] if 4 * fitting[-1] >= largest else largest
    chunk = min(chunk, num_samples)
    chunks, rest = divmod(num_samples, chunk)
    together = max(size for size in range(1, _ROUND + 1) if chunks % size == 0)
    return [together * chunk] * (chunks // together) + [rest] * (rest > 0), chunk
