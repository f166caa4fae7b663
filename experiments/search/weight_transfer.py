"""Weights from parent to child, on networks that are trained for real: figure 3.8 of Wang 2022.

    python -m experiments.report --fill search/weight_transfer

`scratch` and `transferred`, the figure in miniature: a parent of three layers (5x5, 8 filters) is
trained for 70 epochs on 8x8 digits. Its child has one layer more and is trained twice: from random
weights, and from the parent's where the layers overlap. Accuracies are on the 1,197 images that are
not trained on; epochs are those until the last five's mean from random weights is matched.

`search-transferred` and `search-scratch`, AlphaX on the plain CNNs of `search/plain_cnn`: a trial
starts from the weights of the trial that it names as its parent (`search.plain_cnn.Trained`), or
from fresh ones alone, so that what differs is where the training starts. Means leave out a search's
first trials, which have few parents.
"""

from __future__ import annotations

import functools
from types import MappingProxyType
from typing import Any

import numpy as np
from jaxtyping import Float

from experiments.report.rows import Row
from experiments.report.sweep import Cell, Table, Workdirs
from experiments.runner.checks import check_choice, check_float, check_int
from experiments.runner.experiment import Search
from experiments.search import study
from experiments.search.plain_cnn_training import load_images
from search import alphax, design_spaces, interface, plain_cnn, progress
from search.interface import Measured

SHORT = (9, 17, 20)  # epochs whose accuracies are rows
STARTS = ("scratch", "transferred")
# The thesis's epochs, of the row's name.
REFERENCES = MappingProxyType({"scratch": 70.0, "transferred": 17.0})
SOURCE = "Wang 2022, figure 3.8, on CIFAR-10"


def build(config: Any) -> Search:
    """A study of one measurement a seed: of three trainings, or of a search."""
    recipe = plain_cnn.Recipe(
        check_int(config, "epochs", low=1),
        check_float(config, "learning_rate", positive=True),
        check_int(config, "batch", low=1, high=600),
    )
    images = functools.cache(load_images)
    if check_choice(config, "task", ("curves", "search")) == "curves":
        return study.search(
            ["curves"],
            lambda seed, _: curve_rows(*plain_cnn.child_curves(seed, images(), recipe)),
            ("gain", "max"),
        )
    start = check_choice(config, "start", STARTS)
    trials, first = check_int(config, "trials", low=2), check_int(config, "first", low=0)
    check_int(config, "first", high=trials - 1)
    problem, c = design_spaces.plain_cnn("global"), check_float(config, "c", low=0.0)

    def measure(seed: int, _: str) -> Measured:
        objective = plain_cnn.Trained(images(), recipe, reuse=start == "transferred")
        searcher = alphax.searcher(problem, c=c, transfer=True)
        run = interface.maximise(searcher, objective, budget=trials, seed=seed)
        metrics = {
            "mean_accuracy_percent": 100 * float(run.values[first:].mean()),
            "best_accuracy_percent": 100 * float(run.values.max()),
            "copied_percent": 100 * float(np.mean(objective.copied[first:])),
        }
        return study.found({f"search-{start}": metrics}, run.values.max())

    return study.search(["search"], measure, ("accuracy", "max"))


def curve_rows(*each: Float[np.ndarray, " epoch"]) -> Measured:
    """What both trainings of a child come to."""
    # The last epochs together, as one epoch's accuracy goes up and down.
    target = 100 * float(each[0][-5:].mean())
    rows: dict[str, dict[str, float]] = {}
    for name, accuracies in zip(STARTS, each, strict=True):
        never = len(accuracies) + 1
        (needed,) = progress.first_at(100 * accuracies[None], target, never)
        rows[name] = {"epochs_to_match": int(needed)} | {
            f"accuracy_{epochs}_percent": 100 * float(accuracies[epochs - 1])
            for epochs in SHORT
            if epochs <= len(accuracies)
        }
    rows["scratch"][f"accuracy_{len(each[0])}_percent"] = target
    gain = rows["scratch"]["epochs_to_match"] - rows["transferred"]["epochs_to_match"]
    return study.found(rows, gain)


def rows(name: str, workdirs: Workdirs) -> list[Row]:
    """The rows that a cell's run wrote, with the thesis's epochs."""
    found = study.written(name, workdirs)
    for row in found:
        if row["metric"] == "epochs_to_match":
            row |= {"reference": REFERENCES[row["name"]], "source": SOURCE}
    return found


TABLES = MappingProxyType(
    {
        "search/weight_transfer": Table(
            "Transfer of weights: epochs until 70 from random weights are matched",
            {
                "curves": Cell("search/weight_transfer:curves,cpu", {"num_seeds": 5}),
                **{
                    f"search-{start}": Cell(
                        "search/weight_transfer:search,cpu", {"start": start, "num_seeds": 5}
                    )
                    for start in STARTS
                },
            },
            rows,
        )
    }
)
