"""Lunar lander, rover and locomotion: glue of `configs/search/control`, and the table.

    python -m experiments.search.control --tasks rover --budget 1000
    python -m experiments.search.control --tasks lunar --budget 300 --terrains 10
    python -m experiments.search.control --tasks swimmer --budget 200 --episodes 3

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

from experiments.configs.search import control as configs
from experiments.report import kept_searches
from experiments.report import table as results_table
from experiments.report.finished import Finished
from experiments.runner import search_loop
from experiments.runner.checks import check_choice, check_int
from experiments.runner.evaluators import evaluator
from experiments.runner.experiment import Search
from experiments.runner.one_thread import one_thread
from experiments.search import tables as search_tables
from experiments.search import tree as tree_options
from experiments.search.methods import BOX_METHODS, PRESETS, in_box
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
    work = Search(
        searcher=in_box(config.method, box, preset=config.preset, budget=config.steps, **tree),
        objective=objective,
        headline=("value", "max"),
        evaluator=evaluator(config),
        batch_size=check_int(config, "batch_size", low=1),
        asynchronous=bool(config.asynchronous),
        require=None if task == "rover" else control.require,
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


@search_tables.command
def main(arguments: Sequence[str] | None = None) -> int:
    """Fills the table."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    options = _options(words)
    out = search_tables.path(options, TABLE)
    if set(options.tasks) != {"rover"}:
        control.require()
    pairs = [(task, method) for task in options.tasks for method in options.methods]
    for task, method in pairs:
        build(_config(task, method, options))
    kept = Finished(options.workdir / "finished.jsonl")
    command = shlex.join(["python", "-m", "experiments.search.control", *words])
    with one_thread():
        for seed in range(options.seeds):
            for task, method in pairs:
                _search(kept, task, method, seed, options)
                _write(kept, task, method, options, out, command)
    search_tables.show(out, [f"{task}-{method}{options.suffix}" for task, method in pairs])
    return 0


def _options(words: Sequence[str]) -> argparse.Namespace:
    parser = search_tables.parser("search_control", __doc__, "runs/search_control")
    add, positive = parser.add_argument, search_tables.positive
    tasks = ["lunar", "rover", "swimmer"]
    add("--tasks", nargs="+", default=tasks, choices=configs.SIZES, metavar="TASK",
        help=f"of {', '.join(configs.SIZES)} ({' '.join(tasks)})")  # fmt: skip
    tree_options.add_methods(parser, ["lamcts_turbo", "turbo", "cma", "random"])
    add("--seeds", type=positive, default=5, metavar="N", help="searches each (5)")
    add("--budget", type=positive, default=300, metavar="N", help="evaluations a search (300)")
    add("--terrains", type=positive, default=10, metavar="N",
        help="of lunar lander (10; the thesis: 50)")  # fmt: skip
    add("--episodes", type=positive, default=3, metavar="N",
        help="of locomotion (3; the thesis: 10)")  # fmt: skip
    tree_options.add(parser)
    return parser.parse_args(words)


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
    kept: Finished, task: str, method: str, options: argparse.Namespace, out: Path, command: str
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
    results_table.write_table(out, TITLE, made, whole=True)


if __name__ == "__main__":
    raise SystemExit(main())
