"""Which images are labelled, unlabelled and for test: the rules of Pham 2021, section 5.7.4.

The thesis drops the first images (reserved for validation), labels the next ones in the order of
the official files, and takes the rest without labels; classes are then slightly uneven, and stay
so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int


class Split(NamedTuple):
    """Images uint8 `[N, height, width, channel]`, values 0 to 255, and labels int32 `[N]`.

    Attributes:
        labelled: images.
        labels: theirs.
        unlabelled: images.
        hidden: their labels, -1 where nobody knows: for pictures, never for learning.
        test: images.
        test_labels: theirs.
    """

    labelled: np.ndarray
    labels: np.ndarray
    unlabelled: np.ndarray
    hidden: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one image: height, width, channels."""
        height, width, channels = self.labelled.shape[1:]
        return height, width, channels

    @property
    def classes(self) -> int:
        """Number of classes."""
        return int(max(self.labels.max(), self.hidden.max(), self.test_labels.max())) + 1


def split(
    arrays: Mapping[str, Any],
    *,
    labelled: int,
    reserved: int = 0,
    same: bool = False,
    all_labels: bool = False,
    pool: tuple[np.ndarray, np.ndarray] | None = None,
) -> Split:
    """Splits a data set.

    Args:
        arrays: train_images, train_labels, test_images, test_labels.
        labelled: how many images are labelled.
        reserved: how many come before them and are for validation: 5,000 of CIFAR-10.
        same: the unlabelled images are the labelled ones (section 5.7.10).
        all_labels: every image is labelled, the reserved ones too: the "full dataset" of table
            5.2, which is 50,000 images for CIFAR-10.
        pool: unlabelled images and their labels (-1 where nobody knows) in the place of all
            others: TinyImages for CIFAR-10 in section 5.7.14, for which every image that is not
            reserved may be labelled.

    Images under `extra_images` are added to the unlabelled ones, except with `same` or
    `all_labels`. Those of SVHN make "about 603,000 examples" (section 5.3.2) of all that are not
    labelled, 603,388; without the 5,000 that section 5.7.4 sets aside, they would be 598,388. So
    with extra images, the reserved ones are unlabelled too.

    Raises:
        ValueError: there are too few images.
    """
    images, labels = arrays["train_images"], arrays["train_labels"]
    most = len(images) - reserved - (0 if same or all_labels or pool else 1)
    if not 1 <= labelled <= most:
        raise ValueError(f"labelled: expected 1 to {most}, as there are images, got {labelled}")
    start, end = (0, len(images)) if all_labels else (reserved, reserved + labelled)
    first, given = images[start:end], labels[start:end]
    rest, hidden = (first, given) if same or all_labels else (images[end:], labels[end:])
    if pool:
        rest, hidden = pool
    elif "extra_images" in arrays and not (same or all_labels):
        rest = np.concatenate([images[:start], rest, arrays["extra_images"]])
        hidden = np.concatenate([labels[:start], hidden, arrays["extra_labels"]])
    return Split(first, given, rest, hidden, arrays["test_images"], arrays["test_labels"])


def in_shards(examples: int, first: int, count: int, *, shards: int = 1024) -> range:
    """Examples in shards `first ... first + count - 1` of `shards` of nearly one size.

    ImageNet-10% is the first 102 of 1,024 shards, ImageNet-20% the first 204; the last 20 are for
    validation (section 5.7.4). The order of the examples is that of the prepared files.

    >>> len(in_shards(1_281_167, 0, 102))
    127616
    """
    if not 0 <= first <= first + count <= shards:
        raise ValueError(f"count: expected at most {shards - first} shards, got {count}")
    return range(first * examples // shards, (first + count) * examples // shards)


def top_of_each_class(
    probabilities: Float[np.ndarray, "images classes"],
    count: int,
    *,
    confidence: float = 0.0,
    repeat: bool = False,
    block: int = 65_536,
) -> Int[np.ndarray, " chosen"]:
    """The images to which a teacher gives each class's highest probabilities, `count` a class.

    The thesis chooses 12,800 a class of JFT for ImageNet (section 5.3.3), and 50,000, 35,000 and
    12,800 for CIFAR-10, SVHN and ImageNet in section 5.7.14. An image that is among the first of
    two classes is taken once. For EfficientNet-L2 it takes "confidence thresholds and up-sampling"
    from Noisy Student (section 5.4), whose 130 million images are 130,000 a class with a confidence
    above 0.3, classes with fewer being repeated: here in their order, there at random.

    Args:
        probabilities: of the teacher; may lie on disk, and is read once, in blocks of rows.
        count: K images a class; all, where there are fewer.
        confidence: probabilities have to be above it.
        repeat: whether a class with fewer images has them again until there are `count`; rows then
            come as often as they are to be seen.
        block: rows read at once.

    Returns:
        Rows of `probabilities`, in ascending order.
    """
    classes = probabilities.shape[1]
    best = [np.empty(0, np.float32)] * classes
    where = [np.empty(0, np.int64)] * classes
    for start in range(0, len(probabilities), block):
        part = np.asarray(probabilities[start : start + block], np.float32)
        for label in range(classes):
            full = len(best[label]) == count
            # Of equal ones, the first stay: so only what is above the last can enter.
            bound = max(confidence, best[label][-1]) if full else confidence
            above = part[:, label] > bound if full or confidence else np.ones(len(part), bool)
            found = np.flatnonzero(above)
            values = np.concatenate([best[label], part[found, label]])
            order = np.argsort(-values, kind="stable")[:count]
            best[label] = values[order]
            where[label] = np.concatenate([where[label], start + found])[order]
    if repeat:
        where = [np.resize(rows, count) if len(rows) else rows for rows in where]
        return np.sort(np.concatenate(where))
    return np.unique(np.concatenate(where))


def fixed_order(examples: int) -> Int[np.ndarray, " examples"]:
    """A fixed random order of examples that come sorted by class, before they are put in shards.

    The thesis's shards were made from ImageNet shuffled once, in a "deterministic" order of its own
    (section 5.7.4), which is not published; this is another, the same on every machine.

    >>> fixed_order(5).tolist()
    [0, 2, 3, 1, 4]
    """
    generator = np.random.Philox(np.random.SeedSequence(12345))
    return np.argsort(generator.random_raw(examples), kind="stable")
