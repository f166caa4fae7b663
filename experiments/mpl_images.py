"""Glue of semi-supervised image classification: builds an `Experiment` from `configs/mpl/`.

Methods: supervised, mixup, pseudo_labels, noisy_student, uda, fixmatch, mpl, reduced (Pham 2021,
ch. 5). Batches are drawn and augmented inside the compiled step, from images that stay on the
device as bytes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from ml_collections import ConfigDict

from experiments import data, mpl_splits, mpl_stages
from experiments.config import ConfigError, check_bool, check_choice, check_float, check_int
from experiments.experiment import Experiment
from experiments.markdown_tables import markdown
from experiments.mpl_learners import (
    NETWORKS,
    learned,
    make_stages,
    network,
    predictor,
    relabelled,
    scaled,
)
from experiments.mpl_splits import Split
from experiments.mpl_stages import Stage, State
from experiments.results_table import mean_interval
from experiments.workdir import replace_text
from mpl import augment, meta

PyTree = Any
METHODS = (
    "supervised",
    "mixup",
    "pseudo_labels",
    "noisy_student",
    "uda",
    "fixmatch",
    "mpl",
    "reduced",
)
DATASETS = ("digits", "fashion_mnist", "cifar10", "svhn")
TEACHERS = ("none", "supervised", "mixup", "pseudo_labels", "uda")
# Accuracy of the methods on CIFAR-10 with 4,000 labels: tables 5.2 and 5.10 of Pham 2021.
PRINTED = {
    "supervised": 85.53,  # with RandAugment
    "mixup": 84.20,
    "pseudo_labels": 83.79,
    "uda": 94.53,
    "fixmatch": 95.74,  # quoted there
    "mpl_uda": 96.11,
    "supervised-full": 94.92,
}


def build(config: ConfigDict) -> Experiment:
    """Checks the config, splits the data and makes the experiment.

    Raises:
        ConfigError: names the key.
        MissingDataset: the images are not on this machine.
    """
    check(config)
    arrays = data.load(config.data.name)
    top = mpl_splits.top_value(config.data.name)
    arrays |= {
        f"{part}_images": mpl_splits.as_bytes(arrays[f"{part}_images"], top)
        for part in ("train", "test")
    }
    keys = ("labelled", "reserved", "same", "all_labels")
    found = mpl_splits.split(arrays, **{key: config.data[key] for key in keys})
    stages = make_stages(
        config,
        found,
        batches(config, found),
        batches(config, found, size=config.finetune.batch_size),
        lambda teacher: functools.partial(relabelled, predictor(teacher), found.unlabelled),
    )
    resident = {
        "labelled": jnp.asarray(found.labelled),
        "labels": jnp.asarray(found.labels, jnp.int32),
        "unlabelled": jnp.asarray(found.unlabelled),
    }
    predict = predictor(network(config, found, 0.0))
    size = (len(found.unlabelled), found.classes)

    def evaluate(state: State, step: int) -> dict[str, float]:
        index = mpl_stages.active(stages, step)
        params, stats = learned(state.stages[index])
        count = config.eval.images or len(found.test)
        hit = np.argmax(predict(params, stats, found.test[:count]), -1) == found.test_labels[:count]
        return {"accuracy": float(np.mean(hit))}

    return Experiment(
        init=functools.partial(mpl_stages.init, stages, size),
        phases=mpl_stages.phases(stages, resident),
        cycle=False,
        evaluate=evaluate,
        headline=("accuracy", "max"),
        finish=functools.partial(_finish, config, stages, predict, found),
    )


def check(config: ConfigDict) -> None:
    """Checks all fields of the config."""
    check_choice(config, "method", METHODS)
    check_choice(config, "data.name", DATASETS)
    check_int(config, "data.labelled", low=1)
    check_int(config, "data.reserved", low=0)
    for key in ("data.same", "data.all_labels", "augment.flip"):
        check_bool(config, key)
    check_choice(config, "augment.operations", ("cifar", "svhn"))
    check_choice(config, "augment.labelled", ("none", "weak", "strong"))
    check_int(config, "augment.pad", low=0, high=16)
    check_int(config, "augment.num_ops", low=0, high=10)
    check_int(config, "batch_size", low=1)
    check_int(config, "unlabelled_batch_size", low=0)
    check_choice(config, "model.name", NETWORKS)
    for key in ("depth", "width", "base", "reduced"):
        check_int(config, f"model.{key}", low=1, high=4096)
    check_float(config, "model.decay", low=0.0, high=1.0)
    check_choice(config, "model.dtype", ("float32", "bfloat16"))
    check_choice(config, "optimizer.name", ("nesterov", "rmsprop"))
    check_float(config, "optimizer.decay_rate", positive=True)
    check_int(config, "optimizer.decay_steps", low=1)
    check_float(config, "weight_decay", low=0.0)
    check_float(config, "smoothing", low=0.0, high=1.0)
    check_int(config, "warmup", low=0)
    for side in ("student", "teacher"):
        check_float(config, f"{side}.learning_rate", positive=True)
        check_float(config, f"{side}.dropout", low=0.0, high=0.99)
    check_float(config, "uda.factor", low=0.0)
    check_float(config, "uda.temperature", positive=True)
    check_float(config, "uda.threshold", low=0.0, high=1.0)
    check_choice(config, "uda.annealing", ("none", "linear", "log", "exp"))
    check_int(config, "uda.warmup", low=0)
    check_float(config, "fixmatch.threshold", low=0.0, high=1.0)
    check_float(config, "fixmatch.factor", low=0.0)
    check_float(config, "fixmatch.average_decay", low=0.0, high=1.0)
    check_float(config, "pseudo.threshold", low=0.0, high=1.0)
    check_choice(config, "meta.teacher", TEACHERS)
    check_choice(config, "meta.feedback", meta.FEEDBACKS)
    check_choice(config, "meta.along", ("gradient", "update"))
    check_float(config, "meta.baseline_decay", low=0.0, high=1.0)
    check_choice(config, "meta.view", ("weak", "strong"))
    check_int(config, "stages.teacher", low=0)
    check_int(config, "stages.finetune", low=0)
    two = config.method in ("pseudo_labels", "noisy_student", "reduced")
    two = two or (config.method, config.meta.teacher) == ("mpl", "pseudo_labels")
    if two != (config.stages.teacher > 0):
        wanted = "steps of the teacher" if two else f"0 with method {config.method}"
        raise ConfigError("stages.teacher", wanted, config.stages.teacher)
    if config.stages.finetune and config.method not in ("mpl", "reduced", "noisy_student"):
        raise ConfigError(
            "stages.finetune", f"0 with method {config.method}", config.stages.finetune
        )
    rest = config.steps - config.stages.teacher - config.stages.finetune
    if rest <= config.warmup or 0 < config.stages.teacher <= config.warmup:
        raise ConfigError("steps", "each stage longer than warmup", config.steps)
    check_int(config, "finetune.batch_size", low=1)
    check_choice(config, "finetune.optimizer", ("sgd", "lars"))
    check_float(config, "finetune.learning_rate", positive=True)
    check_int(config, "eval.images", low=0)


def batches(config: ConfigDict, found: Split, size: int | None = None) -> Callable[..., PyTree]:
    """`(data, key, step) -> batch`, traced; what no learner reads is never computed."""
    batch_size, classes = size or config.batch_size, found.classes
    others = config.unlabelled_batch_size or batch_size
    names = {"cifar": augment.CIFAR, "svhn": augment.SVHN}[config.augment.operations]
    shift = functools.partial(augment.weak, pad=config.augment.pad, flip=config.augment.flip)
    strongly = functools.partial(
        augment.rand_augment, operations=names, num_ops=config.augment.num_ops
    )

    def batch(data: dict[str, Array], key: Array, step: Array) -> dict[str, Array]:
        del step
        keys = jax.random.split(key, 8)
        picked = jax.random.randint(keys[0], (batch_size,), 0, len(data["labelled"]))
        rows = jax.random.randint(keys[1], (others,), 0, len(data["unlabelled"]))
        images, labels = data["labelled"][picked], data["labels"][picked]
        if config.augment.labelled != "none":
            images = shift(keys[2], images)
        if config.augment.labelled == "strong":
            images = strongly(keys[3], images)
        inputs = scaled(images)
        if "mixup" in (config.method, config.meta.teacher):
            inputs, labels = augment.mixup(keys[4], inputs, jax.nn.one_hot(labels, classes))
        bare = data["unlabelled"][rows]
        return {
            "labelled": inputs,
            "labels": labels,
            "weak": scaled(shift(keys[5], bare)),
            "strong": scaled(strongly(keys[7], shift(keys[6], bare))),
            "rows": rows,
        }

    return batch


def row_name(config: ConfigDict) -> str:
    """What a run's result is called: its method, after the data set if that is not the digits."""
    name = config.method
    if name == "mpl" and config.meta.teacher != "none":
        name = f"mpl_{config.meta.teacher}"
    if config.data.all_labels:
        name += "-full"
    if config.data.same:
        name += "-same"
    return name if config.data.name == "digits" else f"{config.data.name}-{name}"


def _finish(
    config: ConfigDict,
    stages: tuple[Stage, ...],
    predict: Callable[..., np.ndarray],
    found: Split,
    state: State,
    workdir: Path,
) -> list[dict[str, Any]]:
    """Accuracy on all test images, of each stage's end."""
    name = row_name(config)
    known = PRINTED.get(name) if config.data.name == "digits" else None
    source = "Pham 2021, tables 5.2 and 5.10: CIFAR-10, 4,000 labels" if known else ""

    def accuracy(side: tuple[PyTree, PyTree]) -> float:
        hit = np.argmax(predict(*side, found.test), axis=-1) == found.test_labels
        return 100.0 * float(np.mean(hit))

    rows: list[dict[str, Any]] = []
    for place, (stage, inner) in enumerate(zip(stages, state.stages, strict=True)):
        last = place == len(stages) - 1
        suffix = "" if last else f"-{stage.name}"
        row = {"name": f"{name}{suffix}", "metric": "accuracy", "value": accuracy(learned(inner))}
        rows.append(row | ({"reference": known, "source": source} if last else {}))
        if isinstance(inner, meta.State) and config.method == "mpl":
            value = accuracy((inner.teacher.params, inner.teacher.stats))
            rows.append({"name": f"{name}-its_teacher", "metric": "accuracy", "value": value})
    rows = [{**row, **mean_interval([row["value"]])._asdict(), "unit": "seed"} for row in rows]
    replace_text(Path(workdir) / "table.md", markdown(rows, columns=("name", "value")) + "\n")
    return rows
