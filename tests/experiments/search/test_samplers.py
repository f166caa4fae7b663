"""LaNAS's samplers on a table: the rows of the command, on made-up rewards."""

import numpy as np
import pytest

from experiments.report import table as results_table
from experiments.search import nasbench201 as search_nasbench201
from experiments.search import samplers as search_samplers
from search import benchmarks, interface


@pytest.fixture
def values(monkeypatch):
    made = search_nasbench201.rewards("made_up")
    monkeypatch.setattr(search_nasbench201, "rewards", lambda task: made)
    return made


def test_rows_are_what_the_searches_found(values, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    pytest.importorskip("sklearn")
    path = tmp_path / "t.json"
    words = ["--seeds", "2", "--budget", "62", "--workdir", str(tmp_path), "--out", str(path)]
    assert search_samplers.main(words) == 0
    assert (tmp_path / "figure4_5.png").stat().st_size > 10_000
    rows = {(row["name"], row["metric"]): row for row in results_table.read_table(path).rows}
    assert len({name for name, _ in rows}) == 4
    space = benchmarks.nasbench201()
    searcher, _ = search_samplers.methods()["pi_random"]
    regret = []
    for seed in range(2):
        run = interface.maximise(
            searcher, lambda x, _: values[space.rows(x[None])[0]], budget=60, seed=seed
        )
        regret.append(100 * (values.max() - run.best[-1]))
    row = rows["cifar10-pi_random", "regret_60_points"]
    np.testing.assert_allclose(row["value"], np.mean(regret), atol=1e-3)
    assert rows["cifar10-pi_bayes", "median_samples_to_best"]["n"] == 2
    assert "hidden_units=16" in rows["cifar10-perceptron", "found_fraction"]["config"]
    # The first 50 cells are the same for all: what differs is what LaNAS does then.
    capsys.readouterr()
    assert search_samplers.main(words) == 0
    assert "seed=" not in capsys.readouterr().out  # nothing is searched again


def test_the_regret_is_zero_from_where_the_best_was_found():
    found = [
        {"samples": 3, "found": True, "best": [0.1, 0.2, 0.299999]},
        {"samples": 4, "found": False, "best": [0.1, 0.1, 0.1, 0.25]},
    ]
    np.testing.assert_allclose(
        search_samplers.regrets(found, 0.3, 4), [[20, 10, 0, 0], [20, 20, 20, 5]], atol=1e-9
    )


def test_bayes_takes_the_most_promising_of_the_region(values):
    """With pi_bayes the samples after the first tree are better than with pi_random."""
    space = benchmarks.nasbench201()
    mean = {}
    for name in ("pi_random", "pi_bayes"):
        searcher, _ = search_samplers.methods()[name]
        run = interface.maximise(
            searcher, lambda x, _: values[space.rows(x[None])[0]], budget=66, seed=0
        )
        mean[name] = run.values[50:].mean()
    assert mean["pi_bayes"] > mean["pi_random"] + 0.01


def test_settings_out_of_range_are_refused(capsys):
    for words in (["--seeds", "0"], ["--budget", "0"]):
        with pytest.raises(SystemExit):
            search_samplers.main(words)
        assert words[0] in capsys.readouterr().err
