"""Pictures of where LA-MCTS searches: figures 5.3, 5.9(a) and 5.11 of Wang 2022.

Drawn by `experiments.search.regions`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from experiments.report import figures
from experiments.report.interval import mean_interval
from search import partition, regions
from search.regions import Iteration, Sine
from search.spaces import Box

# Of figure 5.11: the iterations, and half the side of the window in which the region can be seen.
PANELS = {0: 10.0, 1: 10.0, 2: 10.0, 3: 10.0, 5: 5.0, 10: 1.5, 15: 0.8, 20: 0.4}
PIXELS = 241


def draw_sine(path: Path, tree: Sine) -> Path:
    """Figure 5.3: sin(x) and its samples, and below them the regions of each level of the tree."""
    plt = figures.pyplot()
    grid = np.linspace(0.0, 1.0, 2001)[:, None]
    interval, maxima, units, values, root = tree
    x = interval.from_unit(grid)[:, 0]
    shades = {"cmap": "viridis_r", "vmin": -1.0, "vmax": 1.0}
    with plt.rc_context(figures.STYLE):
        figure, (curve, bars) = plt.subplots(
            2, 1, figsize=(7.6, 4.6), sharex=True, height_ratios=(1.3, 1)
        )
        curve.plot(x, np.sin(x), color=figures.FAINT, lw=2)
        colours = regions.means(root, values, units)
        image = curve.scatter(
            interval.from_unit(units)[:, 0], values, c=colours, s=16, zorder=3, **shades
        )
        for axis, maximum in [(axis, maximum) for axis in (curve, bars) for maximum in maxima]:
            axis.axvline(maximum, color=figures.PALETTE[1], lw=0.9, ls=":", zorder=3)
        curve.set_ylabel("sin(x)")
        curve.set_title("samples, coloured by the mean of their leaf")
        levels = range(regions.depth(root) + 1)
        bars.imshow(
            np.array([regions.means(root, values, grid, level) for level in levels]),
            aspect="auto", interpolation="nearest",
            extent=(x[0], x[-1], len(levels) - 0.5, -0.5), **shades,
        )  # fmt: skip
        bars.set_yticks(levels)
        bars.grid(visible=False)
        bars.set(xlabel="x", ylabel="level of the tree")
        bars.set_title("mean of the samples in each region, level by level; maxima dotted")
        figure.colorbar(image, ax=(curve, bars), label="mean of the samples", shrink=0.8)
        figure.savefig(path)
        plt.close(figure)
    return path


def draw_plane(path: Path, space: Box, run: Sequence[Iteration]) -> Path:
    """Figure 5.11: a tree's leaves by their means, the selected region, samples and optimum.

    Args:
      path: the picture.
      space: a square about the origin.
      run: the iterations of a seed.
    """
    plt = figures.pyplot()
    with plt.rc_context(figures.STYLE):
        figure, axes = plt.subplots(2, 4, figsize=(11.6, 5.9))
        for axis, (number, half) in zip(axes.flat, PANELS.items(), strict=True):
            each, side = run[number], np.linspace(-half, half, PIXELS)
            grid = space.to_unit(np.stack(np.meshgrid(side, side), -1).reshape(-1, 2))
            costs = -regions.means(each.root, each.history.values[each.history.good], grid)
            image = axis.imshow(
                costs.reshape(PIXELS, PIXELS), origin="lower", extent=(-half, half, -half, half),
                cmap="viridis", vmin=0, vmax=16, alpha=0.75,
            )  # fmt: skip
            here = partition.inside(each.region, grid).reshape(PIXELS, PIXELS)
            if here.any() and not here.all():
                axis.contour(side, side, here, [0.5], colors=figures.PALETTE[1], linewidths=1.8)
            x, y = each.history.points.T
            seen = (np.abs(x) <= half) & (np.abs(y) <= half)
            axis.plot(x[seen], y[seen], ".", color=figures.INK, ms=2.5)
            axis.plot(0, 0, "*", color="red", ms=11, mec="white", mew=0.8)
            axis.set(xlim=(-half, half), ylim=(-half, half))
            axis.grid(visible=False)
            samples, share = each.history.asked, regions.measure(space, each)["volume_percent"]
            axis.set_title(f"{number}: {samples} samples, {share:.2g}%", fontsize=8.5)
        figure.colorbar(image, ax=axes, label="mean cost of a leaf's samples", shrink=0.8)
        figure.suptitle(
            "Ackley-2: the leaves, the selected region (orange; its share of the box) and the "
            "optimum (star), by iteration; from 5 on zoomed in", x=0.01, ha="left", fontsize=10,
        )  # fmt: skip
        figure.savefig(path)
        plt.close(figure)
    return path


def draw_splits(path: Path, runs: Sequence[Mapping[str, Sequence[float]]], trials: int) -> Path:
    """Figure 5.9(a): the regret of the selected region, and the number of splits.

    Args:
      path: the picture.
      runs: regret and splits of each seed's iterations.
      trials: between one tree and the next.
    """
    plt = figures.pyplot()
    steps = np.arange(len(runs[0]["splits"]))
    panels = {
        "regret of the selected region": [run["regret"] for run in runs],
        "splits of the tree": [run["splits"] for run in runs],
    }
    with plt.rc_context(figures.STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(9.2, 3.2))
        for axis, (title, each), colour in zip(axes, panels.items(), figures.PALETTE, strict=False):
            values = np.array(each)
            axis.plot(steps, values.T, color=colour, lw=0.6, alpha=0.4)
            found = [mean_interval(column) for column in values.T]
            low, high = [f.low for f in found], [f.high for f in found]
            axis.fill_between(steps, low, high, color=colour, alpha=0.2, lw=0)
            axis.plot(steps, values.mean(0), color=colour, lw=2.2)
            axis.set_xticks(range(0, len(steps), 5))
            axis.set(xlabel=f"iteration (a tree, then {trials} trials)", ylim=(0, None))
            axis.set_title(f"{title}, {len(runs)} seeds")
        axes[0].set_ylabel("mean cost of its samples")
        figure.savefig(path)
        plt.close(figure)
    return path
