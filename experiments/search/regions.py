"""Where LA-MCTS searches: figures 5.3, 5.9 and 5.11 of Wang 2022, measured over seeds.

    python -m experiments.search.regions sine         # figure 5.3
    python -m experiments.search.regions ackley20     # figure 5.9(a)
    python -m experiments.search.regions ackley2      # figures 5.9(b) and 5.11

Rows of `experiments/results/search/regions.json`, means over seeds, and figure5_3.png,
figure5_9.png and figure5_11.png beside it. An iteration is a tree learned from all samples so far,
the region that it selects, and the samples taken there. The row `ackley20-turbo-5`, say, is of
iteration 5; 0 is the tree of the initial design of 30 samples.

    contains_optimum     part of seeds in whose selected region the optimum lies
    volume_percent       of the box that the region takes, by Monte Carlo
    selected_regret      mean cost of the samples in the region, less the optimum's: |v_sel - v*|
    splits               of the tree
    best_value           the least cost among all samples
    regret_correlation   Spearman's, of splits and selected regret over a seed's iterations
    maxima_inside        part of the maxima of sin(x) inside leaves whose samples' mean is above 0.5
    leaf_mean            mean of sin(x) over the samples of the best leaf

sine: 100 uniform samples of sin(x), leaves of 20, on [0, 4 pi] (`sine-2`, two maxima) and on
[-10, 10] (`sine-3`). ackley20: on [-5, 10]^20 with TuRBO-1 in the region and a new tree after every
40 trials, 20 of them random, as rounds until the trust region collapses would leave few iterations.
ackley2: on [-10, 10]^2, an iteration being 10 uniform points of the region (`random`), or 10 and
10 of TuRBO-1 (`turbo`). All with C_p = 1, theta = 20, RBF kernels, and the bound of algorithm 4.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from experiments.nco.tables import Parser
from experiments.report import rows as result_rows
from experiments.report import table as results_table
from experiments.report.interval import mean_interval
from experiments.runner.one_thread import one_thread
from experiments.search import region_figures as search_region_figures
from experiments.search import tables as search_tables
from search import benchmarks, interface, lamcts, partition, regions, spaces, turbo
from search.partition import Node
from search.regions import Iteration
from search.spaces import Box

TABLE = "search/regions"
TITLE = "LA-MCTS: the region that is selected, by iteration"
HALF_PI = np.pi / 2
SINES = {
    "sine-2": (spaces.box(0.0, 4 * np.pi, 1), HALF_PI + 2 * np.pi * np.arange(2)),
    "sine-3": (spaces.box(-10.0, 10.0, 1), HALF_PI + 2 * np.pi * np.arange(-1, 2)),
}
PLANE = spaces.box(-10.0, 10.0, 2)
SPACE = benchmarks.FUNCTIONS["ackley"].box(20)
# Settings, and the trials that are asked for at once.
PLANE_SETTINGS = {
    "random": (lamcts.Settings(solver="random"), 10),
    "turbo": (lamcts.Settings(turbo=turbo.FAST, round_init=10, round_most=20), 1),
}
SPACE_SETTINGS = lamcts.Settings(turbo=turbo.FAST, round_init=20, round_most=40)
MARKS = (0, 1, 2, 5, 10, 20)

Found = list[tuple[str, str, list[float]]]  # (row, metric, one value a seed)


def measured(space: Box, each: Iteration) -> dict[str, float]:
    """The metrics of an iteration on a cost with minimum 0 at the origin."""
    optimum = space.to_unit(np.zeros((1, space.dim)))
    found = {
        "contains_optimum": float(partition.inside(each.region, optimum)[0]),
        "selected_regret": -each.selected,
        "splits": float(regions.splits(each.root)),
        "best_value": -each.best,
    }
    if space.dim <= 2:  # in 20 dimensions no few uniform points tell
        found["volume_percent"] = 100.0 * regions.volume(
            each.region, space.dim, interface.generator(0)
        )
    return found


def ackley(
    name: str, space: Box, settings: lamcts.Settings, batch: int, seeds: int
) -> tuple[list[list[Iteration]], Found]:
    """Searches Ackley's function; returns the iterations of each seed, and what was measured."""
    objective, runs = benchmarks.objective("ackley"), list[list[Iteration]]()
    for seed in range(seeds):
        since, count = time.monotonic(), max(MARKS) + 1
        runs.append(
            regions.iterations(space, settings, objective, seed=seed, count=count, batch=batch)
        )
        best, seconds = -runs[-1][-1].best, time.monotonic() - since
        print(f"{name} seed={seed}: {best:.4g} in {seconds:.0f} s", flush=True)
    found: Found = []
    for mark in MARKS:
        each = [measured(space, run[mark]) for run in runs]
        found += [(f"{name}-{mark}", key, [one[key] for one in each]) for key in each[0]]
    found.append((name, "regret_correlation", [_correlation(run) for run in runs]))
    return runs, found


def _correlation(run: Sequence[Iteration]) -> float:
    from scipy.stats import spearmanr

    counts, regret = [regions.splits(each.root) for each in run], [-each.selected for each in run]
    if len(set(counts)) == 1 or len(set(regret)) == 1:  # it never changes: there is no order
        return 0.0
    return float(spearmanr(counts, regret).statistic)


def samples(interval: Box, seed: int) -> tuple[Float[np.ndarray, "n 1"], Float[np.ndarray, " n"]]:
    """100 uniform points of an interval, in [0, 1], and their sines."""
    units = interface.generator(seed, 0).random((100, 1))
    return units, np.sin(interval.from_unit(units)[:, 0])


def sine(name: str, seeds: int) -> tuple[list[Node], Found]:
    """Trees of sin(x); returns those, and what was measured."""
    interval, maxima = SINES[name]
    roots = list[Node]()
    found: dict[str, list[float]] = {
        "maxima_inside": [], "volume_percent": [], "leaf_mean": [], "splits": []
    }  # fmt: skip
    grid = np.linspace(0.0, 1.0, 4001)[:, None]
    for seed in range(seeds):
        units, values = samples(interval, seed)
        roots.append(partition.build(units, values, leaf_size=20, seed=seed))
        at = interval.to_unit(maxima[:, None])
        found["maxima_inside"].append(float(np.mean(regions.means(roots[-1], values, at) > 0.5)))
        high = regions.means(roots[-1], values, grid) > 0.5
        found["volume_percent"].append(100.0 * float(np.mean(high)))
        best = max(values[leaf.members].mean() for leaf in partition.leaves(roots[-1]))
        found["leaf_mean"].append(float(best))
        found["splits"].append(float(regions.splits(roots[-1])))
    return roots, [(name, metric, values) for metric, values in found.items()]


def measure(what: str, seeds: int, out: Path, command: str) -> None:
    """Measures, writes the rows and draws."""
    since, found = time.monotonic(), list[tuple[str, str, list[float]]]()
    if what == "sine":
        for name, (interval, maxima) in SINES.items():
            roots, more = sine(name, seeds)
            found += more
            if name == "sine-2":  # a tree of as many splits as most
                shown = int(np.argsort([regions.splits(root) for root in roots])[len(roots) // 2])
                search_region_figures.draw_sine(
                    out.with_name("figure5_3.png"), interval, roots[shown],
                    *samples(interval, shown), list(maxima),
                )  # fmt: skip
    elif what == "ackley20":
        runs, found = ackley("ackley20-turbo", SPACE, SPACE_SETTINGS, 1, seeds)
        path = out.with_name("figure5_9.png")
        search_region_figures.draw_splits(path, runs, SPACE_SETTINGS.round_most)
    else:
        for solver, (settings, batch) in PLANE_SETTINGS.items():
            runs, more = ackley(f"ackley2-{solver}", PLANE, settings, batch, seeds)
            found += more
            if solver == "random":
                shares = [measured(PLANE, each)["volume_percent"] for each in runs[0]]
                path = out.with_name("figure5_11.png")
                search_region_figures.draw_plane(path, PLANE, runs[0], shares)
    seconds = time.monotonic() - since
    made = [
        result_rows.row(
            name, metric, mean_interval(values), unit="seed", command=command,
            config="c=1 theta=20 rbf form=algorithm", seeds=list(range(seeds)), seconds=seconds,
        )
        for name, metric, values in found
    ]  # fmt: skip
    results_table.write_table(out, TITLE, made)
    for row in made:
        print(f"{row['name']} {row['metric']}: {row['value']:.4g}")


@search_tables.command
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = Parser(
        prog="python -m experiments.search.regions",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("what", choices=("sine", "ackley20", "ackley2"))
    add("--seeds", type=int, default=20, metavar="N", help="(20)")
    add("--out", type=Path, default=results_table.table_path(TABLE), metavar="FILE")
    flags = parser.parse_args(words)
    if flags.seeds < 1:
        parser.error(f"--seeds: expected at least 1, got {flags.seeds}")
    search_tables.not_fewer(parser, flags.out, flags.seeds)
    command = shlex.join(["python", "-m", "experiments.search.regions", *words])
    flags.out.parent.mkdir(parents=True, exist_ok=True)
    with one_thread():
        measure(flags.what, flags.seeds, flags.out, command)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
