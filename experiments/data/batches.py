"""Batches as a stateless function of (seed, step): exact resume needs no iterator to be saved.

They are made on the host, one NumPy batch a step, in epochs.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Int, PyTree


def batches(
    arrays: PyTree, batch_size: int, *, shard: tuple[int, int] = (0, 1)
) -> Callable[[int, int], PyTree]:
    """Epochs of shuffled batches, without replacement; an epoch's incomplete last batch is dropped.

    Epoch e of seed s visits the examples in an order that depends on (s, e) alone: they are sorted
    by the raw output of a Philox generator keyed with (s, e), a stream that NumPy keeps the same
    between its versions.

    Args:
      arrays: leaves [N, ...] with one N; NumPy arrays, or anything that indexing with an int array
      works on.
      batch_size: B of the whole batch, over all hosts; at most N.
      shard: (index, count) of this host. It gets rows index * B/count to (index + 1) * B/count of
        the batch: the shards of a step are disjoint and, one after the other, are the batch of
        `shard=(0, 1)`.

    Returns:
      (seed, step) -> a pytree like `arrays`, leaves [B / count, ...].

    Raises:
      ValueError: an argument is out of range, or the leaves differ in length.

    >>> batch = batches({"x": np.arange(10)}, 4)
    >>> batch(0, 7)["x"].shape, bool((batch(0, 7)["x"] == batch(0, 7)["x"]).all())
    ((4,), True)
    """
    size = _common_length(arrays)
    index, count = shard
    if not 1 <= batch_size <= size:
        raise ValueError(
            f"batch_size: expected 1 to {size}, the number of examples; got {batch_size}"
        )
    if not 0 <= index < count:
        raise ValueError(f"shard: expected (index, count) with 0 <= index < count; got {shard}")
    if batch_size % count:
        raise ValueError(f"batch_size: expected a multiple of {count} shards; got {batch_size}")
    per_epoch, share = size // batch_size, batch_size // count

    # Two orders are remembered, for speed only: the function stays stateless.
    order = functools.lru_cache(maxsize=2)(functools.partial(_epoch_order, size))

    def batch(seed: int, step: int) -> PyTree:
        if seed < 0 or step < 0:
            raise ValueError(f"seed, step: expected non-negative; got {seed}, {step}")
        epoch, place = divmod(step, per_epoch)
        start = place * batch_size + index * share
        rows = order(seed, epoch)[start : start + share]
        return jax.tree.map(lambda leaf: leaf[rows], arrays)

    return batch


def _epoch_order(size: int, seed: int, epoch: int) -> Int[np.ndarray, "N"]:
    generator = np.random.Philox(np.random.SeedSequence((seed, epoch)))
    return np.argsort(generator.random_raw(size), kind="stable")


def _common_length(arrays: PyTree) -> int:
    lengths: dict[str, Any] = {
        jax.tree_util.keystr(path): len(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(arrays)
    }
    if len(set(lengths.values())) != 1:
        raise ValueError(f"arrays: expected leaves of one length; got {lengths}")
    return next(iter(lengths.values()))
