"""The motivating example of Wang 2022, section 4.1: which actions a tree search is given matters.

    python -m experiments.search.plain_cnn
    python -m experiments.search.plain_cnn --seeds 20 --c 0.5 --out runs/plain_cnn.json

UCT looks for the best of 1,364 plain CNNs, whose accuracies on 8x8 digits were measured by
`experiments.search.plain_cnn_training` and come with this package. With the actions `global` it
decides the depth first, then every kernel, then every layer's filters; with `sequential` one layer
after the other. Writes the rows `global` and `sequential` of the first c, `global_c0.5` and the
like of the others, and `random`, of `experiments/results/search/plain_cnn.json`, and figure 4.1
beside it:

    median_samples_to_best    distinct networks until the best one, over seeds
    sibling_distance_percent  d of figure 4.1(b): how far apart the mean accuracies of two children
                              of a node are, a mean over all nodes, in percentage points
    sibling_overlap_percent   how often a network below the better of two children is the worse one
                              of a pair: 50 where the children cannot be told apart

The reward is the mean accuracy of a network's trainings, in [0, 1]. Thesis: `global` finds the best
"much faster"; it prints no numbers and no c. Here that depends on c: with 1 and 2 it needs fewer
samples, with 0.2 and 0.5 more, and fewest of all are those of `sequential` at 0.2. On 8x8 digits
one layer is clearly worse than two, but from three on the depth says little about a network, and
the children of `global` are only a little further apart than those of `sequential`. CIFAR-10, the
thesis's images, was not measured.
"""

from __future__ import annotations

import argparse
import itertools
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from experiments.data import catalogue, registry
from experiments.report import figures
from experiments.report import rows as result_rows
from experiments.report import table as results_table
from experiments.report.interval import mean_interval
from experiments.search import tables as search_tables
from experiments.search import tabular as tabular_search
from experiments.search.tabular import Found
from search import design_spaces, interface, mcts
from search.interface import Searcher
from search.mcts import Problem

ORDERS = ("global", "sequential")
TITLE = "Plain CNNs: samples to the best of 1,364 networks, by the actions of the search"
FIGURE = "figure4_1.png"
CS = (0.2, 0.5, 1.0, 2.0)
IDLE = 100  # trials in a row without a new network, each after 100 iterations, as they are here


class Siblings(NamedTuple):
    """How well actions separate networks; one entry for each pair of children of a node.

    Attributes:
      distance: between the mean accuracies below the two, in percentage points.
      overlap: the part of pairs of networks, one of each child, that are ordered against their
        children's means, in per cent.
    """

    distance: Float[np.ndarray, " pairs"]
    overlap: Float[np.ndarray, " pairs"]


@search_tables.command
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(
        prog="python -m experiments.search.plain_cnn",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--seeds", type=int, default=200, metavar="N", help="searches each (200)")
    parser.add_argument(
        "--c", type=float, nargs="+", default=list(CS), help=f"exploration ({CS})", metavar="C"
    )
    parser.add_argument("--form", choices=("algorithm", "equation"), default="algorithm")
    parser.add_argument(
        "--out", type=Path, default=results_table.table_path("search/plain_cnn"), metavar="FILE"
    )
    flags = parser.parse_args(words)
    if not 1 <= flags.seeds <= 10_000:
        parser.error(f"--seeds: expected 1 to 10,000, got {flags.seeds}")
    if not all(0 <= c < 1e6 for c in flags.c):
        parser.error(f"--c: expected numbers of at least 0, got {flags.c}")
    search_tables.not_fewer(parser, flags.out, flags.seeds)
    command = shlex.join(["python", "-m", "experiments.search.plain_cnn", *words])
    measure(flags.seeds, flags.c, flags.form, flags.out, command)
    return 0


def rewards() -> dict[tuple[int, ...], float]:
    """The mean accuracy of each network, in [0, 1], by its encoding."""
    table = registry.load(catalogue.DATASETS["plain_cnn"])
    means = np.round(table["accuracy"].mean(axis=1) / 100, 5)  # the file's own rounding: ties stay
    return {tuple(map(int, c)): float(m) for c, m in zip(table["encodings"], means, strict=True)}


def measure(
    seeds: int, cs: Sequence[float], form: Any, out: Path, command: str
) -> list[dict[str, Any]]:
    """Runs the searches, writes the rows and the figure."""
    known = rewards()
    best, rows, found = max(known.values()), [], dict[str, list[Found]]()
    problems = {order: design_spaces.plain_cnn(order) for order in ORDERS}  # type: ignore[arg-type]
    separations = {order: siblings(p, known) for order, p in problems.items()}
    searchers = {
        (order, f"c={c:g} form={form}"): mcts.searcher(problem, c=c, form=form)
        for c in cs
        for order, problem in problems.items()
    }
    for (order, config), searcher in {**searchers, ("random", ""): uniform(list(known))}.items():
        first = config in ("", f"c={cs[0]:g} form={form}")
        name = order if first else f"{order}_{config.partition(' ')[0].replace('=', '')}"
        started = time.monotonic()
        found[name] = [
            tabular_search.samples_to_best(
                searcher,
                lambda x: known[tuple(map(int, x))],
                best,
                seed=seed,
                budget=len(known),
                idle=IDLE,
            )
            for seed in range(seeds)
        ]
        seconds = time.monotonic() - started
        rows += tabular_search.sample_rows(
            name,
            found[name],
            command=command,
            config=config,
            seconds=seconds,
        )
        print(f"{name}: {rows[-3]['value']:.4g} samples (median)", flush=True)
        if order not in separations:
            continue
        for field, values in separations[order]._asdict().items():
            rows.append(
                result_rows.row(
                    name,
                    f"sibling_{field}_percent",
                    mean_interval(values),
                    unit="instance",
                    command=command,
                    config=f"all {len(values)} pairs of children",
                    seconds=seconds,
                )
            )
    results_table.write_table(out, TITLE, rows)
    search_tables.show(out, {row["name"] for row in rows})
    drawn = {name: found[name] for name in (*ORDERS, "random")}
    draw(out.with_name(FIGURE), drawn, separations, best, known)
    return rows


def uniform(encodings: Sequence[tuple[int, ...]]) -> Searcher:
    """Random search without replacement, the expectation of which is half of the networks."""
    points = np.array(encodings, np.int64)

    def ask(state: Any, n: int) -> Any:
        order = interface.generator(state.seed).permutation(len(points))
        return interface.extend(state, points[order[state.asked : state.asked + n]])

    return Searcher(
        lambda seed: interface.begin(seed, points.shape[1], np.int64), ask, interface.record
    )


def siblings(problem: Problem, known: dict[tuple[int, ...], float]) -> Siblings:
    """Compares the children of every node of the whole tree of an action space."""
    below: dict[Any, Float[np.ndarray, " n"]] = {}
    distance, overlap = list[float](), list[float]()

    def visit(state: Any) -> Float[np.ndarray, " n"]:
        if problem.terminal(state):
            values = np.array([known[tuple(map(int, problem.point(state)))]])
        else:
            children = [visit(problem.step(state, action)) for action in problem.actions(state)]
            for one, other in itertools.combinations(children, 2):
                if one.mean() < other.mean():
                    one, other = other, one
                distance.append(100 * float(one.mean() - other.mean()))
                wrong = one[:, None] < other
                even = one[:, None] == other
                overlap.append(100 * float(wrong.mean() + even.mean() / 2))
            values = np.concatenate(children)
        below[state] = values
        return values

    visit(problem.root)
    return Siblings(np.array(distance), np.array(overlap))


def draw(
    path: Path,
    found: dict[str, list[Found]],
    separations: dict[str, Siblings],
    best: float,
    known: dict[tuple[int, ...], float],
) -> None:
    """Figure 4.1: the first decisions of both trees, how far siblings are apart, the searches."""
    plt = figures.pyplot()
    colours = dict(zip(found, figures.PALETTE, strict=False))
    with plt.rc_context(figures.STYLE):
        figure, (tree, spread, curves) = plt.subplots(1, 3, figsize=(12.6, 3.4))
        _draw_first_decisions(tree, known, colours)
        for place, order in enumerate(ORDERS):
            distance = separations[order].distance
            spread.boxplot(
                distance, positions=[place], widths=0.5, showfliers=False,
                medianprops={"color": colours[order]},
            )  # fmt: skip
            spread.plot(place, distance.mean(), "D", color=colours[order])
        spread.set_xticks(range(len(ORDERS)), [f"{o}\nd = {separations[o].distance.mean():.2f}"
                                               for o in ORDERS])  # fmt: skip
        spread.set_ylabel("distance of two children's means\n(percentage points)")
        spread.set_title("(b) what an action decides")
        steps = np.arange(1, len(known) + 1)
        for name, runs in found.items():
            best_so_far = np.array([np.pad(r.best, (0, len(known) - len(r.best)), mode="edge")
                                    for r in runs])  # fmt: skip
            regret = 100 * (best - best_so_far)
            low, middle, high = np.percentile(regret, [25, 50, 75], axis=0)
            curves.plot(steps, middle, label=name, color=colours[name])
            curves.fill_between(steps, low, high, color=colours[name], alpha=0.18, lw=0)
        curves.set_xscale("log")
        curves.set_xlabel("networks trained")
        curves.set_ylabel("regret (percentage points),\nmedian and quartiles")
        curves.set_title("(c) the search")
        curves.legend()
        figure.savefig(path)
        plt.close(figure)
    print(path)


def _draw_first_decisions(axis: Any, known: dict[tuple[int, ...], float], colours: Any) -> None:
    """The accuracies below each child of the root's decision: depth, or the first layer."""
    values = np.array(list(known.values())) * 100
    codes = np.array(list(known))
    groups = [("global", f"depth {d}", codes[:, 0] == d) for d in range(1, 6)]
    for kernel, filters in itertools.product((1, 2), repeat=2):
        mask = (codes[:, 1] == kernel) & (codes[:, 6] == filters)
        label = f"{(3, 5)[kernel - 1]}x{(3, 5)[kernel - 1]}, {('few', 'many')[filters - 1]}"
        groups.append(("sequential", f"first layer\n{label}", mask))
    for place, (order, label, mask) in enumerate(groups):
        box = axis.boxplot(
            values[mask], positions=[place], widths=0.6, showfliers=False, patch_artist=True,
            medianprops={"color": figures.INK},
        )  # fmt: skip
        box["boxes"][0].set(facecolor=colours[order], alpha=0.5)
        axis.text(place, 1.0, label, rotation=90, fontsize=6.5, ha="center", va="bottom")
    axis.set_xticks([])
    axis.set_ylim(bottom=0)
    axis.set_ylabel("accuracy of the networks below (%)")
    axis.set_title("(a) the first decisions")


if __name__ == "__main__":
    raise SystemExit(main())
