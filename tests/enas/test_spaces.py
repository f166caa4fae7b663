"""What the three spaces of the thesis have in common: one program for a thousand architectures."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from enas import decisions, tasks, train
from enas.controller import controller
from enas.spaces import macro, micro, rnn

pytestmark = pytest.mark.slow


def images(supernet):
    batch = {"images": jnp.ones((2, 8, 8, 1)), "labels": jnp.zeros(2, jnp.int32)}
    return tasks.images(supernet), batch


def text(supernet):
    tokens = jnp.zeros((2, 3), jnp.int32)
    batch = {"tokens": tokens, "targets": tokens, "starts": jnp.ones((), bool)}
    return tasks.language(supernet, batch_size=2, hidden=4), batch


MADE = {
    "rnn": lambda: text(rnn.supernet(vocabulary=5, nodes=12, hidden=4)),
    "macro": lambda: images(macro.supernet((8, 8, 1), 3, layers=6, channels=2)),
    "micro": lambda: images(
        micro.supernet((8, 8, 1), 3, nodes=5, cells=1, blocks=1, channels=2, last_reduction=False)
    ),
}


@pytest.mark.parametrize("space", MADE)
def test_a_thousand_architectures_are_one_program(space):
    task, batch = MADE[space]()
    policy = controller(task.supernet.decisions)
    whole = train.search(policy, tasks.child(task), optax.sgd(1e-3))
    traces, seen = [], set()

    @jax.jit
    def step(state, batch):
        traces.append(1)
        return whole.weights(state, batch)

    draw = jax.jit(lambda key: decisions.guided(task.supernet.decisions, key, 1000))
    seen = {tuple(one) for one in np.asarray(draw(jax.random.key(0)))}
    state = whole.init(jax.random.key(0))
    for _ in range(1000):  # the controller's own samples, another at each step
        state, said = step(state, batch)
    assert len(traces) == 1
    assert len(seen) > 900
    assert np.isfinite(said["loss"])
    assert int(state.step) == 1000
