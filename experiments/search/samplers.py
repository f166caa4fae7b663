"""What LaNAS samples in a leaf, and what splits its nodes: figures 4.5 and 4.6(b) of Wang 2022.

    python -m experiments.report --fill search/lanas_samplers

Searches of NAS-Bench-201 (validation accuracy on CIFAR-10) by the ask/tell form, all of height 5,
c = 0.1 by equation 4.3, 50 random cells, a tree every 20:

    pi_random   a random cell of the selected region
    pi_bayes    of 256 cells of the region, the one of largest expected improvement by a Gaussian
                process of all samples (10 Adam steps a trial); the thesis's surrogate is its
                Meta-DNN, which gives no deviation
    perceptron  as pi_random, but the nodes are split by scikit-learn's MLPRegressor with 16 hidden
                units
    random      random search without replacement, to compare with

Rows are samples to the best cell, of which a seed that does not find it counts the budget, and the
regret, in percentage points of accuracy, after so many samples.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

import numpy as np
from jaxtyping import Float

from experiments.data.nasbench201 import TASKS
from experiments.report import figures
from experiments.report.interval import mean_interval
from experiments.report.rows import Row
from experiments.report.sweep import Cell, Table, Workdirs
from experiments.runner.checks import check_choice, check_float, check_int
from experiments.runner.experiment import Search
from experiments.runner.workdir import read_config
from experiments.search.methods import asked
from experiments.search.nasbench201 import MADE_UP, rewards
from experiments.search.tabular import found, sample_rows
from search import baselines, benchmarks, gp, lanas, progress
from search.bandit import Form
from search.progress import Found

FIGURE = "figure4_5.png"
MARKS = (60, 100, 150, 200, 300)
SAMPLERS = ("pi_random", "pi_bayes", "perceptron", "random")


def build(config: Any) -> Search:
    """A search of the table until the best cell."""
    sampler = check_choice(config, "sampler", SAMPLERS)
    for key in ("height", "num_init", "select_every"):
        check_int(config, f"lanas.{key}", low=1)
    check_float(config, "lanas.c", low=0.0)
    check_choice(config, "lanas.form", get_args(Form))
    task = check_choice(config, "task", (*TASKS, MADE_UP))
    space, values = benchmarks.nasbench201(), rewards(task)
    more: dict[str, Any] = {}
    if sampler == "pi_bayes":
        surrogate = gp.surrogate(check_int(config, "fit_steps", low=0))
        more = {"surrogate": surrogate, "candidates": check_int(config, "candidates", low=1)}
    if sampler == "perceptron":
        more = {"hidden_units": check_int(config, "hidden_units", low=1)}
    searcher = lanas.searcher(space, **config.lanas, **more)
    return asked(
        config, baselines.random(space) if sampler == "random" else searcher,
        functools.partial(benchmarks.look_up, space, values), f"{task}-{sampler}",
        headline=("accuracy", "max"), goal=float(values.max()),
    )  # fmt: skip


def rows(name: str, workdirs: Workdirs) -> list[Row]:
    """The rows of a sampler: samples to the best, and its regret at some samples."""
    each, curves = _found(workdirs[name])
    label = f"{_config(workdirs[name])['task']}-{name}"
    made = sample_rows(label, each)
    for mark in [mark for mark in MARKS if mark <= curves.shape[1]]:
        at = mean_interval(curves[:, mark - 1])._asdict()
        made.append({"name": label, "metric": f"regret_{mark}_points", **at})
    return made


def _config(workdir: Path) -> dict[str, Any]:
    return read_config(workdir) or {}


def _found(workdir: Path) -> tuple[Sequence[Found], Float[np.ndarray, "seed budget"]]:
    """What the seeds of a run have found, and their regrets in percentage points."""
    config = _config(workdir)
    best = float(rewards(config["task"]).max())
    each = found(workdir, best)
    return each, 100.0 * progress.regrets(each, best, config["steps"])


def draw(_: Sequence[Row], workdirs: Workdirs, folder: Path) -> Iterable[Path]:
    """Figure 4.5: the regret, and the part of seeds that have found the best."""
    plt = figures.pyplot()
    with plt.rc_context(figures.STYLE):
        figure, (left, right) = plt.subplots(1, 2, figsize=(9.6, 3.4))
        for place, name in enumerate(workdirs):
            regret = _found(workdirs[name])[1]
            colour, dashes = figures.PALETTE[place], figures.DASHES[place % len(figures.DASHES)]
            steps = np.arange(1, regret.shape[1] + 1)
            mean = [mean_interval(column) for column in regret.T]
            left.fill_between(steps, [m.low for m in mean], [m.high for m in mean], color=colour,
                              alpha=0.18, lw=0)  # fmt: skip
            left.plot(steps, regret.mean(0), color=colour, ls=dashes, label=name)
            right.plot(steps, (regret <= 0).mean(0), color=colour, ls=dashes, label=name)
            left.set_title(f"regret: mean and 95% interval over {len(regret)} seeds")
        left.axvline(50, color=figures.INK, lw=0.8, ls=":")  # the random cells of the first tree
        left.set(
            xlabel="samples", ylabel="regret (percentage points)", ylim=(0, 1.5), xlim=(20, None)
        )
        right.set(xlabel="samples", ylabel="part of the seeds", ylim=(0, 1.02))
        right.set_title("best cell found")
        left.legend()
        figure.savefig(folder / FIGURE)
        plt.close(figure)
    yield folder / FIGURE


TABLES = MappingProxyType(
    {
        "search/lanas_samplers": Table(
            "NAS-Bench-201: what LaNAS samples in a leaf, and what splits its nodes",
            {
                name: Cell("search/samplers:cifar10,cpu", {"sampler": name, "num_seeds": 20})
                for name in SAMPLERS
            },
            rows,
            draw,
        )
    }
)
