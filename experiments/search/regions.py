"""Where LA-MCTS searches: figures 5.3, 5.9 and 5.11 of Wang 2022, measured over seeds.

    python -m experiments.report --fill search/regions
    python -m experiments.run --config=search/regions:ackley2-random,cpu --workdir=runs/regions

An iteration is a tree learned from all samples so far, the region that it selects, and the samples
taken there. The row `ackley20-turbo-5`, say, is of iteration 5; 0 is the tree of the initial design
of 30 samples. `search.regions.measure` and `Sine.measured` define the metrics;
`regret_correlation` is Spearman's, of splits and selected regret over a seed's iterations.

sine: 100 uniform samples of sin(x), leaves of 20, on [0, 4 pi] (`sine-2`, two maxima) and on
[-10, 10] (`sine-3`). ackley20: on [-5, 10]^20 with TuRBO-1 in the region and a new tree after every
40 trials, 20 of them random, as rounds until the trust region collapses would leave few iterations.
ackley2: on [-10, 10]^2, an iteration being 10 uniform points of the region (`random`), or 10 and
10 of TuRBO-1 (`turbo`). All with C_p = 1, theta = 20, RBF kernels, and the bound of algorithm 4.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from experiments.report.rows import Row
from experiments.report.sweep import Cell, Table, Workdirs
from experiments.runner.checks import ConfigError, check_choice, check_int
from experiments.runner.experiment import Search
from experiments.runner.workdir import read_config
from experiments.search import region_figures, study, tree
from search import benchmarks, lamcts, regions, spaces, turbo
from search.interface import Measured
from search.regions import Iteration, Sine
from search.spaces import Box

SINES = MappingProxyType({"sine-2": (0.0, 4 * np.pi), "sine-3": (-10.0, 10.0)})
TASKS = (*SINES, "ackley20-turbo", "ackley2-random", "ackley2-turbo")


def build(config: Any) -> Search:
    """A study of one measurement a seed: of a tree of sin(x), or of a search's iterations."""
    task = check_choice(config, "task", TASKS)
    settings = settings_of(config)
    if task in SINES:
        return study.search([task], functools.partial(_sine, settings), ("splits", "max"))
    if not config.marks or min(config.marks) < 0:
        raise ConfigError("marks", "numbers of iterations", config.marks)

    def measure(seed: int, _: str) -> Measured:
        run = iterations(config, seed, max(config.marks) + 1)
        box = box_of(task)
        rows = {f"{task}-{mark}": regions.measure(box, run[mark]) for mark in config.marks}
        splits = [regions.splits(each.root) for each in run]
        regret = [-each.selected for each in run]
        rows[task] = {"regret_correlation": regions.regret_correlation(run)}
        return study.found(rows, run[-1].best, splits=splits, regret=regret)

    return study.search([task], measure, ("value", "min"))


def _sine(settings: lamcts.Settings, seed: int, task: str) -> Measured:
    metrics = sine(settings, seed, task).measured
    return study.found({task: metrics}, metrics["splits"])


def sine(settings: lamcts.Settings, seed: int, task: str) -> Sine:
    """A tree of a task's interval."""
    return regions.sine(*SINES[task], seed, leaf_size=settings.leaf_size, kernel=settings.kernel)


def settings_of(config: Any) -> lamcts.Settings:
    """LA-MCTS's settings; the task names the solver.

    Raises:
      ConfigError: one is out of range.
    """
    solver: Any = "random" if config.task.endswith("random") else "turbo"
    return lamcts.Settings(solver=solver, turbo=turbo.FAST, **tree.checked(config))


def box_of(task: str) -> Box:
    """Where Ackley's function is searched."""
    large = task.startswith("ackley20")
    return benchmarks.FUNCTIONS["ackley"].box(20) if large else spaces.box(-10.0, 10.0, 2)


def iterations(config: Any, seed: int, count: int) -> list[Iteration]:
    """The first iterations of a search of Ackley's function."""
    return regions.iterations(
        box_of(config.task), settings_of(config), benchmarks.objective("ackley"),
        seed=seed, count=count, batch=check_int(config, "together", low=1),
    )  # fmt: skip


def draw(_: Sequence[Row], workdirs: Workdirs, folder: Path) -> Iterable[Path]:
    """Figures 5.3, 5.9(a) and 5.11, each where its cell is there; trees are learned again."""
    if sines := study.measured("sine-2", workdirs):  # a tree of as many splits as most
        splits = [each.more[0]["rows"]["sine-2"]["splits"] for each in sines]
        seed = int(np.argsort(splits)[len(splits) // 2])
        settings = settings_of(_config(workdirs["sine-2"]))
        shown = sine(settings, seed, "sine-2")
        yield region_figures.draw_sine(folder / "figure5_3.png", shown)
    if large := study.measured("ackley20-turbo", workdirs):
        runs = [each.more[0] for each in large]
        trials = _config(workdirs["ackley20-turbo"]).tree.round_most
        yield region_figures.draw_splits(folder / "figure5_9.png", runs, trials)
    if "ackley2-random" in workdirs:
        config = _config(workdirs["ackley2-random"])
        run = iterations(config, 0, max(region_figures.PANELS) + 1)
        box = box_of(config.task)
        yield region_figures.draw_plane(folder / "figure5_11.png", box, run)


def _config(workdir: Path) -> ConfigDict:
    return ConfigDict(read_config(workdir))


TABLES = MappingProxyType(
    {
        "search/regions": Table(
            "LA-MCTS: the region that is selected, by iteration",
            {task: Cell(f"search/regions:{task},cpu", {"num_seeds": 20}) for task in TASKS},
            study.written,
            draw,
        )
    }
)
