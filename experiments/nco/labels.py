"""Labels for supervised learning: random instances of the TSP and near-optimal tours of them.

    python -m experiments.nco.labels --cities 20 --count 20000 --out runs/labels/tsp20.npz

The seed uses one million optimal tours (Pham 2021, section 2.5.1); near-optimal ones (fast-tsp, at
some 40 a second and core for 20 cities) stand for them. The file states the mean gap of up to 100
of them: to proven optima for 20 cities or fewer, else to searches of ten times the length. It grows
part by part; the same command, killed, goes on where it was, and with a larger --count adds to it.
Instance i is the same whatever the count.
"""

from __future__ import annotations

import argparse
import functools
import io
import json
import os
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.nco import solver_pool
from experiments.nco.tables import Parser
from nco import solvers

SEED = 30_000  # apart from validation and test sets, which have seeds of their own
_PROVEN, _PROVEN_CITIES = 100, 20


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code."""
    parser = Parser(
        prog="python -m experiments.nco.labels",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--cities", type=int, default=20, metavar="N", help="cities an instance (20)")
    add("--count", type=int, default=20_000, metavar="N", help="instances (20,000)")
    add("--out", type=Path, required=True, metavar="FILE.npz", help="made, or continued")
    add("--part", type=int, default=2000, metavar="N", help="instances between two writes (2,000)")
    flags = parser.parse_args(arguments)
    if not (4 <= flags.cities <= 1000 and flags.count >= 1 and flags.part >= 1):
        parser.error("--cities, --count, --part: expected 4 to 1000, and at least 1")
    if flags.out.suffix != ".npz":
        parser.error(f"--out: expected a file that ends in .npz, got {flags.out}")
    try:
        old = load(flags.out) if flags.out.exists() else None
    except ValueError as error:
        parser.error(f"--out: {error}")
    if old is not None and old.coords.shape[1] != flags.cities:
        parser.error(f"--out: {flags.out} holds instances of {old.coords.shape[1]} cities")
    done = 0 if old is None else len(old.coords)
    coords = instances(flags.cities, max(flags.count, done))
    if old is not None and not np.array_equal(coords[:done], old.coords):
        parser.error(f"--out: {flags.out} holds other instances")
    tours = np.zeros((0, flags.cities), np.int32) if old is None else old.tours
    about = {} if old is None else old.about
    from tqdm import tqdm

    with tqdm(total=flags.count, initial=done, disable=not sys.stderr.isatty()) as bar:
        while len(tours) < flags.count:
            part = coords[len(tours) : min(len(tours) + flags.part, flags.count)]
            found = solver_pool.solve_many(
                solvers.near_optimal, part, progress=lambda *_: bar.update(1)
            )
            tours = np.concatenate([tours, found.tours])
            if not about:
                about = {"solver": "fast-tsp", "cities": flags.cities} | _gap(part, found.lengths)
            save(flags.out, Labels(coords[: len(tours)], tours, about))
    print(f"{flags.out}: {len(tours):,} tours; {json.dumps(about)}")
    return 0


def instances(cities: int, count: int) -> np.ndarray:
    """Instances, float32 `[count, cities, 2]`; the first ones do not depend on the count."""
    return np.random.default_rng(SEED).random((count, cities, 2), np.float32)


def solved(cities: int, count: int) -> Labels:
    """A few labels without a file, by Christofides' algorithm, which never varies."""
    coords = instances(cities, count)
    tours = np.stack([solvers.christofides(each) for each in coords])
    return Labels(coords, tours, {"solver": "christofides", "cities": cities})


def _gap(coords: np.ndarray, lengths: np.ndarray) -> dict[str, Any]:
    """How far the first labels are from proven optima, or from what long searches find."""
    cities = coords.shape[1]
    proof = cities <= _PROVEN_CITIES
    better: Any = solvers.exact
    if not proof:
        better = functools.partial(solvers.near_optimal, seconds=0.005 * cities)
    best = solver_pool.solve_many(better, coords[:_PROVEN]).lengths
    gap = 100 * (lengths[: len(best)] / best - 1)
    return {
        "gap_percent": round(float(gap.mean()), 6),
        "gap_of": len(best),
        "gap_to": "proven optima" if proof else "searches of ten times the length",
    }


def save(path: Path, labels: Labels) -> None:
    """Writes the file whole, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    np.savez(buffer, coords=labels.coords, tours=labels.tours, about=json.dumps(labels.about))
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(buffer.getvalue())
    os.replace(temporary, path)


def load(path: str | Path) -> Labels:
    """Reads a file of labels.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is none, or its tours are no permutations.
    """
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


if __name__ == "__main__":
    raise SystemExit(main())
