"""Workers that die and objectives that hang: is every trial of a search accounted for?

    python -m experiments.search.workers
    python -m experiments.search.workers --kinds pool

LaNAS looks for the largest of 60 numbers, four trials open at a time, on two workers of a pool of
processes and of a Ray cluster (`pip install "ncolab[ray]"`). Of the points, some end their worker
whenever they are evaluated, some only the first time, some hang, some raise and one returns NaN.
AlphaX then searches on workers that die, and must end with the state that it has in one process.
Rows `pool` and `ray` of `experiments/results/search/workers.json`, with --record:

    ok, timeout, failed    trials by what became of them
    reported_percent       of the trials, those that were reported exactly once
    as_expected_percent    those whose outcome is what their point does
    alphax_identical       1 where AlphaX's statistics are the sequential search's to the last bit
"""

from __future__ import annotations

import argparse
import collections
import functools
import shlex
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from experiments.report import rows
from experiments.report import rows as result_rows
from experiments.report import table as results_table
from experiments.search import tables as search_tables
from experiments.search.hazards import POINTS, expected, objective, restless
from search import alphax, design_spaces, evaluate, interface, lanas, meta_dnn, ray_cluster
from search.interface import Outcome, Searcher
from search.spaces import choices

TABLE = "search/workers"
TITLE = "Searches whose workers die and whose objectives hang: what became of the trials"
KINDS = ("pool", "ray")
OPEN, WORKERS, TIMEOUT_S = 4, 2, 10.0


def workers(kind: str, work: Any, *, timeout_s: float, retries: int) -> Any:
    """The evaluator."""
    make: Any = evaluate.pool if kind == "pool" else ray_cluster.connect
    return make(work, workers=WORKERS, timeout_s=timeout_s, retries=retries)


def asynchronous(kind: str, searcher: Searcher, folder: str) -> tuple[dict[int, Any], list[Any]]:
    """A search with some trials always open: the trials by number, and all reports."""
    trials, reports, state = dict[int, Any](), list[Any](), searcher.init(0)
    work = functools.partial(objective, folder)
    with workers(kind, work, timeout_s=TIMEOUT_S, retries=1) as evaluator:
        while len(reports) < POINTS:
            wanted = min(OPEN - (len(trials) - len(reports)), POINTS - len(trials))
            if wanted > 0:
                state, asked = searcher.ask(state, wanted)
                for trial in asked:
                    trials[trial.id] = trial
                    evaluator.submit(trial)
            heard = evaluator.collect(wait_s=1.0)
            reports += heard
            state = searcher.tell(state, [report.outcome for report in heard])
    return trials, reports


def is_identical(kind: str, folder: str) -> bool:
    """Whether AlphaX ends on dying workers as it does in one process, outcome after outcome."""
    tool = alphax.searcher(
        design_spaces.choices_in_order(choices([4, 3, 3])), c=0.1, predictor=meta_dnn.mlp((8,)),
        num_init=4, refit_every=4, rollouts=3,
    )  # fmt: skip
    state, alone = tool.init(0), tool.init(0)
    work = functools.partial(restless, folder)
    with workers(kind, work, timeout_s=60.0, retries=3) as evaluator:
        for _ in range(6):
            state, trials = tool.ask(state, 4)
            alone, same = tool.ask(alone, 4)
            for trial in trials:
                evaluator.submit(trial)
            heard: list[Any] = []
            while len(heard) < len(trials):
                heard += evaluator.collect(wait_s=1.0)
            state = tool.tell(state, [report.outcome for report in heard])
            for trial in same:
                value = float(sum(trial.point)) / len(trial.point)
                alone = tool.tell(alone, [Outcome(trial.id, value, "ok")])
    pairs = jax.tree.map(
        lambda one, other: np.array_equal(one, other, equal_nan=np.asarray(one).dtype.kind == "f"),
        state, alone,
    )  # fmt: skip
    return all(jax.tree.leaves(pairs))


def measure(kind: str, command: str) -> list[dict[str, Any]]:
    """The rows of a kind of workers."""
    started = time.monotonic()
    searcher = lanas.searcher(choices([POINTS, 2]), height=3, num_init=20, select_every=10)
    with tempfile.TemporaryDirectory() as folder:
        trials, reports = asynchronous(kind, searcher, folder)
    with tempfile.TemporaryDirectory() as folder:
        identical = is_identical(kind, folder)
    times = collections.Counter(report.outcome.id for report in reports)
    right = [
        report.outcome.status == expected(int(trials[report.outcome.id].point[0]))
        for report in reports
    ]
    statuses = collections.Counter(report.outcome.status for report in reports)
    values = {
        **{status: float(statuses[status]) for status in interface.STATUSES},
        "reported_percent": 100 * float(np.mean([times[number] == 1 for number in trials])),
        "as_expected_percent": 100 * float(np.mean(right)),
        "alphax_identical": float(identical),
    }
    config = f"lanas height=3 trials={POINTS} open={OPEN} workers={WORKERS} timeout_s={TIMEOUT_S:g}"
    return [
        result_rows.row(
            kind, metric, value, n=len(trials), unit="instance", command=command, config=config,
            machine=rows.here(), seeds=[0], seconds=time.monotonic() - started,
        )
        for metric, value in values.items()
    ]  # fmt: skip


@search_tables.command
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    options = _options(words)
    out = search_tables.path(options, TABLE)
    if "ray" in options.kinds:
        ray_cluster.require()
    command = shlex.join(["python", "-m", "experiments.search.workers", *words])
    for kind in options.kinds:
        results_table.write_table(out, TITLE, measure(kind, command), whole=True)
    search_tables.show(out, options.kinds)
    return 0


def _options(words: Sequence[str]) -> argparse.Namespace:
    parser = search_tables.parser("search_workers", __doc__, "runs/search_workers")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="(both)")
    return parser.parse_args(words)


if __name__ == "__main__":
    raise SystemExit(main())
