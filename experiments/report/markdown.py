"""Markdown tables of result rows, and the ones that live inside README files.

In a README, a table stands between two comments and is never edited by hand:

    <!-- table: nco/tsp only=tsp20-greedy,tsp20-or_* name tour_length gap_percent n -->
    ...
    <!-- /table -->

`only=` chooses names by patterns, in their order; without it all rows of the table are shown.
After the table's name come its columns: fields of a row (`name metric value n reference ...`), or
metrics, which then make one line a name; a metric's own field is called `gap_percent.n`. A number
over one instance, which has no interval, says so where no column does. `python -m
experiments.report --tables` writes them anew from `experiments/results/nco/tsp.json`.
"""

import fnmatch
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.report import table as results_table
from experiments.report.rows import FIELDS, Row, TableError
from experiments.runner.workdir import replace_text

_ONLY = "only="
DEFAULT_COLUMNS = ("name", "metric", "value", "n", "reference", "source")
_HEADINGS = {"name": "", "value": "value (95% interval)", "commit": "commit", "n": "n"}
_NUMERIC = ("value", "low", "high", "n", "reference", "seconds")
_BLOCK = re.compile(
    r"^(?P<open><!-- table: (?P<spec>[^\n]*?) -->)\n(?P<body>.*?)(?P<close>^<!-- /table -->)",
    re.DOTALL | re.MULTILINE,
)
_MARKER = re.compile(r"^<!-- (?:table: [^\n]*|/table) -->$", re.MULTILINE)
# Where READMEs may be: the root, the rooms and their folders; never an environment or a run.
_PLACES = ("README.md", "*/README.md", "*/*/README.md", "*/*/*/README.md")


def format_number(value: float, low: float | None = None, high: float | None = None) -> str:
    """A number with the digits that its interval justifies: two significant ones of the half-width.

    Without an interval (low = high = value), whole numbers are written out and others get at most
    four significant digits. An interval that is lopsided by more than a tenth is given by its ends.

    >>> format_number(3.84321, 3.83, 3.85642)
    '3.843 ± 0.013'
    >>> format_number(10.0, 9.0, 15.0)
    '10.0 (9.0 to 15.0)'
    >>> format_number(1234567)
    '1,234,567'
    """
    low = value if low is None else low
    high = value if high is None else high
    half = max(value - low, high - value)
    half = 0.0 if half < 1e-12 * abs(value) else half  # the rounding of a sum
    power = _power(max(abs(value), half))
    if power:
        scale = 10.0**power
        inside = format_number(value / scale, low / scale, high / scale)
        return f"({inside})e{power}" if "±" in inside else f"{inside}e{power}"
    if half == 0:
        if float(value).is_integer():
            return f"{value:,.0f}"
        text = _fixed(value, max(0, 3 - math.floor(math.log10(abs(value)))))
        return text.rstrip("0").rstrip(".") if "." in text else text
    decimals = 1 - math.floor(math.log10(half))
    decimals = 1 - math.floor(math.log10(round(half, decimals)))  # 0.0996 has become 0.10
    if abs((high - value) - (value - low)) > 0.1 * half:
        ends = f"{_fixed(low, decimals)} to {_fixed(high, decimals)}"
        return f"{_fixed(value, decimals)} ({ends})"
    return f"{_fixed(value, decimals)} ± {_fixed(half, decimals)}"


def _power(size: float) -> int:
    """The power of ten to take out, where a number is too long to read without."""
    if size == 0 or 1e-3 <= size < 1e7:
        return 0
    return math.floor(math.log10(size))


def _fixed(value: float, decimals: int) -> str:
    text = f"{round(value, decimals):,.{max(decimals, 0)}f}"
    return text.removeprefix("-") if not re.search("[1-9]", text) else text  # no "-0.0"


def markdown(rows: Sequence[Row], columns: Sequence[str] = ()) -> str:
    """A markdown table of result rows.

    Args:
      rows: as `results_table.read_table` gives them.
      columns: names of fields, one line a row; or of metrics too, one line a name, and then the
        fields have to be the same in all rows of a name, but for those of one metric, such as
        `tour_length.n`. By default name, metric, value, n, and
        reference and source where there are any.

    Raises:
      TableError: a column that is neither a field nor a metric of these rows, or a field that
        differs between the rows of a name.
    """
    chosen = list(columns) or [
        column
        for column in DEFAULT_COLUMNS
        if column not in ("reference", "source")
        or any(row[column] not in (None, "") for row in rows)
    ]
    metrics = {row["metric"] for row in rows}
    for column in chosen:
        metric, _, field = column.partition(".")
        if column not in FIELDS and (metric not in metrics or field not in ("", *FIELDS)):
            known = ", ".join((*FIELDS, *sorted(metrics)))
            raise TableError(f"columns: expected some of {known}; got {column!r}")
    if any(column not in FIELDS for column in chosen):
        lines = [_line_of_name(rows, name, chosen) for name in _in_order(rows)]
    else:
        lines = [
            [(_valued(row, c, chosen) if c == "value" else cell(row, c)) for c in chosen]
            for row in rows
        ]
    fields = [column.rpartition(".")[2] for column in chosen]
    headings = [_HEADINGS.get(field, field.replace("_", " ")) for field in fields]
    rule = ["---:" if field in _NUMERIC or field not in FIELDS else "---" for field in fields]
    return grid(headings, lines, rule)


def grid(
    headings: Sequence[str], lines: Sequence[Sequence[str]], rule: Sequence[str] = ("---",)
) -> str:
    """A markdown table of cells; the columns that the rule leaves out are of numbers."""
    rule = [*rule, *["---:"] * (len(headings) - len(rule))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (headings, rule, *lines))


def best_points(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Where each seed of a search found its best value, a line a seed, with six digits.

    Args:
      found: as `best` of a run's results.json, which has all digits.
    """
    return [
        f"seed {each['seed']}: best {each['value']:.6g}, trial {each['trial']}, "
        f"point {_six_digits(each['point'])}"
        for each in found
    ]


def _six_digits(point: Any) -> Any:
    if isinstance(point, list):
        return [_six_digits(each) for each in point]
    return float(f"{point:.6g}") if isinstance(point, float) else point


def _in_order(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row["name"] for row in rows))


def _line_of_name(rows: Sequence[Row], name: str, columns: Sequence[str]) -> list[str]:
    own = {row["metric"]: row for row in rows if row["name"] == name}
    shown = [own[column] for column in columns if column in own]
    cells = []
    for column in columns:
        metric, _, field = column.partition(".")
        if column not in FIELDS:
            row = own.get(metric)
            cells.append("" if row is None else _valued(row, field or "value", columns))
            continue
        found = {cell(row, column) for row in shown}
        if len(found) > 1:
            raise TableError(f"columns: {column} differs between the metrics of {name!r}")
        cells.append(found.pop() if found else _escape(name) if column == "name" else "")
    return cells


def _valued(row: Row, column: str, columns: Sequence[str]) -> str:
    """A metric's cell; a value that is no mean of several tells so, unless a column has n."""
    text = cell(row, column)
    if column == "n" and row["unit"] == "instance":
        return text.split()[0]
    counted = {"n", f"{row['metric']}.n"} & set(columns)
    return f"{text} (n = 1)" if column == "value" and row["n"] == 1 and not counted else text


def cell(row: Row, column: str) -> str:
    """A field of a row as a cell of a table shows it."""
    value = row[column]
    if value is None:
        return ""
    if (
        column == "value" and row["unit"] == "round" and row["n"] > 1
    ):  # a range over rounds, no interval of a mean
        return f"{value:#.3g} ({row['low']:#.3g} to {row['high']:#.3g})"
    if column == "value":
        return format_number(value, row["low"], row["high"])
    if column == "n":
        return f"{value:,} {row['unit']}{'s' if value != 1 else ''}"
    if column in ("command", "config", "commit"):
        return f"`{_escape(value)}`" if value else ""
    if column == "seconds":
        return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"
    if isinstance(value, float):
        return format_number(value)
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return _escape(str(value))


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def render(text: str, results: Path = results_table.RESULTS) -> str:
    """A README's text with every table in it made anew.

    Raises:
      TableError: a table that is not in `results`, a column that it does not have, or a comment
        that opens without closing.
    """
    whole = {match.start("open") for match in _BLOCK.finditer(text)}
    whole |= {match.start("close") for match in _BLOCK.finditer(text)}
    for marker in _MARKER.finditer(text):
        if marker.start() not in whole:
            raise TableError(f"{marker[0]}: expected both an opening and a closing comment")

    def replace(match: re.Match[str]) -> str:
        if _MARKER.search(match["body"]):
            raise TableError(f"{match['open']}: expected {match['close']} before the next table")
        name, *columns = match["spec"].split()
        path = results / results_table.table_path(name).relative_to(results_table.RESULTS)
        if not path.exists():
            known = sorted(str(found.relative_to(results)) for found in results.glob("*/*.json"))
            raise TableError(f"table {name!r}: expected one of {', '.join(known)}")
        rows = results_table.read_table(path).rows
        for word in [word for word in columns if word.startswith(_ONLY)]:
            columns.remove(word)
            rows = _only(rows, word.removeprefix(_ONLY).split(","))
        table = markdown(rows, columns)
        return f"{match['open']}\n{table}\n{match['close']}"

    return _BLOCK.sub(replace, text)


def _only(rows: Sequence[Row], patterns: Sequence[str]) -> list[Row]:
    """The rows whose names fit, in the order of the patterns."""
    chosen: list[Row] = []
    for pattern in patterns:
        fitting = [row for row in rows if fnmatch.fnmatch(row["name"], pattern)]
        if not fitting:
            raise TableError(f"{_ONLY}{pattern}: expected a pattern of some names; it fits none")
        chosen += [row for row in fitting if row not in chosen]
    return chosen


def readmes(root: Path) -> Iterator[Path]:
    """The README files of a checkout."""
    for pattern in _PLACES:
        for path in sorted(root.glob(pattern)):
            parts = path.relative_to(root).parts
            if not any(part.startswith(".") or part in ("runs", "node_modules") for part in parts):
                yield path


def update(root: Path, results: Path | None = None, *, write: bool = True) -> list[Path]:
    """Bring the tables of all READMEs up to date; returns the files that were not.

    Args:
      root: the checkout.
      results: the folder of the results, by default the checkout's own.
      write: False only looks.

    Raises:
      TableError: see `render`; the message names the README.
    """
    folder = results or root / "experiments" / "results"
    changed = []
    for path in readmes(root):
        text = path.read_text(encoding="utf-8")
        try:
            rendered = render(text, folder)
        except TableError as error:
            raise TableError(f"{path.relative_to(root)}: {error}") from error
        if rendered != text:
            changed.append(path)
            if write:
                replace_text(path, rendered)
    return changed
