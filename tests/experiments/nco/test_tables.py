"""Methods by name on the public instances: rows, gaps, and what is refused before any work."""

import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.nco import methods as nco_methods
from experiments.nco import printed as seed_tables
from experiments.nco import tables as nco_tables
from experiments.nco.solver_pool import solve_many
from experiments.report import rows as result_rows
from experiments.report import table as results_table
from experiments.runner import pretrained
from nco import pointer

SETTINGS = {"hidden": 8, "embed": 8, "scale": 0.0, "glimpses": 1, "clip": 10.0, "forget_bias": 1.0}
QUICK = [
    *["--instances=4", "--first=3", "--samples=4", "--active=1", "--active_steps=2", "--scratch=2"],
    *["--scratch_steps=2", "--limited=1", "--time_limit=0.05"],
]


def save(path, seed=0, **config):
    params = jax.tree.map(np.asarray, pointer.init(jax.random.key(seed), embed=8, hidden=8))
    pretrained.save(path, params, {"model": SETTINGS, **config}, {})
    return str(path)


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setattr(results_table, "RESULTS", tmp_path / "results")
    return tmp_path / "results" / "nco"


def rows_of(path):
    return {(row["name"], row["metric"]): row for row in results_table.read_table(path).rows}


def test_tours(tmp_path, results):
    models = [save(tmp_path / f"{seed}.npz", seed, experiment="nco_tsp") for seed in range(2)]
    words = ["tsp6", "--model", models[0], "--ensemble", models[1], *QUICK]
    assert nco_tables.main(words) == 0
    rows = rows_of(results / "tsp.json")
    counts = {
        "greedy": 4, "greedy@2": 4, "sample4": 3, "perturbed4": 3, "active": 1, "active_scratch": 2,
        "random": 2, "optimal": 3, "christofides": 3, "or_tools": 3,
    } | {f"or_tools_{name}": 1 for name in nco_methods.METAHEURISTICS}  # fmt: skip
    assert {name for name, _ in rows} == {f"tsp6-{name}" for name in counts}
    for name, count in counts.items():
        length = rows[f"tsp6-{name}", "tour_length"]
        assert length["n"] == count
        assert length["config"].startswith(f"model {models[0]}")
        assert length["command"].startswith("python -m experiments.nco.tables tsp6 --model")
        assert rows[f"tsp6-{name}", "instance_seconds"]["value"] > 0
        if name != "optimal":
            assert rows[f"tsp6-{name}", "gap_percent"]["value"] >= -1e-3
    greedy, both = (rows[f"tsp6-{name}", "tour_length"]["value"] for name in ("greedy", "greedy@2"))
    assert both <= greedy


def test_knapsacks(tmp_path, results):
    config = {"experiment": "nco_knapsack", "num_items": 7, "capacity": 1.5, "stop_rule": False}
    model = save(tmp_path / "model.npz", **config)
    assert nco_tables.main(["knap7", "--model", model, *QUICK]) == 0
    rows = rows_of(results / "knapsack.json")
    optimal = rows["knap7-optimal", "value"]
    assert optimal["n"] == 4
    for name in ("greedy", "skip_greedy", "stop_greedy", "dynamic_programming", "random", "active"):
        assert rows[f"knap7-{name}", "gap_percent"]["value"] >= -1e-3
    exact = rows["knap7-dynamic_programming", "gap_percent"]
    assert abs(exact["value"]) < 0.05


def test_a_few_methods_leave_the_other_rows(tmp_path, results, capsys):
    model = save(tmp_path / "model.npz", experiment="nco_tsp")
    words = ["tsp5", "--model", model, *QUICK]
    assert nco_tables.main([*words, "--methods=greedy"]) == 0
    before = results_table.read_table(results / "tsp.json")
    assert {row["name"] for row in before.rows} == {"tsp5-greedy"}
    assert nco_tables.main([*words, "--methods=optimal,christofides"]) == 0
    after = rows_of(results / "tsp.json")
    assert {name for name, _ in after} == {"tsp5-greedy", "tsp5-optimal", "tsp5-christofides"}
    assert after["tsp5-greedy", "tour_length"] == before.rows[2]
    assert nco_tables.main([*words, "--methods=random", "--dry_run"]) == 0
    assert rows_of(results / "tsp.json") == after
    assert "tsp5-random" in capsys.readouterr().out


def test_rows_of_another_model_are_not_replaced_unasked(tmp_path, results, capsys):
    first, second = (save(tmp_path / f"{seed}.npz", seed, experiment="nco_tsp") for seed in (0, 1))
    words = ["tsp6", *QUICK, "--methods", "greedy,christofides", "--model"]
    assert nco_tables.main([*words, first]) == 0
    assert "gap" in capsys.readouterr().out
    before = rows_of(results / "tsp.json")
    assert nco_tables.main([*words, second]) == 2
    said = capsys.readouterr().err
    assert "tsp6-greedy" in said
    assert first in said
    assert "--label" in said
    assert rows_of(results / "tsp.json") == before
    # The solvers' rows are no model's; one's own rows, other names and --replace are all right.
    assert nco_tables.main([*words[:-2], "christofides", "--model", second]) == 0
    assert nco_tables.main([*words, first]) == 0
    assert nco_tables.main([*words, second, "--label", "mine"]) == 0
    assert nco_tables.main([*words, second, "--replace"]) == 0
    row = rows_of(results / "tsp.json")["tsp6-greedy", "tour_length"]
    assert row["config"].startswith(f"model {second}")


def test_references_are_the_seeds():
    def figure(name, metric="tour_length"):
        return seed_tables.printed(name, metric)

    seed = "Pham 2021, table 2.2"
    assert figure("tsp50-greedy") == (5.95, seed)
    assert figure("tsp50-sample1280") == (5.70, seed)
    assert figure("tsp100-supervised-greedy") == (10.81, seed)
    assert figure("tsp20-supervised-greedy") == (3.88, seed_tables.QUOTED)
    assert figure("knap200-random", "value") == (35.95, "Pham 2021, table 2.4")
    for name in ("tsp50-random", "tsp60-greedy", "tsp20-paper-greedy", "tsp20-greedy@4"):
        assert figure(name) == (None, "")
    assert figure("tsp50-greedy", "gap_percent") == (None, "")


def test_settings_stand_in_the_rows_and_depend_on_the_model(tmp_path, results):
    finish = {"search_rate": 1e-6}
    model = save(tmp_path / "model.npz", experiment="nco_tsp", finish=finish, learning="supervised")
    star = result_rows.row(
        *("tsp5-T*", "temperature", 1.5), unit="seed", command="make demo", config=f"model {model}"
    )
    results_table.write_table(results / "temperature.json", "title", [star])
    words = ["tsp5", "--model", model, *QUICK]
    assert nco_tables.main([*words, "--methods=sample4,active,active_scratch"]) == 0
    rows = rows_of(results / "tsp.json")
    for name, how in (
        ("sample4", "4 samples, T = 1.5"),
        ("active", "2 updates of 128 samples, rate 1e-06"),
        ("active_scratch", "2 updates of 128 samples, rate 0.0001"),
    ):
        row = rows[f"tsp5-supervised-{name}", "tour_length"]
        assert row["config"] == f"model {model}, {how}"


def test_a_temperature_is_of_the_model_that_it_was_found_for(tmp_path, results):
    paths = [tmp_path / "known.npz", tmp_path / "other.npz", tmp_path / "bare.npz"]
    finishes = {"temperature": 1.25}, {"temperature": 2.0}, {}
    known, other, bare = (
        save(path, experiment="nco_tsp", cities=5, finish=finish)
        for path, finish in zip(paths, finishes, strict=True)
    )
    star = result_rows.row(
        *("tsp5-T*", "temperature", 1.5), unit="seed", command="make demo", config=f"model {known}"
    )
    results_table.write_table(results / "temperature.json", "title", [star])
    cases = [(known, "tsp5", 1.5), (other, "tsp5", 2), (bare, "tsp5", 1)]
    # No T* was sought for more cities than in training, where networks are unsure by themselves.
    cases += [(known, "tsp4", 1.5), (known, "tsp6", 1)]
    for model, task, temperature in cases:
        words = [task, "--model", model, *QUICK, "--methods=sample4", "--label=l", "--replace"]
        assert nco_tables.main(words) == 0
        row = rows_of(results / "tsp.json")[f"{task}-l-sample4", "tour_length"]
        assert row["config"] == f"model {model}, 4 samples, T = {temperature}"


def test_the_seeds_budgets_are_one_option(tmp_path):
    """--paper, beside which a number that is given stays."""

    def hows(task, path, words=(), **config):
        config |= {"model": SETTINGS}
        model = save(tmp_path / path, **config)
        methods = nco_tables.parse([task, "--model", model, *words]).methods
        return {name: method.how for name, method in methods.items()}

    made = hows("tsp100", "tsp.npz", ["--paper"], experiment="nco_tsp")
    assert made["sample1280000"] == "1280000 samples, T = 1"
    assert made["active"] == "10000 updates of 128 samples, rate 1e-05"
    assert made["active_scratch"] == "200000 updates of 128 samples, rate 0.001"
    assert made["random"] == "25600000 samples"
    words = ["--paper", "--samples=7", "--active_steps=3"]
    made = hows("tsp20", "tsp.npz", words, experiment="nco_tsp")
    assert made["sample7"] == "7 samples, T = 1"
    assert made["active"] == "3 updates of 128 samples, rate 1e-05"
    assert made["active_scratch"] == "100000 updates of 128 samples, rate 0.001"
    config = {"experiment": "nco_knapsack", "num_items": 50, "capacity": 12.5, "stop_rule": False}
    made = hows("knap50", "knap.npz", ["--paper"], **config)
    assert made["active_scratch"] == "5000 updates of 128 samples, rate 0.001"
    assert made["random"] == "640000 samples"


def test_a_method_that_fails_leaves_the_others(tmp_path, results, capsys, monkeypatch):
    def slow(*args, **kwargs):
        raise TimeoutError("no proof in time")

    monkeypatch.setattr(nco_methods.solvers, "exact", slow)
    monkeypatch.setattr(nco_methods.solver_pool, "solve_many", in_process)
    model = save(tmp_path / "model.npz", experiment="nco_tsp")
    words = ["tsp5", "--model", model, *QUICK, "--proven=1", "--methods=optimal,proven,greedy"]
    assert nco_tables.main(words) == 1
    assert {name for name, _ in rows_of(results / "tsp.json")} == {"tsp5-optimal", "tsp5-greedy"}
    assert "failed: tsp5-proven: no proof in time" in capsys.readouterr().err


def in_process(solver, instances):
    return solve_many(solver, instances, processes=1)


def test_a_knapsack_that_takes_nothing_has_no_gap(tmp_path, results):
    config = {"experiment": "nco_knapsack", "num_items": 3, "capacity": 1e-9, "stop_rule": False}
    model = save(tmp_path / "model.npz", **config)
    words = ["knap3", "--model", model, *QUICK, "--methods=greedy,optimal"]
    assert nco_tables.main(words) == 0
    assert rows_of(results / "knapsack.json")["knap3-greedy", "gap_percent"]["value"] == 0


def test_the_stop_rule_leaves_the_last_item_out():
    items = np.array([[[0.5, 1.0], [0.5, 2.0], [0.25, 3.0]]])
    config = {"num_items": 3, "capacity": 1.0, "stop_rule": True, "experiment": "nco_knapsack"}
    task = nco_methods.task("knap3", config)
    actions = np.array([[2, 0, 1]], np.int32)  # 0.25, 0.5, and another 0.5 does not fit
    reward = task.problem.reward(jnp.asarray(items, jnp.float32), jnp.asarray(actions[None]))
    found = nco_methods.score(task, items, actions)
    np.testing.assert_allclose(found, np.asarray(reward)[0], rtol=1e-6)
    assert found == 4.0
    assert nco_methods.score(task._replace(stop_rule=False), items, actions) == 6.0


def test_seconds_have_an_interval_over_dispatches():
    shared = nco_tables._seconds(np.array([0.1] * 6 + [0.2] * 3), together=6)
    assert (shared["n"], shared["unit"]) == (2, "round")
    assert shared["value"] == pytest.approx(0.4 / 3)
    each = nco_tables._seconds(np.array([0.1, 0.2, 0.3]), together=1)
    assert (each["n"], each["unit"], each["low"]) == (3, "instance", 0.0)
    alike = nco_tables._seconds(np.array([0.1, 0.1, 0.3, 0.3]), together=1)
    assert (alike["n"], alike["unit"]) == (4, "instance")  # a clock's ticks make no round
    twins = nco_tables._seconds(np.array([0.1] * 4 + [0.1]), together=4)
    assert (twins["n"], twins["unit"]) == (2, "round")


def test_cores_share_the_instances(tmp_path):
    model = save(tmp_path / "model.npz", experiment="nco_tsp")
    words = ["tsp5", "--model", model, *QUICK, "--methods=greedy", "--dry_run", "--cpu_devices=2"]
    run = [sys.executable, "-m", "experiments.nco.tables", *words]
    done = subprocess.run(run, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "tsp5-greedy" in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tsp0"], "TASK: expected tspN or knapN"),
        (["tsp1"], "TASK: expected two cities or more"),
        (["tsp5", "--cpu_devices=0"], "--cpu_devices"),
        (["knap50"], "--model: expected one trained for knap, got one of nco_tsp"),
        (["tsp5", "--first=0"], "--first: expected 1 to 10,000, got 0"),
        (["tsp5", "--samples=0"], "--samples: expected a positive number, got 0"),
        (["tsp5", "--active_batch=-1"], "--active_batch: expected a positive number, got -1"),
        (["tsp5", "--paper"], "--paper: the seed has no budget for tsp5"),
        (["tsp5", "--methods=gredy"], "--methods: expected some of optimal,"),
        (["tsp5", "--ensemble", "WIDER"], "--ensemble: expected models with the same settings"),
    ],
)
def test_refused(tmp_path, capsys, words, message):
    save(tmp_path / "model.npz", experiment="nco_tsp")
    wide = jax.tree.map(np.asarray, pointer.init(jax.random.key(0), embed=8, hidden=16))
    config = {"experiment": "nco_tsp", "model": SETTINGS}
    wider = str(pretrained.save(tmp_path / "wider.npz", wide, config, {}))
    words = [wider if word == "WIDER" else word for word in words]
    with pytest.raises(SystemExit) as exit_info:
        nco_tables.main([*words, "--model", str(tmp_path / "model.npz")])
    assert exit_info.value.code == 2
    assert re.search(message, capsys.readouterr().err)
