"""Points of a list as a search."""

import pytest

from search import listed
from search.interface import Outcome, maximise, score

POINTS = [["a", 1], ["a", 2], ["b", 1], ["b", 2], ["b", 3]]


def measure(point, seed):
    """The number of a point."""
    return float(point[1])


def test_points_come_in_order_whatever_is_asked_at_once():
    for batch in (1, 2, 5):
        run = maximise(listed.searcher(POINTS), measure, budget=5, batch_size=batch, seed=3)
        assert [trial.point for trial in run.trials] == POINTS
        assert run.values.tolist() == [1, 2, 1, 2, 3]
    assert len({trial.seed for trial in run.trials}) == 5


def test_a_list_has_an_end_and_each_point_one_outcome():
    searcher = listed.searcher(POINTS)
    state, trials = searcher.ask(searcher.init(0), 4)
    with pytest.raises(ValueError, match="expected at most the 1 points left"):
        searcher.ask(state, 2)
    state = searcher.tell(state, [score(trials[0], measure)])
    with pytest.raises(ValueError, match="outcome 0"):
        searcher.tell(state, [Outcome(0, 1.0, "ok")])
