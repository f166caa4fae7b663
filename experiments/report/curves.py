"""What runs have recorded: their folders read, grouped over seeds, and averaged with intervals."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.report.interval import Interval, mean_interval
from experiments.runner import metrics, workdir
from experiments.runner.checks import UserError, flatten

HEAD = ("step", "kind", "phase", "seed")


SEEDS = ("seed", "num_seeds", "seed_axis", "steps")  # what may differ within a group


class ReportError(UserError):
    """A folder that no report can be made of; the message says what is missing."""


class Run(NamedTuple):
    """One run's folder, read.

    Attributes:
      folder: the workdir.
      config: flat, "a.b.c" -> value.
      records: of metrics.jsonl; every one has a "seed".
      timing: of timing.jsonl.
      rows: of results.json, [] where the run is not finished.
      best: of a finished search, where each seed found its best value.
    """

    folder: Path
    config: dict[str, Any]
    records: list[dict[str, Any]]
    timing: list[dict[str, Any]]
    rows: list[dict[str, Any]]
    best: list[dict[str, Any]]


class Group(NamedTuple):
    """Runs of one config that differ in their seeds only."""

    label: str
    runs: tuple[Run, ...]


class Curve(NamedTuple):
    """A metric over the steps: mean over seeds, with its 95% interval.

    Attributes:
      step: int64 [points].
      mean: float64 [points].
      low: float64 [points]; the mean itself where there is one seed.
      high: float64 [points].
      seeds: how many.
    """

    step: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    seeds: int

    @property
    def last(self) -> Interval:
        """Where the curve ends."""
        mean, low, high = (float(part[-1]) for part in (self.mean, self.low, self.high))
        return Interval(mean, low, high, self.seeds)


def read_run(folder: Path) -> Run:
    """Read a run's folder; one that is still running is read as far as it is.

    Raises:
      ReportError: it is no run's folder, or nothing has been recorded in it yet.
    """
    config = workdir.read_config(folder)
    if config is None:
        raise ReportError(f"{folder}: expected a run's folder, with {workdir.CONFIG}")
    path = folder / workdir.METRICS
    records = metrics.read(path) if path.exists() else []
    if not records:
        raise ReportError(f"{folder}: nothing has been recorded in {workdir.METRICS} yet")
    if any("seed" in record for record in records):  # the lines without are the mean of the others
        records = [record for record in records if "seed" in record]
    else:
        records = [{**record, "seed": config.get("seed", 0)} for record in records]
    timing = folder / workdir.TIMING
    finished = workdir.read_results(folder / workdir.RESULTS)
    return Run(
        folder=folder,
        config=flatten(config),
        records=records,
        timing=metrics.read(timing) if timing.exists() else [],
        rows=finished.get("rows", []),
        best=finished.get("best", []),
    )


def group_runs(runs: Sequence[Run]) -> list[Group]:
    """Put runs together whose configs differ in nothing but seeds and steps.

    A group is called by the config entries that tell it from the others; by its first folder where
    those are too many or there is one group only.
    """
    grouped: dict[str, list[Run]] = {}
    for run in runs:
        same = {key: value for key, value in run.config.items() if key not in SEEDS}
        grouped.setdefault(json.dumps(same, sort_keys=True, default=str), []).append(run)
    keys = {key for run in runs for key in run.config if key not in SEEDS}
    firsts = [members[0] for members in grouped.values()]
    differing = sorted(
        key for key in keys if len({repr(run.config.get(key)) for run in firsts}) > 1
    )
    ends = [key.rpartition(".")[2] for key in differing]
    short = {
        key: end if ends.count(end) == 1 else key for key, end in zip(differing, ends, strict=True)
    }
    groups = []
    for members in grouped.values():
        label = ", ".join(member.folder.name for member in members)
        if 1 <= len(differing) <= 3:
            config = members[0].config
            label = ", ".join(f"{short[key]}={config.get(key)}" for key in differing)
        groups.append(Group(label, tuple(members)))
    return groups


def metric_names(groups: Sequence[Group], kind: str) -> list[str]:
    """The metrics of a kind, "train" or "eval", in the order in which they were first recorded."""
    names: dict[str, None] = {}
    for group in groups:
        for run in group.runs:
            for record in run.records:
                if record["kind"] == kind:
                    names.update(dict.fromkeys(name for name in record if name not in HEAD))
    return list(names)


def curve(group: Group, kind: str, metric: str, points: int = 200) -> Curve | None:
    """A metric's course over a group's seeds, at the steps that all of them have reached.

    Args:
      group: the runs.
      kind: "train" or "eval".
      metric: its name.
      points: more than these are averaged in equal bins, each at its last step.

    Returns:
      None where the group has not recorded the metric, or its seeds have no step in common.
    """
    series: dict[tuple[Path, int], dict[int, float]] = {}
    for run in group.runs:
        for record in run.records:
            if record["kind"] == kind and metric in record:
                line = series.setdefault((run.folder, record["seed"]), {})
                line[record["step"]] = record[metric]
    if not series:
        return None
    steps = sorted(set.intersection(*(set(line) for line in series.values())))
    if not steps:
        return None
    values = np.array([[line[step] for step in steps] for line in series.values()], np.float64)
    step, values = _binned(np.array(steps), values, points)
    intervals = [mean_interval(column) for column in values.T]
    mean, low, high = (
        np.array([getattr(interval, part) for interval in intervals])
        for part in ("value", "low", "high")
    )
    return Curve(step, mean, low, high, len(series))


def _binned(step: np.ndarray, values: np.ndarray, points: int) -> tuple[np.ndarray, np.ndarray]:
    if len(step) <= points:
        return step, values
    edges = np.linspace(0, len(step), points + 1).astype(int)
    starts, ends = edges[:-1], edges[1:]
    means = [values[:, start:end].mean(axis=1) for start, end in zip(starts, ends, strict=True)]
    return step[ends - 1], np.stack(means, axis=1)


def speed(run: Run) -> tuple[float, float]:
    """Seconds of training in all, and items (examples, instances) a second; 0 where unknown."""
    seconds = sum(record["seconds"] for record in run.timing)
    items = sum(record.get("items", 0) for record in run.timing)
    return seconds, items / seconds if seconds else 0.0
