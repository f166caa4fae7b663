"""LaNAS and the baselines on NAS-Bench-201: glue of `configs/search/nasbench201`, and the table.

    python -m experiments.search_nasbench201                          all of it
    python -m experiments.search_nasbench201 --tasks cifar10 --methods lanas random
    python -m experiments.search_nasbench201 --list

How many samples a search needs until it has found the best of the 15,625 cells. The reward is a
cell's validation accuracy, the mean over its trainings in the table, from 0 to 1; the best is any
cell of the largest reward (there is one in each task); samples are distinct cells. A seed that has
not found it within the budget counts as the budget. Random search expects 7,813.

LaNAS runs compiled on the table (`search.lanas_table`), `cifar10-lanas` with the bound of equation
4.3 and the thesis's c = 0.1 of the largest reward; `lanas_h5_c0.1` and so on have that of algorithm
4, at other heights and c.
"""

from __future__ import annotations

import argparse
import functools
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments import results_table, search_loop
from experiments.config import ConfigError, check_choice, check_float, check_int
from experiments.data import catalogue, registry
from experiments.data.nasbench201 import TASKS
from experiments.experiment import Search
from experiments.finished import Finished
from experiments.one_thread import one_thread
from experiments.search_evaluators import evaluator
from experiments.search_methods import TABLE_METHODS, on_table
from experiments.tabular_search import Found, sample_rows, samples_to_best
from search import baselines, benchmarks, interface, lanas_table
from search.lanas_table import Settings

TABLE = "search/nasbench201"
TITLE = "NAS-Bench-201: samples to the best cell"
ROWS = 15_625
MADE_UP = "made_up"

Run = Callable[[Any, list[int]], list[Found]]  # (rewards, seeds)


def rewards(task: str) -> np.ndarray:
    """Mean validation accuracy of each cell, from 0 to 1, float64 [15625].

    The task "made_up" needs no data: a random sum over the edges' operations, and noise.

    Raises:
      MissingDataset: the table is not there; the message is the command that gets it.
    """
    if task == MADE_UP:
        space, rng = benchmarks.nasbench201(), interface.generator(0)
        scores = space.one_hot(space.every()) @ rng.standard_normal(30)
        scores += 0.5 * rng.standard_normal(ROWS)
        return 0.5 + 0.4 * (scores - scores.min()) / np.ptp(scores)
    table = registry.load(catalogue.DATASETS["nasbench201"])
    return np.nanmean(table[f"{task}_val_acc"].astype(np.float64), axis=1) / 100.0


def build(config: Any) -> Search:
    """A search of NAS-Bench-201's table by the ask/tell form."""
    task = check_choice(config, "task", (*TASKS, MADE_UP))
    check_choice(config, "method", TABLE_METHODS)
    check_float(config, "lanas.c", low=0.0)
    for key in ("height", "num_init", "select_every"):
        check_int(config, f"lanas.{key}", low=1)
    space = benchmarks.nasbench201()
    searcher = on_table(
        config.method, space, lanas_settings=config.lanas.to_dict(),
        evolution=config.evolution.to_dict(),
    )  # fmt: skip
    work = Search(
        searcher=searcher,
        objective=functools.partial(benchmarks.look_up, space, rewards(task)),
        headline=("accuracy", "max"),
        evaluator=evaluator(config),
        batch_size=check_int(config, "batch_size", low=1),
        asynchronous=bool(config.asynchronous),
    )
    label = f"{task}-{config.method}"
    return work._replace(finish=lambda found, _: search_loop.best_row(label, work, found))


def _compiled(settings: Settings, values: np.ndarray, seeds: list[int]) -> list[Found]:
    import jax
    import jax.numpy as jnp

    space = benchmarks.nasbench201()
    encodings = jnp.asarray(space.one_hot(space.every()), jnp.float32)
    done: dict[int, Found] = {}
    for budget in _budgets(settings):  # most seeds need no more than the first
        some = [seed for seed in seeds if seed not in done or not done[seed].found]
        if some:
            keys = jax.vmap(jax.random.key)(jnp.asarray(some))
            orders = lanas_table.search(
                encodings, jnp.asarray(values, jnp.float32), keys, budget=budget, settings=settings
            )
            for seed, order in zip(some, np.asarray(orders), strict=True):
                done[seed] = _found(values, order)
    return [done[seed] for seed in seeds]


def _budgets(settings: Settings) -> tuple[int, int]:
    """Two budgets, of about 600 and 3,000 samples."""
    first, last = (size // settings.select_every for size in (600, 3000))
    return (
        settings.num_init + first * settings.select_every,
        settings.num_init + last * settings.select_every,
    )


def _found(values: np.ndarray, order: np.ndarray) -> Found:
    best = np.maximum.accumulate(values[order])
    hit = np.flatnonzero(best == values.max())
    samples = int(hit[0]) + 1 if len(hit) else len(order)
    return Found(samples, len(hit) > 0, best[:samples])


def _random(values: np.ndarray, seeds: list[int]) -> list[Found]:
    orders = [interface.generator(seed, 0).permutation(len(values)) for seed in seeds]
    return [_found(values, order) for order in orders]


def _asked(make: Callable[[Any], Any], budget: int, values: np.ndarray, seeds: list[int]) -> Any:
    space = benchmarks.nasbench201()

    def reward(point: Any) -> float:
        return float(values[space.rows(point[None])[0]])

    searcher, best = make(space), float(values.max())
    return [samples_to_best(searcher, reward, best, seed=seed, budget=budget) for seed in seeds]


def _evolution(population: int, tournament: int) -> tuple[Run, str]:
    make = functools.partial(
        baselines.regularised_evolution, population=population, tournament=tournament
    )
    run = functools.partial(_asked, make, 5000)
    return run, f"population={population} tournament={tournament} budget=5000"


def _lanas(settings: Settings) -> tuple[Run, str]:
    words = " ".join(f"{key}={value}" for key, value in settings._asdict().items())
    budget = _budgets(settings)[1]
    return functools.partial(_compiled, settings), f"{words} one_hot unique budget={budget}"


def methods() -> dict[str, tuple[Run, str]]:
    """Name, what runs it, and its settings in words."""
    made: dict[str, tuple[Run, str]] = {
        "random": (_random, "without replacement"),
        "regularised_evolution": _evolution(50, 10),
        "regularised_evolution_10_3": _evolution(10, 3),
        "regularised_evolution_100_25": _evolution(100, 25),
        "lanas": _lanas(Settings(5, 0.1, "equation", 50, 20)),
        "tpe": (functools.partial(_asked, baselines.tpe, 1000), "optuna defaults budget=1000"),
    }
    for height in (3, 5, 7):
        for c in (0.0, 0.01, 0.03, 0.1, 0.5):
            made[f"lanas_h{height}_c{c:g}"] = _lanas(Settings(height, c, "algorithm", 50, 20))
    for num_init in (10, 200):
        made[f"lanas_init{num_init}"] = _lanas(Settings(5, 0.1, "equation", num_init, 20))
    for select_every in (5, 50):
        made[f"lanas_select{select_every}"] = _lanas(Settings(5, 0.1, "equation", 50, select_every))
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Fills the table."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    known = methods()
    options = _options(words, known)
    if options.list:
        for name, (_, config) in known.items():
            print(f"{name:32}{config}")
        return 0
    command = shlex.join(["python", "-m", "experiments.search_nasbench201", *words])
    try:
        with one_thread():
            _fill(options, known, command)
    except registry.MissingDataset as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _fill(options: argparse.Namespace, known: dict[str, tuple[Run, str]], command: str) -> None:
    kept = Finished(options.workdir / "finished.jsonl")
    for task in options.tasks:
        values = rewards(task)
        for method in options.methods:
            run, config = known[method]
            seeds = list(range(options.seeds))
            keys = {seed: f"{task} {method} {config} seed={seed}" for seed in seeds}
            missing = [seed for seed in seeds if keys[seed] not in kept]
            together = 25 if method.startswith("lanas") else 1
            for start in range(0, len(missing), together):
                some, since = missing[start : start + together], time.monotonic()
                for seed, found in zip(some, run(values, some), strict=True):
                    seconds = (time.monotonic() - since) / len(some)
                    kept.add(keys[seed], [found.samples, bool(found.found), seconds])
            done = [kept[key] for key in keys.values()]
            found_all = [Found(each[0], each[1], np.zeros(0)) for each in done]
            made = sample_rows(
                f"{task}-{method}", found_all, command=command, config=config, seeds=seeds,
                seconds=sum(each[2] for each in done),
            )  # fmt: skip
            results_table.write_table(options.table, TITLE, made)
            print(f"{task}-{method}: {made[0]['value']:.0f} samples (median)", flush=True)


def _options(words: Sequence[str], known: dict[str, tuple[Run, str]]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.search_nasbench201",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--tasks", nargs="+", default=list(TASKS), choices=TASKS)
    every = [name for name in known if name != "tpe"]
    add("--methods", nargs="+", default=every, choices=list(known), metavar="METHOD")
    add("--seeds", type=int, default=100)
    add("--workdir", type=Path, default=Path("runs/search_nasbench201"))
    add("--table", type=Path, default=results_table.table_path(TABLE))
    add("--list", action="store_true", help="show the methods and their settings")
    options = parser.parse_args(words)
    if options.seeds < 1:
        raise ConfigError("--seeds", "at least 1", options.seeds)
    return options


if __name__ == "__main__":
    raise SystemExit(main())
