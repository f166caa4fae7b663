"""Result rows: what a table or figure is made from."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.runner.workdir import replace_text

Row = dict[str, Any]
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


def machine() -> str:
    """Returns the machine in a few words: devices as jax sees them, or the number of cores."""
    import jax

    device = jax.devices()[0]
    if device.platform == "cpu":
        return f"CPU, {os.cpu_count()} cores, {platform.machine()}"
    return f"{jax.device_count()} x {device.device_kind}"


def commit() -> str:
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
    from experiments.report.table import mean_interval

    joined = []
    for rows in zip(*each, strict=True):
        keys = {(row["name"], row["metric"]) for row in rows}
        if len(keys) != 1:
            raise ValueError(f"rows of different seeds do not match: {sorted(keys)}")
        interval = mean_interval([row["value"] for row in rows])
        joined.append({**rows[0], **interval._asdict(), "unit": "seed"})
    return joined


def read(path: Path) -> dict[str, Any]:
    """Returns what `write` wrote, or an empty dict if there is no such file."""
    return json.loads(path.read_text()) if path.exists() else {}


def write(path: Path, title: str, rows: Sequence[Row], **more: Any) -> None:
    """Writes `{"title", "rows", **more}` as JSON, replacing the file at once.

    Raises:
      ValueError: two rows have the same name and metric.
    """
    keys = [(row["name"], row["metric"]) for row in rows]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise ValueError(f"result rows: (name, metric) is not unique: {twice}")
    replace_text(path, json.dumps({"title": title, **more, "rows": list(rows)}, indent=2) + "\n")
