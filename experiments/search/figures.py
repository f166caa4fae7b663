"""Figures 4.6, 5.6, 5.7 and 5.10 of Wang 2022, from rows and from the searches of finished cells.

4.6: what each setting of LaNAS does to the samples until the best cell, from the rows of
`search/nasbench201` and `search/lanas_samplers`; 5.10: C_p, theta and kernel of LA-MCTS, from those
of `search/synthetic`. In both, rows are joined by a line where they differ in nothing else. 5.7 and
5.8: the least cost after each evaluation, 5.6: the highest reward, of the functions or tasks of
which all methods with a row are there. Each is drawn where there is something to draw.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
BASE = "ackley20-lamcts_turbo"  # whose settings figure 5.10 changes
ABLATION_PANELS = {"c": "C_p", "leaf_size": "theta, samples in a leaf", "kernel": "kernel"}

Settings = Mapping[str, Any]
Lines = dict[tuple[tuple[str, Any], ...], list[tuple[Any, Row]]]
Curves = Float[np.ndarray, "seed evaluation"]


@contextlib.contextmanager
def _picture(path: Path, rows: int, columns: int, size: tuple[float, float]) -> Iterator[Any]:
    """A figure and its axes `[rows, columns]`, saved at the end."""
    plt = figures.pyplot()
    with plt.rc_context(figures.STYLE):
        figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False)
        yield figure, axes
        figure.savefig(path)
        plt.close(figure)


def lines(rows: Iterable[Row], settings: Mapping[str, Settings], varied: str) -> Lines:
    """Rows whose settings differ in one only, two or more of them, in its order.

    Args:
      rows: of one metric.
      settings: of each row, by its name.
      varied: the one.

    Returns:
      The other settings, in their order -> the varied one's values, and rows.
    """
    groups: dict[tuple[tuple[str, Any], ...], dict[Any, Row]] = {}
    for row in rows:
        rest = dict(settings[row["name"]])
        value = rest.pop(varied)
        groups.setdefault(tuple(sorted(rest.items())), {})[value] = row
    return {rest: sorted(groups[rest].items()) for rest in sorted(groups) if len(groups[rest]) > 1}


def lanas(
    settings: Mapping[str, Settings], rows: Sequence[Row], _: Workdirs, folder: Path
) -> list[Path]:
    """Draws figure 4.6.

    Args:
      settings: of LaNAS, by the row's name.
      rows: of `search/nasbench201`.
      folder: of the picture.
    """
    shown = [row for row in rows if row["metric"] == METRIC and row["name"] in settings]
    if not shown:
        return []
    out = folder / "figure4_6.png"
    with _picture(out, 1, 5, (14.5, 3.3)) as (_, (axes,)):
        for axis, (varied, title) in zip(
            [axes[0], axes[1], axes[3], axes[4]], LANAS_PANELS.items(), strict=True
        ):
            groups = lines(shown, settings, varied)
            _panel(axis, groups, {rest: _apart(rest, groups) for rest in groups}, ms=4, capsize=2)
            axis.set_title(title, fontsize=9)
            if len(groups) > 1:
                axis.legend(fontsize=6.5)
            if not groups:
                _say_missing(axis)
        _predictors(axes[2])
        axes[0].set_ylabel("samples to the best cell, median")
    return [out]


def _panel(axis: Any, groups: Lines, labels: Mapping[Any, str], **style: Any) -> None:
    """Rows against the values of the setting in which they differ, at equal distances."""
    values = sorted({value for line in groups.values() for value, _ in line})
    text = any(isinstance(value, str) for value in values)
    for place, (rest, line) in enumerate(groups.items()):
        x, rows = [values.index(value) for value, _ in line], [row for _, row in line]
        axis.errorbar(
            np.array(x) + 0.06 * (place - (len(groups) - 1) / 2), [row["value"] for row in rows],
            yerr=_ends(rows), fmt="o" if text else "o-", label=labels[rest], lw=1.2,
            color=figures.PALETTE[place % len(figures.PALETTE)], **style,
        )  # fmt: skip
    axis.set_xticks(range(len(values)), values if text else [f"{value:g}" for value in values])
    axis.set_ylim(0, None)


def _apart(rest: Sequence[tuple[str, Any]], groups: Iterable[Any]) -> str:
    """The settings by which a line differs from the others of its panel."""
    common = set.intersection(*[set(each) for each in groups])
    shown = [(key, value) for key, value in rest if (key, value) not in common]
    return " ".join(f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in shown)


def _predictors(axis: Any) -> None:
    path = table_path("search/lanas_samplers")
    found = read_table(path).rows if path.exists() else []
    rows = {row["name"]: row for row in found if row["metric"] == METRIC}
    known = {label: rows[name] for label, name in PREDICTORS.items() if name in rows}
    for place, row in enumerate(known.values()):
        axis.errorbar(place, row["value"], yerr=_ends([row]), fmt="o", ms=6, capsize=3,
                      color=figures.PALETTE[place % len(figures.PALETTE)])  # fmt: skip
        axis.annotate(f"n = {row['n']}", (place, row["high"]), fontsize=7, ha="center",
                      xytext=(0, 3), textcoords="offset points")  # fmt: skip
    axis.set_xticks(range(len(known)), list(known))
    axis.set_xlim(-0.6, max(len(known), 1) - 0.4)
    axis.set_title("(b) what splits a node", fontsize=9)
    axis.set_ylim(0, 1.15 * max([row["high"] for row in known.values()], default=1.0))
    if not known:
        _say_missing(axis)


def _ends(rows: Sequence[Row]) -> Float[np.ndarray, "2 row"]:
    ends = [[row["value"] - row["low"], row["high"] - row["value"]] for row in rows]
    return np.array(ends).reshape(-1, 2).T


def _say_missing(axis: Any) -> None:
    axis.text(0.5, 0.5, "not measured", transform=axis.transAxes, ha="center", fontsize=8)
    axis.set_yticks([])


def ablations(settings: Mapping[str, Settings], rows: Iterable[Row], out: Path) -> list[Path]:
    """Draws figure 5.10, where there are rows that differ in one setting.

    Args:
      settings: `ABLATION_PANELS` of LA-MCTS, by the row's name.
      rows: of `search/synthetic`.
      out: the picture.
    """
    shown = [row for row in rows if row["metric"] == "best_value" and row["name"] in settings]
    found = {varied: lines(shown, settings, varied) for varied in ABLATION_PANELS}
    found = {varied: groups for varied, groups in found.items() if groups}
    if not found:
        return []
    with _picture(out, 1, len(found), (3.6 * len(found) + 0.4, 3.4)) as (figure, (axes,)):
        for axis, (varied, groups) in zip(axes, found.items(), strict=True):
            seeds = {rest: _range(row["n"] for _, row in line) for rest, line in groups.items()}
            _panel(axis, groups, {rest: _apart(rest, groups) for rest in groups}, ms=5, capsize=3)
            axis.set_xlim(-0.5, len({v for line in groups.values() for v, _ in line}) - 0.4)
            axis.set_title(f"{ABLATION_PANELS[varied]}, {' or '.join(seeds.values())} seeds")
            if len(groups) > 1:
                axis.legend(fontsize=7)
        axes[0].set_ylabel("least cost at the end: mean, 95%")
        figure.suptitle(f"{BASE}: one setting changed at a time", x=0.01, ha="left", fontsize=10)
    return [out]


def panels(rows: Iterable[Row], workdirs: Workdirs) -> dict[str, dict[str, Curves]]:
    """The best reward after each evaluation, by problem and method.

    Only of problems of which every method that has a row is there, and without the ablations, whose
    names have one more underscore than their methods.
    """
    named: dict[str, set[str]] = {}
    for name in dict.fromkeys(row["name"] for row in rows):
        problem, _, method = name.partition("-")
        named.setdefault(problem, set()).add(method)
    found = {}
    for problem, methods in named.items():
        shown = {m for m in methods if m.rpartition("_")[0] not in methods}
        if all(f"{problem}-{method}" in workdirs for method in shown):
            found[problem] = {m: curves(workdirs[f"{problem}-{m}"]) for m in sorted(shown)}
    return found


def synthetic(
    settings: Mapping[str, Settings], rows: Sequence[Row], workdirs: Workdirs, folder: Path
) -> list[Path]:
    """Draws figures 5.7 and 5.8, costs of the test functions, and 5.10 (`ablations`)."""
    drawn = _curves(panels(rows, workdirs), folder / "figure5_7.png", costs=True)
    return [*drawn, *ablations(settings, rows, folder / "figure5_10.png")]


def control(rows: Sequence[Row], workdirs: Workdirs, folder: Path) -> list[Path]:
    """Draws figure 5.6, rewards of controllers."""
    return _curves(panels(rows, workdirs), folder / "figure5_6.png", costs=False)


def _curves(found: Mapping[str, Mapping[str, Curves]], out: Path, *, costs: bool) -> list[Path]:
    """One panel a problem, one line a method: median and quartiles over seeds."""
    if not found:
        return []
    methods = sorted({method for each in found.values() for method in each})
    columns, rows = min(4, len(found)), math.ceil(len(found) / 4)
    size = (max(3.3 * columns, 6.0), 2.7 * rows + 0.3 * math.ceil(len(methods) / 5))
    with _picture(out, rows, columns, size) as (figure, axes):
        handles: dict[str, Any] = {}
        for axis, problem in zip(axes.flat, sorted(found, key=_natural), strict=False):
            ends = []
            for method, rewards in sorted(found[problem].items()):
                place, steps = methods.index(method), np.arange(1, rewards.shape[1] + 1)
                colour = figures.PALETTE[place % len(figures.PALETTE)]
                low, middle, high = np.percentile(-rewards if costs else rewards, [25, 50, 75], 0)
                axis.fill_between(steps, low, high, color=colour, alpha=0.15, lw=0)
                (handles[method],) = axis.plot(
                    steps, middle, color=colour, lw=1.4,
                    ls=figures.DASHES[place // len(figures.PALETTE) % len(figures.DASHES)],
                )  # fmt: skip
                ends.append(float(middle[-1]))
            if costs:
                axis.set_yscale("log")
                # Who starts at the optimum must not squeeze what there is to see.
                axis.set_ylim(bottom=max(axis.get_ylim()[0], 1e-3 * float(np.median(ends))))
                _plain_ticks(axis)
            axis.set_xlabel("evaluations")
            axis.set_title(f"{problem}, {_range(len(c) for c in found[problem].values())} seeds")
        for axis in list(axes.flat)[len(found) :]:
            axis.set_visible(False)
        for axis in axes[:, 0]:
            axis.set_ylabel("best so far: median, quartiles")
        figure.legend(
            [handles[method] for method in methods], methods, loc="outside lower left",
            ncols=min(5, len(methods)), fontsize=8,
        )  # fmt: skip
    return [out]


def _plain_ticks(axis: Any) -> None:
    """Ticks of a logarithmic axis as 20, 50, 100 instead of powers of ten, at most eight."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    low, high = axis.get_ylim()
    tens = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        ticks = [d * 10.0**t for t in tens for d in digits if low <= d * 10.0**t <= high]
        if len(ticks) <= 8:
            break
    axis.yaxis.set_major_locator(FixedLocator(ticks))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.yaxis.set_minor_locator(NullLocator())


def _natural(problem: str) -> tuple[int, str]:
    """The functions of 20 dimensions before those of 100."""
    digits = re.search(r"\d+$", problem)
    return (int(digits[0]) if digits else 0, problem)


def _range(numbers: Iterable[int]) -> str:
    ordered = sorted(set(numbers))
    return f"{ordered[0]}" if len(ordered) == 1 else f"{ordered[0]} to {ordered[-1]}"
