"""AlphaX (Wang 2022, chapter 3) on NAS-Bench-201, and its parts alone.

    python -m experiments.search_alphax nasbench201 --methods alphax mcts --seeds 50
    python -m experiments.search_alphax predictors
    python -m experiments.search_alphax transfer

nasbench201: samples until the best of 15,625 cells, into `experiments/results/search/`
`nasbench201.json`. The reward is the mean validation accuracy of a cell's trainings, in [0, 1];
random search expects 7,813 samples. Methods, whose settings stand in each row:

    alphax          c = 0.1, k = 10, and a multi-stage predictor of four intervals: an MLP each for
                    accuracies below 25, 50, 75 and 100 % (the thesis names the first)
    alphax_c0.5     the thesis's c
    alphax_mlp      c = 0.1, one MLP as the predictor
    alphax_parts    c = 0.1, the intervals divide the samples into four equal parts
    mcts            c = 0.1, the same actions without a predictor
    mcts_c0.5       the thesis's c
    mcts_equation   c = 0.1 in the other bound that the thesis prints, 2.83 times less exploration
    q_learning      epsilon-greedy Q-learning over the same actions

predictors: the correlation of predicted and true accuracy on a fifth of the cells that no model has
seen (section 3.3.2: LSTM 0.743, MLP 0.784, multi-stage 1.2 % more, on NASBench-101), and of their
ranks, after 500 samples and after all others, into `meta_dnn.json`. The MLPs are of 256 and 256 and
not of the thesis's widths (`meta_dnn.THESIS_WIDTHS`), which take an hour here.

transfer: epochs that a network needs which starts from the weights of the network it was edited
from (figure 3.8: 17 do for 70), in miniature, into `weight_transfer.json`.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from experiments import results_table, tabular_search, weight_transfer_study
from experiments.data import catalogue, registry
from experiments.results_table import mean_interval
from search import alphax, mcts, meta_dnn, q_learning, spaces
from search.design_spaces import choices_in_order
from search.interface import Searcher
from search.meta_dnn import Predictor

TASKS = ("cifar10", "cifar100", "imagenet")
TITLE = "NAS-Bench-201: samples to the best cell"
EDGES = (0.25, 0.5, 0.75)
QUARTERS = "predictor=multi_stage edges=0.25,0.5,0.75"
IDLE = 100  # trials in a row without a new cell, each after 100 iterations, as they are here
Make = Callable[[spaces.Choices], Searcher]


def _quarters() -> Predictor:
    return meta_dnn.multi_stage(edges=EDGES)


def _alphax(
    space: spaces.Choices, *, c: float, predictor: Callable[[], Predictor] = _quarters
) -> Searcher:
    problem = choices_in_order(space)
    return alphax.searcher(problem, c=c, predictor=predictor(), encode=space.one_hot, rollouts=10)


def _mcts(space: spaces.Choices, **settings: Any) -> Searcher:
    return mcts.searcher(choices_in_order(space), **settings)


def _q_learning(space: spaces.Choices) -> Searcher:
    return q_learning.searcher(choices_in_order(space), epsilon=0.3, repeats=20)


METHODS: dict[str, tuple[Make, str]] = {
    "alphax": (
        partial(_alphax, c=0.1),
        f"c=0.1 form=algorithm {QUARTERS} k=10",
    ),
    "alphax_c0.5": (
        partial(_alphax, c=0.5),
        f"c=0.5 form=algorithm {QUARTERS} k=10",
    ),
    "alphax_mlp": (
        partial(_alphax, c=0.1, predictor=meta_dnn.mlp),
        "c=0.1 form=algorithm predictor=mlp k=10",
    ),
    "alphax_parts": (
        partial(_alphax, c=0.1, predictor=meta_dnn.multi_stage),
        "c=0.1 form=algorithm predictor=multi_stage stages=4 k=10",
    ),
    "mcts": (partial(_mcts, c=0.1), "c=0.1 form=algorithm"),
    "mcts_c0.5": (partial(_mcts, c=0.5), "c=0.5 form=algorithm"),
    "mcts_equation": (partial(_mcts, c=0.1, form="equation"), "c=0.1 form=equation"),
    "q_learning": (_q_learning, "alpha=0.1 gamma=1 epsilon=0.3 decay=200 initial=0.5"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    flags = parse(words)
    command = shlex.join(["python", "-m", "experiments.search_alphax", *words])
    try:
        if flags.what == "nasbench201":
            nasbench201(flags.task, flags.methods, flags.seeds, flags.budget, command)
        elif flags.what == "predictors":
            predictors(flags.task, flags.seeds, command)
        else:
            weight_transfer_study.measure(flags.seeds, command)
    except registry.MissingDataset as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.search_alphax",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("what", choices=("nasbench201", "predictors", "transfer"))
    add("--task", choices=TASKS, default="cifar10", help="whose accuracies (cifar10)")
    add("--methods", nargs="+", choices=tuple(METHODS), default=["alphax"], metavar="METHOD")
    add("--seeds", type=int, metavar="N", help="searches (50), or trainings (5)")
    add("--budget", type=int, default=15_625, metavar="N", help="samples of a search at most")
    flags = parser.parse_args(words)
    flags.seeds = flags.seeds or (50 if flags.what == "nasbench201" else 5)
    if not 1 <= flags.seeds <= 10_000:
        parser.error(f"--seeds: expected 1 to 10,000, got {flags.seeds}")
    if not 1 <= flags.budget <= 15_625:
        parser.error(f"--budget: expected 1 to 15,625, got {flags.budget}")
    return flags


def accuracies(task: str) -> np.ndarray:
    """The reward of each cell, [15625]: its mean validation accuracy, in [0, 1].

    Raises:
      registry.MissingDataset: the table is not there; the message is the command that gets it.
    """
    table = registry.load(catalogue.DATASETS["nasbench201"])
    return np.nanmean(table[f"{task}_val_acc"].astype(np.float64), axis=1) / 100


def nasbench201(
    task: str, methods: Sequence[str], seeds: int, budget: int, command: str
) -> list[dict[str, Any]]:
    """Runs the methods and records their rows, each as soon as it is done."""
    values, space = accuracies(task), spaces.choices([5] * 6)
    path, rows = results_table.table_path("search/nasbench201"), []
    for method in methods:
        make, config = METHODS[method]
        searcher, started, found = make(space), time.monotonic(), []
        for seed in range(seeds):
            found.append(
                tabular_search.samples_to_best(
                    searcher,
                    lambda point: values[space.rows(point[None])[0]],
                    float(values.max()),
                    seed=seed,
                    budget=budget,
                    idle=IDLE,
                )
            )
            print(f"{task}-{method}, seed {seed}: {found[-1].samples} samples", flush=True)
        made = tabular_search.sample_rows(
            f"{task}-{method}",
            found,
            command=command,
            config=config,
            seconds=time.monotonic() - started,
        )
        results_table.write_table(path, TITLE, made)
        rows += made
        print(f"{task}-{method}: median {made[0]['value']:.0f}, mean {made[1]['value']:.0f}")
    return rows


def predictors(task: str, seeds: int, command: str) -> list[dict[str, Any]]:
    """Fits each predictor to 80 % of the cells and correlates on the rest; records the rows."""
    values, space = accuracies(task), spaces.choices([5] * 6)
    cells = space.every()
    large = meta_dnn.Training(epochs=20)
    models: dict[str, tuple[Predictor, Any, float | None]] = {
        "lstm": (meta_dnn.lstm(5, training=large), cells, 0.743),
        "mlp": (meta_dnn.mlp((256, 256), large), space.one_hot(cells), 0.784),
        "multi_stage": (
            meta_dnn.multi_stage((256, 256), edges=EDGES, training=large), space.one_hot(cells),
            0.796,
        ),
        "multi_stage_parts": (
            meta_dnn.multi_stage((256, 256), training=large), space.one_hot(cells), None,
        ),
    }  # fmt: skip
    path, rows = results_table.table_path("search/meta_dnn"), []
    for samples in (500, int(0.8 * len(cells))):
        for name, (model, encodings, reference) in models.items():
            started, found, ranked = time.monotonic(), [], []
            for seed in range(seeds):
                order = np.random.default_rng(seed).permutation(len(cells))
                held = order[int(0.8 * len(cells)) :]
                params = model.fit(encodings[order[:samples]], values[order[:samples]], seed)
                guess = model.predict(params, encodings[held])
                found.append(meta_dnn.correlation(guess, values[held]))
                ranks = [np.argsort(np.argsort(each)) for each in (guess, values[held])]
                ranked.append(meta_dnn.correlation(*ranks))
            whole = samples > 500
            for metric, each in (("correlation", found), ("rank_correlation", ranked)):
                quoted = reference if whole and metric == "correlation" else None
                rows.append(
                    results_table.row(
                        f"{task}-{name}-{samples}",
                        metric,
                        mean_interval(each),
                        unit="seed",
                        command=command,
                        config=f"samples={samples} epochs=20 lstm=100 widths=256,256",
                        reference=quoted,
                        source="Wang 2022, section 3.3.2, NASBench-101" if quoted else "",
                        seeds=range(seeds),
                        seconds=time.monotonic() - started,
                    )
                )
                print(f"{rows[-1]['name']} {metric}: {rows[-1]['value']:.3f}", flush=True)
            results_table.write_table(path, "Meta-DNN: correlation on unseen cells", rows)
    return rows


if __name__ == "__main__":
    raise SystemExit(main())
