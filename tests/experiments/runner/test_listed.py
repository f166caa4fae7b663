"""Measurements as searches: listed points, more than a reward, goals, a problem for each seed."""

import json

import numpy as np
import pytest

from experiments.runner import config as configs
from experiments.runner import search_loop
from experiments.runner.checks import UserError
from experiments.runner.experiment import Search
from experiments.runner.search_journal import JOURNAL, recorded
from experiments.runner.workdir import WorkdirError
from search import listed
from search.interface import Measured
from tests.experiments.runner.test_search_loop import TOY

POINTS = [["a", 1], ["a", 2], ["b", 1], ["b", 2], ["b", 3]]


def measure(point, seed):
    """The number of a point, and what else there is to say."""
    return Measured(point[1], {"letter": point[0], "twice": np.arange(2) * point[1]})


def work(**fields):
    made = Search(listed.searcher(POINTS), measure, ("number", "max"), budget=len(POINTS))
    return made._replace(**fields)


def search(workdir, made, stop=lambda: False, **overrides):
    config = configs.load(TOY, [(key, str(value)) for key, value in overrides.items()])
    return search_loop.train(made, config, workdir, stop=stop)


def test_points_are_measured_in_order_and_what_was_measured_is_kept(tmp_path):
    assert search(tmp_path, work()).step == 5  # though the config's steps are 12
    (found,) = recorded(tmp_path)
    assert found.points == POINTS
    assert found.values.tolist() == [1, 2, 1, 2, 3]
    assert found.best.tolist() == [1, 2, 2, 2, 3]
    assert found.more[3] == {"letter": "b", "twice": [0, 2]}


def test_cut_between_two_points_it_measures_only_those_that_are_left(tmp_path):
    measured = []

    def count(point, seed):
        measured.append(tuple(point))
        return measure(point, seed)

    search(tmp_path / "cut", work(objective=count), stop=lambda: len(measured) >= 3)
    assert len(measured) == 3
    search(tmp_path / "cut", work(objective=count))
    assert measured == [tuple(point) for point in POINTS]
    search(tmp_path / "whole", work())
    ends = [(tmp_path / name / JOURNAL).read_bytes() for name in ("cut", "whole")]
    assert ends[0] == ends[1]


def test_a_goal_ends_a_search_and_it_stays_ended(tmp_path):
    for _ in range(2):
        done = search(tmp_path, work(goal=2.0))
        assert (done.step, done.stopped) == (2, False)
    assert len((tmp_path / JOURNAL).read_text().splitlines()) == 6


def test_each_seed_may_have_a_problem_of_its_own(tmp_path):
    def of_seed(seed):
        return lambda point, _: float(seed * point[1])

    search(tmp_path, work(of_seed=of_seed, objective=None), num_seeds=2, seed=9)
    found = recorded(tmp_path)
    assert [each.values.tolist() for each in found] == [[9, 18, 9, 18, 27], [10, 20, 10, 20, 30]]


def test_a_failed_start_counts_as_the_first_reward(tmp_path):
    def fails_first(point, seed):
        return float("nan") if point == POINTS[0] else float(point[1])

    search(tmp_path, work(objective=fails_first))
    (found,) = recorded(tmp_path)
    assert found.best.tolist() == [2, 2, 2, 2, 3]
    assert found.more == [{}] * 5
    with pytest.raises(UserError, match="first 5 trials all failed"):
        search(tmp_path / "none", work(objective=lambda point, seed: float("nan")))
    with pytest.raises(ValueError, match="no evaluation that did not fail"):
        _ = recorded(tmp_path / "none")[0].best


def test_a_folder_without_a_journal_is_refused(tmp_path):
    with pytest.raises(WorkdirError, match=f"with {JOURNAL}"):
        recorded(tmp_path)


def test_journals_from_before_have_no_more(tmp_path):
    search(tmp_path, work(objective=lambda point, seed: 1.0))
    lines = [json.loads(line) for line in (tmp_path / JOURNAL).read_text().splitlines()]
    assert all("more" not in line for line in lines)
