"""The predictors of AlphaX alone (Wang 2022, section 3.3.2); the search is `search/nasbench201`.

    python -m experiments.report --fill search/meta_dnn

The correlation of predicted and true accuracy on a fifth of the cells that no model has seen
(thesis: LSTM 0.743, MLP 0.784, multi-stage 1.2 % more, on NASBench-101), and of their ranks, after
500 samples and after all others. The MLPs are of 256 and 256 and not of the thesis's widths
(`meta_dnn.THESIS_WIDTHS`), which take an hour here.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import numpy as np

from experiments.data.nasbench201 import CELLS, OPERATIONS, TASKS
from experiments.report.rows import Row
from experiments.report.sweep import Cell, Table, Workdirs
from experiments.runner.checks import ConfigError, check_choice, check_int
from experiments.runner.experiment import Search
from experiments.search import study
from experiments.search.nasbench201 import MADE_UP, rewards
from search import benchmarks, meta_dnn
from search.interface import Measured
from search.meta_dnn import Predictor

MODELS = ("lstm", "mlp", "multi_stage", "multi_stage_parts")
SEEN = int(0.8 * CELLS)  # cells that a model may be fitted to
REFERENCES = MappingProxyType({"lstm": 0.743, "mlp": 0.784, "multi_stage": 0.796})
SOURCE = "Wang 2022, section 3.3.2, NASBench-101"


def predictor(config: Any) -> Predictor:
    """The model that a config names."""
    model = check_choice(config, "model", MODELS)
    training = meta_dnn.Training(epochs=check_int(config, "epochs", low=1))
    widths = tuple(config.widths)
    if model == "lstm":
        hidden = check_int(config, "lstm", low=1)
        return meta_dnn.lstm(len(OPERATIONS), hidden, hidden, training)
    if model == "mlp":
        return meta_dnn.mlp(widths, training)
    edges = tuple(config.edges) if model == "multi_stage" else None
    return meta_dnn.multi_stage(widths, edges=edges, training=training)


def build(config: Any) -> Search:
    """A study whose points are numbers of samples."""
    task, model = check_choice(config, "task", (*TASKS, MADE_UP)), predictor(config)
    if not config.samples or not 1 <= min(config.samples) <= max(config.samples) <= SEEN:
        raise ConfigError("samples", f"numbers of samples from 1 to {SEEN}", config.samples)
    values, space = rewards(task), benchmarks.nasbench201()
    encodings = space.every() if config.model == "lstm" else space.one_hot(space.every())

    def measure(seed: int, samples: int) -> Measured:
        order = np.random.default_rng(seed).permutation(len(values))
        held = order[SEEN:]
        params = model.fit(encodings[order[:samples]], values[order[:samples]], seed)
        guess = model.predict(params, encodings[held])
        ranks = [np.argsort(np.argsort(each)) * 1.0 for each in (guess, values[held])]
        metrics = {
            "correlation": meta_dnn.correlation(guess, values[held]),
            "rank_correlation": meta_dnn.correlation(*ranks),
        }
        return study.found({f"{task}-{config.model}-{samples}": metrics}, metrics["correlation"])

    return study.search(list(config.samples), measure, ("correlation", "max"))


def rows(name: str, workdirs: Workdirs) -> list[Row]:
    """The rows that a cell's run wrote, with the thesis's correlations after all samples."""
    found = study.written(name, workdirs)
    for row in found:
        whole = row["name"].endswith(f"-{SEEN}") and row["metric"] == "correlation"
        if whole and name in REFERENCES:
            row |= {"reference": REFERENCES[name], "source": SOURCE}
    return found


TABLES = MappingProxyType(
    {
        "search/meta_dnn": Table(
            "Meta-DNN: correlation on unseen cells",
            {
                model: Cell("search/alphax:cifar10,cpu", {"model": model, "num_seeds": 5})
                for model in MODELS
            },
            rows,
        )
    }
)
