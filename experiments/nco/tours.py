"""Pictures of tours: panels side by side, and maps with the cities' names.

The format follows the file's suffix (png, svg, pdf). A picture is a function of its arguments: no
date or version is written into it, and a file is there entire or not at all.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nco import solvers

FORMATS = (".png", ".svg", ".pdf")
_LINE, _OTHER, _CITY, _INK = "#2a5c8a", "#e07b39", "#1c2733", "#33414e"
_INCHES, _MAP_INCHES = 3.6, 8.0
_NAME_POINTS = 8  # font size of a city's name
# Where a name may stand about its city, the best first: the part of its width and height that lies
# left of and below the city, and the offset in points.
_PLACES = np.array(
    [
        (0.0, 0.5, 5, 0),
        (1.0, 0.5, -5, 0),
        (0.5, 0.0, 0, 5),
        (0.5, 1.0, 0, -5),
        (0.0, 0.0, 3, 3),
        (0.0, 1.0, 3, -3),
        (1.0, 0.0, -3, 3),
        (1.0, 1.0, -3, -3),
    ]
)


class Panel(NamedTuple):
    """One picture of a tour.

    Attributes:
        title: above the picture.
        coords: float `[city, 2]`, x to the right and y upwards, one scale for both.
        tour: int `[city]`.
        labels: the cities' names; they make the panel a map.
        caption: below the picture, for instance the tour's length.
        reference: int `[city]`; edges that this tour does not have stand out.
    """

    title: str
    coords: np.ndarray
    tour: np.ndarray
    labels: Sequence[str] | None = None
    caption: str = ""
    reference: np.ndarray | None = None


def draw_tours(
    path: str | Path,
    coords: np.ndarray,
    tours: Mapping[str, np.ndarray],
    lengths: Mapping[str, float] | None = None,
    *,
    unit: str = "",
    labels: Sequence[str] | None = None,
    title: str = "",
) -> None:
    """Draws several tours of one instance side by side.

    Edges that are not part of the shortest of them stand out. With names, each panel is a map.

    Args:
        path: the file to write, ending in .png, .svg or .pdf; an older one is replaced.
        coords: float `[city, 2]`.
        tours: int `[city]` by title.
        lengths: in `unit`, by title; computed from `coords` where they are not given.
        unit: of the lengths.
        labels: the cities' names.
        title: above all panels.

    Raises:
        ValueError: for another suffix, or arrays that do not fit one another.
    """
    if lengths is None:
        weights = solvers.distances(coords)
        lengths = {name: solvers.tour_length(weights, tour) for name, tour in tours.items()}
    best = min(lengths.values(), default=0.0)
    reference = next((tour for name, tour in tours.items() if lengths[name] == best), None)
    panels = [
        Panel(name, coords, tour, labels, caption(lengths[name], unit, best), reference)
        for name, tour in tours.items()
    ]
    draw_panels(path, panels, title=title)


def caption(length: float, unit: str = "", best: float | None = None) -> str:
    """A length to four digits or more and, where a better one is known, how much longer it is."""
    number = f"{length:,.0f}" if length >= 1000 else f"{length:.4g}"
    text = f"length {number}{' ' if unit else ''}{unit}"
    return f"{text} (+{100 * (length / best - 1):.1f}%)" if best and length > best else text


def draw_panels(path: str | Path, panels: Sequence[Panel], *, title: str = "") -> None:
    """Draws panels side by side, up to four in a row; see `draw_tours`."""
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"path: expected a file ending in {', '.join(FORMATS)}, got {path}")
    if not panels:
        raise ValueError("panels: expected at least one, got none")
    for panel in panels:
        _check(panel)
    figure_class, line_collection, context = _matplotlib()
    is_map = any(panel.labels for panel in panels)
    columns = min(len(panels), 2 if is_map else 4)
    rows = -(-len(panels) // columns)
    width = _MAP_INCHES if is_map else _INCHES
    height = width * max(np.divide(*_reach(panel)[::-1]) for panel in panels) + 0.5
    note = any(not _known(panel).all() for panel in panels)
    extra = (0.4 if title else 0.0) + (0.3 if note else 0.0)
    with context:
        size = (width * columns, height * rows + extra)
        figure = figure_class(figsize=size, layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, panel in zip(grid, panels, strict=False):
            _draw(axes, panel, line_collection)
        for axes in grid[len(panels) :]:
            axes.axis("off")
        if title:
            figure.suptitle(title, fontsize=13, color=_INK, weight="bold")
        if note:
            text = "orange: edges that the best tour shown does not have"
            figure.supxlabel(text, fontsize=9, color=_OTHER)
        if is_map:
            figure.draw_without_rendering()  # settles the layout: names are placed in pixels
            for axes, panel in zip(grid, panels, strict=False):
                _name_cities(axes, panel)
        _save(figure, path)


def check_available() -> None:
    """Raises ImportError, with the command that installs it, if matplotlib is missing."""
    _matplotlib()


def _reach(panel: Panel) -> np.ndarray:
    """Half the width and height that a panel shows."""
    span = np.ptp(np.asarray(panel.coords, float), axis=0)
    reach = 0.54 * (float(span.max()) or 1.0)
    return np.maximum(0.58 * span, 0.3 * reach) if panel.labels else np.full(2, reach)


def _known(panel: Panel) -> np.ndarray:
    """Which edges of the tour the reference has, in the tour's order."""
    if panel.reference is None:
        return np.ones(len(panel.tour), bool)
    reference = {frozenset(edge) for edge in _edges(panel.reference).tolist()}
    return np.array([frozenset(edge) in reference for edge in _edges(panel.tour).tolist()])


def _draw(axes: Any, panel: Panel, line_collection: Any) -> None:
    coords = np.asarray(panel.coords, float)
    crowd = np.clip(40 / len(coords), 0.1, 1.0)
    lines = line_collection(
        coords[_edges(panel.tour)],
        colors=np.where(_known(panel), _LINE, _OTHER),
        linewidths=1.0 + 0.8 * crowd,
        capstyle="round",
        zorder=1,
    )
    axes.add_collection(lines)
    axes.scatter(
        *coords.T, s=6 + 20 * crowd, color=_CITY, edgecolors="white", linewidths=0.5, zorder=2
    )
    axes.set_title(panel.title, fontsize=11, color=_INK)
    axes.set_xlabel(panel.caption, fontsize=10, color=_INK)
    middle, reach = (coords.min(axis=0) + coords.max(axis=0)) / 2, _reach(panel)
    axes.set_xlim(middle[0] - reach[0], middle[0] + reach[0])
    axes.set_ylim(middle[1] - reach[1], middle[1] + reach[1])
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color("#c9d1d9")
    axes.set_facecolor("#f7f9fb" if panel.labels else "white")


def _name_cities(axes: Any, panel: Panel) -> None:
    """Writes each name where it covers the fewest cities, other names and edges."""
    if panel.labels is None:
        return
    renderer, pixels = axes.figure.canvas.get_renderer(), axes.figure.dpi / 72  # in a point
    cities = axes.transData.transform(np.asarray(panel.coords, float))
    road = _along(cities[_edges(panel.tour)])
    frame = np.array(axes.get_window_extent(renderer).extents)
    taken = np.concatenate([cities - 2.5 * pixels, cities + 2.5 * pixels], axis=1)
    for at, city, name in zip(panel.coords, cities, panel.labels, strict=True):
        text = axes.annotate(
            name,
            at,
            xytext=(0, 0),
            textcoords="offset points",
            fontsize=_NAME_POINTS,
            color=_INK,
            ha="left",
            va="bottom",
            zorder=3,
        )
        extent = text.get_window_extent(renderer)
        size = np.array([extent.width, extent.height])
        corners = city + _PLACES[:, 2:] * pixels - _PLACES[:, :2] * size
        boxes = np.concatenate([corners, corners + size], axis=1)
        costs = [_cost(box, taken, road, frame) + 0.1 * order for order, box in enumerate(boxes)]
        chosen = int(np.argmin(costs))
        text.xyann = tuple((corners[chosen] - city) / pixels)
        taken = np.concatenate([taken, boxes[chosen : chosen + 1]])


def _cost(box: np.ndarray, taken: np.ndarray, road: np.ndarray, frame: np.ndarray) -> float:
    covered = ((road > box[:2]) & (road < box[2:])).all(axis=1)
    outside = (box[:2] < frame[:2]).any() or (box[2:] > frame[2:]).any()
    return 40.0 * _overlaps(box, taken) + float(covered.sum()) + 100.0 * bool(outside)


def _overlaps(box: np.ndarray, boxes: np.ndarray) -> int:
    apart = (boxes[:, :2] > box[2:]).any(axis=1) | (boxes[:, 2:] < box[:2]).any(axis=1)
    return int((~apart).sum())


def _along(segments: np.ndarray) -> np.ndarray:
    """Points along segments `[edge, 2, 2]`, about 8 pixels apart."""
    count = max(2, int(np.linalg.norm(segments[:, 1] - segments[:, 0], axis=-1).max() / 8))
    parts = np.linspace(0.0, 1.0, count)[:, None, None]
    return (segments[None, :, 0] * (1 - parts) + segments[None, :, 1] * parts).reshape(-1, 2)


def _edges(tour: np.ndarray) -> np.ndarray:
    return np.stack([tour, np.roll(tour, -1)], axis=1)


def _check(panel: Panel) -> None:
    coords = np.asarray(panel.coords)
    if coords.ndim != 2 or coords.shape[1] != 2 or len(coords) == 0:
        raise ValueError(f"coords: expected shape [city, 2], got {list(coords.shape)}")
    for name, tour in (("tour", panel.tour), ("reference", panel.reference)):
        if tour is not None and sorted(np.asarray(tour).tolist()) != list(range(len(coords))):
            raise ValueError(f"{name}: expected a permutation of {len(coords)} cities, got {tour}")
    if panel.labels is not None and len(panel.labels) != len(coords):
        raise ValueError(f"labels: expected {len(coords)}, got {len(panel.labels)}")


def _save(figure: Any, path: Path) -> None:
    kind = path.suffix.lower()[1:]
    metadata = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        figure.savefig(partial, format=kind, dpi=150, metadata=metadata[kind])
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _matplotlib() -> tuple[Any, Any, Any]:
    try:
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.collections import LineCollection
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('pictures need matplotlib: pip install "ncolab[demo]"') from error

    def figure(**options: Any) -> Any:
        made = Figure(**options)
        FigureCanvasAgg(made)
        return made

    style: Any = {"svg.hashsalt": "ncolab", "font.family": "DejaVu Sans"}
    return figure, LineCollection, matplotlib.rc_context(style)
