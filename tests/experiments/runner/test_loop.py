"""The loop: exact steps, no recompilation, what an experiment must be."""

import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.runner import feed, loop
from experiments.runner.experiment import Experiment, Phase
from experiments.runner.metrics import read
from experiments.runner.programs import Programs
from parallel.data_parallel import make_mesh
from tests.experiments.runner import toy as glue
from tests.experiments.runner.short_runs import ONE, same_states, train


@pytest.mark.parametrize("task", glue.TASKS)
def test_runs_reach_their_steps_without_recompiling(toy, tmp_path, task, monkeypatch):
    made = []
    monkeypatch.setattr(loop, "Programs", lambda *a: made.append(Programs(*a)) or made[-1])
    config = toy(task, steps=57)
    done = loop.train(glue.build(config), config, tmp_path, devices=ONE)
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


def test_host_batches_keep_their_shape(toy, tmp_path):
    config = toy("host")
    experiment = glue.build(config)
    really = experiment.phases[0].batch

    def grow(seed, step):
        return really(seed, step) if step < 20 else really(seed, step) | {"targets": np.ones(9)}

    phases = (experiment.phases[0]._replace(batch=grow),)
    with pytest.raises(ValueError, match=r"'train': the host batch of step 20 is .*pad batches"):
        loop.train(experiment._replace(phases=phases), config, tmp_path, devices=ONE)


def test_host_batches_of_64_bits_are_taken_as_32(toy, tmp_path):
    config = toy("host", steps=10)
    experiment = glue.build(config)
    really = experiment.phases[0].batch

    def double(seed, step):
        return {name: leaf.astype(np.float64) for name, leaf in really(seed, step).items()}

    phases = (experiment.phases[0]._replace(batch=double),)
    twice = loop.train(experiment._replace(phases=phases), config, tmp_path / "64", devices=ONE)
    assert same_states(twice.states[0], train(config, tmp_path / "32").states[0])


def test_metrics_are_fetched_while_the_next_dispatch_runs(toy, tmp_path, monkeypatch):
    order = []
    really_run, really_train = Programs.run, loop.Writer.train

    def run(self, index, state, batches, length):
        order.append("run")
        return really_run(self, index, state, batches, length)

    def wrote(self, step, *rest):
        order.append(step)
        return really_train(self, step, *rest)

    monkeypatch.setattr(Programs, "run", run)
    monkeypatch.setattr(loop.Writer, "train", wrote)
    train(toy(steps=40, eval_every=20, checkpoint_every=20), tmp_path)
    first, second = ["run", "run", 5, "run", 10, "run", 15, 20], ["run", "run", 25, "run", 30]
    assert order == [*first, *second, "run", 35, 40]


def test_constants_in_closures_are_no_transfers(toy, tmp_path):
    config = toy("traced", steps=10)
    experiment = glue.build(config)
    update, table = experiment.phases[0].update, jnp.arange(16.0)
    host = np.full((16,), 0.5, np.float32)

    def shifted(state, batch):
        return update(state, batch | {"inputs": batch["inputs"] + (table + host)[None]})

    phases = (experiment.phases[0]._replace(update=shifted),)
    done = loop.train(experiment._replace(phases=phases), config, tmp_path, devices=ONE)
    assert done.step == 10


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


def test_a_traced_batch_without_data_says_so(toy, tmp_path):
    config = toy("traced")
    wrong = broken(glue.build(config), data=None)
    with pytest.raises(ValueError, match=r"'train': expected a host batch\(seed, step\)"):
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
