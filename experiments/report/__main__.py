"""Tables and figures: from run folders, and into the README files.

    python -m experiments.report runs/a runs/b    # a report on runs, in runs/report/report.md
    python -m experiments.report runs/a --record nco/demo   # their result rows, into results/
    python -m experiments.report --tables         # the tables of every README.md, from results/
    python -m experiments.report --tables --check # only tell whether they are up to date

Curves and evaluations of runs whose configs differ in the seed only are averaged, with the 95%
interval of their mean; results are listed run by run.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.report import curves, figures
from experiments.report import markdown as markdown_tables
from experiments.report import rows as result_rows
from experiments.report import table as results_table
from experiments.report.curves import Group, ReportError, Run
from experiments.report.rows import TableError
from experiments.runner.command import Parser, command
from experiments.runner.workdir import WorkdirError, replace_text

ROOT = Path(__file__).resolve().parents[2]


@command
def main(arguments: Sequence[str]) -> int:
    """Run the command line; returns the exit status."""
    parser = Parser("experiments.report", __doc__)
    parser.add_argument("workdirs", metavar="WORKDIR", nargs="*", type=Path, help="a run's folder")
    parser.add_argument(
        "--out", metavar="DIR", type=Path, help="default: `report` beside or inside the runs"
    )
    parser.add_argument(
        "--record",
        metavar="GROUP/TABLE",
        help="put the runs' result rows into a table of results/, in place of those they repeat",
    )
    parser.add_argument("--title", help="with --record: the table's title, where it is new")
    parser.add_argument("--tables", action="store_true", help="write the tables of README files")
    parser.add_argument("--check", action="store_true", help="with --tables: write nothing")
    parser.add_argument("--no_figures", action="store_true", help="tables only: no matplotlib")
    options = parser.parse_args(arguments)
    if options.tables == bool(options.workdirs):
        parser.error("expected either run folders or --tables")
    if options.check and not options.tables:
        parser.error("--check goes with --tables")
    if options.record and options.tables:
        parser.error("--record goes with run folders")
    if options.title and not options.record:
        parser.error("--title goes with --record")
    try:
        if options.tables:
            return tables(ROOT, check=options.check)
        if options.record:
            print(record(options.workdirs, results_table.table_path(options.record), options.title))
            return 0
        for path in write_report(options.workdirs, options.out, draw=not options.no_figures):
            print(path)
    except (ImportError, OSError, ReportError, WorkdirError, TableError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def tables(root: Path, *, check: bool = False) -> int:
    """Write the tables of all READMEs under `root`, or tell which are not up to date."""
    changed = markdown_tables.update(root, write=not check)
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
        panels = {}
        for metric in curves.metric_names(groups, kind):
            found = {group.label: curves.curve(group, kind, metric) for group in groups}
            lines = {label: curve for label, curve in found.items() if curve is not None}
            if lines:
                panels[metric] = lines
        if panels:
            path = target / f"{kind}.png"
            figures.learning_curves(path, panels, title=title)
            pictures[title] = path
    return pictures


def _sections(groups: Sequence[Group], pictures: dict[str, Path], target: Path) -> list[str]:
    sections = ["# Report", _runs_table(groups, target)]
    evaluated = curves.metric_names(groups, "eval")
    if evaluated:
        sections += ["## Last evaluation", _last_table(groups, evaluated)]
    finished = [run for group in groups for run in group.runs if run.rows]
    if finished:
        sections += ["## Results", _results_table(finished)]
    for title, path in pictures.items():
        sections += [f"## {title}", f"![{title}]({path.name})"]
    return sections


def _runs_table(groups: Sequence[Group], target: Path) -> str:
    lines = ["| config | folder | seeds | steps | training time | items/s |", _rule("llrrrr")]
    for group in groups:
        for run in group.runs:
            seconds, items = curves.speed(run)
            seeds = sorted({record["seed"] for record in run.records})
            done = max(record["step"] for record in run.records)
            total = run.config.get("steps", done)
            cells = [
                group.label,
                f"`{os.path.relpath(run.folder, target)}`",
                ", ".join(map(str, seeds)),
                f"{done:,}" if done == total else f"{done:,} of {total:,}",
                _duration(seconds) if seconds else "",
                f"{items:,.4g}" if 0 < items < 1000 else f"{items:,.0f}" if items else "",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _last_table(groups: Sequence[Group], metrics: Sequence[str]) -> str:
    headings = ["config", "step", "seeds", *(figures.words(metric) for metric in metrics)]
    lines = [f"| {' | '.join(headings)} |", _rule("lrr" + "r" * len(metrics))]
    for group in groups:
        found = [curves.curve(group, "eval", metric) for metric in metrics]
        there = [curve for curve in found if curve is not None]
        if not there:
            continue
        cells = [group.label, f"{there[0].step[-1]:,}", str(there[0].seeds)]
        for curve in found:
            numbers = curve.last[:3] if curve is not None else None
            cells.append(markdown_tables.format_number(*numbers) if numbers else "")
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "Mean over seeds ± half of its 95% interval (Student's t)."]
    return "\n".join(lines)


def _results_table(runs: Sequence[Run]) -> str:
    rows = []
    for run in runs:
        where = f" ({run.folder.name})" if len(runs) > 1 else ""
        rows += [result_rows.from_run({**row, "name": f"{row['name']}{where}"}) for row in run.rows]
    return markdown_tables.markdown(rows)


def _rule(alignment: str) -> str:
    return f"| {' | '.join('---:' if side == 'r' else '---' for side in alignment)} |"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.3g} s"
    minutes, hours = seconds / 60, seconds / 3600
    return f"{minutes:.3g} min" if minutes < 120 else f"{hours:.3g} h"


if __name__ == "__main__":
    sys.exit(main())
