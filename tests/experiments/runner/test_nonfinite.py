"""What is not finite stops a run, and is named by update and leaf."""

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.runner import loop
from experiments.runner.checkpoint import to_host
from experiments.runner.metrics import read
from experiments.runner.nonfinite import NonFiniteError
from experiments.runner.workdir import saved_steps
from tests.experiments.runner import toy as glue
from tests.experiments.runner.short_runs import ONE, final, train


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


def test_the_replay_enters_phases_as_the_run_did(toy, tmp_path):
    """Entered at steps 7 and 26, and the last checkpoint is of step 24: a replay enters once."""
    config = toy("cycle")
    experiment = glue.build(config)

    def after_two(state, batch):
        after, metrics = experiment.phases[0].update(state, batch)
        bad = (state.step == 34) & (state.flips == 2)
        return after, metrics | {"loss": jnp.where(bad, jnp.nan, metrics["loss"])}

    phases = tuple(phase._replace(update=after_two) for phase in experiment.phases)
    with pytest.raises(NonFiniteError) as caught:
        loop.train(experiment._replace(phases=phases), config, tmp_path, devices=ONE)
    assert saved_steps(tmp_path) == [24]
    assert (caught.value.step, caught.value.names) == (35, ["metric loss"])


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
