"""Stopping and resuming within phases, extending, and several seeds in one program."""

import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.runner import loop, workdir
from experiments.runner.checkpoint import to_host
from experiments.runner.checks import ConfigError
from experiments.runner.metrics import read
from experiments.runner.programs import Programs
from experiments.runner.workdir import WorkdirError
from parallel.data_parallel import make_mesh
from tests.experiments.runner import toy as glue
from tests.experiments.runner.short_runs import ONE, same_states, stop_after, train


@pytest.mark.parametrize("task", ["host", "cycle"])
@pytest.mark.parametrize("dispatches", [1, 3, 4])
def test_stopping_anywhere_and_resuming_changes_nothing(toy, tmp_path, task, dispatches):
    config = toy(task, steps=43)
    whole = train(config, tmp_path / "whole")
    parts, stops = tmp_path / "parts", 0
    while (part := train(config, parts, stop=stop_after(dispatches))).stopped and stops < 30:
        stops += 1
        if part.step == 43:
            break
    assert stops >= 2
    assert same_states(part.states[0], whole.states[0])
    for name in ("metrics.jsonl", "config.json"):
        assert (parts / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_enter_runs_once_a_visit_of_its_phase(toy, tmp_path):
    """Phases of 7 and 12 steps: the second is entered at steps 7, 26 and 45."""
    done = train(toy("cycle", steps=57), tmp_path / "whole")
    assert int(done.states[0].flips) == 3
    # Stopping at 7 saves the state before `enter`, so its phase is entered on resuming.
    part = train(toy("cycle", steps=57), tmp_path / "part", stop=stop_after(2))
    assert part.step == 7
    assert int(part.states[0].flips) == 0
    done = train(toy("cycle", steps=57), tmp_path / "part")
    assert int(done.states[0].flips) == 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.replace(step=s.step + 1), "state.step: expected 7 as before, got 8"),
        (lambda s: s.replace(key=jax.random.key(5)), "state.key: expected the same key"),
        (lambda s: s.replace(best=jnp.zeros(3)), r"state leaf best: expected \(\(\), 'float32'\)"),
        (lambda s: s.replace(params={}), "state leaf params.bias: .* got no such leaf"),
    ],
)
def test_enter_keeps_shape_step_and_key(toy, tmp_path, change, words):
    config = toy("cycle")
    experiment = glue.build(config)
    first, second = experiment.phases
    changed = experiment._replace(phases=(first, second._replace(enter=change)))
    with pytest.raises(ValueError, match=words):
        loop.train(changed, config, tmp_path, devices=ONE)


def test_enter_may_give_one_array_to_two_leaves(toy, tmp_path):
    """Donation would refuse the same buffer twice."""
    config = toy("cycle", steps=19)
    experiment = glue.build(config)
    first, second = experiment.phases

    def tied(state):
        zero = jnp.zeros_like(state.params["weights"])
        momentum = state.opt_state[0]._replace(trace={**state.opt_state[0].trace, "weights": zero})
        params = {**state.params, "weights": zero}
        return state.replace(params=params, opt_state=(momentum, *state.opt_state[1:]))

    phases = (first, second._replace(enter=tied))
    done = loop.train(experiment._replace(phases=phases), config, tmp_path, devices=ONE)
    assert done.step == 19


@pytest.mark.parametrize("task", ["resident", "cycle"])
def test_extending_equals_a_long_run(toy, tmp_path, task):
    short = 40 if task == "resident" else 38  # whole chunks, or whole phases
    train(toy(task, steps=short), tmp_path / "grown")
    grown = train(toy(task, steps=76), tmp_path / "grown")
    whole = train(toy(task, steps=76), tmp_path / "whole")
    assert same_states(grown.states[0], whole.states[0])
    stored = json.loads((tmp_path / "grown" / "config.json").read_text())
    assert stored["config"]["steps"] == 76


def test_what_cannot_be_extended(toy, tmp_path):
    config = toy(steps=20)
    train(config, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    with pytest.raises(WorkdirError, match="has done 20 steps, more than steps = 10"):
        train(toy(steps=10), tmp_path)
    with pytest.raises(WorkdirError, match=r"another config .*\n  seed: 0 -> 1\n"):
        train(toy(steps=20, seed=1), tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_schedule_that_reads_steps_is_not_extended(toy, tmp_path):
    def scheduled(steps):
        config = toy(steps=steps)
        with config.unlocked():
            config.steps_in_schedule = True
        return config

    train(scheduled(20), tmp_path)
    with pytest.raises(WorkdirError, match="steps: 20 -> 40\nA schedule of this config reads"):
        train(scheduled(40), tmp_path)


def test_phases_that_would_stand_elsewhere_are_refused(toy, tmp_path):
    def build(steps):
        config = toy(steps=steps)
        experiment = glue.build(config)
        phase = experiment.phases[0]
        half = phase._replace(steps=steps // 2)
        phases = (half._replace(name="first"), half._replace(name="second"))
        return experiment._replace(phases=phases), config

    loop.train(*build(40), tmp_path, devices=ONE)
    with pytest.raises(ConfigError, match=r"steps: expected phases that stand at .*'second'"):
        loop.train(*build(80), tmp_path, devices=ONE)
    assert json.loads((tmp_path / "config.json").read_text())["config"]["steps"] == 40


def test_a_folder_claimed_by_another_run_meanwhile(toy, tmp_path, monkeypatch):
    config, other = toy(steps=20), toy(steps=20, seed=1)
    really = workdir.fcntl.flock

    def late(*args):
        workdir.write_config(tmp_path, other)
        return really(*args)

    monkeypatch.setattr(workdir.fcntl, "flock", late)
    with pytest.raises(WorkdirError, match="seed: 1 -> 0"):
        train(config, tmp_path)
    assert not (tmp_path / "metrics.jsonl").exists()


def test_a_folder_without_its_config_is_not_taken(toy, tmp_path):
    train(toy(steps=20), tmp_path)
    (tmp_path / "config.json").unlink()
    with pytest.raises(WorkdirError, match=r"has checkpoints but no config\.json"):
        train(toy(steps=20), tmp_path)


@pytest.mark.parametrize("task", ["resident", "host", "cycle"])
def test_mapped_seeds_equal_solo_runs_exactly(toy, tmp_path, task):
    toy = partial(toy, task, steps=30, phase_steps="5,10")
    config = toy(num_seeds=4, seed=5)
    together = train(config, tmp_path / "map")
    lines = read(tmp_path / "map" / "metrics.jsonl")
    for index, seed in enumerate(range(5, 9)):
        alone = train(toy(seed=seed), tmp_path / str(seed))
        assert same_states(together.states[index], alone.states[0])
        mine = [{k: v for k, v in x.items() if k != "seed"} for x in lines if x.get("seed") == seed]
        assert mine == read(tmp_path / str(seed) / "metrics.jsonl")
    mean = [line for line in lines if "seed" not in line]
    for position, line in enumerate(mean):
        each = [x for x in lines if "seed" in x][4 * position : 4 * position + 4]
        name = "loss" if line["kind"] == "train" else "error"
        assert line[name] == pytest.approx(np.mean([x[name] for x in each]), rel=1e-12)


@pytest.mark.parametrize(("axis", "batched"), [("map", False), ("vmap", True)])
def test_mapped_seeds_are_computed_one_by_one(toy, axis, batched):
    """One seed's inputs are [8, 16]: only vmap computes on those of four at once."""
    programs = Programs(glue.build(toy("resident")), make_mesh(ONE), 4, axis)
    state = programs.abstract_states()
    program = programs._program(0, debug=False)
    text = program.lower(state, programs._data[0], None, length=5).as_text()
    assert ("tensor<8x16xf32>" in text) != batched
    assert ("tensor<4x8x16xf32>" in text) == batched


def test_vmapped_seeds_are_close_to_solo_runs(toy, tmp_path):
    toy = partial(toy, "cycle", steps=30, phase_steps="5,10")
    together = train(toy(num_seeds=4, seed_axis="vmap"), tmp_path / "vmap")
    for seed in range(4):
        alone = train(toy(seed=seed), tmp_path / str(seed))
        one, other = to_host(together.states[seed]), to_host(alone.states[0])
        for name in one:
            np.testing.assert_allclose(one[name], other[name], rtol=2e-4, atol=1e-6, err_msg=name)


def test_several_seeds_resume_exactly(toy, tmp_path):
    config = toy("cycle", steps=30, phase_steps="5,10", num_seeds=2)
    whole = train(config, tmp_path / "whole")
    train(config, tmp_path / "part", stop=stop_after(3))
    part = train(config, tmp_path / "part")
    assert all(map(same_states, part.states, whole.states))
