"""Boundaries are reached exactly, and are the same wherever a run resumes."""

import pytest

from experiments.runner.checks import ConfigError
from experiments.runner.experiment import Phase
from experiments.runner.schedule import Position, check_phases, dispatches, is_due, position_at


def phases(*steps):
    return tuple(Phase(f"p{i}", count, None, None) for i, count in enumerate(steps))


CASES = [
    (phases(20), False, 20, 5),
    (phases(23), False, 23, 5),
    (phases(3), False, 3, 5),
    (phases(7, 12), True, 60, 5),
    (phases(7, 12), True, 7, 5),
    (phases(4, 9, 13), False, 26, 4),
    (phases(1, 1), True, 5, 10),
]


@pytest.mark.parametrize(("made", "cycle", "steps", "chunk"), CASES)
def test_every_step_is_in_one_dispatch_of_its_phase(made, cycle, steps, chunk):
    at = 0
    for dispatch in dispatches(made, cycle, steps, chunk):
        assert dispatch.start == at
        assert 1 <= dispatch.length <= chunk
        for step in range(dispatch.start, dispatch.stop):
            assert position_at(made, cycle, step).phase == dispatch.phase
        assert dispatch.enters == (position_at(made, cycle, dispatch.start).offset == 0)
        at = dispatch.stop
    assert at == steps


@pytest.mark.parametrize(("made", "cycle", "steps", "chunk"), CASES)
def test_resuming_at_any_boundary_gives_the_rest(made, cycle, steps, chunk):
    whole = list(dispatches(made, cycle, steps, chunk))
    for index, dispatch in enumerate(whole):
        rest = list(dispatches(made, cycle, steps, chunk, dispatch.start))
        assert rest == whole[index:]
    assert list(dispatches(made, cycle, steps, chunk, steps)) == []


@pytest.mark.parametrize(("made", "cycle", "steps", "chunk"), CASES)
def test_one_shorter_program_a_phase_at_most(made, cycle, steps, chunk):
    whole = list(dispatches(made, cycle, steps, chunk))
    cut = whole.pop().length  # `steps` may cut the last visit of a phase short
    for index in range(len(made)):
        lengths = {d.length for d in whole if d.phase == index} - {chunk}
        assert len(lengths) <= 1
    assert cut <= chunk


def test_what_is_due_happens_at_the_next_boundary_and_the_end():
    whole = list(dispatches(phases(7, 12), True, 45, 5))
    due = [d.stop for d in whole if is_due(d, 10, 45)]
    assert due == [12, 24, 31, 43, 45]  # boundaries 5 7 12 17 19 24 26 31 36 38 43 45
    even = list(dispatches(phases(40), False, 40, 5))
    assert [d.stop for d in even if is_due(d, 10, 40)] == [10, 20, 30, 40]


def test_positions():
    made = phases(7, 12)
    assert position_at(made, True, 0) == Position(0, 0)
    assert position_at(made, True, 7) == Position(1, 0)
    assert position_at(made, True, 19) == Position(0, 0)
    assert position_at(made, False, 19) == Position(2, 0)


def test_phases_that_do_not_add_up():
    with pytest.raises(ConfigError, match=r"steps: expected the sum .* 7 \(p0\) \+ 12 \(p1\) = 19"):
        check_phases(phases(7, 12), False, 20)
    with pytest.raises(ConfigError, match="phase 'p1': expected steps >= 1, got 0"):
        check_phases(phases(7, 0), True, 20)
    with pytest.raises(ConfigError, match="at least one phase"):
        check_phases((), True, 20)
    check_phases(phases(7, 12), True, 20)
