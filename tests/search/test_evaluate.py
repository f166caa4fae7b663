"""Every trial is reported exactly once, whatever its objective does."""

import functools
import time

import numpy as np
import pytest

from search import evaluate, ray_cluster
from search.interface import Trial
from tests.search import hazards


def trials(kinds):
    return [Trial(i, np.array([kind, 10.0 + i]), i) for i, kind in enumerate(kinds)]


def gather(evaluator, given, limit_s=60.0):
    for trial in given:
        evaluator.submit(trial)
    reports, until = [], time.monotonic() + limit_s
    while len(reports) < len(given) and time.monotonic() < until:
        reports += evaluator.collect(wait_s=0.5)
    reports += evaluator.collect(wait_s=0.0)
    return {report.outcome.id: report for report in reports}, len(reports)


def test_in_process_failures_are_outcomes():
    with evaluate.InProcess(hazards.hazard) as evaluator:
        found, count = gather(evaluator, trials([0, 1, 2, 0]))
        assert evaluator.collect(wait_s=0.0) == []
    assert count == 4
    assert [found[i].outcome.status for i in range(4)] == ["ok", "failed", "failed", "ok"]
    assert found[3].outcome.value == 13.0
    assert "ValueError: out of range" in found[1].note
    assert "nan" in found[2].note


def test_a_pool_survives_hanging_dying_failing_objectives():
    with evaluate.pool(hazards.hazard, workers=2, timeout_s=2.0, retries=1) as evaluator:
        found, count = gather(evaluator, trials([0, 3, 4, 1, 2, 0, 0]))
        before = evaluator.processes
    assert count == 7
    statuses = [found[i].outcome.status for i in range(7)]
    assert statuses == ["ok", "timeout", "failed", "failed", "failed", "ok", "ok"]
    assert [found[i].outcome.value for i in (0, 5, 6)] == [10.0, 15.0, 16.0]
    assert "lost 2 times" in found[2].note
    assert "within 2 s" in found[1].note
    assert len(before) == 2


def test_a_trial_whose_process_died_is_tried_again(tmp_path):
    objective = functools.partial(hazards.dies_once, str(tmp_path))
    with evaluate.pool(objective, workers=2, retries=1) as evaluator:
        found, count = gather(evaluator, trials([5, 6, 7]))
    assert count == 3
    assert [found[i].outcome.value for i in range(3)] == [5.0, 6.0, 7.0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"workers": 0}, "workers: expected at least 1"),
        ({"timeout_s": 0.0}, "timeout_s: expected more than 0"),
        ({"retries": -1}, "retries: expected at least 0"),
    ],
)
def test_numbers_out_of_range_are_refused(arguments, words):
    for make in (evaluate.pool, ray_cluster.connect):
        with pytest.raises(ValueError, match=words):
            make(hazards.sphere, **arguments)


def test_an_objective_that_does_not_pickle_is_refused_by_a_pool():
    with pytest.raises(evaluate.PoolError, match="objective: expected a function of a module"):
        evaluate.pool(lambda point, seed: 0.0)


def test_without_ray_it_is_named(monkeypatch):
    def absent(name):
        raise ImportError(name)

    monkeypatch.setattr(ray_cluster.importlib, "import_module", absent)
    with pytest.raises(ImportError, match="pip install ray"):
        ray_cluster.connect(hazards.sphere)
