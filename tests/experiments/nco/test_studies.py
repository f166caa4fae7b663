"""The four studies on tiny networks: rows, the curve's meaning, and what is refused."""

import jax
import numpy as np
import pytest

from experiments.nco import decoding as solution_search
from experiments.nco import methods as nco_methods
from experiments.nco import studies as nco_studies
from experiments.nco import training as pointer_training
from experiments.nco.tsp import lengths
from experiments.report import table as results_table
from experiments.runner import pretrained
from nco import pointer

SETTINGS = {"hidden": 8, "embed": 8, "scale": 0.0, "glimpses": 1, "clip": 10.0, "forget_bias": 1.0}
SQUARE = """NAME: square
TYPE: TSP
DIMENSION: 4
EDGE_WEIGHT_TYPE: EUC_2D
NODE_COORD_SECTION
1 0 0
2 10 10
3 10 0
4 0 10
EOF
"""
MATRIX = """NAME: matrix
TYPE: TSP
DIMENSION: 3
EDGE_WEIGHT_TYPE: EXPLICIT
EDGE_WEIGHT_FORMAT: FULL_MATRIX
EDGE_WEIGHT_SECTION
0 1 2
1 0 3
2 3 0
EOF
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(results_table, "RESULTS", tmp_path / "results")
    params = jax.tree.map(np.asarray, pointer.init(jax.random.key(0), embed=8, hidden=8))
    for kind, config in (
        ("tsp", {"experiment": "nco_tsp", "cities": 6}),
        ("knap", {"experiment": "nco_knapsack", "num_items": 6, "capacity": 1.5}),
    ):
        config |= {"model": SETTINGS, "stop_rule": False}
        pretrained.save(tmp_path / f"{kind}.npz", params, config, {})

    def command(study, *words, model="tsp"):
        assert nco_studies.main([study, str(tmp_path / f"{model}.npz"), *words]) == 0
        table = results_table.read_table(tmp_path / "results" / "nco" / f"{study}.json")
        return {(row["name"], row["metric"]): row for row in table.rows}

    return command


@pytest.mark.parametrize(("model", "task"), [("tsp", "tsp6"), ("knap", "knap6")])
def test_temperature_picks_the_best_of_the_grid(run, model, task):
    words = ["--instances=4", "--samples=8", "--grid", "0.2", "1", "5"]
    rows = run("temperature", *words, model=model)
    gaps = {t: rows[f"{task}-T{t:g}", "gap_percent"]["value"] for t in (0.2, 1, 5)}
    assert rows[f"{task}-T*", "temperature"]["value"] == min(gaps, key=lambda t: gaps[t])
    assert min(gaps.values()) >= -1e-3


def test_a_budget_is_what_a_search_of_that_length_finds(run, tmp_path):
    rows = run("budget", "--instances=3", "--active=2", "--steps=12")
    model = solution_search.load(str(tmp_path / "tsp.npz"))
    instances = pointer_training.public_instances(6, 3)
    best = nco_studies._optimum(nco_methods.task("tsp6", {"experiment": "nco_tsp"}), instances)

    def gap(found):
        reached = lengths(instances[: len(found.actions)], found.actions)
        return np.mean(100 * (reached / best.values[: len(reached)] - 1))

    for steps in (1, 5):
        found = solution_search.active_search(model, instances[:2], steps=steps, learning_rate=1e-5)
        row = rows[f"tsp6-active{128 * steps}", "gap_percent"]
        assert (row["value"], row["n"]) == (pytest.approx(gap(found), abs=1e-3), 2)
    found = solution_search.best_of_samples(model, instances, num_samples=128, temperature=1.0)
    row = rows["tsp6-sample128", "gap_percent"]
    assert (row["value"], row["n"]) == (pytest.approx(gap(found), abs=1e-3), 3)
    assert ("tsp6-sample1280", "gap_percent") in rows
    assert (tmp_path / "results" / "nco" / "budget.png").stat().st_size > 10_000


def test_a_part_of_a_search_has_a_share_of_its_time_and_no_interval(run):
    rows = run("budget", "--instances=3", "--active=2", "--steps=10")
    first, last = (rows[f"tsp6-active{128 * k}", "instance_seconds"] for k in (1, 10))
    assert first["low"] == first["value"] == first["high"]
    assert first["value"] == pytest.approx(last["value"] / 10)
    assert last["low"] < last["value"]


def test_unsaid_settings_are_the_models(tmp_path, monkeypatch):
    seen = []

    def watch(name):
        search = getattr(solution_search, name)

        def watched(*args, **options):
            seen.append((name, options.get("temperature", options.get("learning_rate"))))
            return search(*args, **options)

        monkeypatch.setattr(solution_search, name, watched)

    watch("best_of_samples")
    watch("active_search")
    params = jax.tree.map(np.asarray, pointer.init(jax.random.key(0), embed=8, hidden=8))
    finish = {"temperature": 1.5, "search_rate": 1e-6}
    config = {"experiment": "nco_tsp", "cities": 6, "model": SETTINGS, "finish": finish}
    model = str(pretrained.save(tmp_path / "model.npz", params, config, {}))
    quick = ["--instances=2", "--active=1", "--steps=1", "--samples=8", "--dry_run"]
    assert nco_studies.main(["budget", model, *quick]) == 0
    assert set(seen) == {("best_of_samples", 1.5), ("active_search", 1e-6)}
    seen.clear()
    assert nco_studies.main(["sizes", model, *quick, "--sizes", "5", "6"]) == 0
    assert set(seen) == {("best_of_samples", 1.0)}  # one for all sizes
    seen.clear()
    (tmp_path / "square.tsp").write_text(SQUARE)
    assert nco_studies.main(["tsplib", model, *quick, "--folder", str(tmp_path)]) == 0
    assert seen == [("active_search", 1e-6)]


def test_sizes(run):
    rows = run("sizes", "--sizes", "5", "8", "--instances=3", "--samples=8")
    names = {f"tsp6-on-{cities}-{method}" for cities in (5, 8) for method in ("greedy", "sample8")}
    assert {name for name, _ in rows} == names
    assert all(rows[name, "gap_percent"]["value"] >= -0.1 for name in names)


def test_tsplib(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(nco_studies.geography.OPTIMA, "square", 40)
    (tmp_path / "square.tsp").write_text(SQUARE)
    (tmp_path / "matrix.tsp").write_text(MATRIX)
    rows = run("tsplib", "--folder", str(tmp_path), "--steps=2")
    assert rows["tsplib-square-near_optimal", "tour_length"]["value"] == 40
    active = rows["tsplib-square-active", "tour_length"]
    assert (active["value"], active["reference"]) == (40, 40)
    assert rows["tsplib-square-greedy", "gap_percent"]["value"] >= 0
    assert rows["tsplib-matrix-near_optimal", "tour_length"]["value"] == 6
    assert ("tsplib-matrix-active", "tour_length") not in rows
    assert "matrix: no coordinates" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sizes", "KNAP"], "expected networks of tours"),
        (["tsplib", "TSP", "--folder", "NOWHERE"], "expected one that holds .tsp files"),
        (["temperature", "TSP", "KNAP"], "expected one model, got 2"),
        (["budget", "nco/none"], "nco/none"),
        (["sizes", "TSP", "TSP"], "expected models of different sizes"),
        (["sizes", "TSP", "--sizes", "5", "5"], "--sizes: expected each once"),
        (["sizes", "TSP", "--sizes", "5", "10000"], "--sizes: expected 2 to 1000 cities"),
    ],
)
def test_refused(run, tmp_path, capsys, words, message):
    names = {"TSP": "tsp.npz", "KNAP": "knap.npz", "NOWHERE": "nowhere"}
    words = [str(tmp_path / names[word]) if word in names else word for word in words]
    assert nco_studies.main(words) == 2
    assert message in capsys.readouterr().err


def test_numbers_are_checked_before_anything_is_loaded(capsys):
    with pytest.raises(SystemExit):
        nco_studies.main(["temperature", "nco/none", "--grid", "1.0", "0"])
    assert "--grid: expected a positive number, got 0" in capsys.readouterr().err
