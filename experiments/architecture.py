"""Shows an architecture: its nodes in words, the size of its space, its parameters, its picture.

    python -m experiments.architecture runs/macro                  # what a run has found
    python -m experiments.architecture runs/macro --draw=best.png
    python -m experiments.architecture "1: tanh | ..." --config=enas/rnn:pydoc,cpu

A line is what a run writes to `architecture.txt`. A config says which space it is of and how wide
the network is; a run's folder has its own. The data must be there, as the number of classes or
words is part of the network.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ml_collections import ConfigDict

from experiments.runner import config as configs
from experiments.runner.checks import UserError, lookup
from experiments.runner.command import Parser, a_path, command, take_overrides
from experiments.runner.workdir import read_config

FORMATS = (".png", ".svg", ".pdf")
ARCHITECTURE = "architecture.txt"  # as `experiments.enas.search` writes it


@command
def main(words: Sequence[str]) -> int:
    """Run the command line; returns the exit status."""
    parser = Parser("experiments.architecture", __doc__)
    add = parser.add_argument
    add("architecture", metavar="ARCHITECTURE", help="a run's folder, or a line of text")
    add("--config", metavar="NAME[:ARG]", help="of a search or of a training, for a line")
    add("--config.KEY", metavar="VALUE", help="replaces a value in it")
    add("--draw", metavar="FILE", type=a_path, help="a picture: .png, .svg or .pdf")
    overrides, rest = take_overrides(words, parser)
    options = parser.parse_args(rest)
    path = options.draw
    if path is not None and (path.suffix not in FORMATS or not path.parent.is_dir()):
        wanted = f"a name that ends in one of {', '.join(FORMATS)}, in a folder that exists"
        raise UserError(f"--draw: expected {wanted}, got {path}")
    folder = os.path.expanduser(options.architecture)
    if os.path.isdir(folder):  # of a line, `Path.is_dir` would say that it is too long for a name
        if options.config or overrides:
            parser.error("--config goes with a line; a run's folder has its own")
        line, config = _of_run(Path(folder))
    elif options.config:
        line, config = options.architecture, configs.load(options.config, overrides)
    else:
        got = repr(options.architecture)
        parser.error(f"expected a run's folder, or a line and --config; got {got} alone")
    lookup(config, "space.name")
    from enas import decisions
    from experiments.enas import problem
    from experiments.enas.architecture import show

    supernet = problem.of(config).task.supernet
    try:
        choices = decisions.parse(supernet.decisions, line)
    except ValueError as error:
        raise UserError(str(error)) from error
    print(show(supernet, choices, path))
    return 0


def _of_run(folder: Path) -> tuple[str, ConfigDict]:
    """The line that a run has written, and its config; of several seeds each has a folder in it."""
    config = read_config(folder) or read_config(folder.parent)
    written = folder / ARCHITECTURE
    if config is None or not written.is_file():
        wanted = f"expected a run that has ended, with {ARCHITECTURE}"
        seeds = ", ".join(
            path.parent.name for path in sorted(folder.glob(f"seed_*/{ARCHITECTURE}"))
        )
        raise UserError(f"{folder}: {wanted}" + (f"; it has {seeds}" if seeds else ""))
    return written.read_text(encoding="utf-8"), ConfigDict(config)


if __name__ == "__main__":
    raise SystemExit(main())
