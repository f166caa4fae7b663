"""A state of many dtypes, saved and compared, for the tests of checkpoints."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.runner.checkpoint import Checkpoints, to_host

HEADLINE = ("error", "min")


class State(NamedTuple):
    params: Any
    step: Any
    key: Any


def state_at(step):
    """A state of many dtypes, some of whose paths and shapes are awkward."""
    values = np.arange(1000, dtype=np.float32) * (step + 1)
    params = {
        "dense": {"kernel": jnp.asarray(values.reshape(10, 100)), "a/b.c": jnp.zeros((3,))},
        "half": jnp.asarray(values[:5], jnp.bfloat16),
        "list": [jnp.asarray([True, False]), jnp.asarray(3, jnp.uint8), np.float32(step)],
        "none": jnp.zeros((0, 4)),
        "eight": jnp.ones((2,), jnp.float8_e4m3fn),
        "keys": jax.random.split(jax.random.key(1, impl="rbg"), 3),
    }
    return State(params, jnp.asarray(step, jnp.int32), jax.random.key(7))


def folder(workdir, keep=2, digest="d", headline=HEADLINE):
    return Checkpoints(workdir, headline, keep, digest)


def save(workdir, errors, **options):
    """Saves steps 10, 20, ... with these errors (None: not evaluated)."""
    made = folder(workdir, **options)
    for index, error in enumerate(errors):
        step = 10 * (index + 1)
        metrics = None if error is None else {"error": error}
        made.save(state_at(step), step, metrics, {"phase": "p", "phase_step": step})
    made.close()


def same(one, other):
    left, right = to_host(one), to_host(other)
    assert left.keys() == right.keys()
    for name in left:
        assert left[name].dtype == right[name].dtype, name
        assert left[name].tobytes() == right[name].tobytes(), name


def manifest_file(workdir, step):
    return workdir / "checkpoints" / str(step) / "manifest" / "metadata"
