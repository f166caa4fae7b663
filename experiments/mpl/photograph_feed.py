"""Host batches of photographs: what is opened, which images a stage sees, and how they are cut.

See `mpl_photographs`, which makes a run of them.
"""

from __future__ import annotations

import concurrent.futures
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from experiments import data
from experiments.data import images as image_files
from experiments.data.photographs import Folder, Part, random_crop
from experiments.mpl import predictions as mpl_predictions
from experiments.mpl import splits as mpl_splits
from experiments.mpl.learners import Images
from experiments.runner.checks import ConfigError, check_int

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


def fixed_teacher(config: ConfigDict) -> bool:
    """Whether labels come from a teacher that a method trains first and never again."""
    fixed = config.method in ("pseudo_labels", "noisy_student")
    return fixed or (config.method, config.meta.teacher) == ("mpl", "pseudo_labels")


def reads_targets(config: ConfigDict) -> bool:
    """Whether batches bring the predictions of a teacher that is no part of the run."""
    return config.method == "reduced" or (fixed_teacher(config) and not config.stages.teacher)


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
    if isinstance(train, image_files.ClassFolders):
        train = Part(train, mpl_splits.fixed_order(len(train)))
    shards = functools.partial(mpl_splits.in_shards, len(train), shards=given.shards)
    rest = given.shards - given.labelled_shards - given.reserved_shards
    labelled = Part(train, shards(0, given.labelled_shards))
    pool: Sequence[Any] = labelled
    if given.unlabelled:
        pool = _folder(given.unlabelled)
    elif rest:
        pool = Part(train, shards(given.labelled_shards, rest))
    predictions = None
    rows: Sequence[int] | np.ndarray = range(len(pool))
    if reads_targets(config) or given.top_per_class:
        predictions = mpl_predictions.read(config, (len(pool), given.classes))
    if predictions is not None and given.top_per_class:
        rows = mpl_predictions.rows(config, predictions)
    sizes = {"batch_size": len(labelled), "unlabelled_batch_size": len(rows)}
    if not config.unlabelled_batch_size:
        sizes["batch_size"] = min(sizes.values())
    for key, most in sizes.items():
        check_int(config, key, low=0, high=most)
    workers = concurrent.futures.ThreadPoolExecutor(given.workers, "photographs")
    return Sources(labelled, pool, rows, loaded["validation"], predictions, workers)


def _folder(path: str) -> Folder:
    try:
        return Folder(path)
    except FileNotFoundError as error:
        raise ConfigError("data.unlabelled", "a folder with images in it", path) from error


def shapes(found: Images, feed: Feed) -> dict[str, jax.ShapeDtypeStruct]:
    """What `host_batches` give over all hosts, without an image (`Phase.like`)."""
    like = {}
    if feed.labelled:
        like["labelled"] = jax.ShapeDtypeStruct((feed.labelled, *found.shape), np.uint8)
        like["labels"] = jax.ShapeDtypeStruct((feed.labelled,), np.int32)
    if feed.unlabelled:
        like["unlabelled"] = jax.ShapeDtypeStruct((feed.unlabelled, *found.shape), np.uint8)
    if feed.targets:
        like["targets"] = jax.ShapeDtypeStruct((feed.unlabelled, found.classes), np.float16)
    return like


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
