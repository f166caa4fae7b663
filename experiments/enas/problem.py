"""What is searched or trained on: a supernet, its data on the device, and measures of its children.

`of(config)` makes one from the fields that searches and retrainings share: text for recurrent
cells, images for convolutional networks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array
from ml_collections import ConfigDict

from enas import augment, optimizers, tasks, text
from experiments import data
from experiments.data import own
from experiments.data.registry import MissingDataset
from experiments.enas.spaces import Shape, supernet_of
from experiments.runner.checks import ConfigError, check_bool, check_choice, check_float, check_int

PyTree = Any
Measure = Callable[..., dict[str, float]]


class Problem(NamedTuple):
    """A task with its data.

    Attributes:
        task: a supernet and its loss.
        shape: what the supernet was made for.
        data: resident arrays, an argument of every compiled step.
        train: traced `(data, key, count) -> batch`, where `count` training batches came before:
            whole passes, each in another order.
        validation: traced `(data, key, rows) -> batch` of the data kept for validation.
        measure: `(part, choices=None) -> (weights, choices, averages) -> numbers` on the host, of a
            whole part ("valid" or "test"); with a constant architecture only it is compiled.
        labels: of the images of each part; empty for text.
        headline: the number of `measure` that counts, and "min".
        optimizer: `(steps of an epoch, epochs) -> optimiser` of weights.
    """

    task: tasks.Task
    shape: Shape
    data: PyTree
    train: Callable[[PyTree, Array, Array], PyTree]
    validation: Callable[[PyTree, Array, int], PyTree]
    measure: Callable[..., Measure]
    labels: Mapping[str, np.ndarray]
    headline: tuple[str, str]
    optimizer: Callable[[int, int], optax.GradientTransformation]


def of(config: ConfigDict) -> Problem:
    """The problem of a config.

    Raises:
        ConfigError: names the key.
        UserError: one's own data cannot be read.
        MissingDataset: a data set is not on this machine.
    """
    check_int(config, "batch_size", 2)
    check_int(config, "eval.batch_size", 2)
    if config.data.path and config.data.name != "own":
        raise ConfigError("data.path", "empty but with data.name=own", config.data.path)
    if config.data.name == "own" and not config.data.path:
        what = "a text file" if config.space.name == "rnn" else "a folder with a folder a class"
        raise MissingDataset(f"one's own data: give {what} as --config.data.path=PATH")
    return _text(config) if config.space.name == "rnn" else _images(config)


def task_of(config: ConfigDict, shape: Shape) -> tasks.Task:
    """The task of a config, from shapes alone."""
    supernet = supernet_of(config, shape)
    if config.space.name != "rnn":
        return tasks.images(supernet, auxiliary_weight=config.get("auxiliary_weight", 0.0))
    return tasks.language(
        supernet,
        batch_size=config.batch_size,
        hidden=config.space.hidden,
        constant=config.controller.constant if "controller" in config else 1.0,
    )


def optimizer_of(config: ConfigDict) -> Callable[[int, int], optax.GradientTransformation]:
    """`(steps of an epoch, epochs) -> optimiser` of weights."""
    given = config.optimizer.to_dict()
    if config.space.name == "rnn":
        check_float(config, "optimizer.learning_rate", positive=True)
        return lambda steps, epochs: optimizers.sgd(steps_per_epoch=steps, **given)
    for key in ("highest", "lowest"):
        check_float(config, f"optimizer.{key}", positive=True)
    return lambda steps, epochs: optimizers.nesterov(steps_per_epoch=steps, epochs=epochs, **given)


def _images(config: ConfigDict) -> Problem:
    for key in ("augment.pad", "augment.cutout"):
        check_int(config, key, 0, 32)
    check_bool(config, "augment.flip")
    parts, classes = _image_parts(config)
    shape = Shape(parts["train"][0].shape[1:], classes)
    count = len(parts["train"][0])
    if config.batch_size > count:
        raise ConfigError("batch_size", f"at most the {count} training images", config.batch_size)
    task = task_of(config, shape)
    moments = augment.channel_moments(parts["train"][0])
    resident = {part: tuple(map(jnp.asarray, parts[part])) for part in ("train", "valid")}

    def train(given: PyTree, key: Array, before: Array) -> PyTree:
        images, labels = given["train"]
        rows = _rows(before, len(images), config.batch_size)
        views = augment.augmented(
            key,
            images[rows],
            moments,
            pad=config.augment.pad,
            flip=config.augment.flip,
            cutout_size=config.augment.cutout,
        )
        return {"images": views, "labels": labels[rows]}

    def validation(given: PyTree, key: Array, rows: int) -> PyTree:
        images, labels = given["valid"]
        picked = jax.random.randint(key, (rows,), 0, len(images))
        return {
            "images": augment.normalized(images[picked], moments),
            "labels": labels[picked],
        }

    def measure(part: str, choices: np.ndarray | None = None) -> Measure:
        images, labels = parts[part]
        at_once = min(config.eval.batch_size, len(images))

        @jax.jit
        def predict(weights: PyTree, given: Any, averages: PyTree, some: Array) -> Array:
            chosen = given if choices is None else choices
            shown = augment.normalized(some, moments)
            found, _ = task.supernet.apply(weights, chosen, shown, train=False, averages=averages)
            return jax.nn.softmax(found[0] if isinstance(found, tuple) else found)

        def measured(weights: PyTree, given: Any = None, averages: PyTree = None) -> dict:
            chances = np.concatenate(
                [
                    np.asarray(predict(weights, given, averages, images[start : start + at_once]))
                    for start in range(0, len(images), at_once)
                ]
            )
            wrong = np.mean(chances.argmax(-1) != labels)
            return {"error_percent": float(100 * wrong), "chances": chances}

        return measured

    kept = {part: labels for part, (_, labels) in parts.items()}
    metric = ("error_percent", "min")
    return Problem(
        task, shape, resident, train, validation, measure, kept, metric, optimizer_of(config)
    )


def _rows(before: Array, count: int, batch_size: int) -> Array:
    """Places of the next batch in data that lie in random order: whole passes, one after another.

    The data are as many stretches as a batch has images, each of which gives one image to every
    batch, and is entered at another random place in each pass: a pass sees each image once (but the
    last few, fewer than a batch), in other company each time, without the sort of a permutation.
    """
    length = count // batch_size
    number, place = before // length, before % length
    key = jax.random.fold_in(jax.random.key(0), number)
    entered = jax.random.randint(key, (batch_size,), 0, length)
    return jnp.arange(batch_size) * length + (entered + place) % length


def _image_parts(config: ConfigDict) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], int]:
    """Images and labels of each part, and the number of classes."""
    shrink = check_int(config, "data.shrink", 1, 8)
    if config.data.name == "own":
        arrays = own.load_images(config.data.path, check_int(config, "data.size", 1))
    else:
        check_choice(config, "data.name", ("digits", "fashion_mnist", "cifar10"))
        arrays = data.load(config.data.name)
    images, labels = arrays["train_images"], arrays["train_labels"]
    kept = check_int(config, "data.valid", 1)
    if config.data.name == "own":
        kept = min(kept, -(-len(images) // 10))  # a tenth of few
    if kept >= len(images):
        raise ConfigError("data.valid", f"fewer than the {len(images)} training images", kept)
    order = np.random.default_rng(0).permutation(len(images))
    parts = {
        "train": (images[order[kept:]], labels[order[kept:]]),
        "valid": (images[order[:kept]], labels[order[:kept]]),
        "test": (arrays["test_images"], arrays["test_labels"]),
    }
    small = {name: (_shrunk(each, shrink), which) for name, (each, which) in parts.items()}
    return small, int(max(labels.max(), arrays["test_labels"].max())) + 1


def _shrunk(images: np.ndarray, factor: int) -> np.ndarray:
    """Means of squares of pixels; what is left at the border is cut off."""
    count, height, width, channels = images.shape
    rows, columns = height // factor, width // factor
    cut = images[:, : rows * factor, : columns * factor]
    squares = cut.reshape(count, rows, factor, columns, factor, channels)
    return np.rint(squares.mean((2, 4))).astype(np.uint8)


def _text(config: ConfigDict) -> Problem:
    bptt, batch_size = check_int(config, "bptt", 1), config.batch_size
    if config.data.name == "own":
        words = own.load_text(config.data.path)
    else:
        check_choice(config, "data.name", ("pydoc", "brown", "penn_treebank"))
        words = data.load(config.data.name)
    known = text.vocabulary(words["train"], check_int(config, "data.vocabulary", 2))
    tokens = {part: text.encoded(words[part], known) for part in ("train", "valid", "test")}
    shape = Shape((), len(known))
    task = task_of(config, shape)
    try:
        resident = {
            "train": jnp.asarray(text.streams(tokens["train"], batch_size)),
            "valid": jnp.asarray(text.streams(tokens["valid"], config.eval.batch_size)),
        }
        parts = {
            part: text.streams(tokens[part], config.eval.batch_size) for part in ("valid", "test")
        }
        steps = {part: text.num_steps(parts[part].shape[1], bptt) for part in parts}
        text.num_steps(resident["train"].shape[1], bptt)
    except ValueError as error:
        raise ConfigError("batch_size", "streams of more words than bptt", str(error)) from error

    def train(given: PyTree, key: Array, before: Array) -> PyTree:
        del key
        read, targets, starts = text.batch_at(given["train"], before, bptt)
        return {"tokens": read, "targets": targets, "starts": starts}

    def validation(given: PyTree, key: Array, rows: int) -> PyTree:
        read, targets = text.random_segments(given["valid"], key, rows, bptt)
        return {"tokens": read, "targets": targets, "starts": jnp.ones((), bool)}

    def measure(part: str, choices: np.ndarray | None = None) -> Measure:
        read = jnp.asarray(parts[part])

        @jax.jit
        def cross_entropy(weights: PyTree, given: Any, averages: PyTree, read: Array) -> Array:
            chosen = given if choices is None else choices

            def step(carry: Array, index: Array) -> tuple[Array, Array]:
                tokens, targets, starts = text.batch_at(read, index, bptt)
                batch = {"tokens": tokens, "targets": targets, "starts": starts}
                judged = task.judge(weights, chosen, carry, batch, train=False, averages=averages)
                return judged.carry, judged.metrics["cross_entropy"]

            start = jnp.zeros((len(read), config.space.hidden))
            return jnp.mean(jax.lax.scan(step, start, jnp.arange(steps[part]))[1])

        def measured(weights: PyTree, given: Any = None, averages: PyTree = None) -> dict:
            # A recurrence that is normalised by averages is not held at any step: cells of identity
            # and ReLU blow up. So text is normalised by its batch's statistics here too.
            averages = None if config.space.normalize else averages
            return {"perplexity": float(np.exp(cross_entropy(weights, given, averages, read)))}

        return measured

    metric = ("perplexity", "min")
    return Problem(
        task, shape, resident, train, validation, measure, {}, metric, optimizer_of(config)
    )
