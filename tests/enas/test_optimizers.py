"""The thesis's schedules, against its words."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from enas import optimizers


def test_the_rate_decays_after_every_epoch_from_the_fifteenth():
    tx = optimizers.sgd(20.0, steps_per_epoch=3, max_grad_norm=1e9, weight_decay=0.0)
    state, rates = tx.init(jnp.zeros(())), []
    for _ in range(3 * 20):
        update, state = tx.update(jnp.ones(()), state, jnp.zeros(()))
        rates.append(-float(update))
    wanted = [20.0 * 0.96 ** max(epoch - 15, 0) for epoch in range(1, 21) for _ in range(3)]
    np.testing.assert_allclose(rates, wanted, rtol=1e-5)


def test_the_penalty_is_clipped_with_the_gradient():
    tx = optimizers.sgd(1.0, steps_per_epoch=1, max_grad_norm=0.25, weight_decay=0.5)
    weights = jnp.array([8.0, 0.0])
    update, _ = tx.update(jnp.array([0.0, 3.0]), tx.init(weights), weights)
    np.testing.assert_allclose(update, -0.25 * np.array([0.8, 0.6]), rtol=1e-5)


def test_cosine_periods_double():
    schedule = optimizers.cosine_restarts(steps_per_epoch=5, epochs=310)
    rate = lambda step: schedule(jnp.asarray(step, jnp.int32))  # noqa: E731
    starts = np.array([0, 10, 30, 70, 150]) * 5
    np.testing.assert_allclose([rate(s) for s in starts], 0.05, rtol=1e-5)
    np.testing.assert_allclose([rate(s - 1) for s in [*starts[1:], 1550]], 0.001, rtol=0.1)
    middle = 0.001 + 0.5 * (0.05 - 0.001)
    np.testing.assert_allclose(rate(20 * 5), middle, rtol=1e-5)
    # Five periods are exactly the thesis's 310 epochs.
    assert sum(10 * 2**i for i in range(5)) == 310


def test_nesterov_looks_ahead():
    options = {"steps_per_epoch": 1, "epochs": 1, "highest": 1.0, "lowest": 1.0}
    tx = optimizers.nesterov(**options, weight_decay=0.0)
    update, _ = tx.update(jnp.ones(()), tx.init(jnp.zeros(())), jnp.zeros(()))
    assert float(update) == pytest.approx(-1.9)
    clipped = optimizers.nesterov(**options, weight_decay=0.0, max_grad_norm=0.5)
    update, _ = clipped.update(jnp.ones(()), clipped.init(jnp.zeros(())), jnp.zeros(()))
    assert float(update) == pytest.approx(-0.95)
    assert isinstance(tx, optax.GradientTransformation)


@pytest.mark.parametrize("name", ["first", "factor"])
def test_periods_without_a_length_are_refused(name):
    with pytest.raises(ValueError, match=f"{name}: expected at least 1, got 0"):
        optimizers.cosine_restarts(steps_per_epoch=1, epochs=2, **{name: 0})
