"""Searches of NAS-Bench-201's cells: through the runner, and the samples to the best."""

import json

import numpy as np
import pytest

from experiments import run
from experiments.data.registry import MissingDataset
from experiments.report.interval import mean_interval
from experiments.runner import config as configs
from experiments.runner.checks import ConfigError
from experiments.runner.search_journal import JOURNAL
from experiments.search import nasbench201, tabular
from experiments.search.methods import TABLE_METHODS
from experiments.search.nasbench201 import METHODS, ROWS, SEEDS, TABLES
from search import baselines, benchmarks, interface, spaces
from tests.experiments.search.cells import by_metric, changed, ended

TABLE = TABLES["search/nasbench201"]


@pytest.fixture(autouse=True)
def cells(monkeypatch) -> np.ndarray:
    values = np.random.default_rng(0).random(ROWS)
    monkeypatch.setattr(nasbench201, "rewards", lambda task: values)
    return values


@pytest.mark.parametrize(
    "method",
    ["lanas", "lamcts", "alphax", "mcts", "q_learning", "regularised_evolution",
     "random"],
)  # fmt: skip
def test_a_cell_search_through_the_runner(cells, tmp_path, method):
    words = ["--config=search/nasbench201:cifar10,smoke", f"--workdir={tmp_path / 'run'}"]
    assert run.main([*words, f"--config.method={method}", "--quiet"]) == 0
    (row,) = json.loads((tmp_path / "run" / "results.json").read_text())["rows"]
    assert row["name"] == f"cifar10-{method}"
    assert 0.8 < row["value"] <= cells.max()


def journal(folder, points, values):
    """A finished run of one seed."""
    folder.mkdir()
    records = []
    for number, (point, value) in enumerate(zip(points, values, strict=True)):
        records += [
            {"kind": "ask", "trials": [{"id": number, "point": point, "seed": 0}]},
            {"kind": "outcome", "id": number, "value": value, "status": "ok", "note": ""},
            {"kind": "tell", "ids": [number]},
        ]
    (folder / JOURNAL).write_text("".join(json.dumps(record) + "\n" for record in records))
    (folder / "results.json").write_text(json.dumps({"steps": 9, "rows": []}))
    return folder


def test_samples_to_the_best_are_counted_to_its_first_place(tmp_path):
    points = [[0, 0], [2, 0], [0, 0], [1, 1], [1, 0]]
    path = journal(tmp_path / "hit", points, [0.1, 0.3, 0.1, 0.5, 0.5])
    (found,) = tabular.found(path, 0.5)
    assert (found.samples, found.found) == (3, True)  # a point asked for again is no sample
    np.testing.assert_array_equal(found.best, [0.1, 0.3, 0.5])
    (missed,) = tabular.found(journal(tmp_path / "miss", points[:2], [0.1, 0.3]), 0.5)
    assert (missed.samples, missed.found) == (9, False)  # counts as the budget


def test_random_search_of_a_table_needs_half_of_it():
    space = spaces.choices([5, 5])
    values = np.random.default_rng(0).random(space.size)
    samples = []
    for seed in range(300):
        state = baselines.random(space).init(seed)
        _, trials = baselines.random(space).ask(state, space.size)
        order = space.rows(np.array([trial.point for trial in trials]))
        samples.append(int(np.flatnonzero(values[order] == values.max())[0]) + 1)
    mean = mean_interval(samples)
    assert mean.low < (space.size + 1) / 2 < mean.high


@pytest.mark.parametrize("name", ["cifar10-mcts", "cifar10-lanas_tuned"])
def test_a_search_of_the_cells_stops_at_the_best_or_at_its_budget(cells, tmp_path, name):
    small = {"steps": 25, "num_seeds": 2, "lanas__num_init": 10, "lanas__height": 2}
    workdirs = ended(tmp_path, {name: changed(TABLE, name, **small)})
    rows = TABLE.rows(name, workdirs)
    for each in tabular.found(workdirs[name], float(cells.max())):
        assert each.samples == 25 or each.found
        assert (np.diff(each.best) >= 0).all()
    found = by_metric(list(rows))
    assert list(found) == ["median_samples_to_best", "mean_samples_to_best", "found_fraction"]
    assert found["mean_samples_to_best"] <= 25
    assert [row["n"] for row in rows] == [2, 2, 2]


def test_a_search_that_finds_the_best_ends_there(cells, tmp_path):
    space = benchmarks.nasbench201()
    order = interface.generator(0, 0).permutation(ROWS)  # of random search's seed 0
    cells[order[7]] = 2.0
    name = "cifar10-random"
    workdirs = ended(tmp_path, {name: changed(TABLE, name, num_seeds=1, batch_size=5)})
    (found,) = tabular.found(workdirs[name], 2.0)
    assert (found.samples, found.found) == (8, True)
    assert space.size == ROWS
    assert len((workdirs[name] / JOURNAL).read_text().splitlines()) == 2 + 10 + 2


def test_the_command_says_how_to_get_the_table(monkeypatch, capsys, tmp_path):
    def missing(task):
        raise MissingDataset("python -m experiments.data fetch nasbench201")

    monkeypatch.setattr(nasbench201, "rewards", missing)
    words = ["--config=search/nasbench201:cifar10,best", f"--workdir={tmp_path / 'run'}"]
    assert run.main(words) == 2
    assert "fetch nasbench201" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_cells_declare_the_settings_of_their_rows():
    assert METHODS["mcts_equation"] == METHODS["mcts"] | {"mcts.form": "equation"}
    assert METHODS["mcts"]["mcts.c"] == METHODS["alphax"]["alphax.c"] == 0.1
    assert METHODS["alphax"]["alphax.form"] == "algorithm"
    assert METHODS["lamcts"] == {"method": "lamcts", "steps": 1000, "batch_size": 10}
    for name, cell in TABLE.cells.items():
        config = configs.load(cell.config, [(k, str(v)) for k, v in cell.changes.items()])
        assert (config.num_seeds, config.until_best) == (SEEDS, True)
        assert config.distinct == (not name.endswith("tpe_300"))
        assert config.method in TABLE_METHODS
    thesis = configs.load("search/nasbench201:cifar10,paper").lanas
    lanas = METHODS["lanas_thesis"]
    assert {key: lanas[f"lanas.{key}"] for key in thesis} == thesis.to_dict()


@pytest.mark.parametrize(
    ("key", "value"),
    [("method", "adam"), ("task", "dog"), ("lanas.c", "-1"), ("lanas.height", "0"),
     ("lamcts.kernel", "cubic"), ("lamcts.solver", "cma"), ("alphax.form", "none"),
     ("q_learning.epsilon", "2"), ("regularised_evolution.population", "0")],
)  # fmt: skip
def test_settings_of_a_config_are_checked(key, value):
    config = configs.load("search/nasbench201:made_up,smoke", [(key, value)])
    with pytest.raises(ConfigError, match=key):
        nasbench201.build(config)
