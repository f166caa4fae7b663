"""Ackley, Rosenbrock, Levy and Rastrigin: glue of `configs/search/synthetic`, and the table.

    python -m experiments.report --fill search/synthetic --only 'ackley20-*' --jobs 2

A cell is FUNCTION-METHOD, or FUNCTION-METHOD_SUFFIX where a setting is another than usual. In
`ackley20_moved` and the like the minimum is at a random point of the box, another for each seed:
several methods begin in the box's middle or at the origin, where the functions have theirs or are
low.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from experiments.report.rows import Row
from experiments.report.sweep import Cell, Table, Workdirs
from experiments.runner.checks import ConfigError
from experiments.runner.experiment import Search
from experiments.search import figures, tree
from experiments.search.curves import at_marks, curves, over_seeds
from experiments.search.methods import box_search
from search import benchmarks

MARKS = (100, 300, 500, 700)  # evaluations at which a row is written besides the last
LONG, SHORT = 1000, 300  # evaluations; the shorter budget is of what fits a process to all samples


def build(config: Any) -> Search:
    """A search of a test function, minimised."""
    try:
        problem = benchmarks.problem(config.function)
    except ValueError as error:
        known = [f"{name}20{end}" for name in benchmarks.FUNCTIONS for end in ("", "_moved")]
        wanted = "a name and a dimension of at least 2"
        raise ConfigError("function", wanted, config.function, known) from error
    return box_search(
        config, problem.box, problem.objective(config.seed), config.function,
        headline=("value", "min"), of_seed=problem.objective if problem.moved else None,
    )  # fmt: skip


ALONE = {  # methods of all functions in 20 dimensions: seeds, evaluations
    "lamcts_turbo": (5, LONG),
    "turbo": (5, LONG),
    "lamcts_bo": (5, SHORT),
    "bo": (5, SHORT),
    "hesbo": (5, SHORT),
    "cma": (5, LONG),
    "nevergrad": (5, LONG),
    "differential_evolution": (5, LONG),
    "dual_annealing": (5, LONG),
    "random": (5, LONG),
    "voo": (5, LONG),
    "doo": (1, LONG),  # these two have no seed
    "soo": (1, LONG),
}
MOVED = ("turbo", "nevergrad", "doo", "soo", "random")
ABLATIONS: dict[str, dict[str, Any]] = {  # of LA-MCTS on Ackley-20: suffix, what is different
    **{f"c{c:g}": {"tree.c": c} for c in (0.0, 0.1, 10.0, 100.0)},
    **{f"theta{size}": {"tree.leaf_size": size} for size in (10, 40, 100)},
    **{kernel: {"tree.kernel": kernel} for kernel in ("linear", "poly")},
    "noreuse": {"tree.reuse": False},
    "notree": {"tree.leaf_size": 1_000_000, "num_seeds": 10},  # the region is always the box
}


def _cells() -> Iterator[tuple[str, Cell]]:
    def cell(size: str, method: str, seeds: int, **changes: Any) -> Cell:
        return Cell(
            f"search/synthetic:{size},cpu",
            {"method": method, "steps": LONG, "num_seeds": seeds} | changes,
        )

    for name in benchmarks.FUNCTIONS:
        for method, (seeds, steps) in ALONE.items():
            long = name == "ackley" and method in ("lamcts_turbo", "turbo")
            few = cell(f"{name}20", method, 10 if long else seeds, steps=steps)
            yield f"{name}20-{method}", few
        for method in MOVED:
            moved = cell(f"{name}20", method, 4, function=f"{name}20_moved")
            yield f"{name}20_moved-{method}", moved
        for method in ("lamcts_turbo", "turbo"):
            yield f"{name}100-{method}", cell(f"{name}100", method, 3)
    for suffix, changes in ABLATIONS.items():
        yield f"ackley20-lamcts_turbo_{suffix}", cell("ackley20", "lamcts_turbo", 5, **changes)
    for method in ("lamcts_turbo", "turbo"):
        stock = cell("ackley20", method, 5)._replace(config="search/synthetic:ackley20,paper")
        yield f"ackley20-{method}_stock", stock


def _ablated() -> dict[str, dict[str, Any]]:
    """LA-MCTS's settings, by the rows that figure 5.10 shows."""
    usual = {key: tree.defaults()[key] for key in figures.ABLATION_PANELS}
    found = {figures.BASE: usual}
    for suffix, changes in ABLATIONS.items():
        if not suffix.startswith("no"):
            own = {key.removeprefix("tree."): value for key, value in changes.items()}
            found[f"{figures.BASE}_{suffix}"] = usual | own
    return found


def _rows(name: str, workdirs: Workdirs) -> list[Row]:
    found = -curves(workdirs[name])  # costs
    values = at_marks(found, MARKS)
    # A row at a mark that is the budget too says the same twice, and lets tables share columns.
    if found.shape[1] in MARKS:
        values[f"best_value_at_{found.shape[1]}"] = values["best_value"]
    return over_seeds(name, values)


TABLES = {
    "search/synthetic": Table(
        "Test functions: the best value after so many evaluations (cost, minimum 0)",
        dict(_cells()),
        _rows,
        functools.partial(figures.synthetic, _ablated()),
    )
}
