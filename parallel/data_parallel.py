"""Data parallelism: the state on every device, each batch split along its rows.

A mesh has the one axis `data`. One path serves one device, several, and several hosts: what is put
in place here goes through one compiled program, to which the compiler adds the collectives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

PyTree = Any
AXIS = "data"


def make_mesh(devices: Sequence[Any]) -> Mesh:
    """Returns a mesh over the devices, of all hosts, with the one axis `data`."""
    return jax.make_mesh((len(devices),), (AXIS,), axis_types=(AxisType.Auto,), devices=devices)


def replicated(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of what every device of a mesh holds whole."""
    return NamedSharding(mesh, PartitionSpec())


def replicate(tree: PyTree, mesh: Mesh) -> PyTree:
    """Puts a tree on every device of a mesh.

    Args:
        tree: arrays and typed keys, the same on every host.
        mesh: of `make_mesh`.

    Returns:
        The tree, its leaves replicated; one that is already is itself.
    """
    sharding = replicated(mesh)
    if jax.process_count() == 1:
        return jax.device_put(tree, sharding)

    def put(leaf: Any) -> jax.Array:
        if isinstance(leaf, jax.Array) and leaf.sharding == sharding:
            return leaf
        if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            data = put(jax.random.key_data(leaf))
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
        return jax.make_array_from_process_local_data(sharding, np.asarray(leaf))

    return jax.tree.map(put, tree)


def split(batch: PyTree, mesh: Mesh, whole: Callable[[int], None] = lambda rows: None) -> PyTree:
    """Splits a traced batch over the devices of a mesh, for use inside `jax.jit`.

    Args:
        batch: leaves [rows, ...] of a whole batch; scalars stay as they are.
        mesh: of `make_mesh`.
        whole: called, while tracing, with the rows of each leaf that the devices do not divide,
            which is not split.

    Returns:
        The batch, with the sharding as a constraint.
    """
    sharding = NamedSharding(mesh, PartitionSpec(AXIS))

    def constrain(leaf: Any) -> Any:
        if jnp.ndim(leaf) == 0:
            return leaf
        if leaf.shape[0] % mesh.size:
            whole(leaf.shape[0])
            return leaf
        return jax.lax.with_sharding_constraint(leaf, sharding)

    return jax.tree.map(constrain, batch)


def place(
    batch: PyTree, mesh: Mesh, axis: int = 0, whole: Callable[[int], None] = lambda rows: None
) -> PyTree:
    """Puts a batch that was made on the host on the devices, each host giving its own rows.

    Args:
        batch: NumPy leaves whose rows, those of this host, are along `axis`; leaves of fewer axes
            are put on every device.
        mesh: of `make_mesh`.
        axis: of the rows.
        whole: called with the rows of each leaf that the devices of a single host do not divide,
            which is then put on every device.

    Returns:
        Global arrays: a leaf has the rows of all hosts, one host's after the other's.

    Raises:
        ValueError: there are several hosts, and this one's devices do not divide its rows.
    """
    local = len(mesh.local_devices)

    def put(leaf: np.ndarray) -> jax.Array:
        spec = PartitionSpec()
        if leaf.ndim > axis:
            rows = leaf.shape[axis]
            if rows % local == 0:
                spec = PartitionSpec(*[None] * axis, AXIS)
            elif jax.process_count() > 1:
                raise ValueError(
                    f"a batch leaf has {rows} rows on this host, which its {local} devices do not "
                    "divide"
                )
            else:
                whole(rows)
        return jax.make_array_from_process_local_data(NamedSharding(mesh, spec), leaf)

    return jax.tree.map(put, batch)


def as_on_device(leaf: Any) -> np.ndarray:
    """Returns a host leaf in the dtype that it has on a device: 32 bits for 64.

    >>> as_on_device([1.5, 2.5]).dtype
    dtype('float32')
    """
    array = np.asarray(leaf)
    return array.astype(jax.dtypes.canonicalize_dtype(array.dtype), copy=False)


def over_hosts(batch: PyTree, hosts: int) -> PyTree:
    """Returns the shapes and dtypes of the whole batch of which each host makes such a part.

    Args:
        batch: what one host makes, leaves [rows, ...].
        hosts: how many there are.

    >>> over_hosts({"x": np.zeros((4, 3))}, 2)["x"]
    ShapeDtypeStruct(shape=(8, 3), dtype=float32)
    """

    def struct(leaf: Any) -> jax.ShapeDtypeStruct:
        array = as_on_device(leaf)
        shape = (array.shape[0] * hosts, *array.shape[1:]) if array.ndim else ()
        return jax.ShapeDtypeStruct(shape, array.dtype)

    return jax.tree.map(struct, batch)
