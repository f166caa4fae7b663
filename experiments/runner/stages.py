"""Learners that follow one another in one run: a teacher, its student, the student's finetuning.

The state holds every stage's own state from the start, so that its shape never changes, and the
distributions that a finished stage gave to the unlabelled examples. Batches tell the rows they were
drawn from (`rows`), by which a stage looks its targets up; or a stage makes what its learner reads
of a batch itself (`Stage.view`), and no targets are kept.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array

from experiments.runner.experiment import Phase
from nco.policy_gradient import Learner, Metrics

PyTree = Any


@flax.struct.dataclass
class State:
    """All stages.

    Attributes:
        step: int32 scalar, updates of all stages.
        key: of the run.
        stages: each stage's own state.
        targets: float32 `[unlabelled, classes]`, a finished stage's distributions; zeros before;
            `()` where none are kept.
    """

    step: Array
    key: Array
    stages: tuple[PyTree, ...]
    targets: PyTree


class Stage(NamedTuple):
    """One learner and its place in a run.

    Attributes:
        name: of the phase.
        learner: its `Learner`.
        steps: how many.
        batch: traced `(data, key, step) -> batch`, a dict with `rows`; or host
            `(seed, step) -> batch`.
        enter: `(State) -> State` before its first update, or `None`.
        view: traced `(State, batch) -> batch` of the learner; `None` looks `targets` up at `rows`.
        like: shapes of a host batch (`Phase.like`).
    """

    name: str
    learner: Learner
    steps: int
    batch: Callable[..., PyTree]
    enter: Callable[[State], State] | None = None
    view: Callable[[State, PyTree], PyTree] | None = None
    like: PyTree = None


def init(stages: Sequence[Stage], targets: tuple[int, int] | None, key: Array) -> State:
    """The state before the first update; stage i starts from its own part of the key."""
    return State(
        step=jnp.zeros((), jnp.int32),
        key=key,
        stages=tuple(
            stage.learner.init(jax.random.fold_in(key, 10 + index))
            for index, stage in enumerate(stages)
        ),
        targets=() if targets is None else jnp.zeros(targets),
    )


def phases(stages: Sequence[Stage], data: PyTree) -> tuple[Phase, ...]:
    """The runner's phases, all on the same resident data, or fed by the host (`data=None`)."""
    return tuple(
        Phase(
            stage.name,
            stage.steps,
            _update(index, stage.learner, stage.view or _with_targets),
            stage.batch,
            data,
            stage.enter,
            stage.like,
        )
        for index, stage in enumerate(stages)
    )


def _with_targets(state: State, batch: dict[str, Any]) -> dict[str, Any]:
    batch = dict(batch)
    batch["targets"] = state.targets[batch.pop("rows")]
    return batch


def _update(
    index: int, learner: Learner, view: Callable[[State, PyTree], PyTree]
) -> Callable[[State, PyTree], tuple[State, Metrics]]:
    def update(state: State, batch: PyTree) -> tuple[State, Metrics]:
        inner, metrics = learner.update(state.stages[index], view(state, batch))
        inside = (*state.stages[:index], inner, *state.stages[index + 1 :])
        return dataclasses.replace(state, step=state.step + 1, stages=inside), metrics

    return update


def active(stages: Sequence[Stage], step: int) -> int:
    """The stage that made the last of `step` updates."""
    done = 0
    for index, stage in enumerate(stages):
        done += stage.steps
        if step <= done:
            return index
    return len(stages) - 1
