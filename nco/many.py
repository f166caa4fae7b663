"""Searches of many instances: greedy, the best of K samples, Active Search.

The work is cut into dispatches of a fixed shape, so that each program is compiled once, and memory
does not grow with the number of instances or samples. Several devices share the instances of a
dispatch. Programs are kept by the caller, so that instances may come part by part.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Float

from nco import search
from nco.policy_gradient import Policy
from nco.problems import tsp
from nco.problems.problem import Problem

_SEARCHED = 2**17  # items, over all samples and instances that an accelerator searches at once

Progress = Callable[[int], None]  # told how many units of work were just done
Instances = Float[np.ndarray, "instance item feature"]


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
        best_so_far: float64 `[points, instances]`, the best reward after more and more solutions.
        considered: int `[points]`, solutions an instance up to each of these points.
    """

    actions: np.ndarray
    seconds: np.ndarray
    compile_seconds: float
    together: int = 1
    best_so_far: np.ndarray | None = None
    considered: np.ndarray | None = None


class Programs:
    """Compiled programs, the last of them kept.

    Args:
        clock: tells seconds.
        kept: how many.
    """

    def __init__(self, clock: Callable[[], float], kept: int = 16) -> None:
        self.clock, self._kept = clock, kept
        self._known: dict[Any, tuple[Callable[..., Any], float]] = {}

    def compile(
        self,
        key: tuple[Any, ...],
        function: Callable[..., Any],
        size: int,
        params: Any,
        inputs: Instances,
        *others: Any,
    ) -> tuple[Callable[..., Any], float]:
        """Compiles `function(params, inputs [size, ...], *others)`, split over devices.

        Args:
            key: what the function does: one of the same key and shapes is compiled once.
            function: to compile.
            size: instances of a dispatch; `others` with as many entries are split like them.
            params: the policy's, on every device.
            inputs: whose shape but the first axis is read.
            others: further arguments.

        Returns:
            The program, and the seconds that it took to compile.
        """
        shapes = [(x.shape, x.dtype) for x in jax.tree.leaves((params, others))]
        key = (*key, size, inputs.shape[1:], jax.tree.structure(params), *shapes)
        if key not in self._known:
            if len(self._known) == self._kept:
                self._known.pop(next(iter(self._known)))
            start = self.clock()
            program = _compiled(function, size, params, inputs, *others)
            self._known[key] = program, self.clock() - start
        return self._known[key]


def greedy(
    model: Model, inputs: Instances, progress: Progress | None = None, *, programs: Programs
) -> Found:
    """The likeliest item at every step.

    Args:
        model: the network.
        inputs: the instances.
        progress: told of each instance.
        programs: keeps what is compiled.

    Raises:
        ValueError: an instance holds NaN or an infinity (every search does).
    """
    return _decode(search.greedy, model, model.params, inputs, 2**16, programs, progress)


def greedy_ensemble(model: Model, stacked: Any, inputs: Instances, *, programs: Programs) -> Found:
    """The best of several models' greedy solutions (greedy@16 of the thesis).

    Args:
        model: one of them; its parameters are not read.
        stacked: leaves `[models, ...]`, parameters of the same shapes.
        inputs: the instances.
        programs: keeps what is compiled.
    """
    return _decode(search.greedy_ensemble, model, stacked, inputs, 2**15, programs)


def _decode(
    function: Callable[..., search.Solutions],
    model: Model,
    params: Any,
    inputs: Instances,
    most: int,
    programs: Programs,
    progress: Progress | None = None,
) -> Found:
    """Solutions by `function(policy, problem, params, inputs)`, some `most` items at once."""
    search.check_finite(inputs)
    size = _even(min(len(inputs), 512, max(1, most // inputs.shape[1])))
    decode = functools.partial(function, model.policy, model.problem)
    run, taken = programs.compile((function, *decode.args), decode, size, params, inputs)

    def dispatch(index: int, batch: slice, padded: np.ndarray) -> tuple[Any, Any]:
        found = run(params, padded)
        return found.actions, np.asarray(found.reward)[None]

    found = _in_batches(dispatch, inputs, size, programs.clock, progress)
    return found._replace(compile_seconds=taken, considered=np.ones(1, int))


def at_least_greedy(
    found: Found,
    model: Model,
    inputs: Instances,
    *,
    programs: Programs,
    reward: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Found:
    """What a search found, or the greedy solution where that is better.

    It costs one greedy decode, whose seconds are added. The thesis's searches, and the recorded
    rows, consider samples alone.

    Args:
        found: by one of the searches below, of the same instances.
        model: the network that the search started from.
        inputs: the instances.
        programs: keeps what is compiled.
        reward: `(actions) -> [instances]`, which says what is better; by default the problem's.
    """
    first = greedy(model, inputs, programs=programs)
    assert first.best_so_far is not None
    assert found.best_so_far is not None
    before, after = found.best_so_far[-1], first.best_so_far[0]
    if reward is not None:
        before, after = reward(found.actions), reward(first.actions)
    better = after > before
    return found._replace(
        actions=np.where(better[:, None], first.actions, found.actions),
        seconds=found.seconds + first.seconds,
        compile_seconds=found.compile_seconds + first.compile_seconds,
        best_so_far=np.maximum(found.best_so_far, first.best_so_far),
    )


def best_of_samples(
    model: Model,
    inputs: Instances,
    progress: Progress | None = None,
    *,
    programs: Programs,
    num_samples: int,
    temperature: float,
    seed: int = 0,
) -> Found:
    """The best of K sampled solutions an instance; memory does not grow with K.

    Args:
        model: the network.
        inputs: the instances.
        progress: told of the samples drawn for each instance.
        programs: keeps what is compiled.
        num_samples: K.
        temperature: T of eq. 2.15; above 1 the samples differ more.
        seed: of the sampling.
    """
    search.check_finite(inputs)
    count, items, _ = inputs.shape
    largest = max(1, min(128, 2**24 // items**2))  # noise is of the items squared
    rounds, chunk = search.plan(num_samples, largest)
    size = _even(min(count, max(1, 1024 // items)))
    draws: dict[int, Callable[..., Any]] = {}
    compile_seconds = 0.0
    for draw in sorted(set(rounds)):
        options: dict[str, Any] = {"num_samples": draw, "temperature": temperature}
        options["chunk"] = min(chunk, draw)
        run = functools.partial(search.best_of_samples, model.policy, model.problem, **options)
        draws[draw], taken = programs.compile(
            (model.policy, model.problem, *options.items()),
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
            found, _ = draws[draw](model.params, padded, jax.random.fold_in(key, number))
            better = np.asarray(found.reward) > best
            actions[better] = np.asarray(found.actions)[better]
            curve[number] = best = np.maximum(best, np.asarray(found.reward))
            if progress is not None:
                progress((batch.stop - batch.start) * draw)
        return actions, curve

    found = _in_batches(dispatch, inputs, size, programs.clock)
    return found._replace(compile_seconds=compile_seconds, considered=np.cumsum(rounds))


def active_search(
    model: Model,
    inputs: Instances,
    *,
    programs: Programs,
    steps: int,
    batch: int = 128,
    learning_rate: float,
    seed: int = 0,
    at_once: int = 0,
    alone: bool = False,
) -> Found:
    """Active Search: the network goes on learning, on each instance by itself.

    Args:
        model: the network to start from; every instance starts from it anew.
        inputs: the instances.
        programs: keeps what is compiled.
        steps: updates an instance.
        batch: solutions sampled for an update.
        learning_rate: of Adam.
        seed: of the sampling.
        at_once: instances that a device searches at once, each with a network of its own; 0 leaves
            it to the device (`searched_at_once`).
        alone: one instance after another, on one device.
    """
    search.check_finite(inputs)
    count, items, _ = inputs.shape
    at_once = at_once or searched_at_once(batch * items)
    size = 1 if alone else min(count, at_once * jax.local_device_count())
    options: dict[str, Any] = {"num_candidates": steps * batch, "batch": batch}
    options["learning_rate"] = learning_rate
    run: Callable[..., Any] = functools.partial(
        search.active_search, model.policy, model.problem, **options
    )
    keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(seed), i))(jnp.arange(count))

    def together(params: Any, inputs: Any, keys: Any) -> Any:
        if size == 1:
            one = run(params, keys[0], inputs[0])
            return jax.tree.map(lambda x: x[None], (one.actions, one.best_so_far))
        found = jax.vmap(run, in_axes=(None, 0, 0))(params, keys, inputs)
        return found.actions, found.best_so_far

    key, args = (model.policy, model.problem, *options.items()), (model.params, inputs, keys[:size])
    program, compile_seconds = programs.compile(key, together, size, *args)

    def dispatch(index: int, batch: slice, padded: np.ndarray) -> tuple[Any, Any]:
        places = np.minimum(np.arange(batch.start, batch.start + size), count - 1)
        actions, best = program(model.params, padded, keys[places])
        return actions, np.asarray(best).T

    found = _in_batches(dispatch, inputs, size, programs.clock)
    considered = batch * np.arange(1, steps + 1)
    return found._replace(compile_seconds=compile_seconds, considered=considered)


def _in_batches(
    dispatch: Callable[[int, slice, np.ndarray], tuple[Any, Any]],
    inputs: Instances,
    size: int,
    clock: Callable[[], float],
    progress: Progress | None = None,
) -> Found:
    """What `dispatch(index, batch, padded) -> (actions, curve)` finds, batch by batch, timed."""
    count, items, _ = inputs.shape
    actions, seconds, curves = np.zeros((count, items), np.int32), np.zeros(count), []
    for index, (batch, padded) in enumerate(_batches(inputs, size)):
        start, real = clock(), batch.stop - batch.start
        found, curve = dispatch(index, batch, padded)
        actions[batch] = np.asarray(found)[:real]
        if curve is not None:
            curves.append(curve[:, :real])
        seconds[batch] = (clock() - start) / real
        if progress is not None:
            progress(real)
    best = np.concatenate(curves, axis=1, dtype=np.float64) if curves else None
    return Found(actions, seconds, 0.0, size, best)


def searched_at_once(work: int) -> int:
    """Instances that a device searches at once, where each has so many items over its samples.

    One on a CPU, whose cores one instance keeps busy, and on others what takes some 3 GiB.
    """
    return 1 if jax.default_backend() == "cpu" else max(1, _SEARCHED // work)


def _even(size: int) -> int:
    """The least multiple of the number of devices that is at least `size`."""
    devices = jax.local_device_count()
    return -(-size // devices) * devices


def _compiled(
    function: Callable[..., Any], size: int, params: Any, inputs: Instances, *others: Any
) -> Callable[..., Any]:
    devices = jax.local_devices() if size % jax.local_device_count() == 0 else jax.devices()[:1]
    mesh = Mesh(np.array(devices), ("instances",))
    split, whole = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (("instances",), ()))

    def place(x: Any) -> NamedSharding:
        return split if x.ndim and x.shape[0] == size else whole

    example = jax.ShapeDtypeStruct((size, *inputs.shape[1:]), jnp.float32)
    shardings = (jax.tree.map(lambda _: whole, params), split, *map(place, others))
    program = jax.jit(function, in_shardings=shardings).lower(params, example, *others).compile()
    if len(devices) == 1:
        return program

    def run(*arguments: Any) -> Any:
        return program(*jax.tree.map(jax.device_put, arguments, shardings))

    return run


def _batches(inputs: Instances, size: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Batches of one size; the last is filled up with copies of the last instance."""
    for start in range(0, len(inputs), size):
        batch = np.asarray(inputs[start : start + size], np.float32)
        missing = ((0, size - len(batch)), (0, 0), (0, 0))
        yield slice(start, start + len(batch)), np.pad(batch, missing, mode="edge")
