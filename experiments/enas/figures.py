"""Pictures of architectures, and of searches."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from enas.supernet import Graph
from experiments.enas.layout import Layout, Place, Route, layered
from experiments.report import curves, figures
from experiments.report.curves import Group

LAYER, BOX = 0.62, 0.27  # inches: from layer to layer, and the height of a node
MARGIN, GAP, BESIDE = 0.15, 0.22, 0.5  # inches: around a graph, in it, and between two
LETTER = 0.075  # inches
STEEP = 0.5  # inches right an inch down, at most, where an edge passes nodes
PLAIN = "#EEEEEE"  # of nodes without a choice: inputs, stem, head, output
METRICS = ("reward", "entropy")
_CHOICE = re.compile(r"\d+$")  # the name of a node that is chosen ends in its number
_SUBSCRIPT = re.compile(r"([A-Za-z])_(\w|\{[^{}]+\})")  # x_t, h_{t-1}


def draw_graphs(graphs: Mapping[str, Graph], path: Path) -> Path | None:
    """Draws graphs side by side, each from top to bottom.

    A node has the colour of its label, so that equal operations look alike; edges that pass a node
    have the colour of the node that they leave.

    Args:
        graphs: by title, at least one.
        path: the picture; its suffix is the format (.png, .svg, .pdf).

    Returns:
        The picture; `None` without matplotlib.
    """
    try:
        plt = figures.pyplot()
    except ImportError:
        return None
    layouts = {title: _laid(graph) for title, graph in graphs.items()}
    widths = [max(each.width, LETTER * len(title)) for title, each in layouts.items()]
    width = sum(widths) + 2 * MARGIN * len(widths) + BESIDE * (len(widths) - 1)
    head = 0.35 if len(graphs) > 1 else 0.0
    height = LAYER * (max(each.layers for each in layouts.values()) - 1) + BOX + 2 * MARGIN + head
    shades = _shades(graphs)
    with plt.rc_context(figures.STYLE | {"figure.constrained_layout.use": False}):
        figure = plt.figure(figsize=(width, height))
        axis = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        axis.set_xlim(0, width)
        axis.set_ylim(height, 0)  # downwards
        axis.axis("off")
        left = MARGIN
        for (title, graph), room in zip(graphs.items(), widths, strict=True):
            if head:
                axis.text(left, MARGIN, title, va="top", fontsize=10, weight="bold")
            inset = left + (room - layouts[title].width) / 2
            _graph(axis, graph, layouts[title], shades, (inset, MARGIN + head + BOX / 2))
            left += room + 2 * MARGIN + BESIDE
        figure.savefig(path)
        plt.close(figure)
    return path


def search_curve(path: Path, groups: Sequence[Group], metrics: Sequence[str] = METRICS) -> Path:
    """Draws the reward on validation data and the controller's entropy (nats) over the steps.

    Args:
        path: the picture.
        groups: of runs, as `experiments.report.curves.group_runs` makes them.
        metrics: of training, in the order of the panels; those that no run has are left out.

    Raises:
        ReportError: no run has any of them.
        ImportError: matplotlib is absent.
    """
    panels = {}
    for metric in metrics:
        found = {group.label: curves.curve(group, "train", metric) for group in groups}
        drawn = {label: curve for label, curve in found.items() if curve is not None}
        if drawn:
            panels[metric] = drawn
    if not panels:
        folders = ", ".join(str(run.folder) for group in groups for run in group.runs)
        raise curves.ReportError(f"{folders}: expected one of {', '.join(metrics)} in its metrics")
    figures.learning_curves(path, panels, title="Search", columns=len(panels))
    return path


def words(graph: Graph, name: str) -> str:
    """What a node's box says: its label, after its name where that is a number of a choice."""
    label = graph.nodes[name]
    if label.startswith(name) or not _CHOICE.search(name):
        return label
    return f"{name}: {label}"


def _chosen(graph: Graph, name: str) -> str | None:
    """What was chosen at a node; `None` where nothing was."""
    label = graph.nodes[name].removeprefix(f"{name}: ")
    return label if label != name and _CHOICE.search(name) else None


def _laid(graph: Graph) -> Layout:
    return layered(
        graph,
        node_width=lambda name: LETTER * max(len(words(graph, name)), 3) + 0.2,
        label_width=lambda label: LETTER * len(label),
        gap=GAP,
    )


def _shades(graphs: Mapping[str, Graph]) -> dict[str, str]:
    """A pale colour for each label of a choice; plain where there are more labels than colours."""
    found = {_chosen(graph, name) for graph in graphs.values() for name in graph.nodes}
    labels = sorted(label for label in found if label is not None)
    return dict(zip(labels, figures.PALETTE[:-1], strict=False))


def _graph(
    axis: Any,
    graph: Graph,
    laid: Layout,
    shades: Mapping[str, str],
    corner: tuple[float, float],
) -> None:
    from matplotlib.colors import to_rgb
    from matplotlib.patches import FancyBboxPatch

    left, top = corner
    skipping = dict.fromkeys(
        route.source for route in laid.routes if len(route.places) > 2 + bool(route.label)
    )
    colours = {
        name: figures.PALETTE[place % (len(figures.PALETTE) - 1)]
        for place, name in enumerate(skipping)
    }
    forks = _forks(laid.routes)
    for route in laid.routes:
        _route(axis, route, forks, corner, colours.get(route.source, figures.INK))
    for name, place in laid.nodes.items():
        x, y = left + place.x, top + LAYER * place.layer
        shade = shades.get(_chosen(graph, name) or "")
        fill = [0.75 + 0.25 * part for part in to_rgb(shade)] if shade else PLAIN
        box = FancyBboxPatch(
            (x - place.width / 2, y - BOX / 2), place.width, BOX,
            boxstyle="round,pad=0,rounding_size=0.07", fc=fill, ec=figures.INK, lw=0.8, zorder=3,
        )  # fmt: skip
        axis.add_patch(box)
        text = _SUBSCRIPT.sub(r"$\1_\2$", words(graph, name))
        axis.text(x, y, text, ha="center", va="center_baseline", color=figures.INK, zorder=4)


def _forks(routes: Sequence[Route]) -> set[Place]:
    """Where edges that came together part."""
    after: dict[Place, set[Place]] = {}
    for route in routes:
        for place, following in itertools.pairwise(route.places):
            after.setdefault(place, set()).add(following)
    return {place for place, following in after.items() if len(following) > 1}


def _slopes(route: Route, points: Sequence[tuple[float, float]], forks: set[Place]) -> list[float]:
    """How far right an edge goes with each step down, at each of its points.

    Not at all at its ends, where it turns, or parts from another edge; else as the steeper of the
    two parts that meet there, so that it never swings out beyond them, and steeply enough to pass
    beside nodes.
    """
    parts = [(to_x - x) / (to_y - y) for (x, y), (to_x, to_y) in itertools.pairwise(points)]
    slopes = [0.0]
    for place, before, after in zip(route.places[1:], parts, parts[1:], strict=False):
        flat = 0.0 if place in forks or before * after <= 0 else min(abs(before), abs(after))
        slopes.append(math.copysign(min(flat, STEEP), before))
    return [*slopes, 0.0]


def _route(
    axis: Any, route: Route, forks: set[Place], corner: tuple[float, float], colour: str
) -> None:
    """An edge: a curve through its places, upright at its ends, with an arrow and a label."""
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path as Curve

    left, top = corner
    points = [(left + place.x, top + LAYER * place.layer) for place in route.places]
    points[0] = (points[0][0], points[0][1] + BOX / 2)
    points[-1] = (points[-1][0], points[-1][1] - BOX / 2)
    vertices, codes = [points[0]], [Curve.MOVETO]
    slopes = _slopes(route, points, forks)
    for place, ((x, y), (to_x, to_y)) in enumerate(itertools.pairwise(points)):
        third = (to_y - y) / 3 if place and place + 2 < len(points) else (to_y - y) / 2
        vertices += [(x + slopes[place] * third, y + third)]
        vertices += [(to_x - slopes[place + 1] * third, to_y - third), (to_x, to_y)]
        codes += [Curve.CURVE4] * 3
    look: dict[str, Any] = {"color": colour, "lw": 1.1, "shrinkA": 0, "shrinkB": 0, "zorder": 2}
    way = Curve(vertices, codes)
    axis.add_patch(FancyArrowPatch(path=way, arrowstyle="-|>", mutation_scale=8, **look))
    if route.at is not None:
        x, y = points[route.at]
        box = {"fc": "white", "ec": "none", "pad": 1.0}
        axis.text(
            x, y, route.label, ha="center", va="center", fontsize=8, color=colour, bbox=box,
            zorder=3,
        )  # fmt: skip
