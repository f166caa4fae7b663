"""Figures with matplotlib: learning curves, in a style that every other figure can share."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.report import curves
from experiments.report.curves import Curve

UPDATES, SEARCH = "step (updates)", "evaluations"  # units of steps
# Okabe and Ito's palette: distinct to colour-blind readers too; dashes repeat the distinction.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1.5, 1, 1.5)))
INK, FAINT = "#333333", "#DDDDDD"
STYLE = {
    "axes.edgecolor": INK,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.labelcolor": INK,
    "axes.labelsize": 9,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "figure.constrained_layout.use": True,
    "font.size": 9,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "savefig.dpi": 160,
    "svg.hashsalt": "ncolab",
    "xtick.color": INK,
    "xtick.labelsize": 8,
    "ytick.color": INK,
    "ytick.labelsize": 8,
}
# The end of a metric's name says its unit.
_UNITS = {"percent": "%", "seconds": "s", "ms": "ms", "bytes": "bytes", "km": "km", "nats": "nats"}


def pyplot() -> Any:
    """matplotlib.pyplot, drawing into files whether there is a screen or not.

    Raises:
      ImportError: matplotlib is absent.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise ImportError('figures need matplotlib: pip install "ncolab[demo]"') from error
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def line(place: int) -> dict[str, Any]:
    """Colour and dashes of a figure's line, by its place."""
    return {"color": PALETTE[place % len(PALETTE)], "linestyle": DASHES[place % len(DASHES)]}


def words(metric: str) -> str:
    """A metric's name as a label: "gap_percent" -> "gap (%)"."""
    stem, _, end = metric.rpartition("_")
    if stem and end in _UNITS:
        return f"{stem.replace('_', ' ')} ({_UNITS[end]})"
    return metric.replace("_", " ").replace("/", ", ")


def best_so_far(workdir: Path) -> Path | None:
    """Draws the best value after each evaluation of a search, mean over its seeds, into its folder.

    Returns:
      The picture; None without matplotlib, or where no evaluation has a value.
    """
    try:
        groups = curves.group_runs([curves.read_run(workdir)])
        (metric,) = curves.metric_names(groups, "eval")
        found = curves.curve(groups[0], "eval", metric)
        if found is None:
            return None
        path = workdir / "best.png"
        learning_curves(path, {metric: {workdir.name: found}}, title="Best so far", unit=SEARCH)
    except (ImportError, curves.ReportError):
        return None
    return path


def learning_curves(
    path: Path,
    panels: Mapping[str, Mapping[str, Curve]],
    *,
    title: str,
    columns: int = 3,
    unit: str = UPDATES,
) -> None:
    """Draw one panel a metric, one line a group: mean over seeds, the band its 95% interval.

    Args:
      path: the picture; its suffix is the format (.png, .svg, .pdf).
      panels: metric -> label -> curve; at least one.
      title: over the whole figure.
      columns: at most so many panels side by side.
      unit: of the steps, `UPDATES` or `SEARCH`: with this one the line has steps, and costs that
        fall far have a logarithmic axis.

    Raises:
      ImportError: matplotlib is absent.
    """
    plt = pyplot()
    labels = list(dict.fromkeys(label for each in panels.values() for label in each))
    style = {label: line(place) for place, label in enumerate(labels)}
    lines = math.ceil(len(panels) / columns)
    columns = math.ceil(len(panels) / lines)  # rows as full as they can be
    with plt.rc_context(STYLE):
        size = (max(4.2 * columns, 5.2), 2.7 * lines + (0.7 if len(labels) > 1 else 0.35))
        figure, axes = plt.subplots(lines, columns, figsize=size, squeeze=False, sharex=True)
        cells = list(axes.flat)
        for cell, (metric, lines_of) in zip(cells, panels.items(), strict=False):
            _panel(cell, metric, lines_of, style, steps=unit == SEARCH)
        for cell in cells[len(panels) :]:
            cell.set_visible(False)
        for place, cell in enumerate(cells[: len(panels)]):
            if place + columns >= len(panels):  # the lowest of its column
                cell.set_xlabel(unit)
                cell.tick_params(labelbottom=True)
        _caption(figure, cells[0], title, labels, panels)
        figure.savefig(path)
        plt.close(figure)


def _panel(
    axis: Any,
    metric: str,
    lines: Mapping[str, Curve],
    style: Mapping[str, Mapping[str, Any]],
    *,
    steps: bool,
) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    for label, curve in lines.items():
        if curve.seeds > 1:
            axis.fill_between(
                curve.step, curve.low, curve.high, color=style[label]["color"], alpha=0.18, lw=0
            )
        marker = "o" if len(curve.step) <= 2 else None
        axis.plot(
            curve.step, curve.mean, label=label, marker=marker, markersize=3,
            drawstyle="steps-post" if steps else "default", **style[label],
        )  # fmt: skip
    # A few wild intervals (of two seeds, say) must not squeeze what there is to see.
    low = min(min(curve.mean.min(), np.quantile(curve.low, 0.1)) for curve in lines.values())
    high = max(max(curve.mean.max(), np.quantile(curve.high, 0.9)) for curve in lines.values())
    if steps and high > 50 * low > 0:
        axis.set_yscale("log")
        axis.set_ylim(low / 1.2, high * 1.2)
    else:
        room = 0.05 * (high - low) or 0.05 * abs(high) or 0.5
        axis.set_ylim(low - room, high + room)
        axis.yaxis.set_major_locator(MaxNLocator(5))
    axis.set_title(words(metric))
    axis.set_axisbelow(True)
    axis.margins(x=0.01)
    axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda step, _: _count(step)))


def _count(step: float) -> str:
    """12000 -> "12k": the steps of a long run fit under the axis."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(step) >= size and (step / size * 100) % 1 == 0:
            return f"{step / size:g}{letter}"
    return f"{step:g}"


def _caption(
    figure: Any,
    axis: Any,
    title: str,
    labels: Sequence[str],
    panels: Mapping[str, Mapping[str, Curve]],
) -> None:
    seeds = sorted({curve.seeds for each in panels.values() for curve in each.values()})
    if seeds[-1] > 1:
        count = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
        title += f" — mean and 95% interval over {count} seeds"
    figure.suptitle(title, x=0.01, ha="left", fontsize=10, color=INK)
    if len(labels) > 1:
        handles = {
            label: handle
            for cell in figure.axes
            for handle, label in zip(*cell.get_legend_handles_labels(), strict=True)
        }
        figure.legend(
            [handles[label] for label in labels],
            labels,
            loc="outside lower left",
            ncols=min(len(labels), 4),
        )
