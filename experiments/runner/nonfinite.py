"""Naming the update and the leaf where a run stopped being finite, by replaying it.

A run is deterministic, so the way from the last good checkpoint to the bad dispatch can be walked
again with the same programs; the bad dispatch itself is then walked by a program that looks at
every leaf after every update. Whether that program met exactly the same end is checked and said.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.runner.programs import Programs
from experiments.runner.schedule import Dispatch
from experiments.runner.structure import leaf_names

PyTree = Any


class NonFiniteError(RuntimeError):
    """A metric or a state leaf became NaN or infinite.

    Attributes:
      step: the number of the first bad update (it takes `state.step` from `step - 1` to `step`).
      names: what was bad in it: metrics, `state.` leaves and `batch.` leaves.
    """

    def __init__(self, step: int, names: list[str], phase: str, note: str = "") -> None:
        self.step, self.names = step, names
        shown = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
        super().__init__(f"not finite in update {step} (phase {phase!r}): {shown}{note}")


def name_bad_update(
    programs: Programs, dispatch: Dispatch, state: PyTree, seed: int
) -> NonFiniteError:
    """Walks the bad dispatch update by update.

    Args:
      programs: those of the run.
      dispatch: the one whose metrics or end state are not finite.
      state: the state before it (after `enter`).
      seed: the run's.

    Returns:
      The error to raise.
    """
    phase = programs.experiment.phases[dispatch.phase]
    batches = programs.host_batches(dispatch.phase, dispatch.start, dispatch.length, seed)
    struct = programs.abstract_batch(dispatch.phase, seed)
    copy = jax.tree.map(jnp.copy, state)
    end, _ = programs.run(dispatch.phase, copy, batches, dispatch.length)
    names = leaf_names(state)
    walked, metrics, bad, bad_batch = programs.run_debug(
        dispatch.phase, state, batches, dispatch.length
    )
    found: list[tuple[int, int, str]] = []  # update, order within it, name

    def collect(flags: Any, order: int, label: str) -> None:
        flags = np.asarray(flags).reshape(programs.num_seeds, dispatch.length)
        for index, row in enumerate(flags):
            if row.any():
                which = f" (seed {seed + index})" if programs.num_seeds > 1 else ""
                found.append((int(row.argmax()), order, f"{label}{which}"))

    for index, name in enumerate(leaf_names(struct)):
        collect(np.asarray(bad_batch)[..., index], 0, f"batch.{name}")
    for name, values in sorted(metrics.items()):
        collect(~np.isfinite(np.asarray(values)), 1, f"metric {name}")
    for index, name in enumerate(names):
        collect(np.asarray(bad)[..., index], 2, f"state.{name}")

    exact = _same_bits(end, walked)
    note = "" if exact else "\nThe replay differed in rounding from the run: the step may be off."
    if not found:
        return NonFiniteError(
            dispatch.stop, ["nothing in the replay"], phase.name, "\nThe run is not deterministic."
        )
    first = min(found)[0]
    bad_names = [name for update, _, name in sorted(found) if update == first]
    return NonFiniteError(dispatch.start + first + 1, bad_names, phase.name, note)


def _same_bits(one: PyTree, other: PyTree) -> bool:
    def bits(leaf: Any) -> bytes:
        is_key = jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return np.asarray(jax.random.key_data(leaf) if is_key else leaf).tobytes()

    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(bits(left) == bits(right) for left, right in pairs)
