"""Reads TSP instances from files: TSPLIB, points as text, and `.npy` of many instances.

- `.tsp`, `.atsp`: TSPLIB (see `experiments.data.tsplib`). Lengths follow the file's own rounding,
  so that they compare with published optima.
- `.csv`, `.tsv`, `.txt`: one city a line, separated by comma, semicolon, tab or spaces; `#` starts
  a comment. A header is optional. With one, the columns are `x` and `y`, or a latitude and a
  longitude (`lat`/`latitude`, `lon`/`lng`/`long`/`longitude`, degrees) and, if there is one, the
  city's `name`; other columns are left out. Without one, two columns are x, y and three are name,
  latitude, longitude. Lengths between latitudes and longitudes are great circles in kilometres.
- `.npy`: float `[instances, cities, 2]`, or `[cities, 2]`.

A pointer network reads coordinates in the unit square: see `unit_square`.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.data import maps, tsplib
from experiments.data.tsplib import InstanceError

EUCLIDEAN, GREAT_CIRCLE, EXPLICIT = "EUCLIDEAN", "GREAT_CIRCLE", "EXPLICIT"
_DISTANCES: dict[str, tsplib.Distance] = {
    EUCLIDEAN: lambda start, end: np.linalg.norm(end - start, axis=-1),
    GREAT_CIRCLE: maps.great_circle,
    **tsplib.DISTANCES,
}
# What the columns of points may be called.
_HEADS = {
    "name": ("name", "city", "label", "id"),
    "latitude": ("lat", "latitude"),
    "longitude": ("lon", "lng", "long", "longitude"),
    "x": ("x",),
    "y": ("y",),
}


class Instances(NamedTuple):
    """Instances of one file, all of the same number of cities.

    Attributes:
        path: where they came from.
        names: one an instance.
        metric: EUCLIDEAN, GREAT_CIRCLE, or one of TSPLIB's edge weight types.
        unit: of every length: "km", or "" where the file does not say.
        coords: float64 `[instances, city, 2]`, a plane in `unit`; None where the file has no plane.
        points: float64 `[instances, city, 2 or 3]` as the file has them (latitude first); None for
            EXPLICIT.
        weights: float64 `[city, city]` for EXPLICIT, else None.
        display: float64 `[instances, city, 2]` to draw, or None.
        labels: the cities' names, or None.
    """

    path: Path
    names: tuple[str, ...]
    metric: str
    unit: str = ""
    coords: np.ndarray | None = None
    points: np.ndarray | None = None
    weights: np.ndarray | None = None
    display: np.ndarray | None = None
    labels: tuple[str, ...] | None = None

    @property
    def cities(self) -> int:
        cities = self.points if self.points is not None else self.weights
        assert cities is not None
        return cities.shape[-2]


def read(path: str | Path) -> Instances:
    """Reads a file of instances; its suffix says which kind.

    Raises:
        InstanceError: if there is no such file, or it is broken; the message names file and line.
    """
    path = Path(path)
    readers = {
        **dict.fromkeys([".tsp", ".atsp"], _read_tsplib),
        **dict.fromkeys([".csv", ".tsv", ".txt"], _read_text),
        ".npy": _read_npy,
    }
    try:
        if not path.is_file():
            problem = "is not a file" if path.exists() else "no such file"
            raise InstanceError(path, None, problem)
        if path.suffix.lower() not in readers:
            raise InstanceError(path, None, f"expected a file ending in {', '.join(readers)}")
        return readers[path.suffix.lower()](path)
    except OSError as error:
        raise InstanceError(path, None, error.strerror or str(error)) from error


def first(instances: Instances, count: int) -> Instances:
    """The first `count` instances."""

    def cut(array: np.ndarray | None) -> np.ndarray | None:
        return None if array is None else array[:count]

    coords, points, display = map(cut, (instances.coords, instances.points, instances.display))
    names = instances.names[:count]
    return instances._replace(names=names, coords=coords, points=points, display=display)


def unit_square(instances: Instances) -> np.ndarray:
    """Coordinates as a pointer network expects them, float32 `[instances, city, 2]`.

    Each instance is scaled by one factor for both axes, so that its longer side spans [0, 1] and
    its shorter side is centred. Instances that lie in the unit square already and span half of it
    or more are left as they are: such are the networks' own training and test instances.

    Raises:
        InstanceError: if the file has no plane, with the reason.
    """
    coords = instances.coords
    if coords is None:
        given = f"is not planar ({instances.metric})"
        if instances.metric == EXPLICIT:
            given = "gives a matrix of weights and no coordinates"
        problem = (
            f"the instance {given}, and a pointer network reads points of the plane; "
            "a solver can score it, for instance --method near_optimal"
        )
        raise InstanceError(instances.path, None, problem)
    low, high = coords.min(axis=1, keepdims=True), coords.max(axis=1, keepdims=True)
    span = (high - low).max(axis=-1, keepdims=True)
    inside = (low >= 0).all(-1, keepdims=True) & (high <= 1).all(-1, keepdims=True)
    centred = (coords - (low + high) / 2) / np.where(span > 0, span, 1.0) + 0.5
    return np.where(inside & (span >= 0.5), coords, centred).astype(np.float32)


def lengths(instances: Instances, tours: np.ndarray) -> np.ndarray:
    """Lengths under the file's own metric, float64 `[instances]`.

    Args:
        instances: the instances.
        tours: int `[instances, city]`.
    """
    if instances.weights is not None:
        return instances.weights[tours, np.roll(tours, -1, axis=1)].sum(axis=1)
    assert instances.points is not None
    return _closed(instances.metric, instances.points, tours)


def euclidean_lengths(instances: Instances, tours: np.ndarray) -> np.ndarray | None:
    """Lengths in the plane, not rounded, float64 `[instances]`; None where there is no plane."""
    return None if instances.coords is None else _closed(EUCLIDEAN, instances.coords, tours)


def matrix(instances: Instances, index: int) -> np.ndarray:
    """All distances of an instance under the file's own metric, float64 `[city, city]`."""
    if instances.weights is not None:
        return instances.weights
    assert instances.points is not None
    points = instances.points[index]
    distances = _DISTANCES[instances.metric](points[:, None], points[None])
    np.fill_diagonal(distances, 0.0)  # GEO's formula has 1 there
    return distances


def _closed(metric: str, points: np.ndarray, tours: np.ndarray) -> np.ndarray:
    following = np.roll(tours, -1, axis=1)
    start, end = (np.take_along_axis(points, cities[..., None], 1) for cities in (tours, following))
    steps = _DISTANCES[metric](start, end)
    return np.where(tours == following, 0.0, steps).sum(axis=1)


def _read_tsplib(path: Path) -> Instances:
    name, metric, points, weights, display = tsplib.read(path)
    plane = points if metric in tsplib.PLANAR else None
    if points is not None and metric == "GEO":
        plane = maps.local_map(tsplib.degrees(points))
    display = plane if display is None else display
    coords, points, display = (x if x is None else x[None] for x in (plane, points, display))
    unit = "km" if metric == "GEO" else ""
    return Instances(path, (name,), metric, unit, coords, points, weights, display)


def _read_npy(path: Path) -> Instances:
    def refuse(problem: str) -> InstanceError:
        return InstanceError(path, None, problem)

    try:
        points = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise refuse(f"not an array of numbers in .npy format: {error}") from error
    if not isinstance(points, np.ndarray):
        raise refuse("not an array of numbers in .npy format, but several in .npz")
    points = points[None] if points.ndim == 2 else points
    if points.dtype.kind not in "fiu":
        raise refuse(f"expected real numbers, got {points.dtype}")
    if points.ndim != 3 or points.shape[-1] != 2 or 0 in points.shape:
        raise refuse(f"expected shape [instances, cities, 2], got {list(points.shape)}")
    points = points.astype(np.float64)
    for instance, city, _ in np.argwhere(~np.isfinite(points))[:1]:
        raise refuse(f"instance {instance}, city {city}: expected finite numbers")
    names = [
        f"{path.stem}[{index}]" if len(points) > 1 else path.stem for index in range(len(points))
    ]
    return Instances(path, tuple(names), EUCLIDEAN, coords=points, points=points, display=points)


class _Columns(NamedTuple):
    """Positions in a row: of the name, if any, and of the two coordinates."""

    name: int | None
    one: int
    other: int
    globe: bool
    header: bool


def _read_text(path: Path) -> Instances:
    rows = list(_rows(path))
    if not rows:
        raise InstanceError(path, None, "holds no city")
    columns = _columns(path, *rows[0])
    if columns.header and len(rows) == 1:
        raise InstanceError(path, rows[0][0], "holds a header and no city")
    rows = rows[1:] if columns.header else rows
    cities = np.array([_point(path, line, cells, columns) for line, cells in rows])
    labels = None
    if columns.name is not None:
        labels = tuple(cells[columns.name].strip() for _, cells in rows)
    metric, unit = (GREAT_CIRCLE, "km") if columns.globe else (EUCLIDEAN, "")
    plane = (maps.local_map(cities) if columns.globe else cities)[None]
    return Instances(
        path, (path.stem,), metric, unit, plane, cities[None], display=plane, labels=labels
    )


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Rows that are neither empty nor a comment, with their lines."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise InstanceError(path, line, "expected text in UTF-8") from error
    sample = next((line for line in lines if line.strip() and not line.startswith("#")), "")
    separator = max(",;\t", key=sample.count)
    if separator not in sample:
        separator, lines = " ", [line.strip() for line in lines]
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells) and not cells[0].startswith("#"):
                yield reader.line_num, cells
    except csv.Error as error:
        raise InstanceError(path, reader.line_num, str(error)) from error


def _columns(path: Path, line: int, cells: list[str]) -> _Columns:
    """What is where in the rows, from the first of them, which may be a header."""
    heads = [cell.strip().lower() for cell in cells]
    at = {
        meaning: heads.index(found[0])
        for meaning, words in _HEADS.items()
        if (found := [word for word in words if word in heads])
    }
    for one, other in (("latitude", "longitude"), ("x", "y")):
        if one in at and other in at:
            return _Columns(at.get("name"), at[one], at[other], one == "latitude", header=True)
    numbers = [tsplib.number(cell) is not None for cell in cells]
    if not any(numbers):
        problem = "expected columns x and y, or latitude and longitude, in the header"
    elif len(cells) == 2:
        return _Columns(None, 0, 1, globe=False, header=False)
    elif len(cells) == 3 and not numbers[0]:
        return _Columns(0, 1, 2, globe=True, header=False)
    else:
        problem = "expected x,y or name,latitude,longitude, or a header"
    raise InstanceError(path, line, f"{problem}; got {','.join(cells)!r}")


def _point(path: Path, line: int, cells: list[str], columns: _Columns) -> tuple[float, float]:
    needed = max(columns.one, columns.other, columns.name or 0)
    if len(cells) <= needed:
        raise InstanceError(path, line, f"expected {needed + 1} columns or more, got {len(cells)}")
    values = []
    for column in (columns.one, columns.other):
        value = tsplib.number(cells[column])
        if value is None:
            problem = f"column {column + 1}: expected a number, got {cells[column].strip()!r}"
            raise InstanceError(path, line, problem)
        values.append(value)
    one, other = values
    if columns.globe and (abs(one) > 90 or abs(other) > 360):
        problem = (
            "expected a latitude in [-90, 90] and a longitude in [-360, 360], got "
            f"{one:g} and {other:g}; a header name,x,y makes them points of the plane"
        )
        raise InstanceError(path, line, problem)
    return one, other
