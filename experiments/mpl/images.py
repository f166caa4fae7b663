"""Glue of semi-supervised image classification: builds an `Experiment` from `configs/mpl/`.

Methods: supervised, mixup, pseudo_labels, noisy_student, uda, fixmatch, mpl, reduced (Pham 2021,
ch. 5). Batches are drawn and augmented inside the compiled step, from images that stay on the
device as bytes.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from ml_collections import ConfigDict

from experiments import data
from experiments.mpl import checks as mpl_checks
from experiments.mpl import predictions as mpl_predictions
from experiments.mpl import splits as mpl_splits
from experiments.mpl import stages as mpl_stages
from experiments.mpl.learners import (
    learned,
    make_stages,
    network,
    predictor,
    relabelled,
    scaled,
)
from experiments.mpl.splits import Split
from experiments.mpl.stages import Stage, State
from experiments.report.interval import mean_interval
from experiments.report.markdown import markdown
from experiments.runner.checks import ConfigError, check_bool, check_choice, check_int
from experiments.runner.experiment import Experiment
from experiments.runner.workdir import replace_text
from mpl import augment, meta

PyTree = Any
DATASETS = ("digits", "fashion_mnist", "cifar10", "svhn")
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
    extra = config.data.extra or config.data.pool == "extra"
    options: dict[str, Any] = {"extra": True} if extra else {}
    arrays = data.load(config.data.name, **options)
    top = mpl_splits.top_value(config.data.name)
    arrays |= {
        f"{part}_images": mpl_splits.as_bytes(arrays[f"{part}_images"], top)
        for part in ("train", "test")
    }
    keys = ("labelled", "reserved", "same", "all_labels")
    pool = mpl_splits.pool_of(config.data.pool, arrays)
    whole = mpl_splits.split(arrays, **{key: config.data[key] for key in keys}, pool=pool)
    found = mpl_predictions.chosen(config, whole)
    stages = make_stages(
        config,
        found,
        batches(config, found),
        batches(config, found, tuning=True),
        lambda teacher: functools.partial(relabelled, predictor(teacher), found.unlabelled),
    )
    if _reads_targets(config):
        given = mpl_predictions.targets(config, whole)
        stages = (stages[0]._replace(enter=functools.partial(_with, given)), *stages[1:])
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
        finish=functools.partial(_finish, config, stages, predict, whole),
    )


def check(config: ConfigDict) -> None:
    """Checks all fields of the config."""
    mpl_checks.check(config)
    check_choice(config, "data.name", DATASETS)
    check_int(config, "data.labelled", low=1)
    check_int(config, "data.reserved", low=0)
    for key in ("data.same", "data.all_labels", "data.extra"):
        check_bool(config, key)
    pool = mpl_checks.check_str(config, "data.pool")
    if config.data.name != "svhn" and (config.data.extra or pool == "extra"):
        key = "data.extra" if config.data.extra else "data.pool"
        raise ConfigError(key, "no extra images but for svhn", config.data[key.split(".")[1]])
    if pool and (config.data.extra or config.data.same):
        raise ConfigError("data.pool", "empty with data.extra or data.same", pool)
    two = config.method in ("pseudo_labels", "noisy_student", "reduced")
    two = two or (config.method, config.meta.teacher) == ("mpl", "pseudo_labels")
    mpl_checks.check_stages(config, two and not _reads_targets(config))
    if config.data.predictions and not (config.data.top_per_class or _reads_targets(config)):
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


def batches(config: ConfigDict, found: Split, *, tuning: bool = False) -> Callable[..., PyTree]:
    """`(data, key, step) -> batch`, traced; what no learner reads is never computed.

    A batch has one labelled part, as Algorithm 3 has: the images that a teacher with Mixup learns
    from are those its student is judged by.
    """
    batch_size = config.finetune.batch_size if tuning else config.batch_size
    classes = found.classes
    mixing = config.method == "mixup"
    mixing |= (config.method, config.meta.teacher) == ("mpl", "mixup") and not tuning
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
        if mixing:
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
    if config.data.write_predictions:
        every = (predict(*learned(state.stages[-1]), found.unlabelled),)
        mpl_predictions.write(workdir, every, (len(found.unlabelled), found.classes))
    rows = [{**row, **mean_interval([row["value"]])._asdict(), "unit": "seed"} for row in rows]
    replace_text(Path(workdir) / "table.md", markdown(rows, columns=("name", "value")) + "\n")
    return rows
