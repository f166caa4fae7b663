"""What every searcher promises; each searcher's tests call `check_searcher` on it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from search.interface import Outcome, Searcher, Trial, score


def check_searcher(
    searcher: Searcher,
    objective: Callable[[Any, int], float],
    *,
    budget: int = 12,
    batch: int = 3,
    valid: Callable[[Any], bool] = lambda point: True,
) -> None:
    """Checks ids, seeds, purity, replays, outcomes out of order or never, and failures.

    Args:
      searcher: of any kind.
      objective: quick, finite.
      budget: trials of each run.
      batch: trials asked for at once; divides the budget.
      valid: whether a point lies in the space.
    """
    first = _play(searcher, objective, budget, batch, seed=3)
    assert [trial.id for trial in first] == list(range(budget)), "ids: expected 0, 1, 2, ..."
    assert all(0 <= trial.seed < 2**31 for trial in first)
    assert all(valid(trial.point) for trial in first), "a point outside the space"
    _assert_same(first, _play(searcher, objective, budget, batch, seed=3), "the same calls")
    other = _play(searcher, objective, budget, batch, seed=4)
    assert not all(_equal(a.point, b.point) for a, b in zip(first, other, strict=True)), "seed"

    late = _play(searcher, objective, budget, batch, seed=3, order="late")
    _assert_same(late, _play(searcher, objective, budget, batch, seed=3, order="late"), "late")
    assert all(valid(trial.point) for trial in late)
    for broken in ("failed", "timeout", "nan"):
        trials = _play(searcher, objective, budget, batch, seed=3, broken=broken)
        assert len(trials) == budget
        assert all(valid(trial.point) for trial in trials)
    never = _play(searcher, objective, budget, batch, seed=3, order="never")
    assert len(never) == budget


def _play(
    searcher: Searcher,
    objective: Callable[[Any, int], float],
    budget: int,
    batch: int,
    *,
    seed: int,
    order: str = "in turn",
    broken: str = "",
) -> list[Trial]:
    """Runs a search; every state is copied before a call and compared after it."""
    state = searcher.init(seed)
    trials: list[Trial] = []
    waiting: list[Outcome] = []
    while len(trials) < budget:
        kept = copy.deepcopy(state)
        after, asked = searcher.ask(state, batch)
        assert len(asked) == batch, f"ask({batch}): expected as many trials, got {len(asked)}"
        assert _equal(state, kept), "ask changed the state that it was given"
        state, trials = after, trials + asked
        outcomes = [score(trial, objective) for trial in asked]
        if broken:
            value = float("nan")
            status = "ok" if broken == "nan" else broken
            outcomes = [Outcome(o.id, value, status) if o.id % 2 else o for o in outcomes]
        if order == "never":
            outcomes = [o for o in outcomes if o.id % 3]
        if order == "late":  # the batch before, backwards, and half of this one
            outcomes, waiting = [*reversed(waiting), *outcomes[:1]], outcomes[1:]
        kept = copy.deepcopy(state)
        after = searcher.tell(state, outcomes)
        assert _equal(state, kept), "tell changed the state that it was given"
        state = after
    return trials


def _assert_same(one: list[Trial], other: list[Trial], words: str) -> None:
    for a, b in zip(one, other, strict=True):
        assert _equal(a, b), f"{words}: trial {a.id} differs: {a} and {b}"


def _equal(one: Any, other: Any) -> bool:
    left, right = jax.tree.flatten(one), jax.tree.flatten(other)
    if left[1] != right[1]:
        return False
    return all(
        np.array_equal(np.asarray(a), np.asarray(b), equal_nan=_is_float(a))
        for a, b in zip(left[0], right[0], strict=True)
    )


def _is_float(leaf: Any) -> bool:
    return np.asarray(leaf).dtype.kind == "f"
