"""The benchmark: floors by hand, tables and rows of toy kernels, and peers that answer or break."""

import io
import json
import os
import sys
import textwrap
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from experiments.bench import __main__ as bench
from experiments.bench import floor, kernel
from experiments.bench import peer as bench_peers
from experiments.bench.peers import rl4co_tsp
from experiments.nco import kernels as bench_nco
from experiments.report import rows as result_rows
from experiments.report import table as results_table
from experiments.runner.command import BAD_USAGE
from parallel.jaxpr import cost
from parallel.roofline import MEASURED, Rates

RATES = Rates(
    matrix=1e6,
    copy=1e9,
    functions=dict.fromkeys(MEASURED, 1e3) | {"exp": 2e3, "division": 4e3},
)
TINY = ["--tiny", "--repeat", "2", "--seconds", "0"]


def shape(*dims):
    return jax.ShapeDtypeStruct(dims, jnp.float32)


@pytest.fixture
def known_rates(monkeypatch):
    """Spares a test the measurement of this machine."""
    monkeypatch.setattr(floor, "measure", lambda **_: RATES)


@pytest.fixture
def toy_room(monkeypatch, known_rates):
    """One kernel that compiles at once, in the place of a room's."""
    task = kernel.PeerTask("toy.py", "pytorch", {"task": "greedy", "cities": 5, "batch": 8})
    toy = kernel.Kernel("toy-greedy", 8, "instance", jnp.tanh, lambda: (jnp.ones(8),), peer=task)
    monkeypatch.setattr(bench_nco, "kernels", lambda *, tiny: [toy])
    monkeypatch.setattr(bench, "ROOMS", ("nco",))


@pytest.fixture
def small(monkeypatch):
    """Networks that compile and run at once."""
    monkeypatch.setattr(bench_nco, "HIDDEN", 8)


def test_machine_rates_are_positive():
    rates = floor.measure(repeat=1, tiny=True)
    assert rates.matrix > 0
    assert rates.copy > 0
    assert set(rates.functions) == set(MEASURED)
    assert all(rate > 0 for rate in rates.functions.values())


def test_kernels_are_named_once_and_cover_what_users_wait_for():
    names = [each.name for each in bench.select(list(bench.ROOMS), "*", tiny=False)]
    assert len(set(names)) == len(names)
    for size in ("tsp20", "tsp50"):
        assert {f"{size}-train", f"{size}-greedy", f"{size}-sample"} <= set(names)


def test_training_kernel_counts_and_does_all_its_updates(small):
    loaded = kernel.Loaded(bench_nco.train(5, 4))
    one = bench_nco.learner(5, 4)
    state = jax.eval_shape(one.init, jax.random.key(0))
    single = cost(one.update, state, jnp.zeros((4, 5, 2)))
    assert loaded.cost.primitives["dot_general"].flops == (
        bench_nco.UPDATES * single.primitives["dot_general"].flops
    )
    before = int(loaded.arguments[0].step)
    donated = loaded.arguments[0].step
    loaded.run()
    assert int(loaded.arguments[0].step) == before + bench_nco.UPDATES
    assert donated.is_deleted()


def test_command_prints_a_table_and_writes_rows(tmp_path, capsys, small):
    path = tmp_path / "results" / "speed.json"
    path.parent.mkdir()
    known = {"unit": "round", "command": "make bench", "machine": "m", "commit": "", "seconds": 1.0}
    other = {"name": "other", "metric": "m", "value": 1.0}
    stale = {"name": "tsp5-greedy", "metric": "fraction_of_floor", "value": 9.0}
    rows = [result_rows.complete(row, known) for row in (other, stale)]
    results_table.write_table(path, "old", rows)
    arguments = ["nco", *TINY, "--only", "tsp5-[gs]*", "--json", str(path)]
    assert bench.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "matrix product" in printed
    for column in bench.HEADER:
        assert column in printed
    assert printed.count("tsp5-greedy") == 1

    found = {(row["name"], row["metric"]): row for row in json.loads(path.read_text())["rows"]}
    assert found["other", "m"] == result_rows.from_run(rows[0])
    assert ("tsp5-greedy", "ratio_to_pytorch") not in found
    assert found["tsp5-sample", "tours_per_second"]["value"] > 0
    rate = found["tsp5-greedy", "instances_per_second"]
    assert 0 < rate["low"] <= rate["value"] <= rate["high"]
    assert rate["n"] == 2
    assert rate["command"].startswith("python -m experiments.bench nco --tiny")
    assert "batch=8 " in rate["config"]
    fraction = found["tsp5-greedy", "fraction_of_floor"]
    assert "floor_ms.matrix=" in fraction["config"]
    assert fraction["n"] == 2  # the stale row is gone


def test_cores_are_pinned_and_named(tmp_path, monkeypatch, toy_room):
    pinned = {0, 1, 2}
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(pinned))
    monkeypatch.setattr(os, "sched_setaffinity", lambda _, cores: pinned.intersection_update(cores))
    path = tmp_path / "speed.json"
    arguments = [*TINY, "--cores", "1", "--json", str(path)]
    assert bench.main(arguments) == 0
    assert pinned == {0}
    row = json.loads(path.read_text())["rows"][0]
    assert row["name"] == "toy-greedy-1core"
    assert "threads=1" in row["config"].split()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["kitchen"], "unknown room 'kitchen'; rooms with kernels: enas, mpl"),
        (["--only", "none-of-these"], "no kernel matches 'none-of-these'"),
        (["--repeat", "0"], "expected a whole number of at least 1"),
        (["--cores", "100000"], "--cores: expected at most"),
    ],
)
def test_bad_usage_says_what_there_is(arguments, expected, capsys):
    try:
        code = bench.main(arguments)
    except SystemExit as error:
        code = error.code
    assert code == BAD_USAGE
    assert expected in capsys.readouterr().err


def test_list_runs_nothing(capsys):
    assert bench.main(["--list", "--only", "tsp20-*"]) == 0
    assert capsys.readouterr().out.split() == ["tsp20-train", "tsp20-greedy", "tsp20-sample"]


def test_missing_peer_environment_names_the_command_and_goes_on(tmp_path, capsys, toy_room):
    missing = tmp_path / "bin" / "python"
    assert bench.main([*TINY, "--peers", str(missing)]) == 0
    printed = capsys.readouterr().out
    assert "make peers" in printed
    assert "\ntoy-greedy" in printed


PEER = """
    import json, sys
    print(json.dumps({"name": "toy 1.0", "arguments": sys.argv[1:]}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        %s
        print(json.dumps({"runs": 1, "items": 30, "seconds": 10.0}), flush=True)
"""


@pytest.fixture
def peer_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(bench_peers, "FOLDER", tmp_path)

    def write(line="pass"):
        script = textwrap.dedent(PEER % line)
        (tmp_path / "toy.py").write_text(script)

    return write


def test_peer_takes_turns_and_gives_the_ratio(peer_folder, tmp_path, capsys, toy_room):
    log = tmp_path / "asked.jsonl"
    peer_folder(f"open({str(log)!r}, 'a').write(line)")
    path = tmp_path / "speed.json"
    arguments = [*TINY, "--peers", sys.executable, "--json", str(path)]
    assert bench.main(arguments) == 0
    assert "times toy 1.0" in capsys.readouterr().out
    found = {row["metric"]: row for row in json.loads(path.read_text())["rows"]}
    assert found["pytorch_instances_per_second"]["value"] == 3.0
    ratio, ours = found["ratio_to_pytorch"], found["instances_per_second"]
    assert ratio["low"] == pytest.approx(ours["low"] / 3.0)
    assert ratio["high"] == pytest.approx(ours["high"] / 3.0)
    assert ratio["source"] == "toy 1.0"
    assert f"peer.arguments=['--threads', '{bench.threads()}']" in ratio["config"]
    asked = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(asked) == 3  # to warm up, and two rounds
    assert asked[1] == {"task": "greedy", "cities": 5, "batch": 8, "seconds": 0.0}


def test_breaking_peer_is_told_and_left_behind(peer_folder, capsys, toy_room):
    peer_folder("raise RuntimeError('out of toys')")
    assert bench.main([*TINY, "--peers", sys.executable]) == 0
    printed = capsys.readouterr().out
    assert "going on without the peer" in printed
    assert "out of toys" in printed
    assert "\ntoy-greedy" in printed


def test_peer_that_cannot_start_says_why(peer_folder, tmp_path):
    (tmp_path / "broken.py").write_text("import a_module_that_is_not_there")
    with pytest.raises(bench_peers.PeerError, match="a_module_that_is_not_there"):
        bench_peers.Peer(Path(sys.executable), "broken.py", threads=1)


def test_peer_script_answers_requests_and_warms_up_once(monkeypatch):
    runs = []
    monkeypatch.setattr(rl4co_tsp, "make_task", lambda *key: lambda: runs.append(key))
    request = {"task": "train", "cities": 20, "batch": 128, "seconds": 0.0}
    answers = io.StringIO()
    rl4co_tsp.serve(io.StringIO((json.dumps(request) + "\n") * 2), answers, False)
    found = [json.loads(line) for line in answers.getvalue().splitlines()]
    assert [answer["items"] for answer in found] == [128, 128]
    assert runs == [("train", 20, 128, False)] * (rl4co_tsp.WARM_UP + 2)
