"""What a search costs besides its objective: `experiments/results/search/overhead.json`.

    python -m experiments.search.overhead
    python -m experiments.search.overhead --only lanas

lamcts_turbo-N: milliseconds a sample of LA-MCTS(TuRBO) on Ackley in 20 dimensions, in `ask` and
`tell` together, the mean over samples N - 9 to N, compiled before; at the published constants, and
with those of the preset "fast". Both wall time and this process's CPU time are rows: on a machine
with other work on it the second is the one to compare. lanas-nb201: seconds of 200 seeds of 300
LaNAS evaluations on NAS-Bench-201, compilation included.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.report import rows as result_rows
from experiments.report import table as results_table
from experiments.runner.one_thread import one_thread
from experiments.search import tables as search_tables
from experiments.search.methods import in_box
from search import benchmarks, interface

TABLE = "search/overhead"
TITLE = "Time outside the objective"
SAMPLES = (120, 200)  # at 60 the region's random design is not over yet
WINDOW = 10
AUTHORS = {120: 1980.0}  # CPU-ms a sample of the authors' code, as users report them
SOURCE = "the authors' code, CPU-s a sample, as the project's issue states them"


@search_tables.command
def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, and fills the table."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(
        prog="python -m experiments.search.overhead",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", choices=("lanas", "lamcts"), help="one of them (both)")
    parser.add_argument("--table", type=Path, default=results_table.table_path(TABLE))
    options = parser.parse_args(words)
    command = shlex.join(["python", "-m", "experiments.search.overhead", *words])
    with one_thread():
        for name, preset in (("lamcts_turbo", "paper"), ("lamcts_turbo_fast", "fast")):
            if options.only != "lanas":
                results_table.write_table(options.table, TITLE, _lamcts(name, preset, command))
        if options.only != "lamcts":
            results_table.write_table(options.table, TITLE, _lanas(command))
    for row in results_table.read_table(options.table).rows:
        print(f"{row['name']:24}{row['metric']:20}{row['value']:10.1f}")
    return 0


def _lamcts(name: str, preset: str, command: str) -> list[dict[str, Any]]:
    box = benchmarks.FUNCTIONS["ackley"].box(20)
    searcher = in_box("lamcts_turbo", box, preset=preset, budget=max(SAMPLES))
    objective = benchmarks.objective("ackley")
    interface.maximise(searcher, objective, budget=max(SAMPLES), seed=1)  # compiles
    state, wall, cpu = searcher.init(0), list[float](), list[float]()
    since = time.monotonic()
    for _ in range(max(SAMPLES)):
        start = time.perf_counter(), time.process_time()
        state, (trial,) = searcher.ask(state, 1)
        asked = time.perf_counter(), time.process_time()
        outcome = interface.score(trial, objective)
        told = time.perf_counter(), time.process_time()
        state = searcher.tell(state, [outcome])
        end = time.perf_counter(), time.process_time()
        wall.append(1e3 * (asked[0] - start[0] + end[0] - told[0]))
        cpu.append(1e3 * (asked[1] - start[1] + end[1] - told[1]))
    rows = []
    for count in SAMPLES:
        window = slice(count - WINDOW, count)
        for metric, values in (("ms_per_sample", wall), ("cpu_ms_per_sample", cpu)):
            reference = AUTHORS.get(count) if metric == "cpu_ms_per_sample" else None
            rows.append(
                result_rows.row(
                    f"{name}-{count}", metric, float(np.mean(values[window])), unit="instance",
                    command=command, config=f"ackley20 {preset} samples={WINDOW}", n=1, seeds=[0],
                    reference=reference, source=SOURCE if reference else "",
                    seconds=time.monotonic() - since,
                )
            )  # fmt: skip
    return rows


def _lanas(command: str) -> list[dict[str, Any]]:
    import jax
    import jax.numpy as jnp

    from experiments.search.nasbench201 import rewards
    from search import lanas_table

    space, values = benchmarks.nasbench201(), rewards("cifar10")
    settings = lanas_table.Settings(5, 0.1, "equation", 50, 25)
    start = time.perf_counter(), time.process_time()
    keys = jax.random.split(jax.random.key(0), 200)
    encodings = jnp.asarray(space.one_hot(space.every()), jnp.float32)
    found = lanas_table.search(
        encodings, jnp.asarray(values, jnp.float32), keys, budget=300, settings=settings
    )
    jax.block_until_ready(found)
    wall, cpu = time.perf_counter() - start[0], time.process_time() - start[1]
    config = "200 seeds x 300 evaluations, height=5 c=0.1 form=equation"
    return [
        result_rows.row(
            "lanas-nb201", metric, value, unit="instance", command=command, config=config,
            seconds=wall,
        )
        for metric, value in (("seconds", wall), ("cpu_seconds", cpu))
    ]  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
