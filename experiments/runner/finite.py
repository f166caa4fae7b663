"""Whether trees of arrays are finite, leaf by leaf, as part of a compiled step."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

PyTree = Any


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
