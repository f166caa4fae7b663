"""Trains every plain CNN of Wang 2022, section 4.1, on 8x8 digits, and keeps what each reaches.

    python -m experiments.search.plain_cnn_training

The thesis's space: 1 to 5 layers of convolution and ReLU, each with a 3x3 or a 5x5 kernel and few
or many filters, 4 + 4^2 + ... + 4^5 = 1,364 networks. The thesis trains them on CIFAR-10 with 32
and 64 filters; here they see 8x8 digits and have 4 and 8, so that all of them train on two cores in
under an hour. The rest it leaves open: here a mean over all pixels, normalised over the batch (over
all scored images where it is scored; without, deep networks often did not train), and a linear
layer end the network.

All networks of one depth run through one compiled program, one after the other: small kernels stand
in the middle of large ones and absent filters are masked, so that the shapes are the same. (A vmap
over networks took two to three times as long on a CPU: one network's arrays fit its cache.)

Training images are the first 600 of the file, accuracy is over the 1,197 that follow, most of them
of other writers. Writes `experiments/data/bundled/plain_cnn.csv`, which
`experiments/search/plain_cnn.py` searches.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key

from experiments.data import catalogue, registry
from experiments.data.tables import PLAIN_CNN
from experiments.runner.workdir import replace_text
from search.design_spaces import plain_cnns

PyTree = Any
SIDE, CLASSES, TRAINED_ON = 8, 10, 600
KERNELS, FILTERS = (3, 5), (4, 8)


class Settings(NamedTuple):
    """How a network is trained, by Adam at a rate that falls to 0 as a cosine; our choice."""

    epochs: int = 8
    batch: int = 30
    learning_rate: float = 1e-2


def load_images() -> dict[str, np.ndarray]:
    """Images float32 [n, 8, 8] and labels int32 [n], for training and for the score.

    The pixels have mean 0 and variance 1 over all of the training images.

    Raises:
      ImportError: scikit-learn, which carries the images, is absent.
    """
    data = registry.load(catalogue.DATASETS["digits"])
    images = np.concatenate([data["train_images"], data["test_images"]])[..., 0]
    images = ((images - images[:TRAINED_ON].mean()) / images[:TRAINED_ON].std()).astype(np.float32)
    labels = np.concatenate([data["train_labels"], data["test_labels"]])
    return {
        "images": images[:TRAINED_ON],
        "labels": labels[:TRAINED_ON],
        "score_images": images[TRAINED_ON:],
        "score_labels": labels[TRAINED_ON:],
    }


def band(weights: Float[Array, "5 5 c f"]) -> Float[Array, "5*8*c 8*f"]:
    """A convolution along a row of 8 pixels as a matrix, one block for each row of the kernel.

    XLA's own convolutions of a few channels reach a sixth of a matrix product's speed on a CPU.
    """
    shift = np.zeros((5, SIDE, SIDE), np.float32)  # [tap, pixel in, pixel out], zero padding
    for tap in range(5):
        for out in range(SIDE):
            if 0 <= out + tap - 2 < SIDE:
                shift[tap, out + tap - 2, out] = 1.0
    channels, filters = weights.shape[2:]
    matrix = jnp.einsum("jab,ijcf->iacbf", shift, weights)
    return matrix.reshape(5 * SIDE * channels, SIDE * filters)


def convolve(
    rows: Float[Array, "8 batch width_c"], weights: Float[Array, "5 5 c f"]
) -> Float[Array, "8 batch width_f"]:
    """A 5x5 convolution with zero padding; an image is 8 rows of 8 pixels times channels."""
    batch = rows.shape[1]
    padded = jnp.pad(rows, ((2, 2), (0, 0), (0, 0)))
    windows = jnp.concatenate([padded[i : i + SIDE] for i in range(5)], axis=-1)
    return (windows.reshape(SIDE * batch, -1) @ band(weights)).reshape(SIDE, batch, -1)


def masks(kernels: Int[Array, " depth"], filters: Int[Array, " depth"]) -> dict[str, Array]:
    """Which weights a network has, of those of the largest one of its depth.

    Args:
      kernels: 0 for 3x3, 1 for 5x5.
      filters: 0 for few, 1 for many.

    Returns:
      kernel [depth, 5, 5] and filter [depth, 8], 1 or 0.
    """
    ring = np.pad(np.ones((3, 3), np.float32), 1)
    kernel = jnp.where(kernels[:, None, None] == 1, jnp.ones((1, 5, 5)), ring[None])
    width = jnp.asarray(FILTERS)[filters]
    return {
        "kernel": kernel,
        "filter": (jnp.arange(FILTERS[1])[None] < width[:, None]).astype("float32"),
    }


def init(key: Key[Array, ""], mask: dict[str, Array]) -> PyTree:
    """He's normal weights, by the number of inputs that the network has; zero biases."""
    depth, many = mask["filter"].shape
    layers, channels, inputs = [], 1, jnp.float32(1.0)
    for i in range(depth):
        fan_in = mask["kernel"][i].sum() * inputs
        drawn = jax.random.normal(jax.random.fold_in(key, i), (5, 5, channels, many))
        layers.append({"w": drawn * jnp.sqrt(2.0 / fan_in), "b": jnp.zeros(many)})
        channels, inputs = many, mask["filter"][i].sum()
    last = jax.random.normal(jax.random.fold_in(key, depth), (many, CLASSES)) / jnp.sqrt(inputs)
    return {"layers": layers, "w": last, "b": jnp.zeros(CLASSES)}


def logits(
    params: PyTree, mask: dict[str, Array], images: Float[Array, "batch 8 8"]
) -> Float[Array, "batch 10"]:
    """The network's output; masked weights count as absent. Images are normalised together."""
    rows = images.transpose(1, 0, 2)
    for layer, kernel, kept in zip(params["layers"], mask["kernel"], mask["filter"], strict=True):
        weights = layer["w"] * kernel[:, :, None, None] * kept[None, None, None]
        rows = jax.nn.relu(convolve(rows, weights) + jnp.tile(layer["b"] * kept, SIDE)[None, None])
    pooled = rows.reshape(SIDE, images.shape[0], SIDE, -1).mean(axis=(0, 2))
    spread = jnp.sqrt(pooled.var(axis=0, keepdims=True) + 1e-5)
    pooled = (pooled - pooled.mean(axis=0, keepdims=True)) / spread
    return pooled @ params["w"] + params["b"][None]


@partial(jax.jit, static_argnames="settings")
def train(
    kernels: Int[Array, "net depth"],
    filters: Int[Array, "net depth"],
    keys: Key[Array, " net"],
    data: dict[str, Array],
    *,
    settings: Settings,
) -> Float[Array, " net"]:
    """Trains networks of one depth, one after the other; returns their accuracies in [0, 1].

    Args:
      kernels: 0 or 1 (3x3 or 5x5), a row a network.
      filters: 0 or 1 (few or many).
      keys: one a network; consumed.
      data: as `load_images` returns it.
      settings: of the training.
    """
    steps = settings.epochs * (TRAINED_ON // settings.batch)
    tx = optax.adam(optax.cosine_decay_schedule(settings.learning_rate, steps))

    def loss(params: PyTree, mask: dict[str, Array], index: Array) -> Array:
        scores = logits(params, mask, data["images"][index])
        losses = optax.softmax_cross_entropy_with_integer_labels(scores, data["labels"][index])
        return losses.mean()

    def one(network: tuple[Array, Array, Array]) -> Array:
        kernel, width, key = network
        mask = masks(kernel, width)
        params = init(jax.random.fold_in(key, 0), mask)

        def epoch(carry: PyTree, number: Array) -> tuple[PyTree, None]:
            order = jax.random.permutation(jax.random.fold_in(key, 1 + number), TRAINED_ON)
            batches = order[: TRAINED_ON // settings.batch * settings.batch]
            return jax.lax.scan(update, carry, batches.reshape(-1, settings.batch))

        def update(carry: PyTree, index: Array) -> tuple[PyTree, None]:
            params, opt = carry
            grads = jax.grad(loss)(params, mask, index)
            updates, opt = tx.update(grads, opt, params)
            return (optax.apply_updates(params, updates), opt), None

        carry, _ = jax.lax.scan(epoch, (params, tx.init(params)), jnp.arange(settings.epochs))
        found = logits(carry[0], mask, data["score_images"]).argmax(-1)
        return (found == data["score_labels"]).mean()

    return jax.lax.map(one, (kernels, filters, keys))


def train_all(
    encodings: Int[np.ndarray, "net 11"],
    seeds: Sequence[int],
    *,
    settings: Settings,
    chunk: int = 32,
    say: Any = lambda text: None,
) -> Float[np.ndarray, "net seed"]:
    """Trains networks of all depths.

    Args:
      encodings: `[depth, kernels, filters]` of each, as `design_spaces.plain_cnns` lists them.
      seeds: each network is trained once for each.
      settings: of the training.
      chunk: networks between one line of progress and the next.
      say: is given those lines.
    """
    data = jax.tree.map(jnp.asarray, load_images())
    accuracies = np.zeros((len(encodings), len(seeds)))
    started, done = time.monotonic(), 0
    for depth in np.unique(encodings[:, 0]):
        rows = np.flatnonzero(encodings[:, 0] == depth)
        for first in range(0, len(rows), chunk):
            some = np.resize(rows[first : first + chunk], min(chunk, len(rows)))  # of one shape
            kernels, filters = encodings[some, 1 : 1 + depth], encodings[some, 6 : 6 + depth]
            for column, seed in enumerate(seeds):
                keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), some)
                found = train(kernels - 1, filters - 1, keys, data, settings=settings)
                accuracies[some, column] = np.asarray(found)
            done += min(chunk, len(rows) - first)
            say(f"{done} of {len(encodings)} networks, {time.monotonic() - started:.0f} s")
    return accuracies


def write(path: Path, encodings: Int[np.ndarray, "net 11"], accuracies: np.ndarray) -> None:
    """Writes the table: depth, kernel sizes, filters, accuracy of each seed in per cent."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    seeds = [f"accuracy_{column}" for column in range(accuracies.shape[1])]
    writer.writerow(["depth", "kernels", "filters", *seeds])
    for code, row in zip(encodings, accuracies, strict=True):
        depth = int(code[0])
        kernels = "-".join(str(KERNELS[k - 1]) for k in code[1 : 1 + depth])
        filters = "-".join(str(FILTERS[k - 1]) for k in code[6 : 6 + depth])
        writer.writerow([depth, kernels, filters, *(f"{100 * value:.4f}" for value in row)])
    replace_text(path, text.getvalue())


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.search.plain_cnn_training",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seeds", type=int, default=2, metavar="N", help="trainings of each (2)")
    parser.add_argument("--out", type=Path, default=PLAIN_CNN, metavar="FILE", help="(bundled)")
    flags = parser.parse_args(arguments)
    if flags.seeds < 1:
        parser.error(f"--seeds: expected at least 1, got {flags.seeds}")
    encodings = plain_cnns()
    accuracies = train_all(encodings, range(flags.seeds), settings=Settings(), say=print)
    write(flags.out, encodings, accuracies)
    means = accuracies.mean(axis=1)
    best = int(means.argmax())
    print(f"{flags.out}: best {100 * means[best]:.2f} %, {encodings[best].tolist()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
