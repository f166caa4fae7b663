"""Figures 2.3 and 2.4 of Pham 2021, and the curves of nco/budget."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from experiments.nco.measure import reached
from experiments.nco.problems import of_task, public_instances
from experiments.nco.tours import Panel, caption, draw_panels
from experiments.report.figures import STYLE, line, pyplot
from experiments.report.rows import Row
from experiments.report.sweep import Workdirs


def ratios(name: str, workdirs: Workdirs) -> np.ndarray | None:
    """Values over the optimum's, at least 1, of TASK-METHOD; None where one of them is missing."""
    task = name.partition("-")[0]
    best = f"{task}-optimal"
    if name == best or not {name, best} <= set(workdirs):
        return None
    ratio = reached(workdirs[name]).values / reached(workdirs[best]).values
    return ratio ** -of_task(task).sign


def draw_ratios(rows: Sequence[Row], workdirs: Workdirs, folder: Path) -> list[Path]:
    """Figure 2.3: ratios to the optimum, sorted, of each method on the same instances."""
    panels: dict[str, dict[str, np.ndarray]] = {}
    for name in workdirs:
        if (ratio := ratios(name, workdirs)) is not None:
            task, _, method = name.partition("-")
            panels.setdefault(task, {})[method] = np.sort(ratio)
    if not panels:
        return []
    plt, path = pyplot(), folder / "figure2_3.png"
    with plt.rc_context(STYLE):
        size = (4.6 * len(panels) + 0.6, 3.4)
        figure, axes = plt.subplots(1, len(panels), figsize=size, squeeze=False)
        for axis, (task, lines) in zip(axes.flat, panels.items(), strict=True):
            for place, (method, ratio) in enumerate(lines.items()):
                across = np.linspace(0, 100, len(ratio))
                axis.plot(across, ratio, label=method, **line(place))
            axis.set_title(f"{task}, {max(map(len, lines.values()))} instances")
            axis.set_xlabel("instances, sorted (%)")
            axis.set_ylabel("ratio to the optimum")
            axis.legend()
        figure.savefig(path)
        plt.close(figure)
    return [path]


def draw_tours(rows: Sequence[Row], workdirs: Workdirs, folder: Path) -> list[Path]:
    """Figure 2.4: tours of the first public instance by each network, and a near-optimal one."""
    panels = []
    for cities in (20, 50):
        names = {each: f"tsp{cities}-{each}" for each in ("greedy", "active", "optimal")}
        if not set(names.values()) <= set(workdirs):
            continue
        found = {each: reached(workdirs[name]) for each, name in names.items()}
        shortest = min(float(each.values[0]) for each in found.values())
        reference, coords = np.array(found["optimal"].first[0]), public_instances(cities, 1)[0]
        for method, each in found.items():
            text = caption(float(each.values[0]), best=shortest)
            tour = np.array(each.first[0])
            panels.append(Panel(f"tsp{cities}, {method}", coords, tour, None, text, reference))
    if not panels:
        return []
    draw_panels(folder / "figure2_4.png", panels)
    return [folder / "figure2_4.png"]


def draw_budget(rows: Sequence[Row], workdirs: Workdirs, folder: Path) -> list[Path]:
    """Gap against solutions considered, and against seconds: a line a task and search."""
    values = {(row["name"], row["metric"]): row for row in rows}
    lines: dict[str, list[tuple[int, Row, Row]]] = {}
    for (name, metric), row in values.items():
        if metric == "gap_percent":
            label = name.rstrip("0123456789")
            seconds = values[name, "instance_seconds"]
            lines.setdefault(label, []).append((int(name[len(label) :]), row, seconds))
    plt, path = pyplot(), folder / "budget.png"
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), sharey=True)
        for place, (label, points) in enumerate(sorted(lines.items())):
            points.sort(key=lambda point: point[0])
            style = line(place)
            counts = f" ({points[-1][1]['n']} instances)"
            gaps = [[row[key] for _, row, _ in points] for key in ("low", "value", "high")]
            across = ([k for k, _, _ in points], [s["value"] for _, _, s in points])
            for axis, x in zip(axes, across, strict=True):
                axis.fill_between(x, gaps[0], gaps[2], color=style["color"], alpha=0.15, lw=0)
                axis.plot(x, gaps[1], marker="o", markersize=3, label=label + counts, **style)
                axis.set_xscale("log")
        axes[0].set_xlabel("solutions considered")
        axes[1].set_xlabel("seconds an instance")
        axes[0].set_ylabel("gap (%)")
        axes[0].legend()
        figure.savefig(path)
        plt.close(figure)
    return [path]
