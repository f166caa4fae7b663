"""Unlabelled images that a teacher's predictions choose, and the file that holds these."""

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from experiments.mpl import images as mpl_images
from experiments.mpl import predictions as mpl_predictions
from experiments.runner import config as configs
from experiments.runner.checks import ConfigError
from experiments.runner.loop import train
from mpl import splits
from tests.experiments.runner.short_runs import ONE

RNG = np.random.default_rng(0)


def config(path="", top=0, confidence=0.0, repeat=False):
    data = {"predictions": str(path), "top_per_class": top}
    return ConfigDict({"data": data | {"confidence": confidence, "repeat": repeat}})


def test_predictions_are_written_in_parts_and_read(tmp_path):
    logits = RNG.normal(size=(7, 3)).astype(np.float32)
    path = mpl_predictions.write(tmp_path, (logits[:4], logits[4:]), (7, 3))
    assert [file.name for file in tmp_path.iterdir()] == ["predictions.npy"]
    found = mpl_predictions.read(config(path), (7, 3))
    assert found.dtype == np.float16
    np.testing.assert_allclose(found.sum(1), 1.0, atol=2e-3)
    np.testing.assert_array_equal(found.argmax(1), logits.argmax(1))
    with pytest.raises(ValueError, match="expected 8 images, got 7"):
        mpl_predictions.write(tmp_path, (logits,), (8, 3))
    with pytest.raises(ValueError, match="expected 6 images, got more"):
        mpl_predictions.write(tmp_path, (logits,), (6, 3))


def test_a_file_that_does_not_fit_is_named(tmp_path):
    path = tmp_path / "p.npy"
    np.save(path, np.zeros((4, 3), np.float16))
    with pytest.raises(ConfigError, match=r"data\.predictions: expected a file .* 5 images"):
        mpl_predictions.read(config(path), (5, 3))
    path.write_bytes(b"no array")
    with pytest.raises(ConfigError, match=r"data\.predictions"):
        mpl_predictions.read(config(path), (4, 3))
    with pytest.raises(ConfigError, match=r"data\.predictions"):
        mpl_predictions.read(config(), (4, 3))


def test_one_run_writes_what_another_chooses_by(tmp_path):
    pytest.importorskip("sklearn")
    small = [("model.name", "perceptron"), ("model.depth", "1"), ("augment.num_ops", "0")]
    first = configs.load(
        "mpl/supervised:digits,smoke", [*small, ("data.write_predictions", "true")]
    )
    experiment = mpl_images.build(first)
    done = train(experiment, first, tmp_path / "teacher", devices=ONE)
    experiment.finish(done.states[0], tmp_path / "teacher")
    path = tmp_path / "teacher" / "predictions.npy"
    chosen = [("data.predictions", str(path)), ("data.top_per_class", "5")]
    second = configs.load("mpl/uda:digits,smoke", [*small, *chosen])
    data = mpl_images.build(second).phases[0].data
    assert 5 <= len(data["unlabelled"]) <= 50
    whole = mpl_images.build(first).phases[0].data["unlabelled"]
    rows = splits.top_of_each_class(np.load(path), 5)
    np.testing.assert_array_equal(data["unlabelled"], np.asarray(whole)[rows])
    strict = configs.load("mpl/uda:digits,smoke", [*small, *chosen, ("data.confidence", "1.0")])
    with pytest.raises(ConfigError, match=r"data\.confidence"):
        mpl_images.build(strict)


def test_a_file_of_predictions_stands_for_the_teacher(tmp_path):
    pytest.importorskip("sklearn")
    small = [("model.name", "perceptron"), ("model.depth", "1"), ("augment.num_ops", "0")]
    small += [("data.labelled", "1500"), ("data.reserved", "0"), ("steps", "30")]
    pool = RNG.integers(0, 256, (40, 8, 8, 1)).astype(np.uint8)
    np.save(tmp_path / "pool.npy", pool)
    given = RNG.dirichlet(np.ones(10), 40)
    np.save(tmp_path / "p.npy", given)
    files = [
        ("data.pool", str(tmp_path / "pool.npy")),
        ("data.predictions", str(tmp_path / "p.npy")),
    ]
    files += [("data.top_per_class", "2"), ("stages.teacher", "0")]
    config = configs.load("mpl/reduced:digits,smoke", [*small, *files])
    experiment = mpl_images.build(config)
    assert [phase.name for phase in experiment.phases] == ["reduced", "finetune"]
    rows = splits.top_of_each_class(given, 2)
    np.testing.assert_array_equal(experiment.phases[0].data["unlabelled"], pool[rows])
    entered = experiment.phases[0].enter(jax.jit(experiment.init)(jax.random.key(0)))
    np.testing.assert_allclose(entered.targets, given[rows], rtol=1e-6)
    done = train(experiment, config, tmp_path / "run", devices=ONE)
    np.testing.assert_allclose(done.states[0].targets, given[rows], rtol=1e-6)
    assert len(done.states[0].stages) == 2  # no large teacher among them


def test_files_that_are_no_array_are_named(tmp_path):
    (tmp_path / "empty.npy").touch()
    np.savez(tmp_path / "two.npz", a=np.zeros(3), b=np.zeros(2))
    arrays = {"train_images": np.zeros((1, 8, 8, 1), np.uint8)}
    for name in ("empty.npy", "two.npz"):
        with pytest.raises(ConfigError, match=r"data\.pool: expected a \.npy file"):
            mpl_predictions.pool_of(str(tmp_path / name), arrays)
        with pytest.raises(ConfigError, match=r"data\.predictions"):
            mpl_predictions.read(config(tmp_path / name), (5, 3))


def test_predictions_that_nothing_reads_are_refused():
    pytest.importorskip("sklearn")
    with pytest.raises(ConfigError, match=r"data\.predictions: expected empty without"):
        mpl_images.build(configs.load("mpl/reduced:digits,smoke", [("data.predictions", "p.npy")]))


@pytest.mark.parametrize(
    ("key", "value"), [("data.pool", "no.npy"), ("data.pool", "extra"), ("data.extra", "true")]
)
def test_a_pool_that_is_not_there_is_named(key, value):
    pytest.importorskip("sklearn")
    with pytest.raises(ConfigError, match=key):
        mpl_images.build(configs.load("mpl/uda:digits,smoke", [(key, value)]))


def test_a_pool_of_other_shapes_is_named(tmp_path):
    path = tmp_path / "pool.npy"
    np.save(path, np.zeros((4, 9, 9, 1), np.uint8))
    with pytest.raises(ConfigError, match=r"uint8 \[N, 8, 8, 1\], got .*\[4, 9, 9, 1\]"):
        mpl_predictions.pool_of(str(path), {"train_images": np.zeros((1, 8, 8, 1), np.uint8)})


def test_a_pool_with_test_images_is_refused(tmp_path):
    path, images = tmp_path / "pool.npy", RNG.integers(0, 256, (9, 4, 4, 1)).astype(np.uint8)
    np.save(path, images[:5])
    arrays = {"train_images": images, "test_images": images[5:]}
    assert len(mpl_predictions.pool_of(str(path), arrays)[0]) == 5
    arrays["test_images"] = images[3:]
    with pytest.raises(ConfigError, match=r"no image of the test set, got '?2 of them"):
        mpl_predictions.pool_of(str(path), arrays)


@pytest.mark.parametrize(("dataset", "reserved"), [("svhn", 7300), ("cifar10", 4000)])
def test_efficientnet_b0_has_table_5_11s_numbers(dataset, reserved):
    config = configs.load(f"mpl/efficientnet_b0:{dataset}_reduced,paper")
    total = {"svhn": 73_257, "cifar10": 50_000}[dataset]
    assert config.data.labelled + config.data.reserved == total
    assert (config.data.reserved, config.stages.teacher) == (reserved, 0)
    assert config.data.top_per_class == {"svhn": 35_000, "cifar10": 50_000}[dataset]
    assert (config.model.name, config.model.reduced) == ("efficientnet-b0", 128)
