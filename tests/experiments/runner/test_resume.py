"""Runs that are killed, stopped and started again, in processes of their own."""

import fcntl
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from experiments.report import rows
from experiments.runner.checkpoint import _read, _read_manifest
from experiments.runner.metrics import read
from experiments.runner.workdir import read_results, saved_steps
from tests.experiments.conftest import command
from tests.experiments.runner.launcher import Launcher

# Long enough in wall-clock time for a kill to fall anywhere in it.
RUN = {"steps": 120, "phase_steps": "5,10", "throttle": 0.04}
EVALUATIONS = 12  # in a run, each of which waits for `throttle` seconds


def assert_same_end(run: Path, whole: Path, *, results: bool = True) -> None:
    """The last states are equal bit for bit, the metrics byte for byte; so is the first result."""
    assert (run / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    assert (run / "config.json").read_bytes() == (whole / "config.json").read_bytes()
    last = saved_steps(whole)[-1]
    assert saved_steps(run)[-1] == last
    manifests = [_read(place, last, None)[0] for place in (run, whole)]
    assert manifests[0]["leaves"] == manifests[1]["leaves"]
    assert manifests[0]["metrics"] == manifests[1]["metrics"]
    if results:
        ends = [read_results(place / "results.json") for place in (run, whole)]
        values = [end["rows"][0]["value"] for end in ends]
        assert values[0] == values[1]


@pytest.fixture(scope="module")
def whole(launcher, tmp_path_factory) -> Path:
    """A run that nothing disturbed."""
    workdir = tmp_path_factory.mktemp("whole") / "run"
    assert launcher.run(command(workdir, "cycle", **RUN), workdir.parent / "log") == 0
    return workdir


def kill_at_random(launcher: Launcher, whole: Path, tmp_path: Path, kills: int) -> dict[str, int]:
    """Kills runs at random moments, each resumed until it ends; returns where the kills fell.

    Every second kill waits until the run has trained on, so that on a slow machine too, where most
    of the time goes to starting, half of them fall into training.
    """
    random = np.random.default_rng(kills)
    started = time.monotonic()
    assert launcher.run(command(tmp_path / "timed", "cycle", **RUN), tmp_path / "log") == 0
    length = time.monotonic() - started
    fell, run, runs = {"starting": 0, "training": 0, "ended": 0}, tmp_path / "run0", 0
    while (killed := fell["starting"] + fell["training"]) < kills:
        metrics = run / "metrics.jsonl"
        before = records(metrics)
        pid = launcher.start(command(run, "cycle", **RUN), tmp_path / "log")
        moment = random.uniform()
        if killed % 2:
            while launcher.running(pid) and records(metrics) <= before:
                time.sleep(0.005)
            # The rest of a run lasts this long at most: its evaluations wait on purpose.
            moment *= RUN["throttle"] * EVALUATIONS
        else:
            moment *= length
        time.sleep(moment)
        alive = launcher.running(pid)
        if alive:
            os.kill(pid, signal.SIGKILL)
        code = launcher.wait(pid)
        if code == 0:  # it was done first: look at it and begin another
            assert_same_end(run, whole)
            runs, fell["ended"] = runs + 1, fell["ended"] + 1
            run = tmp_path / f"run{runs}"
            continue
        assert code == -signal.SIGKILL, (tmp_path / "log").read_text()
        fell["training" if records(metrics) > before else "starting"] += 1
    assert launcher.run(command(run, "cycle", **RUN), tmp_path / "log") == 0
    assert_same_end(run, whole)
    assert "damaged" not in (tmp_path / "log").read_text()
    return fell


def records(metrics: Path) -> int:
    """How many metric records a run has on disk."""
    return len(read(metrics)) if metrics.exists() else 0


def test_killed_at_20_moments_a_run_ends_the_same(launcher, whole, tmp_path):
    fell = kill_at_random(launcher, whole, tmp_path, 20)
    assert fell["training"] >= 5, fell


@pytest.mark.slow
def test_killed_at_100_moments_a_run_ends_the_same(launcher, whole, tmp_path):
    fell = kill_at_random(launcher, whole, tmp_path, 100)
    assert fell["training"] >= 25, fell


@pytest.mark.slow
@pytest.mark.parametrize("task", ["resident", "host", "traced", "cycle"])
def test_programs_compiled_anew_give_the_same_bits(tmp_path, task):
    """The other tests share compiled programs; here each start compiles its own."""
    fresh = Launcher(cache=None)
    settings = {"steps": 45, "throttle": 0.1}
    assert fresh.run(command(tmp_path / "whole", task, **settings), tmp_path / "log") == 0
    for _ in range(3):
        run = tmp_path / "run"
        pid = fresh.start(command(run, task, **settings), tmp_path / "log")
        seen = len(read(run / "metrics.jsonl")) if (run / "metrics.jsonl").exists() else 0
        while fresh.running(pid) and not (
            (run / "metrics.jsonl").exists() and len(read(run / "metrics.jsonl")) > seen + 1
        ):
            time.sleep(0.02)
        if fresh.running(pid):
            os.kill(pid, signal.SIGKILL)
        fresh.wait(pid)
    assert fresh.run(command(run, task, **settings), tmp_path / "log") == 0
    assert_same_end(run, tmp_path / "whole")
    fresh.close()


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_saves_and_says_how_to_resume(launcher, whole, tmp_path, sent, code):
    run, log = tmp_path / "run", tmp_path / "log"
    pid = launcher.start(command(run, "cycle", **RUN), log)
    launcher.wait_for(pid, log, "step 50/120")
    os.kill(pid, sent)
    assert launcher.wait(pid) == code
    text = log.read_text()
    assert f"{sent.name}: saving after this dispatch" in text
    step = saved_steps(run)[-1]
    assert f"saved at step {step} of 120; resume with:\n  python -m experiments.run" in text
    assert 50 <= step < 120
    assert not (run / "results.json").exists()
    assert launcher.run(command(run, "cycle", **RUN), log) == 0
    assert_same_end(run, whole)


def test_a_torn_line_and_a_torn_checkpoint(launcher, whole, tmp_path):
    run, log = tmp_path / "run", tmp_path / "log"
    pid = launcher.start(command(run, "cycle", **RUN), log)
    launcher.wait_for(pid, log, "step 70/120")
    os.kill(pid, signal.SIGTERM)
    launcher.wait(pid)
    metrics = run / "metrics.jsonl"
    metrics.write_bytes(metrics.read_bytes()[:-9])
    last = saved_steps(run)[-1]
    arrays = run / "checkpoints" / str(last) / "state"
    largest = max((p for p in arrays.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:100])
    assert launcher.run(command(run, "cycle", **RUN), log) == 0
    assert f"checkpoint {last} is damaged" in log.read_text()
    assert (run / "corrupt" / str(last)).is_dir()
    assert_same_end(run, whole)


def test_with_every_checkpoint_damaged_it_starts_over(launcher, whole, tmp_path):
    run, log = tmp_path / "run", tmp_path / "log"
    pid = launcher.start(command(run, "cycle", **RUN), log)
    launcher.wait_for(pid, log, "step 50/120")
    os.kill(pid, signal.SIGKILL)
    launcher.wait(pid)
    steps = saved_steps(run)
    assert steps
    for step in steps:
        (run / "checkpoints" / str(step) / "manifest" / "metadata").write_text("{")
    assert launcher.run(command(run, "cycle", **RUN), log) == 0
    assert_same_end(run, whole)


def test_a_folder_in_use_is_refused(launcher, tmp_path):
    run, log = tmp_path / "run", tmp_path / "log"
    pid = launcher.start(command(run, **RUN), log)
    launcher.wait_for(pid, log, "step 20/120")
    assert launcher.run(command(run, **RUN), tmp_path / "second") == 2
    assert "is in use by another process" in (tmp_path / "second").read_text()
    assert launcher.running(pid)
    os.kill(pid, signal.SIGKILL)
    launcher.wait(pid)
    with (run / ".lock").open("a") as lock:  # a killed process leaves no lock behind
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_another_config_is_refused_with_a_diff(launcher, whole, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*")}
    other = {**RUN, "seed": 7, "model.size": 8}
    assert launcher.run(command(whole, "cycle", **other), tmp_path / "log") == 2
    text = (tmp_path / "log").read_text()
    assert "holds a run of another config (there -> here):" in text
    assert "  model.size: 16 -> 8\n  seed: 0 -> 7\n" in text
    assert {path: path.stat().st_mtime_ns for path in whole.rglob("*")} == before


def test_a_finished_run_is_not_run_again(launcher, whole, tmp_path):
    results, metrics = whole / "results.json", whole / "metrics.jsonl"
    before = read_results(results), metrics.read_bytes()
    assert launcher.run(command(whole, "cycle", **RUN), tmp_path / "log") == 0
    text = (tmp_path / "log").read_text()
    assert "done: 120 steps" in text
    assert "| toy | error |" in text
    assert (read_results(results), metrics.read_bytes()) == before
    # Without its results only `finish` is run again.
    results.unlink()
    assert launcher.run(command(whole, "cycle", **RUN), tmp_path / "log") == 0
    again = read_results(results)
    assert again["step"] == before[0]["step"]
    assert again["rows"][0]["value"] == before[0]["rows"][0]["value"]
    assert metrics.read_bytes() == before[1]


def test_extending_makes_new_results(launcher, tmp_path):
    run, log = tmp_path / "run", tmp_path / "log"
    settings = {"phase_steps": "5,10"}
    assert launcher.run(command(run, "cycle", steps=30, **settings), log) == 0
    first = read_results(run / "results.json")
    assert launcher.run(command(run, "cycle", steps=60, **settings), log) == 0
    second = read_results(run / "results.json")
    assert (first["step"], second["step"]) == (30, 60)
    assert first["rows"][0]["value"] != second["rows"][0]["value"]
    assert launcher.run(command(tmp_path / "long", "cycle", steps=60, **settings), log) == 0
    assert_same_end(run, tmp_path / "long")


def test_what_a_row_says(whole):
    row = read_results(whole / "results.json")["rows"][0]
    assert set(row) == set(rows.FIELDS)
    assert (row["name"], row["metric"], row["seeds"]) == ("toy", "error", [0])
    assert row["command"].startswith("python -m experiments.run --config=")
    assert "toy.py:cycle" in row["config"]
    assert "CPU" in row["machine"]
    timing = read(whole / "timing.jsonl")
    assert row["seconds"] == pytest.approx(sum(line["seconds"] for line in timing), abs=1e-3)
    assert _read_manifest(whole, 120)["device_count"] == 1
