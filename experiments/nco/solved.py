"""Tours that were found: as a table, as a JSON record, and as a picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.data import instances as reader
from experiments.data.instances import Instances
from experiments.nco.tours import Panel, draw_panels, side_by_side

_ROWS, _PANELS = 20, 8  # instances shown


class Solved(NamedTuple):
    """Tours `[instances, city]`, and lengths and seconds `[instances]`, under the file's metric."""

    tours: np.ndarray
    lengths: np.ndarray
    seconds: np.ndarray
    compile_seconds: float = 0.0


def table(instances: Instances, found: Solved, compared: Solved | None) -> str:
    """The results as aligned text: a line an instance, and their mean."""
    unit = f" ({instances.unit})" if instances.unit else ""
    planar = reader.euclidean_lengths(instances, found.tours)
    columns: list[tuple[str, np.ndarray, Callable[[float], str]]]
    columns = [(f"length{unit}", found.lengths, _length)]
    if planar is not None and instances.metric != reader.EUCLIDEAN:
        columns.append(("Euclidean", planar, _length))
    columns.append(("seconds", found.seconds, "{:.3g}".format))
    if compared is not None:
        columns.append(("near-optimal", compared.lengths, _length))
        columns.append(("gap", _gaps(found, compared), "{:+.2%}".format))
    count, cities = len(instances.names), str(instances.cities)
    lines = [["instance", "cities", *(head for head, _, _ in columns)]]
    for index, name in enumerate(instances.names[:_ROWS]):
        lines.append([name, cities, *(show(values[index]) for _, values, show in columns)])
    if count > _ROWS:
        lines.append([f"({count - _ROWS} more)", *[""] * (len(columns) + 1)])
    if count > 1:
        means = [show(float(np.mean(values))) for _, values, show in columns]
        lines.append(["mean", cities, *means])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = [
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip()
        for line in lines
    ]
    if found.compile_seconds:
        text.append(f"(and {found.compile_seconds:.1f} s to compile)")
    return "\n".join(text)


def listing(instances: Instances, found: Solved) -> str:
    """The tours of the first instances, a line each: names of cities, or numbers from 0."""
    names = instances.labels or [str(city) for city in range(instances.cities)]
    between = ", " if instances.labels else " "
    shown = zip(instances.names[:_ROWS], found.tours, strict=False)
    return "\n".join(
        f"tour of {name}: {between.join(names[city] for city in tour)}" for name, tour in shown
    )


def _length(value: float) -> str:
    return f"{value:.0f}" if float(value).is_integer() else f"{value:.5f}"


def _gaps(found: Solved, compared: Solved) -> np.ndarray:
    """How much longer than near-optimal; 0 where both are 0."""
    other = np.where(compared.lengths > 0, compared.lengths, 1.0)
    return np.where(compared.lengths > 0, found.lengths / other - 1.0, 0.0)


def record(
    asked: dict[str, Any], instances: Instances, found: Solved, compared: Solved | None
) -> dict[str, Any]:
    """What was asked and what was found, as JSON holds it; tours count cities from 0."""
    planar = reader.euclidean_lengths(instances, found.tours)
    written = {
        **asked,
        "instances": len(instances.names),
        "cities": instances.cities,
        "metric": instances.metric,
        "unit": instances.unit,
        "mean_seconds": float(found.seconds.mean()),
        "compile_seconds": found.compile_seconds,
        "names": list(instances.names),
        "labels": None if instances.labels is None else list(instances.labels),
        "euclidean_lengths": None if planar is None else planar.tolist(),
        **_numbers(found),
    }
    if compared is not None:
        gap = float(_gaps(found, compared).mean())
        written["near_optimal"] = {"mean_gap": gap, **_numbers(compared)}
    return written


def _numbers(found: Solved) -> dict[str, Any]:
    return {
        "mean_length": float(found.lengths.mean()),
        "lengths": found.lengths.tolist(),
        "seconds": found.seconds.tolist(),
        "tours": found.tours.tolist(),
    }


def draw(
    path: Path, method: str, instances: Instances, found: Solved, compared: Solved | None
) -> None:
    """Draws the first instances, each beside its near-optimal tour where there is one."""
    assert instances.display is not None
    shown = {method.replace("_", " "): found}
    if compared is not None:
        shown["near-optimal"] = compared
    panels: list[Panel] = []
    for index, name in enumerate(instances.names[:_PANELS]):
        tours = {f"{name}, {title}": each.tours[index] for title, each in shown.items()}
        lengths = {f"{name}, {title}": each.lengths[index] for title, each in shown.items()}
        coords, unit, labels = instances.display[index], instances.unit, instances.labels
        panels += side_by_side(coords, tours, lengths, unit=unit, labels=labels)
    draw_panels(path, panels[:_PANELS])
