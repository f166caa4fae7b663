"""Trees of arrays: their leaves' names, shapes, dtypes and sizes, and which are not finite.

The trees may be abstract (`jax.eval_shape`) where nothing is said of values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

PyTree = Any


def leaf_names(tree: PyTree) -> list[str]:
    """Returns the dotted path of each leaf, in the order of `jax.tree.leaves`.

    >>> leaf_names({"layers": [1, 2], "bias": 3})
    ['bias', 'layers.0', 'layers.1']
    """
    paths = jax.tree_util.tree_flatten_with_path(tree)[0]
    return [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in paths]


def batch_rows(batch: PyTree) -> int:
    """Returns the rows of the first leaf that has any, 1 if none has: the items of one update."""
    return next((leaf.shape[0] for leaf in jax.tree.leaves(batch) if leaf.ndim), 1)


def count(tree: PyTree) -> tuple[int, int]:
    """Returns the number of values in a tree of arrays or abstract arrays, and their bytes."""
    leaves = jax.tree.leaves(tree)
    values = sum(math.prod(leaf.shape) for leaf in leaves)
    return values, sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves)


def struct(leaf: Any) -> tuple[tuple[int, ...], str]:
    """Returns the shape and the dtype's name of an array, concrete or abstract."""
    return tuple(leaf.shape), str(leaf.dtype)


def check_same_state(where: str, before: PyTree, after: PyTree) -> None:
    """Checks that a state kept its leaves, shapes and dtypes.

    Args:
        where: what made `after`, for the message.
        before: the state, concrete or abstract.
        after: what it became.

    Raises:
        ValueError: starts with `where` and names the leaf that it did not keep.
    """
    old = dict(zip(leaf_names(before), jax.tree.leaves(before), strict=True))
    new = dict(zip(leaf_names(after), jax.tree.leaves(after), strict=True))
    for name in [*old, *new]:
        expected = struct(old[name]) if name in old else "no such leaf"
        found = struct(new[name]) if name in new else "no such leaf"
        if expected != found:
            raise ValueError(f"{where}: state leaf {name}: expected {expected}, got {found}")
    wanted, got = str(jax.tree.structure(before)), str(jax.tree.structure(after))
    if wanted != got:
        raise ValueError(f"{where}: state: expected {wanted}, got {got}")


def same_bits(one: PyTree, other: PyTree) -> bool:
    """Whether two trees of arrays and typed keys hold the same bytes, leaf by leaf.

    Raises:
        ValueError: they have different numbers of leaves.
    """

    def bits(leaf: Any) -> bytes:
        is_key = jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return np.asarray(jax.random.key_data(leaf) if is_key else leaf).tobytes()

    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(bits(left) == bits(right) for left, right in pairs)


def not_finite(tree: PyTree) -> Bool[Array, " leaf"]:
    """Returns bool [leaf]: whether a floating leaf holds a NaN or an infinity."""
    flags = [
        ~jnp.all(jnp.isfinite(leaf)) if _is_inexact(leaf) else jnp.asarray(False)
        for leaf in jax.tree.leaves(tree)
    ]
    return jnp.stack(flags) if flags else jnp.zeros((0,), bool)


def gone_bad(before: PyTree, after: PyTree) -> Bool[Array, " leaf"]:
    """Returns bool [leaf]: whether a floating leaf went bad: has a NaN, or a first infinity.

    A leaf may hold infinities on purpose (best so far, before anything was seen).

    Args:
        before: with at least one leaf.
        after: of the same structure.
    """
    flags = []
    for old, new in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
        if _is_inexact(new):
            infinite = jnp.any(jnp.isinf(new)) & ~jnp.any(jnp.isinf(old))
            flags.append(jnp.any(jnp.isnan(new)) | infinite)
        else:
            flags.append(jnp.asarray(False))
    return jnp.stack(flags)


def first_set(flags: Mapping[str, Bool[np.ndarray, " length"]]) -> tuple[int, list[str]] | None:
    """The first place at which any of several rows of flags is set, and which of them are.

    Args:
        flags: at least one, by name, all of one length.

    Returns:
        The place, from 0, and the names of the rows that are set there, in their order; `None`
        where none is set.

    >>> first_set({"a": np.array([False, False, True]), "b": np.array([False, True, True])})
    (1, ['b'])
    """
    somewhere = np.any(list(flags.values()), axis=0)
    if not somewhere.any():
        return None
    first = int(np.argmax(somewhere))
    return first, [name for name, row in flags.items() if row[first]]


def _is_inexact(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and bool(jnp.issubdtype(leaf.dtype, jnp.inexact))
