"""Tuning classifiers by the protocol of a contest: glue of `configs/search/contest`, and the table.

    python -m experiments.search.contest
    python -m experiments.search.contest --methods turbo --seeds 5 --tasks svm-digits-accuracy

128 evaluations in 16 batches of 8. A search's score on a task is 0 for the median of 256 random
points and 100 for the best reward that is known, which is the best of those and of all searches of
the command's seeds in `--workdir`, whatever their method. The reward is cross-validated, and it is
what the search sees; the contest had other samples for its last ranking.

    score, score_at_64        mean over the tasks; the interval is over seeds
    score_TASK                of each task
    best_at_128_TASK          its reward: accuracy, or log loss in nats, negative
    evaluations               of one search on one task

Each finished search is kept in `--workdir`, so that the command goes on where it was stopped; rows
are of the seeds that have finished on all tasks.
"""

from __future__ import annotations

import argparse
import functools
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.configs.search import contest as configs
from experiments.data import catalogue, registry
from experiments.report import kept_searches
from experiments.report import table as results_table
from experiments.report.finished import Finished
from experiments.runner import search_loop
from experiments.runner.checks import check_choice, check_int
from experiments.runner.evaluators import evaluator
from experiments.runner.experiment import Search
from experiments.runner.one_thread import one_thread
from experiments.search import tables as search_tables
from experiments.search import tree as tree_options
from experiments.search.methods import BOX_METHODS, PRESETS, in_box
from search import contest
from search.interface import generator

TABLE = "search/contest"
TITLE = "Tuning classifiers in 16 batches of 8: score from 0 (a random point) to 100 (best known)"
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
REFERENCE = 256  # random points
REFERENCE_SEED = 10_000  # which no search has


def build(config: Any) -> Search:
    """A search for the parameters of a classifier."""
    task = check_choice(config, "task", configs.SIZES)
    check_choice(config, "method", BOX_METHODS)
    check_choice(config, "preset", tuple(PRESETS))
    tree = tree_options.checked(config)
    name, data, metric = task.split("-")
    features, labels = samples(
        data, check_int(config, "rows", low=45)
    )  # each model has its neighbours
    box = contest.MODELS[name].box
    work = Search(
        searcher=in_box(config.method, box, preset=config.preset, budget=config.steps, **tree),
        objective=functools.partial(
            contest.validated, name, features, labels, metric,
            folds=check_int(config, "folds", low=2),
        ),
        headline=("score", "max"),
        evaluator=evaluator(config),
        batch_size=check_int(config, "batch_size", low=1),
        asynchronous=bool(config.asynchronous),
    )  # fmt: skip
    label = f"{task}-{config.method}"
    return work._replace(finish=lambda found, _: search_loop.best_row(label, work, found))


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


@search_tables.command
def main(arguments: Sequence[str] | None = None) -> int:
    """Fills the table."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    options = _options(words)
    out = search_tables.path(options, TABLE)
    for method in options.methods:
        build(_config(options.tasks[0], method, options))
    kept = Finished(options.workdir / "finished.jsonl")
    command = shlex.join(["python", "-m", "experiments.search.contest", *words])
    with one_thread():
        for task in options.tasks:
            _reference(kept, task, options)
        for seed in range(options.seeds):
            for method in options.methods:
                for task in options.tasks:
                    work = build(_config(task, method, options))
                    key = _key(task, method, seed, options)
                    kept_searches.run_once(kept, key, work, budget=options.budget, seed=seed)
            _write(kept, options, out, command)
    search_tables.show(out, [f"{method}{options.suffix}" for method in options.methods])
    return 0


def _options(words: Sequence[str]) -> argparse.Namespace:
    parser = search_tables.parser("search_contest", __doc__, "runs/search_contest")
    add = parser.add_argument
    add("--tasks", nargs="+", default=list(TASKS), choices=configs.SIZES, metavar="TASK",
        help=f"MODEL-DATA-METRIC ({' '.join(TASKS)})")  # fmt: skip
    tree_options.add_methods(parser, METHODS)
    positive = search_tables.positive
    add("--seeds", type=positive, default=5, metavar="N", help="searches each (5)")
    add("--budget", type=positive, default=128, metavar="N", help="evaluations a search (128)")
    add("--rows", type=positive, default=300, metavar="N", help="samples of a data set, at most")
    tree_options.add(parser)
    return parser.parse_args(words)


def _config(task: str, method: str, options: argparse.Namespace) -> Any:
    config = configs.get_config(f"{task},cpu")
    config.method, config.preset, config.steps = method, options.preset, options.budget
    config.rows = options.rows
    tree_options.override(config.tree, options)
    return config


def _settings(method: str, options: argparse.Namespace) -> str:
    config = _config(configs.SIZES[0], method, options)
    words = [options.preset, f"budget={options.budget}", f"batch={config.batch_size}"]
    words += [f"rows={options.rows}", f"folds={config.folds}"]
    tree = config.tree
    return " ".join([*words, *tree_options.words(method, tree), f"init={tree.num_init}"])


def _key(task: str, method: str, seed: int, options: argparse.Namespace) -> str:
    return f"{task} {method} {_settings(method, options)} seed={seed}"


def _reference(kept: Finished, task: str, options: argparse.Namespace) -> tuple[float, float]:
    """The median and the best reward of random points."""
    key = f"{task} reference points={REFERENCE} rows={options.rows}"
    if key not in kept:
        work = build(_config(task, "random", options))
        kept_searches.run_once(
            kept, key, work, budget=REFERENCE, seed=REFERENCE_SEED,
            more=lambda run: {"median": float(np.nanmedian(run.values))},
        )  # fmt: skip
    return kept[key]["median"], kept[key]["best"][-1]


def scale(kept: Finished, task: str, options: argparse.Namespace) -> tuple[float, float]:
    """The rewards that score 0 and 100."""
    typical, best = _reference(kept, task, options)
    keys = [
        _key(task, method, seed, options)
        for method in BOX_METHODS
        for seed in range(options.seeds)
    ]  # fmt: skip
    return typical, max([best, *(kept[key]["best"][-1] for key in keys if key in kept)])


def _write(kept: Finished, options: argparse.Namespace, out: Path, command: str) -> None:
    """Writes all methods' rows, as what the best known is may have changed."""
    scales = {task: scale(kept, task, options) for task in options.tasks}
    made = []
    for method in options.methods:
        seeds = [
            seed
            for seed in range(options.seeds)
            if all(_key(task, method, seed, options) in kept for task in options.tasks)
        ]
        if not seeds:
            continue
        records = {
            task: [kept[_key(task, method, seed, options)] for seed in seeds]
            for task in options.tasks
        }
        curves = {  # [seeds, budget]
            task: contest.normalised(
                np.array([each["best"][: options.budget] for each in found]),
                typical=scales[task][0], best_known=scales[task][1],
            )
            for task, found in records.items()
        }  # fmt: skip
        mean = np.mean(list(curves.values()), axis=0)
        values: dict[str, Any] = {"score": mean[:, -1]}
        if options.budget > 64:
            values["score_at_64"] = mean[:, 63]
        for task in options.tasks:
            label = task.replace("-", "_")
            values[f"score_{label}"] = curves[task][:, -1]
            values[f"best_at_{options.budget}_{label}"] = [r["best"][-1] for r in records[task]]
        values["evaluations"] = [options.budget for _ in seeds]
        made += kept_searches.over_seeds(
            f"{method}{options.suffix}", values,
            records=[each for found in records.values() for each in found], references={},
            command=command, config=_settings(method, options), seeds=seeds,
        )  # fmt: skip
    results_table.write_table(out, TITLE, made, whole=True)


if __name__ == "__main__":
    raise SystemExit(main())
