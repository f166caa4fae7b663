"""Partition quality of LaNAS on a table: the cells on made-up rewards, small, and the picture."""

import numpy as np
import pytest

from experiments import run
from experiments.data.registry import MissingDataset
from experiments.runner import config as configs
from experiments.runner.checks import ConfigError
from experiments.search import nasbench201, partition
from experiments.search.partition import TABLES
from search import benchmarks, interface, linear_tree, partition_quality
from tests.experiments.search.cells import changed, ended

TABLE = TABLES["search/partition"]


@pytest.fixture(scope="module")
def workdirs(tmp_path_factory):
    """All cells, of two seeds and two numbers of samples, with trees of four leaves."""
    small = {
        name: changed(TABLE, name, task="made_up", num_seeds=seeds, sizes="80,220", height=3)
        for name, seeds in (("lanas", 2), ("uniform", 2), ("table", 1))
    }
    return ended(tmp_path_factory.mktemp("partition"), small)


def test_rows_measure_the_leaves_of_each_seed(workdirs):
    rows = {
        (row["name"], row["metric"]): row for name in workdirs for row in TABLE.rows(name, workdirs)
    }
    assert {name for name, _ in rows} == {
        "lanas-80", "lanas-220", "uniform-80", "uniform-220", "table"
    }  # fmt: skip
    assert len(rows) == 5 * len(partition_quality.Quality._fields)
    # Made-up rewards are mostly linear, so that the leaves are nearly in order.
    assert rows["uniform-220", "rank_correlation"]["value"] > 0.95
    assert rows["uniform-220", "left_cells"]["n"] == 2
    values, space = nasbench201.rewards("made_up"), benchmarks.nasbench201()
    encodings = space.one_hot(space.every())
    orders = [interface.generator(seed, 0).permutation(len(values))[:220] for seed in range(2)]
    trees = [linear_tree.learn(encodings[order], values[order], 3) for order in orders]
    cells = [np.sum(linear_tree.route(tree, encodings) == 3) for tree in trees]
    assert rows["uniform-220", "left_cells"]["value"] == np.mean(cells)
    # More samples, and a histogram of them that is nearer.
    nearer = [rows[f"uniform-{n}", "divergence_nats"]["value"] for n in (80, 220)]
    assert nearer[0] > nearer[1]


def test_the_picture_is_drawn_where_all_cells_are_there(workdirs, tmp_path):
    pytest.importorskip("matplotlib")
    rows = [row for name in workdirs for row in TABLE.rows(name, workdirs)]
    rows = [{"low": row["value"], "high": row["value"], **row} for row in rows]
    (picture,) = TABLE.draw(rows, workdirs, tmp_path)
    assert picture.stat().st_size > 10_000
    assert list(TABLE.draw(rows, {"lanas": workdirs["lanas"]}, tmp_path)) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [("sizes", "29"), ("sizes", "20000"), ("samples", "all"), ("lanas.c", "-1"), ("bins", "1")],
)
def test_settings_of_a_config_are_checked(key, value):
    config = configs.load("search/partition:made_up,smoke", [(key, value)])
    with pytest.raises(ConfigError, match=key):
        partition.build(config)


def test_the_command_says_how_to_get_the_table(monkeypatch, capsys, tmp_path):
    def missing(task):
        raise MissingDataset("python -m experiments.data fetch nasbench201")

    monkeypatch.setattr(partition, "rewards", missing)
    words = ["--config=search/partition:cifar10,cpu", f"--workdir={tmp_path / 'run'}"]
    assert run.main(words) == 2
    assert "fetch nasbench201" in capsys.readouterr().err
