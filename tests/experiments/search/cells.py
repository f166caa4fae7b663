"""Runs a cell of a table here, as `experiments.report --fill` has it run in a process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from experiments import run
from experiments.report import sweep
from experiments.report.rows import Row
from experiments.report.sweep import Cell, Table, Workdirs


def ended(folder: Path, cells: dict[str, Cell]) -> Workdirs:
    """Runs the cells; their folders by name."""
    for job in sweep.plan(Table("some", cells), [], [], folder):
        assert run.main([*job.words, "--quiet"]) == 0
    return sweep.finished(sweep.plan(Table("some", cells), [], [], folder))


def changed(table: Table, name: str, **changes: Any) -> Cell:
    """A cell with other settings; `tree__c` is `tree.c`."""
    dotted = {key.replace("__", "."): value for key, value in changes.items()}
    cell = table.cells[name]
    return cell._replace(changes={**cell.changes, **dotted})


def by_metric(rows: list[Row]) -> dict[str, float]:
    """Values by metric, of rows of one name."""
    assert len({row["name"] for row in rows}) == 1
    return {row["metric"]: row["value"] for row in rows}
