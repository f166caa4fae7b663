"""Finds solutions of many instances with a network: greedy, the best of K samples, Active Search.

The work is cut into dispatches of a fixed shape, so that each program is compiled once and a
progress bar can move between them. Several devices share the instances of a dispatch. A process
keeps the programs that it used last, so that instances may come part by part.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from experiments.nco.problems import of_experiment
from experiments.report.table import read_table, table_path
from experiments.runner import pretrained
from nco import pointer, search
from nco.policy_gradient import Policy
from nco.problems import tsp
from nco.problems.problem import Problem

RANDOM = "random"
_SEARCHED = 2**17  # items, over all samples and instances that an accelerator searches at once
_KEPT = 16  # programs, with the seconds that each took to compile
_programs: dict[Any, tuple[Callable[..., Any], float]] = {}

Progress = Callable[[int], None]  # told how many units of work were just done


class Model(NamedTuple):
    """A policy with its parameters, and the problem that it solves."""

    policy: Policy
    params: Any
    name: str
    problem: Problem = tsp.problem


class Found(NamedTuple):
    """What a search found.

    Attributes:
        actions: int32 `[instances, items]`.
        seconds: float64 `[instances]`; instances of one dispatch share its time equally.
        together: instances in a dispatch; the last one may hold fewer.
        compile_seconds: time that its programs took to compile, not counted above.
        best_so_far: float64 `[points, instances]`, the best reward after more and more solutions;
            `None` for greedy decoding.
        considered: int `[points]`, solutions an instance up to each of these points.
    """

    actions: np.ndarray
    seconds: np.ndarray
    compile_seconds: float
    together: int = 1
    best_so_far: np.ndarray | None = None
    considered: np.ndarray | None = None


class Settings(NamedTuple):
    """How a model is best searched with: T of sampling, and Active Search's learning rate."""

    temperature: float = 1.0
    learning_rate: float = 1e-5


def settings(name: str, config: dict[str, Any], items: int) -> Settings:
    """What is known of a model, for instances of a size.

    The temperature is the T* that the table nco/temperature has of this very model, else the one
    that its run ended with (`finish.temperature`). With more items than in training it is at most
    1: T* was not sought there, and networks are unsure enough by themselves. The rate is the run's
    `finish.search_rate`: in the thesis, a hundredth of training's.

    Args:
        name: as it was loaded.
        config: of its run.
        items: of the instances.
    """
    finish, found = config.get("finish", {}), Settings()
    temperature = finish.get("temperature", found.temperature)
    path = table_path("nco/temperature")
    for row in read_table(path).rows if path.exists() else ():
        words = row["config"].replace("model ", "models=").split()
        if row["metric"] == "temperature" and f"models={name}" in words:
            temperature = row["value"]
    if items > config.get("cities", config.get("num_items", items)):
        temperature = min(temperature, 1.0)
    return Settings(temperature, finish.get("search_rate", found.learning_rate))


def load(name: str, seed: int = 0) -> Model:
    """Loads a model of tours by name, or makes an untrained one for the name "random".

    Raises:
        ValueError: if the model was trained for another problem.
        Exception: what `experiments.runner.pretrained.load` raises for a model that is not there.
    """
    if name == RANDOM:
        params = pointer.init(jax.random.key(seed), scale=None)
        return Model(pointer.policy(tsp.problem), params, name)
    loaded = pretrained.load(name)
    trained = loaded.config.get("experiment")
    if trained != "nco_tsp":
        raise ValueError(f"{name}: expected a network that reads cities, got one of {trained}")
    return of(loaded, name)


def of(loaded: pretrained.Pretrained, name: str, *, perturbation: float | None = None) -> Model:
    """A loaded model with the policy that its settings describe.

    Args:
        loaded: of an experiment of `nco`.
        name: for messages.
        perturbation: see `nco.pointer.policy`.

    Raises:
        ValueError: if it is of another experiment.
    """
    try:
        problem = of_experiment(loaded.config.get("experiment")).problem(loaded.config)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    known = ("glimpses", "clip", "forget_bias", "center", "spread")
    model = loaded.config["model"]
    settings = {key: model[key] for key in known if key in model}  # older models lack some
    policy = pointer.policy(problem, **settings, perturbation=perturbation)
    return Model(policy, jax.tree.map(jnp.asarray, loaded.params), name, problem)


def untrained(model: Model, settings: dict[str, Any]) -> Model:
    """The same network before training: its config's start, by seed 0."""
    params = pointer.init(
        jax.random.key(0),
        input_dim=model.problem.input_dim,
        embed=settings["embed"],
        hidden=settings["hidden"],
        scale=settings["scale"] or None,
    )
    return model._replace(params=params, name="untrained")


def greedy(model: Model, inputs: np.ndarray, progress: Progress | None = None) -> Found:
    """The likeliest item at every step.

    Args:
        model: the network.
        inputs: float32 `[instances, items, features]`.
        progress: told of each instance.
    """
    return _decode(search.greedy, model, model.params, inputs, 2**16, progress)


def greedy_ensemble(model: Model, stacked: Any, inputs: np.ndarray) -> Found:
    """The best of several models' greedy solutions (greedy@16 of the thesis).

    Args:
        model: one of them; its parameters are not read.
        stacked: leaves `[models, ...]`, parameters of the same shapes.
        inputs: float32 `[instances, items, features]`.
    """
    return _decode(search.greedy_ensemble, model, stacked, inputs, 2**15)


def _decode(
    function: Callable[..., search.Solutions],
    model: Model,
    params: Any,
    inputs: np.ndarray,
    most: int,
    progress: Progress | None = None,
) -> Found:
    """Solutions by `function(policy, problem, params, inputs)`, some `most` items at once."""
    size = _even(min(len(inputs), 512, max(1, most // inputs.shape[1])))
    decode = functools.partial(function, model.policy, model.problem)
    run, compile_seconds = _compile((function, *decode.args), decode, size, params, inputs)

    def dispatch(index: int, batch: slice, padded: np.ndarray) -> tuple[Any, None]:
        return run(params, padded).actions, None

    return _in_batches(dispatch, inputs, size, progress)._replace(compile_seconds=compile_seconds)


def best_of_samples(
    model: Model,
    inputs: np.ndarray,
    progress: Progress | None = None,
    *,
    num_samples: int,
    temperature: float,
    seed: int = 0,
) -> Found:
    """The best of K sampled solutions an instance; memory does not grow with K.

    Args:
        model: the network.
        inputs: float32 `[instances, items, features]`.
        progress: told of the samples drawn for each instance.
        num_samples: K.
        temperature: T of eq. 2.15; above 1 the samples differ more.
        seed: of the sampling.
    """
    count, items, _ = inputs.shape
    largest = max(1, min(128, 2**24 // items**2))  # noise is of the items squared
    rounds, chunk = search.plan(num_samples, largest)
    size = _even(min(count, max(1, 1024 // items)))
    programs: dict[int, Callable[..., Any]] = {}
    compile_seconds = 0.0
    for draw in sorted(set(rounds)):
        options: dict[str, Any] = {"num_samples": draw, "temperature": temperature}
        options["chunk"] = min(chunk, draw)
        run = functools.partial(search.best_of_samples, model.policy, model.problem, **options)
        programs[draw], taken = _compile(
            (*run.args, *options.items()),
            lambda params, inputs, key, run=run: run(params, key, inputs),
            size,
            model.params,
            inputs,
            jax.random.key(0),
        )
        compile_seconds += taken

    def dispatch(index: int, batch: slice, padded: np.ndarray) -> tuple[Any, Any]:
        key = jax.random.fold_in(jax.random.key(seed), index)
        best, curve = np.full(size, -np.inf), np.zeros((len(rounds), size))
        actions = np.zeros((size, items), np.int32)
        for number, draw in enumerate(rounds):
            found, _ = programs[draw](model.params, padded, jax.random.fold_in(key, number))
            better = np.asarray(found.reward) > best
            actions[better] = np.asarray(found.actions)[better]
            curve[number] = best = np.maximum(best, np.asarray(found.reward))
            if progress is not None:
                progress((batch.stop - batch.start) * draw)
        return actions, curve

    found = _in_batches(dispatch, inputs, size)
    return found._replace(compile_seconds=compile_seconds, considered=np.cumsum(rounds))


def active_search(
    model: Model,
    inputs: np.ndarray,
    progress: Progress | None = None,
    *,
    steps: int,
    batch: int = 128,
    learning_rate: float,
    seed: int = 0,
    at_once: int = 0,
) -> Found:
    """Active Search: the network goes on learning, on each instance by itself.

    Args:
        model: the network to start from; every instance starts from it anew.
        inputs: float32 `[instances, items, features]`.
        progress: told of each step. It is called back from the compiled program, which then cannot
            be kept in jax's compilation cache, nor shared by devices or instances; `None` avoids
            that.
        steps: updates an instance.
        batch: solutions sampled for an update.
        learning_rate: of Adam.
        seed: of the sampling.
        at_once: instances that a device searches at once, each with a network of its own; 0 leaves
            it to the device (`searched_at_once`).
    """
    count, items, _ = inputs.shape
    at_once = at_once or searched_at_once(batch * items)
    size = 1 if progress is not None else min(count, at_once * jax.local_device_count())
    options: dict[str, Any] = {"num_candidates": steps * batch, "batch": batch}
    options["learning_rate"] = learning_rate
    policy = model.policy if progress is None else _watched(model.policy, progress)
    run: Callable[..., Any] = functools.partial(
        search.active_search, policy, model.problem, **options
    )
    keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(seed), i))(jnp.arange(count))

    def together(params: Any, inputs: Any, keys: Any) -> Any:
        if size == 1:
            one = run(params, keys[0], inputs[0])
            return jax.tree.map(lambda x: x[None], (one.actions, one.best_so_far))
        found = jax.vmap(run, in_axes=(None, 0, 0))(params, keys, inputs)
        return found.actions, found.best_so_far

    key = (policy, model.problem, *options.items())
    program, compile_seconds = _compile(key, together, size, model.params, inputs, keys[:size])

    def dispatch(index: int, batch: slice, padded: np.ndarray) -> tuple[Any, Any]:
        places = np.minimum(np.arange(batch.start, batch.start + size), count - 1)
        actions, best = program(model.params, padded, keys[places])
        return actions, np.asarray(best).T

    found = _in_batches(dispatch, inputs, size)
    jax.effects_barrier()  # the last steps' progress
    considered = batch * np.arange(1, steps + 1)
    return found._replace(compile_seconds=compile_seconds, considered=considered)


def _in_batches(
    dispatch: Callable[[int, slice, np.ndarray], tuple[Any, Any]],
    inputs: np.ndarray,
    size: int,
    progress: Progress | None = None,
) -> Found:
    """What `dispatch(index, batch, padded) -> (actions, curve)` finds, batch by batch, timed."""
    count, items, _ = inputs.shape
    actions, seconds, curves = np.zeros((count, items), np.int32), np.zeros(count), []
    for index, (batch, padded) in enumerate(_batches(inputs, size)):
        start, real = time.perf_counter(), batch.stop - batch.start
        found, curve = dispatch(index, batch, padded)
        actions[batch] = np.asarray(found)[:real]
        if curve is not None:
            curves.append(curve[:, :real])
        seconds[batch] = (time.perf_counter() - start) / real
        if progress is not None:
            progress(real)
    best = np.concatenate(curves, axis=1, dtype=np.float64) if curves else None
    return Found(actions, seconds, 0.0, size, best)


def searched_at_once(work: int) -> int:
    """Instances that a device searches at once, where each has so many items over its samples.

    One on a CPU, whose cores one instance keeps busy, and on others what takes some 3 GiB.
    """
    return 1 if jax.default_backend() == "cpu" else max(1, _SEARCHED // work)


def _watched(policy: Policy, progress: Progress) -> Policy:
    """The policy, telling of each time that it is sampled, from within a compiled loop too."""

    def sample(*args: Any, **kwargs: Any) -> Any:
        jax.debug.callback(lambda: progress(1))
        return policy.sample(*args, **kwargs)

    return policy._replace(sample=sample)


def _even(size: int) -> int:
    """The least multiple of the number of devices that is at least `size`."""
    devices = jax.local_device_count()
    return -(-size // devices) * devices


def _compile(
    key: tuple[Any, ...],
    function: Callable[..., Any],
    size: int,
    params: Any,
    inputs: np.ndarray,
    *others: Any,
) -> tuple[Callable[..., Any], float]:
    """Compiles `function(params, inputs [size, ...], *others)`, the instances split over devices.

    `others` with `size` entries, such as keys of the instances, are split like them. `key` says
    what the function does: one of the same key, for the same shapes, is compiled once.
    """
    shapes = [(x.shape, x.dtype) for x in jax.tree.leaves((params, others))]
    key = (*key, size, inputs.shape[1:], jax.tree.structure(params), *shapes)
    if key in _programs:
        return _programs[key]
    if len(_programs) == _KEPT:
        _programs.pop(next(iter(_programs)))
    _programs[key] = _compiled(function, size, params, inputs, *others)
    return _programs[key]


def _compiled(
    function: Callable[..., Any], size: int, params: Any, inputs: np.ndarray, *others: Any
) -> tuple[Callable[..., Any], float]:
    start = time.perf_counter()
    devices = jax.local_devices() if size % jax.local_device_count() == 0 else jax.devices()[:1]
    mesh = Mesh(np.array(devices), ("instances",))
    split, whole = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (("instances",), ()))

    def place(x: Any) -> NamedSharding:
        return split if x.ndim and x.shape[0] == size else whole

    example = jax.ShapeDtypeStruct((size, *inputs.shape[1:]), jnp.float32)
    shardings = (jax.tree.map(lambda _: whole, params), split, *map(place, others))
    program = jax.jit(function, in_shardings=shardings).lower(params, example, *others).compile()
    taken = time.perf_counter() - start
    if len(devices) == 1:
        return program, taken

    def run(*arguments: Any) -> Any:
        return program(*jax.tree.map(jax.device_put, arguments, shardings))

    return run, taken


def _batches(inputs: np.ndarray, size: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Batches of one size; the last is filled up with copies of the last instance."""
    for start in range(0, len(inputs), size):
        batch = np.asarray(inputs[start : start + size], np.float32)
        missing = ((0, size - len(batch)), (0, 0), (0, 0))
        yield slice(start, start + len(batch)), np.pad(batch, missing, mode="edge")
