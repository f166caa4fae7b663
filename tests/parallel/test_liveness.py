"""Bytes that are alive at once: by hand, and against what the compiler allots."""

import jax
import jax.numpy as jnp
import pytest

from parallel.jaxpr import trace
from parallel.liveness import peak_bytes

ROW = jax.ShapeDtypeStruct((256,), jnp.float32)
KIB = 1024


def peak(function, *args):
    return peak_bytes(trace(function, *args))


def test_views_and_constants_need_nothing():
    assert peak(lambda x: x.reshape(16, 16).T.reshape(256), ROW) == KIB  # the transpose
    assert peak(lambda x: x + jnp.ones(256), ROW) == KIB


def test_a_view_keeps_what_it_shows():
    def function(x):
        shown = jnp.sin(x).reshape(16, 16)
        return jnp.cos(jnp.cos(jnp.cos(x))), shown

    assert peak(function, ROW) == 3 * KIB


def test_what_runs_inside_is_counted_while_it_runs():
    inner = jax.jit(lambda x: jnp.tanh(jnp.sin(jnp.cos(x))))
    assert peak(inner, ROW) == 2 * KIB
    assert peak(lambda x: inner(jnp.sin(x)), ROW) == 3 * KIB
    assert peak(lambda x: inner(inner(x)), ROW) == 3 * KIB


def test_a_scan_holds_its_stack_and_one_iteration():
    def function(x):
        def body(carry, _):
            after = jnp.cos(jnp.sin(carry))
            return after, after

        return jax.lax.scan(body, x, None, length=10)

    assert peak(function, ROW) == 10 * KIB + KIB + 2 * KIB


def test_the_largest_branch_counts():
    def function(flag, x):
        wide = lambda x: jnp.sum(jnp.outer(x, x))  # noqa: E731
        return jax.lax.cond(flag, wide, jnp.sum, x)

    assert peak(function, jax.ShapeDtypeStruct((), jnp.bool_), ROW) == pytest.approx(256 * KIB, 0.1)


def test_a_gradient_holds_up_to_twice_what_the_compiler_allots():
    """JAX keeps 1 - tanh^2 beside tanh; the compiler makes it again in the backward pass."""

    def loss(weights, x):
        for weight in weights:
            x = jnp.tanh(x @ weight)
        return jnp.mean(x**2)

    weights = [jax.ShapeDtypeStruct((128, 128), jnp.float32)] * 8
    args = (weights, jax.ShapeDtypeStruct((1024, 128), jnp.float32))
    function = jax.grad(loss)
    allotted = jax.jit(function).lower(*args).compile().memory_analysis()
    held = allotted.temp_size_in_bytes + allotted.output_size_in_bytes
    assert 0.9 < peak(function, *args) / held < 2.0
