import json

import jax
import numpy as np
import pytest

from experiments.nco import measure
from experiments.nco.problems import gap_percent, of_task
from experiments.report import rows
from experiments.report import table as results_table
from experiments.runner import config as configs
from experiments.runner import pretrained
from experiments.runner.workdir import WorkdirError, read_results, write_results
from nco import pointer


def test_a_saved_model_loads_from_its_file_and_its_workdir(tmp_path):
    params = pointer.init(jax.random.key(0), embed=4, hidden=4)
    path = pretrained.save(tmp_path / "model.npz", params, {"model": {"clip": 10.0}}, {"step": 3})
    del params["settings"]  # which are no arrays
    for name in (path, tmp_path):
        loaded = pretrained.load(name)
        assert jax.tree.structure(loaded.params) == jax.tree.structure(params)
        jax.tree.map(np.testing.assert_array_equal, loaded.params, params)
        assert loaded.config == {"model": {"clip": 10.0}}
        assert loaded.meta == {"step": 3}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.json", "model.npz"]


def test_files_of_the_user_beside_a_model_stay(tmp_path):
    for name in (".model.npz.tmp", "model.tmp"):
        (tmp_path / name).write_text("mine")
    pretrained.save(tmp_path / "model.npz", {"a": np.zeros(1)}, {}, {})
    found = sorted(path.name for path in tmp_path.iterdir())
    assert found == [".model.npz.tmp", "model.json", "model.npz", "model.tmp"]
    assert (tmp_path / ".model.npz.tmp").read_text() == "mine"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"title": "x",\n "rows": [}', r"results.json:2: expected the results of a run"),
        ("[]", "results.json: expected the results"),
        ('{"rows": [{"name": "a"}]}', "results.json: expected the results of a run .'metric'"),
        ('{"rows": [3]}', "results.json: expected the results of a run"),
    ],
)
def test_damaged_results_are_named(tmp_path, text, words):
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(WorkdirError, match=words):
        read_results(tmp_path / "results.json")


def test_a_missing_or_foreign_model_is_refused_with_the_choices(tmp_path):
    with pytest.raises(LookupError, match=r"expected a workdir with model\.npz"):
        pretrained.load("nco/nothing")
    (tmp_path / "model.json").write_text(json.dumps({"config": {}, "meta": {}}))
    np.savez(tmp_path / "model.npz", bad=np.array([{}], dtype=object))  # would need pickle
    with pytest.raises(ValueError, match="expected a model"):
        pretrained.load(tmp_path)
    whole = (tmp_path / "model.npz").read_bytes()
    for damaged in (whole[:100], b""):
        (tmp_path / "model.npz").write_bytes(damaged)
        with pytest.raises(ValueError, match="expected a model"):
            pretrained.load(tmp_path)


def test_a_run_without_its_model_says_why(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(LookupError, match="this run has not ended yet"):
        pretrained.load(tmp_path)
    for seed in (0, 1):
        pretrained.save(tmp_path / f"seed_{seed}" / "model.npz", {"w": np.ones(2)}, {}, {})
    with pytest.raises(LookupError, match="its seeds have one each: seed_0, seed_1"):
        pretrained.load(tmp_path)


def test_every_shipped_model_loads():
    for name in pretrained.shipped():
        assert pretrained.load(name).params


@pytest.mark.parametrize("name", [n for n in pretrained.shipped() if n.startswith("nco/")])
def test_a_shipped_model_decodes_as_well_as_its_recorded_row_says(name):
    """Greedy decoding of the first public instances, against their optima and the row's gap."""
    task = name.removeprefix("nco/")
    kind, count = of_task(task), 64 if task in ("tsp20", "tsp50", "knap50") else 16
    rows = results_table.read_table(
        results_table.table_path(f"nco/{'tsp' if kind.task == 'tsp' else 'knapsack'}")
    ).rows
    recorded = {row["metric"]: row for row in rows if row["name"] == f"{task}-greedy"}

    def values(method):
        config = configs.load(f"nco/measure:{task}-{method},cpu")
        return np.array(measure.build(config).objective([0, count], 0).more["values"])

    reached = values("greedy")
    gap = gap_percent(kind, reached, values("optimal"))
    error = gap.std(ddof=1) / np.sqrt(count)
    assert abs(gap.mean() - recorded["gap_percent"]["value"]) < 3 * error
    # An untrained network's tours are twice as long and more, its knapsacks a third worse.
    assert gap.mean() < {"tsp20": 3, "tsp50": 9, "tsp100": 17}.get(task, 0.5)
    if name == "nco/tsp20":
        assert reached.mean() < 3.97


def test_a_run_is_shipped_with_how_it_was_made(tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "SHIPPED", tmp_path / "shipped")
    run = tmp_path / "run"
    params = pointer.init(jax.random.key(0), embed=4, hidden=4)["encoder"]
    pretrained.save(run / "model.npz", params, {"model": {}}, {"step": 3})
    with pytest.raises(ValueError, match="expected a finished run"):
        pretrained.ship(run, "nco/tsp4")
    known = {"command": "python -m experiments.run", "seeds": [0], "seconds": 1.5}
    known |= {"machine": "CPU, 2 cores", "commit": "abc"}
    row = rows.complete({"name": "tsp4-greedy", "metric": "tour_length", "value": 2.5}, known)
    write_results(run / "results.json", "t", [row])
    with pytest.raises(ValueError, match="expected ROOM/MODEL"):
        pretrained.ship(run, "../tsp4")
    pretrained.ship(run, "nco/tsp4")
    assert pretrained.shipped() == ["nco/tsp4"]
    loaded = pretrained.load("nco/tsp4")
    jax.tree.map(np.testing.assert_array_equal, loaded.params, params)
    assert loaded.meta == {"step": 3, **known, "results": {"tsp4-greedy tour_length": 2.5}}
