"""Glue of Meta Pseudo Labels on photographs: ImageNet-10%, and ImageNet with JFT or YFCC.

The images do not fit on a device: host batches decode and crop them, RandAugment and all else is in
the compiled step (Pham 2021, sections 5.3.2, 5.3.3, 5.4 and 5.7.14). Everything is known from the
config but the images, which are opened when a run starts; so `--dry_run` needs none.

Decisions where the seed is silent:

- One random crop of an image is its weak view, and RandAugment of that crop its strong view: the
  seed has one x_u.
- A fixed teacher (Pseudo Labels, Noisy Student) that is trained in the same run labels the weak
  view anew in each step, as distributions of all unlabelled images would take 5 GB for ImageNet and
  512 GB for 128 million images. Without that stage a file holds them (`data.predictions`), written
  by another run from the middles of the images: the only way for "reduced", whose point is that the
  large teacher takes no memory (section 5.7.14).
- Labelled and unlabelled images are visited in epochs of their own.
- Whether an unlabelled image is one of the test set is for who makes the folder to see; the seed
  "made sure" for JFT and does not say how.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from ml_collections import ConfigDict

from experiments.data.photographs import Part, center_crop
from experiments.mpl import checks as mpl_checks
from experiments.mpl import predictions as mpl_predictions
from experiments.mpl import stages as mpl_stages
from experiments.mpl.learners import learned, make_stages, network, predictor, scaled
from experiments.mpl.photograph_feed import (
    Feed,
    Sources,
    fixed_teacher,
    host_batches,
    open_sources,
    reads_targets,
    shapes,
)
from experiments.mpl.stages import Stage, State
from experiments.report.interval import mean_interval
from experiments.report.markdown import markdown
from experiments.runner.checks import check_choice, check_int
from experiments.runner.experiment import Experiment
from experiments.runner.workdir import replace_text
from mpl import augment, meta

PyTree = Any
# Mixup is the seed's on CIFAR-10 alone (table 5.10).
METHODS = tuple(name for name in mpl_checks.METHODS if name != "mixup")
TEACHERS = tuple(name for name in mpl_checks.TEACHERS if name != "mixup")
# Top-1 and top-5 accuracy on ILSVRC 2012's validation set, by `config.row` and method.
PRINTED = {
    "imagenet-10-uda": (68.07, 88.19, "table 5.2"),
    "imagenet-10-fixmatch": (71.5, 89.1, "table 5.2, quoted there"),
    "imagenet-10-mpl_uda": (73.89, 91.38, "table 5.2"),
    "imagenet-100-supervised": (76.89, 93.27, "table 5.2"),
    "resnet50-jft-mpl_uda": (83.2, 96.5, "table 5.3"),
    "efficientnet-l2-mpl_uda": (90.2, 98.8, "table 5.4"),
    "efficientnet-b6-wide-mpl_uda": (90.0, 98.7, "table 5.4"),
    "efficientnet-b7-supervised": (84.49, 97.18, "table 5.11"),
    "efficientnet-b7-noisy_student": (85.81, 97.53, "table 5.11"),
    "efficientnet-b7-reduced": (86.87, 98.11, "table 5.11"),
}
_AT_ONCE = 256  # images of an evaluation


class Described(NamedTuple):
    """What the learners need to know; see `mpl_learners.Images`."""

    shape: tuple[int, int, int]
    classes: int


def build(config: ConfigDict) -> Experiment:
    """Checks the config and makes the experiment; reads no image.

    Raises:
        ConfigError: names the key.
    """
    check(config)
    side = config.data.side
    found = Described((side, side, 3), config.data.classes)
    opened = functools.cache(functools.partial(open_sources, config))
    feed = functools.partial(fed, config, found, opened)
    # Each stage is then given batches of its own.
    nothing = host_batches(config, opened, Feed(0, 0, False))
    stages = tuple(map(feed, make_stages(config, found, nothing, nothing)))
    predict = predictor(network(config, found, 0.0))

    def evaluate(state: State, step: int) -> dict[str, float]:
        index = mpl_stages.active(stages, step)
        top, top5 = accuracies(config, opened(), predict, learned(state.stages[index]))
        return {"accuracy": top, "top5": top5}

    def prepare() -> None:
        opened()

    return Experiment(
        init=functools.partial(mpl_stages.init, stages, None),
        phases=mpl_stages.phases(stages, None),
        cycle=False,
        evaluate=evaluate,
        headline=("accuracy", "max"),
        finish=functools.partial(_finish, config, stages, predict, opened),
        prepare=prepare,
    )


def check(config: ConfigDict) -> None:
    """Checks all fields of the config."""
    mpl_checks.check(config)
    check_choice(config, "method", METHODS)
    check_choice(config, "meta.teacher", TEACHERS)
    check_choice(config, "data.name", ("imagenet",))
    check_int(config, "data.side", low=8, high=4096)
    check_int(config, "data.classes", low=2)
    check_int(config, "data.shards", low=1)
    check_int(config, "data.labelled_shards", low=1, high=config.data.shards)
    left = config.data.shards - config.data.labelled_shards
    check_int(config, "data.reserved_shards", low=0, high=left)
    check_int(config, "data.workers", low=1, high=1024)
    for key in ("data.unlabelled", "row"):
        mpl_checks.check_str(config, key)
    # A fixed teacher is a stage of the run, or has left its predictions.
    mpl_checks.check_stages(config, fixed_teacher(config) and config.stages.teacher > 0)


def fed(config: ConfigDict, found: Described, opened: Callable[[], Sources], stage: Stage) -> Stage:
    """A stage with its host batches, their shapes, and what its learner sees of them."""
    feed = _feed(config, stage.name)
    teacher = network(config, found, 0.0)

    def fixed(state: State, images: Array) -> Array:
        logits, _ = teacher.apply(*learned(state.stages[0]), images, train=False)
        return jax.nn.softmax(logits)

    labels = fixed if feed.unlabelled and config.stages.teacher else None
    return stage._replace(
        batch=host_batches(config, opened, feed),
        view=functools.partial(views, config, labels),
        like=shapes(found, feed),
    )


def _feed(config: ConfigDict, stage: str) -> Feed:
    if stage == "finetune":
        return Feed(config.finetune.batch_size, 0, False)
    if stage == "teacher" or config.method == "supervised":
        return Feed(config.batch_size, 0, False)
    others = config.unlabelled_batch_size or config.batch_size
    # Noisy Student learns from its teacher's labels alone.
    labelled = 0 if config.method == "noisy_student" else config.batch_size
    return Feed(labelled, others, reads_targets(config))


def views(
    config: ConfigDict,
    fixed: Callable[[State, Array], Array] | None,
    state: State,
    batch: dict[str, Array],
) -> dict[str, Array]:
    """What a learner reads of a host batch, traced; what no learner reads is never computed."""
    names = {"cifar": augment.CIFAR, "svhn": augment.SVHN}[config.augment.operations]
    # Stream 2 of the run's key: 0 is the runner's, 1 the learners'.
    key = jax.random.fold_in(jax.random.fold_in(state.key, 2), state.step)
    k_labelled, k_unlabelled = jax.random.split(key)
    strongly = functools.partial(
        augment.rand_augment, operations=names, num_ops=config.augment.num_ops
    )
    result: dict[str, Array] = {}
    if "labelled" in batch:
        images = batch["labelled"]
        if config.augment.labelled == "strong":
            images = strongly(k_labelled, images)
        result |= {"labelled": scaled(images), "labels": batch["labels"]}
    if "unlabelled" in batch:
        result["weak"] = scaled(batch["unlabelled"])
        result["strong"] = scaled(strongly(k_unlabelled, batch["unlabelled"]))
        if fixed is not None:
            result["targets"] = fixed(state, result["weak"])
    if "targets" in batch:
        result["targets"] = batch["targets"].astype(jnp.float32)
    return result


def _logits(
    config: ConfigDict,
    source: Sources,
    predict: Callable[..., np.ndarray],
    side: tuple[PyTree, PyTree],
    part: Sequence[Any],
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Logits and labels (-1 without) of the middles of all images, some at a time."""

    def one(index: int) -> tuple[Any, int]:
        item = part[index]
        return center_crop(item["image"], config.data.side), int(item.get("label", -1))

    for start in range(0, len(part), _AT_ONCE):
        found = list(source.workers.map(one, range(start, min(start + _AT_ONCE, len(part)))))
        images = np.stack([crop for crop, _ in found])
        yield predict(*side, images), np.array([label for _, label in found])


def accuracies(
    config: ConfigDict,
    source: Sources,
    predict: Callable[..., np.ndarray],
    side: tuple[PyTree, PyTree],
    *,
    every: bool = False,
) -> tuple[float, float]:
    """Top-1 and top-5 accuracy, fractions, on `eval.images` test images, or on every one."""
    whole = source.test
    count = len(whole) if every else min(config.eval.images or len(whole), len(whole))
    hits, hits5 = 0, 0
    for logits, labels in _logits(config, source, predict, side, Part(whole, range(count))):
        ranked = np.argsort(-logits, axis=-1, kind="stable")[:, :5] == labels[:, None]
        hits, hits5 = hits + int(ranked[:, 0].sum()), hits5 + int(ranked.sum())
    return hits / count, hits5 / count


def row_name(config: ConfigDict) -> str:
    """What a run's result is called: `config.row`, or the share of labels, and the method."""
    share = round(100 * config.data.labelled_shards / config.data.shards)
    method = config.method
    if method == "mpl" and config.meta.teacher != "none":
        method = f"mpl_{config.meta.teacher}"
    return f"{config.row or f'imagenet-{share}'}-{method}"


def _finish(
    config: ConfigDict,
    stages: tuple[Stage, ...],
    predict: Callable[..., np.ndarray],
    opened: Callable[[], Sources],
    state: State,
    workdir: Path,
) -> list[dict[str, Any]]:
    """Accuracies at each stage's end: so the student's, before its finetuning and after."""
    source, name = opened(), row_name(config)
    rows: list[dict[str, Any]] = []

    def add(suffix: str, side: tuple[PyTree, PyTree], printed: tuple[Any, ...]) -> None:
        found = accuracies(config, source, predict, side, every=True)
        for metric, value, known in zip(("accuracy", "top5"), found, printed, strict=False):
            row = {"name": f"{name}{suffix}", "metric": metric, "value": 100.0 * value}
            known_row = {"reference": known, "source": f"Pham 2021, {printed[2]}"} if known else {}
            rows.append(row | known_row)

    for place, (stage, inner) in enumerate(zip(stages, state.stages, strict=True)):
        last = place == len(stages) - 1
        known = PRINTED.get(name) if last else None
        add("" if last else f"-{stage.name}", learned(inner), known or (None, None, ""))
        if isinstance(inner, meta.State) and config.method == "mpl":
            teacher = (inner.teacher.params, inner.teacher.stats)
            add("-its_teacher", teacher, (None, None, ""))
    if config.data.write_predictions:
        side = learned(state.stages[-1])
        parts = (logits for logits, _ in _logits(config, source, predict, side, source.pool))
        mpl_predictions.write(workdir, parts, (len(source.pool), config.data.classes))
    rows = [{**row, **mean_interval([row["value"]])._asdict(), "unit": "seed"} for row in rows]
    table = markdown(rows, columns=("name", "metric", "value"))
    replace_text(Path(workdir) / "table.md", table + "\n")
    return rows
