"""Kernels of the enas room: a step on shared weights in each space, and the child compiled alone.

The timing `child-cost` compares the two, without their optimisers, on the same random architectures
(`ratio`; 1 is what a child costs alone), and says what an optimiser of all shared weights adds to a
step (`optimizer_share`):

    python -m experiments.bench enas --only child-cost --json runs/child_cost.json

Sizes are those of the presets `cpu`. A dispatch is as many updates as there are architectures, in a
loop, as in training.
"""

from __future__ import annotations

import functools
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from enas import decisions, tasks, train
from enas.controller import controller
from enas.tasks import Task
from experiments.bench.kernel import Kernel, Loaded, Timing
from experiments.enas.problem import optimizer_of, task_of
from experiments.enas.spaces import Shape
from experiments.report.rows import Row
from experiments.runner import config as configs

SPACES = {
    "rnn": ("enas/rnn:brown,cpu", Shape((), 5000)),
    "macro": ("enas/macro:fashion_mnist,cpu", Shape((14, 14, 1), 10)),
    "micro": ("enas/micro:fashion_mnist,cpu", Shape((14, 14, 1), 10)),
}
CHILDREN, REPEATED = 6, 2  # architectures of a dispatch, and updates with each


def kernels(*, tiny: bool = False) -> list[Kernel]:
    """Returns a search's step on the weights in each space, optimiser included.

    Args:
      tiny: toy sizes, for tests.
    """
    return [_search(space, tiny) for space in SPACES]


def timings(*, tiny: bool = False) -> list[Timing]:
    """Returns the comparison of a supernet's step with the child alone.

    Args:
      tiny: toy sizes, for tests.
    """
    rounds, seconds = (2, 0.0) if tiny else (7, 1.0)
    return [Timing("child-cost", functools.partial(_child_cost, tiny, rounds, seconds))]


def _parts(space: str, tiny: bool) -> tuple[Any, Task, Any]:
    """Config, task and a random batch of a space."""
    name, shape = SPACES[space]
    config = configs.load(name.replace(",cpu", ",smoke") if tiny else name)
    rng, rows = np.random.default_rng(0), config.batch_size
    if space == "rnn":
        shape = shape._replace(classes=config.data.vocabulary)
        tokens = rng.integers(0, shape.classes, (rows, config.bptt + 1)).astype(np.int32)
        batch = {"tokens": tokens[:, :-1], "targets": tokens[:, 1:], "starts": np.array(False)}
    else:
        shown = rng.normal(size=(rows, *shape.inputs)).astype(np.float32)
        batch = {"images": shown, "labels": rng.integers(0, shape.classes, rows).astype(np.int32)}
    return config, task_of(config, shape), jax.tree.map(jnp.asarray, batch)


def _architectures(task: Task) -> np.ndarray:
    drawn = decisions.guided(task.supernet.decisions, jax.random.key(1), CHILDREN)
    return np.repeat(np.asarray(drawn), REPEATED, axis=0)


def _search(space: str, tiny: bool) -> Kernel:
    config, task, batch = _parts(space, tiny)
    alone = controller(task.supernet.decisions, hidden=1)
    every = jnp.asarray(_architectures(task))
    tx = optimizer_of(config)(1000, 1)

    def program(state: Any, given: Any) -> tuple[Any, Any]:
        def step(state: train.State, choices: Array) -> tuple[train.State, None]:
            whole = train.search(alone, tasks.child(task), tx, proposals=lambda _: choices)
            return whole.weights(state, given)[0], None

        return jax.lax.scan(step, state, every)

    def arguments() -> tuple:
        whole = train.search(alone, tasks.child(task), tx)
        return jax.jit(whole.init)(jax.random.key(0)), batch

    return Kernel(
        name=f"{space}-step",
        items=len(every),
        unit="step",
        program=program,
        arguments=arguments,
        carries=True,
        settings={"batch": config.batch_size, "architectures": CHILDREN},
    )


def _gradient(task: Task, choices: np.ndarray | None) -> Callable[..., Array]:
    """`(weights, every, batch) -> scalar`: gradients of steps, each of which is looked at."""

    def program(weights: Any, every: Array, batch: Any) -> Array:
        def loss(weights: Any, chosen: Any, nothing: Array) -> Array:
            # Each step depends on the one before, as in training.
            moved = jax.tree.map(
                lambda leaf: leaf + nothing if leaf.dtype == jnp.float32 else leaf, batch
            )
            carry = jax.tree.map(lambda leaf: leaf + nothing, task.carry)
            return task.judge(weights, chosen, carry, moved, train=True).loss

        def step(nothing: Array, given: Array) -> tuple[Array, Array]:
            chosen = given if choices is None else choices
            grads = jax.grad(loss)(weights, chosen, nothing)
            size = jnp.square(optax.tree.norm(grads))
            return 0.0 * size, size

        return jnp.sum(jax.lax.scan(step, jnp.zeros(()), every)[1])

    return program


def _child_cost(tiny: bool, rounds: int, seconds: float) -> list[Row]:
    """Times of both, which take turns."""
    rows = []
    for space, (name, _) in SPACES.items():
        config, task, batch = _parts(space, tiny)
        every = _architectures(task)
        weights = task.supernet.init(jax.random.key(0))
        shared = _loaded(task, None, (weights, jnp.asarray(every), batch))
        children = [
            _loaded(task, each, (task.supernet.restrict(weights, each), jnp.zeros(REPEATED), batch))
            for each in every[::REPEATED]
        ]
        whole = Loaded(_search(space, tiny))
        ratios, shares, rates = [], [], []
        for _ in range(rounds):
            together = statistics.median(shared.timed(seconds))
            ratios.append(together / sum(statistics.median(c.timed(0.0)) for c in children))
            stepped = statistics.median(whole.timed(seconds))
            shares.append(max(0.0, 1.0 - together / stepped))
            rates.append(len(every) / stepped)
        about = {"name": space, "unit": "round", "config": name}
        for metric, values in (
            ("ratio", ratios),
            ("optimizer_share", shares),
            ("steps_per_second", rates),
        ):
            rows.append({**about, "metric": metric, **_middle(values)})
        del config
    return rows


def _loaded(task: Task, choices: np.ndarray | None, arguments: tuple) -> Loaded:
    program = _gradient(task, choices)
    return Loaded(Kernel("child", 1, "step", program, lambda: arguments))


def _middle(values: Sequence[float]) -> dict[str, float]:
    middle = statistics.median(values)
    return {"value": middle, "low": min(values), "high": max(values), "n": len(values)}
