"""Kernels of the search room: LaNAS on a table, and the Gaussian process inside TuRBO's regions.

What surrounds them (trees, support vector machines, journals) is NumPy and scikit-learn on the
host; timings are of whole searches, besides their objective:

    python -m experiments.bench search --only 'overhead-*'

lamcts_turbo-N: milliseconds a sample of LA-MCTS(TuRBO) on Ackley in 20 dimensions, in `ask` and
`tell` together, the mean over samples N - 9 to N, compiled before; at the published constants, and
with those of the preset "fast". Both wall time and this process's CPU time are rows: on a machine
with other work on it the second is the one to compare. lanas-nb201: seconds of 200 seeds of 300
LaNAS evaluations on NAS-Bench-201, compilation included.
"""

from __future__ import annotations

import functools
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.bench.kernel import Kernel, Timing
from experiments.report.rows import Row
from experiments.runner.one_thread import one_thread
from search import benchmarks, gp, interface, lamcts, lanas_table, turbo

SEEDS = 8
DIM = 20
SAMPLES = (120, 200)  # at 60 the region's random design is not over yet
WINDOW = 10
AUTHORS = 1980.0  # CPU-ms a sample of the authors' code at 120, as users report them
SOURCE = "the authors' code, as its users report it; not measured here"


def kernels(*, tiny: bool = False) -> list[Kernel]:
    """Returns the kernels; those of the process are in float64, and their floor is of float32.

    Args:
      tiny: few samples instead, for tests.
    """
    made = [_lanas(tiny)]
    for points in (50,) if tiny else (200, 1000):
        made += [_fit(points, tiny), _sample(points, tiny)]
    return made


def _lanas(tiny: bool) -> Kernel:
    settings = lanas_table.Settings(num_init=10, select_every=5) if tiny else lanas_table.Settings()
    budget = settings.num_init + (1 if tiny else 12) * settings.select_every
    space = benchmarks.nasbench201()

    def program(encodings: Any, values: Any, keys: Any) -> Any:
        return lanas_table.search(encodings, values, keys, budget=budget, settings=settings)

    def arguments() -> tuple:
        encodings = space.one_hot(space.every()).astype(np.float32)
        values = np.random.default_rng(0).normal(size=len(encodings)).astype(np.float32)
        return encodings, values, jax.random.split(jax.random.key(0), SEEDS)

    return Kernel(
        name="lanas-table",
        items=SEEDS * budget,
        unit="sample",
        program=program,
        arguments=arguments,
        settings={"seeds": SEEDS, "samples": budget, "rows": space.size, **settings._asdict()},
    )


def _data(points: int) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(0)
    return rng.random((points, DIM)), rng.normal(size=points), np.ones(points, bool)


def _fit(points: int, tiny: bool) -> Kernel:
    """Adam on the marginal likelihood, and the factor of the data's covariance."""
    steps = 1 if tiny else turbo.FAST.fit_steps

    def program(rows: Any, values: Any, known: Any) -> Any:
        return gp._fit(rows, values, known, gp.initial(DIM), 0.1, steps=steps)

    return Kernel(
        name=f"gp-fit-{points}",
        items=steps,
        unit="step",
        program=program,
        arguments=lambda: _data(points),
        x64=True,
        settings={"points": points, "dim": DIM, "adam_steps": steps},
    )


def _sample(points: int, tiny: bool) -> Kernel:
    """A draw of the posterior at all candidates together, as Thompson sampling needs it."""
    count = 100 if tiny else turbo.FAST.candidates

    def program(posterior: Any, at: Any, normals: Any) -> Any:
        return gp._sample(posterior, at, normals)

    def arguments() -> tuple:
        rows, values, _ = _data(points)
        posterior = gp.fit(rows, values, steps=0)
        rng = np.random.default_rng(1)
        return posterior, rng.random((count, DIM)), rng.normal(size=(1, count))

    return Kernel(
        name=f"gp-sample-{points}",
        items=count,
        unit="candidate",
        program=program,
        arguments=arguments,
        x64=True,
        settings={"points": points, "dim": DIM, "candidates": count},
    )


def timings(*, tiny: bool = False) -> list[Timing]:
    """Returns what searches cost besides their objective.

    Args:
        tiny: few samples instead, for tests.
    """
    stock = lamcts.Settings(num_init=4, round_init=4) if tiny else lamcts.Settings()
    fast = stock._replace(turbo=turbo.FAST)
    samples = (9, 12) if tiny else SAMPLES
    return [
        Timing("overhead-lamcts_turbo", functools.partial(_lamcts, stock, "paper", samples)),
        Timing("overhead-lamcts_turbo_fast", functools.partial(_lamcts, fast, "fast", samples)),
        Timing("overhead-lanas", functools.partial(_lanas_table, 8 if tiny else 200, tiny)),
    ]


def _lamcts(settings: lamcts.Settings, preset: str, samples: tuple[int, ...]) -> list[Row]:
    searcher = lamcts.searcher(benchmarks.FUNCTIONS["ackley"].box(DIM), settings)
    objective, clocks = benchmarks.objective("ackley"), (time.perf_counter, time.process_time)
    name = "lamcts_turbo" if preset == "paper" else f"lamcts_turbo_{preset}"
    with one_thread():
        interface.maximise(searcher, objective, budget=max(samples), seed=1)  # compiles
        state, spent = searcher.init(0), np.zeros((max(samples), len(clocks)))
        for number in range(max(samples)):
            spent[number] -= [clock() for clock in clocks]
            state, (trial,) = searcher.ask(state, 1)
            spent[number] += [clock() for clock in clocks]
            outcome = interface.score(trial, objective)
            spent[number] -= [clock() for clock in clocks]
            state = searcher.tell(state, [outcome])
            spent[number] += [clock() for clock in clocks]
    rows = list[Row]()
    for count in samples:
        wall, cpu = 1e3 * spent[max(0, count - WINDOW) : count].mean(0)
        known = {"config": f"ackley20 {preset} samples={WINDOW}", "seeds": [0]}
        theirs = {"reference": AUTHORS, "source": SOURCE} if count == SAMPLES[0] else {}
        rows.append({"metric": "ms_per_sample", "value": float(wall), **known})
        rows.append({"metric": "cpu_ms_per_sample", "value": float(cpu), **known, **theirs})
        for row in rows[-2:]:
            row |= {"name": f"{name}-{count}", "unit": "instance"}
    return rows


def _lanas_table(seeds: int, made_up: bool) -> list[Row]:
    from experiments.search.nasbench201 import MADE_UP, rewards

    space, values = benchmarks.nasbench201(), rewards(MADE_UP if made_up else "cifar10")
    settings = lanas_table.Settings(5, 0.1, "equation", 50, 25)
    budget = 75 if made_up else 300
    start = time.perf_counter(), time.process_time()
    keys = jax.random.split(jax.random.key(0), seeds)
    encodings = jnp.asarray(space.one_hot(space.every()), jnp.float32)
    found = lanas_table.search(
        encodings, jnp.asarray(values, jnp.float32), keys, budget=budget, settings=settings
    )
    jax.block_until_ready(found)
    wall, cpu = time.perf_counter() - start[0], time.process_time() - start[1]
    config = f"{seeds} seeds x {budget} evaluations, height=5 c=0.1 form=equation"
    known = {"name": "lanas-nb201", "unit": "instance", "config": config}
    return [
        {"metric": metric, "value": value, **known}
        for metric, value in (("seconds", wall), ("cpu_seconds", cpu))
    ]
