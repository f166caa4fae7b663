"""A table is a sweep: cells that are runs of `experiments.run`, and rows that are made from them.

    TABLES = {"search/synthetic": Table(
        "Test functions: the best value after so many evaluations",
        {"ackley20-turbo": Cell("search/synthetic:ackley20,paper", {"method": "turbo"})},
        rows=...,
    )}

stands in `experiments/GROUP/tables.py`; `python -m experiments.report --fill search/synthetic`
makes the runs that are missing, each by its own command in its own folder, and writes the rows. A
run's folder is named by what identifies the run, so tables that need the same run share it. Runs
keep and resume themselves: a sweep that is killed goes on where its runs were, and holds nothing
itself.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import fnmatch
import importlib
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from experiments.report.processes import Children, started
from experiments.report.rows import Row, TableError, complete, from_run
from experiments.report.table import read_table, table_path, write_table
from experiments.runner import config as configs
from experiments.runner.checks import ConfigError, UserError, flatten, nearest
from experiments.runner.command import command_line
from experiments.runner.workdir import CONFIG, RESULTS, check_identity, read_results

ROOT = Path(__file__).resolve().parents[2]
RUN = "experiments.run"
Workdirs = Mapping[str, Path]  # of a table's finished cells, by the cell's name


class Folder(NamedTuple):
    """A value of a cell's `changes`: the folder of another cell, which is run first."""

    cell: str


class Cell(NamedTuple):
    """A run of a table.

    Attributes:
      config: as `--config` takes it.
      changes: values by dotted key, as `--config.KEY=VALUE`; `num_seeds` is among them. A `Folder`
        is that of an earlier cell, and whoever asks for this cell asks for that one.
      flags: further words of `experiments.run`, such as `--cpu_devices=2`.
      needs: other cells whose folders its rows read; whoever asks for it asks for them.
    """

    config: str
    changes: Mapping[str, Any] = {}
    flags: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()


def own_rows(name: str, workdirs: Workdirs) -> list[Row]:
    """The rows that the cell's run wrote; a single one is called by the cell's name."""
    found = read_results(workdirs[name] / RESULTS)["rows"]
    names = {row["name"] for row in found}
    return [{**row, "name": name} for row in found] if len(names) == 1 else list(found)


class Table(NamedTuple):
    """A table of results.

    Attributes:
      title: of its file.
      cells: its runs by name, in the order in which they are made.
      rows: `(name, workdirs) -> rows` of a cell, from its own folder and those of the finished
        others (a gap needs the optimum's); what the run's results.json knows (command's machine,
        commit, seconds, seeds) is filled in.
      draw: `(rows, workdirs, folder) -> paths` of its pictures, made from all rows of the table's
        file, and from the folders of the finished cells where curves are drawn.
    """

    title: str
    cells: Mapping[str, Cell]
    rows: Callable[[str, Workdirs], Iterable[Row]] = own_rows
    draw: Callable[[Sequence[Row], Workdirs, Path], Iterable[Path]] | None = None


class Job(NamedTuple):
    """A cell as it is run: its checked config, its folder, its command, the cells that it reads."""

    name: str
    config: ConfigDict
    workdir: Path
    words: tuple[str, ...]
    after: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        return command_line(RUN, self.words)

    @property
    def is_done(self) -> bool:
        """Whether its run has ended, at the number of steps that is asked for."""
        found = read_results(self.workdir / RESULTS)
        return found.get("steps", found.get("step")) == self.config.steps

    @property
    def state(self) -> str:
        if self.is_done:
            return "done"
        return "begun" if (self.workdir / CONFIG).exists() else "missing"


class Filled(NamedTuple):
    """What `fill` came to: the rows of all finished cells, and why others failed, a line each."""

    rows: list[Row]
    failed: list[str]


def tables() -> dict[str, Table]:
    """Every table that is declared, by `GROUP/TABLE`."""
    found: dict[str, Table] = {}
    for path in sorted(ROOT.glob("experiments/*/tables.py")):
        module = importlib.import_module(f"experiments.{path.parent.name}.tables")
        found |= getattr(module, "TABLES", {})
    return found


def find(name: str) -> Table:
    """The table called `GROUP/TABLE`.

    Raises:
      TableError: there is none; the message lists those there are.
    """
    known = tables()
    if name in known:
        return known[name]
    near = nearest(name, known)
    hint = f"; did you mean {near}?" if near else ""
    raise TableError(f"--fill: expected one of {', '.join(known)}; got {name!r}{hint}")


def plan(
    table: Table,
    only: Sequence[str],
    overrides: Sequence[tuple[str, str]],
    folder: Path,
) -> list[Job]:
    """The cells that are asked for, and those that they need, their configs loaded and checked.

    Args:
      table: whose.
      only: patterns of cells' names; none for all.
      overrides: `--config.KEY=VALUE`, for each cell whose config has the key.
      folder: where runs have theirs.

    Raises:
      TableError: a pattern that matches no cell.
      ConfigError: a cell's config cannot be used, or no cell has an override's key.
      WorkdirError: a cell's folder holds another run.
    """
    asked = {n for n in table.cells if not only or any(fnmatch.fnmatch(n, o) for o in only)}
    while more := {o for n in asked & set(table.cells) for o in _needed(table.cells[n])} - asked:
        asked |= more
    names = [n for n in table.cells if n in asked]
    for pattern in only:
        if not fnmatch.filter(table.cells, pattern):
            near = nearest(pattern, table.cells)
            hint = f"; did you mean {near}?" if near else f": {', '.join(table.cells)}"
            raise TableError(f"--only: expected names of cells, got {pattern!r}{hint}")
    used: set[str] = set()
    jobs: list[Job] = []
    for name in names:
        cell, folders = table.cells[name], {job.name: job.workdir for job in jobs}
        after = tuple(v.cell for v in cell.changes.values() if isinstance(v, Folder))
        changes = {
            key: str(folders[value.cell] if isinstance(value, Folder) else value)
            for key, value in cell.changes.items()
        }
        known = flatten(configs.load(cell.config))
        changes |= {key: value for key, value in overrides if key in known}
        used |= {key for key, _ in overrides if key in known}
        config = configs.load(cell.config, list(changes.items()))
        stem = cell.config.replace("/", "-").replace(":", "-").replace(",", "-")
        workdir = folder / f"{stem}-{config.steps}-{configs.digest(config)[:8]}"
        changed = [f"--config.{key}={value}" for key, value in changes.items()]
        words = [f"--config={cell.config}", f"--workdir={workdir}", *changed, *cell.flags]
        check_identity(workdir, config)
        jobs.append(Job(name, config, workdir, tuple(words), after))
    for key, _ in overrides:
        if key not in used:
            raise ConfigError(f"--config.{key}", "a key that a cell's config has", key)
    return jobs


def _needed(cell: Cell) -> tuple[str, ...]:
    read = (value.cell for value in cell.changes.values() if isinstance(value, Folder))
    return (*cell.needs, *read)


def fill(
    name: str,
    jobs: Sequence[Job],
    *,
    workers: int,
    path: Path,
    say: Callable[[str], None] = print,
) -> Filled:
    """Makes the runs that are missing, some at a time, and writes the rows after each.

    Args:
      name: of the table, `GROUP/TABLE`.
      jobs: from `plan`.
      workers: runs at once, each on its own core where there are several.
      path: of the table's file.
      say: takes a line at a time.

    Raises:
      KeyboardInterrupt: the runs have been told to save, and have ended.
    """
    table = find(name)
    runs = {job.workdir: job for job in reversed(jobs)}  # a run that several cells need, once
    todo = [job for job in reversed(runs.values()) if not job.is_done]
    by_name = {job.name: job for job in jobs}
    lock, failed = threading.Lock(), list[str]()
    rows = write(name, table, jobs, path)

    def ended(job: Job, code: int, seconds: float) -> None:
        with lock:
            if code or not job.is_done:
                failed.append(f"{job.name}: {_last_line(job)} (see {_log(job)})")
                say(f"{job.name}: failed")
                return
            say(f"{job.name}: done in {seconds:.0f} s")
            rows[:] = write(name, table, jobs, path)

    with Children() as children, concurrent.futures.ThreadPoolExecutor(workers) as pool:
        cores: queue.Queue[int] = queue.Queue()
        for core in range(workers):
            cores.put(core)

        def one(job: Job) -> None:
            core, since = cores.get(), time.monotonic()
            try:
                if not children.stopping:
                    code = children.run([*started(core, workers), *_python(job)], _log(job))
                    if not children.stopping:
                        ended(job, code, time.monotonic() - since)
            finally:
                cores.put(core)

        while todo:
            ready = [job for job in todo if all(by_name[n].is_done for n in job.after)]
            failed += [f"{j.name}: what it reads has failed" for j in todo if not ready]
            todo = [job for job in todo if ready and job not in ready]
            list(pool.map(one, ready))
            if children.stopping:
                raise KeyboardInterrupt
    return Filled(rows, failed)


def write(name: str, table: Table, jobs: Sequence[Job], path: Path) -> list[Row]:
    """Writes the rows of the finished cells into the table's file; returns them.

    Raises:
      TableError: a row is not as agreed; the file stays as it was.
    """
    done = {job.name: job for job in jobs if job.is_done}
    workdirs = finished(jobs)
    rows: list[Row] = []
    for cell, job in done.items():
        ended = read_results(job.workdir / RESULTS)
        known = {key: ended.get(key) for key in ("machine", "commit", "seconds", "seeds")}
        known |= {"command": recorded_command(name, cell), "config": _described(job)}
        own = {"command": known["command"], "config": known["config"]}
        rows += [from_run(complete({**row, **own}, known)) for row in table.rows(cell, workdirs)]
    if rows:
        write_table(path, table.title, rows, whole=True)
    return rows


def finished(jobs: Sequence[Job]) -> Workdirs:
    """Folders of the cells whose runs have ended, by name."""
    return {job.name: job.workdir for job in jobs if job.is_done}


def recorded_command(name: str, cell: str) -> str:
    """The command by which a cell's rows are measured again."""
    return command_line("experiments.report", ("--fill", name, "--only", cell))


def check_record(name: str, overrides: Sequence[tuple[str, str]]) -> None:
    """Refuses to record what the table's own command would not measure again.

    Raises:
      UserError: settings were overridden.
    """
    if overrides:
        changed = " ".join(f"--config.{key}={value}" for key, value in overrides)
        raise UserError(
            f"--record: expected the cells as {name} declares them, got {changed}; "
            "without --record the rows go into the folder of the runs"
        )


def listing(name: str, jobs: Sequence[Job]) -> str:
    """What a table needs, what is there, and what each cell took when it was recorded."""
    path = table_path(name)
    recorded = read_table(path).rows if path.exists() else []
    width = max((len(job.name) for job in jobs), default=0)
    lines = []
    for job in jobs:
        mine = recorded_command(name, job.name)
        seconds = [row["seconds"] for row in recorded if row["command"] == mine]
        took = f"{max(seconds) / 60:.1f} min" if seconds else "not recorded"
        lines.append(f"{job.name:{width}}  {job.state:8} {took:>13}  {job.command}")
    return "\n".join(lines)


def _described(job: Job) -> str:
    """The cell's config and changes, as a row says them."""
    words = [word.removeprefix("--config.") for word in job.words if word.startswith("--config.")]
    return " ".join([job.words[0].removeprefix("--config="), *words])


def _log(job: Job) -> Path:
    return job.workdir.with_name(job.workdir.name + ".log")


def _last_line(job: Job) -> str:
    with contextlib.suppress(OSError):
        lines = [line for line in _log(job).read_text().splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith(("error:", "stopped:"))]
        return (errors or lines or ["no output"])[-1]
    return "no output"


def _python(job: Job) -> list[str]:
    return [sys.executable, "-m", RUN, *job.words, "--quiet"]
