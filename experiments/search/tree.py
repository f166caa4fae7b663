"""LA-MCTS's settings: in configs, on the command lines of tables, and in the words of rows."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, get_args

from experiments.runner.checks import check_choice, check_float, check_int
from experiments.search.methods import BOX_METHODS, PRESETS
from search.bandit import Form
from search.partition import Kernel


def defaults(**changes: Any) -> dict[str, Any]:
    """`config.tree`, as the thesis has it for test functions (section 5.3).

    C_p = 1, theta = 20, 30 samples to begin with; the kernel is not stated.
    """
    return {
        "c": 1.0,
        "form": "algorithm",
        "leaf_size": 20,
        "kernel": "rbf",
        "scale_values": False,
        "num_init": 30,
        "round_init": 30,
        "round_most": 0,
        "reuse": True,
    } | changes


def checked(config: Any) -> dict[str, Any]:
    """The settings of `config.tree`, fields of `lamcts.Settings`.

    Raises:
      ConfigError: one is out of range.
    """
    return {
        "c": check_float(config, "tree.c", low=0.0),
        "form": check_choice(config, "tree.form", get_args(Form)),
        "leaf_size": check_int(config, "tree.leaf_size", low=2),
        "kernel": check_choice(config, "tree.kernel", get_args(Kernel)),
        "scale_values": bool(config.tree.scale_values),
        "num_init": check_int(config, "tree.num_init", low=2),
        "round_init": check_int(config, "tree.round_init", low=2),
        "round_most": check_int(config, "tree.round_most", low=0),
        "reuse": bool(config.tree.reuse),
    }


def add_methods(parser: argparse.ArgumentParser, default: Sequence[str]) -> None:
    """`--methods`, `--preset`, and `--suffix` of a command that searches boxes."""
    add = parser.add_argument
    add("--methods", nargs="+", default=list(default), choices=BOX_METHODS, metavar="METHOD",
        help=f"of {', '.join(BOX_METHODS)} ({' '.join(default)})")  # fmt: skip
    add("--preset", default="fast", choices=tuple(PRESETS),
        help="constants of TuRBO: as published, or cheaper ones (fast)")  # fmt: skip
    add("--suffix", default="", help="added to the rows' names: for ablations")


def add(parser: argparse.ArgumentParser) -> None:
    """Options of a command; those that are not given leave the settings as they are."""
    group = parser.add_argument_group("LA-MCTS")
    add = group.add_argument
    add("--c", type=float, help="C_p")
    add("--form", choices=get_args(Form), help="of the upper confidence bound")
    add("--leaf_size", type=int, help="theta; more than the budget: no tree, the box is the region")
    add("--kernel", choices=get_args(Kernel))
    add("--scale_values", action="store_true", default=None, help="k-means sees standard scores")
    add("--round_most", type=int, help="a tree at the latest after so many trials; 0: no limit")
    add("--no_reuse", action="store_false", dest="reuse", default=None,
        help="TuRBO sees the samples of its own round alone")  # fmt: skip


def override(tree: Any, options: argparse.Namespace) -> None:
    """Puts the options that were given into a config's tree."""
    for name in tree:
        value = getattr(options, name, None)
        if value is not None:
            tree[name] = value


def words(method: str, tree: Any) -> list[str]:
    """How a row and a key say them; nothing for methods that have no tree."""
    if not method.startswith("lamcts"):
        return []
    found = [f"c={tree.c:g}", f"theta={tree.leaf_size}", tree.kernel, f"form={tree.form}"]
    if method == "lamcts_turbo":
        found += [f"round_init={tree.round_init}", "reuse" if tree.reuse else "no_reuse"]
    if tree.scale_values:
        found.append("scaled")
    if tree.round_most:
        found.append(f"round_most={tree.round_most}")
    return found
