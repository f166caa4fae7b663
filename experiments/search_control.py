"""Lunar lander, rover and locomotion: glue of `configs/search/control`, and the table.

    python -m experiments.search_control --tasks rover --budget 1000
    python -m experiments.search_control --tasks lunar --budget 300 --terrains 10
    python -m experiments.search_control --tasks swimmer --budget 200 --episodes 3

Rewards, higher is better; a row is named task-method:

    best_value            after all evaluations, and best_value_at_N after N
    fresh_value           of the best point over 50 terrains (or starts) that no search has seen:
                          the best of many noisy values is too high
    episodes              of one search, in the environment
    reached_fraction      of the seeds whose best value reached the source's threshold
    evaluations_to_threshold, episodes_to_threshold
                          means over seeds; one that did not reach it counts as the budget

Each finished search is kept in `--workdir`, so that the command goes on where it was stopped; rows
are written of what is finished. All but the rover need the extra `control`.
"""

from __future__ import annotations

import argparse
import functools
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments import kept_searches, results_table, search_loop, tree_options
from experiments.config import check_choice, check_int
from experiments.configs.search import control as configs
from experiments.experiment import Search
from experiments.finished import Finished
from experiments.one_thread import one_thread
from experiments.search_evaluators import evaluator
from experiments.search_methods import BOX_METHODS, PRESETS, in_box
from search import control
from search.interface import Run
from search.spaces import Box

TABLE = "search/control"
TITLE = "Lunar lander, rover and linear policies: the best reward after so many evaluations"
SOURCE = "Wang 2022, table 5.2: average episodes (#samples), which does not say which of the two"
MARKS = (50, 100, 200, 300, 500, 1000, 2000, 5000)
FRESH = 50  # terrains or episodes
UNSEEN = 2**31  # a seed that no trial has

Objective = Callable[[Any, int], float]


def build(config: Any) -> Search:
    """A search for a controller; the packages of its task are asked for where it starts."""
    task = check_choice(config, "task", configs.SIZES)
    check_choice(config, "method", BOX_METHODS)
    check_choice(config, "preset", tuple(PRESETS))
    tree = tree_options.checked(config)
    box, objective, _ = problem(
        task,
        terrains=check_int(config, "terrains", low=1),
        episodes=check_int(config, "episodes", low=1),
    )
    make = evaluator(config)

    def ready(objective: Objective) -> Any:
        if task != "rover":  # else each evaluation would fail, one by one
            control.require()
        return make(objective)

    work = Search(
        searcher=in_box(config.method, box, preset=config.preset, budget=config.steps, **tree),
        objective=objective,
        headline=("value", "max"),
        evaluator=ready,
        batch_size=check_int(config, "batch_size", low=1),
        asynchronous=bool(config.asynchronous),
    )
    label = f"{task}-{config.method}"
    return work._replace(finish=lambda found, _: search_loop.best_row(label, work, found))


def problem(task: str, *, terrains: int, episodes: int) -> tuple[Box, Objective, Objective | None]:
    """A task's box, its objective, and the same over terrains or starts that no search sees."""
    if task == "rover":
        return control.rover_box(), control.rover, None
    if task == "lunar":
        land = functools.partial(control.land, terrains=terrains)
        return control.lander_box(), land, functools.partial(
            control.land, terrains=FRESH, first=terrains
        )  # fmt: skip
    walk = functools.partial(control.walk, task, episodes=episodes)
    return control.policy_box(task), walk, functools.partial(control.walk, task, episodes=FRESH)


def main(arguments: Sequence[str] | None = None) -> int:
    """Fills the table."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    options = _options(words)
    if set(options.tasks) != {"rover"}:
        control.require()
    kept = Finished(options.workdir / "finished.jsonl")
    command = shlex.join(["python", "-m", "experiments.search_control", *words])
    with one_thread():
        for seed in range(options.seeds):
            for task in options.tasks:
                for method in options.methods:
                    _search(kept, task, method, seed, options)
                    _write(kept, task, method, options, command)
    return 0


def _options(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.search_control",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--tasks", nargs="+", default=["lunar", "rover", "swimmer"], choices=configs.SIZES)
    methods = ["lamcts_turbo", "turbo", "cma", "random"]
    add("--methods", nargs="+", default=methods, choices=BOX_METHODS)
    add("--seeds", type=int, default=5)
    add("--budget", type=int, default=300)
    add("--terrains", type=int, default=10, help="of lunar lander; the thesis: 50")
    add("--episodes", type=int, default=3, help="of locomotion; the thesis: 10")
    add("--preset", default="fast", choices=tuple(PRESETS))
    add("--suffix", default="", help="added to the rows' names: for ablations")
    tree_options.add(parser)
    add("--workdir", type=Path, default=Path("runs/search_control"))
    add("--table", type=Path, default=results_table.table_path(TABLE))
    options = parser.parse_args(words)
    for name in ("seeds", "budget", "terrains", "episodes"):
        if getattr(options, name) < 1:
            parser.error(f"--{name}: expected at least 1, got {getattr(options, name)}")
    return options


def _config(task: str, method: str, options: argparse.Namespace) -> Any:
    config = configs.get_config(f"{task},paper")
    config.method, config.preset, config.steps = method, options.preset, options.budget
    config.terrains, config.episodes = options.terrains, options.episodes
    tree_options.override(config.tree, options)
    return config


def _key(task: str, method: str, seed: int, options: argparse.Namespace) -> str:
    settings = [task, method, options.preset, f"budget={options.budget}"]
    if task != "rover":
        per = "terrains" if task == "lunar" else "episodes"
        settings.append(f"{per}={getattr(options, per)}")
    settings += tree_options.words(method, _config(task, method, options).tree)
    return " ".join([*settings, f"seed={seed}"])


def _search(kept: Finished, task: str, method: str, seed: int, options: argparse.Namespace) -> None:
    key = _key(task, method, seed, options)
    _, _, fresh = problem(task, terrains=options.terrains, episodes=options.episodes)

    def again(run: Run) -> dict[str, Any]:
        if fresh is None:
            return {}
        return {"fresh": float(fresh(run.trials[int(np.nanargmax(run.values))].point, UNSEEN))}

    work = build(_config(task, method, options))
    kept_searches.run_once(kept, key, work, budget=options.budget, seed=seed, more=again)


def _write(
    kept: Finished, task: str, method: str, options: argparse.Namespace, command: str
) -> None:
    keys = {seed: _key(task, method, seed, options) for seed in range(options.seeds)}
    found = {seed: kept[key] for seed, key in keys.items() if key in kept}
    records, budget = list(found.values()), options.budget
    values: dict[str, Any] = kept_searches.at_marks(records, MARKS, budget)
    references: dict[str, tuple[float, str]] = {}
    if task != "rover":
        per = options.terrains if task == "lunar" else options.episodes
        values["fresh_value"] = [each["fresh"] for each in records]
        values["episodes"] = [budget * per for _ in records]
    if task in control.LOCOMOTION:
        threshold = control.LOCOMOTION[task].threshold
        curves = np.array([each["best"][:budget] for each in records])
        reached = curves[:, -1] >= threshold
        needed = np.where(reached, np.argmax(curves >= threshold, axis=1) + 1, budget)
        values["reached_fraction"] = reached.astype(float)
        values["evaluations_to_threshold"] = needed
        values["episodes_to_threshold"] = needed * options.episodes
        published = control.LOCOMOTION[task].reference
        if published is not None and method == "lamcts_turbo":
            references = dict.fromkeys(
                ("evaluations_to_threshold", "episodes_to_threshold"), (published, SOURCE)
            )
    config = keys[0].partition(" ")[2].rpartition(" ")[0]
    made = kept_searches.over_seeds(
        f"{task}-{method}{options.suffix}", values, records=records, references=references,
        command=command, config=config, seeds=list(found),
    )  # fmt: skip
    results_table.write_table(options.table, TITLE, made)


if __name__ == "__main__":
    raise SystemExit(main())
