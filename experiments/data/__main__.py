"""`python -m experiments.data`: list the datasets, show one, fetch one."""

import argparse
import shutil
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from experiments.data import registry
from experiments.data.catalogue import DATASETS
from experiments.runner.command import a_path, command


@command
def main(words: Sequence[str]) -> int:
    """Run the command line; returns the exit status."""
    options = _parser().parse_args(words)
    try:
        if options.action == "fetch":
            told = _fetched(options.name, options.root, options.given)
        elif options.action == "show":
            told = _details(registry.lookup(DATASETS, options.name), options.root)
        else:
            told = _listing(options.root, shutil.get_terminal_size((100, 24)).columns)
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(told)
    return 0


def _parser() -> argparse.ArgumentParser:
    about = "Datasets of the experiments. Without an action: list them."
    parser = argparse.ArgumentParser(prog="python -m experiments.data", description=about)
    root_help = "folder of the datasets (default: $NCOLAB_DATA, else ~/.cache/ncolab/data)"
    # SUPPRESS: an action's own --root must not overwrite one given before the action.
    parser.add_argument("--root", type=a_path, default=None, help=root_help)
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    listed = actions.add_parser("list", help="list the datasets (the default)")
    show = actions.add_parser("show", help="show one: licence, source, checksums, returned arrays")
    fetch = actions.add_parser("fetch", help="get one; does nothing where it is present")
    for action in (listed, show, fetch):
        action.add_argument("--root", type=a_path, default=argparse.SUPPRESS, help=root_help)
    for action in (show, fetch):
        action.add_argument("name", metavar="NAME", help="a dataset's name, as listed")
    words = "your own folder with the official files, instead of the listed source"
    fetch.add_argument("--from", dest="given", type=a_path, metavar="FOLDER", help=words)
    return parser


def _fetched(name: str, root: Path | None, given: Path | None) -> str:
    dataset = registry.lookup(DATASETS, name)
    before = registry.present(dataset, root)
    folder = registry.fetch(dataset, root, given)
    if folder is None:
        return f"{name}: nothing to fetch ({dataset.source})"
    return f"{name}: {'already in' if before else 'fetched into'} {folder}"


def _state(dataset: registry.Dataset, root: Path | None) -> str:
    extra = registry.missing_module(dataset)
    if extra:
        return f"needs ncolab[{extra}]"
    if registry.present(dataset, root):
        return "ready" if dataset.get is None else "present"
    return "fetch"


def _listing(root: Path | None, width: int) -> str:
    rows = [("NAME", "STATE", "DESCRIPTION")]
    rows += [
        (dataset.name, _state(dataset, root), f"{dataset.description} [{dataset.source}]")
        for dataset in DATASETS.values()
    ]
    name_width, state_width = (max(len(row[column]) for row in rows) + 2 for column in (0, 1))
    margin, lines = " " * (name_width + state_width), []
    for name, state, words in rows:
        first, *rest = textwrap.wrap(words, max(width - len(margin), 30))
        lines += [f"{name:<{name_width}}{state:<{state_width}}{first}"]
        lines += [margin + line for line in rest]
    lines += [
        "",
        f"ready: needs no files; present: fetched into {registry.data_root(root)}; "
        "fetch: get it with",
        "  python -m experiments.data fetch NAME",
    ]
    return "\n".join(lines)


def _details(dataset: registry.Dataset, root: Path | None) -> str:
    lines = [
        f"{dataset.name}: {dataset.description}",
        f"  state:   {_state(dataset, root)}",
        f"  licence: {dataset.licence}",
        f"  source:  {dataset.source}",
        f"  folder:  {registry.data_root(root) / dataset.name if dataset.get else 'none'}",
    ]
    lines += [f"  sha256:  {value}  {name}" for name, value in dataset.checksums.items()]
    reader = getattr(dataset.load, "func", dataset.load)
    return "\n".join(
        [*lines, "", textwrap.indent(textwrap.dedent(reader.__doc__ or ""), "  ").rstrip()]
    )


if __name__ == "__main__":
    sys.exit(main())
