"""The searchers by the names that configs, tables and result rows have for them.

A new method is its own file in the library and an entry here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, get_args

from jaxtyping import Float
from numpy import ndarray

from experiments.runner import search_loop
from experiments.runner.checks import ConfigError, check_choice, check_float, check_int
from experiments.runner.evaluators import evaluator
from experiments.runner.experiment import Search
from experiments.search import tree
from search import (
    alphax,
    baselines,
    embedding,
    lamcts,
    lamcts_choices,
    lanas,
    lanas_table,
    mcts,
    meta_dnn,
    optimistic,
    q_learning,
    smac,
    turbo,
)
from search.bandit import Form
from search.design_spaces import choices_in_order
from search.interface import Searcher
from search.meta_dnn import Predictor
from search.partition import Kernel
from search.spaces import Box, Choices

PRESETS = MappingProxyType({"paper": turbo.Settings(), "fast": turbo.FAST})
HASHED = 10  # dimensions that HesBO searches; the thesis tunes 8 to 1,000 a task
EDGES = (0.25, 0.5, 0.75)  # of the multi-stage predictor; the thesis names the first
IDLE = 100  # known points in a row after which a search is stuck; each is 100 descents of a tree


class Wanted(NamedTuple):
    """What a config says of a search.

    Attributes:
      budget: trials there will be.
      settings: the method's: `config.tree` of a box, the part of a config that has the method's
        name, of a table.
      preset: of TuRBO's constants; "fast" has fewer Adam steps and candidates, of others too.
    """

    budget: int
    settings: Mapping[str, Any]
    preset: str = "fast"

    @property
    def model(self) -> dict[str, Any]:
        """How much work a Gaussian process is given."""
        quick = self.preset == "fast"
        return {"candidates": 500 if quick else 2000, "fit_steps": 10 if quick else 50}


class Rewards(NamedTuple):
    """A table of all points: their space, and their rewards in the order of `space.every()`."""

    space: Choices
    values: Float[ndarray, " row"]


def _nothing(config: Any) -> None:
    """No settings, none to check."""


class Entry(NamedTuple):
    """A method of a registry.

    Attributes:
      make: its searcher, of a box or of `Rewards`, and of what a config wants.
      settings: where a config has those of a method of tables; "" for none. Methods of boxes share
        `config.tree`.
      check: raises `ConfigError` where they are out of range.
      idle: of `search.distinct`, where distinct points are counted.
    """

    make: Callable[[Any, Wanted], Searcher]
    settings: str = ""
    check: Callable[[Any], object] = _nothing
    idle: int = IDLE


def _lamcts(solver: Any, box: Box, wanted: Wanted) -> Searcher:
    constants = PRESETS[wanted.preset]
    settings = lamcts.Settings(solver=solver, turbo=constants, **wanted.model, **wanted.settings)
    return lamcts.searcher(box, settings)


def _turbo(box: Box, wanted: Wanted) -> Searcher:
    num_init = wanted.settings["num_init"]
    return turbo.searcher(box, num_init=num_init, settings=PRESETS[wanted.preset])


def _bo(box: Box, wanted: Wanted) -> Searcher:
    candidates, fit_steps = wanted.model.values()
    return baselines.bayesian(  # it looks at as many near the best sample
        box, num_init=wanted.settings["num_init"], candidates=candidates // 2, fit_steps=fit_steps
    )


def _hesbo(box: Box, wanted: Wanted) -> Searcher:
    return embedding.hashed(box, min(HASHED, box.dim), lambda small: _bo(small, wanted))


def _plain(make: Callable[..., Searcher], **settings: Any) -> Callable[[Any, Wanted], Searcher]:
    """A method of a box that has no settings in a config."""
    return lambda box, wanted: make(box, **settings)


BOX_METHODS: Mapping[str, Entry] = MappingProxyType(
    {
        f"lamcts_{solver}": Entry(functools.partial(_lamcts, solver))
        for solver in get_args(lamcts.Solver)
    }
    | {
        "turbo": Entry(_turbo),
        "bo": Entry(_bo),
        "cma": Entry(_plain(baselines.cma_es)),
        "nevergrad": Entry(lambda box, w: baselines.nevergrad_default(box, budget=w.budget)),
        "differential_evolution": Entry(
            _plain(baselines.scipy, method="differential_evolution")
        ),
        "dual_annealing": Entry(_plain(baselines.scipy, method="dual_annealing")),
        "tpe": Entry(_plain(baselines.tpe)),
        "smac": Entry(lambda box, wanted: smac.searcher(box, budget=wanted.budget)),
        "doo": Entry(_plain(optimistic.doo)),
        "soo": Entry(_plain(optimistic.soo)),
        "voo": Entry(_plain(optimistic.voo)),
        "hesbo": Entry(_hesbo),
        "random": Entry(_plain(baselines.random)),
    }
)  # fmt: skip


def _in_order(module: Any) -> Callable[[Rewards, Wanted], Searcher]:
    """A tree search that makes one choice after the other."""
    return lambda table, w: module.searcher(choices_in_order(table.space), **w.settings)


def _alphax(make_predictor: Callable[[], Predictor], table: Rewards, wanted: Wanted) -> Searcher:
    return alphax.searcher(
        choices_in_order(table.space), predictor=make_predictor(), encode=table.space.one_hot,
        **wanted.settings,
    )  # fmt: skip


def _lanas_table(table: Rewards, wanted: Wanted) -> Searcher:
    settings = lanas_table.Settings(**wanted.settings)
    return lanas_table.searcher(table.space, table.values, budget=wanted.budget, settings=settings)


def _check_lanas(config: Any) -> None:
    check_float(config, "lanas.c", low=0.0)
    check_choice(config, "lanas.form", get_args(Form))
    for key in ("height", "num_init", "select_every"):
        check_int(config, f"lanas.{key}", low=1)


def _check_lamcts(config: Any) -> None:
    check_float(config, "lamcts.c", low=0.0)
    check_choice(config, "lamcts.kernel", get_args(Kernel))
    check_choice(config, "lamcts.solver", ("random", "bo"))
    for key in ("leaf_size", "num_init"):
        check_int(config, f"lamcts.{key}", low=2)


def _check_uct(name: str, config: Any) -> None:
    check_float(config, f"{name}.c", low=0.0)
    check_choice(config, f"{name}.form", get_args(Form))


def _check_q_learning(config: Any) -> None:
    check_float(config, "q_learning.epsilon", low=0.0, high=1.0)
    check_int(config, "q_learning.repeats", low=1)


def _check_evolution(config: Any) -> None:
    for key in ("population", "tournament"):
        check_int(config, f"regularised_evolution.{key}", low=1)


_check_alphax = functools.partial(_check_uct, "alphax")
TABLE_METHODS: Mapping[str, Entry] = MappingProxyType(
    {
        "lanas": Entry(
            lambda table, w: lanas.searcher(table.space, **w.settings), "lanas", _check_lanas
        ),
        "lanas_table": Entry(_lanas_table, "lanas", _check_lanas),  # the same, compiled
        "lamcts": Entry(
            lambda table, w: lamcts_choices.searcher(table.space, lamcts.Settings(**w.settings)),
            "lamcts", _check_lamcts,
        ),
        "alphax": Entry(
            functools.partial(_alphax, lambda: meta_dnn.multi_stage(edges=EDGES)),
            "alphax", _check_alphax,
        ),
        "alphax_mlp": Entry(functools.partial(_alphax, meta_dnn.mlp), "alphax", _check_alphax),
        # Stages of as many samples each.
        "alphax_parts": Entry(
            functools.partial(_alphax, meta_dnn.multi_stage), "alphax", _check_alphax
        ),
        "mcts": Entry(_in_order(mcts), "mcts", functools.partial(_check_uct, "mcts")),
        "q_learning": Entry(_in_order(q_learning), "q_learning", _check_q_learning),
        # A population may stay among cells that it knows for long.
        "regularised_evolution": Entry(
            lambda table, w: baselines.regularised_evolution(table.space, **w.settings),
            "regularised_evolution", _check_evolution, 20_000,
        ),
        "tpe": Entry(lambda table, w: baselines.tpe(table.space)),
        "smac": Entry(lambda table, w: smac.searcher(table.space, budget=w.budget)),
        "random": Entry(lambda table, w: baselines.random(table.space)),
    }
)  # fmt: skip


def in_box(method: Any, box: Box, *, preset: str, budget: int, **settings: Any) -> Searcher:
    """A searcher of a box.

    Args:
      method: one of `BOX_METHODS`.
      box: what to search.
      preset: one of `PRESETS`.
      budget: trials there will be.
      settings: fields of `lamcts.Settings` to change; `num_init` is that of TuRBO and BO alone too.

    Raises:
      ConfigError: an unknown method or preset.
    """
    for key, value, known in (("preset", preset, PRESETS), ("method", method, BOX_METHODS)):
        if value not in known:
            raise ConfigError(key, "one of the choices below", value, list(known))
    wanted = Wanted(budget, tree.defaults(**settings), preset)
    return BOX_METHODS[method].make(box, wanted)


def box_search(
    config: Any, box: Box, objective: Callable[[Any, int], Any], label: str, **fields: Any
) -> Search:
    """The search of a box that a config asks for.

    Args:
      config: `method`, `preset`, `steps`, `tree` and what `asked` reads.
      box: what to search.
      objective: as of `Search`.
      label: of its row, before the method.
      fields: further ones of `Search`.
    """
    method = check_choice(config, "method", tuple(BOX_METHODS))
    preset = check_choice(config, "preset", tuple(PRESETS))
    searcher = in_box(method, box, preset=preset, budget=config.steps, **tree.checked(config))
    return asked(config, searcher, objective, f"{label}-{method}", **fields)


def asked(
    config: Any, searcher: Searcher, objective: Callable[[Any, int], Any], label: str, **fields: Any
) -> Search:
    """A search with the evaluator and the batches that a config asks for, and the row `label`."""
    work = Search(
        searcher=searcher,
        objective=objective,
        evaluator=evaluator(config),
        batch_size=check_int(config, "batch_size", low=1),
        asynchronous=bool(config.asynchronous),
        **fields,
    )
    if work.finish is not None:
        return work
    return work._replace(finish=lambda found, _: search_loop.best_row(label, work, found))
