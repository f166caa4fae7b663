"""Partition quality of LaNAS on a table: the rows of the command, on made-up rewards."""

import numpy as np
import pytest

from experiments.data.registry import MissingDataset
from experiments.report import table as results_table
from experiments.search import nasbench201 as search_nasbench201
from experiments.search import partition as search_partition
from search import interface, linear_tree, partition_quality


def test_rows_measure_the_leaves_of_each_seed(monkeypatch, tmp_path):
    pytest.importorskip("matplotlib")
    values = search_nasbench201.rewards("made_up")
    monkeypatch.setattr(search_nasbench201, "rewards", lambda task: values)
    path = tmp_path / "t.json"
    words = ["--seeds", "2", "--sizes", "80", "260", "--out", str(path)]
    assert search_partition.main(words) == 0
    assert (tmp_path / "figure4_7.png").stat().st_size > 10_000
    rows = {(row["name"], row["metric"]): row for row in results_table.read_table(path).rows}
    assert {name for name, _ in rows} == {
        "lanas-80", "lanas-260", "uniform-80", "uniform-260", "table"
    }  # fmt: skip
    assert len(rows) == 5 * len(search_partition.Measured._fields)
    # Made-up rewards are mostly linear, so that the leaves are nearly in order.
    assert rows["uniform-260", "rank_correlation"]["value"] > 0.95
    assert rows["uniform-260", "left_cells"]["n"] == 2
    space = search_partition.table_space(values)
    orders = search_partition.orders(space, 2, 260)
    tree = [
        linear_tree.learn(space.encodings[order], values[order], 5) for order in orders["uniform"]
    ]
    cells = [np.sum(linear_tree.route(each, space.encodings) == 15) for each in tree]
    assert rows["uniform-260", "left_cells"]["value"] == np.mean(cells)
    # More samples, and a histogram of them that is nearer.
    nearer = [rows[f"uniform-{n}", "divergence_nats"]["value"] for n in (80, 260)]
    assert nearer[0] > nearer[1]


def test_the_table_itself_does_not_diverge():
    space = search_partition.table_space(search_nasbench201.rewards("made_up"))
    seen = search_partition.look(space, np.arange(len(space.values)))
    assert 0 <= seen.measured.divergence_nats < 0.02  # the prior
    assert abs(seen.measured.mean_gap_points) < 1e-9
    assert seen.measured.left_cells == len(space.reference[15])
    np.testing.assert_allclose(seen.means[0], space.reference[15].mean())
    np.testing.assert_allclose(seen.shares.sum(1), 1.0)
    assert seen.measured.steps_hold == seen.measured.bound_holds == 1.0


def test_a_leaf_without_samples_is_left_out():
    space = search_partition.table_space(search_nasbench201.rewards("made_up"))
    few = interface.generator(0, 0).permutation(len(space.values))[:20]
    seen = search_partition.look(space, few)
    tree = linear_tree.learn(space.encodings[few], space.values[few], 5)
    lowest = [leaf >= 15 for leaf in partition_quality.leaves(tree)]
    assert np.isfinite(seen.means).sum() == sum(lowest) < 16


def test_what_cannot_be_measured_is_refused(monkeypatch, capsys):
    for words in (["--seeds", "0"], ["--sizes", "29"], ["--sizes", "20000"]):
        with pytest.raises(SystemExit):
            search_partition.main(words)
        assert words[0] in capsys.readouterr().err

    def missing(task):
        raise MissingDataset("python -m experiments.data fetch nasbench201")

    monkeypatch.setattr(search_nasbench201, "rewards", missing)
    assert search_partition.main([]) == 2
    assert "fetch nasbench201" in capsys.readouterr().err
