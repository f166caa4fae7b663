"""Real places for tours: bundled cities, and instance files in TSPLIB's format.

TSPLIB's distance functions are those of its documentation: G. Reinelt, "TSPLIB - a traveling
salesman problem library", ORSA Journal on Computing 3, 1991, and the "TSPLIB 95" note. They round
as it says, so that tour lengths compare with the published optima.
"""

import csv
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

EARTH_RADIUS_KM = 6371.0
BUNDLED = Path(__file__).parent / "bundled"

# Proven optima of the instances that are used here (TSPLIB's own list).
OPTIMA = {
    "att48": 10628, "berlin52": 7542, "burma14": 3323, "ch130": 6110, "eil51": 426, "eil76": 538,
    "gr17": 2085, "kroA100": 21282, "st70": 675,
}  # fmt: skip


def load_cities(folder: Path | None = None) -> dict[str, Any]:
    """Fifty European cities.

    Returns:
      name, country: lists of n strings; latitude, longitude: float64 [n], degrees (to about a
      kilometre);
      coords: float32 [n, 2] in the unit square, x east and y north, an equal-area map with one
      scale for both axes;
      km_per_unit: kilometres that one unit of `coords` stands for.
    """
    del folder  # bundled
    with open(BUNDLED / "cities.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    latitude = np.array([float(row["latitude"]) for row in rows])
    longitude = np.array([float(row["longitude"]) for row in rows])
    plane = equal_area_map(latitude, longitude, centre=(50.0, 10.0))
    low, scale = plane.min(axis=0), np.ptp(plane, axis=0).max()
    margin = (1 - np.ptp(plane, axis=0) / scale) / 2  # the shorter axis is centred
    return {
        "name": [row["name"] for row in rows],
        "country": [row["country"] for row in rows],
        "latitude": latitude,
        "longitude": longitude,
        "coords": ((plane - low) / scale + margin).astype(np.float32),
        "km_per_unit": float(scale),
    }


def equal_area_map(
    latitude: Float[np.ndarray, "n"], longitude: Float[np.ndarray, "n"], centre: tuple[float, float]
) -> Float[np.ndarray, "n 2"]:
    """Lambert's azimuthal equal-area projection of a sphere, in kilometres from `centre`.

    Args:
      latitude: degrees north.
      longitude: degrees east.
      centre: (latitude, longitude) of the point of tangency, degrees.

    Source: J. P. Snyder, "Map projections: a working manual", 1987, eq. 24-2 to 24-4.
    """
    phi, centre_phi = np.radians(latitude), np.radians(centre[0])
    delta = np.radians(longitude - centre[1])
    cosine = np.sin(centre_phi) * np.sin(phi) + np.cos(centre_phi) * np.cos(phi) * np.cos(delta)
    scale = EARTH_RADIUS_KM * np.sqrt(2 / (1 + cosine))
    east = np.cos(phi) * np.sin(delta)
    north = np.cos(centre_phi) * np.sin(phi) - np.sin(centre_phi) * np.cos(phi) * np.cos(delta)
    return np.stack([scale * east, scale * north], axis=-1)


def load_tsplib(folder: Path, *, name: str | None = None) -> dict[str, Any]:
    """The instances in a folder of `.tsp` files, or one of them.

    Args:
      folder: holds `NAME.tsp` files.
      name: one instance; its fields are then returned themselves.

    Returns:
      {NAME: the fields of `read_tsplib`, with optimum: int or None}.

    Raises:
      FileNotFoundError: no such instance; the message lists those that are there.
    """
    paths = {path.stem: path for path in sorted(folder.glob("*.tsp"))}
    if name is not None and name not in paths:
        raise FileNotFoundError(f"name: expected one of {', '.join(paths)}; got {name!r}")
    instances = {
        stem: {**read_tsplib(path), "optimum": OPTIMA.get(stem)}
        for stem, path in paths.items()
        if name in (None, stem)
    }
    return instances if name is None else instances[name]


def read_tsplib(path: Path) -> dict[str, Any]:
    """A symmetric instance in TSPLIB's format.

    Returns:
      name: str; coords: float64 [n, 2] as in the file, or None where it gives distances only;
      distances: int64 [n, n], TSPLIB's rounded distances.

    Raises:
      ValueError: the file is not a symmetric TSP, or in a form that is not read; the message names
      both.
    """
    header, sections = _sections(path)
    if header.get("TYPE", "").split()[:1] != ["TSP"]:
        raise ValueError(f"{path.name}: TYPE: expected TSP; got {header.get('TYPE')!r}")
    for key in ("DIMENSION", "EDGE_WEIGHT_TYPE"):
        if key not in header:
            raise ValueError(f"{path.name}: expected a line {key}: ...; got none")
    size, kind = int(header["DIMENSION"]), header["EDGE_WEIGHT_TYPE"]
    coords = None
    if "NODE_COORD_SECTION" in sections:
        coords = np.array(sections["NODE_COORD_SECTION"], float).reshape(-1, 3)[:, 1:]
        if len(coords) != size:
            raise ValueError(f"{path.name}: expected {size} coordinates; got {len(coords)}")
    if kind == "EXPLICIT":
        weights = np.array(sections["EDGE_WEIGHT_SECTION"], dtype=np.int64)
        distances = _explicit(weights, size, header["EDGE_WEIGHT_FORMAT"], path.name)
    elif kind in _DISTANCES and coords is not None:
        distances = _DISTANCES[kind](coords)
        np.fill_diagonal(distances, 0)
    else:
        known = ", ".join(["EXPLICIT", *_DISTANCES])
        raise ValueError(f"{path.name}: EDGE_WEIGHT_TYPE: expected one of {known}; got {kind!r}")
    return {"name": header.get("NAME", path.stem), "coords": coords, "distances": distances}


def _sections(path: Path) -> tuple[dict[str, str], dict[str, list[str]]]:
    header: dict[str, str] = {}
    sections: dict[str, list[str]] = {}
    current: list[str] = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        key, colon, value = (part.strip() for part in line.partition(":"))
        if line.strip() in ("EOF", ""):
            continue
        if colon:
            header[key] = value
        elif key.endswith("_SECTION"):
            current = sections.setdefault(key, [])
        else:
            current.extend(line.split())
    return header, sections


def _explicit(
    weights: Int[np.ndarray, "entries"], size: int, form: str, name: str
) -> Int[np.ndarray, "n n"]:
    if form == "FULL_MATRIX":
        return weights.reshape(size, size)
    lower = form in ("LOWER_DIAG_ROW", "UPPER_DIAG_COL", "LOWER_ROW", "UPPER_COL")
    upper = form in ("UPPER_DIAG_ROW", "LOWER_DIAG_COL", "UPPER_ROW", "LOWER_COL")
    if not lower and not upper:
        raise ValueError(f"{name}: EDGE_WEIGHT_FORMAT: expected a matrix format; got {form!r}")
    offset = 0 if "DIAG" in form else 1
    rows, columns = np.tril_indices(size, -offset) if lower else np.triu_indices(size, offset)
    if len(weights) != len(rows):
        raise ValueError(f"{name}: expected {len(rows)} weights; got {len(weights)}")
    matrix = np.zeros((size, size), np.int64)
    matrix[rows, columns] = weights
    return np.maximum(matrix, matrix.T)


def _lengths(coords: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n n"]:
    return np.hypot(*(coords[:, None] - coords[None]).transpose(2, 0, 1))


def _euclidean(coords: Float[np.ndarray, "n 2"]) -> Int[np.ndarray, "n n"]:
    return np.floor(_lengths(coords) + 0.5).astype(np.int64)


def _ceiling(coords: Float[np.ndarray, "n 2"]) -> Int[np.ndarray, "n n"]:
    return np.ceil(_lengths(coords)).astype(np.int64)


def _pseudo_euclidean(coords: Float[np.ndarray, "n 2"]) -> Int[np.ndarray, "n n"]:
    # "Round, then add one if rounding lost length" is the ceiling.
    squares = np.square(coords[:, None] - coords[None]).sum(axis=-1)
    return np.ceil(np.sqrt(squares / 10.0)).astype(np.int64)


def _geographical(coords: Float[np.ndarray, "n 2"]) -> Int[np.ndarray, "n n"]:
    # The file's numbers are DDD.MM, degrees and minutes; pi and the radius are those that the
    # optima were found with.
    degrees = np.trunc(coords)
    latitude, longitude = (3.141592 * (degrees + 5.0 * (coords - degrees) / 3.0) / 180.0).T
    q1 = np.cos(longitude[:, None] - longitude)
    q2 = np.cos(latitude[:, None] - latitude)
    q3 = np.cos(latitude[:, None] + latitude)
    angle = np.arccos(np.clip(0.5 * ((1.0 + q1) * q2 - (1.0 - q1) * q3), -1.0, 1.0))
    return (6378.388 * angle + 1.0).astype(np.int64)


_DISTANCES = {
    "EUC_2D": _euclidean,
    "CEIL_2D": _ceiling,
    "ATT": _pseudo_euclidean,
    "GEO": _geographical,
}
