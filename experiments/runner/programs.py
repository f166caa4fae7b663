"""The compiled programs of an experiment: `chunk` updates in one dispatch, on a mesh of devices.

State and batches lie on the mesh as `parallel.data_parallel` says.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from experiments.runner.experiment import Experiment, Phase
from parallel import data_parallel
from parallel.trees import check_same_state, gone_bad, not_finite, struct

PyTree = Any


class Result(NamedTuple):
    """What one dispatch leaves besides the state. A leading seed axis is there if num_seeds > 1."""

    metrics: dict[str, Any]  # float32 [length]: one value an update
    bad: Any  # bool [leaf]: state leaves that became NaN or infinite


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
        self.traces: list[tuple[str, int]] = []
        self._unsplit: set[tuple[str, int]] = set()
        self._host_structs: dict[int, PyTree] = {}
        self._resident: dict[int, Any] = {}
        self._data = [jax.tree.map(self._place_once, phase.data) for phase in experiment.phases]
        self._compiled: dict[tuple[int, bool], Callable[..., Any]] = {}
        self._abstract: PyTree = None

    def init(self, seed: int) -> PyTree:
        """Returns the first state; seed i of several starts from `jax.random.key(seed + i)`."""
        start = jax.jit(self._init, out_shardings=data_parallel.replicated(self.mesh))
        # One seed at a time through one program, so that a seed starts exactly as it would alone.
        states = [start(np.uint32(seed + index)) for index in range(self.num_seeds)]
        return self.stack(states)

    def abstract_state(self) -> PyTree:
        """Returns the shapes and dtypes of one seed's state."""
        if self._abstract is None:  # seconds, for a large network
            self._abstract = jax.eval_shape(self._init, np.uint32(0))
        return self._abstract

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
            if len(inspect.signature(phase.batch).parameters) != 2:
                raise ValueError(
                    f"phase {phase.name!r}: expected a host batch(seed, step), as data is None; "
                    "a traced batch(data, key, step) that needs no data has data=()"
                )
            if phase.like is not None:
                return phase.like
            return data_parallel.over_hosts(phase.batch(seed, 0), jax.process_count())
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
        if struct(state.step) != ((), "int32"):
            raise ValueError(f"State.step: expected int32[], got {struct(state.step)}")
        if not jnp.issubdtype(state.key.dtype, jax.dtypes.prng_key):
            raise ValueError(f"State.key: expected a typed key, jax.random.key, got {state.key}")
        for index, phase in enumerate(self.experiment.phases):
            batch = self.abstract_batch(index, seed)
            after, metrics = jax.eval_shape(phase.update, state, batch)
            check_same_state(f"phase {phase.name!r}: update", state, after)
            for name, value in metrics.items():
                if struct(value) != ((), "float32"):
                    found = struct(value)
                    raise ValueError(
                        f"phase {phase.name!r}: metric {name!r}: expected float32[], got {found}"
                    )

    def place(self, state: PyTree) -> PyTree:
        """Returns the state replicated over the mesh."""
        return data_parallel.replicate(state, self.mesh)

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
        program = self._program(index, debug=False)
        with jax.transfer_guard("disallow"):  # all arguments are in place: nothing moves unseen
            return program(state, self._data[index], batches, length=length)

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
            self._stack_host(
                index, [phase.batch(seed + i, start + k) for k in range(length)], start
            )
            for i in range(self.num_seeds)
        ]
        local = jax.tree.map(lambda *seeds: np.stack(seeds), *rows) if several else rows[0]
        unsplit = partial(self._say_unsplit, phase)
        try:
            return data_parallel.place(local, self.mesh, 2 if several else 1, unsplit)
        except ValueError as error:
            raise ValueError(f"phase {phase.name!r}: {error}") from error

    def _say_unsplit(self, phase: Phase, rows: int) -> None:
        if (phase.name, rows) not in self._unsplit:
            self._unsplit.add((phase.name, rows))
            warnings.warn(
                f"phase {phase.name}: a batch leaf of {rows} rows is not split over "
                f"{self.mesh.size} devices, which do not divide it",
                stacklevel=2,
            )

    def _init(self, seed: Any) -> PyTree:
        state = self.experiment.init(jax.random.key(seed))
        # Weak types (of Python scalars) turn strong in the first update and compile it again.
        return jax.tree.map(lambda leaf: jax.lax.convert_element_type(leaf, leaf.dtype), state)

    def _stack_host(self, index: int, batches: Sequence[PyTree], start: int) -> PyTree:
        """Stacks host batches, which all have the shapes and dtypes of the first ever made."""
        name = self.experiment.phases[index].name
        batches = [jax.tree.map(data_parallel.as_on_device, batch) for batch in batches]
        expected = self._host_structs.setdefault(index, jax.tree.map(struct, batches[0]))
        for offset, batch in enumerate(batches):
            found = jax.tree.map(struct, batch)
            if found != expected:
                raise ValueError(
                    f"phase {name!r}: the host batch of step {start + offset} is {found}, "
                    f"earlier ones were {expected}; pad batches to one shape"
                )
        return jax.tree.map(lambda *leaves: np.stack(leaves), *batches)

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
            out_shardings=data_parallel.replicated(self.mesh),
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
        return data_parallel.split(batch, self.mesh, partial(self._say_unsplit, phase))
