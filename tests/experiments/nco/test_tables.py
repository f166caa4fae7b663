"""The tables of chapter 2: their cells, the rows that they make of runs, and the figures."""

import json
import shlex

import numpy as np
import pytest

from experiments.nco import printed
from experiments.nco.tables import GRIDS, MEASURED, SHOWN, TABLES, shown
from experiments.report import table as results_table
from experiments.report.sweep import Cell, plan
from experiments.runner import config as configs


@pytest.fixture
def reach(tmp_path):
    """Makes the folder of a cell that has reached some values, and perhaps curves."""

    def make(name, values, curves=(), first=(0, 1, 2)):
        folder = tmp_path / name.replace("/", "-")
        folder.mkdir(exist_ok=True)
        values = list(map(float, values))
        more = {"values": values, "seconds": [0.5] * len(values), "together": 1}
        more |= {"first": list(first), "curves": dict(curves)}
        lines = [
            {"kind": "ask", "trials": [{"id": 0, "point": [0, len(values)], "seed": 7}]},
            {"kind": "outcome", "id": 0, "value": -1.0, "status": "ok", "note": "", "more": more},
            {"kind": "tell", "ids": [0]},
        ]
        (folder / "journal.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return folder

    return make


def rows_of(table, name, workdirs):
    return {(r["name"], r["metric"]): r for r in TABLES[f"nco/{table}"].rows(name, workdirs)}


@pytest.mark.parametrize("name", sorted(TABLES))
def test_every_cell_has_a_config_and_needs_cells_of_its_table(name, tmp_path):
    table = TABLES[name]
    jobs = plan(table, [], [], tmp_path)
    assert [job.name for job in jobs] == list(table.cells)
    for cell in table.cells.values():
        assert set(cell.needs) <= set(table.cells)


@pytest.mark.parametrize("name", sorted(TABLES))
def test_every_recorded_row_is_measured_again_by_its_cell(name):
    path = results_table.table_path(name)
    for row in results_table.read_table(path).rows:
        *command, cell = shlex.split(row["command"])
        assert command == ["python", "-m", "experiments.report", "--fill", name, "--only"]
        assert cell in TABLES[name].cells
        known = TABLES[name].cells[cell]
        changes = [(key, str(value)) for key, value in known.changes.items()]
        config = configs.load(known.config, changes)
        if row["metric"] in ("tour_length", "value", "ratio") and "instances" in config:
            assert row["n"] == config.instances


def test_a_gap_is_to_the_optimum_of_the_same_instances(reach):
    workdirs = {"tsp20-greedy": reach("tsp20-greedy", [4.4, 3.3, 9.0])}
    alone = rows_of("tsp", "tsp20-greedy", workdirs)
    assert set(alone) == {("tsp20-greedy", m) for m in ("tour_length", "instance_seconds")}
    workdirs["tsp20-optimal"] = reach("tsp20-optimal", [4.0, 3.0])
    rows = rows_of("tsp", "tsp20-greedy", workdirs)
    gap = rows["tsp20-greedy", "gap_percent"]
    assert (gap["value"], gap["n"]) == (pytest.approx(10), 2)
    length = rows["tsp20-greedy", "tour_length"]
    assert (length["reference"], length["source"]) == (3.89, "Pham 2021, table 2.2")
    assert ("tsp20-optimal", "gap_percent") not in rows_of("tsp", "tsp20-optimal", workdirs)
    workdirs = {name: reach(name, [worth]) for name, worth in
                (("knap50-greedy", 9.0), ("knap50-optimal", 10.0))}  # fmt: skip
    rows = rows_of("knapsack", "knap50-greedy", workdirs)
    assert rows["knap50-greedy", "gap_percent"]["value"] == pytest.approx(10)


def test_references_are_the_printed_ones():
    def figure(name, metric="tour_length"):
        return printed.printed(name, metric)

    table = "Pham 2021, table 2.2"
    assert figure("tsp50-greedy") == (5.95, table)
    assert figure("tsp50-sample1280") == (5.70, table)
    assert figure("tsp100-supervised-greedy") == (10.81, table)
    assert figure("tsp20-supervised-greedy") == (3.88, printed.QUOTED)
    assert figure("knap200-random", "value") == (35.95, "Pham 2021, table 2.4")
    for name in ("tsp50-random", "tsp60-greedy", "tsp20-paper-greedy", "tsp20-greedy@4"):
        assert figure(name) == (None, "")
    assert figure("tsp50-greedy", "gap_percent") == (None, "")


def test_printed_cells_are_filled_by_the_cells_of_the_other_tables():
    names = ["tsp20-greedy", "tsp20-sample128", "tsp20-sample1280", "tsp20-supervised-greedy"]
    names += ["tsp100-supervised-greedy", "tsp50-greedy@4", "tsp20-paper-greedy"]
    found = {
        name: (cell.measured, cell.reference)
        for name, cell in shown({name: Cell("") for name in names}).items()
    }
    assert found == {
        "2.2 TSP20 RL pretraining, greedy": ("tsp20-greedy", 3.89),
        "2.2 TSP20 RL pretraining, sampling": ("tsp20-sample1280", 3.82),
        "2.2 TSP20 Supervised": ("tsp20-supervised-greedy", 3.88),
        "2.2 TSP100 Supervised": ("tsp100-supervised-greedy", 10.81),
        "2.2 TSP50 RL pretraining, greedy@4": ("tsp50-greedy@4", 5.80),
        "2.3 TSP50 RL pretraining, greedy@4": ("tsp50-greedy@4", 0.04),
    }
    cells = {name: len(t.rows) * len(t.columns) for name, t in printed.PRINTED.items()}
    assert cells == {"table2.2": 27, "table2.3": 10, "table2.4": 21}
    for name, cell in TABLES["nco/tables"].cells.items():
        assert (cell.config, cell.changes) == MEASURED[SHOWN[name].measured][:2]


def test_printed_cells_have_the_metric_of_their_table(reach):
    greedy, best = "2.2 TSP20 RL pretraining, greedy", "2.2 TSP20 Concorde / LK-H (here fast-tsp)"
    workdirs = {greedy: reach(greedy, [4.4, 3.3]), best: reach(best, [4.0, 3.0])}
    rows = rows_of("tables", greedy, workdirs)
    assert rows[greedy, "tour_length"]["reference"] == 3.89
    assert rows[greedy, "gap_percent"]["value"] == pytest.approx(10)
    assert set(rows_of("tables", best, workdirs)) == {(best, "tour_length")}
    seconds = "2.3 TSP50 RL pretraining, greedy"
    best = "2.3 TSP50 LK-H (here fast-tsp's time budget)"
    workdirs = {seconds: reach(seconds, [6.0]), best: reach(best, [5.0])}
    rows = rows_of("tables", seconds, workdirs)
    assert set(rows) == {(seconds, "instance_seconds")}
    assert rows[seconds, "instance_seconds"]["reference"] == 0.003


def test_ratios_and_their_figure(reach, tmp_path):
    workdirs = {"tsp20-optimal": reach("tsp20-optimal", [4.0, 3.0]),
                "tsp20-greedy": reach("tsp20-greedy", [4.0, 6.0])}  # fmt: skip
    rows = rows_of("ratios", "tsp20-greedy", workdirs)
    assert rows["tsp20-greedy", "ratio"]["value"] == 1.5
    assert rows["tsp20-greedy", "optimal_fraction"]["value"] == 0.5
    assert rows_of("ratios", "tsp20-optimal", workdirs) == {}
    (path,) = TABLES["nco/ratios"].draw([], workdirs, tmp_path)
    assert path.stat().st_size > 10_000


def test_tours_are_drawn_beside_the_optimal_one(reach, tmp_path):
    order = np.arange(20)
    workdirs = {
        f"tsp20-{name}": reach(f"tsp20-{name}", [length], first=np.roll(order, place).tolist())
        for place, (name, length) in enumerate([("greedy", 4.4), ("active", 4.2)])
    }
    assert TABLES["nco/tsp"].draw([], workdirs, tmp_path) == []
    workdirs["tsp20-optimal"] = reach("tsp20-optimal", [4.0], first=order.tolist())
    (path,) = TABLES["nco/tsp"].draw([], workdirs, tmp_path)
    assert path.stat().st_size > 10_000


def test_t_star_is_the_best_of_the_grid(reach):
    cells = [name for name in TABLES["nco/temperature"].cells if name.startswith("tsp100-")]
    assert cells == ["tsp100-optimal", *(f"tsp100-T{t:g}" for t in GRIDS["tsp100"].values),
                     "tsp100-T*"]  # fmt: skip
    workdirs = {name: reach(name, [8 + place]) for place, name in enumerate(cells[:-1])}
    workdirs["tsp100-T0.5"] = reach("tsp100-T0.5", [8.5])
    few = {name: path for name, path in workdirs.items() if name != "tsp100-T1"}
    assert rows_of("temperature", "tsp100-T*", few) == {}
    star = rows_of("temperature", "tsp100-T*", workdirs)["tsp100-T*", "temperature"]
    assert (star["value"], star["reference"]) == (0.5, 1.5)
    rows = rows_of("temperature", "tsp100-T0.2", workdirs)
    assert set(rows) == {("tsp100-T0.2", m) for m in ("tour_length", "gap_percent")}
    assert rows_of("temperature", "tsp100-optimal", workdirs) == {}
    (needed,) = {TABLES["nco/temperature"].cells[name].needs for name in ("tsp100-T*",)}
    assert set(needed) == set(cells[:-1])


def test_a_part_of_a_search_has_a_share_of_its_time_and_no_interval(reach, tmp_path):
    name = "tsp20-active"
    curves = {"128": [[4.4, 3.3], 0.1], "1280": [[4.2, 3.0], 1.0]}
    workdirs = {name: reach(name, [4.2, 3.0], curves), "tsp20-optimal": reach("o", [4.0, 3.0])}
    rows = rows_of("budget", name, workdirs)
    first, last = (rows[f"{name}{k}", "instance_seconds"] for k in (128, 1280))
    assert first["low"] == first["value"] == first["high"]
    assert first["value"] == pytest.approx(last["value"] / 10)
    assert rows[f"{name}128", "gap_percent"]["value"] == pytest.approx(10)
    (path,) = TABLES["nco/budget"].draw(list(rows.values()), workdirs, tmp_path)
    assert path.stat().st_size > 10_000


def test_sizes(reach):
    name = "tsp20-on-50-greedy"
    workdirs = {name: reach(name, [6.6]), "tsp50-optimal": reach("tsp50-optimal", [6.0])}
    rows = rows_of("sizes", name, workdirs)
    assert set(rows) == {(name, m) for m in ("tour_length", "gap_percent")}
    assert rows[name, "gap_percent"]["value"] == pytest.approx(10)
    assert rows_of("sizes", "tsp50-optimal", workdirs) == {}
