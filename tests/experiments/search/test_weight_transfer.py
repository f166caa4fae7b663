"""Weights from parent to child: the cells, small, and what their rows say."""

import numpy as np
import pytest

from experiments.runner import config as configs
from experiments.runner.checks import ConfigError
from experiments.search import weight_transfer
from experiments.search.weight_transfer import TABLES
from search import plain_cnn
from tests.experiments.search.cells import changed, ended

TABLE = TABLES["search/weight_transfer"]


def test_rows_of_two_curves_by_hand():
    scratch = np.concatenate([np.linspace(0.1, 0.7, 65), np.full(5, 0.65)])
    transferred = np.concatenate([[0.2, 0.8], np.full(68, 0.7)])
    rows = weight_transfer.curve_rows(scratch, transferred).more["rows"]
    assert rows["scratch"]["accuracy_70_percent"] == pytest.approx(65)
    assert rows["scratch"]["epochs_to_match"] == 1 + np.flatnonzero(scratch >= 0.65)[0]
    assert rows["transferred"]["epochs_to_match"] == 2
    assert rows["transferred"]["accuracy_17_percent"] == pytest.approx(70)
    assert "accuracy_70_percent" not in rows["transferred"]


def test_a_cell_searches_once_a_seed(tmp_path, monkeypatch):
    class Trained:
        """Trains nothing: a network is as good as it is deep."""

        def __init__(self, data, recipe, *, reuse):
            assert reuse
            self.copied = []

        def __call__(self, job, seed):
            self.copied.append(0.25 if job.parent >= 0 else 0.0)
            return job.network[0] / 10

    monkeypatch.setattr(plain_cnn, "Trained", Trained)
    small = {"trials": 4, "first": 1, "num_seeds": 2}
    name = "search-transferred"
    workdirs = ended(tmp_path, {name: changed(TABLE, name, **small)})
    rows = {row["metric"]: row for row in TABLE.rows(name, workdirs)}
    assert {row["name"] for row in rows.values()} == {name}
    assert rows["best_accuracy_percent"]["value"] >= rows["mean_accuracy_percent"]["value"]
    assert rows["copied_percent"]["n"] == 2
    assert rows["copied_percent"]["value"] == 25


def test_the_theses_epochs_stand_beside_those_to_match(monkeypatch):
    made = [
        {"name": name, "metric": metric, "value": 1.0}
        for name in ("scratch", "transferred")
        for metric in ("epochs_to_match", "accuracy_9_percent")
    ]
    monkeypatch.setattr(weight_transfer.study, "written", lambda name, workdirs: made)
    found = weight_transfer.rows("curves", {})
    assert [row.get("reference") for row in found] == [70.0, None, 17.0, None]


@pytest.mark.parametrize(
    ("key", "value"), [("start", "parent"), ("first", "4"), ("trials", "1"), ("epochs", "0")]
)
def test_settings_of_a_config_are_checked(key, value):
    with pytest.raises(ConfigError, match=key):
        weight_transfer.build(configs.load("search/weight_transfer:search,smoke", [(key, value)]))
