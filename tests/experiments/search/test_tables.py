"""What the tables of searches declare: the settings that their rows were measured with."""

import pytest

from experiments.report import table as results_table
from experiments.runner import config as configs
from experiments.search.tables import TABLES

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
