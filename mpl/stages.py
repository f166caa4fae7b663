"""Learners that follow one another in one run: a teacher, its student, the student's finetuning.

The state holds every stage's own state from the start, so that its shape never changes, and what
stages look up in it: the distributions that a finished stage gave to the unlabelled examples, or
the data set of a seed. Batches tell the rows they were drawn from (`rows`), by which a stage looks
its targets up; or a stage makes what its learner reads of a batch itself (`Stage.view`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array

from nco.policy_gradient import Learner

PyTree = Any


@flax.struct.dataclass
class State:
    """All stages.

    Attributes:
        step: int32 scalar, updates of all stages.
        key: of the run.
        stages: each stage's own state.
        targets: what stages look up; `()` where they look nothing up.
    """

    step: Array
    key: Array
    stages: tuple[PyTree, ...]
    targets: PyTree


class Stage(NamedTuple):
    """One learner and its place in a run.

    Attributes:
        name: of the stage.
        learner: its `Learner`.
        steps: how many.
        batch: traced `(data, key, step) -> batch`, a dict with `rows`; or, of batches that a host
            makes, `(seed, step) -> batch`.
        enter: `(State) -> State` before its first update, or `None`.
        view: traced `(State, batch) -> batch` of the learner; `None` looks `targets` up at `rows`.
        like: shapes and dtypes of a batch that a host makes.
    """

    name: str
    learner: Learner
    steps: int
    batch: Callable[..., PyTree]
    enter: Callable[[State], State] | None = None
    view: Callable[[State, PyTree], PyTree] | None = None
    like: PyTree = None


def init(stages: Sequence[Stage], targets: Callable[[Array], PyTree] | None, key: Array) -> State:
    """The state before the first update; stage i starts from its own part of the key.

    Args:
        stages: in their order.
        targets: `(key) -> State.targets`; `None` for `()`.
        key: PRNG key of the run; folded in, and kept.
    """
    parts = [stage.learner.init(jax.random.fold_in(key, 10 + i)) for i, stage in enumerate(stages)]
    kept = () if targets is None else targets(key)
    return State(jnp.zeros((), jnp.int32), key, tuple(parts), kept)


def update(
    stages: Sequence[Stage], index: int
) -> Callable[[State, PyTree], tuple[State, dict[str, Array]]]:
    """The update of one stage: `(State, batch) -> (State, metrics)`, which leaves the others alone.

    Args:
        stages: in their order.
        index: of the stage.
    """
    learner, view = stages[index].learner, stages[index].view or _with_targets

    def updated(state: State, batch: PyTree) -> tuple[State, dict[str, Array]]:
        inner, metrics = learner.update(state.stages[index], view(state, batch))
        inside = (*state.stages[:index], inner, *state.stages[index + 1 :])
        return dataclasses.replace(state, step=state.step + 1, stages=inside), metrics

    return updated


def active(stages: Sequence[Stage], step: int) -> int:
    """The number of the stage that made the last of `step` updates."""
    done = 0
    for index, stage in enumerate(stages):
        done += stage.steps
        if step <= done:
            return index
    return len(stages) - 1


def _with_targets(state: State, batch: dict[str, Any]) -> dict[str, Any]:
    batch = dict(batch)
    batch["targets"] = state.targets[batch.pop("rows")]
    return batch
