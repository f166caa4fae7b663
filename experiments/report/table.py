"""Recorded results: `experiments/results/GROUP/TABLE.json`, one file a table.

A file is `{"title", "rows": [row, ...]}`; a row says what was measured, with which interval, over
how many seeds or instances, and the command that measures it again (`rows.FIELDS`). Tables in
README files and figures are made from these files only. (name, metric) is unique in a file, so a
command that is run again replaces its own rows.

    rows = [row("greedy, TSP20", "tour_length", mean_interval(lengths), unit="instance",
                command="python -m experiments.run --config=nco/tsp:20,cpu --workdir=runs/tsp20")]
    write_table(table_path("nco/tsp"), "TSP20", rows)
"""

import json
import math
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.report import rows as run_rows
from experiments.report.rows import FIELDS, Row
from experiments.runner.workdir import replace_text

RESULTS = Path(__file__).parents[1] / "results"
UNITS = ("seed", "instance", "round")  # a round is one of a benchmark's, in turns with its peer
COMMANDS = ("python -m experiments.", "make ")
_STARTED = time.monotonic()


class TableError(ValueError):
    """A results file, or a row for one, that is not as agreed; the message names row and field."""


class Interval(NamedTuple):
    """A mean with its confidence interval; low = high = value where n is 1."""

    value: float
    low: float
    high: float
    n: int


class Table(NamedTuple):
    """A results file."""

    title: str
    rows: list[Row]


def mean_interval(values: Sequence[float] | np.ndarray, level: float = 0.95) -> Interval:
    """The mean of independent values and its interval by Student's t.

    Args:
      values: one a seed or one an instance, any shape, at least one; finite.
      level: the probability that the interval holds the true mean, if the values are normal.

    Raises:
      ValueError: no values, a value that is not finite, or `level` outside (0, 1).

    >>> mean_interval([1.0, 2.0, 3.0])
    Interval(value=2.0, low=-0.48..., high=4.48..., n=3)
    """
    flat = np.asarray(values, np.float64).reshape(-1)
    if flat.size == 0 or not np.isfinite(flat).all():
        raise ValueError(f"values: expected finite numbers, at least one; got {values}")
    if not 0 < level < 1:
        raise ValueError(f"level: expected a probability between 0 and 1; got {level}")
    mean = float(flat.mean())
    if flat.size == 1:
        return Interval(mean, mean, mean, 1)
    from scipy.stats import t

    error = float(flat.std(ddof=1)) / math.sqrt(flat.size)
    half = float(t.ppf((1 + level) / 2, flat.size - 1)) * error
    return Interval(mean, mean - half, mean + half, flat.size)


def row(
    name: str,
    metric: str,
    value: float | Interval,
    *,
    unit: str,
    command: str,
    low: float | None = None,
    high: float | None = None,
    n: int = 1,
    reference: float | None = None,
    source: str = "",
    config: str = "",
    seeds: Sequence[int] = (),
    machine: str | None = None,
    commit: str | None = None,
    seconds: float | None = None,
) -> Row:
    """A checked row, with what the process knows filled in.

    Args:
      name: what was measured; rows of a GPU and of a CPU differ here.
      metric: snake_case, with the physical unit at its end where there is one (`step_seconds`).
      value: the number; or an `Interval`, which brings low, high and n.
      unit: what n counts and the interval is over: "seed", "instance", or "round".
      command: measures it again; starts with `python -m experiments.` or `make `.
      low: of the 95% interval; the value itself by default.
      high: the same.
      n: how many.
      reference: the number that `source` reports for the same thing.
      source: where the reference is from, e.g. "Pham 2021, table 2.1".
      config: the config's name with its argument, if one was run.
      seeds: the seeds that were run.
      machine: by default, the devices that JAX sees.
      commit: by default, the checkout's.
      seconds: wall time of the command; by default, since this module was imported.

    Raises:
      TableError: a field is not as agreed.
    """
    if isinstance(value, Interval):
        value, low, high, n = value
    made: Row = {
        "name": name,
        "metric": metric,
        "value": float(value),
        "low": float(value if low is None else low),
        "high": float(value if high is None else high),
        "n": int(n),
        "unit": unit,
        "reference": None if reference is None else float(reference),
        "source": source,
        "command": command,
        "config": config,
        "seeds": [int(seed) for seed in seeds],
        "machine": run_rows.machine() if machine is None else machine,
        "commit": run_rows.commit() if commit is None else commit,
        "seconds": round(time.monotonic() - _STARTED if seconds is None else float(seconds), 3),
    }
    check_row(made)
    return made


def from_run(row: Row) -> Row:
    """A row of a run's results.json, where fields may be None, as a row of a table."""
    filled = dict(row)
    for field, default in (
        ("low", row["value"]),
        ("high", row["value"]),
        ("n", 1),
        ("unit", "seed"),
        ("source", ""),
        ("config", ""),
        ("seeds", []),
    ):
        if filled.get(field) is None:
            filled[field] = default
    return filled


def check_row(row: Mapping[str, Any]) -> None:
    """Check a row's fields.

    Raises:
      TableError: the first field that is not as agreed.
    """
    label = f"row ({row.get('name')!r}, {row.get('metric')!r})"
    if set(row) != set(FIELDS):
        missing, unknown = sorted(set(FIELDS) - set(row)), sorted(set(row) - set(FIELDS))
        raise TableError(f"{label}: missing fields {missing}, unknown fields {unknown}")

    def check(field: str, good: bool, expected: str) -> None:
        if not good:
            raise TableError(f"{label}: {field}: expected {expected}; got {row[field]!r}")

    for field in ("name", "metric", "machine"):
        check(field, isinstance(row[field], str) and bool(row[field]), "a non-empty string")
    for field in ("source", "config", "commit"):
        check(field, isinstance(row[field], str), "a string")
    for field in ("value", "low", "high", "seconds"):
        check(field, _is_number(row[field]), "a finite number")
    check("low", row["low"] <= row["value"], f"at most the value, {row['value']}")
    check("high", row["value"] <= row["high"], f"at least the value, {row['value']}")
    check("n", type(row["n"]) is int and row["n"] >= 1, "a whole number of at least 1")
    check("unit", row["unit"] in UNITS, f"one of {', '.join(UNITS)}")
    check("seconds", row["seconds"] >= 0, "at least 0")
    reference = row["reference"]
    check("reference", reference is None or _is_number(reference), "a finite number or null")
    check("source", reference is None or bool(row["source"]), "where the reference is from")
    seeds = row["seeds"]
    whole = isinstance(seeds, list) and all(type(seed) is int for seed in seeds)
    check("seeds", whole, "a list of whole numbers")
    command = row["command"]
    good = isinstance(command, str) and command.startswith(COMMANDS)
    check("command", good, f"a command that starts with {' or '.join(map(repr, COMMANDS))}")


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def table_path(name: str) -> Path:
    """The file of the table called `GROUP/TABLE`.

    Raises:
      TableError: another form of name.
    """
    if not re.fullmatch(r"[a-z0-9_]+/[a-z0-9_]+", name):
        raise TableError(f"table: expected GROUP/TABLE in lower case; got {name!r}")
    return RESULTS / f"{name}.json"


def read_table(path: str | Path) -> Table:
    """Read and check a results file.

    Raises:
      TableError: it is not as agreed; the message names the file, the row and the field.
      FileNotFoundError: there is none.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if set(content) != {"title", "rows"} or not isinstance(content["rows"], list):
            raise TableError('expected {"title", "rows": [...]}')
        if not isinstance(content["title"], str) or not content["title"]:
            raise TableError(f"title: expected a non-empty string; got {content['title']!r}")
        for row in content["rows"]:
            check_row(row)
        _check_unique(content["rows"])
    except (ValueError, TypeError, AttributeError) as error:
        raise TableError(f"{path}: {error}") from error
    return Table(content["title"], content["rows"])


def write_table(path: str | Path, title: str, rows: Sequence[Row], *, whole: bool = False) -> Table:
    """Add rows to a results file, replacing those with the same (name, metric).

    With `whole` the rows are all that there is of their names, and other metrics of them, as of
    another budget, are dropped. The file is written whole or not at all, in an order that does not
    depend on who was first: by name, then metric, numbers inside them by size.

    Raises:
      TableError: a row, or what the file holds already, is not as agreed. Nothing is written then.
    """
    path = Path(path)
    new = [from_run(row) for row in rows]
    for each in new:
        check_row(each)
    _check_unique(new)
    old = read_table(path).rows if path.exists() else []
    dropped = {row["name"] for row in new} if whole else set()
    kept = [row for row in old if row["name"] not in dropped]
    merged = {(row["name"], row["metric"]): row for row in (*kept, *new)}
    ordered = [merged[key] for key in sorted(merged, key=_natural)]
    content = [{field: row[field] for field in FIELDS} for row in ordered]
    text = json.dumps({"title": title, "rows": content}, indent=2, ensure_ascii=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_text(path, text + "\n")
    return Table(title, content)


def _check_unique(rows: Sequence[Row]) -> None:
    keys = [(row["name"], row["metric"]) for row in rows]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise TableError(f"(name, metric): expected each once; got {twice[0]} more than once")


def _natural(key: tuple[str, str]) -> list[list[tuple[int, str]]]:
    """Sorts "TSP20" before "TSP100"."""

    def parts(text: str) -> list[tuple[int, str]]:
        pieces = re.split(r"(\d+)", text)
        return [(int(piece), "") if piece.isdigit() else (-1, piece) for piece in pieces]

    return [parts(text) for text in key]
