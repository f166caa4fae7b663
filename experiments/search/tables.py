"""The tables of the group `search`, each declared beside its glue.

    python -m experiments.report --fill search/synthetic --list

Below is the frame of the commands that still fill theirs themselves.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from experiments.nco.tables import Parser
from experiments.report import markdown as markdown_tables
from experiments.report import table as results_table
from experiments.report.sweep import Table
from experiments.runner.checks import ConfigError, UserError
from experiments.runner.workdir import CONFIG, WorkdirError
from experiments.search import contest, control, nasbench201, synthetic

TABLES: Mapping[str, Table] = MappingProxyType(
    {
        **contest.TABLES,
        **control.TABLES,
        **nasbench201.TABLES,
        **synthetic.TABLES,
    }
)

BAD_USAGE, INTERRUPTED = 2, 130


def command(main: Callable[..., int]) -> Callable[..., int]:
    """Wraps a `main`: what is wrong with the input is one line, and an interrupt another."""

    @functools.wraps(main)
    def wrapped(*arguments: Any) -> int:
        try:
            return main(*arguments)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            return BAD_USAGE
        except ImportError as error:
            if not is_missing_extra(error):
                raise
            print(f"error: {error}", file=sys.stderr)
            return BAD_USAGE
        except KeyboardInterrupt:
            print(
                "\nstopped; what has finished is kept, and the same command goes on",
                file=sys.stderr,
            )
            return INTERRUPTED

    return wrapped


def is_missing_extra(error: ImportError) -> bool:
    """Whether an error says which extra of this project to install."""
    return "ncolab[" in str(error)


def parser(module: str, description: str | None, workdir: str) -> Parser:
    """A parser with `--workdir`, `--table`, `--record` and `--seeds`."""
    made = Parser(
        prog=f"python -m experiments.{module}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = made.add_argument
    add("--workdir", type=Path, default=Path(workdir), metavar="DIR",
        help=f"keeps each finished search ({workdir})")  # fmt: skip
    add("--table", type=Path, metavar="FILE", help="the rows (DIR/table.json)")
    add("--record", action="store_true", help="the rows go into experiments/results instead")
    return made


def positive(text: str) -> int:
    """A whole number of at least 1, as the type of an option."""
    number = int(text) if text.strip().lstrip("-").isdigit() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text}")
    return number


def path(options: argparse.Namespace, table: str) -> Path:
    """Where the rows go.

    Raises:
      WorkdirError: the workdir is that of another kind of run.
    """
    if (options.workdir / CONFIG).exists():
        raise WorkdirError(f"{options.workdir} holds a run of experiments.run; name another folder")
    if options.record:
        if options.table is not None:
            raise ConfigError("--table", "a file or --record, not both", str(options.table))
        return results_table.table_path(table)
    return options.table or options.workdir / "table.json"


def not_fewer(parser: argparse.ArgumentParser, out: Path, seeds: int) -> None:
    """Refuses to put rows of fewer seeds into `experiments/results` than there are."""
    inside = out.absolute().is_relative_to(results_table.RESULTS)
    if inside and out.exists():
        rows = results_table.read_table(out).rows
        most = max((row["n"] or 1 for row in rows if row["unit"] == "seed"), default=0)
        if seeds < most:
            parser.error(f"--seeds: {out.name} has rows of {most}; name another file by --out")


def show(out: Path, names: Collection[str]) -> None:
    """Prints the rows of these names, and where they are."""
    rows = [row for row in results_table.read_table(out).rows if row["name"] in names]
    metrics = sorted({row["metric"] for row in rows}, key=lambda metric: (len(metric), metric))
    print("\n" + markdown_tables.markdown(rows, ("name", *metrics)))
    print(f"\nwrote {out}")
