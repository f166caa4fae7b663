"""Kernels of the search room: LaNAS on a table, and the Gaussian process inside TuRBO's regions.

What surrounds them (trees, support vector machines, journals) is NumPy and scikit-learn on the
host; `experiments.search.overhead` times whole searches.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from experiments.bench.kernel import Kernel
from search import benchmarks, gp, lanas_table, turbo

SEEDS = 8
DIM = 20


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
