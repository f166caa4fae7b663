"""Branches chosen by an array, against the branches called directly."""

from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

from enas.branches import kept, switch

_X = jnp.asarray(np.random.default_rng(0).normal(size=(5, 3)), jnp.float32)
_W = [jnp.asarray(np.random.default_rng(i).normal(size=(3, 3)), jnp.float32) for i in (1, 2)]
_BRANCHES = [
    lambda x, a, b, n: jnp.tanh(kept(jnp.sin(kept(x @ a)) @ a)) + n.astype(x.dtype),
    lambda x, a, b, n: {"y": jax.nn.relu(kept(x @ b))}["y"] * n.astype(x.dtype),
    lambda x, a, b, n: x,
    lambda x, a, b, n: jnp.zeros_like(x),
]
_NUMBER = jnp.int32(3)  # operands that are not floats have no gradients


def _loss(x: Array, weights: list[Array], index: object) -> Array:
    return jnp.sum(jnp.sin(switch(index, _BRANCHES, x, *weights, _NUMBER)))


def _value_and_grad(x: Array, weights: list[Array], index: object) -> object:
    return jax.value_and_grad(_loss, (0, 1))(x, weights, index)


def test_the_chosen_branch_and_its_gradient() -> None:
    compiled = jax.jit(chex.assert_max_traces(_value_and_grad, n=1))
    for index in range(len(_BRANCHES)):
        found = compiled(_X, _W, jnp.int32(index))
        chex.assert_trees_all_close(found, _value_and_grad(_X, _W, index), atol=1e-6)


def test_weights_of_branches_not_taken_have_gradients_of_zero() -> None:
    compiled = jax.jit(jax.grad(_loss, 1))
    taken = [[bool(jnp.any(g)) for g in compiled(_X, _W, jnp.int32(i))] for i in range(4)]
    assert taken == [[True, False], [False, True], [False, False], [False, False]]


def test_branches_share_what_they_keep() -> None:
    def gradient(index: Array) -> tuple[Array, object]:
        return jax.vjp(lambda x, w: switch(index, _BRANCHES, x, *w, _NUMBER), _X, _W)

    _, back = jax.jit(gradient)(jnp.int32(0))
    shapes = [leaf.shape for leaf in jax.tree.leaves(back) if leaf.ndim]
    assert shapes.count((5, 3)) == 1 + 2  # x once, and the two of the neediest branch
    assert shapes.count((3, 3)) == len(_W)


def test_many_at_once_agree_with_one_at_a_time() -> None:
    indices = jnp.arange(4)
    many = jax.jit(jax.vmap(_value_and_grad, (None, None, 0)))(_X, _W, indices)
    for place in range(4):
        chex.assert_trees_all_close(
            jax.tree.map(lambda leaf, place=place: leaf[place], many),
            _value_and_grad(_X, _W, place),
            atol=1e-6,
        )


def test_only_the_chosen_branch_runs() -> None:
    ran = []

    def loud(name: str) -> Callable[[Array, Array], Array]:
        def branch(x: Array, weight: Array) -> Array:
            jax.debug.callback(ran.append, name)
            return jnp.tanh(x @ weight)

        return branch

    def loss(x: Array, index: Array) -> Array:
        return jnp.sum(switch(index, [loud("a"), loud("b")], x, _W[0]))

    jax.block_until_ready(jax.jit(jax.grad(loss))(_X, jnp.int32(1)))
    jax.effects_barrier()
    assert set(ran) == {"b"}


@pytest.mark.parametrize("index", [1, np.int64(1), np.array(1), True])
def test_a_constant_compiles_its_branch_alone(index: object) -> None:
    jaxpr = jax.make_jaxpr(lambda x: switch(index, [jnp.sin, jnp.cos], x))(_X)
    assert [str(equation.primitive) for equation in jaxpr.eqns] == ["cos"]


def test_what_cannot_be_chosen_from() -> None:
    with pytest.raises(ValueError, match="branches: expected at least one"):
        switch(jnp.int32(0), [], _X)
    with pytest.raises(ValueError, match="index: expected one of 2 branches, got 2"):
        switch(2, [jnp.sin, jnp.cos], _X)
