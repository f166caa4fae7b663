"""Real places for tours: bundled cities on a map, and instances of TSPLIB with their optima.

The optima are those of G. Reinelt, "TSPLIB - a traveling salesman problem library", ORSA Journal on
Computing 3, 1991, and of the library's own list of proven ones.
"""

import csv
from pathlib import Path
from typing import Any

import numpy as np

from experiments.data import instances
from experiments.data.maps import equal_area_map

BUNDLED = Path(__file__).parent / "bundled"

OPTIMA = {
    "att48": 10628, "berlin52": 7542, "burma14": 3323, "ch130": 6110, "eil51": 426, "eil76": 538,
    "gr17": 2085, "kroA100": 21282, "st70": 675,
}  # fmt: skip


def load_cities() -> dict[str, Any]:
    """Fifty European cities.

    Returns:
      name, country: lists of n strings; latitude, longitude: float64 [n], degrees (to about a
      kilometre);
      coords: float32 [n, 2] in the unit square, x east and y north, an equal-area map with one
      scale for both axes;
      km_per_unit: kilometres that one unit of `coords` stands for.
    """
    with open(BUNDLED / "cities.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    latitude = np.array([float(row["latitude"]) for row in rows])
    longitude = np.array([float(row["longitude"]) for row in rows])
    plane = equal_area_map(latitude, longitude, centre=(50.0, 10.0))
    low, spans = plane.min(axis=0), np.ptp(plane, axis=0)
    scale = spans.max()
    margin = (1 - spans / scale) / 2  # the shorter axis is centred
    return {
        "name": [row["name"] for row in rows],
        "country": [row["country"] for row in rows],
        "latitude": latitude,
        "longitude": longitude,
        "coords": ((plane - low) / scale + margin).astype(np.float32),
        "km_per_unit": float(scale),
    }


def load_tsplib(folder: Path, *, name: str | None = None) -> dict[str, Any]:
    """The instances in a folder of `.tsp` files, or one of them.

    Args:
      folder: holds `NAME.tsp` files in TSPLIB's format.
      name: one instance; its fields are then returned themselves.

    Returns:
      {NAME: fields}, the fields being
      coords: float64 [n, 2] as in the file, or None where it gives distances only;
      distances: int64 [n, n], TSPLIB's rounded distances; optimum: int, the proven one, or None.

    Raises:
      FileNotFoundError: no such instance; the message lists those that are there.
      tsplib.InstanceError: a file is broken; the message names file and line.
    """
    paths = {path.stem: path for path in sorted(folder.glob("*.tsp"))}
    if name is not None:
        if name not in paths:
            raise FileNotFoundError(f"name: expected one of {', '.join(paths)}; got {name!r}")
        return _tsplib_instance(paths[name])
    return {stem: _tsplib_instance(path) for stem, path in paths.items()}


def _tsplib_instance(path: Path) -> dict[str, Any]:
    read = instances.read(path)
    distances = np.rint(instances.matrix(read, 0)).astype(np.int64)
    return {
        "coords": None if read.points is None else read.points[0],
        "distances": distances,
        "optimum": OPTIMA.get(path.stem),
    }
