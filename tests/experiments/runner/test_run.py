"""The command line: its flags, its errors, what it writes and what it does not."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments import run
from experiments.report import rows
from experiments.runner import config as configs
from experiments.runner import loop
from experiments.runner.checks import ConfigError
from experiments.runner.workdir import read_results, write_results
from tests.experiments.conftest import TOY, command
from tests.experiments.runner import toy as glue
from tests.experiments.runner.launcher import ROOT


def call(*words):
    return run.main([str(word) for word in words])


def test_help_helps(capsys):
    with pytest.raises(SystemExit) as left:
        call("--help")
    assert left.value.code == 0
    text = capsys.readouterr().out
    assert "python -m experiments.run --config=nco/tsp:20,cpu --workdir=runs/tsp20" in text
    for flag in ("--dry_run", "--list", "--profile", "--quiet", "--devices", "--coordinator"):
        assert flag in text
    assert "A run that was stopped goes on when the same command is given again" in text


def test_list_shows_one_line_each(capsys, monkeypatch, tmp_path):
    (tmp_path / "room").mkdir()
    (tmp_path / "room" / "first.py").write_text('"""What it is.\n\nCommand: …\n"""\n')
    (tmp_path / "room" / "second_one.py").write_text("1 / 0\n")
    (tmp_path / "__init__.py").write_text("")
    monkeypatch.setattr(configs, "CONFIGS", tmp_path)
    assert call("--list") == 0
    assert capsys.readouterr().out == (
        "room/first       What it is.\nroom/second_one  (no description)\n"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--workdir=x"], "--config is missing"),
        ([f"--config={TOY}"], "--workdir is missing"),
        ([f"--config={TOY}", "--dryrun"], "unknown flag --dryrun; did you mean --dry_run?"),
        ([f"--config={TOY}", "--workdir=x", "--config.seed"], "--config.seed has no value"),
        ([f"--config={TOY}", "--workdir=x", "--devices=two"], "invalid int value: 'two'"),
        ([f"--config={TOY}", "--workdir=x", "stray"], "unknown flag stray"),
    ],
)
def test_a_bad_flag_is_named(capsys, words, message):
    with pytest.raises(SystemExit) as left:
        call(*words)
    assert left.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert "--help" in error


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"stepz": 3}, "did you mean 'steps'?"),
        ({"steps": "x"}, "steps: expected an integer, got 'x'"),
        ({"model.size": 0}, "model.size: expected an integer from 1 to 4096, got 0"),
        ({"experiment": "nco_tps"}, "experiment: expected a module"),
        ({"experiment": "no.such.glue"}, "experiment: expected a module"),
        ({"experiment": "tests.experiments.toys"}, "imported as tests.experiments.toys"),
        (
            {"experiment": "tests.experiments.runner.launcher"},
            "a module that defines build(config)",
        ),
        ({"task": "cycle", "phase_steps": "0,5"}, "phase 'weights': expected steps >= 1"),
    ],
)
def test_a_bad_value_exits_2_and_writes_nothing(capsys, tmp_path, overrides, message):
    assert call(*command(tmp_path / "run", **overrides)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_overrides_may_be_two_words(tmp_path, capsys):
    assert call(f"--config={TOY}", "--dry_run", "--config.model.size", "3") == 0
    assert re.search(r"params\.weights +float32\[3\]\n", capsys.readouterr().out)


def test_dry_run_shows_the_run_and_writes_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [f"--config={TOY}:cycle", "--workdir=run", "--dry_run", "--config.num_seeds=3"]
    assert call(*words) == 0
    assert list(tmp_path.iterdir()) == []
    text = capsys.readouterr().out
    assert "  model.size = 16\n" in text
    assert "  phase_steps = [7, 12]\n" in text
    assert re.search(r"params\.weights +float32\[16\]\n", text)
    assert "  17 parameters\n" in text
    assert "for each of 3 seeds" in text
    assert "phases in a cycle" in text
    # 16 products and sums a row forward, as many for the gradient of the weights, and little more.
    flops = float(text.partition("weights: 7 steps, ")[2].partition(" FLOPs")[0])
    assert 2 * 2 * 8 * 16 <= flops <= 3 * 2 * 2 * 8 * 16
    assert "control: 12 steps" in text
    assert "batch.inputs" in text
    assert "nothing was written" in text


def test_dry_run_compiles_nothing(monkeypatch, capsys):
    import jax

    def refuse(*_, **__):
        raise AssertionError("compiled")

    monkeypatch.setattr(jax._src.compiler, "compile_or_get_cached", refuse)
    assert call(f"--config={TOY}", "--dry_run", "--config.model.size=17") == 0


def test_a_run_leaves_what_it_says(tmp_path, capsys):
    assert call(*command(tmp_path / "run", steps=20)) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("step 10/20 (train)  loss ")
    assert out.index("finish: result rows") < out.index("done: 20 steps")
    said = {line.strip() for line in out if str(tmp_path) in line}
    there = {str(p) for p in (tmp_path / "run").iterdir() if not p.name.startswith(".")}
    assert said == there
    assert {Path(name).name for name in said} == {
        "checkpoints",
        "config.json",
        "metrics.jsonl",
        "results.json",
        "tensorboard",
        "timing.jsonl",
        "weights.txt",
    }
    stored = json.loads((tmp_path / "run" / "config.json").read_text())
    assert stored["config"]["model"] == {"rate": 0.01, "size": 16}
    assert stored["digest"] == configs.digest(configs.load(TOY, [("steps", "20")]))


def test_rows_of_several_seeds_are_joined(tmp_path, capsys):
    assert call(*command(tmp_path / "run", steps=10, num_seeds=3, seed=2)) == 0
    row = read_results(tmp_path / "run" / "results.json")["rows"][0]
    last = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    each = [line["error"] for line in last[-4:-1]]
    assert row["value"] == pytest.approx(np.mean(each))
    half = 4.302653 * np.std(each, ddof=1) / 3**0.5  # Student's t, 2 degrees of freedom
    assert row["high"] - row["value"] == pytest.approx(half, rel=1e-5)
    assert (row["n"], row["unit"], row["seeds"]) == (3, "seed", [2, 3, 4])
    for seed in (2, 3, 4):
        assert (tmp_path / "run" / f"seed_{seed}" / "weights.txt").exists()


def test_not_finite_exits_1_and_names_it(tmp_path, capsys):
    assert call(*command(tmp_path / "run", nan_at=31)) == 1
    error = capsys.readouterr().err
    assert "not finite in update 32 (phase 'train'): metric loss, state.best" in error
    assert "The last good checkpoint, of step 20, is kept." in error


def test_a_state_of_another_shape_exits_1(tmp_path, capsys, monkeypatch):
    assert call(*command(tmp_path / "run", steps=20)) == 0
    really = glue.build

    def rebuilt(config):
        init, flips = really(config).init, np.zeros((2,), np.int32)
        return really(config)._replace(init=lambda key: init(key).replace(flips=flips))

    monkeypatch.setattr(glue, "build", rebuilt)
    assert call(*command(tmp_path / "run", steps=40)) == 1
    assert "leaf flips: the checkpoint of step 20 holds int32[], asked for int32[2]" in (
        capsys.readouterr().err
    )


def test_profile_writes_a_trace(tmp_path, capsys):
    assert call(*command(tmp_path / "run", steps=40), "--profile") == 0
    assert list((tmp_path / "run" / "profile").rglob("*.xplane.pb"))


def test_profiling_changes_nothing(tmp_path, capsys):
    for name, flags in (("plain", []), ("traced", ["--profile"])):
        assert call(*command(tmp_path / name, steps=40), *flags) == 0
    assert (tmp_path / "plain" / "metrics.jsonl").read_bytes() == (
        tmp_path / "traced" / "metrics.jsonl"
    ).read_bytes()


def test_another_package_of_a_room_s_name_is_refused(tmp_path, capsys, monkeypatch):
    foreign = tmp_path / "search"
    foreign.mkdir()
    (foreign / "__init__.py").write_text("")
    monkeypatch.delitem(sys.modules, "search", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert call(*command(tmp_path / "run")) == 2
    error = capsys.readouterr().err
    assert "package 'search': expected the one in" in error
    assert str(foreign) in error


def test_deterministic_sets_the_flag_before_jax_starts(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=2")
    run.set_deterministic()
    run.set_deterministic()
    assert os.environ["XLA_FLAGS"] == (
        "--xla_force_host_platform_device_count=2 --xla_gpu_deterministic_ops=true"
    )


def test_a_deterministic_run_starts(launcher, tmp_path):
    """XLA stops a process that has flags which it does not know."""
    words = command(tmp_path / "run", steps=5, deterministic="true")
    assert launcher.run(words, tmp_path / "log") == 0, (tmp_path / "log").read_text()


def test_the_module_runs_as_a_program(tmp_path):
    """With nothing shared, as a user starts it."""
    done = subprocess.run(
        [sys.executable, "-m", "experiments.run", *command(tmp_path / "run", steps=10)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "step 10/10 (train)" in done.stdout
    row = read_results(tmp_path / "run" / "results.json")["rows"][0]
    assert row["command"].startswith("python -m experiments.run --config=")


def test_a_second_interrupt_does_not_wait():
    signals = run.Signals()
    with signals:
        signals._note(2, None)
        assert signals.received == 2
        with pytest.raises(KeyboardInterrupt):
            signals._note(2, None)


def test_an_experiment_without_finish(tmp_path, capsys, monkeypatch):
    really = glue.build
    monkeypatch.setattr(glue, "build", lambda config: really(config)._replace(finish=None))
    assert call(*command(tmp_path / "run", steps=10)) == 0
    assert "done: 10 steps" in capsys.readouterr().out
    ended = read_results(tmp_path / "run" / "results.json")
    assert (ended["step"], ended["rows"]) == (10, [])


def test_a_row_that_is_not_one():
    with pytest.raises(ValueError, match="expected a value, got none"):
        rows.complete({"name": "a", "metric": "b"}, {})
    with pytest.raises(ValueError, match=r"unknown fields \['vlaue'\]"):
        rows.complete({"name": "a", "metric": "b", "value": 1, "vlaue": 2}, {})
    row = {"name": "a", "metric": "b", "value": 1}
    with pytest.raises(ValueError, match="is not unique"):
        write_results(Path("unused"), "t", [row, row])
    with pytest.raises(ValueError, match="rows of different seeds do not match"):
        rows.over_seeds([[{"name": "a", "metric": "b"}], [{"name": "a", "metric": "c"}]])


def test_a_row_without_git(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert rows.checkout() == ""


def test_the_loop_can_be_called_by_itself(tmp_path):
    """As a notebook does."""
    config = configs.load(TOY, [("steps", "10")])
    done = loop.train(glue.build(config), config, str(tmp_path / "run"))
    assert (done.step, done.stopped, len(done.states)) == (10, False, 1)


def test_config_errors_read_as_sentences():
    error = ConfigError("a.b", "one of the choices below", "rde", ["red", "green"])
    assert str(error) == (
        "a.b: expected one of the choices below, got 'rde'; did you mean 'red'?\n"
        "  choices: red, green"
    )


def test_a_workdir_that_cannot_be_is_named(tmp_path, capsys):
    file = tmp_path / "file"
    file.write_text("mine")
    for place in (file, file / "run"):
        words = [f"--config={TOY}", f"--workdir={place}", "--quiet"]
        assert run.main(words) == 2
        assert f"error: --workdir {place}: " in capsys.readouterr().err
    assert file.read_text() == "mine"


def test_an_override_without_a_value_is_named(capsys):
    with pytest.raises(SystemExit):
        run.main([f"--config={TOY}", "--config.steps", "--workdir=w"])
    assert "--config.steps has no value" in capsys.readouterr().err


def test_what_a_run_needs_is_looked_for_before_anything_is_written(tmp_path, capsys, monkeypatch):
    from experiments.data.registry import MissingDataset

    def prepare():
        raise MissingDataset("dataset 'photographs' is not here")

    really = glue.build
    monkeypatch.setattr(glue, "build", lambda config: really(config)._replace(prepare=prepare))
    assert call(*command(tmp_path / "run", steps=10)) == 2
    assert "error: dataset 'photographs'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert call(*command(tmp_path / "run", steps=10), "--dry_run") == 0


def test_dry_run_takes_the_shapes_of_host_batches_where_they_are_given(capsys, monkeypatch):
    import jax

    def refuse(seed, step):
        raise AssertionError("made a batch")

    really = glue.build

    def described(config):
        work = really(config)
        like = {
            "inputs": jax.ShapeDtypeStruct((4096, 16), np.float32),
            "targets": jax.ShapeDtypeStruct((4096,), np.float32),
        }
        phases = tuple(p._replace(batch=refuse, data=None, like=like) for p in work.phases)
        return work._replace(phases=phases)

    monkeypatch.setattr(glue, "build", described)
    assert call(f"--config={TOY}", "--dry_run") == 0
    text = capsys.readouterr().out
    assert "4,096 items an update" in text
    assert "bytes at once" in text


def test_dry_run_shortens_a_long_table(capsys):
    from experiments.runner.dry_run import _table

    leaf = np.zeros((2, 3), np.float32)
    tree = {"net": {f"layer_{i}": {"w": leaf, "b": leaf[0]} for i in range(150)}, "step": leaf[0]}
    lines = _table(tree)
    assert lines == [
        "  net   300 leaves, 1,350 values, 5,400 bytes",
        "  step  1 leaves, 3 values, 12 bytes",
    ]
