import jax
import numpy as np
import pytest

from experiments.nco import knapsack as nco_knapsack
from experiments.runner import config as configs
from experiments.runner.checks import ConfigError
from nco import knapsack_solvers

SMALL = {"num_items": 6, "capacity": 1.5, "finish.instances": 5, "finish.samples": 8}


def small(**overrides):
    pairs = [(key, str(value)) for key, value in (SMALL | overrides).items()]
    return configs.load("nco/knapsack:50,smoke", pairs)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder and the rows of a run that was never trained."""
    workdir = tmp_path_factory.mktemp("knap")
    experiment = nco_knapsack.build(small(**{"finish.solvers": "true"}))
    state = jax.jit(experiment.init)(jax.random.key(0))
    return workdir, experiment.finish(state, workdir)


def test_finish_compares_with_solvers_and_saves_the_model(finished):
    workdir, rows = finished
    worth = {row["name"]: row["value"] for row in rows}
    for method in ("greedy", "sample8", "skip_greedy", "stop_greedy"):
        assert worth[f"knap6-{method}"] <= worth["knap6-optimal"] + 1e-6
    assert worth["knap6-stop_greedy"] <= worth["knap6-skip_greedy"]
    assert "knap6-optimal" in (workdir / "table.md").read_text()
    items = np.random.RandomState(1234).uniform(size=(10_000, 6, 2))[:5].astype(np.float32)
    optima = [x[knapsack_solvers.exact(*x.T, 1.5), 1].sum() for x in items.astype(np.float64)]
    assert worth["knap6-optimal"] == pytest.approx(np.mean(optima))


def test_paper_preset_holds_the_seeds_values():
    knapsacks = [configs.load(f"nco/knapsack:{n},paper") for n in (50, 100, 200)]
    assert [each.capacity for each in knapsacks] == [12.5, 25.0, 25.0]
    for each in knapsacks:
        assert (each.batch_size, each.num_samples, each.baseline) == (128, 1, "critic")
        assert (each.model.scale, each.model.clip, each.model.glimpses) == (0.08, 10.0, 1)
        assert (each.optimizer.name, each.optimizer.learning_rate) == ("adam", 1e-3)
        assert (each.finish.scratch_steps, each.finish.search_rate) == (5000, 1e-5)


def test_impossible_values_name_their_key():
    for key, value in (("num_items", 0), ("capacity", -1.0), ("finish.samples", 0)):
        with pytest.raises(ConfigError, match=f"^{key}: "):
            nco_knapsack.build(small(**{key: value}))
