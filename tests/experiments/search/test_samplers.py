"""LaNAS's samplers on a table: the cells on made-up rewards, small."""

import numpy as np
import pytest

from experiments.runner import config as configs
from experiments.runner.checks import ConfigError
from experiments.search import nasbench201, samplers
from experiments.search.samplers import TABLES
from search import benchmarks, interface
from tests.experiments.search.cells import changed, ended

TABLE = TABLES["search/lanas_samplers"]
SMALL = {"task": "made_up", "num_seeds": 2, "steps": 32, "lanas__num_init": 20}


def built(sampler, **changes):
    """The search of a sampler on made-up rewards."""
    pairs = [("sampler", sampler), *((key, str(value)) for key, value in changes.items())]
    return samplers.build(configs.load("search/samplers:made_up,cpu", pairs))


def test_rows_are_what_the_searches_found(tmp_path, monkeypatch):
    monkeypatch.setattr(samplers, "MARKS", (30, 60))
    names = ("pi_random", "random")
    workdirs = ended(tmp_path, {name: changed(TABLE, name, **SMALL) for name in names})
    rows = {
        (row["name"], row["metric"]): row for name in names for row in TABLE.rows(name, workdirs)
    }
    assert {name for name, _ in rows} == {"made_up-pi_random", "made_up-random"}
    space, values = benchmarks.nasbench201(), nasbench201.rewards("made_up")
    searcher = built("pi_random", **{"lanas.num_init": 20}).searcher
    regret = []
    for seed in range(2):
        run = interface.maximise(
            searcher, lambda x, _: values[space.rows(x[None])[0]], budget=30, seed=seed
        )
        regret.append(100 * (values.max() - run.best[-1]))
    row = rows["made_up-pi_random", "regret_30_points"]
    np.testing.assert_allclose(row["value"], np.mean(regret), atol=1e-9)
    assert rows["made_up-random", "median_samples_to_best"]["n"] == 2
    assert ("made_up-random", "regret_60_points") not in rows
    pytest.importorskip("matplotlib")
    (picture,) = TABLE.draw([], workdirs, tmp_path)
    assert picture.stat().st_size > 10_000


def test_bayes_takes_the_most_promising_of_the_region():
    """With pi_bayes the samples after the first tree are better than with pi_random."""
    mean = {}
    for name in ("pi_random", "pi_bayes"):
        work = built(name, candidates=64, **{"lanas.num_init": 24})
        run = interface.maximise(work.searcher, work.objective, budget=32, seed=0)
        mean[name] = run.values[24:].mean()
    assert mean["pi_bayes"] > mean["pi_random"] + 0.01


def test_a_perceptron_splits_the_nodes():
    pytest.importorskip("sklearn")
    work = built("perceptron", hidden_units=3, **{"lanas.num_init": 24})
    run = interface.maximise(work.searcher, work.objective, budget=25, seed=0)
    assert run.state.tree.hidden.weights.shape == (15, 30, 3)
    assert np.isfinite(run.values).all()


@pytest.mark.parametrize(
    ("key", "value"),
    [("sampler", "pi"), ("lanas.height", "0"), ("lanas.form", "none"), ("task", "mnist")],
)
def test_settings_of_a_config_are_checked(key, value):
    with pytest.raises(ConfigError, match=key):
        samplers.build(configs.load("search/samplers:made_up,cpu", [(key, value)]))
