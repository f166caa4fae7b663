"""Tuning classifiers by the protocol of a contest: glue of `configs/search/contest`, and the table.

    python -m experiments.report --fill search/contest --only 'tpe-*' 'turbo-*'

128 evaluations in 16 batches of 8. A search's score on a task is 0 for the median of 256 random
points (cells `reference-TASK`) and 100 for the best reward that is known, which is the best of
those and of all cells that are filled with it, whatever their method. The reward is
cross-validated, and it is what the search sees; the contest had other samples for its last ranking.

    score, score_at_64        mean over the tasks; the interval is over seeds
    score_TASK                of each task
    best_at_128_TASK          its reward: accuracy, or log loss in nats, negative
    evaluations               of one search on one task

A cell is METHOD-TASK. A method has rows when all its tasks have ended: the cell of its first task
makes them.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

from experiments.data import catalogue, registry
from experiments.report.rows import Row
from experiments.report.sweep import Cell, Table, Workdirs
from experiments.runner.checks import check_choice, check_int
from experiments.runner.experiment import Search
from experiments.runner.search_journal import recorded
from experiments.runner.workdir import RESULTS, read_results
from experiments.search.config import CONTEST
from experiments.search.curves import curves, over_seeds
from experiments.search.methods import box_search
from search import contest
from search.interface import generator

TASKS = (
    "knn-breast_cancer-log_loss",
    "svm-digits-accuracy",
    "svm-breast_cancer-accuracy",
    "tree-wine-log_loss",
    "forest-breast_cancer-log_loss",
    "mlp-wine-log_loss",
    "ada-wine-log_loss",
    "linear-breast_cancer-log_loss",
)
METHODS = ("lamcts_turbo", "turbo", "lamcts_bo", "bo", "random", "tpe", "cma")
RANDOM = {"method": "random", "steps": 256, "seed": 10_000}  # which no search has


def build(config: Any) -> Search:
    """A search for the parameters of a classifier."""
    task = check_choice(config, "task", CONTEST)
    name, data, metric = task.split("-")
    # Each model has its neighbours.
    features, labels = samples(data, check_int(config, "rows", low=45))
    folds = check_int(config, "folds", low=2)
    validated = functools.partial(contest.validated, name, features, labels, metric, folds=folds)
    box = contest.MODELS[name].box
    return box_search(config, box, validated, task, headline=("score", "max"))


def samples(data: str, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """A data set's features, float64 [n, columns], and labels, int32 [n]; n is at most `rows`."""
    loaded = registry.load(catalogue.DATASETS[data])
    if data == "digits":
        features = loaded["train_images"].reshape(len(loaded["train_images"]), -1)
        labels = loaded["train_labels"]
    else:
        features, labels = loaded["features"], loaded["labels"]
    kept = np.sort(generator(0).permutation(len(labels))[:rows])
    return features[kept].astype(np.float64), labels[kept]


# A method's rows are made by its cell of the first task, of these.
NEEDS = {
    f"{method}-{TASKS[0]}": tuple(f"{some}-{t}" for some in (method, "reference") for t in TASKS)
    for method in METHODS
}


def _cells() -> Iterator[tuple[str, Cell]]:
    for task in TASKS:
        yield f"reference-{task}", Cell(f"search/contest:{task},cpu", RANDOM)
    for method in METHODS:
        for task in TASKS:
            name, changes = f"{method}-{task}", {"method": method, "num_seeds": 3}
            needs = NEEDS.get(name, ())
            yield name, Cell(f"search/contest:{task},cpu", changes, needs=needs)


def scale(task: str, workdirs: Workdirs) -> tuple[float, float]:
    """The rewards that score 0 and 100."""
    reference = [each.values for each in recorded(workdirs[f"reference-{task}"])]
    ended = [folder for name, folder in workdirs.items() if name.partition("-")[2] == task]
    best = max(float(curves(folder).max()) for folder in ended)
    return float(np.nanmedian(reference)), best


def _rows(name: str, workdirs: Workdirs) -> list[Row]:
    if not set(NEEDS.get(name, [""])) <= workdirs.keys():
        return []
    method = name.partition("-")[0]
    scores, bests = {}, {}
    for task in TASKS:
        typical, known = scale(task, workdirs)
        found = curves(workdirs[f"{method}-{task}"])  # [seed, evaluation]
        label = task.replace("-", "_")
        scores[label] = contest.normalised(found, typical=typical, best_known=known)
        bests[label] = found[:, -1]
    mean = np.mean(list(scores.values()), axis=0)
    seeds, budget = mean.shape
    values: dict[str, Any] = {"score": mean[:, -1]}
    if budget > 64:
        values["score_at_64"] = mean[:, 63]
    for label, score in scores.items():
        values[f"score_{label}"] = score[:, -1]
        values[f"best_at_{budget}_{label}"] = bests[label]
    values["evaluations"] = [budget] * seeds
    spent = [read_results(workdirs[f"{method}-{task}"] / RESULTS)["seconds"] for task in TASKS]
    return [row | {"seconds": round(sum(spent), 3)} for row in over_seeds(method, values)]


TABLES = {
    "search/contest": Table(
        "Tuning classifiers in 16 batches of 8: score from 0 (a random point) to 100 (best known)",
        dict(_cells()),
        _rows,
    )
}
