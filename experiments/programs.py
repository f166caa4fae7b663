"""The compiled programs of an experiment: `chunk` updates in one dispatch, on a mesh of devices.

One path serves one device, several, and several hosts: the state is replicated over a mesh with the
one axis `data`, every batch is split along it, and the compiler adds the collectives.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from experiments.experiment import Experiment, Phase

PyTree = Any


class Result(NamedTuple):
    """What one dispatch leaves besides the state. A leading seed axis is there if num_seeds > 1."""

    metrics: dict[str, Any]  # float32 [length]: one value an update
    bad: Any  # bool [leaf]: state leaves that became NaN or infinite


def make_mesh(devices: Sequence[Any]) -> Mesh:
    """Returns a mesh over the devices with the one axis `data`."""
    return jax.make_mesh((len(devices),), ("data",), axis_types=(AxisType.Auto,), devices=devices)


def leaf_names(tree: PyTree) -> list[str]:
    """Returns the dotted path of each leaf, in the order of `jax.tree.leaves`."""
    paths = jax.tree_util.tree_flatten_with_path(tree)[0]
    return [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in paths]


def batch_key(state: PyTree) -> Any:
    """Returns the key of the batch at `state.step`: stream 0 of the run's key, folded in."""
    return jax.random.fold_in(jax.random.fold_in(state.key, 0), state.step)


def is_host_fed(phase: Phase) -> bool:
    """Whether the phase's batches are made by a host function rather than inside the program."""
    return phase.data is None


class Programs:
    """Compiles each phase once per dispatch length, and places states, data and batches.

    Args:
      experiment: what to compile.
      mesh: one axis `data`.
      num_seeds: states carry a leading seed axis if it is above 1.
      seed_axis: "map" runs the seeds one after another with the arithmetic of a solo run; "vmap"
        runs them as one batch.

    Attributes:
      traces: `(phase name, length)` of every trace made so far; it does not grow after each length
        has been seen once.
    """

    def __init__(self, experiment: Experiment, mesh: Mesh, num_seeds: int, seed_axis: str) -> None:
        self.experiment, self.mesh = experiment, mesh
        self.num_seeds, self.seed_axis = num_seeds, seed_axis
        self.replicated = NamedSharding(mesh, PartitionSpec())
        self.traces: list[tuple[str, int]] = []
        self._unsplit: set[tuple[str, int]] = set()
        self._resident: dict[int, Any] = {}
        self._data = [jax.tree.map(self._place_once, phase.data) for phase in experiment.phases]
        self._compiled: dict[tuple[int, bool], Callable[..., Any]] = {}

    def init(self, seed: int) -> PyTree:
        """Returns the first state; seed i of several starts from `jax.random.key(seed + i)`."""
        start = jax.jit(self._init, out_shardings=self.replicated)
        # One seed at a time through one program, so that a seed starts exactly as it would alone.
        states = [start(np.uint32(seed + index)) for index in range(self.num_seeds)]
        return self.stack(states)

    def abstract_state(self) -> PyTree:
        """Returns the shapes and dtypes of one seed's state."""
        return jax.eval_shape(self._init, np.uint32(0))

    def abstract_states(self) -> PyTree:
        """Returns the shapes and dtypes of all seeds' states, as they are saved."""
        one = self.abstract_state()
        if self.num_seeds == 1:
            return one
        stack = partial(jax.tree.map, lambda leaf: jnp.stack([leaf] * self.num_seeds))
        return jax.eval_shape(stack, one)

    def abstract_batch(self, index: int, seed: int) -> PyTree:
        """Returns the shapes and dtypes of one (global) batch of a phase."""
        phase = self.experiment.phases[index]
        if is_host_fed(phase):
            batch = phase.batch(seed, 0)
            hosts = jax.process_count()
            return jax.tree.map(lambda leaf: _global_struct(np.asarray(leaf), hosts), batch)
        state = self.abstract_state()
        return jax.eval_shape(
            lambda state, data: phase.batch(data, batch_key(state), state.step), state, phase.data
        )

    def check(self, seed: int) -> None:
        """Checks by shapes alone that states, batches and metrics are what the loop expects.

        Raises:
          ValueError: names the phase and leaf that are not.
        """
        state = self.abstract_state()
        for name in ("step", "key"):
            if not hasattr(state, name):
                raise ValueError(f"State: expected a field {name!r}, got {type(state).__name__}")
        if _struct(state.step) != ((), "int32"):
            raise ValueError(f"State.step: expected int32[], got {_struct(state.step)}")
        if not jnp.issubdtype(state.key.dtype, jax.dtypes.prng_key):
            raise ValueError(f"State.key: expected a typed key, jax.random.key, got {state.key}")
        for index, phase in enumerate(self.experiment.phases):
            batch = self.abstract_batch(index, seed)
            after, metrics = jax.eval_shape(phase.update, state, batch)
            _check_same_state(f"phase {phase.name!r}: update", state, after)
            for name, value in metrics.items():
                if _struct(value) != ((), "float32"):
                    found = _struct(value)
                    raise ValueError(
                        f"phase {phase.name!r}: metric {name!r}: expected float32[], got {found}"
                    )

    def place(self, state: PyTree) -> PyTree:
        """Returns the state replicated over the mesh."""
        if jax.process_count() == 1:
            return jax.device_put(state, self.replicated)
        return jax.tree.map(self._replicate, state)

    def stack(self, states: Sequence[PyTree]) -> PyTree:
        """Joins one state a seed into one tree, with a leading axis if there are several."""
        if self.num_seeds == 1:
            return self.place(states[0])
        return self.place(jax.tree.map(lambda *leaves: jnp.stack(leaves), *states))

    def seeds(self, state: PyTree) -> list[PyTree]:
        """Splits a state into one a seed, each on a single local device, for host functions."""
        local = jax.tree.map(lambda leaf: leaf.addressable_data(0), state)
        if self.num_seeds == 1:
            return [local]
        return [jax.tree.map(lambda leaf, i=i: leaf[i], local) for i in range(self.num_seeds)]

    def run(self, index: int, state: PyTree, batches: PyTree, length: int) -> tuple[PyTree, Result]:
        """Runs `length` updates of a phase. The state is donated; the call does not wait."""
        return self._program(index, debug=False)(state, self._data[index], batches, length=length)

    def run_debug(
        self, index: int, state: PyTree, batches: PyTree, length: int
    ) -> tuple[PyTree, dict[str, Any], Any, Any]:
        """Runs `length` updates and returns `(state, metrics, bad_state, bad_batch)`.

        Both flags are bool [length, leaf]: which leaves went bad in which update. Donates the
        state.
        """
        return self._program(index, debug=True)(state, self._data[index], batches, length=length)

    def host_batches(self, index: int, start: int, length: int, seed: int) -> PyTree:
        """Makes the batches of updates `start ... start + length - 1` on the host and places them.

        Returns:
          Leaves [length, batch, ...], or [seeds, length, batch, ...]; None for a traced phase.
        """
        phase = self.experiment.phases[index]
        if not is_host_fed(phase):
            return None
        several = self.num_seeds > 1
        rows = [
            _stack_host([phase.batch(seed + i, start + k) for k in range(length)])
            for i in range(self.num_seeds)
        ]
        local = _stack_host(rows) if several else rows[0]
        return jax.tree.map(partial(self._place_batch, phase, 2 if several else 1), local)

    def _say_unsplit(self, phase: Phase, rows: int) -> None:
        if (phase.name, rows) not in self._unsplit:
            self._unsplit.add((phase.name, rows))
            warnings.warn(
                f"phase {phase.name}: a batch leaf of {rows} rows is not split over "
                f"{self.mesh.size} devices, which do not divide it",
                stacklevel=2,
            )

    def _replicate(self, leaf: Any) -> Any:
        """Gives all processes' devices a value that every process holds."""
        if isinstance(leaf, jax.Array) and leaf.sharding == self.replicated:
            return leaf
        if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            data = self._replicate(jax.random.key_data(leaf))
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
        return jax.make_array_from_process_local_data(self.replicated, np.asarray(leaf))

    def _init(self, seed: Any) -> PyTree:
        state = self.experiment.init(jax.random.key(seed))
        # Weak types (of Python scalars) turn strong in the first update and compile it again.
        return jax.tree.map(lambda leaf: jax.lax.convert_element_type(leaf, leaf.dtype), state)

    def _place_batch(self, phase: Phase, axis: int, leaf: np.ndarray) -> Any:
        """Places a stacked host leaf whose batch axis is `axis`, each process giving its shard."""
        spec = PartitionSpec()
        if leaf.ndim > axis:
            local_devices = len(self.mesh.local_devices)
            if leaf.shape[axis] % local_devices == 0:
                spec = PartitionSpec(*[None] * axis, "data")
            elif jax.process_count() > 1:
                raise ValueError(
                    f"phase {phase.name!r}: a batch leaf has {leaf.shape[axis]} rows on this host, "
                    f"which its {local_devices} devices do not divide"
                )
            else:
                self._say_unsplit(phase, leaf.shape[axis])
        sharding = NamedSharding(self.mesh, spec)
        return jax.make_array_from_process_local_data(sharding, leaf)

    def _place_once(self, leaf: Any) -> Any:
        """Places a resident array; phases that share one share its copy on the devices."""
        if id(leaf) not in self._resident:
            # The leaf is kept beside its copy: a freed one could pass its id on.
            self._resident[id(leaf)] = (leaf, self.place(leaf))
        return self._resident[id(leaf)][1]

    def _program(self, index: int, debug: bool) -> Callable[..., Any]:
        if (index, debug) in self._compiled:
            return self._compiled[index, debug]
        phase = self.experiment.phases[index]
        chunk = self._debug_chunk if debug else self._chunk

        def program(state: PyTree, data: PyTree, batches: PyTree, *, length: int) -> Any:
            self.traces.append((phase.name, length))
            one = partial(chunk, phase, data, length)
            if self.num_seeds == 1:
                return one(state, batches)
            if self.seed_axis == "vmap":
                return jax.vmap(one)(state, batches)
            return jax.lax.map(lambda pair: one(*pair), (state, batches))

        program.__name__ = f"chunk_of_{phase.name}"  # shown in profiles
        self._compiled[index, debug] = jax.jit(
            program,
            static_argnames="length",
            donate_argnums=0,
            out_shardings=self.replicated,
        )
        return self._compiled[index, debug]

    def _chunk(
        self, phase: Phase, data: PyTree, length: int, state: PyTree, batches: PyTree
    ) -> tuple[PyTree, Result]:
        def update(state: PyTree, batch: PyTree) -> tuple[PyTree, dict[str, Any]]:
            return phase.update(state, self._batch(phase, data, state, batch))

        after, metrics = jax.lax.scan(update, state, batches, length=length)
        return after, Result(metrics, gone_bad(state, after))

    def _debug_chunk(
        self, phase: Phase, data: PyTree, length: int, state: PyTree, batches: PyTree
    ) -> tuple[PyTree, dict[str, Any], Any, Any]:
        def update(state: PyTree, batch: PyTree) -> tuple[PyTree, Any]:
            batch = self._batch(phase, data, state, batch)
            after, metrics = phase.update(state, batch)
            return after, (metrics, gone_bad(state, after), not_finite(batch))

        after, (metrics, bad, bad_batch) = jax.lax.scan(update, state, batches, length=length)
        return after, metrics, bad, bad_batch

    def _batch(self, phase: Phase, data: PyTree, state: PyTree, batch: PyTree) -> PyTree:
        if not is_host_fed(phase):
            batch = phase.batch(data, batch_key(state), state.step)
        return jax.tree.map(partial(self._constrain, phase), batch)

    def _constrain(self, phase: Phase, leaf: Any) -> Any:
        """Splits a traced batch leaf along its first axis; scalars and odd sizes stay whole."""
        devices = self.mesh.size
        if jnp.ndim(leaf) == 0:
            return leaf
        if leaf.shape[0] % devices:
            self._say_unsplit(phase, leaf.shape[0])
            return leaf
        sharding = NamedSharding(self.mesh, PartitionSpec("data"))
        return jax.lax.with_sharding_constraint(leaf, sharding)


def check_entered(phase: Phase, before: PyTree, after: PyTree, step: int) -> None:
    """Checks that `enter` kept the state's leaves, shapes and dtypes, its step and its key.

    Raises:
      ValueError: names the leaf that it did not.
    """
    where = f"phase {phase.name!r}: enter"
    _check_same_state(where, before, after)
    if not np.all(np.asarray(after.step) == step):
        raise ValueError(f"{where}: state.step: expected {step} as before, got {after.step}")
    old, new = (np.asarray(jax.random.key_data(state.key)) for state in (before, after))
    if not np.array_equal(old, new):
        raise ValueError(f"{where}: state.key: expected the same key as before")


def _check_same_state(where: str, before: PyTree, after: PyTree) -> None:
    old = dict(zip(leaf_names(before), jax.tree.leaves(before), strict=True))
    new = dict(zip(leaf_names(after), jax.tree.leaves(after), strict=True))
    for name in [*old, *new]:
        expected = _struct(old[name]) if name in old else "no such leaf"
        found = _struct(new[name]) if name in new else "no such leaf"
        if expected != found:
            raise ValueError(f"{where}: state leaf {name}: expected {expected}, got {found}")
    wanted, got = str(jax.tree.structure(before)), str(jax.tree.structure(after))
    if wanted != got:
        raise ValueError(f"{where}: state: expected {wanted}, got {got}")


def _struct(leaf: Any) -> tuple[tuple[int, ...], str]:
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


def batch_rows(batch: PyTree) -> int:
    """Returns the rows of the first leaf that has any, 1 if none has: the items of one update."""
    return next((leaf.shape[0] for leaf in jax.tree.leaves(batch) if leaf.ndim), 1)


def count(tree: PyTree) -> tuple[int, int]:
    """Returns the number of values in a tree of arrays or abstract arrays, and their bytes."""
    leaves = jax.tree.leaves(tree)
    values = sum(math.prod(leaf.shape) for leaf in leaves)
    return values, sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves)


def _is_inexact(leaf: Any) -> bool:
    return bool(
        jnp.issubdtype(jnp.asarray(leaf).dtype if np.isscalar(leaf) else leaf.dtype, jnp.inexact)
    )


def _stack_host(trees: Sequence[PyTree]) -> PyTree:
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


def _global_struct(leaf: np.ndarray, hosts: int) -> jax.ShapeDtypeStruct:
    shape = (leaf.shape[0] * hosts, *leaf.shape[1:]) if leaf.ndim else ()
    return jax.ShapeDtypeStruct(shape, leaf.dtype)
