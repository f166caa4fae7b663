"""AlphaX's predictors alone: the cells on made-up rewards, small."""

import numpy as np
import pytest

from experiments.runner import config as configs
from experiments.runner.checks import ConfigError
from experiments.search import alphax, nasbench201
from experiments.search.alphax import TABLES
from search import benchmarks, meta_dnn
from tests.experiments.search.cells import changed, ended

TABLE = TABLES["search/meta_dnn"]


def test_rows_are_correlations_on_cells_that_were_held_out(tmp_path):
    small = {"task": "made_up", "num_seeds": 2, "samples": "40,60", "epochs": 2, "widths": "8,"}
    workdirs = ended(tmp_path, {"mlp": changed(TABLE, "mlp", **small)})
    rows = {(row["name"], row["metric"]): row for row in TABLE.rows("mlp", workdirs)}
    assert {name for name, _ in rows} == {"made_up-mlp-40", "made_up-mlp-60"}
    values, space = nasbench201.rewards("made_up"), benchmarks.nasbench201()
    encodings, found = space.one_hot(space.every()), []
    model = meta_dnn.mlp((8,), meta_dnn.Training(epochs=2))
    for seed in range(2):
        order = np.random.default_rng(seed).permutation(15_625)
        params = model.fit(encodings[order[:60]], values[order[:60]], seed)
        held = order[12_500:]
        guess = model.predict(params, encodings[held])
        found.append(np.corrcoef(guess, values[held])[0, 1])
    np.testing.assert_allclose(rows["made_up-mlp-60", "correlation"]["value"], np.mean(found))
    assert rows["made_up-mlp-40", "rank_correlation"]["n"] == 2


@pytest.mark.parametrize("name", alphax.MODELS)
def test_the_theses_correlation_stands_beside_that_of_all_samples(monkeypatch, name):
    made = [
        {"name": f"cifar10-{name}-{samples}", "metric": metric, "value": 0.5}
        for samples in (500, 12_500)
        for metric in ("correlation", "rank_correlation")
    ]
    monkeypatch.setattr(alphax.study, "written", lambda name, workdirs: made)
    found = [row.get("reference") for row in alphax.rows(name, {})]
    assert found == [None, None, alphax.REFERENCES.get(name), None]


@pytest.mark.parametrize("name", alphax.MODELS)
def test_every_model_is_a_predictor(name):
    config = configs.load("search/alphax:made_up,smoke", [("model", name)])
    assert callable(alphax.predictor(config).fit)
    assert alphax.build(config).budget == 2


@pytest.mark.parametrize(
    ("key", "value"), [("samples", "0"), ("samples", "12501"), ("task", "mnist"), ("model", "gp")]
)
def test_settings_of_a_config_are_checked(key, value):
    with pytest.raises(ConfigError, match=key):
        alphax.build(configs.load("search/alphax:made_up,smoke", [(key, value)]))
