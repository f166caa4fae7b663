"""Figures 4.6, 5.7 and 5.10 of Wang 2022, from what other commands have recorded.

    python -m experiments.search.figures lanas
    python -m experiments.search.figures synthetic --workdir runs/search_ackley runs/search_others
    python -m experiments.search.figures ablations

lanas: what each setting of LaNAS does to the samples until the best cell (figure 4.6), from the
rows of `search/nasbench201` and `search/lanas_samplers`; two rows are joined by a line where they
differ in nothing else. synthetic: the least cost after each evaluation (5.7 and 5.8), or the
highest reward (5.6), from what `experiments.search.synthetic` or `experiments.search.control` keeps
in its folders. ablations: C_p, theta and kernel of LA-MCTS (figure 5.10), from the rows of
`search/synthetic` that `--suffix` has named `_c10`, `_theta40`, `_linear` or the like. Each draws
whatever there is, and says what is missing where that is nothing. The pictures go to
`experiments/results/search/`.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from experiments.nco.tables import Parser
from experiments.report import figures
from experiments.report import table as results_table
from experiments.report.finished import Finished
from experiments.report.rows import Row, TableError

PICTURES = {"lanas": "figure4_6", "synthetic": "figure5_7", "ablations": "figure5_10"}
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
# Words of another setting than the default.
_OTHERS = {"linear", "poly", "scaled", "no_reuse"}
ABLATION_PANELS = {"c": "C_p", "theta": "theta, samples in a leaf", "kernel": "kernel"}
_ABLATION = re.compile(r"_(?:c(?P<c>[\d.]+)|theta(?P<theta>\d+)|(?P<kernel>linear|poly|rbf))$")


def read(table: str) -> list[Row]:
    """Rows of `results/search/TABLE.json`, none where there is no such file."""
    path = results_table.table_path(f"search/{table}")
    return results_table.read_table(path).rows if path.exists() else []


def settings(config: str) -> dict[str, str]:
    """The `key=value` words of a row's config, without the budget."""
    pairs = (word.split("=", 1) for word in config.split() if "=" in word)
    return {key: value for key, value in pairs if key != "budget"}


def lines(rows: Iterable[Row], varied: str) -> dict[tuple[tuple[str, str], ...], list[Row]]:
    """Rows whose configs differ in one setting only, two or more of them, in its order.

    Args:
      rows: of one metric.
      varied: the setting.

    Returns:
      The other settings -> rows.
    """
    groups: dict[tuple[tuple[str, str], ...], dict[str, Row]] = {}
    for row in rows:
        given = settings(row["config"])
        if varied in given:
            value = given.pop(varied)
            groups.setdefault(tuple(sorted(given.items())), {})[value] = row
    return {
        rest: [found[value] for value in sorted(found, key=float)]
        for rest, found in groups.items()
        if len(found) > 1
    }


def lanas(out: Path, _: Sequence[Path]) -> None:
    """Draws figure 4.6.

    Raises:
      TableError: no rows of LaNAS.
    """
    rows = [
        row for row in read("nasbench201")
        if row["metric"] == METRIC and re.match(r"cifar10-lanas(_|$)", row["name"])
    ]  # fmt: skip
    if not rows:
        raise TableError("search/nasbench201: expected rows cifar10-lanas*; run "
                         "experiments.search.nasbench201")  # fmt: skip
    plt = figures.pyplot()
    with plt.rc_context(figures.STYLE):
        figure, axes = plt.subplots(1, 5, figsize=(14.5, 3.3))
        for axis, (varied, label) in zip(
            [axes[0], axes[1], axes[3], axes[4]], LANAS_PANELS.items(), strict=True
        ):
            _lanas_panel(axis, lines(rows, varied), varied)
            axis.set_title(label, fontsize=9)
        _predictors(axes[2])
        axes[0].set_ylabel("samples to the best cell, median")
        figure.savefig(out)
        plt.close(figure)


def _lanas_panel(axis: Any, groups: Mapping[Any, Sequence[Row]], varied: str) -> None:
    values = sorted({float(settings(r["config"])[varied]) for g in groups.values() for r in g})
    for place, (rest, rows) in enumerate(groups.items()):
        x = [values.index(float(settings(row["config"])[varied])) for row in rows]
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


def _apart(rest: Sequence[tuple[str, str]], groups: Iterable[Any]) -> str:
    """The settings by which a line differs from the others of its panel."""
    common = set.intersection(*[set(each) for each in groups])
    return " ".join(f"{key}={value}" for key, value in rest if (key, value) not in common)


def _predictors(axis: Any) -> None:
    rows = {row["name"]: row for row in read("lanas_samplers") if row["metric"] == METRIC}
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


def searches(
    workdirs: Sequence[Path],
) -> dict[str, dict[str, Float[np.ndarray, "seed evaluation"]]]:
    """Best so far by function and method, of the largest budget.

    Of searches that differ in LA-MCTS's settings, those with the defaults are taken, where there
    are any; other settings are added to the method's name, where there are several.

    Args:
      workdirs: folders of `experiments.search.synthetic`, which keeps costs, or of
        `experiments.search.control`, which keeps rewards.

    Raises:
      TableError: nothing has finished there.
    """
    found: dict[str, dict[str, dict[str, dict[str, list[float]]]]] = {}
    for folder in workdirs:
        for key, result in Finished(folder / "finished.jsonl").items():
            function, method, *words = key.split()
            config = " ".join(w for w in words if not w.startswith(("seed=", "budget=")))
            seeds = found.setdefault(function, {}).setdefault(method, {}).setdefault(config, {})
            curve = result["costs"] if "costs" in result else result["best"]
            if len(curve) > len(seeds.get(words[-1], [])):
                seeds[words[-1]] = curve
    if not found:
        raise TableError(
            f"{', '.join(map(str, workdirs))}: expected finished searches; run "
            "experiments.search.synthetic"
        )
    return {
        function: {
            label: _stacked(list(seeds.values()))
            for method, configs in methods.items()
            for label, seeds in _chosen(method, configs).items()
        }
        for function, methods in found.items()
    }


def _chosen(method: str, configs: Mapping[str, Any]) -> dict[str, Any]:
    """What is drawn of the settings that a method was run with, by its label."""
    kept = [config for config in configs if _is_default(config)] or list(configs)
    common = set.intersection(*[set(config.split()) for config in kept])
    apart = {config: [w for w in config.split() if w not in common] for config in kept}
    return {" ".join([method, *apart[config]]): configs[config] for config in kept}


def _is_default(config: str) -> bool:
    given = settings(config)
    usual = {"c": "1", "theta": "20", "form": "algorithm", "round_most": "0"}
    same = all(given.get(key, value) == value for key, value in usual.items())
    return same and not _OTHERS & set(config.split())


def _stacked(curves: Sequence[Sequence[float]]) -> Float[np.ndarray, "seed evaluation"]:
    """One row a seed; shorter ones than the longest were of another budget, and are left out."""
    longest = max(map(len, curves))
    return np.array([each for each in curves if len(each) == longest])


def synthetic(out: Path, workdirs: Sequence[Path]) -> None:
    """Draws figures 5.6 to 5.8: one panel a function, one line a method.

    Raises:
      TableError: nothing has finished.
    """
    found = searches(workdirs)
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


def ablations(out: Path, _: Sequence[Path]) -> None:
    """Draws figure 5.10.

    Raises:
      TableError: no rows of an ablation.
    """
    panels = ablated(read("synthetic"))
    if not panels:
        raise TableError(
            "search/synthetic: expected rows named ..._c10, ..._theta40, ..._linear or the like; "
            "run experiments.search.synthetic --suffix"
        )
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code."""
    parser = Parser(
        prog="python -m experiments.search.figures",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("figure", choices=tuple(PICTURES), help="which")
    add("--workdir", type=Path, nargs="+", metavar="DIR", help="of synthetic")
    add("--out", type=Path, metavar="FILE", help="the picture")
    flags = parser.parse_args(arguments)
    if flags.workdir is not None and flags.figure != "synthetic":
        parser.error(f"--workdir: {flags.figure} is drawn from results/, not from runs")
    out = flags.out or results_table.RESULTS / "search" / f"{PICTURES[flags.figure]}.png"
    out.parent.mkdir(parents=True, exist_ok=True)
    draw = {"lanas": lanas, "synthetic": synthetic, "ablations": ablations}[flags.figure]
    try:
        draw(out, flags.workdir or [Path("runs/search_synthetic")])
    except (TableError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"wrote {out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
