"""Photographs through the runner: shards, host batches, every method, and paper scale by shapes."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import run
from experiments.data import images, registry
from experiments.mpl import learners
from experiments.mpl import photographs as glue
from experiments.runner import config as configs
from experiments.runner.checks import ConfigError
from experiments.runner.loop import train
from experiments.runner.programs import Programs
from mpl import splits
from mpl.models import network as networks
from parallel.data_parallel import make_mesh
from tests.experiments.data.test_images import write_cifar
from tests.experiments.runner.short_runs import ONE, same_states, stop_after

pytest.importorskip("PIL")

CLASSES, EACH, TEST = 4, 12, 3
SMALL = {
    "data.side": "8",
    "data.classes": str(CLASSES),
    "data.shards": "12",
    "data.labelled_shards": "3",
    "model.name": "perceptron",
    "model.depth": "1",
    "model.width": "8",
    "augment.operations": "svhn",
    "augment.num_ops": "0",  # RandAugment takes longest to compile: where it is looked at
    "batch_size": "4",
    "eval.images": "8",
}


def colour(label, place):
    return (60 * label, 20 * place, 255 - 60 * label)


@pytest.fixture
def imagenet(tmp_path, monkeypatch):
    """A small ImageNet in class folders, as users have it."""
    from PIL import Image

    for split, count in (("train", EACH), ("val", TEST)):
        for label in range(CLASSES):
            folder = tmp_path / "data" / "imagenet" / split / f"n{label:02}"
            folder.mkdir(parents=True)
            for place in range(count):
                size = (16 + place, 14 + label)
                Image.new("RGB", size, colour(label, place)).save(folder / f"{place:02}.png")
    monkeypatch.setenv("NCOLAB_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def small(name="imagenet:mpl", **overrides):
    pairs = SMALL | {key.replace("__", "."): str(value) for key, value in overrides.items()}
    return configs.load(f"mpl/{name},smoke", list(pairs.items()))


def predictions(path, count):
    probabilities = np.random.default_rng(0).dirichlet(np.ones(CLASSES), count)
    np.save(path, probabilities.astype(np.float16))
    return {"data__predictions": path}


LEFT = CLASSES * EACH * 9 // 12  # what is unlabelled with 3 of 12 shards labelled


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("imagenet:supervised", [""]),
        ("imagenet:pseudo_labels", ["-teacher", ""]),
        ("imagenet:fixmatch", [""]),
        ("imagenet:mpl", ["-mpl", "-its_teacher", ""]),
        ("efficientnet_yfcc:reduced", ["-reduced", ""]),
        ("efficientnet_yfcc:noisy_student", ["-train", ""]),
    ],
)
def test_methods_train_and_report_the_student_before_and_after(imagenet, tmp_path, name, rows):
    extra = predictions(tmp_path / "p.npy", LEFT) if "yfcc" in name else {}
    extra |= {"augment__num_ops": int(name == "imagenet:mpl")}
    config = small(name, unlabelled_batch_size=6, **extra)
    experiment = glue.build(config)
    done = train(experiment, config, tmp_path / "run", devices=ONE)
    found = experiment.finish(done.states[0], tmp_path / "run")
    start = glue.row_name(config)
    wanted = [(start + row, metric) for row in rows for metric in ("accuracy", "top5")]
    assert [(row["name"], row["metric"]) for row in found] == wanted
    values = {row["metric"]: row["value"] for row in found[-2:]}
    assert 0 <= values["accuracy"] <= values["top5"] == 100.0  # of four classes
    evaluated = experiment.evaluate(done.states[0], config.steps)
    assert set(evaluated) == {"accuracy", "top5"}


def test_a_stopped_run_ends_the_same(imagenet, tmp_path):
    config = small()
    whole = train(glue.build(config), config, tmp_path / "whole", devices=ONE)
    parts = tmp_path / "parts"
    stopped = train(glue.build(config), config, parts, devices=ONE, stop=stop_after(13))
    assert stopped.stopped
    rest = train(glue.build(config), config, parts, devices=ONE)
    assert same_states(whole.states[0], rest.states[0])


def test_labelled_images_are_the_first_shards_and_epochs_hold_each_once(imagenet):
    config = small("imagenet:uda", unlabelled_batch_size=9)
    source = glue.open_sources(config)
    assert (len(source.labelled), len(source.pool), len(source.test)) == (12, LEFT, 12)
    order = splits.fixed_order(CLASSES * EACH)
    assert [item["label"] for item in source.labelled] == [row // EACH for row in order[:12]]
    seen = {tuple(item["image"][0, 0]) for part in (source.labelled, source.pool) for item in part}
    assert len(seen) == CLASSES * EACH  # none twice, none left out
    batch = glue.build(config).phases[0].batch
    epoch = [batch(0, step) for step in range(3)]
    labelled = {tuple(image[0, 0]) for each in epoch for image in each["labelled"]}
    assert labelled == {tuple(item["image"][0, 0]) for item in source.labelled}
    labels = {tuple(i["image"][0, 0]): i["label"] for i in source.labelled}
    for each in epoch:
        assert [labels[tuple(image[0, 0])] for image in each["labelled"]] == each["labels"].tolist()
    unlabelled = {tuple(image[0, 0]) for each in epoch for image in each["unlabelled"]}
    assert len(unlabelled) == 27
    assert not unlabelled & labelled
    like = glue.build(config).phases[0].like
    for name, struct in like.items():
        assert (epoch[0][name].shape, epoch[0][name].dtype) == (struct.shape, struct.dtype)


def test_processes_share_a_batch(imagenet, monkeypatch):
    config = small("imagenet:uda", unlabelled_batch_size=8)
    whole = glue.build(config).phases[0].batch(3, 5)
    parts = []
    for index in range(2):
        monkeypatch.setattr(jax, "process_index", lambda index=index: index)
        monkeypatch.setattr(jax, "process_count", lambda: 2)
        parts.append(glue.build(config).phases[0].batch(3, 5))
    for name, leaf in whole.items():
        np.testing.assert_array_equal(leaf, np.concatenate([part[name] for part in parts]))


def test_reserved_shards_are_left_out_and_all_labelled_ones_serve_twice(imagenet):
    source = glue.open_sources(small("imagenet:uda", data__reserved_shards=2))
    assert (len(source.labelled), len(source.pool)) == (12, 28)
    full = small("imagenet:uda", data__labelled_shards=12)
    source = glue.open_sources(full)
    assert (len(source.labelled), len(source.pool)) == (48, 48)
    batch = glue.build(full).phases[0].batch(0, 0)
    assert not np.array_equal(batch["labelled"], batch["unlabelled"])
    assert glue.row_name(full) == "imagenet-100-uda"


def test_a_folders_images_are_chosen_by_predictions(imagenet, tmp_path):
    from PIL import Image

    folder = tmp_path / "jft"
    folder.mkdir()
    for place in range(40):
        Image.new("RGB", (9, 9), (place, 0, 0)).save(folder / f"{place:02}.png")
    given = predictions(tmp_path / "p.npy", 40) | {"data__unlabelled": folder}
    config = small("efficientnet_yfcc:reduced", data__top_per_class=5, **given)
    source = glue.open_sources(config)
    rows = splits.top_of_each_class(source.predictions, 5)
    np.testing.assert_array_equal(source.rows, rows)
    batch = glue.build(config).phases[0].batch(0, 1)
    shown = batch["unlabelled"][:, 0, 0, 0]
    assert set(shown) <= set(rows.tolist())
    np.testing.assert_array_equal(batch["targets"], source.predictions[shown])


def test_a_run_writes_predictions_that_another_reads(imagenet, tmp_path):
    first = small("efficientnet_yfcc:supervised")
    experiment = glue.build(first)
    done = train(experiment, first, tmp_path / "run", devices=ONE)
    experiment.finish(done.states[0], tmp_path / "run")
    path = tmp_path / "run" / "predictions.npy"
    assert np.load(path).shape == (LEFT, CLASSES)
    second = small("efficientnet_yfcc:reduced", data__predictions=path)
    assert glue.build(second).phases[0].batch(0, 0)["targets"].shape == (4, CLASSES)


def test_the_fixed_teacher_labels_what_the_student_sees(imagenet):
    config = small("imagenet:pseudo_labels")
    experiment = glue.build(config)
    state = jax.jit(experiment.init)(jax.random.key(0))
    batch = jax.tree.map(jnp.asarray, experiment.phases[1].batch(0, 12))
    assert set(experiment.phases[0].like) == {"labelled", "labels"}
    after, metrics = jax.jit(experiment.phases[1].update)(state, batch)
    assert int(after.step) == 1
    assert np.isfinite(metrics["pseudo_loss"])
    same = jax.tree.map(np.array_equal, state.stages[0].params, after.stages[0].params)
    assert jax.tree.all(same)


def test_mocked_tensorflow_datasets_in_shards(tmp_path, monkeypatch):
    import tensorflow_datasets as tfds

    with tfds.testing.mock_data(num_examples=24):
        loaded = images.load_imagenet(tmp_path)
        monkeypatch.setattr(glue.data, "load", lambda name: loaded)
        config = small("imagenet:mpl", data__classes=1000)
        source = glue.open_sources(config)
        first = splits.in_shards(24, 0, 3, shards=12)
        labels = [int(loaded["train"][index]["label"]) for index in first]
        assert [item["label"] for item in source.labelled] == labels
        assert (len(source.labelled), len(source.pool)) == (6, 18)
        batch = glue.build(config).phases[0].batch(0, 0)
    assert batch["labelled"].shape == (4, 8, 8, 3)
    assert set(batch["labels"].tolist()) <= set(labels)


@pytest.mark.parametrize("where", ["generated", "CIFAR10_PART"])
def test_shards_of_cifar10s_records(where, tmp_path):
    """CIFAR10_PART: a folder with official binary files of any length."""
    folder = os.environ.get(where, "")
    if where == "generated":
        folder, generator = tmp_path, np.random.default_rng(0)
        for name in (*images.CIFAR_TRAIN, images.CIFAR_TEST):
            pixels = generator.integers(0, 256, (21, 32, 32, 3), np.uint8)
            write_cifar(folder / name, pixels, generator.integers(0, 10, 21))
    elif not folder:
        pytest.skip("CIFAR10_PART names no folder")
    loaded = images.load_cifar10(type(tmp_path)(folder))
    count = len(loaded["train_labels"])
    parts = [splits.in_shards(count, shard, 1) for shard in range(1024)]
    assert [row for part in parts for row in part] == list(range(count))
    sizes = {len(part) for part in parts}
    assert max(sizes) - min(sizes) <= 1
    tenth = splits.in_shards(count, 0, 102)
    found = splits.split(loaded, labelled=len(tenth))
    np.testing.assert_array_equal(found.labelled, loaded["train_images"][list(tenth)])
    assert len(found.unlabelled) == count - len(tenth)


def test_what_is_missing_is_named(imagenet, tmp_path):
    with pytest.raises(ConfigError, match=r"data\.unlabelled: expected a folder with images"):
        glue.open_sources(small("efficientnet_yfcc:reduced", data__unlabelled=tmp_path / "no"))
    with pytest.raises(ConfigError, match=r"data\.predictions: expected a file"):
        glue.open_sources(small("efficientnet_yfcc:reduced"))
    with pytest.raises(ConfigError, match=r"data\.predictions: expected a file"):
        glue.open_sources(small("imagenet:pseudo_labels", stages__teacher=0))
    with pytest.raises(ConfigError, match="batch_size: expected an integer from 0 to 12, got 13"):
        glue.open_sources(small("imagenet:supervised", batch_size=13))
    with pytest.raises(ConfigError, match="unlabelled_batch_size: expected an integer from 0 to"):
        glue.open_sources(small("imagenet:uda", unlabelled_batch_size=37))


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("imagenet:mpl", "method", "mixup"),
        ("imagenet:mpl", "data.labelled_shards", 13),
        ("imagenet:mpl", "data.reserved_shards", 10),
        ("imagenet:mpl", "unlabelled_batch_size", -1),
        ("imagenet:uda", "stages.teacher", 5),
        ("efficientnet_yfcc:reduced", "stages.teacher", 5),
        ("imagenet:mpl", "optimizer.name", "adam"),
        ("imagenet:mpl", "finetune.optimizer", "adam"),
        ("imagenet:mpl", "data.repeat", "true"),
    ],
)
def test_bad_settings_name_their_key(name, key, value):
    with pytest.raises(ConfigError, match=key.replace(".", r"\.")):
        glue.build(small(name, **{key: value}))


def test_a_run_without_imagenet_says_so_and_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("NCOLAB_DATA", str(tmp_path / "data"))
    assert run.main(["--config=mpl/imagenet:mpl,smoke", f"--workdir={tmp_path / 'run'}"]) == 2
    assert "experiments.data fetch imagenet" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(registry.MissingDataset):
        glue.build(small()).phases[0].batch(0, 0)


def test_paper_configs_have_the_thesis_numbers():
    ten = configs.load("mpl/imagenet:mpl,paper")
    assert (ten.student.learning_rate, ten.teacher.learning_rate) == (0.8, 0.5)
    assert (ten.uda.factor, ten.uda.temperature, ten.batch_size) == (16.0, 0.75, 2048)
    assert (ten.steps, ten.stages.finetune, ten.finetune.learning_rate) == (502_000, 2000, 1e-5)
    uda = configs.load("mpl/imagenet:uda,paper")
    assert (uda.uda.factor, uda.student.dropout, uda.steps) == (20.0, 0.25, 500_000)
    plain = configs.load("mpl/imagenet:pseudo_labels,paper")
    assert (plain.pseudo.threshold, plain.steps, plain.warmup) == (0.7, 80_000, 2000)
    jft = configs.load("mpl/imagenet_jft:resnet50,paper")
    assert (jft.batch_size, jft.unlabelled_batch_size) == (4096, 32_768)
    assert (jft.steps, jft.stages.finetune, jft.finetune.learning_rate) == (510_000, 10_000, 1e-4)
    assert (jft.optimizer.name, jft.fixmatch.average_decay > 0) == ("nesterov", True)
    large = configs.load("mpl/efficientnet_jft:l2,paper")
    assert (large.batch_size, large.unlabelled_batch_size, large.data.side) == (2048, 16_384, 512)
    assert (large.steps, large.optimizer.name) == (1_020_000, "rmsprop")
    tuning = large.finetune
    assert (tuning.optimizer, tuning.learning_rate, tuning.batch_size) == ("lars", 0.001, 4096)
    reduced = configs.load("mpl/efficientnet_yfcc:reduced,paper")
    assert (reduced.model.reduced, reduced.data.top_per_class) == (512, 12_800)
    assert reduced.data.reserved_shards == 40


def test_paper_scale_needs_no_images(capsys, monkeypatch, tmp_path):
    """Shapes of ResNet-50's batches and parameters; the dry run, of a small network."""
    monkeypatch.setenv("NCOLAB_DATA", str(tmp_path))
    config = configs.load("mpl/imagenet_jft:resnet50,paper")
    main = glue.build(config).phases[0]
    assert (main.name, main.steps) == ("mpl", 500_000)
    assert main.like["unlabelled"].shape == (32_768, 224, 224, 3)
    found = glue.Images((224, 224, 3), config.data.classes)
    assert networks.count(learners.network(config, found, 0.0)) == 25_557_032
    words = [f"--config.{key}={value}" for key, value in SMALL.items()]
    assert run.main(["--config=mpl/imagenet_jft:resnet50,smoke", "--dry_run", *words]) == 0
    text = capsys.readouterr().out
    assert "parameters in stages.0.student" in text
    assert "uint8[16, 8, 8, 3]" in text
    assert "mpl: 20 steps" in text
    assert "FLOPs a step" in text
    assert "bytes at once" in text


@pytest.mark.slow  # 15 s to trace
def test_dry_run_needs_no_images(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("NCOLAB_DATA", str(tmp_path))
    assert run.main(["--config=mpl/imagenet_jft:resnet50,paper", "--dry_run"]) == 0
    text = capsys.readouterr().out
    assert "25,557,032 parameters in stages.0.student" in text
    assert "uint8[32768, 224, 224, 3]" in text
    assert "mpl: 500,000 steps" in text
    assert "FLOPs a step" in text
    assert "bytes at once" in text


@pytest.mark.slow  # 15 s to trace
def test_a_step_of_efficientnet_l2_fits_together():
    """Shapes alone, of 2,048 labelled and 16,384 unlabelled images of 512 pixels."""
    config = configs.load("mpl/efficientnet_jft:l2,paper")
    programs = Programs(glue.build(config), make_mesh(ONE), 1, "map")
    programs.check(0)
    batch = programs.abstract_batch(0, 0)
    assert batch["unlabelled"].shape == (16_384, 512, 512, 3)
    teacher = programs.abstract_state().stages[0].teacher
    assert sum(leaf.size for leaf in jax.tree.leaves(teacher.params)) == 480_309_308
