"""What a method of chapter 2 reaches on many instances: glue of `configs/nco/measure.py`.

A search of listed points: a point is the first and the number of some public instances, or a
TSPLIB file, and its value their mean. The journal keeps each instance's value and seconds, and the
first solution of each point; `reached` reads it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from experiments.data import geography
from experiments.data import instances as reader
from experiments.data.registry import MissingDataset
from experiments.nco.methods import BATCH, METHODS, Part, Solve, check
from experiments.nco.problems import (
    PROBLEMS,
    PUBLIC,
    Kind,
    gap_percent,
    public_instances,
    validation_instances,
)
from experiments.report.interval import Interval, mean_interval
from experiments.report.rows import Row
from experiments.runner import search_journal
from experiments.runner.checks import UserError, check_bool, check_choice, check_int
from experiments.runner.experiment import Search
from nco import many
from search import listed
from search.interface import Measured

Score = Callable[[np.ndarray], np.ndarray]  # solutions of a part's instances -> float64


class Source(NamedTuple):
    """Instances, part by part: the points, and `(point) -> (part, score)`."""

    points: list[Any]
    load: Callable[[Any], tuple[Part, Score]]


class Reached(NamedTuple):
    """What a run has measured.

    Attributes:
        points: as they were asked for.
        values: float64 `[instances]`, tour lengths or values.
        seconds: float64 `[instances]`, without the time to compile; instances that were solved
            together share it equally.
        rounds: float64 `[rounds]`, of each time that some were solved together.
        together: whether several were, ever.
        first: the first solution of each point.
        curves: by the number of solutions considered: values so far, and their share of the time.
    """

    points: list[Any]
    values: np.ndarray
    seconds: np.ndarray
    rounds: np.ndarray
    together: bool
    first: list[list[int]]
    curves: dict[int, tuple[np.ndarray, float]]


def build(config: ConfigDict) -> Search:
    """Checks the config and makes the search; raises UserError naming the key."""
    kind = PROBLEMS[check_choice(config, "problem", tuple(PROBLEMS))]
    method = METHODS[check_choice(config, "method", tuple(METHODS))]
    check_choice(config, "problem", method.problems)
    check_int(config, "part", low=0, high=PUBLIC)
    check(config)
    source = _files(config) if "folder" in config else _instances(config, kind)
    solve = method.make(config)

    def finish(searched: Any, workdir: Path) -> list[Row]:
        failed = [each.note for each in searched.reports.values() if each.note]
        if failed:
            raise UserError(f"{len(failed)} of {len(source.points)} parts failed: {failed[0]}")
        found = reached(workdir)
        if "folder" in config:
            return file_rows(config.method, found)
        return rows(f"{kind.task}{config.size}-{config.method}", kind, found)

    return Search(
        searcher=listed.searcher(source.points),
        objective=functools.partial(_measure, kind, source, solve, tuple(config.get("curve", ()))),
        headline=(kind.metric, kind.mode),
        budget=len(source.points),
        finish=finish,
    )


def _instances(config: ConfigDict, kind: Kind) -> Source:
    """Public instances, or those for validation, some at a time."""
    count = check_int(config, "instances", low=1, high=PUBLIC)
    items = check_int(config, "size", low=2 if kind.task == "tsp" else 1, high=1000)

    @functools.cache
    def everything() -> np.ndarray:
        if check_bool(config, "validation"):
            return validation_instances(kind.problem(config), items, count)
        return public_instances(items, count)

    def load(point: Sequence[int]) -> tuple[Part, Score]:
        start, some = point
        instances = everything()[start : start + some]
        return Part(instances), lambda actions: kind.score(instances, actions, config)

    part = config.part or many.searched_at_once(BATCH * items) * jax.local_device_count()
    return Source([[start, min(part, count - start)] for start in range(0, count, part)], load)


def _files(config: ConfigDict) -> Source:
    """The .tsp files of a folder, under TSPLIB's rounding.

    A file without coordinates is for solvers alone.

    Raises:
        InstanceError: one is broken.
        MissingDataset: the folder has none.
    """
    paths = sorted(Path(config.folder).glob("*.tsp"), key=lambda path: path.name.lower())
    if not paths:
        raise MissingDataset(f"folder: expected one with TSPLIB's .tsp files, got {config.folder}")
    read = {path.stem: reader.read(path) for path in paths}
    if "models" in config:
        read = {stem: each for stem, each in read.items() if each.coords is not None}

    def load(stem: str) -> tuple[Part, Score]:
        instance = read[stem]
        matrices = reader.matrix(instance, 0)[None]
        has_plane = instance.coords is not None
        inputs = reader.unit_square(instance) if has_plane else np.zeros((1, instance.cities, 2))
        return Part(inputs, matrices), lambda tours: reader.lengths(instance, tours)

    return Source(list(read), load)


def _measure(
    kind: Kind, source: Source, solve: Solve, curve: Sequence[int], point: Any, seed: int
) -> Measured:
    part, score = source.load(point)
    found = solve(part, seed)
    values = score(found.actions)
    curves = {}
    for count in curve:
        assert found.best_so_far is not None
        assert found.considered is not None
        at = int(np.searchsorted(found.considered, count))
        if at < len(found.considered):
            share = found.considered[at] / found.considered[-1]
            curves[count] = [kind.sign * found.best_so_far[at].astype(np.float64), float(share)]
    more = {
        "values": values,
        "seconds": found.seconds,
        "together": found.together,
        "first": found.actions[0],
        "curves": curves,
    }
    return Measured(kind.sign * float(values.mean()), more)


def reached(workdir: Path) -> Reached:
    """Reads what a run has measured from its folder."""
    (found,) = search_journal.recorded(workdir)
    more = found.more
    values, seconds = (
        np.concatenate([each[key] for each in more]) for key in ("values", "seconds")
    )
    rounds = np.concatenate([each["seconds"][:: each["together"]] for each in more])
    curves = {
        int(count): (np.concatenate([each["curves"][count][0] for each in more]), share)
        for count, (_, share) in more[0]["curves"].items()
    }
    together = any(each["together"] > 1 for each in more)
    first = [each["first"] for each in more]
    return Reached(found.points, values, seconds, rounds, together, first, curves)


def rows(name: str, kind: Kind, found: Reached, best: Reached | None = None) -> list[Row]:
    """Rows of the mean and of the seconds an instance and, where `best` is given, of the gap."""
    shared = {"name": name, "unit": "instance"}
    made: list[Row] = [
        shared | {"metric": kind.metric} | mean_interval(found.values)._asdict(),
        shared | {"metric": "instance_seconds"} | seconds(found.seconds, found.rounds)._asdict(),
    ]
    if found.together:
        made[1]["unit"] = "round"
    if best is not None:
        gap = mean_interval(gap_percent(kind, found.values, best.values))
        made.append(shared | {"metric": "gap_percent"} | gap._asdict())
    return made


def file_rows(method: str, found: Reached) -> list[Row]:
    """Rows of TSPLIB files: the length and, where the optimum is published, the gap to it."""
    made: list[Row] = []
    for stem, length in zip(found.points, found.values.tolist(), strict=True):
        row = {"name": f"tsplib-{stem}-{method}", "unit": "instance"}
        best = geography.OPTIMA.get(stem)
        known = {"reference": best, "source": "TSPLIB, optimal" if best else ""}
        made.append(row | {"metric": "tour_length", "value": length} | known)
        if best:
            made.append(row | {"metric": "gap_percent", "value": 100 * (length / best - 1)})
    return made


def seconds(each: np.ndarray, rounds: np.ndarray) -> Interval:
    """Mean seconds an instance; the interval is over rounds, whose instances share theirs."""
    around = mean_interval(rounds)
    mean = float(each.mean())  # rounds have different sizes
    low, high = max(0.0, mean - (around.value - around.low)), mean + (around.high - around.value)
    return Interval(mean, low, high, around.n)
