"""Glue of `experiments/configs/nco/labels.py`: near-optimal tours to learn from.

The thesis uses one million optimal tours (Pham 2021, section 2.5.1); near-optimal ones (fast-tsp)
stand for them. A search of listed points: a point is the first and the number of some instances,
and the journal keeps their tours, so that a run goes on where it was killed, and with more `steps`
adds to its labels. At its end they are in `labels.npz`, with the gap of the first 100: to proven
optima for 20 cities or fewer, else to searches of ten times the length.
"""

from __future__ import annotations

import functools
import json
import os
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from experiments.nco import solver_pool
from experiments.nco.problems import lengths
from experiments.report.interval import mean_interval
from experiments.report.rows import Row
from experiments.runner import search_journal
from experiments.runner.checks import check_int
from experiments.runner.experiment import Search
from experiments.runner.workdir import replacing
from nco import solvers
from search import listed
from search.interface import Measured

FILE = "labels.npz"
SEED = 30_000  # apart from validation and test sets, which have seeds of their own
_COMPARED, _PROVEN_CITIES = 100, 20


class Labels(NamedTuple):
    """Instances with tours.

    Attributes:
        coords: float32 `[count, cities, 2]` in the unit square.
        tours: int32 `[count, cities]`, from city 0 on, towards its neighbour of the smaller number.
        about: solver, cities, and `gap_percent` of `gap_of` of them to what `gap_to` says.
    """

    coords: np.ndarray
    tours: np.ndarray
    about: dict[str, Any]


def build(config: ConfigDict) -> Search:
    """Checks the config and makes the search; raises ConfigError naming the key."""
    cities = check_int(config, "cities", low=4, high=1000)
    part = check_int(config, "part", low=1)

    def solve(point: list[int], seed: int) -> Measured:
        coords = instances(cities, sum(point))[point[0] :]
        found = _solved(solvers.near_optimal, coords)
        return Measured(-float(found.lengths.mean()), {"tours": found.tours})

    return Search(
        searcher=listed.searcher([[part * place, part] for place in range(config.steps)]),
        objective=solve,
        headline=("tour_length", "min"),
        require=lambda: solvers.near_optimal(np.eye(4)),
        finish=functools.partial(_finish, cities),
    )


def _solved(solver: Any, coords: np.ndarray) -> solver_pool.Solutions:
    return solver_pool.solve_many(solver, coords, processes=min(2, os.cpu_count() or 1))


def _finish(cities: int, searched: Any, workdir: Path) -> list[Row]:
    """Writes the labels, and compares the first with better tours."""
    (found,) = search_journal.recorded(workdir)
    tours = np.concatenate([np.array(each["tours"], np.int32) for each in found.more])
    coords = instances(cities, len(tours))
    proof = cities <= _PROVEN_CITIES
    better: Any = solvers.exact
    if not proof:
        better = functools.partial(solvers.near_optimal, seconds=0.005 * cities)
    best = _solved(better, coords[:_COMPARED]).lengths
    gap = mean_interval(100 * (lengths(coords[: len(best)], tours[: len(best)]) / best - 1))
    about = {
        "solver": "fast-tsp",
        "cities": cities,
        "gap_percent": round(gap.value, 6),
        "gap_of": gap.n,
        "gap_to": "proven optima" if proof else "searches of ten times the length",
    }
    save(workdir / FILE, Labels(coords, tours, about))
    row = {"name": f"tsp{cities}-labels", "metric": "gap_percent", "unit": "instance"}
    return [row | gap._asdict()]


def instances(cities: int, count: int) -> np.ndarray:
    """Instances, float32 `[count, cities, 2]`; the first ones do not depend on the count."""
    return np.random.default_rng(SEED).random((count, cities, 2), np.float32)


def solved(cities: int, count: int) -> Labels:
    """A few labels without a file, by Christofides' algorithm, which never varies."""
    coords = instances(cities, count)
    tours = np.stack([solvers.christofides(each) for each in coords])
    return Labels(coords, tours, {"solver": "christofides", "cities": cities})


def save(path: Path, labels: Labels) -> None:
    """Writes the file whole, or not at all."""
    about = json.dumps(labels.about)
    with replacing(path) as temporary, temporary.open("xb") as file:
        np.savez(file, coords=labels.coords, tours=labels.tours, about=about)


def load(path: str | Path) -> Labels:
    """Reads a file of labels; "runs/tsp20.npz" may stand for the folder "runs/tsp20" of a run.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is none, or its tours are no permutations.
    """
    path = Path(path)
    path = path if path.is_file() else path.with_suffix("") / FILE
    try:
        with np.load(path, allow_pickle=False) as held:
            labels = Labels(held["coords"], held["tours"], json.loads(str(held["about"])))
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: expected a file of labels: {error}") from error
    count, cities = labels.tours.shape
    good = np.array_equal(np.sort(labels.tours, axis=1), np.tile(np.arange(cities), (count, 1)))
    if not good or labels.coords.shape != (count, cities, 2):
        raise ValueError(f"{path}: expected tours of all cities, one an instance")
    return labels
