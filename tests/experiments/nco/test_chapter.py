"""Tables 2.2 to 2.4 and the figures: which cell comes from which row, and the seed's numbers."""

import jax
import numpy as np
import pytest

from experiments.nco import chapter as nco_chapter
from experiments.nco import printed as seed_tables
from experiments.report import rows as result_rows
from experiments.report import table as results_table
from experiments.runner import pretrained
from nco import pointer

SETTINGS = {"hidden": 8, "embed": 8, "scale": 0.0, "glimpses": 1, "clip": 10.0, "forget_bias": 1.0}


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setattr(results_table, "RESULTS", tmp_path / "results")
    return tmp_path / "results" / "nco"


@pytest.fixture
def model(tmp_path):
    params = jax.tree.map(np.asarray, pointer.init(jax.random.key(0), embed=8, hidden=8))
    config = {"experiment": "nco_tsp", "cities": 20, "model": SETTINGS}
    return str(pretrained.save(tmp_path / "model.npz", params, config, {}))


def record(results, group, names, metric):
    rows = [
        result_rows.row(name, metric, float(number), unit="instance", command="make demo")
        for number, name in enumerate(names)
    ]
    results_table.write_table(results / f"{group}.json", "title", rows)


def test_cells_come_from_the_recorded_rows(results):
    names = ["tsp20-greedy", "tsp20-sample128", "tsp20-sample1280", "tsp20-supervised-greedy"]
    names += ["tsp100-supervised-greedy", "tsp50-greedy@4", "tsp20-paper-greedy"]
    record(results, "tsp", names, "tour_length")
    assert nco_chapter.main(["table2.2", "--recorded"]) == 0
    rows = results_table.read_table(results / "tables.json").rows
    cells = {row["name"]: (row["value"], row["reference"], row["source"]) for row in rows}
    quoted, seed = seed_tables.QUOTED, "Pham 2021, table 2.2"
    assert cells == {
        "2.2 TSP20 RL pretraining, greedy": (0, 3.89, seed),
        "2.2 TSP20 RL pretraining, sampling": (2, 3.82, seed),
        "2.2 TSP20 Supervised": (3, 3.88, quoted),
        "2.2 TSP100 Supervised": (4, 10.81, seed),
        "2.2 TSP50 RL pretraining, greedy@4": (5, 5.80, seed),
    }


def test_every_printed_cell_is_known_and_missing_ones_are_named(results, capsys):
    cells = {name: len(t.rows) * len(t.columns) for name, t in seed_tables.PRINTED.items()}
    assert cells == {"table2.2": 27, "table2.3": 10, "table2.4": 21}
    for name, count in cells.items():
        found, missing = nco_chapter.collect(name)
        assert (found, len(missing)) == ([], count)
    assert nco_chapter.main(["table2.4", "--recorded"]) == 0
    assert (
        "2.4 KNAP200 Optimal (here on rounded weights): not measured yet" in capsys.readouterr().out
    )
    assert not (results / "tables.json").exists()


def test_a_table_measures_its_models(results, model):
    words = ["table2.2", "--models", model, "--", "--instances=3", "--first=2"]
    assert nco_chapter.main([*words, "--methods=greedy,optimal"]) == 0
    rows = results_table.read_table(results / "tables.json").rows
    assert {(row["name"], row["metric"]): row["n"] for row in rows} == {
        ("2.2 TSP20 RL pretraining, greedy", "tour_length"): 3,
        ("2.2 TSP20 RL pretraining, greedy", "gap_percent"): 2,
        ("2.2 TSP20 Concorde / LK-H (here fast-tsp)", "tour_length"): 2,
    }
    assert rows[0]["command"].startswith("python -m experiments.nco.tables tsp20 --model")


def test_a_dry_table_writes_nothing(results, model):
    words = ["table2.2", "--models", model, "--", "--first=2", "--methods=optimal", "--dry_run"]
    assert nco_chapter.main(words) == 0
    assert not results.exists()


def test_figures(results, model, tmp_path):
    quick = ["--models", model, "--active_steps=2"]
    assert nco_chapter.main(["figure2.3", *quick, "--instances=2"]) == 0
    rows = {
        (r["name"], r["metric"]): r for r in results_table.read_table(results / "ratios.json")[1]
    }
    for method in ("christofides", "or_tools", "greedy", "sample1280", "active"):
        assert rows[f"tsp20-{method}", "ratio"]["value"] >= 1 - 1e-4
        assert 0 <= rows[f"tsp20-{method}", "optimal_fraction"]["value"] <= 1
    assert nco_chapter.main(["figure2.4", *quick, "--out", str(tmp_path)]) == 0
    for path in (results / "figure2_3.png", tmp_path / "figure2_4.png"):
        assert path.stat().st_size > 10_000


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["table2.4", "--models", "MODEL"], "has rows knap50, knap100, knap200, got tsp20"),
        (["table2.2", "--models", "nco/none"], "nco/none"),
        (["table2.2", "--models", "MODEL", "nco/tsp20"], "are both for tsp20"),
    ],
)
def test_refused(results, model, capsys, words, message):
    assert nco_chapter.main([model if word == "MODEL" else word for word in words]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["table2.2", "--recorded", "--models", "x"], "--recorded measures nothing"),
        (["table2.2", "--models", "x", "--instances=3"], "--instances is of figures"),
        (["figure2.3", "--models", "x", "--", "--first=3"], "expected neither"),
        (["figure2.3", "--models", "x", "--instances=1"], "--instances: expected 2 to"),
        (["table2.3"], "--models: table2.3 needs at least one"),
    ],
)
def test_flags_that_do_not_apply_are_refused(capsys, words, message):
    with pytest.raises(SystemExit):
        nco_chapter.main(words)
    assert message in capsys.readouterr().err
