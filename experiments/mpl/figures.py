"""Figures 5.3 to 5.5 of Pham 2021, from recorded runs and results.

    python -m experiments.mpl.figures training --runs runs/mpl/digits
    python -m experiments.mpl.figures components
    python -m experiments.mpl.figures labels

training: how often a supervised network, a teacher and its student agree with the labels they learn
from, and the student's feedback h, over the updates (figure 5.4), from the folders of the runs
`supervised` and `mpl_uda` that `experiments.mpl.tables ssl` makes; components: what each part adds
(5.3); labels: with more labels (5.5), from `experiments/results/mpl/`. Pictures go there too.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from experiments.mpl.tables import FRACTIONS, PRINTED
from experiments.nco.tables import Parser
from experiments.report import curves, figures
from experiments.report import table as results_table
from experiments.report.curves import Curve, Group, ReportError
from experiments.report.rows import Row, TableError

# Panel, line, run, metric: a student's "training accuracy" is its agreement with its teacher.
LINES = (
    ("training accuracy", "supervised", "supervised", "accuracy"),
    ("training accuracy", "teacher", "mpl_uda", "teacher_accuracy"),
    ("training accuracy", "student", "mpl_uda", "student_accuracy"),
    ("h", "student", "mpl_uda", "h"),
)
METHODS = ("supervised", "randaugment", "mpl")


def training(runs: Path, out: Path) -> None:
    """Draws figure 5.4 and the feedback over the updates.

    Raises:
        ReportError: a run is missing, or has not recorded a metric.
    """
    panels: dict[str, dict[str, Curve]] = {}
    for panel, line, name, metric in LINES:
        run = curves.read_run(runs / name)
        found = curves.curve(Group(name, (run,)), "train", metric, points=100)
        if found is None:
            raise ReportError(f"{runs / name}: expected the metric {metric}, found none")
        panels.setdefault(panel, {})[line] = found
    figures.learning_curves(out, panels, title="Meta Pseudo Labels in training")


def read(table: str, wanted: Sequence[str]) -> dict[str, Row]:
    """Rows of `results/mpl/TABLE.json` by name.

    Raises:
        TableError: one is not there.
    """
    path = results_table.table_path(f"mpl/{table}")
    rows = {row["name"]: row for row in results_table.read_table(path).rows}
    if missing := [name for name in wanted if name not in rows]:
        raise TableError(
            f"mpl/{table}: expected rows {missing}; run experiments.mpl.tables {table}"
        )
    return {name: rows[name] for name in wanted}


def components(out: Path) -> None:
    """Draws figure 5.3: accuracy after each component, as bars with their intervals."""
    rows = read("components", list(PRINTED["components"]))
    plt = figures.pyplot()
    with plt.rc_context(figures.STYLE):
        figure, axis = plt.subplots(figsize=(6.4, 3.2))
        values = np.array([row["value"] for row in rows.values()])
        ends = [[row["value"] - row["low"], row["high"] - row["value"]] for row in rows.values()]
        axis.barh(list(rows), values, xerr=np.array(ends).T, color=figures.PALETTE[0], height=0.6)
        axis.set_xlim(max(0.0, min(row["low"] for row in rows.values()) - 3.0), None)
        axis.invert_yaxis()
        axis.grid(visible=True, axis="x")
        axis.grid(visible=False, axis="y")
        axis.set_xlabel("accuracy (%)")
        axis.set_title(f"What each component adds, n = {next(iter(rows.values()))['n']} seeds")
        figure.savefig(out)
        plt.close(figure)


def labels(out: Path) -> None:
    """Draws figure 5.5: accuracy against the share of labelled images."""
    plt = figures.pyplot()
    with plt.rc_context(figures.STYLE):
        figure, axis = plt.subplots(figsize=(5.2, 3.2))
        for method, colour in zip(METHODS, figures.PALETTE, strict=False):
            rows = list(read("labels", [f"{method}-{share}" for share in FRACTIONS]).values())
            low, high = ([row[end] for row in rows] for end in ("low", "high"))
            axis.fill_between(FRACTIONS, low, high, color=colour, alpha=0.18, lw=0)
            axis.plot(FRACTIONS, [row["value"] for row in rows], "o-", color=colour, label=method)
        axis.set_xlabel("labelled images (%)")
        axis.set_ylabel("accuracy (%)")
        axis.legend()
        figure.savefig(out)
        plt.close(figure)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code."""
    parser = Parser(
        prog="python -m experiments.mpl.figures",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("figure", choices=("training", "components", "labels"), help="which")
    parser.add_argument("--runs", type=Path, metavar="DIR", help="of training (runs/mpl/digits)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the picture")
    flags = parser.parse_args(arguments)
    if flags.runs is not None and flags.figure != "training":
        parser.error(f"--runs: {flags.figure} is drawn from results/, not from runs")
    out = flags.out or results_table.RESULTS / "mpl" / f"{flags.figure}.png"
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        if flags.figure == "training":
            training(flags.runs or Path("runs/mpl/digits"), out)
        else:
            {"components": components, "labels": labels}[flags.figure](out)
    except (ReportError, TableError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"wrote {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
