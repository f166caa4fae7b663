"""The loop: exact steps, no recompilation, seeds, phases, non-finite values named."""

import json
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import feed, loop
from experiments.checkpoint import restore_state, to_host
from experiments.config import ConfigError
from experiments.experiment import Experiment, Phase
from experiments.metrics import read
from experiments.nonfinite import NonFiniteError
from experiments.programs import Programs, make_mesh
from experiments.workdir import WorkdirError, saved_steps
from tests.experiments import toy as glue

ONE = jax.devices()[:1]


def train(config, workdir, **options):
    return loop.train(glue.build(config), config, workdir, devices=ONE, **options)


def stop_after(dispatches):
    """Asks to stop after so many dispatches."""
    asked = []

    def stop():
        asked.append(1)
        return len(asked) >= dispatches

    return stop


def same_states(one, other):
    left, right = to_host(one), to_host(other)
    assert left.keys() == right.keys()
    return all(left[name].tobytes() == right[name].tobytes() for name in left)


def final(workdir, experiment, **more):
    target = jax.eval_shape(experiment.init, jax.random.key(0))
    return restore_state(workdir, target, **more)[0]


# --- Steps, boundaries, compilation ---------------------------------------------------------------


@pytest.mark.parametrize("task", glue.TASKS)
def test_runs_reach_their_steps_without_recompiling(toy, tmp_path, task, monkeypatch):
    made = []
    monkeypatch.setattr(loop, "Programs", lambda *a: made.append(Programs(*a)) or made[-1])
    done = train(toy(task, steps=57), tmp_path)
    assert done.step == 57
    assert not done.stopped
    assert int(done.states[0].step) == 57
    # One program for whole chunks, one for the rest before a boundary; the cycle's phases of 7 and
    # 12 steps leave 2 each, and step 57 is a phase's end.
    programs = made[0]
    assert len(programs.traces) == len(set(programs.traces)) == (4 if task == "cycle" else 2)
    for compiled in programs._compiled.values():
        assert compiled._cache_size() == 2


def test_a_traced_run_equals_one_update_at_a_time(toy, tmp_path):
    config = toy("traced", steps=10)
    experiment = glue.build(config)
    done = train(config, tmp_path)
    state = experiment.init(jax.random.key(config.seed))
    phase = experiment.phases[0]
    losses = []
    for step in range(10):
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(config.seed), 0), step)
        state, metrics = jax.jit(phase.update)(state, phase.batch((), key, jnp.asarray(step)))
        losses.append(float(metrics["loss"]))
    np.testing.assert_allclose(done.states[0].params["weights"], state.params["weights"], rtol=1e-5)
    trained = [line for line in read(tmp_path / "metrics.jsonl") if line["kind"] == "train"]
    assert [line["step"] for line in trained] == [5, 10]
    np.testing.assert_allclose(
        [line["loss"] for line in trained], [np.mean(losses[:5]), np.mean(losses[5:])], rtol=1e-5
    )


def test_host_batches_are_those_of_seed_and_step(toy, tmp_path):
    config = toy("host", steps=11, seed=3)
    experiment = glue.build(config)
    asked = []
    really = experiment.phases[0].batch

    def spy(seed, step):
        asked.append((seed, step))
        return really(seed, step)

    phases = (experiment.phases[0]._replace(batch=spy),)
    loop.train(experiment._replace(phases=phases), config, tmp_path, devices=ONE)
    asked = [pair for index, pair in enumerate(asked) if pair not in asked[:index]]
    assert asked == [(3, step) for step in range(11)]


def test_an_error_in_a_host_batch_reaches_the_caller(toy, tmp_path):
    config = toy("host")
    experiment = glue.build(config)
    really = experiment.phases[0].batch

    def fail(seed, step):
        if step == 17:
            raise OSError("the disk is gone")
        return really(seed, step)

    phases = (experiment.phases[0]._replace(batch=fail),)
    with pytest.raises(OSError, match="the disk is gone"):
        loop.train(experiment._replace(phases=phases), config, tmp_path, devices=ONE)
    assert [line["step"] for line in read(tmp_path / "metrics.jsonl")] == [5, 10, 10]


def test_feeding_ahead_stops_when_left():
    made = []
    with feed.ahead(lambda n: made.append(n) or n, range(10**9)) as pairs:
        assert next(pairs) == (0, 0)
    count = len(made)
    time.sleep(0.3)
    assert len(made) == count <= 5


def test_data_are_arguments_of_the_program(toy, tmp_path):
    """A data set in a closure would be a constant in each program."""
    config = toy("resident")
    programs = Programs(glue.build(config), make_mesh(ONE), 1, "map")
    state = programs.init(0)
    lowered = programs._program(0, debug=False).lower(state, programs._data[0], None, length=5)
    header = lowered.as_text().partition("func.func public @main(")[2].partition("->")[0]
    assert "tensor<64x16xf32>" in header


def test_phases_share_one_copy_of_their_data(toy):
    table = np.zeros((4, 2), np.float32)
    phase = Phase("a", 1, None, None, data={"table": table})
    experiment = Experiment(None, (phase, phase._replace(name="b")), True, None, ("x", "min"))
    programs = Programs(experiment, make_mesh(ONE), 1, "map")
    assert programs._data[0]["table"] is programs._data[1]["table"]


# --- Resuming -------------------------------------------------------------------------------------


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


def test_a_folder_without_its_config_is_not_taken(toy, tmp_path):
    train(toy(steps=20), tmp_path)
    (tmp_path / "config.json").unlink()
    with pytest.raises(WorkdirError, match=r"has checkpoints but no config\.json"):
        train(toy(steps=20), tmp_path)


# --- Seeds ----------------------------------------------------------------------------------------


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


# --- What is not finite ---------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["resident", "host", "cycle"])
@pytest.mark.parametrize("leaf", ["loss", "weights"])
def test_the_update_and_leaf_that_went_bad_are_named(toy, tmp_path, task, leaf):
    config = toy(task, nan_at=42, nan_leaf=leaf)
    with pytest.raises(NonFiniteError) as caught:
        train(config, tmp_path)
    assert caught.value.step == 43
    expected = {"loss": ["metric loss", "state.best"], "weights": ["state.params.weights"]}
    assert caught.value.names == expected[leaf]
    assert "rounding" not in str(caught.value)
    kept = saved_steps(tmp_path)
    assert caught.value.__notes__ == [f"The last good checkpoint, of step {kept[-1]}, is kept."]
    assert kept[-1] < 43
    experiment = glue.build(config)
    leaves = to_host(final(tmp_path, experiment))
    del leaves["best"]
    assert all(np.all(np.isfinite(leaf)) for leaf in leaves.values() if leaf.dtype.kind == "f")
    text = (tmp_path / "metrics.jsonl").read_text()
    assert "NaN" not in text
    assert max(line["step"] for line in read(tmp_path / "metrics.jsonl")) < 43


def test_the_seed_that_went_bad_is_named(toy, tmp_path):
    config = toy("host", num_seeds=3, seed=4)
    experiment = glue.build(config)
    really = experiment.phases[0].batch

    def spoil(seed, step):
        batch = really(seed, step)
        if seed == 5 and step == 12:
            batch["inputs"][3, 2] = np.inf
        return batch

    phases = (experiment.phases[0]._replace(batch=spoil),)
    with pytest.raises(NonFiniteError) as caught:
        loop.train(experiment._replace(phases=phases), config, tmp_path, devices=ONE)
    assert caught.value.step == 13
    assert caught.value.names[:2] == ["batch.inputs (seed 5)", "metric grad_norm (seed 5)"]
    assert not any("seed 4" in name or "seed 6" in name for name in caught.value.names)


def test_a_bad_first_chunk_is_named_without_a_checkpoint(toy, tmp_path):
    with pytest.raises(NonFiniteError) as caught:
        train(toy(nan_at=0), tmp_path)
    assert caught.value.step == 1
    assert saved_steps(tmp_path) == []


def test_an_evaluation_that_is_not_finite_stops_the_run(toy, tmp_path):
    config = toy()
    experiment = glue.build(config)

    def evaluate(state, step):
        return {"error": 1.0, "length": float("inf") if step == 30 else 1.0}

    with pytest.raises(NonFiniteError, match="evaluated length"):
        loop.train(experiment._replace(evaluate=evaluate), config, tmp_path, devices=ONE)
    assert saved_steps(tmp_path) == [20]


def test_a_headline_that_is_not_evaluated(toy, tmp_path):
    experiment = glue.build(toy())._replace(headline=("accuracy", "max"))
    with pytest.raises(ValueError, match="evaluate: expected the headline 'accuracy', got"):
        loop.train(experiment, toy(), tmp_path, devices=ONE)


# --- What an experiment must be -------------------------------------------------------------------


def broken(experiment, **changes):
    phase = experiment.phases[0]._replace(**changes)
    return experiment._replace(phases=(phase,))


def counting_twice(update, state, batch):
    state, metrics = update(state, batch)
    return state.replace(step=state.step + 1), metrics


def changing_dtype(update, state, batch):
    state, metrics = update(state, batch)
    return state.replace(best=state.best.astype(jnp.bfloat16)), metrics


def vector_metric(update, state, batch):
    state, metrics = update(state, batch)
    return state, {**metrics, "each": jnp.zeros(3)}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (changing_dtype, r"phase 'train': update: state leaf best: .*float32.* got .*bfloat16"),
        (vector_metric, r"metric 'each': expected float32\[\], got \(\(3,\), 'float32'\)"),
    ],
)
def test_what_is_wrong_by_shape_is_said_before_anything_is_written(toy, tmp_path, change, words):
    config = toy()
    experiment = glue.build(config)
    wrong = broken(experiment, update=partial(change, experiment.phases[0].update))
    with pytest.raises(ValueError, match=words):
        loop.train(wrong, config, tmp_path / "run", devices=ONE)
    assert not (tmp_path / "run").exists()


def test_an_update_that_counts_wrong_is_caught(toy, tmp_path):
    config = toy()
    experiment = glue.build(config)
    wrong = broken(experiment, update=partial(counting_twice, experiment.phases[0].update))
    with pytest.raises(ValueError, match=r"state.step: expected \d+ after as many updates, got"):
        loop.train(wrong, config, tmp_path, devices=ONE)


def test_states_without_step_or_key(toy, tmp_path: Path):
    config = toy()
    experiment = glue.build(config)

    def untyped(key):
        return experiment.init(key).replace(key=jax.random.key_data(key))

    with pytest.raises(ValueError, match=r"State\.key: expected a typed key"):
        loop.train(experiment._replace(init=untyped), config, tmp_path, devices=ONE)
    with pytest.raises(ValueError, match="State: expected a field 'step', got dict"):
        loop.train(experiment._replace(init=lambda key: {}), config, tmp_path, devices=ONE)
