"""Trains every plain CNN of Wang 2022, section 4.1, on 8x8 digits, and keeps what each reaches.

    python -m experiments.run --config=search/plain_cnn_training --workdir=runs/plain_cnn_training

The thesis's space: 1 to 5 layers of convolution and ReLU, each with a 3x3 or a 5x5 kernel and few
or many filters, 4 + 4^2 + ... + 4^5 = 1,364 networks. The thesis trains them on CIFAR-10 with 32
and 64 filters; here they see 8x8 digits and have 4 and 8, so that all of them train on two cores in
under an hour (`search.plain_cnn`).

Training images are the first 600 of the file, accuracy is over the 1,197 that follow, most of them
of other writers. Writes `plain_cnn.csv` into its folder; a copy of it is
`experiments/data/bundled/plain_cnn.csv`, which `search/plain_cnn` searches.
"""

from __future__ import annotations

import csv
import functools
import io
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from experiments.data import catalogue, registry
from experiments.runner.checks import check_float, check_int
from experiments.runner.experiment import Search
from experiments.runner.workdir import replace_text
from experiments.search import study
from search import plain_cnn
from search.design_spaces import plain_cnns
from search.interface import Measured

TRAINED_ON = 600
FILE = "plain_cnn.csv"


def build(config: Any) -> Search:
    """A study whose points are some networks of one depth in one of their trainings."""
    trainings = check_int(config, "trainings", low=1)
    together = check_int(config, "together", low=1)
    options = {
        "epochs": check_int(config, "epochs", low=1),
        "batch": check_int(config, "batch", low=1, high=TRAINED_ON),
        "rate": check_float(config, "learning_rate", positive=True),
    }
    encodings = plain_cnns()
    points = plain_cnn.chunks(encodings, list(config.depths), trainings, together)
    images = functools.cache(load_images)

    def measure(seed: int, chunk: plain_cnn.Chunk) -> Measured:
        training, first, count = chunk
        some = first + np.arange(count)
        depth = int(encodings[first, 0])
        keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed + training), some)
        kernels, filters = encodings[some, 1 : 1 + depth], encodings[some, 6 : 6 + depth]
        found = plain_cnn.train_each(kernels - 1, filters - 1, keys, images(), **options)
        accuracies = np.asarray(found, np.float64)
        return study.found({}, accuracies.max(), accuracies=accuracies)

    def finish(searched: Any, workdir: Path) -> None:
        found = np.full((len(encodings), trainings), np.nan)
        for trial in searched.trials:
            training, first, count = trial.point
            more = searched.reports[trial.id].more
            found[first : first + count, training] = more["accuracies"]
        trained = np.isfinite(found).all(1)
        write(workdir / FILE, encodings[trained], found[trained])

    return study.search(points, measure, ("accuracy", "max"), finish)


def load_images() -> dict[str, Array]:
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
        "images": jnp.asarray(images[:TRAINED_ON]),
        "labels": jnp.asarray(labels[:TRAINED_ON]),
        "score_images": jnp.asarray(images[TRAINED_ON:]),
        "score_labels": jnp.asarray(labels[TRAINED_ON:]),
    }


def write(
    path: Path, encodings: Int[np.ndarray, "net 11"], accuracies: Float[np.ndarray, "net training"]
) -> None:
    """Writes the table: depth, kernel sizes, filters, accuracy of each training in per cent."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = [f"accuracy_{column}" for column in range(accuracies.shape[1])]
    writer.writerow(["depth", "kernels", "filters", *columns])
    for code, row in zip(encodings, accuracies, strict=True):
        depth = int(code[0])
        kernels = "-".join(str(plain_cnn.KERNELS[k - 1]) for k in code[1 : 1 + depth])
        filters = "-".join(str(plain_cnn.FILTERS[k - 1]) for k in code[6 : 6 + depth])
        writer.writerow([depth, kernels, filters, *(f"{100 * value:.4f}" for value in row)])
    replace_text(path, text.getvalue())
