"""How well LaNAS partitions NAS-Bench-201: figure 4.7 and theorem 1 of Wang 2022, on the table.

    python -m experiments.search.partition
    python -m experiments.search.partition --seeds 5 --sizes 200 700

Trees of height 5 (16 leaves) are learned from the first n samples of searches (`lanas-n`), and from
n cells drawn uniformly (`uniform-n`); `table` is the tree learned from all 15,625. Rewards are
validation accuracies on CIFAR-10. Writes `experiments/results/search/partition.json`, means over
seeds, and figure4_7.png beside it:

    ordered_pairs        part of neighbouring leaves of which the left one is truly better: the mean
                         accuracy of all cells in it, not only of the samples
    rank_correlation     Spearman's, of those means and the leaves' places; 1 is left to right
    divergence_nats      D_KL[p_j^n || p_j*], a mean over leaves j: the accuracies of the samples in
                         leaf j against those of all cells in leaf j of the tree `table`, in bins of
                         equally many cells. A sample of n_j from p_j* itself has about (bins - 1) /
                         (2 n_j), so that it falls with n whatever the search does
    mean_gap_points      mean accuracy of the samples in leaf j minus that of p_j*, a mean over j
    left_cells           cells in the left-most leaf
    left_bound           theorem 1's bound on them, 2 delta_max (1 - 2^-h) + N / 2^h; delta is
                         counted in the table
    exact_bound          the same with delta counted after the fact: by how much the largest of the
                         path's left children exceeds half of its parent; it always holds
    bound_holds          part of seeds in which left_cells is at most left_bound
    steps_hold           part of the left-most path's nodes whose left child has at most half of the
                         node's cells and delta more: what the theorem's proof takes for granted
    left_accuracy_percent  mean accuracy of all cells in the left-most leaf

Searches start with 200 random cells and learn a tree every 50, as in section 4.3, with the bound of
equation 4.3 and c = 0.1.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from experiments.nco.tables import Parser
from experiments.report import figures
from experiments.report import rows as result_rows
from experiments.report import table as results_table
from experiments.report.interval import mean_interval
from experiments.runner.one_thread import one_thread
from experiments.search import nasbench201 as search_nasbench201
from experiments.search import tables as search_tables
from search import benchmarks, interface, lanas_table, linear_tree, partition_quality
from search.lanas_table import Settings
from search.linear_tree import LinearTree

TABLE = "search/partition"
TITLE = "NAS-Bench-201: the leaves of trees of linear splits"
FIGURE = "figure4_7.png"
HEIGHT, BINS, PRIOR = 5, 10, 0.5  # the prior is half a cell in each bin of p_j*
SETTINGS = Settings(HEIGHT, 0.1, "equation", 200, 50)
SIZES = (100, 150, 200, 250, 300, 400, 500, 700, 1000, 2000, 5000)
LEAST = 30  # samples, so that some leaf of the lowest level has one
SHOWN = (200, 700, 5000)  # of figure 4.7(b)


class Space(NamedTuple):
    """The table, and what is compared with: p_j* and its mean in each leaf of the table's tree."""

    encodings: Float[np.ndarray, "cell hot"]
    values: Float[np.ndarray, " cell"]
    edges: Float[np.ndarray, " inner"]
    reference: dict[int, Float[np.ndarray, " cell"]]  # leaf -> accuracies


class Measured(NamedTuple):
    """Of one seed at one n; the fields are the metrics in the module's docstring."""

    ordered_pairs: float
    rank_correlation: float
    divergence_nats: float
    mean_gap_points: float
    left_cells: float
    left_bound: float
    exact_bound: float
    bound_holds: float
    steps_hold: float
    left_accuracy_percent: float


class Seen(NamedTuple):
    """What the picture needs of one seed at one n."""

    measured: Measured
    means: Float[np.ndarray, " leaf"]  # of all cells in each of the lowest level's leaves, or nan
    shares: Float[np.ndarray, "leaf bin"]  # of the samples in each, nan where there are none


def table_space(values: Float[np.ndarray, " cell"]) -> Space:
    """The cells with their accuracies, and the tree learned from all of them."""
    space = benchmarks.nasbench201()
    encodings = space.one_hot(space.every())
    tree = linear_tree.learn(encodings, values, HEIGHT)
    where = linear_tree.route(tree, encodings)
    reference = {leaf: values[where == leaf] for leaf in partition_quality.leaves(tree)}
    return Space(encodings, values, partition_quality.equal_bins(values, BINS), reference)


def look(space: Space, sampled: Int[np.ndarray, " sample"]) -> Seen:
    """Learns a tree from samples and measures its leaves.

    Args:
        space: of the cells.
        sampled: their rows in it.
    """
    tree = linear_tree.learn(space.encodings[sampled], space.values[sampled], HEIGHT)
    means = partition_quality.leaf_means(tree, space.encodings, space.values)
    order = partition_quality.ordering(means)
    path = partition_quality.left_path(tree, sampled, space.encodings, space.values)
    leaves = linear_tree.route(tree, space.encodings[sampled])
    bottom = range(2 ** (HEIGHT - 1) - 1, 2**HEIGHT - 1)
    shares = np.full((len(bottom), BINS), np.nan)
    divergences, gaps = list[float](), list[float]()
    for place, leaf in enumerate(bottom):
        here, all_there = space.values[sampled[leaves == leaf]], space.reference.get(leaf)
        if len(here) == 0 or all_there is None:
            continue
        shares[place] = partition_quality.histogram(here, space.edges)
        star = partition_quality.histogram(all_there, space.edges, prior=PRIOR)
        divergences.append(partition_quality.divergence(shares[place], star))
        gaps.append(100.0 * float(here.mean() - all_there.mean()))
    measured = Measured(
        order.adjacent, order.correlation, float(np.mean(divergences)), float(np.mean(gaps)),
        float(path.sizes[-1]), path.limit, path.exact, float(path.sizes[-1] <= path.limit),
        float(np.mean(path.realised <= path.errors)) if len(path.errors) else 1.0,
        100.0 * float(means[0]),
    )  # fmt: skip
    return Seen(measured, _by_place(tree, means), shares)


def _by_place(tree: LinearTree, means: Float[np.ndarray, " leaf"]) -> Float[np.ndarray, " leaf"]:
    first = 2 ** (HEIGHT - 1) - 1
    placed = np.full(first + 1, np.nan)
    for leaf, mean in zip(partition_quality.leaves(tree), means, strict=True):
        if leaf >= first:
            placed[leaf - first] = mean
    return placed


def orders(space: Space, seeds: int, budget: int) -> dict[str, Int[np.ndarray, "seed budget"]]:
    """The rows that each seed asks for, by LaNAS and at random."""
    import jax
    import jax.numpy as jnp

    rounded = -(-max(budget - SETTINGS.num_init, 0) // SETTINGS.select_every)
    searched = lanas_table.search(
        jnp.asarray(space.encodings, jnp.float32), jnp.asarray(space.values, jnp.float32),
        jax.vmap(jax.random.key)(jnp.arange(seeds)),
        budget=SETTINGS.num_init + rounded * SETTINGS.select_every, settings=SETTINGS,
    )  # fmt: skip
    drawn = [interface.generator(seed, 0).permutation(len(space.values)) for seed in range(seeds)]
    return {
        "lanas": np.asarray(searched)[:, :budget],
        "uniform": np.stack(drawn)[:, :budget],
    }


def measure(
    space: Space, seeds: int, sizes: Sequence[int], out: Path, command: str
) -> dict[tuple[str, int], list[Seen]]:
    """Measures every n and writes the rows."""
    since = time.monotonic()
    seen: dict[tuple[str, int], list[Seen]] = {}
    for policy, rows in orders(space, seeds, max(sizes)).items():
        for size in sizes:
            seen[policy, size] = [look(space, order[:size]) for order in rows]
            print(f"{policy}-{size}: {seen[policy, size][0].measured}", flush=True)
    made = list[dict[str, Any]]()
    words = " ".join(f"{key}={value}" for key, value in SETTINGS._asdict().items())
    table = look(space, np.arange(len(space.values)))
    for name, found, config in [
        *((f"{policy}-{size}", each, words if policy == "lanas" else f"height={HEIGHT}")
          for (policy, size), each in seen.items()),
        ("table", [table], f"height={HEIGHT}"),
    ]:  # fmt: skip
        for metric, values in zip(
            Measured._fields, np.array([each.measured for each in found]).T, strict=True
        ):
            made.append(
                result_rows.row(
                    name, metric, mean_interval(values), unit="seed", command=command,
                    config=f"cifar10 {config} bins={BINS}", seeds=list(range(len(found))),
                    seconds=time.monotonic() - since,
                )
            )  # fmt: skip
    results_table.write_table(out, TITLE, made)
    return seen


def draw(path: Path, space: Space, seen: dict[tuple[str, int], list[Seen]]) -> None:
    """Figure 4.7 and theorem 1: curves against n above, four leaves' distributions below."""
    plt = figures.pyplot()
    sizes = sorted({size for _, size in seen})
    with plt.rc_context(figures.STYLE):
        figure, axes = plt.subplots(2, 4, figsize=(12.6, 5.6))
        panels = (
            ("divergence_nats", "(a) divergence from p*", "nats, mean over leaves"),
            ("mean_gap_points", "(a) samples' mean less p*'s", "percentage points"),
            ("left_cells", "theorem 1: the left-most leaf", "cells"),
        )
        for axis, (metric, title, label) in zip(axes[0], panels, strict=False):
            for colour, policy in zip(figures.PALETTE, ("lanas", "uniform"), strict=False):
                _band(axis, sizes, seen, policy, metric, colour, policy)
            axis.set(xscale="log", xlabel="samples n", ylabel=label)
            axis.set_title(title)
        cells = axes[0, 2]
        bounds = (("left_bound", "bound (lanas)"), ("exact_bound", "with the exact errors"))
        for colour, (metric, label) in zip(figures.PALETTE[2:], bounds, strict=False):
            _band(cells, sizes, seen, "lanas", metric, colour, label)
        cells.axhline(len(space.values), color=figures.INK, lw=0.8, ls=":")
        cells.text(sizes[0], len(space.values) * 1.1, "all 15,625 cells", fontsize=7)
        cells.set_yscale("log")
        cells.set_ylim(30, 40_000)
        axes[0, 0].legend(fontsize=7)
        cells.legend(fontsize=7, loc="center right", bbox_to_anchor=(1.0, 0.72))
        shown = [size for size in SHOWN if size in sizes] or sizes[-1:]
        _draw_means(axes[0, 3], shown, seen)
        _draw_leaves(axes[1], space, shown, seen)
        figure.savefig(path)
        plt.close(figure)
    print(path)


def _band(
    axis: Any, sizes: Sequence[int], seen: Any, policy: str, metric: str, colour: Any, label: str
) -> None:
    found = [
        mean_interval([getattr(each.measured, metric) for each in seen[policy, size]])
        for size in sizes
    ]
    axis.fill_between(sizes, [f.low for f in found], [f.high for f in found], color=colour,
                      alpha=0.18, lw=0)  # fmt: skip
    axis.plot(sizes, [f.value for f in found], "o-", ms=3, color=colour, label=label)


def _draw_means(axis: Any, shown: Sequence[int], seen: Any) -> None:
    """The true mean of each leaf, left to right, in the trees of the searches."""
    for colour, size in zip(figures.PALETTE[3:], shown, strict=False):
        means = 100.0 * np.array([each.means for each in seen["lanas", size]])
        places = np.flatnonzero(np.isfinite(means).any(0))
        axis.plot(places + 15, np.nanmean(means[:, places], 0), "o-", ms=3, color=colour,
                  label=f"n = {size:,}")  # fmt: skip
    axis.set_xticks(range(15, 31, 3))
    axis.set(xlabel="leaf, left to right", ylabel="true mean accuracy (%)")
    axis.set_title("what is in the leaves")
    axis.legend(fontsize=7)


def _draw_leaves(axes: Any, space: Space, shown: Sequence[int], seen: Any) -> None:
    """Figure 4.7(b): the distribution of accuracies in two leaves at each end."""
    place = np.arange(BINS)
    for axis, leaf in zip(axes, (15, 16, 29, 30), strict=True):
        star = partition_quality.histogram(space.reference[leaf], space.edges)
        axis.bar(place, star, width=0.9, color=figures.FAINT, label="p*")
        for colour, size in zip(figures.PALETTE[3:], shown, strict=False):
            shares = np.array([each.shares[leaf - 15] for each in seen["lanas", size]])
            shares = shares[np.isfinite(shares[:, 0])]
            if len(shares):
                axis.plot(place, shares.mean(0), "o-", ms=3, color=colour, label=f"n = {size:,}")
        axis.set_xticks(np.arange(1, BINS, 2) - 0.5, [f"{100 * e:.1f}" for e in space.edges[::2]])
        axis.set_title(f"(b) leaf {leaf}")
        axis.set_xlabel("accuracy (%), bins of equally many cells")
    axes[0].set_ylabel("share of the samples in the leaf")
    axes[0].legend(fontsize=7)


@search_tables.command
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = Parser(
        prog="python -m experiments.search.partition",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--seeds", type=int, default=20, metavar="N", help="of each policy (20)")
    add("--sizes", type=int, nargs="+", default=SIZES, metavar="n", help="samples")
    add("--out", type=Path, default=results_table.table_path(TABLE), metavar="FILE")
    flags = parser.parse_args(words)
    if flags.seeds < 1:
        parser.error(f"--seeds: expected at least 1, got {flags.seeds}")
    if min(flags.sizes) < LEAST or max(flags.sizes) > search_nasbench201.ROWS:
        parser.error(
            f"--sizes: expected {LEAST} to {search_nasbench201.ROWS}, got "
            f"{min(flags.sizes)} to {max(flags.sizes)}"
        )
    search_tables.not_fewer(parser, flags.out, flags.seeds)
    command = shlex.join(["python", "-m", "experiments.search.partition", *words])
    space = table_space(search_nasbench201.rewards("cifar10"))
    with one_thread():
        seen = measure(space, flags.seeds, sorted(set(flags.sizes)), flags.out, command)
    draw(flags.out.with_name(FIGURE), space, seen)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
