import jax
import numpy as np
import pytest

from experiments import config as configs
from experiments import nco_knapsack, nco_tables, pretrained, results_table
from experiments.config import ConfigError
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


def test_impossible_values_name_their_key():
    for key, value in (("num_items", 0), ("capacity", -1.0), ("finish.samples", 130)):
        with pytest.raises(ConfigError, match=f"^{key}: "):
            nco_knapsack.build(small(**{key: value}))


def test_a_table_is_filled_from_a_model(finished, tmp_path, monkeypatch, capsys):
    workdir, made = finished
    monkeypatch.setattr(results_table, "RESULTS", tmp_path)
    words = ["knap6", "--model", str(workdir), "--instances=5", "--first=4", "--samples=8"]
    assert nco_tables.main([*words, "--active=1", "--active_steps=2"]) == 0
    rows = results_table.read_table(tmp_path / "nco/knapsack.json").rows
    found = {(row["name"], row["metric"]): row for row in rows}
    greedy = next(row["value"] for row in made if row["name"] == "knap6-greedy")
    assert found["knap6-greedy", "value"]["value"] == pytest.approx(greedy)
    assert (found["knap6-greedy", "value"]["n"], found["knap6-random", "value"]["n"]) == (5, 4)
    assert found["knap6-active", "value"]["n"] == 1
    for name in ("greedy", "sample8", "random", "active", "skip_greedy", "stop_greedy"):
        assert found[f"knap6-{name}", "gap_percent"]["value"] >= -1e-4
    assert ("knap6-optimal", "gap_percent") not in found
    assert nco_tables.main([*words, "--dry_run"]) == 0
    capsys.readouterr()
    for wrong, message in (
        (["tsp20", *words[1:]], "expected one trained for tsp, got one of nco_knapsack"),
        (["knap7", *words[1:]], "expected knap6, as in training"),
        (["vrp20", *words[1:]], "expected tspN or knapN"),
        ([*words, "--samples=130"], "--samples: expected a multiple of 128"),
        ([*words, "--first=0"], "--first: expected at least 1"),
        (["knap6", "--model", "nothing"], "nothing"),
    ):
        with pytest.raises(SystemExit):
            nco_tables.main(wrong)
        assert message in capsys.readouterr().err


def test_a_table_of_tours_holds_every_method_and_its_gap(tmp_path, monkeypatch):
    from experiments import nco_tsp

    config = configs.load("nco/tsp:20,smoke", [("cities", "6")])
    experiment = nco_tsp.build(config)
    experiment.finish(jax.jit(experiment.init)(jax.random.key(0)), tmp_path)
    assert pretrained.load(tmp_path).meta["name"] == "tsp6"
    monkeypatch.setattr(results_table, "RESULTS", tmp_path)
    words = ["tsp6", "--model", str(tmp_path), "--instances=6", "--first=4", "--samples=4"]
    assert nco_tables.main([*words, "--active=1", "--active_steps=2"]) == 0
    rows = results_table.read_table(tmp_path / "nco/tsp.json").rows
    gaps = {row["name"]: row["value"] for row in rows if row["metric"] == "gap_percent"}
    methods = ("active", "christofides", "greedy", "or_tools", "random", "sample4")
    assert sorted(gaps) == [f"tsp6-{name}" for name in methods]
    assert min(gaps.values()) >= -1e-3
