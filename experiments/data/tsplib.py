"""TSPLIB: its files, read in one strict pass that names the line of a fault, and its distances.

A file is `KEYWORD : value` lines and sections of numbers, in any order and either case. Keywords
and sections that the TSP does not need are passed over.

Source: G. Reinelt, "TSPLIB 95", 1995.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np

from experiments.runner.checks import UserError

Distance = Callable[[np.ndarray, np.ndarray], np.ndarray]
_FORMATS = (
    "FULL_MATRIX", "UPPER_ROW", "LOWER_ROW", "UPPER_DIAG_ROW", "LOWER_DIAG_ROW",
    "UPPER_COL", "LOWER_COL", "UPPER_DIAG_COL", "LOWER_DIAG_COL",
)  # fmt: skip
_READ = ("NAME", "TYPE", "DIMENSION", "EDGE_WEIGHT_TYPE", "EDGE_WEIGHT_FORMAT")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_PICTURE = "DISPLAY_DATA_SECTION"
_PI = 3.141592  # TSPLIB's own, on which the rounding of its optima depends


class InstanceError(UserError):
    """A file without a usable instance; the message names the file and, where it can, the line."""

    def __init__(self, path: Path, line: int | None, problem: str) -> None:
        super().__init__(f"{path}{'' if line is None else f':{line}'}: {problem}")


class Problem(NamedTuple):
    """A TSPLIB instance; see `read`."""

    name: str
    weight_type: str
    points: np.ndarray | None = None
    weights: np.ndarray | None = None
    display: np.ndarray | None = None


def read(path: Path) -> Problem:
    """Reads a symmetric or asymmetric TSP in TSPLIB's format.

    Returns:
        Its NAME, or the file's stem; EDGE_WEIGHT_TYPE; and, with the cities in the order of their
        numbers, points as in the file, float64 `[city, 2 or 3]`, or else the weights of an EXPLICIT
        instance, float64 `[city, city]`, 0 from a city to itself, and its picture, if it has one,
        float64 `[city, 2]`.

    Raises:
        InstanceError: if the file is broken or not a TSP; the message names the line.
        OSError: if it cannot be read.
    """
    file = _File(path)
    file.choice("TYPE", ("TSP", "ATSP"), "TSP")
    if "DIMENSION" not in file.specs:
        file.refuse(None, "DIMENSION is missing; is this a TSPLIB file?")
    line, value = file.specs["DIMENSION"]
    if not re.fullmatch(r"0*[1-9]\d{,8}", value, re.ASCII):
        file.refuse(line, f"DIMENSION: expected a whole number of cities, got {value!r}")
    cities = int(value)
    weight_type = file.choice("EDGE_WEIGHT_TYPE", (*DISTANCES, "EXPLICIT"))
    for line, _ in file.sections.get("FIXED_EDGES_SECTION", [])[:1]:
        file.refuse(line, "fixed edges are not supported")
    problem = Problem(file.specs.get("NAME", (0, ""))[1] or path.stem, weight_type)
    if weight_type != "EXPLICIT":
        dim = 3 if weight_type in SPATIAL else 2
        return problem._replace(points=file.points("NODE_COORD_SECTION", cities, dim))
    problem = problem._replace(weights=file.weights(cities))
    if _PICTURE in file.sections:
        problem = problem._replace(display=file.points(_PICTURE, cities, 2))
    return problem


def number(text: str) -> float | None:
    """The finite decimal number that a text is, or None."""
    value = float(text) if _NUMBER.fullmatch(text.strip()) else math.inf
    return value if math.isfinite(value) else None


class _File:
    """A file's lines, sorted.

    Attributes:
        specs: (line, value) by keyword.
        sections: (line, row) by section; the first is the section's own line, without a row.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.specs: dict[str, tuple[int, str]] = {}
        self.sections: dict[str, list[tuple[int, str]]] = {}
        rows: list[tuple[int, str]] | None = None
        text = path.read_text(encoding="utf-8-sig", errors="replace")
        for line, content in enumerate(map(str.strip, text.split("\n")), start=1):
            if content.upper() == "EOF":
                break
            if match := re.fullmatch(r"(\w+_SECTION)\s*:?", content, re.IGNORECASE):
                rows = self.sections.setdefault(match[1].upper(), [])
                if rows:
                    self.refuse(line, f"{match[1]} is there twice")
                rows.append((line, ""))
            elif match := re.fullmatch(r"([A-Za-z_][\w ]*?)\s*:\s*(.*)", content):
                key, rows = match[1].upper(), None
                if key in _READ and key in self.specs:
                    self.refuse(line, f"{match[1]} is there twice")
                self.specs[key] = line, match[2]
            elif content and rows is None:
                self.refuse(line, f"expected 'KEYWORD : value' or a section, got {content[:60]!r}")
            elif content and rows is not None:
                rows.append((line, content))

    def refuse(self, line: int | None, problem: str) -> NoReturn:
        raise InstanceError(self.path, line, problem)

    def choice(self, key: str, choices: Iterable[str], default: str | None = None) -> str:
        expected = f"one of {', '.join(choices)}"
        if key not in self.specs and default is None:
            self.refuse(None, f"{key} is missing; expected {expected}")
        line, value = self.specs.get(key, (None, default or ""))
        # Some files say more after it: TYPE : TSP (M.~Hofmeister)
        word = value.upper().split()[0] if value and key == "TYPE" else value.upper()
        if word not in choices:
            self.refuse(line, f"{key}: expected {expected}, got {value!r}")
        return word

    def rows(self, section: str) -> list[tuple[int, str]]:
        if section not in self.sections:
            self.refuse(None, f"{section} is missing")
        return self.sections[section][1:]

    def number(self, line: int, cell: str) -> float:
        value = number(cell)
        if value is None:
            self.refuse(line, f"expected a number, got {cell!r}")
        return value

    def points(self, section: str, cities: int, dim: int) -> np.ndarray:
        """The coordinates of a section, float64 `[city, dim]`, by the cities' numbers."""
        points: dict[int, list[float]] = {}
        for line, row in self.rows(section):
            city, *cells = row.split()
            if len(cells) != dim or not re.fullmatch(r"[+-]?\d{1,18}", city, re.ASCII):
                self.refuse(
                    line, f"expected a city's number and {dim} coordinates, got {row[:60]!r}"
                )
            if int(city) in points:
                self.refuse(line, f"city {city} is there twice")
            if len(points) == cities:
                self.refuse(line, f"more cities than DIMENSION, {cities}")
            points[int(city)] = [self.number(line, cell) for cell in cells]
        if len(points) < cities:
            last = self.sections[section][-1][0]
            self.refuse(last, f"{section} ends after {len(points)} of {cities} cities")
        return np.array([points[city] for city in sorted(points)])

    def weights(self, cities: int) -> np.ndarray:
        """The matrix of an EDGE_WEIGHT_SECTION, float64 `[city, city]`."""
        form, section = self.choice("EDGE_WEIGHT_FORMAT", _FORMATS), "EDGE_WEIGHT_SECTION"
        full, apart = form == "FULL_MATRIX", 0 if "DIAG" in form else 1
        expected = cities**2 if full else cities * (cities + 1 - 2 * apart) // 2
        numbers: list[float] = []
        lines: list[int] = []
        for line, cells in self.rows(section):
            numbers += [self.number(line, cell) for cell in cells.split()]
            lines += [line] * (len(numbers) - len(lines))
            if len(numbers) > expected:
                problem = f"more weights than {form} has for {cities} cities, {expected}"
                self.refuse(line, problem)
        if len(numbers) < expected:
            last = self.sections[section][-1][0]
            self.refuse(last, f"{section} ends after {len(numbers)} of {expected} weights")
        # Columns of the upper half are rows of the lower one.
        if full:
            row, column = np.indices((cities, cities)).reshape(2, -1)
        elif form.startswith("UPPER") == form.endswith("ROW"):
            row, column = np.triu_indices(cities, apart)
        else:
            row, column = np.tril_indices(cities, -apart)
        values, weights = np.array(numbers), np.zeros((cities, cities))
        for place in np.flatnonzero((values < 0) & (row != column))[:1]:
            self.refuse(lines[place], f"expected weights of at least 0, got {values[place]:g}")
        if not full:
            weights[column, row] = values
        weights[row, column] = values
        np.fill_diagonal(weights, 0.0)  # which has 9999, -1 and the like in some files
        return weights


def degrees(points: np.ndarray) -> np.ndarray:
    """Decimal degrees of GEO's DDD.MM, degrees and minutes."""
    whole = np.trunc(points)
    return whole + 5.0 * (points - whole) / 3.0


def _nint(length: np.ndarray) -> np.ndarray:
    return np.floor(length + 0.5)


def _norm(order: float, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    return _nint(np.linalg.norm(end - start, order, axis=-1))


def _geographical(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    start, end = _PI * degrees(start) / 180.0, _PI * degrees(end) / 180.0
    apart, together = start - end, start + end
    q1, q2, q3 = np.cos(apart[..., 1]), np.cos(apart[..., 0]), np.cos(together[..., 0])
    cosine = np.clip(0.5 * ((1.0 + q1) * q2 - (1.0 - q1) * q3), -1.0, 1.0)
    return np.floor(6378.388 * np.arccos(cosine) + 1.0)


def _motors(speeds: tuple[float, ...], start: np.ndarray, end: np.ndarray) -> np.ndarray:
    apart = np.abs(end - start)
    apart[..., 0] = np.minimum(apart[..., 0], np.abs(apart[..., 0] - 360.0))
    return _nint(100.0 * (apart / speeds).max(axis=-1))


# Distances between points `[..., 2 or 3]` by EDGE_WEIGHT_TYPE, with TSPLIB's own rounding.
DISTANCES: dict[str, Distance] = {
    "EUC_2D": functools.partial(_norm, 2),
    "MAN_2D": functools.partial(_norm, 1),
    "MAX_2D": functools.partial(_norm, math.inf),
    "CEIL_2D": lambda start, end: np.ceil(np.linalg.norm(end - start, axis=-1)),
    "ATT": lambda start, end: np.ceil(np.sqrt(((end - start) ** 2).sum(axis=-1) / 10.0)),
    "GEO": _geographical,
    "EUC_3D": functools.partial(_norm, 2),
    "MAN_3D": functools.partial(_norm, 1),
    "MAX_3D": functools.partial(_norm, math.inf),
    "XRAY1": functools.partial(_motors, (1.0, 1.0, 1.0)),
    "XRAY2": functools.partial(_motors, (1.25, 1.5, 1.15)),
}
PLANAR = ("EUC_2D", "MAN_2D", "MAX_2D", "CEIL_2D", "ATT")
SPATIAL = ("EUC_3D", "MAN_3D", "MAX_3D", "XRAY1", "XRAY2")
