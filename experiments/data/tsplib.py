"""Reads a TSPLIB file: tsplib95 parses it, after a check that can name the line of a fault.

The library reports neither lines nor wrong counts, and trips over keywords that it does not know,
over keywords inside comments, and over a missing line end. So the lines are sorted into
specifications and sections here, checked, and only what concerns the TSP is handed to it.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.runner.checks import UserError

PLANAR = ("EUC_2D", "CEIL_2D", "ATT", "MAN_2D", "MAX_2D")
SPATIAL = ("EUC_3D", "MAN_3D", "MAX_3D", "XRAY1", "XRAY2")
WEIGHT_TYPES = (*PLANAR, "GEO", *SPATIAL, "EXPLICIT")
_TYPES = ("TSP", "ATSP")
_KEPT = ("NAME", "TYPE", "DIMENSION", "EDGE_WEIGHT_TYPE", "EDGE_WEIGHT_FORMAT")
_COORDS, _WEIGHTS, _DISPLAY = "NODE_COORD_SECTION", "EDGE_WEIGHT_SECTION", "DISPLAY_DATA_SECTION"

# Numbers in an EDGE_WEIGHT_SECTION of n cities.
_COUNTS: dict[str, Callable[[int], int]] = {
    "FULL_MATRIX": lambda n: n * n,
    **{
        f"{half}_{order}": (lambda n: n * (n - 1) // 2)
        for half in ("UPPER", "LOWER")
        for order in ("ROW", "COL")
    },
    **{
        f"{half}_DIAG_{order}": (lambda n: n * (n + 1) // 2)
        for half in ("UPPER", "LOWER")
        for order in ("ROW", "COL")
    },
}


class InstanceError(UserError):
    """A file without a usable instance; the message names the file and, where it can, the line."""

    def __init__(self, path: Path, line: int | None, problem: str) -> None:
        super().__init__(f"{path}{'' if line is None else f':{line}'}: {problem}")


class TsplibProblem(NamedTuple):
    """A TSPLIB instance. Cities are in the order of their numbers in the file.

    Attributes:
        name: its NAME, or the file's stem.
        weight_type: EDGE_WEIGHT_TYPE.
        points: float64 `[city, 2 or 3]` as written in the file, or None.
        weights: float64 `[city, city]` of an EXPLICIT instance, or None.
        display: float64 `[city, 2]`, where an EXPLICIT instance has a picture, or None.
        numbers: the cities' numbers in the file.
    """

    name: str
    weight_type: str
    points: np.ndarray | None
    weights: np.ndarray | None
    display: np.ndarray | None
    numbers: tuple[int, ...]


class _Section(NamedTuple):
    line: int
    rows: list[tuple[int, str]]

    @property
    def last(self) -> int:
        return self.rows[-1][0] if self.rows else self.line


class _Lines(NamedTuple):
    path: Path
    specs: dict[str, tuple[int, str]]
    sections: dict[str, _Section]

    def error(self, line: int | None, problem: str) -> InstanceError:
        return InstanceError(self.path, line, problem)

    def value(self, key: str, choices: tuple[str, ...]) -> str:
        if key not in self.specs:
            raise self.error(None, f"{key} is missing; expected one of {', '.join(choices)}")
        line, value = self.specs[key]
        if value.upper() not in choices:
            raise self.error(line, f"{key}: expected one of {', '.join(choices)}, got {value!r}")
        return value.upper()


def weight(weight_type: str, start: tuple[float, ...], end: tuple[float, ...]) -> float:
    """Distance between two points under TSPLIB's own definition and rounding."""
    return float(_tsplib95().distances.TYPES[weight_type](start, end))


def read(path: Path) -> TsplibProblem:
    """Reads a symmetric or asymmetric TSP in TSPLIB's format.

    Raises:
        InstanceError: if the file is broken or not a TSP; the message names the line.
        ImportError: if tsplib95 is missing.
    """
    tsplib95 = _tsplib95()
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InstanceError(path, None, error.strerror or str(error)) from error
    lines = _sort_lines(path, text)
    weight_type = _check(lines)
    try:
        problem = tsplib95.parse(_canonical_text(lines))
        numbers = tuple(problem.get_nodes())
        if weight_type == "EXPLICIT":
            pairs = itertools.product(numbers, repeat=2)
            square = (len(numbers), len(numbers))
            weights = np.array([problem.get_weight(*pair) for pair in pairs], float).reshape(square)
        else:
            weights = None
    except tsplib95.exceptions.ParsingError as error:
        raise InstanceError(path, None, str(error)) from error
    named = problem.name or path.stem
    display = _rows(problem.display_data, numbers) if weight_type == "EXPLICIT" else None
    points = _rows(problem.node_coords, numbers) if weight_type != "EXPLICIT" else None
    return TsplibProblem(named, weight_type, points, weights, display, numbers)


def _rows(coordinates: dict[int, list[float]], numbers: tuple[int, ...]) -> np.ndarray | None:
    if not coordinates:
        return None
    return np.array([coordinates[number] for number in numbers], float)


def _sort_lines(path: Path, text: str) -> _Lines:
    lines = _Lines(path, {}, {})
    section: _Section | None = None
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if not line:
            continue
        if line.upper() == "EOF":
            break
        if match := re.fullmatch(r"([A-Za-z_]+_SECTION)\s*:?", line):
            section = lines.sections[match[1].upper()] = _Section(number, [])
        elif match := re.fullmatch(r"([A-Za-z_][\w ]*?)\s*:\s*(.*)", line):
            section = None
            lines.specs[match[1].upper()] = (number, match[2].strip())
        elif section is not None:
            section.rows.append((number, line))
        else:
            raise lines.error(number, f"expected 'KEYWORD : value' or a section, got {line!r}")
    return lines


def _check(lines: _Lines) -> str:
    """Checks everything that the reader relies on; returns the weight type."""
    if "TYPE" in lines.specs:
        # Some files say who made the instance after its type.
        line, value = lines.specs["TYPE"]
        lines.specs["TYPE"] = (line, value.split()[0] if value else value)
        lines.value("TYPE", _TYPES)
    cities = _dimension(lines)
    weight_type = lines.value("EDGE_WEIGHT_TYPE", WEIGHT_TYPES)
    if "FIXED_EDGES_SECTION" in lines.sections:
        line = lines.sections["FIXED_EDGES_SECTION"].line
        raise lines.error(line, "fixed edges are not supported")
    if weight_type == "EXPLICIT":
        _check_weights(lines, cities)
        if _DISPLAY in lines.sections:
            _check_points(lines, _DISPLAY, cities, 2)
    else:
        _check_points(lines, _COORDS, cities, 3 if weight_type in SPATIAL else 2)
    return weight_type


def _dimension(lines: _Lines) -> int:
    if "DIMENSION" not in lines.specs:
        raise lines.error(None, "DIMENSION is missing; is this a TSPLIB file?")
    line, value = lines.specs["DIMENSION"]
    if not value.isdecimal() or int(value) < 1:
        raise lines.error(line, f"DIMENSION: expected a whole number of cities, got {value!r}")
    return int(value)


def _section(lines: _Lines, name: str) -> _Section:
    if name not in lines.sections:
        raise lines.error(None, f"{name} is missing")
    return lines.sections[name]


def _check_points(lines: _Lines, name: str, cities: int, dim: int) -> None:
    section, seen = _section(lines, name), set()
    for line, row in section.rows:
        cells = row.split()
        if len(cells) != dim + 1 or not cells[0].lstrip("-").isdecimal():
            raise lines.error(line, f"expected a city's number and {dim} coordinates, got {row!r}")
        for cell in cells[1:]:
            _number(lines, line, cell)
        if int(cells[0]) in seen:
            raise lines.error(line, f"city {cells[0]} is there twice")
        seen.add(int(cells[0]))
        if len(seen) > cities:
            raise lines.error(line, f"more cities than DIMENSION, {cities}")
    if len(seen) < cities:
        raise lines.error(section.last, f"{name} ends after {len(seen)} of {cities} cities")


def _check_weights(lines: _Lines, cities: int) -> None:
    form = lines.value("EDGE_WEIGHT_FORMAT", tuple(_COUNTS))
    section, expected, count = _section(lines, _WEIGHTS), _COUNTS[form](cities), 0
    for line, row in section.rows:
        for cell in row.split():
            if _number(lines, line, cell) < 0:
                raise lines.error(line, f"expected weights of at least 0, got {cell}")
            count += 1
        if count > expected:
            raise lines.error(line, f"more weights than {form} has for {cities} cities, {expected}")
    if count < expected:
        raise lines.error(section.last, f"{_WEIGHTS} ends after {count} of {expected} weights")


def _number(lines: _Lines, line: int, cell: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise lines.error(line, f"expected a number, got {cell!r}")
    return value


def _canonical_text(lines: _Lines) -> str:
    specs = [f"{key}: {lines.specs[key][1]}" for key in _KEPT if key in lines.specs]
    for name in (_COORDS, _WEIGHTS, _DISPLAY):
        if name in lines.sections:
            specs += [name, *(row for _, row in lines.sections[name].rows)]
    return "\n".join([*specs, "EOF", ""])


def _tsplib95() -> Any:
    try:
        import tsplib95
    except ImportError as error:
        raise ImportError(
            'TSPLIB files are read by tsplib95: pip install "ncolab[solve]"'
        ) from error
    return tsplib95
