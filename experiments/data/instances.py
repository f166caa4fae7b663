"""Reads TSP instances from files: TSPLIB, CSV of points, and `.npy` of many instances.

- `.tsp`, `.atsp`: TSPLIB (see `experiments.data.tsplib`). Lengths follow the file's own rounding,
  so that they compare with published optima.
- `.csv`, `.tsv`, `.txt`: one city a line, separated by comma, semicolon or tab; `#` starts a
  comment. A header is optional. With one, the columns are `x` and `y`, or a latitude and a
  longitude (`lat`/`latitude`, `lon`/`lng`/`long`/`longitude`, degrees) and, if there is one, the
  city's `name`; other columns are left out. Without one, two columns are x, y and three are name,
  latitude, longitude. Lengths between latitudes and longitudes are great circles in kilometres.
- `.npy`: float `[instances, cities, 2]`, or `[cities, 2]`.

A pointer network reads coordinates in the unit square: see `unit_square`.
"""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.data import tsplib
from experiments.data.maps import EARTH_RADIUS_KM, equal_area_map
from experiments.data.tsplib import InstanceError

EUCLIDEAN, GREAT_CIRCLE, EXPLICIT = "EUCLIDEAN", "GREAT_CIRCLE", "EXPLICIT"
_NAME = ("name", "city", "label", "id")
_LATITUDE = ("lat", "latitude")
_LONGITUDE = ("lon", "lng", "long", "longitude")


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
    unit: str
    coords: np.ndarray | None
    points: np.ndarray | None
    weights: np.ndarray | None
    display: np.ndarray | None
    labels: tuple[str, ...] | None

    @property
    def cities(self) -> int:
        cities = self.points if self.points is not None else self.weights
        assert cities is not None
        return cities.shape[-2]


def read(path: str | Path) -> Instances:
    """Reads a file of instances; its suffix says which kind.

    Raises:
        InstanceError: if there is no such file, or it is broken; the message names file and line.
        ImportError: if the library that parses the format is missing.
    """
    path = Path(path)
    readers = {
        **dict.fromkeys([".tsp", ".atsp"], _read_tsplib),
        **dict.fromkeys([".csv", ".tsv", ".txt"], _read_csv),
        ".npy": _read_npy,
    }
    if not path.is_file():
        problem = "is not a file" if path.exists() else "no such file"
        raise InstanceError(path, None, problem)
    if path.suffix.lower() not in readers:
        known = ", ".join(readers)
        raise InstanceError(path, None, f"expected a file ending in {known}")
    return readers[path.suffix.lower()](path)


def first(instances: Instances, count: int) -> Instances:
    """The first `count` instances."""

    def cut(array: np.ndarray | None) -> np.ndarray | None:
        return None if array is None else array[:count]

    return instances._replace(
        names=instances.names[:count],
        coords=cut(instances.coords),
        points=cut(instances.points),
        display=cut(instances.display),
    )


def unit_square(instances: Instances) -> np.ndarray:
    """Coordinates as a pointer network expects them, float32 `[instances, city, 2]`.

    Each instance is scaled by one factor for both axes, so that its longer side spans [0, 1] and
    its shorter side is centred. Instances that lie in the unit square already and span half of it
    or more are left as they are: such are the networks' own training and test instances.

    Raises:
        InstanceError: if the file has no plane, with the reason.
    """
    if instances.coords is None:
        raise InstanceError(instances.path, None, _why_no_plane(instances.metric))
    coords = instances.coords
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
        following = np.roll(tours, -1, axis=1)
        steps = np.where(tours == following, 0.0, instances.weights[tours, following])
        return steps.sum(axis=1)
    assert instances.points is not None
    ordered = np.take_along_axis(instances.points, tours[..., None], axis=1)
    if instances.metric == EUCLIDEAN:
        return _closed(ordered)
    if instances.metric == GREAT_CIRCLE:
        return _great_circle(ordered, np.roll(ordered, -1, axis=1)).sum(axis=1)
    return np.array([_tsplib_length(instances.metric, points) for points in ordered])


def euclidean_lengths(instances: Instances, tours: np.ndarray) -> np.ndarray | None:
    """Lengths in the plane, not rounded, float64 `[instances]`; None where there is no plane."""
    if instances.coords is None:
        return None
    return _closed(np.take_along_axis(instances.coords, tours[..., None], axis=1))


def matrix(instances: Instances, index: int) -> np.ndarray:
    """All distances of an instance under the file's own metric, float64 `[city, city]`."""
    if instances.weights is not None:
        return instances.weights
    assert instances.points is not None
    points = instances.points[index]
    if instances.metric == EUCLIDEAN:
        return np.linalg.norm(points[:, None] - points[None], axis=-1)
    if instances.metric == GREAT_CIRCLE:
        return _great_circle(points[:, None], points[None])
    tuples, distances = [tuple(point) for point in points.tolist()], np.zeros((len(points),) * 2)
    for i, j in itertools.combinations(range(len(points)), 2):
        distances[i, j] = tsplib.weight(instances.metric, tuples[i], tuples[j])
    return distances + distances.T


def _why_no_plane(metric: str) -> str:
    if metric == EXPLICIT:
        given = "gives a matrix of weights and no coordinates"
    else:
        given = f"is not planar ({metric})"
    return (
        f"the instance {given}, and a pointer network reads points of the plane; "
        "a solver can score it, for instance --method near_optimal"
    )


def _closed(ordered: np.ndarray) -> np.ndarray:
    return np.linalg.norm(ordered - np.roll(ordered, -1, axis=1), axis=-1).sum(axis=1)


def _tsplib_length(metric: str, ordered: np.ndarray) -> float:
    if len(ordered) == 1:
        return 0.0
    points = [tuple(point) for point in ordered.tolist()]
    return sum(map(tsplib.weight, itertools.repeat(metric), points, points[1:] + points[:1]))


def _great_circle(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Haversine distance in km between (latitude, longitude) in degrees."""
    start, end = np.radians(start), np.radians(end)
    half = np.sin((end - start) / 2) ** 2
    cosines = np.cos(start[..., 0]) * np.cos(end[..., 0])
    angle = 2 * np.arcsin(np.sqrt(np.clip(half[..., 0] + cosines * half[..., 1], 0.0, 1.0)))
    return EARTH_RADIUS_KM * angle


def _plane_of_the_globe(degrees: np.ndarray) -> np.ndarray:
    """Kilometres east and north on an equal-area map around the cities' mean direction."""
    latitude, longitude = np.radians(degrees).T
    direction = np.array(
        [
            (np.cos(latitude) * np.cos(longitude)).mean(),
            (np.cos(latitude) * np.sin(longitude)).mean(),
            np.sin(latitude).mean(),
        ]
    )
    centre = (
        math.degrees(math.atan2(direction[2], math.hypot(direction[0], direction[1]))),
        math.degrees(math.atan2(direction[1], direction[0])),
    )
    return equal_area_map(degrees[:, 0], degrees[:, 1], centre)


def _read_tsplib(path: Path) -> Instances:
    problem = tsplib.read(path)
    points = None if problem.points is None else problem.points[None]
    plane = None
    if problem.points is not None and problem.weight_type == "GEO":
        whole = np.trunc(problem.points)  # DDD.MM: degrees and minutes
        plane = _plane_of_the_globe(whole + (problem.points - whole) * 5 / 3)[None]
    elif problem.weight_type in tsplib.PLANAR:
        plane = points
    return Instances(
        path=path,
        names=(problem.name,),
        metric=problem.weight_type,
        unit="km" if problem.weight_type == "GEO" else "",
        coords=plane,
        points=points,
        weights=problem.weights,
        display=plane if problem.display is None else problem.display[None],
        labels=None,
    )


def _read_npy(path: Path) -> Instances:
    try:
        points = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise InstanceError(
            path, None, f"not an array of numbers in .npy format: {error}"
        ) from error
    points = points[None] if points.ndim == 2 else points
    if points.dtype.kind not in "fiu":
        raise InstanceError(path, None, f"expected real numbers, got {points.dtype}")
    if points.ndim != 3 or points.shape[-1] != 2 or 0 in points.shape:
        problem = f"expected shape [instances, cities, 2], got {list(points.shape)}"
        raise InstanceError(path, None, problem)
    points = points.astype(np.float64)
    if not np.isfinite(points).all():
        instance, city = np.argwhere(~np.isfinite(points))[0][:2]
        problem = f"instance {instance}, city {city}: expected finite numbers"
        raise InstanceError(path, None, problem)
    stem = path.stem
    names = (stem,) if len(points) == 1 else tuple(f"{stem}[{i}]" for i in range(len(points)))
    return Instances(path, names, EUCLIDEAN, "", points, points, None, points, None)


class _Columns(NamedTuple):
    """Positions in a row: of the name, if any, and of the two coordinates."""

    name: int | None
    coordinates: tuple[int, int]
    globe: bool


def _read_csv(path: Path) -> Instances:
    rows = list(_csv_rows(path))
    if not rows:
        raise InstanceError(path, None, "holds no city")
    line, cells = rows[0]
    header = _header(cells)
    columns = header or _no_header(path, line, cells)
    labels, points = [], []
    for line, cells in rows if header is None else rows[1:]:
        points.append(_csv_point(path, line, cells, columns))
        labels.append("" if columns.name is None else cells[columns.name].strip())
    if not points:
        raise InstanceError(path, line, "holds a header and no city")
    cities = np.array(points)
    plane = (_plane_of_the_globe(cities) if columns.globe else cities)[None]
    return Instances(
        path=path,
        names=(path.stem,),
        metric=GREAT_CIRCLE if columns.globe else EUCLIDEAN,
        unit="km" if columns.globe else "",
        coords=plane,
        points=cities[None],
        weights=None,
        display=plane,
        labels=None if columns.name is None else tuple(labels),
    )


def _csv_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Rows that are neither empty nor a comment, with their lines."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise InstanceError(path, line, "expected text in UTF-8") from error
    lines = text.splitlines()
    sample = next((line for line in lines if line.strip() and not line.startswith("#")), "")
    reader = csv.reader(lines, delimiter=max(",;\t", key=sample.count), skipinitialspace=True)
    for cells in reader:
        if any(cell.strip() for cell in cells) and not cells[0].startswith("#"):
            yield reader.line_num, cells


def _header(cells: list[str]) -> _Columns | None:
    columns = [cell.strip().lower() for cell in cells]

    def find(names: tuple[str, ...]) -> int | None:
        return next((columns.index(name) for name in names if name in columns), None)

    for names, globe in (((_LATITUDE, _LONGITUDE), True), ((("x",), ("y",)), False)):
        one, other = (find(choices) for choices in names)
        if one is not None and other is not None:
            return _Columns(find(_NAME), (one, other), globe)
    return None


def _no_header(path: Path, line: int, cells: list[str]) -> _Columns:
    numbers = [_is_number(cell) for cell in cells]
    if not any(numbers):
        problem = "expected columns x and y, or latitude and longitude, in the header"
    elif len(cells) == 2:
        return _Columns(None, (0, 1), globe=False)
    elif len(cells) == 3 and not numbers[0]:
        return _Columns(0, (1, 2), globe=True)
    else:
        problem = "expected x,y or name,latitude,longitude, or a header"
    raise InstanceError(path, line, f"{problem}; got {','.join(cells)!r}")


def _csv_point(path: Path, line: int, cells: list[str], columns: _Columns) -> tuple[float, float]:
    needed = max(columns.coordinates + ((columns.name,) if columns.name is not None else ()))
    if len(cells) <= needed:
        raise InstanceError(path, line, f"expected {needed + 1} columns or more, got {len(cells)}")
    values = []
    for column in columns.coordinates:
        if not _is_number(cells[column]):
            problem = f"column {column + 1}: expected a number, got {cells[column].strip()!r}"
            raise InstanceError(path, line, problem)
        values.append(float(cells[column]))
    if columns.globe and (abs(values[0]) > 90 or abs(values[1]) > 360):
        problem = (
            "expected a latitude in [-90, 90] and a longitude in [-360, 360], got "
            f"{values[0]:g} and {values[1]:g}; a header name,x,y makes them points of the plane"
        )
        raise InstanceError(path, line, problem)
    return values[0], values[1]


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False
