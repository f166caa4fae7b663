"""Figures 4.6, 5.6, 5.7 and 5.10 of Wang 2022, from rows and from the searches of finished cells.

4.6: what each setting of LaNAS does to the samples until the best cell, from the rows of
`search/nasbench201` and `search/lanas_samplers`; two rows are joined by a line where they differ in
nothing else. 5.7 and 5.8: the least cost after each evaluation, 5.6: the highest reward, of the
functions or tasks of which all methods with a row are there. 5.10: C_p, theta and kernel of
LA-MCTS, from the rows of `search/synthetic` that are named `_c10`, `_theta40`, `_linear` or the
like. Each is drawn where there is something to draw.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from experiments.report import figures
from experiments.report.rows import Row
from experiments.report.sweep import Workdirs
from experiments.report.table import read_table, table_path
from experiments.search.curves import curves

METRIC = "median_samples_to_best"
# Of figure 4.6: the setting, its label; (b), the predictor, is drawn from other rows.
LANAS_PANELS = {
    "height": "(a) height of the tree (levels)",
    "select_every": "(a) samples per tree, #select",
    "num_init": "(c) random samples at first",
    "c": "(d) exploration c",
}
PREDICTORS = {"linear": "cifar10-pi_random", "perceptron": "cifar10-perceptron"}
DEFAULTS = {"c": "1", "theta": "20", "kernel": "rbf"}  # of LA-MCTS in `search/synthetic`
ABLATION_PANELS = {"c": "C_p", "theta": "theta, samples in a leaf", "kernel": "kernel"}
_ABLATION = re.compile(r"_(?:c(?P<c>[\d.]+)|theta(?P<theta>\d+)|(?P<kernel>linear|poly|rbf))$")

Settings = Mapping[str, Any]


def lines(
    rows: Iterable[Row], settings: Mapping[str, Settings], varied: str
) -> dict[tuple[tuple[str, Any], ...], list[tuple[float, Row]]]:
    """Rows whose settings differ in one only, two or more of them, in its order.

    Args:
      rows: of one metric.
      settings: of each row, by its name.
      varied: the one.

    Returns:
      The other settings -> the varied one's values, and rows.
    """
    groups: dict[tuple[tuple[str, Any], ...], dict[float, Row]] = {}
    for row in rows:
        rest = dict(settings[row["name"]])
        value = rest.pop(varied)
        groups.setdefault(tuple(sorted(rest.items())), {})[value] = row
    return {rest: sorted(found.items()) for rest, found in groups.items() if len(found) > 1}


def lanas(
    changes: Mapping[str, Settings], rows: Sequence[Row], _: Workdirs, folder: Path
) -> list[Path]:
    """Draws figure 4.6 from the rows of CIFAR-10.

    Args:
      changes: of the config, by the row's name.
      rows: of `search/nasbench201`.
      folder: of the picture.
    """
    settings = {
        name: {key: change[f"lanas.{key}"] for key in (*LANAS_PANELS, "form")}
        for name, change in changes.items()
        if change["method"] == "lanas_table"
    }
    shown = [row for row in rows if row["metric"] == METRIC and row["name"] in settings]
    if not shown:
        return []
    plt, out = figures.pyplot(), folder / "figure4_6.png"
    with plt.rc_context(figures.STYLE):
        figure, axes = plt.subplots(1, 5, figsize=(14.5, 3.3))
        for axis, (varied, label) in zip(
            [axes[0], axes[1], axes[3], axes[4]], LANAS_PANELS.items(), strict=True
        ):
            _lanas_panel(axis, lines(shown, settings, varied))
            axis.set_title(label, fontsize=9)
        _predictors(axes[2])
        axes[0].set_ylabel("samples to the best cell, median")
        figure.savefig(out)
        plt.close(figure)
    return [out]


def _lanas_panel(axis: Any, groups: Mapping[Any, Sequence[tuple[float, Row]]]) -> None:
    values = sorted({value for line in groups.values() for value, _ in line})
    for place, (rest, line) in enumerate(groups.items()):
        x, rows = [values.index(value) for value, _ in line], [row for _, row in line]
        axis.errorbar(
            np.array(x) + 0.06 * (place - (len(groups) - 1) / 2), [row["value"] for row in rows],
            yerr=_ends(rows), fmt="o-", ms=4, capsize=2,
            color=figures.PALETTE[place % len(figures.PALETTE)],
            label=_apart(rest, groups), lw=1.2,
        )  # fmt: skip
    axis.set_xticks(range(len(values)), [f"{value:g}" for value in values])
    axis.set_ylim(0, None)
    if len(groups) > 1:
        axis.legend(fontsize=6.5)
    if not groups:
        _say_missing(axis)


def _apart(rest: Sequence[tuple[str, Any]], groups: Iterable[Any]) -> str:
    """The settings by which a line differs from the others of its panel."""
    common = set.intersection(*[set(each) for each in groups])
    return " ".join(f"{key}={value}" for key, value in rest if (key, value) not in common)


def _predictors(axis: Any) -> None:
    path = table_path("search/lanas_samplers")
    found = read_table(path).rows if path.exists() else []
    rows = {row["name"]: row for row in found if row["metric"] == METRIC}
    known = {label: rows[name] for label, name in PREDICTORS.items() if name in rows}
    _bars(axis, list(known), list(known.values()))
    axis.set_title("(b) what splits a node", fontsize=9)
    axis.set_ylim(0, None)


def _ends(rows: Sequence[Row]) -> Float[np.ndarray, "2 row"]:
    ends = [[row["value"] - row["low"], row["high"] - row["value"]] for row in rows]
    return np.array(ends).reshape(-1, 2).T


def _bars(axis: Any, labels: Sequence[str], rows: Sequence[Row]) -> None:
    for place, row in enumerate(rows):
        axis.errorbar(place, row["value"], yerr=_ends([row]), fmt="o", ms=6, capsize=3,
                      color=figures.PALETTE[place % len(figures.PALETTE)])  # fmt: skip
        axis.annotate(f"n = {row['n']}", (place, row["high"]), fontsize=7, ha="center",
                      xytext=(0, 3), textcoords="offset points")  # fmt: skip
    axis.set_xticks(range(len(labels)), labels)
    axis.set_xlim(-0.6, max(len(labels), 1) - 0.4)
    if not rows:
        _say_missing(axis)


def _say_missing(axis: Any) -> None:
    axis.text(0.5, 0.5, "not measured", transform=axis.transAxes, ha="center", fontsize=8)
    axis.set_yticks([])


def panels(
    rows: Iterable[Row], workdirs: Workdirs
) -> dict[str, dict[str, Float[np.ndarray, "seed evaluation"]]]:
    """The best reward after each evaluation, by problem and method.

    Only of problems of which every method that has a row is there, and without the ablations, whose
    names have one more underscore than their methods.
    """
    named: dict[str, set[str]] = {}
    for name in {row["name"] for row in rows}:
        problem, _, method = name.partition("-")
        named.setdefault(problem, set()).add(method)
    found = {}
    for problem, methods in named.items():
        shown = {m for m in methods if m.rpartition("_")[0] not in methods}
        if all(f"{problem}-{method}" in workdirs for method in shown):
            found[problem] = {m: curves(workdirs[f"{problem}-{m}"]) for m in sorted(shown)}
    return found


def synthetic(rows: Sequence[Row], workdirs: Workdirs, folder: Path) -> list[Path]:
    """Draws figures 5.7 and 5.8, costs of the test functions, and 5.10."""
    found = {
        function: {method: -each for method, each in methods.items()}
        for function, methods in panels(rows, workdirs).items()
    }
    return [*_curves(found, folder / "figure5_7.png"), *ablations(rows, folder / "figure5_10.png")]


def control(rows: Sequence[Row], workdirs: Workdirs, folder: Path) -> list[Path]:
    """Draws figure 5.6, rewards of controllers."""
    return _curves(panels(rows, workdirs), folder / "figure5_6.png")


def _curves(
    found: Mapping[str, Mapping[str, Float[np.ndarray, "seed evaluation"]]], out: Path
) -> list[Path]:
    """One panel a problem, one line a method: median and quartiles over seeds."""
    if not found:
        return []
    methods = sorted({method for each in found.values() for method in each})
    plt = figures.pyplot()
    columns = min(4, len(found))
    height = 2.7 * math.ceil(len(found) / columns) + 0.3 * math.ceil(len(methods) / 5)
    with plt.rc_context(figures.STYLE):
        figure, axes = plt.subplots(
            math.ceil(len(found) / columns), columns,
            figsize=(max(3.3 * columns, 6.0), height), squeeze=False,
        )  # fmt: skip
        handles: dict[str, Any] = {}
        for axis, function in zip(axes.flat, sorted(found, key=_natural), strict=False):
            for method, curves in sorted(found[function].items()):
                place, steps = methods.index(method), np.arange(1, curves.shape[1] + 1)
                colour = figures.PALETTE[place % len(figures.PALETTE)]
                low, middle, high = np.percentile(curves, [25, 50, 75], axis=0)
                axis.fill_between(steps, low, high, color=colour, alpha=0.15, lw=0)
                (handles[method],) = axis.plot(
                    steps, middle, color=colour, lw=1.4,
                    ls=figures.DASHES[place // len(figures.PALETTE) % len(figures.DASHES)],
                )  # fmt: skip
            if all(_falls(curves) for curves in found[function].values()):
                axis.set_yscale("log")
                # Who starts at the optimum must not squeeze what there is to see.
                ends = [np.median(curves[:, -1]) for curves in found[function].values()]
                axis.set_ylim(bottom=max(axis.get_ylim()[0], 1e-3 * float(np.median(ends))))
            axis.set_xlabel("evaluations")
            axis.set_title(f"{function}, {_range(len(c) for c in found[function].values())} seeds")
        for axis in list(axes.flat)[len(found) :]:
            axis.set_visible(False)
        for axis in axes[:, 0]:
            axis.set_ylabel("best so far: median, quartiles")
        figure.legend(
            [handles[method] for method in methods], methods, loc="outside lower left",
            ncols=min(5, len(methods)), fontsize=8,
        )  # fmt: skip
        figure.savefig(out)
        plt.close(figure)
    return [out]


def _natural(function: str) -> tuple[int, str]:
    """The functions of 20 dimensions before those of 100."""
    digits = re.search(r"\d+$", function)
    return (int(digits[0]) if digits else 0, function)


def _range(numbers: Iterable[int]) -> str:
    ordered = sorted(set(numbers))
    return f"{ordered[0]}" if len(ordered) == 1 else f"{ordered[0]} to {ordered[-1]}"


def _falls(curves: Float[np.ndarray, "seed evaluation"]) -> bool:
    """Whether they are costs, which fall to 0 at most, and no rewards."""
    return bool(curves.min() >= 0 and (curves[:, -1] <= curves[:, 0]).all())


def ablated(rows: Iterable[Row]) -> dict[str, dict[str, list[tuple[str, Row]]]]:
    """Panel -> function and method -> (value of the setting, row), in order; from `best_value`.

    A row without a suffix is the default of every panel; panels without another row are left out.
    """
    known = {row["name"]: row for row in rows if row["metric"] == "best_value"}
    panels: dict[str, dict[str, list[tuple[str, Row]]]] = {}
    for name, row in known.items():
        if match := _ABLATION.search(name):
            panel, value = next((k, v) for k, v in match.groupdict().items() if v is not None)
            base = name[: match.start()]
            line = panels.setdefault(panel, {}).setdefault(base, [])
            if not line and base in known:
                line.append((DEFAULTS[panel], known[base]))
            line.append((value, row))
    for panel, each in panels.items():
        for line in each.values():
            line.sort(key=lambda pair: pair[0] if panel == "kernel" else float(pair[0]))
    return {panel: panels[panel] for panel in ABLATION_PANELS if panel in panels}


def ablations(rows: Iterable[Row], out: Path) -> list[Path]:
    """Draws figure 5.10, where there is a row of an ablation."""
    panels = ablated(rows)
    if not panels:
        return []
    plt = figures.pyplot()
    with plt.rc_context(figures.STYLE):
        figure, axes = plt.subplots(
            1, len(panels), figsize=(3.6 * len(panels) + 0.4, 3.2), squeeze=False
        )
        for axis, (panel, each) in zip(axes[0], panels.items(), strict=True):
            key = str if panel == "kernel" else float
            values = sorted({value for line in each.values() for value, _ in line}, key=key)
            for place, (name, line) in enumerate(sorted(each.items())):
                rows = [row for _, row in line]
                axis.errorbar(
                    np.array([values.index(value) for value, _ in line]) + 0.06 * place,
                    [row["value"] for row in rows], yerr=_ends(rows), capsize=3, ms=5,
                    fmt="o" if panel == "kernel" else "o-", lw=1.2,
                    color=figures.PALETTE[place % len(figures.PALETTE)],
                    label=f"{name} ({_range(row['n'] for row in rows)} seeds)",
                )  # fmt: skip
            axis.set_xticks(range(len(values)), values)
            axis.set_xlim(-0.5, len(values) - 0.4)
            axis.set_ylim(0, None)
            axis.set_title(ABLATION_PANELS[panel])
            axis.legend(fontsize=7)
        axes[0, 0].set_ylabel("least cost at the end: mean, 95%")
        figure.savefig(out)
        plt.close(figure)
    return [out]
