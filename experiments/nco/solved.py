"""Tours that were found: as a table, as a JSON record, and as a picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.data import instances as reader
from experiments.data.instances import Instances
from experiments.nco.tours import Panel, caption, draw_panels

_ROWS, _PANELS = 20, 8  # instances shown


class Solved(NamedTuple):
    """Tours `[instances, city]`, and lengths and seconds `[instances]`, under the file's metric."""

    tours: np.ndarray
    lengths: np.ndarray
    seconds: np.ndarray
    compile_seconds: float = 0.0


def table(instances: Instances, found: Solved, compared: Solved | None) -> str:
    """The results as aligned text: a line an instance, and their mean."""
    planar = None
    if instances.metric != reader.EUCLIDEAN:
        planar = reader.euclidean_lengths(instances, found.tours)
    unit = f" ({instances.unit})" if instances.unit else ""
    heads = ["instance", "cities", f"length{unit}", "seconds"]
    columns = [found.lengths, found.seconds]
    shown: list[Callable[[float], str]] = [_length, "{:.3g}".format]
    if planar is not None:
        heads.insert(3, "Euclidean")
        columns.insert(1, planar)
        shown.insert(1, _length)
    if compared is not None:
        heads += ["near-optimal", "gap"]
        columns += [compared.lengths, _gaps(found, compared)]
        shown += [_length, "{:+.2%}".format]
    count, cities = len(instances.names), str(instances.cities)
    lines = [
        [name, cities, *(show(column[index]) for show, column in zip(shown, columns, strict=True))]
        for index, name in enumerate(instances.names[:_ROWS])
    ]
    if count > _ROWS:
        lines.append([f"({count - _ROWS} more)", *[""] * (len(heads) - 1)])
    if count > 1:
        means = [show(float(np.mean(column))) for show, column in zip(shown, columns, strict=True)]
        lines.append(["mean", cities, *means])
    widths = [max(map(len, column)) for column in zip(heads, *lines, strict=True)]
    text = [
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip()
        for line in [heads, *lines]
    ]
    if found.compile_seconds:
        text.append(f"(and {found.compile_seconds:.1f} s to compile)")
    return "\n".join(text)


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
        "mean_length": float(found.lengths.mean()),
        "mean_seconds": float(found.seconds.mean()),
        "compile_seconds": found.compile_seconds,
        "names": list(instances.names),
        "labels": None if instances.labels is None else list(instances.labels),
        "lengths": found.lengths.tolist(),
        "euclidean_lengths": None if planar is None else planar.tolist(),
        "seconds": found.seconds.tolist(),
        "tours": found.tours.tolist(),
    }
    if compared is not None:
        written["near_optimal"] = {
            "mean_length": float(compared.lengths.mean()),
            "mean_gap": float(_gaps(found, compared).mean()),
            "lengths": compared.lengths.tolist(),
            "seconds": compared.seconds.tolist(),
            "tours": compared.tours.tolist(),
        }
    return written


def draw(
    path: Path, method: str, instances: Instances, found: Solved, compared: Solved | None
) -> None:
    """Draws the first instances, each beside its near-optimal tour where there is one."""
    assert instances.display is not None
    panels = []
    for index, name in enumerate(instances.names[:_PANELS]):
        panel = Panel(
            f"{name}, {method.replace('_', ' ')}",
            instances.display[index],
            found.tours[index],
            instances.labels,
            caption(found.lengths[index], instances.unit),
        )
        if compared is None:
            panels.append(panel)
            continue
        best = compared.lengths[index]
        text = caption(found.lengths[index], instances.unit, best)
        panels.append(panel._replace(caption=text, reference=compared.tours[index]))
        panels.append(
            panel._replace(
                title=f"{name}, near-optimal",
                tour=compared.tours[index],
                caption=caption(best, instances.unit),
            )
        )
    draw_panels(path, panels[:_PANELS])
