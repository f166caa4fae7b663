"""How well LaNAS partitions NAS-Bench-201: figure 4.7 and theorem 1 of Wang 2022, on the table.

    python -m experiments.report --fill search/partition
    python -m experiments.run --config=search/partition:made_up,smoke --workdir=runs/partition

Trees of height 5 (16 leaves) are learned from the first n samples of searches (`lanas-n`), and from
n cells drawn uniformly (`uniform-n`); `table` is the tree learned from all 15,625. Rewards are
validation accuracies on CIFAR-10. `search.partition_quality.Quality` defines the metrics: a reward
is an accuracy from 0 to 1 there, and a hundredth a percentage point.

Searches start with 200 random cells and learn a tree every 50, as in section 4.3, with the bound of
equation 4.3 and c = 0.1.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
from jaxtyping import Int

from experiments.data.nasbench201 import CELLS, TASKS
from experiments.report import figures
from experiments.report.rows import Row
from experiments.report.sweep import Cell, Table, Workdirs
from experiments.runner.checks import ConfigError, check_choice, check_float, check_int
from experiments.runner.experiment import Search
from experiments.search import study
from experiments.search.nasbench201 import MADE_UP, rewards
from search import benchmarks, interface, lanas_table, partition_quality
from search.bandit import Form
from search.interface import Measured
from search.lanas_table import Settings

FIGURE = "figure4_7.png"
LEAST = 30  # samples, so that some leaf of the lowest level has one
SHOWN = (200, 700, 5000)  # of figure 4.7(b)
Numbers = Mapping[tuple[str, str], Row]  # rows by name and metric


def build(config: Any) -> Search:
    """A study whose points are numbers of samples, or the whole table."""
    samples = check_choice(config, "samples", ("lanas", "uniform", "table"))
    height, bins = check_int(config, "height", low=2), check_int(config, "bins", low=2)
    settings = Settings(
        height,
        check_float(config, "lanas.c", low=0.0),
        check_choice(config, "lanas.form", get_args(Form)),
        check_int(config, "lanas.num_init", low=1),
        check_int(config, "lanas.select_every", low=1),
    )
    sizes = [CELLS] if samples == "table" else list(config.sizes)
    if not sizes or min(sizes) < LEAST or max(sizes) > CELLS:
        raise ConfigError("sizes", f"numbers of samples from {LEAST} to {CELLS}", config.sizes)
    values = rewards(check_choice(config, "task", (*TASKS, MADE_UP)))
    space = benchmarks.nasbench201()
    encodings = space.one_hot(space.every())

    @functools.cache
    def known() -> partition_quality.Reference:
        return partition_quality.reference(encodings, values, height, bins)

    @functools.lru_cache(maxsize=1)
    def order(seed: int) -> Int[np.ndarray, " budget"]:
        if samples == "lanas":
            return lanas_table.asked(encodings, values, seed, budget=max(sizes), settings=settings)
        return interface.generator(seed, 0).permutation(len(values))

    def measure(seed: int, size: int) -> Measured:
        seen = partition_quality.look(known(), order(seed)[:size])
        name = samples if samples == "table" else f"{samples}-{size}"
        lists = {"means": _with_none(seen.means), "shares": _with_none(seen.shares)}
        lists["edges"] = list(known().edges)
        rows = {name: seen.quality._asdict()}
        return study.found(rows, seen.quality.rank_correlation, **lists)

    return study.search(sizes, measure, ("rank_correlation", "max"))


def _with_none(array: np.ndarray) -> list[Any]:
    """Nested lists with None in the place of nan, which JSON does not have."""
    kept = array.astype(object)
    kept[np.isnan(array)] = None
    return kept.tolist()


def draw(rows: Sequence[Row], workdirs: Workdirs, folder: Path) -> Iterable[Path]:
    """Figure 4.7 and theorem 1: curves against n above, four leaves' distributions below."""
    numbers = {(row["name"], row["metric"]): row for row in rows}
    lanas, table = study.measured("lanas", workdirs), study.measured("table", workdirs)
    sizes = sorted(map(int, lanas[0].points)) if lanas else []
    if not table or any((f"uniform-{size}", "left_cells") not in numbers for size in sizes):
        return
    shown = [size for size in SHOWN if size in sizes] or sizes[-1:]
    place = {size: lanas[0].points.index(size) for size in shown}
    seen = {size: [each.more[place[size]] for each in lanas] for size in shown}
    plt = figures.pyplot()
    with plt.rc_context(figures.STYLE):
        figure, axes = plt.subplots(2, 4, figsize=(12.6, 5.6))
        panels = (
            ("divergence_nats", "(a) divergence from p*", "nats, mean over leaves"),
            ("mean_gap_points", "(a) samples' mean less p*'s", "percentage points"),
            ("left_cells", "theorem 1: the left-most leaf", "cells"),
        )
        for axis, (metric, title, label) in zip(axes[0], panels, strict=False):
            for colour, policy in zip(figures.PALETTE, ("lanas", "uniform"), strict=False):
                _band(axis, sizes, numbers, policy, metric, colour, policy)
            axis.set(xscale="log", xlabel="samples n", ylabel=label)
            axis.set_title(title)
        cells = axes[0, 2]
        bounds = (("left_bound", "bound (lanas)"), ("exact_bound", "with the exact errors"))
        for colour, (metric, label) in zip(figures.PALETTE[2:], bounds, strict=False):
            _band(cells, sizes, numbers, "lanas", metric, colour, label)
        cells.axhline(CELLS, color=figures.INK, lw=0.8, ls=":")
        cells.text(sizes[0], CELLS * 1.1, f"all {CELLS:,} cells", fontsize=7)
        cells.set_yscale("log")
        cells.set_ylim(30, 40_000)
        axes[0, 0].legend(fontsize=7)
        cells.legend(fontsize=7, loc="center right", bbox_to_anchor=(1.0, 0.72))
        _draw_means(axes[0, 3], seen)
        _draw_leaves(axes[1], table[0].more[0], seen)
        figure.savefig(folder / FIGURE)
        plt.close(figure)
    yield folder / FIGURE


def _band(
    axis: Any,
    sizes: Sequence[int],
    numbers: Numbers,
    policy: str,
    metric: str,
    colour: Any,
    label: str,
) -> None:
    found = [numbers[f"{policy}-{size}", metric] for size in sizes]
    low, high = [row["low"] for row in found], [row["high"] for row in found]
    axis.fill_between(sizes, low, high, color=colour, alpha=0.18, lw=0)
    axis.plot(sizes, [row["value"] for row in found], "o-", ms=3, color=colour, label=label)


def _draw_means(axis: Any, seen: Mapping[int, Sequence[Mapping[str, Any]]]) -> None:
    """The true mean of each leaf, left to right, in the trees of the searches."""
    for colour, (size, seeds) in zip(figures.PALETTE[3:], seen.items(), strict=False):
        means = 100.0 * np.array([each["means"] for each in seeds], np.float64)
        places, first = np.flatnonzero(np.isfinite(means).any(0)), means.shape[1] - 1
        axis.plot(places + first, np.nanmean(means[:, places], 0), "o-", ms=3, color=colour,
                  label=f"n = {size:,}")  # fmt: skip
        axis.set_xticks(range(first, 2 * first + 1, 3))
    axis.set(xlabel="leaf, left to right", ylabel="true mean accuracy (%)")
    axis.set_title("what is in the leaves")
    axis.legend(fontsize=7)


def _draw_leaves(
    axes: Any, table: Mapping[str, Any], seen: Mapping[int, Sequence[Mapping[str, Any]]]
) -> None:
    """Figure 4.7(b): the distribution of accuracies in two leaves at each end."""
    edges, first = table["edges"], len(table["shares"]) - 1
    place = np.arange(len(edges) + 1)
    for axis, leaf in zip(axes, (0, 1, first - 1, first), strict=True):
        star = np.array(table["shares"][leaf], np.float64)
        axis.bar(place, star, width=0.9, color=figures.FAINT, label="p*")
        for colour, (size, seeds) in zip(figures.PALETTE[3:], seen.items(), strict=False):
            shares = np.array([each["shares"][leaf] for each in seeds], np.float64)
            shares = shares[np.isfinite(shares[:, 0])]
            if len(shares):
                axis.plot(place, shares.mean(0), "o-", ms=3, color=colour, label=f"n = {size:,}")
        axis.set_xticks(place[1::2] - 0.5, [f"{100 * edge:.1f}" for edge in edges[::2]])
        axis.set_title(f"(b) leaf {leaf + first}")
        axis.set_xlabel("accuracy (%), bins of equally many cells")
    axes[0].set_ylabel("share of the samples in the leaf")
    axes[0].legend(fontsize=7)


CONFIG = "search/partition:cifar10,cpu"
TABLES = {
    "search/partition": Table(
        "NAS-Bench-201: the leaves of trees of linear splits",
        {
            "lanas": Cell(CONFIG, {"samples": "lanas", "num_seeds": 20}),
            "uniform": Cell(CONFIG, {"samples": "uniform", "num_seeds": 20}),
            "table": Cell(CONFIG, {"samples": "table"}),
        },
        study.written,
        draw,
    )
}
