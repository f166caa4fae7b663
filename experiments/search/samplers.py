"""What LaNAS samples in a leaf, and what splits its nodes: figures 4.5 and 4.6(b) of Wang 2022.

    python -m experiments.search.samplers
    python -m experiments.search.samplers --methods pi_random pi_bayes --seeds 5

Searches of NAS-Bench-201 (validation accuracy on CIFAR-10) by the ask/tell form, all of height 5,
c = 0.1 by equation 4.3, 50 random cells, a tree every 20:

    pi_random   a random cell of the selected region
    pi_bayes    of 256 cells of the region, the one of largest expected improvement by a Gaussian
                process of all samples (10 Adam steps a trial); the thesis's surrogate is its
                Meta-DNN, which gives no deviation
    perceptron  as pi_random, but the nodes are split by scikit-learn's MLPRegressor with 16 hidden
                units
    random      random search without replacement, to compare with

Writes `experiments/results/search/lanas_samplers.json`: samples to the best cell, of which a seed
that does not find it counts the budget, and the regret, in percentage points of accuracy, after so
many samples; and figure4_5.png. Each finished search is kept in `--workdir`.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from experiments.nco.tables import Parser
from experiments.report import figures
from experiments.report import rows as result_rows
from experiments.report import table as results_table
from experiments.report.finished import Finished
from experiments.report.interval import mean_interval
from experiments.runner.one_thread import one_thread
from experiments.search import nasbench201 as search_nasbench201
from experiments.search import tables as search_tables
from experiments.search.tabular import Found, sample_rows, samples_to_best
from search import baselines, benchmarks, gp, lanas
from search.interface import Searcher

TABLE = "search/lanas_samplers"
TITLE = "NAS-Bench-201: what LaNAS samples in a leaf, and what splits its nodes"
FIGURE = "figure4_5.png"
MARKS = (60, 100, 150, 200, 300)
UNITS, FIT_STEPS = 16, 10
COMMON = {"height": 5, "c": 0.1, "form": "equation", "num_init": 50, "select_every": 20}
WORDS = " ".join(f"{key}={value}" for key, value in COMMON.items())


def gaussian_process(encodings: Any, values: Any, rng: Any) -> Callable[[Any], tuple[Any, Any]]:
    """A surrogate for `lanas.searcher`: a Gaussian process of all samples."""
    posterior = gp.fit(encodings, values, steps=FIT_STEPS)
    return lambda at: gp.predict(posterior, at)


def methods() -> dict[str, tuple[Searcher, str]]:
    """Name, searcher, and its settings in words."""
    space = benchmarks.nasbench201()
    common: dict[str, Any] = COMMON
    bayes = lanas.searcher(space, surrogate=gaussian_process, **common)
    perceptron = lanas.searcher(space, hidden_units=UNITS, **common)
    return {
        "pi_random": (lanas.searcher(space, **common), WORDS),
        "pi_bayes": (bayes, f"{WORDS} candidates=256 fit_steps={FIT_STEPS}"),
        "perceptron": (perceptron, f"{WORDS} hidden_units={UNITS}"),
        "random": (baselines.random(space), "without replacement"),
    }


def search(
    kept: Finished, name: str, searcher: Searcher, config: str, values: Any, seed: int, budget: int
) -> dict[str, Any]:
    """A search of the table until the best cell, or what is kept of it."""
    key = f"cifar10 {name} {config} budget={budget} seed={seed}"
    if key not in kept:
        space, since = benchmarks.nasbench201(), time.monotonic()
        found = samples_to_best(
            searcher, lambda point: float(values[space.rows(point[None])[0]]), float(values.max()),
            seed=seed, budget=budget,
        )  # fmt: skip
        kept.add(key, {
            "samples": found.samples, "found": bool(found.found),
            "best": [round(float(best), 6) for best in found.best],
            "seconds": time.monotonic() - since,
        })  # fmt: skip
        print(f"{key}: {found.samples} in {time.monotonic() - since:.0f} s", flush=True)
    return kept[key]


def regrets(found: Sequence[dict[str, Any]], best: float, budget: int) -> Float[np.ndarray, "s b"]:
    """Percentage points below the best after each sample; 0 from where it was found."""
    curves = []
    for each in found:
        curve = np.pad(each["best"], (0, max(0, budget - len(each["best"]))), mode="edge")
        curves.append(100.0 * (best - curve[:budget]))
        curves[-1][each["samples"] - 1 :] *= not each["found"]  # the curve is rounded
    return np.maximum(np.array(curves), 0.0)


def made_rows(
    name: str, found: Sequence[dict[str, Any]], best: float, budget: int, command: str, config: str
) -> list[dict[str, Any]]:
    """The rows of a method."""
    seconds = sum(each["seconds"] for each in found)
    config = f"{config} budget={budget}"
    made = sample_rows(
        f"cifar10-{name}", [Found(e["samples"], e["found"], np.array(e["best"])) for e in found],
        command=command, config=config, seconds=seconds,
    )  # fmt: skip
    curves = regrets(found, best, budget)
    for mark in [mark for mark in MARKS if mark <= budget]:
        made.append(
            result_rows.row(
                f"cifar10-{name}", f"regret_{mark}_points", mean_interval(curves[:, mark - 1]),
                unit="seed", command=command, config=config, seeds=list(range(len(found))),
                seconds=seconds,
            )
        )  # fmt: skip
    return made


def draw(path: Path, curves: dict[str, Float[np.ndarray, "seed budget"]]) -> None:
    """Figure 4.5: the regret, and the part of seeds that have found the best."""
    plt = figures.pyplot()
    with plt.rc_context(figures.STYLE):
        figure, (left, right) = plt.subplots(1, 2, figsize=(9.6, 3.4))
        for place, (name, regret) in enumerate(curves.items()):
            colour, dashes = figures.PALETTE[place], figures.DASHES[place % len(figures.DASHES)]
            steps = np.arange(1, regret.shape[1] + 1)
            found = [mean_interval(column) for column in regret.T]
            left.fill_between(steps, [f.low for f in found], [f.high for f in found], color=colour,
                              alpha=0.18, lw=0)  # fmt: skip
            left.plot(steps, regret.mean(0), color=colour, ls=dashes, label=name)
            right.plot(steps, (regret <= 0).mean(0), color=colour, ls=dashes, label=name)
        left.axvline(COMMON["num_init"], color=figures.INK, lw=0.8, ls=":")
        left.set(
            xlabel="samples", ylabel="regret (percentage points)", ylim=(0, 1.5), xlim=(20, None)
        )
        left.set_title(f"regret: mean and 95% interval over {len(regret)} seeds")
        right.set(xlabel="samples", ylabel="part of the seeds", ylim=(0, 1.02))
        right.set_title("best cell found")
        left.legend()
        figure.savefig(path)
        plt.close(figure)
    print(path)


@search_tables.command
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    known = methods()
    parser = Parser(
        prog="python -m experiments.search.samplers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--methods", nargs="+", default=list(known), choices=list(known), metavar="METHOD")
    add("--seeds", type=int, default=20, metavar="N", help="searches each (20)")
    add("--budget", type=int, default=600, metavar="N", help="samples a search (600)")
    add("--workdir", type=Path, default=Path("runs/search_samplers"), metavar="DIR")
    add("--out", type=Path, default=results_table.table_path(TABLE), metavar="FILE")
    flags = parser.parse_args(words)
    for name in ("seeds", "budget"):
        if getattr(flags, name) < 1:
            parser.error(f"--{name}: expected at least 1, got {getattr(flags, name)}")
    search_tables.not_fewer(parser, flags.out, flags.seeds)
    command = shlex.join(["python", "-m", "experiments.search.samplers", *words])
    values = search_nasbench201.rewards("cifar10")
    kept, best = Finished(flags.workdir / "finished.jsonl"), float(values.max())
    curves = {}
    with one_thread():
        for name in flags.methods:
            searcher, config = known[name]
            found = [
                search(kept, name, searcher, config, values, seed, flags.budget)
                for seed in range(flags.seeds)
            ]
            made = made_rows(name, found, best, flags.budget, command, config)
            results_table.write_table(flags.out, TITLE, made)
            curves[name] = regrets(found, best, flags.budget)
            print(f"cifar10-{name}: {made[0]['value']:.0f} samples (median)", flush=True)
    draw(flags.out.with_name(FIGURE), curves)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
