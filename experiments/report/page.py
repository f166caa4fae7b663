"""A group's page of results, `experiments/results/GROUP/README.md`: every row that is recorded.

`python -m experiments.report --tables` writes it from the files beside it. `TABLE.json` has the
rows; `page.toml` says what they compare, what is to be said of them, and in which order.
"""

from __future__ import annotations

import fnmatch
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from experiments.report.figures import words
from experiments.report.markdown import cell, grid
from experiments.report.rows import Row, TableError
from experiments.report.table import natural, read_table
from experiments.runner.workdir import replace_text

INTRO = """# Results: {group}

Every recorded row; `python -m experiments.report --tables` writes this from the files beside it. A
value has its 95% interval, over n seeds or instances; a range in brackets is over rounds. An arrow
says which way is better, and **bold** is the best mean of a comparison, which need not be told
apart from the next. A `.json` file has each row's name, command, config, seeds, machine and commit.
After a table's command, `--list` shows its cells and `--only CELL` makes one."""


class Page(NamedTuple):
    """What `page.toml` says of a table, which it describes at its head."""

    note: str = ""
    by: str = r"(?:(?P<group>[^-]+)-)?(?P<line>.+)"
    best: Mapping[str, str] = {}
    bounds: Sequence[str] = ()
    pictures: Mapping[str, str] = {}


class Line(NamedTuple):
    """The rows of a name, by metric, and where they stand; `short` is the name within its group."""

    table: str
    group: str
    name: str
    short: str
    rows: dict[str, Row]


def update(root: Path, *, write: bool = True) -> list[Path]:
    """Bring the pages of a checkout up to date, or only look; returns those that were not.

    Raises:
      TableError: a file is not as agreed, or a picture is of no table.
    """
    changed = []
    for folder in sorted({path.parent for path in root.glob("experiments/results/*/*.json")}):
        path, text = folder / "README.md", render(folder)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            changed.append(path)
            if write:
                replace_text(path, text)
    return changed


def render(folder: Path) -> str:
    """The page of one folder of results."""
    file, said = folder / "page.toml", {}
    try:
        for stem, fields in tomllib.loads(file.read_text() if file.exists() else "").items():
            said[stem] = Page(**fields)
    except (TypeError, ValueError) as error:
        raise TableError(f"{file}: {error}") from error
    sections, left = [INTRO.format(group=folder.name)], {p.name for p in folder.glob("*.png")}
    known = sorted(path.stem for path in folder.glob("*.json"))
    for stem in dict.fromkeys([*(stem for stem in said if stem in known), *known]):
        table, page = read_table(folder / f"{stem}.json"), said.get(stem, Page())
        sections += [f"## {table.title}", *([page.note.strip()] if page.note else [])]
        sections += [_made(table.rows), *tables(table.rows, page)]
        sections += [f"![{page.pictures[p]}]({p})" for p in page.pictures if p in left]
        left -= set(page.pictures)
    if left:
        raise TableError(f"{file}: pictures: expected {', '.join(sorted(left))} among some table's")
    return "\n\n".join(sections) + "\n"


def _made(rows: Sequence[Row]) -> str:
    """The command that makes a table, how long it took and where."""
    took = {row["command"]: row["seconds"] for row in sorted(rows, key=lambda row: row["seconds"])}
    short = (re.sub(r"( --fill \S+) --only .*", r"\1", row["command"]) for row in rows)
    seconds, machines = sum(took.values()), sorted({row["machine"] for row in rows})
    time = f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:,.0f} min"
    text = "\n".join(f"    {command}" for command in dict.fromkeys(short))
    return f"{text}\n\n{time} in all, on {' and '.join(machines)}."


def tables(rows: Sequence[Row], page: Page) -> Iterator[str]:
    """The tables of a file's rows in markdown, each with its heading and its sources."""
    lines = _lines(rows, page)
    for table in dict.fromkeys(line.table for line in lines):
        mine = [line for line in lines if line.table == table]
        if table:
            yield f"### {table}"
        yield _table(mine, page)
        sources = {row["source"] for line in mine for row in line.rows.values()} - {""}
        if sources:
            yield f"Sources: {'; '.join(sorted(sources, key=natural))}."


def _lines(rows: Sequence[Row], page: Page) -> list[Line]:
    """A line a name, in the order of tables, groups and names."""
    lines: dict[str, Line] = {}
    for row in rows:
        match = re.fullmatch(page.by, row["name"])
        parts = match.groupdict() if match else {}
        table, group, short = (parts.get(part) or "" for part in ("table", "group", "line"))
        line = lines.setdefault(row["name"], Line(table, group, row["name"], short, {}))
        line.rows[row["metric"]] = row
    return sorted(lines.values(), key=lambda line: [natural(part) for part in line[:3]])


def _table(lines: Sequence[Line], page: Page) -> str:
    """One table; of more metrics than names, a line a metric."""
    groups, several = [line.group for line in lines], len({line.group for line in lines}) > 1
    names = [line.name for line in lines]
    if several:
        places = {(line.group, line.short) for line in lines if line.short}
        names = [line.short for line in lines] if len(places) == len(lines) else names
    columns = [("", names)]
    metrics = _metrics(lines, page)
    alike = all(len({(r["n"], r["unit"]) for r in line.rows.values()}) == 1 for line in lines)
    for metric in metrics:
        columns += _columns(metric, lines, page, with_n=not alike)
    if alike:
        columns.append(("n", [cell(next(iter(line.rows.values())), "n") for line in lines]))
    if several:
        columns.insert(0, ("", [g * (groups[:i][-1:] != [g]) for i, g in enumerate(groups)]))
    elif len(metrics) > len(lines):
        return grid(["", *names], [[heading, *cells] for heading, cells in columns[1:]])
    headings, cells = zip(*columns, strict=True)
    return grid(headings, [*zip(*cells, strict=True)], ["---"] * (1 + several))


def _metrics(lines: Sequence[Line], page: Page) -> list[str]:
    """Those that are compared first, then those with a reference, then the others by name."""
    rows = [row for line in lines for row in line.rows.values()]
    every = sorted({row["metric"] for row in rows}, key=natural)
    cited = {row["metric"] for row in rows if row["reference"] is not None}
    compared = [metric for pattern in page.best for metric in fnmatch.filter(every, pattern)]
    return list(dict.fromkeys([*compared, *sorted(cited), *every]))


def _columns(
    metric: str, lines: Sequence[Line], page: Page, *, with_n: bool
) -> Iterator[tuple[str, list[str]]]:
    """Headings and cells of a metric: its value, its n where they differ, the reference."""
    rows = [line.rows.get(metric) for line in lines]
    there = [row for row in rows if row is not None]
    way = next((way for each, way in page.best.items() if fnmatch.fnmatch(metric, each)), "")
    best = _best(metric, lines, page, way) if way else set()
    values = ["" if row is None else cell(row, "value") for row in rows]
    bold = [f"**{text}**" if i in best else text for i, text in enumerate(values)]
    yield words(metric) + {"least": " ↓", "most": " ↑"}.get(way, ""), bold
    if with_n:
        units = {row["unit"] for row in there}
        plain = len(units) == 1
        counts = ["" if r is None else f"{r['n']:,}" if plain else cell(r, "n") for r in rows]
        yield f"n ({units.pop()}s)" if plain else "n", counts
    cited = [row["source"] for row in there if row["reference"] is not None]
    if cited:
        is_thesis = all("Pham 2021" in source or "Wang 2022" in source for source in cited)
        cells = ["" if row is None else cell(row, "reference") for row in rows]
        yield "the thesis" if is_thesis else "reference", cells


def _best(metric: str, lines: Sequence[Line], page: Page, way: str) -> set[int]:
    """Places of the best values of a metric in each group, where most others are not as good."""
    compared: dict[str, dict[int, float]] = {}
    for place, line in enumerate(lines):
        is_bound = any(fnmatch.fnmatch(line.name, pattern) for pattern in page.bounds)
        if metric in line.rows and not is_bound:
            compared.setdefault(line.group, {})[place] = line.rows[metric]["value"]
    best, extreme = set[int](), min if way == "least" else max
    for values in compared.values():
        places = {i for i, value in values.items() if value == extreme(values.values())}
        best |= places if 2 * len(places) <= len(values) else set()
    return best
