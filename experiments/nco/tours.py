"""Pictures of tours: panels side by side, and maps with the cities' names.

The format follows the file's suffix (png, svg, pdf). A picture is a function of its arguments: no
date or version is written into it, and a file is there entire or not at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.report.figures import pyplot
from experiments.runner.workdir import replacing

# What each format would write of the time or the program.
_DATED = {".png": "Software", ".svg": "Date", ".pdf": "CreationDate"}
FORMATS = tuple(_DATED)
_STYLE = {"svg.hashsalt": "ncolab", "font.family": "DejaVu Sans"}
_LINE, _OTHER, _CITY, _INK = "#2a5c8a", "#e07b39", "#1c2733", "#33414e"
# Where a name may stand about its city, the best first: the part of its width and height that lies
# left of and below the city, and the offset in points.
_PLACES = np.array(
    [
        (0.0, 0.5, 5, 0), (1.0, 0.5, -5, 0), (0.5, 0.0, 0, 5), (0.5, 1.0, 0, -5),
        (0.0, 0.0, 3, 3), (0.0, 1.0, 3, -3), (1.0, 0.0, -3, 3), (1.0, 1.0, -3, -3),
    ]
)  # fmt: skip


class Panel(NamedTuple):
    """One picture of a tour.

    `coords` are float `[city, 2]`, y upwards, `tour` int `[city]`. Names of the cities make it a
    map. Edges that the tour `reference` does not have stand out.
    """

    title: str
    coords: np.ndarray
    tour: np.ndarray
    labels: Sequence[str] | None = None
    caption: str = ""
    reference: np.ndarray | None = None


def side_by_side(
    coords: np.ndarray,
    tours: Mapping[str, np.ndarray],
    lengths: Mapping[str, float],
    *,
    unit: str = "",
    labels: Sequence[str] | None = None,
) -> list[Panel]:
    """Panels of several tours of one instance, where edges that the shortest lacks stand out.

    Args:
        coords: float `[city, 2]`.
        tours: int `[city]` by title.
        lengths: in `unit`, by title.
        unit: of the lengths.
        labels: the cities' names.
    """
    shortest = min(tours, key=lengths.__getitem__, default="")
    texts = {name: caption(lengths[name], unit, lengths[shortest]) for name in tours}
    return [
        Panel(name, coords, tour, labels, texts[name], tours[shortest])
        for name, tour in tours.items()
    ]


def caption(length: float, unit: str = "", best: float | None = None) -> str:
    """A length to four digits or more and, where a better one is known, how much longer it is."""
    number = f"{length:,.0f}" if length >= 1000 else f"{length:.4g}"
    text = f"length {number} {unit}".rstrip()
    return f"{text} (+{100 * (length / best - 1):.1f}%)" if best and length > best else text


def draw_panels(path: str | Path, panels: Sequence[Panel], *, title: str = "") -> None:
    """Draws panels side by side, up to five in a row, two if they are maps.

    Rows are filled as well as they can be: five panels are one row, six are two of three.

    Args:
        path: the file to write, ending in .png, .svg or .pdf; an older one is replaced.
        panels: at least one.
        title: above all panels.

    Raises:
        ValueError: for another suffix, or arrays that do not fit one another.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"path: expected a file ending in {', '.join(FORMATS)}, got {path}")
    if not panels:
        raise ValueError("panels: expected at least one, got none")
    for panel in panels:
        _check(panel)
    plt = pyplot()
    is_map = any(panel.labels for panel in panels)
    rows = -(-len(panels) // (2 if is_map else 5))
    columns = -(-len(panels) // rows)
    width = 8.0 if is_map else 3.6  # inches
    height = width * max(np.divide(*_reach(panel)[::-1]) for panel in panels) + 0.5
    differ = any(not _known(panel).all() for panel in panels)
    note = "orange: edges that the best tour shown does not have" if differ else ""
    size = (width * columns, height * rows + (0.4 if title else 0.0) + (0.3 if note else 0.0))
    with plt.rc_context(_STYLE):
        figure = plt.Figure(figsize=size, layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, panel in zip(grid, panels, strict=False):
            _draw(axes, panel)
        for axes in grid[len(panels) :]:
            axes.axis("off")
        if title:
            figure.suptitle(title, fontsize=13, color=_INK, weight="bold")
        if note:
            figure.supxlabel(note, fontsize=9, color=_OTHER)
        if is_map:
            figure.draw_without_rendering()  # settles the layout: names are placed in pixels
            for axes, panel in zip(grid, panels, strict=False):
                _name_cities(axes, panel)
        _save(figure, path)


def _check(panel: Panel) -> None:
    coords = np.asarray(panel.coords)
    if coords.ndim != 2 or coords.shape[1] != 2 or len(coords) == 0:
        raise ValueError(f"coords: expected shape [city, 2], got {list(coords.shape)}")
    for name, tour in (("tour", panel.tour), ("reference", panel.reference)):
        if tour is not None and sorted(np.asarray(tour).tolist()) != list(range(len(coords))):
            raise ValueError(f"{name}: expected a permutation of {len(coords)} cities, got {tour}")
    if panel.labels is not None and len(panel.labels) != len(coords):
        raise ValueError(f"labels: expected {len(coords)}, got {len(panel.labels)}")


def _reach(panel: Panel) -> np.ndarray:
    """Half the width and height that a panel shows."""
    span = np.ptp(np.asarray(panel.coords, float), axis=0)
    reach = 0.54 * (float(span.max()) or 1.0)
    return np.maximum(0.58 * span, 0.3 * reach) if panel.labels else np.full(2, reach)


def _edges(tour: np.ndarray) -> np.ndarray:
    return np.stack([tour, np.roll(tour, -1)], axis=1)


def _known(panel: Panel) -> np.ndarray:
    """Which edges of the tour the reference has, in the tour's order."""
    reference = panel.tour if panel.reference is None else panel.reference
    known = {frozenset(edge) for edge in _edges(reference).tolist()}
    return np.array([frozenset(edge) in known for edge in _edges(panel.tour).tolist()])


def _draw(axes: Any, panel: Panel) -> None:
    from matplotlib.collections import LineCollection

    coords, reach = np.asarray(panel.coords, float), _reach(panel)
    crowd = np.clip(40 / len(coords), 0.1, 1.0)
    colors, wide = np.where(_known(panel), _LINE, _OTHER), 1.0 + 0.8 * crowd
    edges = coords[_edges(panel.tour)]
    axes.add_collection(
        LineCollection(edges, colors=colors, linewidths=wide, capstyle="round", zorder=1)
    )
    style = {"color": _CITY, "edgecolors": "white", "linewidths": 0.5, "zorder": 2}
    axes.scatter(*coords.T, s=6 + 20 * crowd, **style)
    axes.set_title(panel.title, fontsize=11, color=_INK)
    axes.set_xlabel(panel.caption, fontsize=10, color=_INK)
    middle = (coords.min(axis=0) + coords.max(axis=0)) / 2
    xlim, ylim = np.stack([middle - reach, middle + reach], axis=1)
    axes.set(xlim=xlim, ylim=ylim, aspect="equal", xticks=[], yticks=[])
    axes.spines[:].set_color("#c9d1d9")
    axes.set_facecolor("#f7f9fb" if panel.labels else "white")


def _name_cities(axes: Any, panel: Panel) -> None:
    """Writes each name where it covers the fewest cities, other names and edges."""
    coords, point = np.asarray(panel.coords, float), axes.figure.dpi / 72  # in pixels
    cities = axes.transData.transform(coords)
    start, end = np.moveaxis(cities[_edges(panel.tour)], 1, 0)
    apart = np.linalg.norm(end - start, axis=-1).max() / 8  # places on an edge, every 8 pixels
    parts = np.linspace(0.0, 1.0, max(2, int(apart)))[:, None, None]
    road = (start * (1 - parts) + end * parts).reshape(-1, 2)
    frame = np.array(axes.get_window_extent().extents)
    taken = np.concatenate([cities - 2.5 * point, cities + 2.5 * point], axis=1)
    style = {"fontsize": 8, "color": _INK, "ha": "left", "va": "bottom", "zorder": 3}
    for at, city, name in zip(coords, cities, panel.labels or (), strict=False):
        text = axes.annotate(name, at, (0, 0), textcoords="offset points", **style)
        low = city + _PLACES[:, 2:] * point - _PLACES[:, :2] * text.get_window_extent().size
        boxes = np.concatenate([low, low + text.get_window_extent().size], axis=1)
        first, last = boxes[:, None, :2], boxes[:, None, 2:]
        names = ((taken[:, :2] <= last) & (taken[:, 2:] >= first)).all(axis=-1).sum(axis=1)
        edges = ((road > first) & (road < last)).all(axis=-1).sum(axis=1)
        outside = ((boxes < frame) & [1, 1, 0, 0] | (boxes > frame) & [0, 0, 1, 1]).any(axis=1)
        chosen = np.argmin(40 * names + edges + 100 * outside + 0.1 * np.arange(len(boxes)))
        text.xyann = tuple((low[chosen] - city) / point)
        taken = np.concatenate([taken, boxes[[chosen]]])


def _save(figure: Any, path: Path) -> None:
    suffix = path.suffix.lower()
    with replacing(path) as temporary:
        figure.savefig(temporary, format=suffix[1:], dpi=150, metadata={_DATED[suffix]: None})
