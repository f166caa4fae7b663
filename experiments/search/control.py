"""Lunar lander, rover and locomotion: glue of `configs/search/control`, and the table.

    python -m experiments.report --fill search/control --only 'rover-*' --jobs 2

Rewards, higher is better; a row is named task-method:

    best_value            after all evaluations, and best_value_at_N after N
    fresh_value           of the best point over 50 terrains (or starts) that no search has seen:
                          the best of many noisy values is too high
    episodes              of one search, in the environment
    reached_fraction      of the seeds whose best value reached the source's threshold
    evaluations_to_threshold, episodes_to_threshold
                          means over seeds; one that did not reach it counts as the budget

All but the rover need the extra `control`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from experiments.report.rows import Row
from experiments.report.sweep import Cell, Table, Workdirs
from experiments.runner.checks import check_choice, check_int
from experiments.runner.experiment import Search
from experiments.runner.search_loop import Searched, best_row
from experiments.runner.workdir import RESULTS, read_config, read_results
from experiments.search import figures
from experiments.search.config import CONTROL
from experiments.search.curves import at_marks, curves, over_seeds
from experiments.search.methods import box_search
from search import control, progress

SOURCE = "Wang 2022, table 5.2: average episodes (#samples), which does not say which of the two"
MARKS = (50, 100, 200, 300, 500, 1000, 2000, 5000)
UNSEEN = 2**31  # a seed that no trial has


def build(config: Any) -> Search:
    """A search for a controller; the packages of its task are asked for where it starts."""
    task = check_choice(config, "task", CONTROL)
    box, objective, fresh = control.problem(
        task,
        terrains=check_int(config, "terrains", low=1),
        episodes=check_int(config, "episodes", low=1),
    )
    require = None if task == "rover" else control.require
    work = box_search(config, box, objective, task, headline=("value", "max"), require=require)

    def finish(found: Searched, _: Path) -> list[Row]:
        label = f"{task}-{config.method}"
        rows = best_row(label, work, found)
        if fresh is not None and found.best is not None:
            value = float(fresh(found.best[0].point, UNSEEN))
            rows.append({**rows[0], "metric": "fresh_value", "value": value})
        return rows

    return work._replace(finish=finish)


BUDGETS = {"lunar": 300, "rover": 1000, "hopper": 300, "swimmer": 150}
METHODS = ("lamcts_turbo", "turbo", "cma", "random")
CELLS = {
    f"{task}-{method}": Cell(
        f"search/control:{task},cpu", {"method": method, "steps": budget, "num_seeds": 3}
    )
    for task, budget in BUDGETS.items()
    for method in METHODS
}


def _rows(name: str, workdirs: Workdirs) -> list[Row]:
    config = read_config(workdirs[name]) or {}
    task, found = config["task"], curves(workdirs[name])
    budget = found.shape[1]
    values: dict[str, Any] = at_marks(found, MARKS)
    references: dict[str, tuple[float, str]] = {}
    if task != "rover":
        per = config["terrains" if task == "lunar" else "episodes"]
        values["episodes"] = [budget * per] * len(found)
    if task in control.LOCOMOTION:
        threshold = control.LOCOMOTION[task].threshold
        needed = progress.first_at(found, threshold, never=budget)
        values["reached_fraction"] = (found[:, -1] >= threshold).astype(float)
        values["evaluations_to_threshold"] = needed
        values["episodes_to_threshold"] = needed * config["episodes"]
        published = control.LOCOMOTION[task].reference
        if published is not None and config["method"] == "lamcts_turbo":
            references = dict.fromkeys(
                ("evaluations_to_threshold", "episodes_to_threshold"), (published, SOURCE)
            )
    own = read_results(workdirs[name] / RESULTS)["rows"]
    fresh = [{**row, "name": name} for row in own if row["metric"] == "fresh_value"]
    return over_seeds(name, values, references) + fresh


TABLES = {
    "search/control": Table(
        "Lunar lander, rover and linear policies: the best reward after so many evaluations",
        CELLS,
        _rows,
        figures.control,
    )
}
