"""The views of a batch that learners read: labelled images, and unlabelled ones weak and strong.

A batch has one labelled part, as Algorithm 3 has: the images that a teacher with Mixup learns from
are those its student is judged by. What no learner reads of a batch is never computed, as it is
made within the compiled step.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
from jaxtyping import Array

from mpl import augment

Augment = Callable[[Array, Array], Array]  # (key, images) -> images, uint8


def drawn(
    data: dict[str, Array],
    key: Array,
    *,
    labelled: int,
    unlabelled: int,
    strongly: Augment,
    pad: int = 4,
    flip: bool = True,
    kind: str = "weak",
    mixed: int | None = None,
) -> dict[str, Array]:
    """Draws a batch from images on the device, with replacement, and augments it.

    Args:
        data: "labelled" and "unlabelled", uint8 `[N, height, width, channel]`; "labels", int32
            `[N]` of the former.
        key: PRNG key; consumed.
        labelled: images of the batch that have labels.
        unlabelled: images that have none.
        strongly: the strong augmentation, applied after the weak one.
        pad: of `augment.weak`.
        flip: of `augment.weak`.
        kind: of the labelled images: "none", "weak" or "strong".
        mixed: number of classes, to apply Mixup to the labelled images; `None` for none.

    Returns:
        "labelled", "weak" and "strong", float32 in [-1, 1]; "labels", int32 `[labelled]`, or
        distributions `[labelled, classes]` where mixed; "rows", int32 `[unlabelled]`, places of the
        unlabelled images in `data`.
    """
    shift = partial(augment.weak, pad=pad, flip=flip)
    keys = jax.random.split(key, 8)
    picked = jax.random.randint(keys[0], (labelled,), 0, len(data["labelled"]))
    rows = jax.random.randint(keys[1], (unlabelled,), 0, len(data["unlabelled"]))
    images, labels = data["labelled"][picked], data["labels"][picked]
    if kind != "none":
        images = shift(keys[2], images)
    if kind == "strong":
        images = strongly(keys[3], images)
    inputs = augment.scaled(images)
    if mixed is not None:
        inputs, labels = augment.mixup(keys[4], inputs, jax.nn.one_hot(labels, mixed))
    bare = data["unlabelled"][rows]
    return {
        "labelled": inputs,
        "labels": labels,
        "weak": augment.scaled(shift(keys[5], bare)),
        "strong": augment.scaled(strongly(keys[7], shift(keys[6], bare))),
        "rows": rows,
    }


def of_crops(
    batch: dict[str, Array], key: Array, *, strongly: Augment, kind: str = "weak"
) -> dict[str, Array]:
    """The views of a batch whose images are random crops already, such as of `mpl.crops`.

    A crop of an unlabelled image is its weak view, and the strong augmentation of that crop its
    strong view: the thesis has one x_u.

    Args:
        batch: "labelled" and "labels", "unlabelled", "targets", each only where a learner reads it;
            images uint8 `[batch, height, width, channel]`, labels int32 `[batch]`, targets
            distributions `[batch, classes]` of any floating dtype.
        key: PRNG key; consumed.
        strongly: the strong augmentation.
        kind: of the labelled images: "strong", or anything else for the crops as they are.

    Returns:
        "labelled" with "labels", "weak" with "strong", float32 in [-1, 1], and "targets" in
        float32, as far as the batch has them.
    """
    k_labelled, k_unlabelled = jax.random.split(key)
    result: dict[str, Array] = {}
    if "labelled" in batch:
        images = batch["labelled"]
        if kind == "strong":
            images = strongly(k_labelled, images)
        result |= {"labelled": augment.scaled(images), "labels": batch["labels"]}
    if "unlabelled" in batch:
        result["weak"] = augment.scaled(batch["unlabelled"])
        result["strong"] = augment.scaled(strongly(k_unlabelled, batch["unlabelled"]))
    if "targets" in batch:
        result["targets"] = batch["targets"].astype("float32")
    return result
