"""The searches of NAS-Bench-201's table by the names that their rows have.

    run, config = METHODS["lanas"]
    found = run(values, [0, 1, 2])        # one `tabular_search.Found` a seed

LaNAS runs compiled, many seeds side by side (`search.lanas_table`); the others ask and tell.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import numpy as np

from experiments.search.tabular import Found, samples_to_best
from search import (
    alphax,
    baselines,
    benchmarks,
    interface,
    lamcts,
    lamcts_choices,
    lanas_table,
    mcts,
    meta_dnn,
    q_learning,
    smac,
)
from search.design_spaces import choices_in_order
from search.interface import Searcher
from search.lanas_table import Settings
from search.meta_dnn import Predictor
from search.spaces import Choices

ROWS = 15_625
EDGES = (0.25, 0.5, 0.75)  # the thesis names the first
QUARTERS = "predictor=multi_stage edges=0.25,0.5,0.75"
IDLE = 100  # trials in a row without a new cell, each after 100 iterations of a tree search
TOGETHER = 25  # seeds that one call runs, where they run side by side

Run = Callable[[Any, list[int]], list[Found]]  # (rewards, seeds)


def _compiled(settings: Settings, values: np.ndarray, seeds: list[int]) -> list[Found]:
    import jax
    import jax.numpy as jnp

    space = benchmarks.nasbench201()
    encodings = jnp.asarray(space.one_hot(space.every()), jnp.float32)
    done: dict[int, Found] = {}
    for budget in _budgets(settings):  # most seeds need no more than the first
        some = [seed for seed in seeds if seed not in done or not done[seed].found]
        if some:
            keys = jax.vmap(jax.random.key)(jnp.asarray(some))
            orders = lanas_table.search(
                encodings, jnp.asarray(values, jnp.float32), keys, budget=budget, settings=settings
            )
            for seed, order in zip(some, np.asarray(orders), strict=True):
                done[seed] = first_of(values, order)
    return [done[seed] for seed in seeds]


def _budgets(settings: Settings) -> tuple[int, int]:
    """Two budgets, of about 600 and 3,000 samples."""
    first, last = (size // settings.select_every for size in (600, 3000))
    return (
        settings.num_init + first * settings.select_every,
        settings.num_init + last * settings.select_every,
    )


def first_of(values: np.ndarray, order: np.ndarray) -> Found:
    """What a search found that asked for these rows of the table, in this order."""
    best = np.maximum.accumulate(values[order])
    hit = np.flatnonzero(best == values.max())
    samples = int(hit[0]) + 1 if len(hit) else len(order)
    return Found(samples, len(hit) > 0, best[:samples])


def _random(values: np.ndarray, seeds: list[int]) -> list[Found]:
    orders = [interface.generator(seed, 0).permutation(len(values)) for seed in seeds]
    return [first_of(values, order) for order in orders]


def _asked(
    make: Callable[[Choices], Searcher],
    budget: int,
    values: np.ndarray,
    seeds: list[int],
    *,
    batch_size: int = 1,
    idle: int = IDLE,
    trials: int | None = None,
) -> list[Found]:
    space = benchmarks.nasbench201()

    def reward(point: Any) -> float:
        return float(values[space.rows(point[None])[0]])

    searcher, best = make(space), float(values.max())
    return [
        samples_to_best(
            searcher, reward, best, seed=seed, budget=budget, batch_size=batch_size, idle=idle,
            trials=trials,
        )
        for seed in seeds
    ]  # fmt: skip


def _ask(
    make: Callable[[Choices], Searcher], words: str, budget: int = ROWS, **settings: Any
) -> tuple[Run, str]:
    shown = {"batch_size": "batch", "trials": "trials"}
    known = [f"{shown[key]}={value}" for key, value in settings.items() if key in shown]
    return functools.partial(_asked, make, budget, **settings), " ".join(
        [words, *known, f"budget={budget}"]
    )


def _evolution(population: int, tournament: int) -> tuple[Run, str]:
    make = functools.partial(
        baselines.regularised_evolution, population=population, tournament=tournament
    )
    # A population may stay among cells that it knows for long.
    return _ask(make, f"population={population} tournament={tournament}", 5000, idle=20_000)


def _lanas(settings: Settings) -> tuple[Run, str]:
    words = " ".join(f"{key}={value}" for key, value in settings._asdict().items())
    budget = _budgets(settings)[1]
    return functools.partial(_compiled, settings), f"{words} one_hot unique budget={budget}"


def _lamcts(**settings: Any) -> tuple[Run, str]:
    chosen = lamcts.Settings(
        c=0.01, num_init=50, candidates=500, fit_steps=10, **{"solver": "random", **settings}
    )
    words = f"solver={chosen.solver} c={chosen.c:g} form={chosen.form} theta={chosen.leaf_size} "
    words += f"{chosen.kernel} scale_values={chosen.scale_values} num_init={chosen.num_init}"
    make = functools.partial(lamcts_choices.searcher, settings=chosen)
    return _ask(make, f"{words} one_hot", 1000, batch_size=10)


def quarters() -> Predictor:
    """The multi-stage predictor: an MLP each for accuracies below 25, 50, 75 and 100 %."""
    return meta_dnn.multi_stage(edges=EDGES)


def _make_alphax(
    space: Choices, *, c: float, predictor: Callable[[], Predictor] = quarters
) -> Searcher:
    problem = choices_in_order(space)
    return alphax.searcher(problem, c=c, predictor=predictor(), encode=space.one_hot, rollouts=10)


def _alphax(c: float, words: str = QUARTERS, **predictor: Any) -> tuple[Run, str]:
    make = functools.partial(_make_alphax, c=c, **predictor)
    return _ask(make, f"c={c:g} form=algorithm {words} k=10")


def _make_mcts(space: Choices, **settings: Any) -> Searcher:
    return mcts.searcher(choices_in_order(space), **settings)


def _mcts(**settings: Any) -> tuple[Run, str]:
    words = " ".join(f"{key}={value}" for key, value in settings.items())
    return _ask(functools.partial(_make_mcts, **settings), words)


def _make_q_learning(space: Choices) -> Searcher:
    return q_learning.searcher(choices_in_order(space), epsilon=0.3, repeats=20)


def _methods() -> dict[str, tuple[Run, str]]:
    made: dict[str, tuple[Run, str]] = {
        "random": (_random, "without replacement"),
        "regularised_evolution": _evolution(50, 10),
        "regularised_evolution_10_3": _evolution(10, 3),
        "regularised_evolution_100_25": _evolution(100, 25),
        "lanas": _lanas(Settings(5, 0.1, "equation", 50, 20)),
        "lanas_thesis": _lanas(Settings(8, 0.1, "algorithm", 200, 50)),
        "lanas_tuned": _lanas(Settings(5, 0.0, "algorithm", 50, 5)),
        "lamcts": _lamcts(scale_values=True),
        "lamcts_unscaled": _lamcts(),
        "lamcts_bo": _lamcts(solver="bo"),
        "alphax": _alphax(0.1),
        "alphax_c0.5": _alphax(0.5),
        "alphax_mlp": _alphax(0.1, "predictor=mlp", predictor=meta_dnn.mlp),
        "alphax_parts": _alphax(
            0.1, "predictor=multi_stage stages=4", predictor=meta_dnn.multi_stage
        ),
        "mcts": _mcts(c=0.1, form="algorithm"),
        "mcts_c0.5": _mcts(c=0.5, form="algorithm"),
        "mcts_equation": _mcts(c=0.1, form="equation"),
        "q_learning": _ask(
            _make_q_learning, "alpha=0.1 gamma=1 epsilon=0.3 decay=200 initial=0.5", 2000
        ),
        # TPE asks again for cells that it knows; on ImageNet-16 so often that trials need a limit.
        "tpe": _ask(baselines.tpe, "optuna defaults", 1000),
        "tpe_300": _ask(baselines.tpe, "optuna defaults", 300, idle=300, trials=300),
        "smac": _ask(functools.partial(smac.searcher, budget=1000), "smac defaults", 1000),
    }  # fmt: skip
    for height in (3, 5, 7):
        for c in (0.0, 0.01, 0.03, 0.1, 0.5):
            made[f"lanas_h{height}_c{c:g}"] = _lanas(Settings(height, c, "algorithm", 50, 20))
    for num_init in (10, 200):
        made[f"lanas_init{num_init}"] = _lanas(Settings(5, 0.1, "equation", num_init, 20))
    for select_every in (5, 50):
        made[f"lanas_select{select_every}"] = _lanas(Settings(5, 0.1, "equation", 50, select_every))
    return made


# Name, what runs it, and its settings in words.
METHODS = MappingProxyType(_methods())
