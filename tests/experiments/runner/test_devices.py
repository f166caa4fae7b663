"""The same update on 1, 2, 4 and 8 devices, and on two processes."""

import socket

import jax
import numpy as np
import pytest

from experiments import run as command_line
from experiments.runner.checkpoint import restore_state, to_host
from experiments.runner.checks import ConfigError
from experiments.runner.distributed import pick_devices
from experiments.runner.metrics import read
from parallel.trees import batch_rows
from tests.conftest import cheap_flags
from tests.experiments.conftest import command
from tests.experiments.runner import toy as glue

SETTINGS = {"steps": 10, "phase_steps": "5,5", "checkpoint_every": 10}


def devices(count):
    flags = f"{cheap_flags()} --xla_force_host_platform_device_count={count}"
    return {"XLA_FLAGS": flags}


def last_state(toy, workdir, task, **settings):
    experiment = glue.build(toy(task, **settings))
    target = jax.eval_shape(experiment.init, jax.random.key(0))
    state, manifest = restore_state(workdir, target)
    return to_host(state), manifest


def assert_close(found, expected, tolerance=1e-5):
    assert found.keys() == expected.keys()
    for name in found:
        np.testing.assert_allclose(
            found[name], expected[name], rtol=tolerance, atol=tolerance, err_msg=name
        )


@pytest.fixture(scope="module")
def one_device(launcher, tmp_path_factory):
    """The folder of each task's run on one device."""
    folders = {}
    for task in glue.TASKS:
        folders[task] = tmp_path_factory.mktemp("one") / task
        log = folders[task].parent / "log"
        words = command(folders[task], task, **SETTINGS)
        assert launcher.run(words, log, devices(1)) == 0, log.read_text()
    return folders


@pytest.mark.parametrize(
    ("task", "count"),
    [("resident", 2), ("resident", 4), ("resident", 8), ("host", 8), ("traced", 8), ("cycle", 4)],
)
def test_forced_devices_give_the_same_update(launcher, toy, tmp_path, one_device, task, count):
    log = tmp_path / "log"
    words = command(tmp_path / "run", task, **SETTINGS)
    assert launcher.run(words, log, devices(count)) == 0, log.read_text()
    found, manifest = last_state(toy, tmp_path / "run", task, **SETTINGS)
    expected, _ = last_state(toy, one_device[task], task, **SETTINGS)
    assert manifest["device_count"] == count
    assert_close(found, expected)
    assert "not split" not in log.read_text()


@pytest.mark.parametrize("task", ["host", "traced"])
def test_the_batch_is_really_split(launcher, tmp_path, task):
    """The compiled step of 8 devices works on an eighth of the rows each, and sums over devices."""
    log = tmp_path / "log"
    flags = {
        "XLA_FLAGS": f"{devices(8)['XLA_FLAGS']} --xla_dump_to={tmp_path / 'hlo'} "
        "--xla_dump_hlo_as_text --xla_dump_hlo_module_re=.*chunk_of_train.*"
    }
    settings = {**SETTINGS, "rows": 24, "steps": 5}
    assert launcher.run(command(tmp_path / "run", task, **settings), log, flags) == 0
    dumps = list((tmp_path / "hlo").glob("*after_optimizations.txt"))
    assert dumps, log.read_text()
    text = dumps[0].read_text()
    assert "f32[3,16]" in text or "f32[5,3,16]" in text
    assert "f32[24,16]" not in text
    assert "all-reduce" in text


def test_rows_that_the_devices_do_not_divide_are_not_split(launcher, toy, tmp_path):
    settings = {**SETTINGS, "rows": 6}
    for count, name in ((1, "one"), (4, "four")):
        log = tmp_path / f"{name}.log"
        words = command(tmp_path / name, "host", **settings)
        assert launcher.run(words, log, devices(count)) == 0, log.read_text()
    assert "phase train: a batch leaf of 6 rows is not split over 4 devices" in log.read_text()
    found, _ = last_state(toy, tmp_path / "four", "host", **settings)
    expected, _ = last_state(toy, tmp_path / "one", "host", **settings)
    assert_close(found, expected)


def test_fewer_devices_on_request(launcher, tmp_path):
    log = tmp_path / "log"
    words = command(tmp_path / "run", **SETTINGS)
    assert launcher.run([*words, "--devices=9"], log, devices(4)) == 2
    assert "--devices: expected from 1 to 4 (this machine's), got 9" in log.read_text()
    assert not (tmp_path / "run").exists()
    assert launcher.run([*words, "--devices=2", "--dry_run"], log, devices(4)) == 0
    assert "10 steps on 2 device(s)" in log.read_text()
    with pytest.raises(ConfigError, match="--devices: expected from 1 to"):
        pick_devices(0)


def test_a_cpu_is_several_devices_on_request(launcher, toy, tmp_path, one_device):
    log = tmp_path / "log"
    words = command(tmp_path / "run", **SETTINGS)
    assert launcher.run([*words, "--cpu_devices=0"], log) == 2
    assert "--cpu_devices: expected from 1 to 4096, got 0" in log.read_text()
    assert launcher.run([*words, "--cpu_devices=2"], log) == 0, log.read_text()
    found, manifest = last_state(toy, tmp_path / "run", "resident", **SETTINGS)
    assert manifest["device_count"] == 2
    assert_close(found, last_state(toy, one_device["resident"], "resident", **SETTINGS)[0])


def test_a_run_goes_on_with_other_devices(launcher, toy, tmp_path, one_device):
    """Not bit for bit, and it says so."""
    log, run = tmp_path / "log", tmp_path / "run"
    assert launcher.run(command(run, **{**SETTINGS, "steps": 20}), log, devices(2)) == 0
    assert launcher.run(command(run, **{**SETTINGS, "steps": 30}), log) == 0
    assert "2 x cpu" in log.read_text()
    assert "may differ in rounding" in log.read_text()
    assert launcher.run(command(tmp_path / "one", **{**SETTINGS, "steps": 30}), log) == 0
    found, _ = last_state(toy, run, "resident", **{**SETTINGS, "steps": 30})
    expected, _ = last_state(toy, tmp_path / "one", "resident", **{**SETTINGS, "steps": 30})
    assert_close(found, expected)


def free_port():
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def together(launcher, words, tmp_path, environment=None, by_flags=True):
    """Runs two processes and returns their exit codes and logs."""
    port, logs = free_port(), [tmp_path / "log0", tmp_path / "log1"]
    pids = []
    for index, log in enumerate(logs):
        flags, env = [], dict(environment or {})
        if by_flags:
            flags = [
                f"--coordinator=localhost:{port}",
                f"--process_id={index}",
                "--num_processes=2",
            ]
        pids.append(launcher.start([*words, *flags], log, env))
    return [launcher.wait(pid) for pid in pids], [log.read_text() for log in logs]


@pytest.mark.parametrize("task", ["resident", "cycle"])
def test_two_processes_give_the_same_update(launcher, toy, tmp_path, one_device, task):
    words = command(tmp_path / "run", task, **SETTINGS)
    codes, logs = together(launcher, words, tmp_path, devices(2))
    assert codes == [0, 0], logs
    found, manifest = last_state(toy, tmp_path / "run", task, **SETTINGS)
    expected, _ = last_state(toy, one_device[task], task, **SETTINGS)
    assert manifest["device_count"] == 4
    assert_close(found, expected)
    assert "done: 10 steps" in logs[0]
    assert "step" not in logs[1]
    ours, theirs = read(tmp_path / "run/metrics.jsonl"), read(one_device[task] / "metrics.jsonl")
    assert [(x["step"], x["kind"]) for x in ours] == [(x["step"], x["kind"]) for x in theirs]


def test_two_processes_resume_and_refuse_together(launcher, toy, tmp_path, one_device):
    words = command(tmp_path / "run", "host", **{**SETTINGS, "num_seeds": 2})
    codes, logs = together(launcher, words, tmp_path)
    assert codes == [0, 0], logs
    longer = command(tmp_path / "run", "host", **{**SETTINGS, "num_seeds": 2, "steps": 20})
    codes, logs = together(launcher, longer, tmp_path)
    assert codes == [0, 0], logs
    assert "done: 20 steps" in logs[0]
    other = command(tmp_path / "run", "host", **{**SETTINGS, "num_seeds": 2, "seed": 5})
    codes, logs = together(launcher, other, tmp_path)
    assert codes == [2, 2]
    assert "holds a run of another config" in logs[0]


def test_flags_of_several_hosts_come_together(capsys):
    words = command("unused", "host")
    assert command_line.main([*words, "--process_id=1"]) == 2
    assert "--coordinator: expected a value" in capsys.readouterr().err
    flags = ["--coordinator=localhost:1", "--process_id=2", "--num_processes=2"]
    assert command_line.main([*words, *flags]) == 2
    assert "--process_id: expected from 0 to 1, got 2" in capsys.readouterr().err


def test_items_of_an_update():
    batch = {"a": jax.ShapeDtypeStruct((), "float32"), "b": jax.ShapeDtypeStruct((7, 2), "int8")}
    assert batch_rows(batch) == 7
    assert batch_rows({}) == 1
