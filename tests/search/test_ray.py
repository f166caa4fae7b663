"""A search on Ray: a worker that dies, an objective that hangs, and every trial accounted for."""

import time

import numpy as np
import pytest

from search import evaluate
from search.interface import Trial
from tests.search import hazards

pytestmark = [pytest.mark.slow]


def test_a_cluster_survives_hanging_and_dying_workers():
    ray = pytest.importorskip("ray")
    kinds = [0, 3, 4, 1, 2, 0, 0]
    try:
        with evaluate.ray_cluster(
            hazards.hazard, workers=2, timeout_s=20.0, retries=1
        ) as evaluator:
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
