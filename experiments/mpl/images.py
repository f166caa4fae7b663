"""Glue of semi-supervised image classification: builds an `Experiment` from `configs/mpl/`.

Methods: `experiments.mpl.config.METHODS` (Pham 2021, ch. 5). Batches are drawn and augmented inside
the compiled step, from images that stay on the device as bytes.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8
from ml_collections import ConfigDict

from experiments import data
from experiments.mpl import learners, outcome, predictions
from experiments.mpl.tables import PRINTED
from experiments.runner.checks import ConfigError, check_bool, check_choice, check_int
from experiments.runner.experiment import Experiment
from mpl import augment, views
from mpl.models.network import predictor
from mpl.splits import Split, split
from mpl.stages import State

PyTree = Any
DATASETS = ("digits", "fashion_mnist", "cifar10", "svhn")


def build(config: ConfigDict) -> Experiment:
    """Checks the config, splits the data and makes the experiment.

    Raises:
        ConfigError: names the key.
        MissingDataset: the images are not on this machine.
    """
    check(config)
    whole = load(config)
    found, targets = predictions.chosen(config, whole, _reads_targets(config))
    shape = learners.Images(found.shape, found.classes)
    stages = learners.make_stages(
        config,
        shape,
        batches(config, found.classes),
        batches(config, found.classes, tuning=True),
        lambda teacher: functools.partial(
            learners.relabelled, predictor(teacher, augment.scaled), found.unlabelled
        ),
    )
    if targets is not None:
        stages = (stages[0]._replace(enter=functools.partial(_with, targets)), *stages[1:])
    resident = {
        "labelled": jnp.asarray(found.labelled),
        "labels": jnp.asarray(found.labels, jnp.int32),
        "unlabelled": jnp.asarray(found.unlabelled),
    }
    predict = predictor(learners.network(config, shape, 0.0), augment.scaled)

    def accuracies(side: outcome.Side, every: bool) -> dict[str, float]:
        count = len(found.test) if every else config.eval.images or len(found.test)
        hit = np.argmax(predict(*side, found.test[:count]), -1) == found.test_labels[:count]
        return {"accuracy": float(np.mean(hit))}

    def pool(side: outcome.Side) -> tuple[list[np.ndarray], tuple[int, int]]:
        return [predict(*side, whole.unlabelled)], (len(whole.unlabelled), found.classes)

    size = (len(found.unlabelled), found.classes)
    return outcome.experiment(
        config,
        row_name(config),
        shape,
        stages,
        outcome.Judge(accuracies, pool),
        printed=_printed(config),
        data=resident,
        targets=lambda key: jnp.zeros(size),
    )


def load(config: ConfigDict) -> Split:
    """The images of a config, split.

    Raises:
        ConfigError: fewer images than `data.labelled` and `data.reserved`, or a pool of no use.
    """
    given = config.data
    extra = given.extra or given.pool == "extra"
    options: dict[str, Any] = {"extra": True} if extra else {}
    arrays = data.load(given.name, **options)
    top = top_value(given.name)
    for part in ("train_images", "test_images"):
        arrays[part] = as_bytes(arrays[part], top)
    keys = ("labelled", "reserved", "same", "all_labels")
    pool = predictions.pool_of(given.pool, arrays)
    try:
        return split(arrays, **{key: given[key] for key in keys}, pool=pool)
    except ValueError as error:
        there = f"fewer, of {len(arrays['train_images'])} images"
        raise ConfigError("data.labelled", there, given.labelled) from error


def as_bytes(images: np.ndarray, top: int) -> UInt8[np.ndarray, ...]:
    """Images whose largest value is `top`, in 0 to 255."""
    if top == 255:
        return images
    return np.rint(images.astype(np.float32) * (255.0 / top)).astype(np.uint8)


def top_value(name: str) -> int:
    """The largest value of a data set's pixels: scikit-learn's digits have 16."""
    return 16 if name == "digits" else 255


def check(config: ConfigDict) -> None:
    """Checks all fields of the config."""
    learners.check(config)
    check_choice(config, "data.name", DATASETS)
    check_int(config, "data.labelled", low=1)
    check_int(config, "data.reserved", low=0)
    for key in ("data.same", "data.all_labels", "data.extra"):
        check_bool(config, key)
    pool = learners.check_str(config, "data.pool")
    if config.data.name != "svhn" and (config.data.extra or pool == "extra"):
        key = "data.extra" if config.data.extra else "data.pool"
        raise ConfigError(key, "no extra images but for svhn", config.data[key.split(".")[1]])
    if pool and (config.data.extra or config.data.same):
        raise ConfigError("data.pool", "empty with data.extra or data.same", pool)
    from_file = _reads_targets(config)
    learners.check_stages(config, learners.has_fixed_teacher(config) and not from_file)
    if config.data.predictions and not (config.data.top_per_class or from_file):
        raise ConfigError(
            "data.predictions",
            "empty without data.top_per_class, or stages.teacher=0 in mpl/reduced or noisy_student",
            config.data.predictions,
        )


def _reads_targets(config: ConfigDict) -> bool:
    """Whether a teacher's distributions come from a file, so that no teacher takes memory."""
    of_fixed = config.method in ("noisy_student", "reduced")
    return of_fixed and config.data.predictions != "" and config.stages.teacher == 0


def _with(targets: np.ndarray, state: State) -> State:
    return dataclasses.replace(state, targets=jnp.asarray(targets))


def batches(config: ConfigDict, classes: int, *, tuning: bool = False) -> Callable[..., PyTree]:
    """`(data, key, step) -> batch`, traced, by `mpl.views.drawn`."""
    batch_size = config.finetune.batch_size if tuning else config.batch_size
    mixing = config.method == "mixup"
    mixing |= learners.proposes(config, "mixup") and not tuning
    options = {
        "labelled": batch_size,
        "unlabelled": config.unlabelled_batch_size or batch_size,
        "strongly": learners.rand_augment(config),
        "pad": config.augment.pad,
        "flip": config.augment.flip,
        "kind": config.augment.labelled,
        "mixed": classes if mixing else None,
    }
    return lambda data, key, step: views.drawn(data, key, **options)


def row_name(config: ConfigDict) -> str:
    """What a run's result is called: its method, after the data set if that is not the digits."""
    name = learners.method_name(config)
    if config.data.all_labels:
        name += "-full"
    if config.data.same:
        name += "-same"
    return name if config.data.name == "digits" else f"{config.data.name}-{name}"


def _printed(config: ConfigDict) -> dict[str, tuple[float | None, str]]:
    """The thesis's accuracy on CIFAR-10 with 4,000 labels, of tables 5.2 and 5.10."""
    cells = {**PRINTED["teachers"], **PRINTED["ssl"]}
    known = cells.get(row_name(config).replace("-full", "_full"))
    return {"accuracy": (known.value, known.source)} if known else {}
