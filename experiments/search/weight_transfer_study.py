"""Figure 3.8 of Wang 2022 in miniature: how many epochs a network saves by its parent's weights.

A parent of three layers (5x5, 8 filters) is trained for 70 epochs on 8x8 digits. Its child has one
layer more and is trained twice: from random weights, and from the parent's where the layers
overlap. Adam at a constant rate; accuracies on the 1,197 images that are not trained on.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Key

from experiments.report import rows as result_rows
from experiments.report import table as results_table
from experiments.report.interval import mean_interval
from experiments.search.plain_cnn_training import TRAINED_ON, init, load_images, logits, masks
from search.weight_transfer import transfer

PyTree = Any
EPOCHS, SHORT, BATCH, LEARNING_RATE, LAYERS = 70, (9, 17, 20), 30, 2e-3, 3
SOURCE = "Wang 2022, figure 3.8, on CIFAR-10"


class Curves(NamedTuple):
    """Accuracies in per cent after each of 70 epochs."""

    scratch: Float[np.ndarray, " epoch"]
    transferred: Float[np.ndarray, " epoch"]


@partial(jax.jit, static_argnames="epochs")
def train(
    params: PyTree, mask: dict[str, Array], key: Key[Array, ""], data: dict[str, Array], epochs: int
) -> tuple[PyTree, Float[Array, " epoch"]]:
    """Trains a network; returns its parameters and its accuracy after each epoch."""
    tx = optax.adam(LEARNING_RATE)

    def loss(params: PyTree, rows: Array) -> Array:
        scores = logits(params, mask, data["images"][rows])
        found = optax.softmax_cross_entropy_with_integer_labels(scores, data["labels"][rows])
        return found.mean()

    def update(carry: PyTree, rows: Array) -> tuple[PyTree, None]:
        params, opt = carry
        updates, opt = tx.update(jax.grad(loss)(params, rows), opt, params)
        return (optax.apply_updates(params, updates), opt), None

    def epoch(carry: PyTree, number: Array) -> tuple[PyTree, Array]:
        order = jax.random.permutation(jax.random.fold_in(key, number), TRAINED_ON)
        carry, _ = jax.lax.scan(update, carry, order.reshape(-1, BATCH))
        guess = logits(carry[0], mask, data["score_images"]).argmax(-1)
        return carry, (guess == data["score_labels"]).mean()

    (params, _), accuracy = jax.lax.scan(epoch, (params, tx.init(params)), jnp.arange(epochs))
    return params, accuracy


def curves(seed: int, data: dict[str, Array], epochs: int = EPOCHS) -> Curves:
    """Trains a parent, and its child both ways."""
    key = jax.random.key(seed)
    large = {layers: masks(jnp.ones(layers, int), jnp.ones(layers, int)) for layers in (3, 4)}
    parent = init(jax.random.fold_in(key, 0), large[LAYERS])
    parent, _ = train(parent, large[LAYERS], jax.random.fold_in(key, 1), data, epochs)
    child = init(jax.random.fold_in(key, 2), large[LAYERS + 1])
    started, _ = transfer(parent, child)
    found = [
        train(each, large[LAYERS + 1], jax.random.fold_in(key, 3), data, epochs)[1]
        for each in (child, started)
    ]
    return Curves(*(100 * np.asarray(each, np.float64) for each in found))


def first(accuracies: Float[np.ndarray, " epoch"], target: float) -> int:
    """The number of epochs, from 1, after which the target is reached; one too many if never."""
    reached = np.flatnonzero(accuracies >= target)
    return int(reached[0]) + 1 if len(reached) else len(accuracies) + 1


def measure(seeds: int, command: str) -> list[dict[str, Any]]:
    """Trains for each seed and records the rows in `search/weight_transfer.json`."""
    data, started = jax.tree.map(jnp.asarray, load_images()), time.monotonic()
    each = [curves(seed, data) for seed in range(seeds)]
    # The last epochs together, as one epoch's accuracy goes up and down.
    targets = [curve.scratch[-5:].mean() for curve in each]
    values: dict[tuple[str, str], tuple[list[Any], float | None]] = {
        ("scratch", "epochs_to_match"): (
            [first(c.scratch, t) for c, t in zip(each, targets, strict=True)], 70.0,
        ),
        ("transferred", "epochs_to_match"): (
            [first(c.transferred, t) for c, t in zip(each, targets, strict=True)], 17.0,
        ),
        ("scratch", f"accuracy_{EPOCHS}_percent"): (targets, None),
    }  # fmt: skip
    for epochs in SHORT:
        for name in Curves._fields:
            accuracies = [getattr(curve, name)[epochs - 1] for curve in each]
            values[name, f"accuracy_{epochs}_percent"] = accuracies, None
    rows = [
        result_rows.row(
            name,
            metric,
            mean_interval(found),
            unit="seed",
            command=command,
            config=f"layers={LAYERS}+1 kernel=5 filters=8 adam={LEARNING_RATE} batch={BATCH}",
            reference=reference,
            source=SOURCE if reference is not None else "",
            seeds=range(seeds),
            seconds=time.monotonic() - started,
        )
        for (name, metric), (found, reference) in values.items()
    ]
    title = "Transfer of weights: epochs until 70 from random weights are matched"
    results_table.write_table(results_table.table_path("search/weight_transfer"), title, rows)
    for row in rows:
        print(f"{row['name']} {row['metric']}: {row['value']:.3g}")
    return rows
