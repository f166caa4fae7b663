"""Where a run's boundaries lie, between dispatches of a compiled program.

They are a function of the phases and the config alone, so a resumed run meets exactly the
boundaries of an uninterrupted one. Steps are counted over the whole run. A dispatch never crosses
the end of a phase, and within a phase dispatches start at multiples of `chunk` from the phase's
first step, so a phase whose steps are no multiple of `chunk` ends with one shorter dispatch, which
costs one more compiled program.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from experiments.runner.checks import ConfigError
from experiments.runner.experiment import Phase


class Position(NamedTuple):
    """A place in the schedule: which phase, and how many of its steps are done in this visit."""

    phase: int
    offset: int


class Dispatch(NamedTuple):
    """One call of a compiled program: updates `start + 1 ... stop` of the run, all of one phase."""

    phase: int
    start: int
    stop: int
    enters: bool  # it is the first of its phase, whose `enter` has to be called before

    @property
    def length(self) -> int:
        return self.stop - self.start


def check_phases(phases: Sequence[Phase], cycle: bool, steps: int) -> None:
    """Checks that the phases lead to exactly `steps` updates.

    Raises:
      ConfigError: no phases, a phase without steps, or a sequence that does not sum to `steps`.
    """
    if not phases:
        raise ConfigError("phases", "at least one phase", 0)
    for phase in phases:
        if not isinstance(phase.steps, int) or phase.steps < 1:
            raise ConfigError(f"phase {phase.name!r}", "steps >= 1", phase.steps)
    total = sum(phase.steps for phase in phases)
    if not cycle and total != steps:
        parts = " + ".join(f"{phase.steps} ({phase.name})" for phase in phases)
        raise ConfigError("steps", f"the sum of the phases' steps, {parts} = {total}", steps)


def position_at(phases: Sequence[Phase], cycle: bool, step: int) -> Position:
    """Returns the position after `step` updates; the end of a phase is the start of the next.

    The end of the last phase of a sequence is the one place past the last phase.
    """
    rest = step % sum(phase.steps for phase in phases) if cycle else step
    for index, phase in enumerate(phases):
        if rest < phase.steps:
            return Position(index, rest)
        rest -= phase.steps
    return Position(len(phases), rest)


def dispatches(
    phases: Sequence[Phase], cycle: bool, steps: int, chunk: int, start: int = 0
) -> Iterator[Dispatch]:
    """Yields the dispatches that lead from `start` updates done to `steps`."""
    while start < steps:
        phase, offset = position_at(phases, cycle, start)
        to_grid = chunk - offset % chunk
        to_phase_end = phases[phase].steps - offset
        stop = min(start + min(to_grid, to_phase_end), steps)
        yield Dispatch(phase, start, stop, enters=offset == 0)
        start = stop


def is_due(dispatch: Dispatch, every: int, steps: int) -> bool:
    """Whether what happens `every` so many steps happens after this dispatch.

    That is at the first boundary at or after each multiple of `every`, and at the very end.
    """
    return dispatch.stop // every > dispatch.start // every or dispatch.stop == steps
