"""Methods by name on the public instances: rows, gaps, and what is refused before any work."""

import re

import jax
import numpy as np
import pytest

from experiments import nco_methods, nco_tables, pretrained, results_table
from nco import pointer

SETTINGS = {"hidden": 8, "embed": 8, "scale": 0.0, "glimpses": 1, "clip": 10.0, "forget_bias": 1.0}
QUICK = [
    *["--instances=4", "--first=3", "--samples=4", "--active=1", "--active_steps=2", "--scratch=2"],
    *["--scratch_steps=2", "--limited=1", "--time_limit=0.05"],
]


def save(path, seed=0, **config):
    params = jax.tree.map(np.asarray, pointer.init(jax.random.key(seed), embed=8, hidden=8))
    pretrained.save(path, params, {"model": SETTINGS, **config}, {})
    return str(path)


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setattr(results_table, "RESULTS", tmp_path / "results")
    return tmp_path / "results" / "nco"


def rows_of(path):
    return {(row["name"], row["metric"]): row for row in results_table.read_table(path).rows}


def test_tours(tmp_path, results):
    models = [save(tmp_path / f"{seed}.npz", seed, experiment="nco_tsp") for seed in range(2)]
    words = ["tsp6", "--model", models[0], "--ensemble", models[1], *QUICK]
    assert nco_tables.main(words) == 0
    rows = rows_of(results / "tsp.json")
    counts = {
        "greedy": 4, "greedy@2": 4, "sample4": 3, "perturbed4": 3, "active": 1, "active_scratch": 2,
        "random": 2, "optimal": 3, "christofides": 3, "or_tools": 3,
    } | {f"or_tools_{name}": 1 for name in nco_methods.METAHEURISTICS}  # fmt: skip
    assert {name for name, _ in rows} == {f"tsp6-{name}" for name in counts}
    for name, count in counts.items():
        length = rows[f"tsp6-{name}", "tour_length"]
        assert (length["n"], length["config"]) == (count, f"model {models[0]}")
        assert length["command"].startswith("python -m experiments.nco_tables tsp6 --model")
        assert rows[f"tsp6-{name}", "instance_seconds"]["value"] > 0
        if name != "optimal":
            assert rows[f"tsp6-{name}", "gap_percent"]["value"] >= -1e-3
    greedy, both = (rows[f"tsp6-{name}", "tour_length"]["value"] for name in ("greedy", "greedy@2"))
    assert both <= greedy


def test_knapsacks(tmp_path, results):
    config = {"experiment": "nco_knapsack", "num_items": 7, "capacity": 1.5, "stop_rule": False}
    model = save(tmp_path / "model.npz", **config)
    assert nco_tables.main(["knap7", "--model", model, *QUICK]) == 0
    rows = rows_of(results / "knapsack.json")
    optimal = rows["knap7-optimal", "value"]
    assert optimal["n"] == 4
    for name in ("greedy", "skip_greedy", "stop_greedy", "dynamic_programming", "random", "active"):
        assert rows[f"knap7-{name}", "gap_percent"]["value"] >= -1e-3
    exact = rows["knap7-dynamic_programming", "gap_percent"]
    assert abs(exact["value"]) < 0.05


def test_a_few_methods_leave_the_other_rows(tmp_path, results, capsys):
    model = save(tmp_path / "model.npz", experiment="nco_tsp")
    words = ["tsp5", "--model", model, *QUICK]
    assert nco_tables.main([*words, "--methods=greedy"]) == 0
    before = results_table.read_table(results / "tsp.json")
    assert {row["name"] for row in before.rows} == {"tsp5-greedy"}
    assert nco_tables.main([*words, "--methods=optimal,christofides"]) == 0
    after = rows_of(results / "tsp.json")
    assert {name for name, _ in after} == {"tsp5-greedy", "tsp5-optimal", "tsp5-christofides"}
    assert after["tsp5-greedy", "tour_length"] == before.rows[2]
    assert nco_tables.main([*words, "--methods=random", "--dry_run"]) == 0
    assert rows_of(results / "tsp.json") == after
    assert "tsp5-random" in capsys.readouterr().out


def test_references_are_the_seeds():
    tours = nco_methods.task("tsp50", {"experiment": "nco_tsp"})
    found = [nco_tables.reference(tours, name) for name in ("greedy", "sample1280", "optimal")]
    assert found == [5.95, 5.70, 5.68]
    assert nco_tables.reference(tours, "random") is None
    assert nco_tables.reference(tours._replace(items=60), "greedy") is None
    knapsack = {"num_items": 200, "capacity": 25.0, "stop_rule": False}
    knap = nco_methods.task("knap200", {"experiment": "nco_knapsack", **knapsack})
    assert nco_tables.reference(knap, "random") == 35.95


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tsp0"], "TASK: expected tspN or knapN"),
        (["knap50"], "--model: expected one trained for knap, got one of nco_tsp"),
        (["tsp5", "--first=0"], "--first: expected 1 to 10,000, got 0"),
        (["tsp5", "--samples=0"], "--samples: expected a positive number, got 0"),
        (["tsp5", "--methods=gredy"], "--methods: expected some of optimal,"),
        (["tsp5", "--ensemble", "WIDER"], "--ensemble: expected models .* same shapes"),
    ],
)
def test_refused(tmp_path, capsys, words, message):
    save(tmp_path / "model.npz", experiment="nco_tsp")
    wide = jax.tree.map(np.asarray, pointer.init(jax.random.key(0), embed=8, hidden=16))
    config = {"experiment": "nco_tsp", "model": SETTINGS}
    wider = str(pretrained.save(tmp_path / "wider.npz", wide, config, {}))
    words = [wider if word == "WIDER" else word for word in words]
    with pytest.raises(SystemExit) as exit_info:
        nco_tables.main([*words, "--model", str(tmp_path / "model.npz")])
    assert exit_info.value.code == 2
    assert re.search(message, capsys.readouterr().err)
