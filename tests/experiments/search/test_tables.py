"""What the tables of searches declare: the settings that their rows were measured with."""

import pytest

from experiments.report import table as results_table
from experiments.report.sweep import recorded_command
from experiments.runner import config as configs
from experiments.search.tables import TABLES

STUDIES = {"lanas_samplers": 32, "meta_dnn": 16, "partition": 230, "plain_cnn": 43, "regions": 95,
           "weight_transfer": 15}  # fmt: skip
COUNTS = {"contest": 133, "control": 116, "nasbench201": 270, "synthetic": 441}


@pytest.mark.parametrize("name", sorted(COUNTS))
def test_cells_declare_the_seeds_and_budgets_of_the_recorded_rows(name):
    table = TABLES[f"search/{name}"]
    rows = results_table.read_table(results_table.table_path(f"search/{name}")).rows
    assert len(rows) == COUNTS[name]
    loaded = {}
    for row in rows:
        cell = row["command"].rpartition(" ")[2]
        if cell not in loaded:
            declared = table.cells[cell]
            changes = [(key, str(value)) for key, value in declared.changes.items()]
            loaded[cell] = configs.load(declared.config, changes)
        config = loaded[cell]
        assert row["n"] == len(row["seeds"]) == config.num_seeds, cell
        words = dict(word.split("=", 1) for word in row["config"].split() if "=" in word)
        assert int(words.get("budget", config.steps)) == config.steps, cell
    assert len({row["name"] for row in rows}) == len(loaded)


@pytest.mark.parametrize("name", sorted(STUDIES))
def test_recorded_rows_of_studies_are_of_their_cells(name):
    table = TABLES[f"search/{name}"]
    rows = results_table.read_table(results_table.table_path(f"search/{name}")).rows
    assert len(rows) == STUDIES[name]
    seen = set()
    for row in rows:
        cell = row["command"].rpartition(" ")[2]
        assert row["command"] == recorded_command(f"search/{name}", cell)
        if row["unit"] == "seed":
            assert row["n"] == table.cells[cell].changes.get("num_seeds", 1), row["name"]
        seen.add(cell)
    assert seen == set(table.cells)
