"""Fills tables of results by runs, reports on runs, and writes the pages of results.

    python -m experiments.report --fill                     # the tables that there are
    python -m experiments.report --fill mpl/ssl --list      # what a table needs, and what is there
    python -m experiments.report --fill mpl/ssl --jobs 2    # its runs; its rows, in runs/mpl
    python -m experiments.report --fill mpl/ssl --only uda --config.num_seeds=2 --config.steps=500
    python -m experiments.report runs/a runs/b    # a report on runs, in runs/report/report.md
    python -m experiments.report runs/a --record nco/demo   # their result rows, into results/
    python -m experiments.report --tables         # the pages of results/, every README's tables
    python -m experiments.report --tables --check # only tell whether they are up to date

A table is filled by runs of `experiments.run`. Each run has a folder of its own below `--runs`, is
made once, and goes on where it was stopped when the same command is given again. Rows go into
RUNS/TABLE.json, with --record into experiments/results. The minutes of a cell are those that its
recorded rows took.

In a report on runs, those whose configs differ in nothing but the random seed are averaged, with
the 95% interval of their mean; results are listed run by run.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from experiments.report import curves, figures, page, sweep
from experiments.report import markdown as markdown_tables
from experiments.report import rows as result_rows
from experiments.report import table as results_table
from experiments.report.curves import Curve, Group, ReportError, Run
from experiments.runner.command import FAILED, Parser, a_path, command, take_overrides, whole
from experiments.runner.workdir import replace_text

ROOT = Path(__file__).resolve().parents[2]


@command
def main(arguments: Sequence[str]) -> int:
    """Run the command line; returns the exit status."""
    options = parse(arguments)
    if options.fill is not None:
        return fill(options)
    if options.tables:
        return tables(ROOT, check=options.check)
    try:
        if options.record:
            print(record(options.workdirs, results_table.table_path(options.record), options.title))
            return 0
        for path in write_report(options.workdirs, options.out, draw=not options.no_figures):
            print(path)
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    return 0


def parse(given: Sequence[str]) -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser("experiments.report", __doc__)
    add = parser.add_argument
    add("workdirs", metavar="WORKDIR", nargs="*", type=a_path, help="a run's folder")
    add("--out", metavar="DIR", type=a_path, help="default: `report` beside or inside the runs")
    words = "put the runs' result rows into a table of results/, in place of those they repeat; "
    words += "with --fill, into its own"
    add("--record", metavar="GROUP/TABLE", nargs="?", const="", help=words)
    add("--title", help="with --record: the table's title, where it is new")
    add("--tables", action="store_true", help="write pages of results and the READMEs' tables")
    add("--check", action="store_true", help="with --tables: write nothing")
    add("--no_figures", action="store_true", help="tables only: no matplotlib")
    add = parser.add_argument_group("filling a table by runs").add_argument
    add("--fill", metavar="GROUP/TABLE", nargs="?", const="", help="which; without one: list them")
    add("--only", nargs="+", default=[], metavar="ROW", help="these cells: 'tsp20-*'")
    add("--jobs", type=whole, default=1, metavar="N", help="runs at once, each on a core (1)")
    add("--runs", type=a_path, metavar="DIR", help="where the runs' folders are (runs/GROUP)")
    add("--list", action="store_true", help="show the cells and what is there; run nothing")
    add("--config.KEY", metavar="VALUE", help="replaces a value in every cell that has the key")
    overrides, rest = take_overrides(given, parser)
    options = parser.parse_args(rest)
    options.overrides = overrides
    wanted = [bool(options.workdirs), options.tables, options.fill is not None]
    if sum(wanted) != 1:
        parser.error("expected run folders, --tables or --fill")
    if options.check and not options.tables:
        parser.error("--check goes with --tables")
    if options.record is not None and options.tables:
        parser.error("--record goes with run folders, or with --fill")
    if options.record == "" and options.workdirs:
        parser.error("--record: expected GROUP/TABLE")
    if options.record and options.fill is not None:
        parser.error("--record: with --fill the table is known; write --record alone")
    if options.title and not options.record:
        parser.error("--title goes with --record")
    if not options.fill and (options.only or options.list or options.runs or overrides):
        parser.error("--only, --list, --runs and --config.KEY go with --fill GROUP/TABLE")
    return options


def fill(options: argparse.Namespace) -> int:
    """Lists the tables, or the cells of one, or makes its runs and writes its rows."""
    if not options.fill:
        for name, table in sweep.tables().items():
            print(f"{name:24}{len(table.cells):4} cells  {table.title}")
        return 0
    name, table = options.fill, sweep.find(options.fill)
    group, _, stem = name.partition("/")
    folder = (options.runs or Path("runs") / group).expanduser()
    jobs = sweep.plan(table, options.only, options.overrides, folder)
    if options.record is not None:
        sweep.check_record(name, options.overrides)
    print(sweep.listing(name, jobs), flush=True)
    if options.list:
        return 0
    path = folder / f"{stem}.json" if options.record is None else results_table.table_path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    filled = sweep.fill(name, jobs, workers=options.jobs, path=path)
    if filled.rows:
        metrics = dict.fromkeys(row["metric"] for row in filled.rows)
        print(f"\n{markdown_tables.markdown(filled.rows, ('name', *metrics))}\n\nwrote {path}")
    if table.draw is not None and path.exists() and not options.no_figures:
        rows = results_table.read_table(path).rows
        for picture in table.draw(rows, sweep.finished(jobs), path.parent):
            print(f"wrote {picture}")
    for why in filled.failed:
        print(f"failed: {why}", file=sys.stderr)
    return FAILED if filled.failed else 0


def tables(root: Path, *, check: bool = False) -> int:
    """Write the pages of results and the tables of all READMEs, or tell which are stale."""
    changed = page.update(root, write=not check) + markdown_tables.update(root, write=not check)
    for path in changed:
        print(f"{'stale' if check else 'written'}: {path.relative_to(root)}")
    if check and changed:
        print("bring them up to date with: python -m experiments.report --tables")
    if not changed:
        print("every table is up to date")
    return 1 if check and changed else 0


def record(workdirs: Sequence[Path], path: Path, title: str | None = None) -> Path:
    """Put the result rows of finished runs into a results file; returns its path.

    Raises:
      ReportError: a folder is no run's, or has no result rows; or a new table has no title.
      TableError: a row is not as agreed. Nothing is written then.
    """
    found = []
    for folder in workdirs:
        run = curves.read_run(folder.expanduser().resolve())
        if not run.rows:
            raise ReportError(f"{folder}: expected a finished run with result rows; it has none")
        found += [result_rows.from_run(row) for row in run.rows]
    keys = [(row["name"], row["metric"]) for row in found]
    if len(set(keys)) < len(keys):
        raise ReportError(
            f"{', '.join(map(str, workdirs))}: expected rows of different names; several seeds are "
            "one run, trained with --config.num_seeds"
        )
    if title is None:
        if not path.exists():
            raise ReportError(f"{path}: expected --title, since the table is new")
        title = results_table.read_table(path).title
    before = results_table.read_table(path).rows if path.exists() else []
    repeated = [row for row in before if (row["name"], row["metric"]) in set(keys)]
    for config in sorted({row["config"] for row in repeated} - {row["config"] for row in found}):
        raise ReportError(
            f"{path}: expected rows of {config!r}, which it holds, got another config's"
        )
    results_table.write_table(path, title, found)
    print(f"{len(found)} rows, {len(repeated)} of them in place of earlier ones; bring the README ")
    print("files up to date with: python -m experiments.report --tables")
    return path


def write_report(
    workdirs: Sequence[Path], out: Path | None = None, *, draw: bool = True
) -> list[Path]:
    """Write report.md and its figures from run folders; returns their paths, report.md first.

    Raises:
      ReportError: a folder is no run's, or has nothing recorded.
      ImportError: matplotlib is absent and `draw` is true.
    """
    folders = list(dict.fromkeys(path.expanduser().resolve() for path in workdirs))
    runs = [curves.read_run(folder) for folder in folders]
    groups = curves.group_runs(runs)
    target = (out or _beside(folders)).expanduser().absolute()
    target.mkdir(parents=True, exist_ok=True)
    pictures = _draw(groups, target) if draw else {}
    text = "\n\n".join(_sections(groups, pictures, target)) + "\n"
    replace_text(target / "report.md", text)
    return [target / "report.md", *pictures.values()]


def _beside(folders: Sequence[Path]) -> Path:
    if len(folders) == 1:
        return folders[0] / "report"
    return Path(os.path.commonpath(folders)) / "report"


def _draw(groups: Sequence[Group], target: Path) -> dict[str, Path]:
    pictures = {}
    for kind, title in (("eval", "Evaluation"), ("train", "Training")):
        panels: dict[str, dict[str, Curve]] = {}
        for metric in curves.metric_names(groups, kind):
            found = {group.label: curves.curve(group, kind, metric) for group in groups}
            lines = {label: curve for label, curve in found.items() if curve is not None}
            twin = next((name for name in panels if _same(panels[name], lines)), None)
            if twin:
                both = f"{twin} and {metric}"
                panels = {both if name == twin else name: each for name, each in panels.items()}
            elif lines:
                panels[metric] = lines
        if panels:
            path = target / f"{kind}.png"
            phases = {record["phase"] for g in groups for r in g.runs for record in r.records}
            unit = figures.SEARCH if phases == {"search"} else figures.UPDATES
            figures.learning_curves(path, panels, title=title, unit=unit)
            pictures[title] = path
    return pictures


def _same(first: dict[str, Curve], second: dict[str, Curve]) -> bool:
    """Whether two metrics are one curve: a shared baseline is the mean reward itself."""
    return first.keys() == second.keys() and all(
        np.array_equal(one.step, second[label].step) and np.allclose(one.mean, second[label].mean)
        for label, one in first.items()
    )


def _sections(groups: Sequence[Group], pictures: dict[str, Path], target: Path) -> list[str]:
    sections = ["# Report", _runs_table(groups, target)]
    evaluated = curves.metric_names(groups, "eval")
    if evaluated:
        sections += ["## Last evaluation", _last_table(groups, evaluated)]
    finished = [run for group in groups for run in group.runs if run.rows]
    if finished:
        sections += ["## Results", _results_table(finished)]
    best = [(run, line) for run in finished for line in markdown_tables.best_points(run.best)]
    if best:
        lines = [f"- `{run.folder.name}`, {line}" for run, line in best]
        sections += ["## Best points", "\n".join(lines)]
    for title, path in pictures.items():
        sections += [f"## {title}", f"![{title}]({path.name})"]
    return sections


def _runs_table(groups: Sequence[Group], target: Path) -> str:
    lines = []
    for group in groups:
        for run in group.runs:
            seconds, items = curves.speed(run)
            seeds = sorted({record["seed"] for record in run.records})
            done = max(record["step"] for record in run.records)
            total = run.config.get("steps", done)
            cells = (
                group.label,
                f"`{os.path.relpath(run.folder, target)}`",
                ", ".join(map(str, seeds)),
                f"{done:,}" if done == total else f"{done:,} of {total:,}",
                _duration(seconds) if seconds else "",
                f"{items:,.4g}" if 0 < items < 1000 else f"{items:,.0f}" if items else "",
            )
            lines.append(cells)
    headings = ("config", "folder", "seeds", "steps", "training time", "items/s")
    return markdown_tables.grid(headings, lines, ("---", "---"))


def _last_table(groups: Sequence[Group], metrics: Sequence[str]) -> str:
    headings = ["config", "step", "seeds", *(figures.words(metric) for metric in metrics)]
    lines = []
    for group in groups:
        found = [curves.curve(group, "eval", metric) for metric in metrics]
        there = [curve for curve in found if curve is not None]
        if not there:
            continue
        last = [markdown_tables.format_number(*c.last[:3]) if c else "" for c in found]
        lines.append([group.label, f"{there[0].step[-1]:,}", str(there[0].seeds), *last])
    note = "Mean over seeds ± half of its 95% interval (Student's t)."
    return f"{markdown_tables.grid(headings, lines)}\n\n{note}"


def _results_table(runs: Sequence[Run]) -> str:
    rows = []
    for run in runs:
        where = f" ({run.folder.name})" if len(runs) > 1 else ""
        rows += [result_rows.from_run({**row, "name": f"{row['name']}{where}"}) for row in run.rows]
    return markdown_tables.markdown(rows)


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.3g} s"
    minutes, hours = seconds / 60, seconds / 3600
    return f"{minutes:.3g} min" if minutes < 120 else f"{hours:.3g} h"


if __name__ == "__main__":
    sys.exit(main())
