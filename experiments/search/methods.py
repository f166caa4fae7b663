"""The searchers by the names that configs, commands and result rows have for them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from experiments.runner.checks import ConfigError
from search import (
    alphax,
    baselines,
    embedding,
    lamcts,
    lamcts_choices,
    lanas,
    mcts,
    meta_dnn,
    optimistic,
    q_learning,
    smac,
    turbo,
)
from search.design_spaces import choices_in_order
from search.interface import Searcher
from search.spaces import Box, Choices

PRESETS = MappingProxyType({"paper": turbo.Settings(), "fast": turbo.FAST})
HASHED = 10  # dimensions that HesBO searches; the thesis tunes 8 to 1,000 a task
BOX_METHODS = (
    "lamcts_turbo",
    "lamcts_bo",
    "lamcts_random",
    "lamcts_cma",
    "turbo",
    "bo",
    "cma",
    "nevergrad",
    "differential_evolution",
    "dual_annealing",
    "tpe",
    "smac",
    "doo",
    "soo",
    "voo",
    "hesbo",
    "random",
)
TABLE_METHODS = (
    "lanas",
    "lamcts",
    "alphax",
    "mcts",
    "q_learning",
    "regularised_evolution",
    "tpe",
    "smac",
    "random",
)


def in_box(method: Any, box: Box, *, preset: str, budget: int, **tree: Any) -> Searcher:
    """A searcher of a box.

    Args:
      method: one of `BOX_METHODS`.
      box: what to search.
      preset: of TuRBO's constants: "paper" or "fast", which has fewer Adam steps and candidates.
      budget: trials there will be.
      tree: fields of `lamcts.Settings` to change; `num_init` is that of TuRBO and BO alone too.

    Raises:
      ConfigError: an unknown method or preset.
    """
    if preset not in PRESETS:
        raise ConfigError("preset", "one of the choices below", preset, PRESETS)
    constants = PRESETS[preset]
    quick = preset == "fast"
    num_init = tree.get("num_init", 30)
    if method.startswith("lamcts_") and method in BOX_METHODS:
        solver: Any = method.removeprefix("lamcts_")
        settings = lamcts.Settings(
            solver=solver, turbo=constants,
            candidates=500 if quick else 2000, fit_steps=10 if quick else 50,
        )  # fmt: skip
        return lamcts.searcher(box, settings._replace(**tree))
    if method == "turbo":
        return turbo.searcher(box, num_init=num_init, settings=constants)
    if method == "bo":
        return baselines.bayesian(
            box, num_init=num_init,
            candidates=250 if quick else 1000, fit_steps=10 if quick else 50,
        )  # fmt: skip
    if method == "cma":
        return baselines.cma_es(box)
    if method == "nevergrad":
        return baselines.nevergrad_default(box, budget=budget)
    if method == "smac":
        return smac.searcher(box, budget=budget)
    if method in ("differential_evolution", "dual_annealing"):
        return baselines.scipy(box, method)
    if method == "hesbo":
        small = functools.partial(
            baselines.bayesian, num_init=num_init,
            candidates=250 if quick else 1000, fit_steps=10 if quick else 50,
        )  # fmt: skip
        return embedding.hashed(box, min(HASHED, box.dim), small)
    plain: dict[str, Callable[[Box], Searcher]] = {
        "tpe": baselines.tpe,
        "doo": optimistic.doo,
        "soo": optimistic.soo,
        "voo": optimistic.voo,
        "random": baselines.random,
    }
    if method in plain:
        return plain[method](box)
    raise ConfigError("method", "one of the choices below", method, BOX_METHODS)


def on_table(method: str, space: Choices, settings: Mapping[str, Any], *, budget: int) -> Searcher:
    """A searcher of a space of choices.

    Args:
      method: one of `TABLE_METHODS`.
      space: what to search.
      settings: of the method, the arguments of its factory or of `lamcts.Settings`; TPE, SMAC and
        random search have none.
      budget: trials there will be.

    Raises:
      ConfigError: an unknown method.
    """
    if method == "lanas":
        return lanas.searcher(space, **settings)
    if method == "lamcts":
        return lamcts_choices.searcher(space, lamcts.Settings(**settings))
    if method == "alphax":
        return alphax.searcher(
            choices_in_order(space), predictor=meta_dnn.multi_stage(edges=(0.25, 0.5, 0.75)),
            encode=space.one_hot, **settings,
        )  # fmt: skip
    if method == "mcts":
        return mcts.searcher(choices_in_order(space), **settings)
    if method == "q_learning":
        return q_learning.searcher(choices_in_order(space), **settings)
    if method == "regularised_evolution":
        return baselines.regularised_evolution(space, **settings)
    if method == "tpe":
        return baselines.tpe(space)
    if method == "smac":
        return smac.searcher(space, budget=budget)
    if method == "random":
        return baselines.random(space)
    raise ConfigError("method", "one of the choices below", method, TABLE_METHODS)
