"""The motivating example of Wang 2022, section 4.1: which actions a tree search is given matters.

    python -m experiments.report --fill search/plain_cnn

UCT looks for the best of 1,364 plain CNNs, whose accuracies on 8x8 digits were measured by
`experiments.search.plain_cnn_training` and come with this package. With the actions `global` it
decides the depth first, then every kernel, then every layer's filters; with `sequential` one layer
after the other. Rows `global` and `sequential` are of c = 0.2, `global_c0.5` and the like of other
c:

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

import functools
import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

import numpy as np

from experiments.data import catalogue, registry
from experiments.report import figures
from experiments.report.interval import mean_interval
from experiments.report.rows import Row
from experiments.report.sweep import Cell, Table, Workdirs
from experiments.runner.checks import check_choice, check_float
from experiments.runner.experiment import Search
from experiments.search.methods import asked
from experiments.search.tabular import found, sample_rows
from search import baselines, design_spaces, distinct, mcts, progress
from search.bandit import Form

ORDERS = get_args(design_spaces.Order)
CS = (0.2, 0.5, 1.0, 2.0)
FIGURE = "figure4_1.png"
Rewards = Mapping[tuple[int, ...], float]


def build(config: Any) -> Search:
    """A search of the networks until the best one."""
    actions = check_choice(config, "actions", (*ORDERS, "random"))
    c, form = check_float(config, "c", low=0.0), check_choice(config, "form", get_args(Form))
    known = rewards()
    if actions == "random":
        searcher = baselines.listed(np.array(list(known)))
    else:
        within = mcts.searcher(design_spaces.plain_cnn(actions), c=c, form=form)
        searcher = distinct.searcher(within, len(next(iter(known))))
    return asked(
        config, searcher, functools.partial(_accuracy, known), actions,
        headline=("accuracy", "max"), goal=max(known.values()),
    )  # fmt: skip


def _accuracy(known: Rewards, point: Any, seed: int) -> float:
    return known[tuple(map(int, point))]


def rewards() -> dict[tuple[int, ...], float]:
    """The mean accuracy of each network, in [0, 1], by its encoding."""
    table = registry.load(catalogue.DATASETS["plain_cnn"])
    means = np.round(table["accuracy"].mean(axis=1) / 100, 5)  # the file's own rounding: ties stay
    return {tuple(map(int, c)): float(m) for c, m in zip(table["encodings"], means, strict=True)}


def separations(order: Any, known: Rewards) -> dict[str, Any]:
    """How far an action space separates networks, in percent."""
    pairs = design_spaces.siblings(design_spaces.plain_cnn(order), known)
    return {name: 100 * values for name, values in pairs._asdict().items()}


def rows(name: str, workdirs: Workdirs) -> list[Row]:
    """Samples to the best, and the separation of the actions."""
    known = rewards()
    made = sample_rows(name, found(workdirs[name], max(known.values())))
    order = name.partition("_")[0]
    if order in ORDERS:
        for metric, values in separations(order, known).items():
            of_pairs = mean_interval(values)._asdict() | {"unit": "instance", "seeds": []}
            made.append({"name": name, "metric": f"sibling_{metric}_percent", **of_pairs})
    return made


def draw(_: Sequence[Row], workdirs: Workdirs, folder: Path) -> Iterable[Path]:
    """Figure 4.1: the first decisions of both trees, how far siblings are apart, the searches."""
    names = (*ORDERS, "random")
    if not set(names) <= set(workdirs):
        return
    known, plt = rewards(), figures.pyplot()
    top = max(known.values())
    colours = dict(zip(names, figures.PALETTE, strict=False))
    with plt.rc_context(figures.STYLE):
        figure, (tree, spread, curves) = plt.subplots(1, 3, figsize=(12.6, 3.4))
        _draw_first_decisions(tree, known, colours)
        labels = []
        for place, order in enumerate(ORDERS):
            distance = separations(order, known)["distance"]
            spread.boxplot(
                distance, positions=[place], widths=0.5, showfliers=False,
                medianprops={"color": colours[order]},
            )  # fmt: skip
            spread.plot(place, distance.mean(), "D", color=colours[order])
            labels.append(f"{order}\nd = {distance.mean():.2f}")
        spread.set_xticks(range(len(ORDERS)), labels)
        spread.set_ylabel("distance of two children's means\n(percentage points)")
        spread.set_title("(b) what an action decides")
        steps = np.arange(1, len(known) + 1)
        for name in names:
            regret = 100 * progress.regrets(found(workdirs[name], top), top, len(known))
            low, middle, high = np.percentile(regret, [25, 50, 75], axis=0)
            curves.plot(steps, middle, label=name, color=colours[name])
            curves.fill_between(steps, low, high, color=colours[name], alpha=0.18, lw=0)
        curves.set(xscale="log", yscale="log", ylim=(0.05, None))  # the best, at 0, ends a line
        curves.set_xlabel("networks trained")
        curves.set_ylabel("regret (percentage points),\nmedian and quartiles")
        curves.set_title("(c) the search")
        curves.legend()
        figure.savefig(folder / FIGURE)
        plt.close(figure)
    yield folder / FIGURE


def _draw_first_decisions(axis: Any, known: Rewards, colours: Any) -> None:
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


def _cells() -> dict[str, Cell]:
    cells = {
        order if c == CS[0] else f"{order}_c{c:g}": {"actions": order, "c": c}
        for c in CS
        for order in ORDERS
    }
    return {
        name: Cell("search/plain_cnn:digits,cpu", {**changes, "num_seeds": 200})
        for name, changes in {**cells, "random": {"actions": "random"}}.items()
    }


TABLES = MappingProxyType(
    {
        "search/plain_cnn": Table(
            "Plain CNNs: samples to the best of 1,364 networks, by the actions of the search",
            _cells(),
            rows,
            draw,
        )
    }
)
