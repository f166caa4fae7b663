"""Image classification through the runner: splits, stages, every method, stop and resume."""

import jax
import numpy as np
import pytest

from experiments.mpl import config as mpl_config
from experiments.mpl import images as mpl_images
from experiments.mpl import outcome
from experiments.runner import config as configs
from experiments.runner import pretrained
from experiments.runner.checks import ConfigError
from experiments.runner.loop import train
from tests.experiments.runner.short_runs import ONE, same_states, stop_after

pytest.importorskip("sklearn")

SMALL = {
    "model.name": "perceptron",
    "model.depth": "1",
    "model.width": "8",
    "augment.operations": "svhn",
    "augment.num_ops": "0",  # RandAugment takes longest to compile: where it is looked at
    "eval.images": "32",
}


def small(name="meta", **overrides):
    pairs = SMALL | {key.replace("__", "."): str(value) for key, value in overrides.items()}
    return configs.load(f"mpl/{name}:digits,smoke", list(pairs.items()))


def test_digits_are_stretched_to_bytes():
    images = np.array([[0, 8, 16]], np.uint8)
    assert mpl_images.as_bytes(images, 16).tolist() == [[0, 128, 255]]
    assert mpl_images.top_value("digits") == 16
    assert mpl_images.top_value("cifar10") == 255


NAMES = ("supervised", "pseudo_labels", "noisy_student", "uda", "fixmatch", "meta", "reduced")


@pytest.mark.parametrize("name", NAMES)
def test_every_method_trains_and_gives_its_rows(name, tmp_path):
    config = small(name, augment__num_ops=int(name == "meta"))
    experiment = mpl_images.build(config)
    done = train(experiment, config, tmp_path / "run", devices=ONE)
    rows = experiment.finish(done.states[0], tmp_path / "run")
    last = {"meta": "mpl_uda"}.get(name, name)
    assert rows[-1]["name"] == last
    assert all(0 <= row["value"] <= 100 for row in rows)
    stages = {"pseudo_labels": 2, "noisy_student": 3, "meta": 2, "reduced": 3}.get(name, 1)
    assert len(done.states[0].stages) == stages
    assert int(done.states[0].step) == config.steps
    if name == "meta":
        whole = mpl_images.load(config)
        model = outcome.load(tmp_path / "run")
        assert same(model.params, done.states[0].stages[-1].params)
        right = np.argmax(model.predict(whole.test), axis=-1) == whole.test_labels
        assert 100 * np.mean(right) == pytest.approx(rows[-1]["value"])


def test_a_model_of_something_else_is_refused(tmp_path):
    pretrained.save(tmp_path / "model.npz", {"w": np.ones(1)}, {"experiment": "mpl_moons"}, {})
    with pytest.raises(ValueError, match="expected a network of images, got one of mpl_moons"):
        outcome.load(tmp_path)


def test_targets_are_the_first_stages_distributions():
    config = small("pseudo_labels", augment__num_ops=1)
    experiment = mpl_images.build(config)
    state = jax.jit(experiment.init)(jax.random.key(0))
    assert not np.any(state.targets)
    after = experiment.phases[1].enter(state)
    np.testing.assert_allclose(np.sum(after.targets, axis=1), 1.0, rtol=1e-5)
    assert len(after.targets) == 1500 - 20
    phase = experiment.phases[1]
    batch = jax.jit(phase.batch)(phase.data, jax.random.key(1), 0)
    assert batch["labelled"].shape == (8, 8, 8, 1)
    assert float(np.abs(batch["strong"]).max()) <= 1.0
    assert np.asarray(batch["rows"]).max() < 1480


def test_finetuning_starts_from_the_student():
    config = small("meta")
    experiment = mpl_images.build(config)
    state = jax.jit(experiment.init)(jax.random.key(0))
    after = experiment.phases[1].enter(state)
    for one, other in zip(
        *map(jax.tree.leaves, (after.stages[0].student.params, after.stages[1].params)), strict=True
    ):
        assert np.array_equal(one, other)


def test_a_stopped_run_ends_the_same(tmp_path):
    config = small("pseudo_labels")
    whole = train(mpl_images.build(config), config, tmp_path / "whole", devices=ONE)
    parts = tmp_path / "parts"
    for dispatches in (1, 2):  # within the teacher's stage, and in its student's
        stopped = train(
            mpl_images.build(config), config, parts, devices=ONE, stop=stop_after(dispatches)
        )
        assert stopped.stopped
    rest = train(mpl_images.build(config), config, parts, devices=ONE)
    assert not rest.stopped
    assert same_states(whole.states[0], rest.states[0])


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("meta", "method", "teach"),
        ("meta", "meta.feedback", "cosin"),
        ("supervised", "stages.teacher", 5),
        ("pseudo_labels", "stages.teacher", 0),
        ("uda", "stages.finetune", 5),
        ("uda", "uda.temperature", 0.0),
        ("meta", "warmup", 40),
        ("meta", "model.name", "vgg"),
        ("supervised", "data.labelled", 1501),
    ],
)
def test_bad_settings_name_their_key(name, key, value):
    with pytest.raises(ConfigError, match=key.rpartition(".")[2] if key != "warmup" else "steps"):
        mpl_images.build(small(name, **{key: value}))


def test_without_feedback_the_teacher_learns_the_same_but_for_it():
    off, on = small("meta", meta__feedback="none"), small("meta")
    assert mpl_images.row_name(off) == "mpl_uda_no_feedback"
    after = []
    for config in (off, on):
        phase = mpl_images.build(config).phases[0]
        state = jax.jit(mpl_images.build(config).init)(jax.random.key(0))
        batch = jax.jit(phase.batch)(phase.data, jax.random.key(1), 0)
        update = jax.jit(phase.update)
        for _ in range(3):  # the rate starts from 0, and h - b as well
            state, metrics = update(state, batch)
        after.append((state.stages[0], metrics))
    (without, said), (with_it, told) = after
    assert said.keys() == told.keys()
    assert said["h"] != 0.0
    assert not same(without.teacher.params, with_it.teacher.params)
    with pytest.raises(ConfigError, match=r"meta\.feedback"):
        mpl_images.build(small("meta", meta__feedback="none", meta__teacher="none"))


def same(one, other):
    return all(map(np.array_equal, jax.tree.leaves(one), jax.tree.leaves(other)))


def test_tables_of_hyperparameters_reach_the_paper_configs():
    meta = configs.load("mpl/meta:cifar10,paper")
    assert (meta.student.learning_rate, meta.teacher.learning_rate) == (0.3, 0.125)
    assert (meta.student.dropout, meta.teacher.dropout) == (0.35, 0.5)
    assert (meta.uda.factor, meta.uda.temperature) == (1.0, 0.8)
    assert (meta.smoothing, meta.warmup, meta.weight_decay) == (0.1, 2000, 0.0005)
    assert meta.steps == 1_001_000
    assert (meta.finetune.learning_rate, meta.finetune.batch_size) == (1e-5, 512)
    uda = configs.load("mpl/uda:svhn,paper")
    assert (uda.uda.factor, uda.uda.temperature, uda.student.dropout) == (1.0, 0.8, 0.6)
    assert uda.augment.operations == "svhn"
    plain = configs.load("mpl/pseudo_labels:svhn,paper")
    assert (plain.pseudo.threshold, plain.student.learning_rate) == (0.975, 0.05)
    assert plain.weight_decay == 0.001
    assert mpl_config.printed("mpl", "imagenet")["uda_factor"] == 16.0
