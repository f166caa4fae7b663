"""The plain CNNs of section 4.1 as networks of 8x8 images, all of one depth in one program.

Layers of convolution and ReLU, each with a 3x3 or a 5x5 kernel and few or many filters
(`design_spaces.plain_cnns`). What follows them the thesis leaves open: here a mean over all pixels,
normalised over the batch (over all scored images where it is scored; without, deep networks often
did not train), and a linear layer.

Small kernels stand in the middle of large ones and absent filters are masked, so that the shapes
are the same. Run networks of one depth one after the other, by `jax.lax.map`: a vmap over them took
two to three times as long on a CPU, as one network's arrays fit its cache.

Source: Wang 2022, sections 4.1, and 3.2.4 for weights from parent to child.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key

from search.alphax import Job
from search.weight_transfer import transfer

PyTree = Any
SIDE, CLASSES = 8, 10
KERNELS, FILTERS = (3, 5), (4, 8)
Chunk = list[int]  # training, first network, how many: all of one depth


def masks(kernels: Int[Array, " depth"], filters: Int[Array, " depth"]) -> dict[str, Array]:
    """Which weights a network has, of those of the largest one of its depth.

    Args:
        kernels: 0 for 3x3, 1 for 5x5.
        filters: 0 for few, 1 for many.

    Returns:
        kernel `[depth, 5, 5]` and filter `[depth, 8]`, 1 or 0.
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
        rows = jax.nn.relu(_convolve(rows, weights) + jnp.tile(layer["b"] * kept, SIDE)[None, None])
    pooled = rows.reshape(SIDE, images.shape[0], SIDE, -1).mean(axis=(0, 2))
    spread = jnp.sqrt(pooled.var(axis=0, keepdims=True) + 1e-5)
    pooled = (pooled - pooled.mean(axis=0, keepdims=True)) / spread
    return pooled @ params["w"] + params["b"][None]


def _band(weights: Float[Array, "5 5 c f"]) -> Float[Array, "5*8*c 8*f"]:
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


def _convolve(
    rows: Float[Array, "8 batch width_c"], weights: Float[Array, "5 5 c f"]
) -> Float[Array, "8 batch width_f"]:
    """A 5x5 convolution with zero padding; an image is 8 rows of 8 pixels times channels."""
    batch = rows.shape[1]
    padded = jnp.pad(rows, ((2, 2), (0, 0), (0, 0)))
    windows = jnp.concatenate([padded[i : i + SIDE] for i in range(5)], axis=-1)
    return (windows.reshape(SIDE * batch, -1) @ _band(weights)).reshape(SIDE, batch, -1)


@partial(jax.jit, static_argnames=("rate", "batch", "decay", "curve"))
def train(
    params: PyTree,
    mask: dict[str, Array],
    keys: Key[Array, " epoch"],
    data: dict[str, Array],
    *,
    rate: float,
    batch: int,
    decay: bool = False,
    curve: bool = True,
) -> tuple[PyTree, Float[Array, " scored"]]:
    """Trains a network by Adam.

    Args:
        params: to begin with.
        mask: of the network.
        keys: one an epoch, which draws the order of the images; consumed.
        data: images and labels, and score_images and score_labels that are not trained on.
        rate: of learning.
        batch: images an update.
        decay: whether the rate falls to 0 as a cosine.
        curve: whether the accuracy is taken after each epoch, else after the last alone.

    Returns:
        The parameters, and the accuracies in [0, 1].
    """
    count = len(data["images"])
    steps = keys.shape[0] * (count // batch)
    tx = optax.adam(optax.cosine_decay_schedule(rate, steps) if decay else rate)

    def loss(params: PyTree, rows: Array) -> Array:
        scores = logits(params, mask, data["images"][rows])
        losses = optax.softmax_cross_entropy_with_integer_labels(scores, data["labels"][rows])
        return losses.mean()

    def update(carry: PyTree, rows: Array) -> tuple[PyTree, None]:
        params, opt = carry
        updates, opt = tx.update(jax.grad(loss)(params, rows), opt, params)
        return (optax.apply_updates(params, updates), opt), None

    def accuracy(params: PyTree) -> Array:
        found = logits(params, mask, data["score_images"]).argmax(-1)
        return (found == data["score_labels"]).mean()

    def epoch(carry: PyTree, key: Array) -> tuple[PyTree, Array | None]:
        order = jax.random.permutation(key, count)[: count // batch * batch]
        carry, _ = jax.lax.scan(update, carry, order.reshape(-1, batch))
        return carry, accuracy(carry[0]) if curve else None

    (params, _), found = jax.lax.scan(epoch, (params, tx.init(params)), keys)
    return params, accuracy(params)[None] if found is None else found


@partial(jax.jit, static_argnames=("epochs", "rate", "batch"))
def train_each(
    kernels: Int[Array, "net depth"],
    filters: Int[Array, "net depth"],
    keys: Key[Array, " net"],
    data: dict[str, Array],
    *,
    epochs: int,
    rate: float,
    batch: int,
) -> Float[Array, " net"]:
    """Trains networks of one depth from fresh weights; returns their accuracies in [0, 1].

    Args:
        kernels: 0 or 1 (3x3 or 5x5), a row a network.
        filters: 0 or 1 (few or many).
        keys: one a network; consumed.
        data: as for `train`.
        epochs: of each training; the rate falls to 0 as a cosine.
        rate: of learning.
        batch: images an update.
    """

    def one(network: tuple[Array, Array, Array]) -> Array:
        kernel, width, key = network
        mask = masks(kernel, width)
        order = jax.vmap(partial(jax.random.fold_in, key))(1 + jnp.arange(epochs))
        params = init(jax.random.fold_in(key, 0), mask)
        options = {"rate": rate, "batch": batch, "decay": True, "curve": False}
        return train(params, mask, order, data, **options)[1][0]

    return jax.lax.map(one, (kernels, filters, keys))


def chunks(
    encodings: Int[np.ndarray, "net 11"], depths: Sequence[int], trainings: int, together: int
) -> list[Chunk]:
    """The work of training every network of some depths, so many times.

    Args:
        encodings: of `design_spaces.plain_cnns`, those of a depth one after the other.
        depths: of the networks.
        trainings: of each network.
        together: how many, of one depth, are trained in one program at most.
    """
    made = []
    for depth in depths:
        rows = np.flatnonzero(encodings[:, 0] == depth)
        for first in range(0, len(rows), together):
            count = min(together, len(rows) - first)
            made += [[training, int(rows[first]), count] for training in range(trainings)]
    return made


def named(
    params: PyTree, kernels: Int[np.ndarray, " depth"], filters: Int[np.ndarray, " depth"]
) -> dict[str, PyTree]:
    """Layers under names that say what they are, as their arrays have one shape for all kinds.

    So `weight_transfer.transfer` takes a layer only where kind, place and inputs agree.
    """
    layers, before = {}, "image"
    for i, layer in enumerate(params["layers"]):
        layers[f"{i} {before} {kernels[i]} {filters[i]}"] = layer
        before = str(filters[i])
    layers[f"head {before}"] = {"w": params["w"], "b": params["b"]}
    return layers


def unnamed(layers: dict[str, PyTree]) -> PyTree:
    """The parameters as `init` has them, of what `named` returns."""
    *body, head = sorted(layers)  # layers by their place, then "head"
    return {"layers": [layers[name] for name in body], **layers[head]}


class Recipe(NamedTuple):
    """How networks are trained whose weights are passed on: Adam at a constant rate."""

    epochs: int
    rate: float
    batch: int

    def train(
        self, params: PyTree, mask: dict[str, Array], key: Key[Array, ""], data: dict[str, Array]
    ) -> tuple[PyTree, Float[Array, " epoch"]]:
        """The parameters, and the accuracy after each epoch."""
        keys = jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(self.epochs))
        return train(params, mask, keys, data, rate=self.rate, batch=self.batch)


class Trained:
    """An objective that remembers the weights of all networks that it has trained.

    It draws fresh weights, copies those layers of the parent trial's network that its own has as
    well, trains, and keeps the weights under the trial's number. It lives in one process. Where
    several evaluate, weights go to a folder that they share, one file for each number.

    Args:
        data: as for `train`.
        recipe: of each training.
        reuse: whether the parent's weights are taken.
    """

    def __init__(self, data: dict[str, Array], recipe: Recipe, *, reuse: bool = True) -> None:
        self._data, self._recipe, self._reuse = data, recipe, reuse
        self._weights: dict[int, PyTree] = {}
        self.copied: list[float] = []  # of each trial, the part of layers from its parent

    def __call__(self, job: Job, seed: int) -> float:
        """Trains; the accuracy in [0, 1]."""
        depth = int(job.network[0])
        kernels, filters = job.network[1 : 1 + depth] - 1, job.network[6 : 6 + depth] - 1
        mask = masks(jnp.asarray(kernels), jnp.asarray(filters))
        key = jax.random.key(seed)
        layers = named(init(jax.random.fold_in(key, 0), mask), kernels, filters)
        taken = jax.tree.map(lambda _: False, layers)
        if self._reuse and job.parent >= 0:
            layers, taken = transfer(self._weights[job.parent], layers)
        params, accuracy = self._recipe.train(
            unnamed(layers), mask, jax.random.fold_in(key, 1), self._data
        )
        self._weights[job.number] = named(params, kernels, filters)
        self.copied.append(float(np.mean(jax.tree.leaves(taken))))
        return float(accuracy[-1])


def child_curves(
    seed: int, data: dict[str, Array], recipe: Recipe, *, layers: int = 3
) -> tuple[Float[np.ndarray, " epoch"], Float[np.ndarray, " epoch"]]:
    """Trains a parent, and its child of one layer more both ways (figure 3.8).

    Args:
        seed: of all weights and orders.
        data: as for `train`.
        recipe: of the three trainings.
        layers: of the parent, each 5x5 with many filters.

    Returns:
        The child's accuracies after each epoch from random weights, and from its parent's.
    """
    key = jax.random.key(seed)
    before, mask = (masks(jnp.ones(n, int), jnp.ones(n, int)) for n in (layers, layers + 1))
    parent = init(jax.random.fold_in(key, 0), before)
    parent, _ = recipe.train(parent, before, jax.random.fold_in(key, 1), data)
    child = init(jax.random.fold_in(key, 2), mask)
    scratch, transferred = (
        np.asarray(recipe.train(each, mask, jax.random.fold_in(key, 3), data)[1], np.float64)
        for each in (child, transfer(parent, child)[0])
    )
    return scratch, transferred
