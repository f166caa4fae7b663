"""Pictures of the tables of `experiments.mpl.tables`: figures 5.2 to 5.5 of Pham 2021.

Each is drawn of what there is: rows of a table, or the folders of finished runs; nothing, where
there is not enough.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

from experiments.mpl import moons as glue
from experiments.report import figures
from experiments.report.curves import Curve, Group, curve, read_run
from experiments.report.rows import Row
from experiments.report.sweep import Workdirs
from experiments.runner import pretrained
from experiments.runner.workdir import read_config
from mpl import moons
from mpl.models import perceptron
from mpl.models.network import predictor
from mpl.moons import Moons

# Panel, line, cell, metric: a student's "training accuracy" is its agreement with its teacher.
LINES = (
    ("training accuracy", "supervised", "supervised", "accuracy"),
    ("training accuracy", "teacher", "mpl_uda", "teacher_accuracy"),
    ("training accuracy", "student", "mpl_uda", "student_accuracy"),
    ("h", "student", "mpl_uda", "h"),
)
PANELS = ("supervised", "pseudo_labels", "mpl", "laplacian_svm")


def training(rows: Sequence[Row], workdirs: Workdirs, folder: Path) -> list[Path]:
    """How often networks agree with the labels that they learn from, and h (figure 5.4)."""
    del rows
    if not {"supervised", "mpl_uda"} <= set(workdirs):
        return []
    panels: dict[str, dict[str, Curve]] = {}
    for panel, line, name, metric in LINES:
        found = curve(Group(name, (read_run(workdirs[name]),)), "train", metric, points=100)
        if found is not None:
            panels.setdefault(panel, {})[line] = found
    path = folder / "training.png"
    figures.learning_curves(path, panels, title="Meta Pseudo Labels in training")
    return [path]


def components(
    order: Sequence[str], rows: Sequence[Row], workdirs: Workdirs, folder: Path
) -> list[Path]:
    """Accuracy after each component, points with their intervals (figure 5.3)."""
    del workdirs
    rows = sorted(rows, key=lambda row: order.index(row["name"]))
    plt = figures.pyplot()
    with plt.rc_context(figures.STYLE):
        figure, axis = plt.subplots(figsize=(6.4, 1.1 + 0.3 * len(rows)))
        for place, row in enumerate(rows):
            control = "no_feedback" in row["name"]
            look = {"fmt": "o", "capsize": 3, "color": figures.PALETTE[control]}
            ends = [[row["value"] - row["low"]], [row["high"] - row["value"]]]
            axis.errorbar(row["value"], place, xerr=ends, **look)
        words = [row["name"].replace("+", " + ").replace("_", " ") for row in rows]
        axis.set_yticks(range(len(rows)), words)
        axis.invert_yaxis()
        axis.grid(visible=True, axis="x")
        axis.grid(visible=False, axis="y")
        axis.set_xlabel("test accuracy (%), mean and 95% interval")
        seeds = " or ".join(str(n) for n in sorted({row["n"] for row in rows}))
        axis.set_title(f"What each component adds, n = {seeds} seeds")
        figure.savefig(folder / "components.png")
        plt.close(figure)
    return [folder / "components.png"]


def labels(rows: Sequence[Row], workdirs: Workdirs, folder: Path) -> list[Path]:
    """Accuracy against the share of labelled images, of rows METHOD-PERCENT (figure 5.5)."""
    del workdirs
    methods = ("supervised", "randaugment", "mpl")
    lines: dict[str, dict[int, Row]] = {method: {} for method in methods}
    for row in rows:
        method, _, share = row["name"].rpartition("-")
        lines[method][int(share)] = row
    plt = figures.pyplot()
    shares = sorted({share for line in lines.values() for share in line})
    with plt.rc_context(figures.STYLE):
        figure, axis = plt.subplots(figsize=(5.2, 3.2))
        for place, (method, line) in enumerate(lines.items()):
            # Side by side: bars at one share would hide each other.
            at = [shares.index(share) + 0.12 * (place - 1) for share in sorted(line)]
            low, value, high = (
                np.array([line[share][field] for share in sorted(line)])
                for field in ("low", "value", "high")
            )
            look = {"color": figures.PALETTE[place], "linestyle": figures.DASHES[place]}
            bars = [value - low, high - value]
            axis.errorbar(at, value, bars, marker="o", capsize=3, label=method, **look)
        axis.set_xticks(range(len(shares)), [str(share) for share in shares])
        axis.set_xlabel("labelled images (%)")
        axis.set_ylabel("test accuracy (%)")
        axis.set_title(f"With more labels: mean and 95% interval, n = {rows[0]['n']} seeds")
        axis.legend()
        figure.savefig(folder / "labels.png")
        plt.close(figure)
    return [folder / "labels.png"]


def two_moon(rows: Sequence[Row], workdirs: Workdirs, folder: Path) -> list[Path]:
    """Decision regions of methods on a data set, moons drawn apart and interlocked (figure 5.2)."""
    del rows
    made = []
    for prefix, name in (("", "two_moon"), ("interlocked-", "two_moon_interlocked")):
        cells = {each: workdirs[prefix + each] for each in PANELS if prefix + each in workdirs}
        networks = {method: path for method, path in cells.items() if method != glue.SVM}
        if not networks:
            continue
        config = ConfigDict(read_config(next(iter(networks.values()))))
        seed = config.seed + typical({key: glue.accuracies(path) for key, path in networks.items()})
        given = glue.data_set(config, jax.random.key(seed))
        panels = {method: _classes(path, seed) for method, path in networks.items()}
        if glue.SVM in cells:
            panels[glue.SVM] = moons.svm(given)
        made.append(_regions(folder / f"{name}.png", given, panels))
    return made


def typical(right: Mapping[str, np.ndarray]) -> int:
    """The first data set on which MPL succeeds and the baselines do not; 0 if there is none."""
    if not {"mpl", "supervised", "pseudo_labels"} <= set(right):
        return 0
    bad = (right["supervised"] < glue.RIGHT) & (right["pseudo_labels"] < glue.RIGHT)
    return int(np.argmax((right["mpl"] >= glue.RIGHT) & bad))


def _classes(workdir: Path, seed: int) -> Callable[[np.ndarray], np.ndarray]:
    """The network that a run found on a data set, as a function from points to classes."""
    own = workdir / f"seed_{seed}"
    params = pretrained.load(own if own.exists() else workdir).params
    predict = predictor(perceptron.two_moon())
    return lambda points: np.argmax(predict(params, {}, points), axis=-1)


def _regions(
    path: Path, given: Moons, panels: Mapping[str, Callable[[np.ndarray], np.ndarray]]
) -> Path:
    plt = figures.pyplot()
    points, labels, shown = (np.asarray(part) for part in given)
    low, high = points.min(0) - 0.3, points.max(0) + 0.3
    across, up = np.meshgrid(*(np.linspace(low[axis], high[axis], 201) for axis in (0, 1)))
    grid = np.stack([across.ravel(), up.ravel()], axis=-1).astype(np.float32)
    figure, axes = plt.subplots(1, len(panels), figsize=(3.0 * len(panels), 3.2), squeeze=False)
    colours = np.array(["#4477aa", "#ee6677"])
    for axis, (name, classes) in zip(axes[0], panels.items(), strict=True):
        regions = np.asarray(classes(grid)).reshape(across.shape)
        axis.contourf(across, up, regions, levels=[-0.5, 0.5, 1.5], colors=colours, alpha=0.25)
        axis.scatter(*points.T, s=1.5, c=colours[labels], linewidths=0)
        stars = {"s": 90, "marker": "*", "edgecolors": "black"}
        axis.scatter(*points[shown].T, c=colours[labels[shown]], **stars)
        right = moons.accuracy(classes(points), given)
        axis.set_title(f"{name.replace('_', ' ')}: {100 * right:.1f}%")
        axis.set_xticks([])
        axis.set_yticks([])
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)
    return path
