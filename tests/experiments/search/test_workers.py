"""The table of dying and hanging workers; on Ray the same is `tests/search/test_ray.py`."""

import pytest

from experiments.report import table as results_table
from experiments.search import hazards
from experiments.search import workers as search_workers


@pytest.mark.slow
def test_every_trial_of_a_pool_is_accounted_for(tmp_path):
    assert search_workers.main(["--kinds", "pool", "--workdir", str(tmp_path)]) == 0
    rows = results_table.read_table(tmp_path / "table.json").rows
    found = {row["metric"]: row["value"] for row in rows}
    assert found["reported_percent"] == 100
    assert found["as_expected_percent"] == 100
    assert found["alphax_identical"] == 1
    assert found["ok"] + found["timeout"] + found["failed"] == hazards.POINTS


def test_points_do_what_is_expected_of_them(tmp_path):
    statuses = [hazards.expected(number) for number in range(hazards.POINTS)]
    assert statuses.count("timeout") == 2
    assert statuses.count("failed") == 4
    for number in (0, 59):
        assert hazards.objective(str(tmp_path), [number], 0) == number
    (tmp_path / "3").touch()  # seen before
    assert hazards.objective(str(tmp_path), [3], 0) == 3
    with pytest.raises(ValueError, match="out of range"):
        hazards.objective(str(tmp_path), [23], 0)
