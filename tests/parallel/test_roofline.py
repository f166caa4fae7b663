"""The roofline bound: floors by hand."""

import jax
import jax.numpy as jnp
import pytest

from parallel.jaxpr import cost
from parallel.roofline import MEASURED, Rates, lower_bound

RATES = Rates(
    matrix=1e6,
    copy=1e9,
    functions=dict.fromkeys(MEASURED, 1e3) | {"exp": 2e3, "division": 4e3},
)


def shape(*dims):
    return jax.ShapeDtypeStruct(dims, jnp.float32)


def test_floor_adds_arithmetic_at_the_machine_rates():
    found = lower_bound(cost(lambda a: 1.0 / jnp.tanh(a @ a), shape(10, 10)), RATES)
    assert found.parts["matrix"] == pytest.approx(2000 / 1e6)
    assert found.parts["tanh"] == pytest.approx(100 / 1e3)
    assert found.parts["division"] == pytest.approx(100 / 4e3)
    assert found.parts["memory"] == pytest.approx(2 * 400 / 1e9)
    assert found.seconds == pytest.approx(0.002 + 0.1 + 0.025)


def test_floor_is_memory_where_that_takes_longer():
    slow = RATES._replace(copy=1.0)
    found = lower_bound(cost(lambda a: a + 1.0, shape(10)), slow)
    assert found.seconds == found.parts["memory"] == 80.0


def test_functions_without_a_rate_count_at_the_fastest():
    found = lower_bound(cost(jnp.sin, shape(10)), RATES)
    assert found.parts["other functions"] == found.seconds == 10 / 2e3


def test_floor_counts_every_step_of_a_scan():
    def program(x):
        return jax.lax.scan(lambda c, _: (jnp.tanh(c), None), x, None, length=7)[0]

    assert lower_bound(cost(program, shape(10)), RATES).parts["tanh"] == 70 / 1e3
