"""Result rows: what a table or figure is made from."""

from __future__ import annotations

import math
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.report.interval import mean_interval
from experiments.runner.checks import UserError

Row = dict[str, Any]
UNITS = ("seed", "instance", "round")  # a round is one of a benchmark's, in turns with its peer
COMMANDS = ("python -m experiments.", "make ")
FIELDS = (
    "name",
    "metric",
    "value",
    "low",
    "high",
    "n",
    "unit",
    "reference",
    "source",
    "command",
    "config",
    "seeds",
    "machine",
    "commit",
    "seconds",
)


class TableError(UserError):
    """A results file, or a row for one, that is not as agreed; the message names row and field."""


def here() -> str:
    """Returns the machine in a few words: devices as jax sees them, or the number of cores."""
    import jax

    device = jax.devices()[0]
    if device.platform == "cpu":
        return f"CPU, {os.cpu_count()} cores, {platform.machine()}"
    return f"{jax.device_count()} x {device.device_kind}"


def checkout() -> str:
    """Returns the checkout's commit, with "+" if files differ from it; empty outside a checkout."""
    root = Path(__file__).resolve().parents[2]

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def complete(row: Row, known: Row) -> Row:
    """Returns the row with all fields, absent ones taken from `known` or None.

    Raises:
      ValueError: `name`, `metric` or `value` is missing, or there is a field that rows do not have.
    """
    for field in ("name", "metric", "value"):
        if row.get(field) is None:
            raise ValueError(f"result row {row}: expected a {field}, got none")
    unknown = sorted(set(row) - set(FIELDS))
    if unknown:
        raise ValueError(
            f"result row {row['name']!r}: unknown fields {unknown}; rows have {FIELDS}"
        )
    filled = {field: known.get(field) for field in FIELDS}
    return filled | {field: value for field, value in row.items() if value is not None}


def over_seeds(each: Sequence[Sequence[Row]]) -> list[Row]:
    """Joins the rows of several seeds: mean and 95% t-interval over seeds, by name and metric.

    Args:
      each: the rows of each seed; all seeds give the same (name, metric) pairs in the same order.
    """
    joined = []
    for rows in zip(*each, strict=True):
        keys = {(row["name"], row["metric"]) for row in rows}
        if len(keys) != 1:
            raise ValueError(f"rows of different seeds do not match: {sorted(keys)}")
        interval = mean_interval([row["value"] for row in rows])
        joined.append({**rows[0], **interval._asdict(), "unit": "seed"})
    return joined


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
