"""AlphaX with weights from parent to child, on networks that are trained for real.

The space is that of `experiments.search.plain_cnn_training`. A trial is a `search.alphax.Job`: its
objective draws fresh weights, copies those layers of the parent trial's network that its own has as
well (`search.weight_transfer`), trains for a few epochs, keeps the weights under the trial's number
and returns the accuracy. Without transfer it does the same with fresh weights alone, so that what
differs is where the training starts.
"""

from __future__ import annotations

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.report import rows as result_rows
from experiments.report import table as results_table
from experiments.report.interval import mean_interval
from experiments.search.plain_cnn_training import init, load_images, masks
from experiments.search.weight_transfer_study import train
from search import alphax, design_spaces, interface
from search.alphax import Job
from search.weight_transfer import transfer

PyTree = Any
EPOCHS, TRIALS, FROM_SCRATCH = 9, 40, 10  # a search's first trials have few parents: left out


class Trained:
    """An objective that remembers the weights of all networks that it has trained.

    It lives in one process. Where several evaluate, weights go to a folder that they share, one
    file for each number.

    Args:
      data: as `plain_cnn_training.load_images` returns it.
      epochs: of each training.
      reuse: whether the parent's weights are taken.
    """

    def __init__(self, data: dict[str, Any], *, epochs: int = EPOCHS, reuse: bool = True) -> None:
        self._data, self._epochs, self._reuse = data, epochs, reuse
        self._weights: dict[int, PyTree] = {}
        self.copied: list[float] = []  # of each trial, the part of layers from its parent

    def __call__(self, job: Job, seed: int) -> float:
        """Trains; the accuracy in [0, 1]."""
        depth = int(job.network[0])
        kernels, filters = job.network[1 : 1 + depth] - 1, job.network[6 : 6 + depth] - 1
        mask = masks(jnp.asarray(kernels), jnp.asarray(filters))
        key = jax.random.key(seed)
        params = init(jax.random.fold_in(key, 0), mask)
        named = _named(params, kernels, filters)
        taken = jax.tree.map(lambda _: False, named)
        if self._reuse and job.parent >= 0:
            named, taken = transfer(self._weights[job.parent], named)
        params, accuracy = train(
            _plain(named), mask, jax.random.fold_in(key, 1), self._data, self._epochs
        )
        self._weights[job.number] = _named(params, kernels, filters)
        self.copied.append(float(np.mean(jax.tree.leaves(taken))))
        return float(accuracy[-1])


def _named(params: PyTree, kernels: Any, filters: Any) -> dict[str, PyTree]:
    """Layers under names that say what they are: their arrays have one shape for all kinds."""
    named, before = {}, "image"
    for i, layer in enumerate(params["layers"]):
        named[f"{i} {before} {kernels[i]} {filters[i]}"] = layer
        before = str(filters[i])
    named[f"head {before}"] = {"w": params["w"], "b": params["b"]}
    return named


def _plain(named: dict[str, PyTree]) -> PyTree:
    *layers, head = sorted(named)  # layers by their place, then "head"
    return {"layers": [named[name] for name in layers], **named[head]}


def measure(seeds: int, command: str, *, trials: int = TRIALS, epochs: int = EPOCHS) -> list[Any]:
    """Searches with and without transfer; the rows of `search/weight_transfer.json`."""
    data = jax.tree.map(jnp.asarray, load_images())
    searcher = alphax.searcher(design_spaces.plain_cnn("global"), c=0.2, transfer=True)
    rows = []
    for name, reuse in (("search-scratch", False), ("search-transferred", True)):
        started = time.monotonic()
        means, bests, parts = list[float](), list[float](), list[float]()
        for seed in range(seeds):
            objective = Trained(data, epochs=epochs, reuse=reuse)
            run = interface.maximise(searcher, objective, budget=trials, seed=seed)
            means.append(100 * float(run.values[FROM_SCRATCH:].mean()))
            bests.append(100 * float(run.values.max()))
            parts.append(100 * float(np.mean(objective.copied[FROM_SCRATCH:])))
        for metric, values in (
            ("mean_accuracy_percent", means),
            ("best_accuracy_percent", bests),
            ("copied_percent", parts),
        ):
            rows.append(
                result_rows.row(
                    name, metric, mean_interval(values), unit="seed", command=command,
                    config=f"alphax c=0.2 trials={trials} first={FROM_SCRATCH} epochs={epochs}",
                    seeds=range(seeds), seconds=time.monotonic() - started,
                )
            )  # fmt: skip
            print(f"{name} {metric}: {rows[-1]['value']:.3g}", flush=True)
    title = "Transfer of weights: epochs until 70 from random weights are matched"
    results_table.write_table(results_table.table_path("search/weight_transfer"), title, rows)
    return rows
