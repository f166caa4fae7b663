"""What trees of arrays are made of, and which of their leaves are not finite."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from parallel import trees
from parallel.trees import gone_bad, not_finite


def state():
    return {"net": [jnp.ones((3, 4)), jnp.ones(2, jnp.bfloat16)], "key": jax.random.key(0)}


def test_leaves_are_named_and_counted_as_jax_lists_them():
    given = state()
    assert trees.leaf_names(given) == ["key", "net.0", "net.1"]
    abstract = jax.eval_shape(lambda: given)
    assert trees.count(given["net"]) == trees.count(abstract["net"]) == (14, 52)
    assert trees.batch_rows({"a": jnp.zeros(()), "b": jnp.zeros((5, 2))}) == 5
    assert trees.batch_rows({"a": jnp.zeros(())}) == trees.batch_rows({}) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"net": [jnp.ones((3, 4)), jnp.ones(2)]}, r"fit: state leaf net.1: .*bfloat16.*float32"),
        ({"net": [jnp.ones((4, 3)), jnp.ones(2, jnp.bfloat16)]}, r"net.0: .*\(3, 4\).*\(4, 3\)"),
        ({"net": [jnp.ones((3, 4))]}, "leaf net.1: .* got no such leaf"),
        ({"more": jnp.ones(1)}, "leaf more: expected no such leaf"),
        ({"net": (jnp.ones((3, 4)), jnp.ones(2, jnp.bfloat16))}, "fit: state: expected PyTreeDef"),
    ],
)
def test_a_state_that_changed_is_refused(change, words):
    trees.check_same_state("fit", state(), jax.eval_shape(state))
    with pytest.raises(ValueError, match=words):
        trees.check_same_state("fit", state(), state() | change)


def test_infinities_that_are_meant_to_be_there():
    inf, nan, one = jnp.full((2,), jnp.inf), jnp.full((2,), jnp.nan), jnp.ones(2)
    before = {"best": inf, "kept": one, "count": jnp.zeros(2, int), "low": one, "none": inf}
    after = {"best": one, "kept": inf, "count": jnp.ones(2, int), "low": nan, "none": inf}
    flags = dict(zip(sorted(before), gone_bad(before, after).tolist(), strict=True))
    assert flags == {"best": False, "kept": True, "count": False, "low": True, "none": False}
    flags = dict(zip(sorted(after), not_finite(after).tolist(), strict=True))
    assert flags == {"best": False, "kept": True, "count": False, "low": True, "none": True}
    assert not_finite({}).shape == (0,)


def test_bits_are_compared_not_values():
    assert trees.same_bits(state(), state())
    assert trees.same_bits(jnp.full(2, jnp.nan), jnp.full(2, jnp.nan))
    assert not trees.same_bits(jnp.zeros(2), -jnp.zeros(2))
    assert not trees.same_bits(state(), state() | {"key": jax.random.key(1)})


def test_the_first_flag_of_any_row_is_found():
    rows = np.array([[0, 0, 1, 1], [0, 0, 0, 1], [0, 0, 1, 0]], bool)
    flags = dict(zip(("b", "c", "a"), rows, strict=True))
    assert trees.first_set(flags) == (2, ["b", "a"])
    assert trees.first_set({"a": np.zeros(4, bool)}) is None
