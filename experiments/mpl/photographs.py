"""Glue of Meta Pseudo Labels on photographs: ImageNet-10%, and ImageNet with JFT or YFCC.

The images do not fit on a device: host batches decode and crop them, RandAugment and all else is in
the compiled step (Pham 2021, sections 5.3.2, 5.3.3, 5.4 and 5.7.14). Everything is known from the
config but the images, which are opened when a run starts; so `--dry_run` needs none.

Decisions where the thesis is silent:

- One random crop of an image is its weak view (`mpl.views.of_crops`).
- A fixed teacher (Pseudo Labels, Noisy Student) that is trained in the same run labels the weak
  view anew in each step, as distributions of all unlabelled images would take 5 GB for ImageNet and
  512 GB for 128 million images. Without that stage a file holds them (`data.predictions`), written
  by another run from the middles of the images: the only way for "reduced", whose point is that the
  large teacher takes no memory (section 5.7.14).
- Labelled and unlabelled images are visited in epochs of their own.
- Whether an unlabelled image is one of the test set is for who makes the folder to see; the thesis
  "made sure" for JFT and does not say how.
"""

from __future__ import annotations

import concurrent.futures
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array
from ml_collections import ConfigDict

from experiments import data
from experiments.data.images import ClassFolders, Folder, Part
from experiments.mpl import learners, outcome, predictions
from experiments.mpl.config import METHODS
from experiments.mpl.learners import Images
from experiments.runner.checks import ConfigError, check_choice, check_int
from experiments.runner.experiment import Experiment
from mpl import augment, splits, views
from mpl.crops import center_crop, random_crop
from mpl.models.network import predictor
from mpl.stages import Stage, State
from mpl.teaching import learned

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
_OTHER_SEED = 2**32  # orders of labelled and unlabelled images differ, where these are the same


class Feed(NamedTuple):
    """What a stage's host batches hold: how many images of each kind, over all hosts."""

    labelled: int
    unlabelled: int
    targets: bool  # whether they have the distributions of the unlabelled images


class Sources(NamedTuple):
    """The images of a run, opened.

    Attributes:
        labelled: items {"image": uint8 [height, width, 3], "label": int}.
        pool: all unlabelled images, of which "image" is read.
        rows: those of the pool that a run learns from, some perhaps several times.
        test: as `labelled`.
        predictions: of the pool, [images, classes]; `None` without.
        workers: threads that decode.
    """

    labelled: Sequence[Any]
    pool: Sequence[Any]
    rows: Sequence[int] | np.ndarray
    test: Sequence[Any]
    predictions: np.ndarray | None
    workers: concurrent.futures.Executor


def build(config: ConfigDict) -> Experiment:
    """Checks the config and makes the experiment; reads no image.

    Raises:
        ConfigError: names the key.
    """
    check(config)
    side = config.data.side
    found = Images((side, side, 3), config.data.classes)
    opened = functools.cache(functools.partial(open_sources, config))
    # Each stage is given batches of its own.
    nothing = host_batches(config, opened, Feed(0, 0, False))
    stages = learners.make_stages(config, found, nothing, nothing)
    predict = predictor(learners.network(config, found, 0.0), augment.scaled)

    def accuracies(side: outcome.Side, every: bool) -> dict[str, float]:
        whole = opened().test
        count = len(whole) if every else min(config.eval.images or len(whole), len(whole))
        hits = np.zeros(5)
        for images, labels in middles(config, opened(), Part(whole, range(count))):
            ranked = np.argsort(-predict(*side, images), axis=-1, kind="stable")[:, :5]
            places = np.sum(ranked == labels[:, None], axis=0)  # at most as many as classes
            hits[: len(places)] += places
        return {"accuracy": float(hits[0]) / count, "top5": float(hits.sum()) / count}

    def pool(side: outcome.Side) -> tuple[Iterator[np.ndarray], tuple[int, int]]:
        images = opened().pool
        logits = (predict(*side, part) for part, _ in middles(config, opened(), images))
        return logits, (len(images), config.data.classes)

    def prepare() -> None:
        opened()

    name = row_name(config)
    *known, table = PRINTED.get(name, ("",))
    return outcome.experiment(
        config,
        name,
        found,
        tuple(fed(config, found, opened, stage) for stage in stages),
        outcome.Judge(accuracies, pool),
        printed={
            metric: (value, f"Pham 2021, {table}")
            for metric, value in zip(("accuracy", "top5"), known, strict=False)
        },
        prepare=prepare,
    )


def check(config: ConfigDict) -> None:
    """Checks all fields of the config."""
    learners.check(config)
    # Mixup is the thesis's on CIFAR-10 alone (table 5.10).
    check_choice(config, "method", [name for name in METHODS if name != "mixup"])
    check_choice(config, "meta.teacher", [name for name in learners.TEACHERS if name != "mixup"])
    check_choice(config, "data.name", ("imagenet",))
    check_int(config, "data.side", low=8, high=4096)
    check_int(config, "data.classes", low=2)
    check_int(config, "data.shards", low=1)
    check_int(config, "data.labelled_shards", low=1, high=config.data.shards)
    left = config.data.shards - config.data.labelled_shards
    check_int(config, "data.reserved_shards", low=0, high=left)
    check_int(config, "data.workers", low=1, high=1024)
    for key in ("data.unlabelled", "row"):
        learners.check_str(config, key)
    # A fixed teacher is a stage of the run, or has left its predictions.
    fixed = learners.has_fixed_teacher(config) and config.method != "reduced"
    learners.check_stages(config, fixed and config.stages.teacher > 0)


def row_name(config: ConfigDict) -> str:
    """What a run's result is called: `config.row`, or the share of labels, and the method."""
    share = round(100 * config.data.labelled_shards / config.data.shards)
    return f"{config.row or f'imagenet-{share}'}-{learners.method_name(config)}"


def reads_targets(config: ConfigDict) -> bool:
    """Whether batches bring the predictions of a teacher that is no part of the run."""
    return learners.has_fixed_teacher(config) and not config.stages.teacher


def open_sources(config: ConfigDict) -> Sources:
    """Opens ImageNet, the folder of unlabelled images and the file of predictions.

    ImageNet-10% is the first 102 of 1,024 shards, and what is neither labelled nor reserved is
    unlabelled (section 5.7.4); with `data.unlabelled`, the images of that folder are. Where nothing
    is left (100% in figure 5.5), the labelled images are the unlabelled ones too. Images that come
    in a folder for each class are put in a fixed random order first, as those in shards are.

    Raises:
        MissingDataset: ImageNet is not on this machine.
        ConfigError: the folder or the file is not there or does not fit, or a batch is larger than
            what it is drawn from.
    """
    given = config.data
    loaded = data.load("imagenet")
    train = loaded["train"]
    if isinstance(train, ClassFolders):
        train = Part(train, splits.fixed_order(len(train)))
    shards = functools.partial(splits.in_shards, len(train), shards=given.shards)
    rest = given.shards - given.labelled_shards - given.reserved_shards
    labelled = Part(train, shards(0, given.labelled_shards))
    pool: Sequence[Any] = labelled
    if given.unlabelled:
        try:
            pool = Folder(given.unlabelled)
        except FileNotFoundError as error:
            wanted = "a folder with images in it"
            raise ConfigError("data.unlabelled", wanted, given.unlabelled) from error
    elif rest:
        pool = Part(train, shards(given.labelled_shards, rest))
    probabilities = None
    rows: Sequence[int] | np.ndarray = range(len(pool))
    if reads_targets(config) or given.top_per_class:
        probabilities = predictions.read(config, (len(pool), given.classes))
        rows = predictions.rows(config, probabilities) if given.top_per_class else rows
    sizes = {"batch_size": len(labelled), "unlabelled_batch_size": len(rows)}
    if not config.unlabelled_batch_size:
        sizes["batch_size"] = min(sizes.values())
    for key, most in sizes.items():
        check_int(config, key, low=0, high=most)
    workers = concurrent.futures.ThreadPoolExecutor(given.workers, "photographs")
    return Sources(labelled, pool, rows, loaded["validation"], probabilities, workers)


def fed(config: ConfigDict, found: Images, opened: Callable[[], Sources], stage: Stage) -> Stage:
    """A stage with its host batches, their shapes, and what its learner sees of them."""
    others = config.unlabelled_batch_size or config.batch_size
    # Noisy Student learns from its teacher's labels alone.
    labelled = 0 if config.method == "noisy_student" else config.batch_size
    feed = Feed(labelled, others, reads_targets(config))
    if stage.name == "finetune":
        feed = Feed(config.finetune.batch_size, 0, False)
    elif stage.name == "teacher" or config.method == "supervised":
        feed = Feed(config.batch_size, 0, False)
    like = {}
    if feed.labelled:
        like["labelled"] = jax.ShapeDtypeStruct((feed.labelled, *found.shape), np.uint8)
        like["labels"] = jax.ShapeDtypeStruct((feed.labelled,), np.int32)
    if feed.unlabelled:
        like["unlabelled"] = jax.ShapeDtypeStruct((feed.unlabelled, *found.shape), np.uint8)
    if feed.targets:
        like["targets"] = jax.ShapeDtypeStruct((feed.unlabelled, found.classes), np.float16)
    teacher = learners.network(config, found, 0.0)

    def fixed(state: State, images: Array) -> Array:
        logits, _ = teacher.apply(*learned(state.stages[0]), images, train=False)
        return jax.nn.softmax(logits)

    labels = fixed if feed.unlabelled and config.stages.teacher else None
    view = functools.partial(seen, config, labels)
    return stage._replace(batch=host_batches(config, opened, feed), view=view, like=like)


def host_batches(
    config: ConfigDict, opened: Callable[[], Sources], feed: Feed
) -> Callable[[int, int], dict[str, np.ndarray]]:
    """`(seed, step) -> batch` of this process: crops as bytes, labels, and perhaps targets.

    A crop depends on the seed, the step and the image's place in the whole batch alone, so that it
    is the same on any number of processes.
    """
    shard = (jax.process_index(), jax.process_count())

    @functools.cache
    def order(size: int, count: int) -> Callable[[int, int], Any]:
        return data.batches(np.arange(count), size, shard=shard)

    def crops(part: Sequence[Any], rows: np.ndarray, key: tuple[int, ...]) -> list[tuple[Any, int]]:
        def one(place: int) -> tuple[Any, int]:
            item = part[int(rows[place])]
            generator = np.random.default_rng((*key, shard[0] * len(rows) + place))
            crop = random_crop(item["image"], config.data.side, generator)
            return crop, int(item.get("label", -1))

        return list(opened().workers.map(one, range(len(rows))))

    def batch(seed: int, step: int) -> dict[str, np.ndarray]:
        source, result = opened(), {}
        if feed.labelled:
            rows = order(feed.labelled, len(source.labelled))(seed, step)
            cut = crops(source.labelled, rows, (seed, step, 0))
            result["labelled"] = np.stack([crop for crop, _ in cut])
            result["labels"] = np.array([label for _, label in cut], np.int32)
        if feed.unlabelled:
            places = order(feed.unlabelled, len(source.rows))(seed + _OTHER_SEED, step)
            rows = np.array([source.rows[place] for place in places])
            cut = crops(source.pool, rows, (seed, step, 1))
            result["unlabelled"] = np.stack([crop for crop, _ in cut])
            if feed.targets:
                assert source.predictions is not None
                result["targets"] = np.asarray(source.predictions[rows], np.float16)
        return result

    return batch


def seen(
    config: ConfigDict,
    fixed: Callable[[State, Array], Array] | None,
    state: State,
    batch: dict[str, Array],
) -> dict[str, Array]:
    """What a learner reads of a host batch, traced."""
    # Stream 2 of the run's key: 0 is the runner's, 1 the learners'.
    key = jax.random.fold_in(jax.random.fold_in(state.key, 2), state.step)
    options = {"strongly": learners.rand_augment(config), "kind": config.augment.labelled}
    result = views.of_crops(batch, key, **options)
    return result if fixed is None else result | {"targets": fixed(state, result["weak"])}


def middles(
    config: ConfigDict, source: Sources, part: Sequence[Any]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The middles of all images of a part, some at a time, and their labels (-1 without)."""

    def one(index: int) -> tuple[Any, int]:
        item = part[index]
        return center_crop(item["image"], config.data.side), int(item.get("label", -1))

    for start in range(0, len(part), _AT_ONCE):
        found = list(source.workers.map(one, range(start, min(start + _AT_ONCE, len(part)))))
        yield np.stack([crop for crop, _ in found]), np.array([label for _, label in found])
