"""Weights of a trained network as the start of another one, layer by layer.

Source: Wang 2022, section 3.2.4: "we transfer the weights of overlapping layers, and randomly
initialize new layers"; 20 epochs then do for 70 (figure 3.8).
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

PyTree = Any


def transfer(parent: PyTree, child: PyTree) -> tuple[PyTree, PyTree]:
    """Copies what overlaps from a trained network's parameters to a new one's.

    A layer is the innermost node of the tree (a dict of kernel and bias, say); it overlaps where
    the parent has one under the same path whose arrays have the same names, shapes and dtypes.
    Other layers of the child keep their own, freshly drawn, values; no layer is taken in part.

    Args:
        parent: a pytree of arrays.
        child: a pytree of arrays, of any other structure.

    Returns:
        The child's parameters, and, in the same structure, whether each array was copied.

    >>> old = {"conv1": {"w": np.ones(2)}, "head": {"w": np.ones(3)}}
    >>> new = {"conv1": {"w": np.zeros(2)}, "conv2": {"w": np.zeros(2)}, "head": {"w": np.zeros(3)}}
    >>> transfer(old, new)[1]
    {'conv1': {'w': True}, 'conv2': {'w': False}, 'head': {'w': True}}
    """
    parents = _layers(parent)
    copied = {
        path: leaves
        for path, layer in _layers(child).items()
        if (leaves := parents.get(path)) is not None and _alike(leaves, layer)
    }
    paths, structure = jax.tree_util.tree_flatten_with_path(child)
    weights, taken = [], []
    for path, leaf in paths:
        layer = copied.get(path[:-1])
        weights.append(leaf if layer is None else layer[path[-1:]])
        taken.append(layer is not None)
    return jax.tree.unflatten(structure, weights), jax.tree.unflatten(structure, taken)


def _layers(params: PyTree) -> dict[Any, dict[Any, Any]]:
    """Arrays by the path of their layer, then by their own name."""
    layers: dict[Any, dict[Any, Any]] = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]:
        layers.setdefault(path[:-1], {})[path[-1:]] = leaf
    return layers


def _alike(one: dict[Any, Any], other: dict[Any, Any]) -> bool:
    return one.keys() == other.keys() and all(
        np.shape(one[name]) == np.shape(other[name]) and one[name].dtype == other[name].dtype
        for name in one
    )
