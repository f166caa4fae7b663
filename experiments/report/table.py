"""Recorded results: `experiments/results/GROUP/TABLE.json`, one file a table.

A file is `{"title", "rows": [row, ...]}`; a row says what was measured, with which interval, over
how many seeds or instances, and the command that measures it again (`rows.FIELDS`). Tables in
README files and figures are made from these files only. (name, metric) is unique in a file, so a
command that is run again replaces its own rows.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from experiments.report.rows import FIELDS, Row, TableError, check_row, from_run
from experiments.runner.workdir import replace_text

RESULTS = Path(__file__).parents[1] / "results"


class Table(NamedTuple):
    """A results file."""

    title: str
    rows: list[Row]


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
    content = [{field: row[field] for field in FIELDS} for row in in_order([*merged.values()])]
    text = json.dumps({"title": title, "rows": content}, indent=2, ensure_ascii=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_text(path, text + "\n")
    return Table(title, content)


def _check_unique(rows: Sequence[Row]) -> None:
    keys = [(row["name"], row["metric"]) for row in rows]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise TableError(f"(name, metric): expected each once; got {twice[0]} more than once")


def natural(text: str) -> list[tuple[float, str]]:
    """Sorts "TSP20" before "TSP100", and "T1.25" before "T1.5"."""
    pieces = re.split(r"(\d+(?:\.\d+)?)", text)
    return [(float(piece), "") if piece[:1].isdigit() else (-1.0, piece) for piece in pieces]


def in_order(rows: Sequence[Row]) -> list[Row]:
    """Rows by name, then metric, numbers inside them by size."""
    return sorted(rows, key=lambda row: (natural(row["name"]), natural(row["metric"])))
