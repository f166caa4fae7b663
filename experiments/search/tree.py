"""LA-MCTS's settings in configs: `config.tree`."""

from __future__ import annotations

from typing import Any, get_args

from experiments.runner.checks import check_bool, check_choice, check_float, check_int
from search import lamcts
from search.bandit import Form
from search.partition import Kernel

FIELDS = ("c", "form", "leaf_size", "kernel", "scale_values", "num_init", "round_init",
          "round_most", "reuse")  # fmt: skip


def defaults(**changes: Any) -> dict[str, Any]:
    """`config.tree`: `lamcts.Settings` as the thesis has them for test functions, and changes."""
    return {name: getattr(lamcts.Settings(), name) for name in FIELDS} | changes


def checked(config: Any) -> dict[str, Any]:
    """The settings of `config.tree`, fields of `lamcts.Settings`.

    Raises:
      ConfigError: one is out of range.
    """
    check_float(config, "tree.c", low=0.0)
    check_choice(config, "tree.form", get_args(Form))
    check_choice(config, "tree.kernel", get_args(Kernel))
    for name, low in (("leaf_size", 2), ("num_init", 2), ("round_init", 2), ("round_most", 0)):
        check_int(config, f"tree.{name}", low=low)
    for name in ("scale_values", "reuse"):
        check_bool(config, f"tree.{name}")
    return {name: config.tree[name] for name in FIELDS}
