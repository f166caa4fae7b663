"""A search on Ray: a worker that dies, an objective that hangs, and every trial accounted for."""

import functools
import time

import numpy as np
import pytest

from search import alphax, design_spaces, meta_dnn, ray_cluster
from search.interface import Outcome, Trial
from search.spaces import choices
from tests.search import hazards
from tests.search.contract import _equal

pytestmark = [pytest.mark.slow]


def test_a_cluster_survives_hanging_and_dying_workers():
    ray = pytest.importorskip("ray")
    kinds = [0, 3, 4, 1, 2, 0, 0]
    try:
        with ray_cluster.connect(hazards.hazard, workers=2, timeout_s=20.0, retries=1) as evaluator:
            for i, kind in enumerate(kinds):
                evaluator.submit(Trial(i, np.array([kind, 10.0 + i]), i))
            reports, until = [], time.monotonic() + 170
            while len(reports) < len(kinds) and time.monotonic() < until:
                reports += evaluator.collect(wait_s=1.0)
    finally:
        ray.shutdown()
    found = {report.outcome.id: report.outcome for report in reports}
    assert len(reports) == len(found) == len(kinds)
    statuses = [found[i].status for i in range(len(kinds))]
    assert statuses == ["ok", "timeout", "failed", "failed", "failed", "ok", "ok"]
    assert [found[i].value for i in (0, 5, 6)] == [10.0, 15.0, 16.0]


def test_alphax_over_a_cluster_is_the_sequential_search(tmp_path):
    """Workers that die at every new first choice, outcomes as they come: the same statistics."""
    ray = pytest.importorskip("ray")
    tool = alphax.searcher(
        design_spaces.choices_in_order(choices([3, 3, 3])), c=0.1, predictor=meta_dnn.mlp((4,)),
        num_init=3, refit_every=4, rollouts=2,
    )  # fmt: skip
    state, ordered = tool.init(5), tool.init(5)
    objective = functools.partial(hazards.dies_once, str(tmp_path))
    try:
        with ray_cluster.connect(objective, workers=2, timeout_s=60.0, retries=3) as evaluator:
            for _ in range(4):
                state, trials = tool.ask(state, 3)
                ordered, same = tool.ask(ordered, 3)
                for trial, twin in zip(trials, same, strict=True):
                    np.testing.assert_array_equal(trial.point, twin.point)
                    evaluator.submit(trial)
                reports, until = [], time.monotonic() + 100
                while len(reports) < len(trials) and time.monotonic() < until:
                    reports += evaluator.collect(wait_s=1.0)
                state = tool.tell(state, [report.outcome for report in reports])
                ordered = tool.tell(ordered, [Outcome(t.id, float(t.point[0]), "ok") for t in same])
    finally:
        ray.shutdown()
    assert _equal(state, ordered)
    assert any(tmp_path.iterdir())  # workers did die


def test_waiting_for_a_core_is_no_part_of_the_time_limit():
    """Four tasks of two seconds on one core, with a limit of five each."""
    ray = pytest.importorskip("ray")
    try:
        ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
        with ray_cluster.connect(hazards.naps, workers=4, timeout_s=5.0) as evaluator:
            for i in range(4):
                evaluator.submit(Trial(i, np.array([2.0]), i))
            reports, until = [], time.monotonic() + 100
            while len(reports) < 4 and time.monotonic() < until:
                reports += evaluator.collect(wait_s=1.0)
    finally:
        ray.shutdown()
    assert [report.outcome.status for report in reports] == ["ok"] * 4
