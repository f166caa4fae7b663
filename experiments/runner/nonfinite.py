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
from parallel import trees

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
    names = trees.leaf_names(state)
    walked, metrics, bad, bad_batch = programs.run_debug(
        dispatch.phase, state, batches, dispatch.length
    )
    seeds = [f" (seed {seed + i})" for i in range(programs.num_seeds)]
    seeds = seeds if programs.num_seeds > 1 else [""]

    def named(label: str, flags: Any) -> dict[str, np.ndarray]:
        rows = np.asarray(flags).reshape(programs.num_seeds, dispatch.length)
        return {f"{label}{which}": row for which, row in zip(seeds, rows, strict=True)}

    flags: dict[str, np.ndarray] = {}
    for index, name in sorted(enumerate(trees.leaf_names(struct)), key=lambda pair: pair[1]):
        flags |= named(f"batch.{name}", np.asarray(bad_batch)[..., index])
    for name, values in sorted(metrics.items()):
        flags |= named(f"metric {name}", ~np.isfinite(np.asarray(values)))
    for index, name in sorted(enumerate(names), key=lambda pair: pair[1]):
        flags |= named(f"state.{name}", np.asarray(bad)[..., index])
    found = trees.first_set(flags)
    if found is None:
        return NonFiniteError(
            dispatch.stop, ["nothing in the replay"], phase.name, "\nThe run is not deterministic."
        )
    exact = trees.same_bits(end, walked)
    note = "" if exact else "\nThe replay differed in rounding from the run: the step may be off."
    return NonFiniteError(dispatch.start + found[0] + 1, found[1], phase.name, note)
