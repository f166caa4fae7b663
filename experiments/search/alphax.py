"""Parts of AlphaX (Wang 2022, chapter 3) alone; the search is in `experiments.search.nasbench201`.

    python -m experiments.search.alphax predictors
    python -m experiments.search.alphax transfer
    python -m experiments.search.alphax transfer_search

predictors: the correlation of predicted and true accuracy on a fifth of the cells that no model has
seen (section 3.3.2: LSTM 0.743, MLP 0.784, multi-stage 1.2 % more, on NASBench-101), and of their
ranks, after 500 samples and after all others, into `meta_dnn.json`. The MLPs are of 256 and 256 and
not of the thesis's widths (`meta_dnn.THESIS_WIDTHS`), which take an hour here.

transfer: epochs that a network needs which starts from the weights of the network it was edited
from (figure 3.8: 17 do for 70), in miniature, into `weight_transfer.json`.

transfer_search: a search that trains its networks for 9 epochs each, from its trials' weights or
from fresh ones (`experiments.search.transfer_search`); into the same file.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.data.nasbench201 import TASKS
from experiments.report import rows as result_rows
from experiments.report import table as results_table
from experiments.report.interval import mean_interval
from experiments.search import tables as search_tables
from experiments.search import transfer_search, weight_transfer_study
from experiments.search.methods import EDGES
from experiments.search.nasbench201 import rewards
from search import meta_dnn, spaces
from search.meta_dnn import Predictor


@search_tables.command
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    flags = parse(words)
    command = shlex.join(["python", "-m", "experiments.search.alphax", *words])
    if flags.what == "predictors":
        predictors(flags.task, flags.seeds, command)
    elif flags.what == "transfer":
        weight_transfer_study.measure(flags.seeds, command)
    else:
        transfer_search.measure(flags.seeds, command)
    return 0


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.search.alphax",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("what", choices=("predictors", "transfer", "transfer_search"))
    add("--task", choices=TASKS, default="cifar10", help="whose accuracies (cifar10)")
    add("--seeds", type=int, default=5, metavar="N", help="trainings")
    flags = parser.parse_args(words)
    if not 1 <= flags.seeds <= 10_000:
        parser.error(f"--seeds: expected 1 to 10,000, got {flags.seeds}")
    return flags


def predictors(task: str, seeds: int, command: str) -> list[dict[str, Any]]:
    """Fits each predictor to 80 % of the cells and correlates on the rest; records the rows."""
    values, space = rewards(task), spaces.choices([5] * 6)
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
                    result_rows.row(
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
