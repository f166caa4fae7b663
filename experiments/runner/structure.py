"""What a tree of arrays is made of: names, shapes, dtypes, sizes; concrete and abstract alike."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.runner.experiment import Phase

PyTree = Any


def leaf_names(tree: PyTree) -> list[str]:
    """Returns the dotted path of each leaf, in the order of `jax.tree.leaves`."""
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


def check_entered(phase: Phase, before: PyTree, after: PyTree, step: int) -> None:
    """Checks that `enter` kept the state's leaves, shapes and dtypes, its step and its key.

    Raises:
      ValueError: names the leaf that it did not.
    """
    where = f"phase {phase.name!r}: enter"
    check_same_state(where, before, after)
    if not np.all(np.asarray(after.step) == step):
        raise ValueError(f"{where}: state.step: expected {step} as before, got {after.step}")
    old, new = (np.asarray(jax.random.key_data(state.key)) for state in (before, after))
    if not np.array_equal(old, new):
        raise ValueError(f"{where}: state.key: expected the same key as before")


def check_same_state(where: str, before: PyTree, after: PyTree) -> None:
    """Checks that a state kept its leaves, shapes and dtypes.

    Raises:
      ValueError: starts with `where` and names the leaf that did not.
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


def struct(leaf: Any) -> tuple[tuple[int, ...], str]:
    """Returns the shape and the dtype's name of an array, concrete or abstract."""
    return tuple(leaf.shape), str(leaf.dtype)


def not_finite(tree: PyTree) -> Any:
    """Returns bool [leaf]: whether a floating leaf holds a NaN or an infinity."""
    flags = [
        ~jnp.all(jnp.isfinite(leaf)) if _is_inexact(leaf) else jnp.asarray(False)
        for leaf in jax.tree.leaves(tree)
    ]
    return jnp.stack(flags) if flags else jnp.zeros((0,), bool)


def gone_bad(before: PyTree, after: PyTree) -> Any:
    """Returns bool [leaf]: whether a floating leaf went bad: has a NaN, or a first infinity.

    A leaf may hold infinities on purpose (best so far, before anything was seen).
    """
    flags = []
    for old, new in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
        if _is_inexact(new):
            infinite = jnp.any(jnp.isinf(new)) & ~jnp.any(jnp.isinf(old))
            flags.append(jnp.any(jnp.isnan(new)) | infinite)
        else:
            flags.append(jnp.asarray(False))
    return jnp.stack(flags)


def _is_inexact(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and bool(jnp.issubdtype(leaf.dtype, jnp.inexact))
