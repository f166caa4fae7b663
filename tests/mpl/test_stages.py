"""Learners that follow one another: whose turn it is, what each changes, what it looks up."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mpl import stages
from mpl.stages import Stage
from nco.policy_gradient import Learner


class Counter(NamedTuple):
    """A learner's state: its key, and the sum of all targets that it has seen."""

    key: jax.Array
    total: jax.Array


def counting(sign: float) -> Learner:
    def update(state, batch):
        total = state.total + sign * jnp.sum(batch["targets"])
        return Counter(state.key, total), {"loss": total}

    return Learner(lambda key: Counter(key, jnp.zeros(())), update)


def by_rows(state, batch):
    """A view whose targets are the rows themselves."""
    return {"targets": batch["rows"].astype(jnp.float32)}


STAGES = (
    Stage("teacher", counting(1.0), 3, None, view=by_rows),
    Stage("student", counting(-1.0), 2, None),
)


def test_stages_take_turns():
    assert [stages.active(STAGES, step) for step in (0, 3, 4, 5, 9)] == [0, 0, 1, 1, 1]


def test_a_stage_changes_its_own_state_alone():
    state = stages.init(STAGES, lambda key: jnp.array([10.0, 20.0, 30.0]), jax.random.key(0))
    assert not jnp.array_equal(*(jax.random.key_data(each.key) for each in state.stages))
    rows = {"rows": jnp.array([0, 2])}
    after, metrics = jax.jit(stages.update(STAGES, 0))(state, rows)  # by its own view
    assert (int(after.step), float(metrics["loss"])) == (1, 2.0)
    after, metrics = jax.jit(stages.update(STAGES, 1))(after, rows)  # targets at the rows
    assert (int(after.step), float(metrics["loss"])) == (2, -40.0)
    assert [float(each.total) for each in after.stages] == [2.0, -40.0]
    assert (jax.random.key_data(after.key) == jax.random.key_data(state.key)).all()
    assert stages.init(STAGES, None, jax.random.key(0)).targets == ()
    assert [field.name for field in dataclasses.fields(after)] == [
        *("step", "key", "stages", "targets")  # checkpoints know leaves by these
    ]
