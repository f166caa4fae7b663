"""Solvers of the 0-1 knapsack that a learned policy is compared with.

NumPy in, NumPy out: weights and values of one instance, and the answer which items are taken. What
they take fits, in float64.

Source: the baselines of Pham 2021, section 2.5.2. The seed's MinKnap (dynamic programming with
bounds) and ExpKnap (branch and bound) are in no registry; `dynamic_programming` and OR-Tools'
branch and bound (`exact`) stand for them.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float, Int, Real

Items = Real[np.ndarray, " item"]


def ratio_greedy(
    weights: Items, values: Items, capacity: float, *, skip: bool = True
) -> Bool[np.ndarray, " item"]:
    """Items in the order of value over weight, as long as they fit.

    Args:
        weights: at least 0.
        values: in any unit, at least 0.
        capacity: in the weights' unit.
        skip: goes on past an item that does not fit; `False` stops there, which gives the figures
            of the seed's "greedy" column.

    >>> import numpy as np
    >>> ratio_greedy(np.array([0.5, 0.9, 0.4]), np.array([5.0, 4.0, 1.0]), 1.0)
    array([ True, False,  True])
    """
    weights, values = _checked(weights, values, capacity)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(weights > 0, values / weights, np.inf)
    taken, room = np.zeros(len(weights), bool), capacity
    for item in np.argsort(-ratios, kind="stable"):
        fits = weights[item] <= room
        if fits:
            taken[item] = True
            room = capacity - math.fsum(weights[taken])
        elif not skip:
            break
    return taken


def exact(
    weights: Items, values: Items, capacity: float, *, time_limit_s: float = 60.0
) -> Bool[np.ndarray, " item"]:
    """The optimum by OR-Tools' branch and bound.

    Weights are counted in units of 10^-12 of the capacity and rounded up, so that what is taken
    fits (whole weights stay as they are); values in units of 10^-9 of the largest.

    Raises:
        ValueError: the input is no instance (every solver checks).
        TimeoutError: no proof within the limit.
        ImportError: OR-Tools is absent; says what to install.
    """
    weights, values = _checked(weights, values, capacity)
    try:
        from ortools.algorithms.python import knapsack_solver
    except ImportError as error:
        raise ImportError("this solver needs ortools: pip install ortools") from error
    fitting = np.flatnonzero(weights <= capacity)
    taken = np.zeros(len(weights), bool)
    if not fitting.size or not values[fitting].any():
        return taken
    kind = knapsack_solver.SolverType.KNAPSACK_MULTIDIMENSION_BRANCH_AND_BOUND_SOLVER
    solver = knapsack_solver.KnapsackSolver(kind, "knapsack")
    solver.set_time_limit(time_limit_s)
    whole, room = weights[fitting], min(math.floor(capacity), 10**12 * len(weights))
    if not np.array_equal(whole, np.round(whole)) or whole.max() > 1e12:
        whole, room = np.ceil(whole * (1e12 / capacity)), 10**12
    worth = np.round(values[fitting] * (1e9 / values[fitting].max()))
    solver.init(worth.astype(np.int64).tolist(), [whole.astype(np.int64).tolist()], [room])
    solver.solve()
    if not solver.is_solution_optimal():
        raise TimeoutError(f"no proof of optimality for {len(weights)} items in {time_limit_s} s")
    for index, item in enumerate(fitting):
        taken[item] = solver.best_solution_contains(index)
    return taken


def dynamic_programming(
    weights: Items, values: Items, capacity: float, *, steps: int = 100_000
) -> Bool[np.ndarray, " item"]:
    """Dynamic programming over weights rounded up to `capacity / steps` (Pham 2021, 2.5.2).

    What is taken fits; with more steps it comes as close to the optimum as one likes. Needs
    `items * steps` bytes.

    Args:
        weights: at least 0.
        values: at least 0.
        capacity: in the weights' unit.
        steps: how finely weights are counted.
    """
    weights, values = _checked(weights, values, capacity)
    if steps < 1:
        raise ValueError(f"steps: expected at least 1, got {steps}")
    if capacity == 0:
        return weights == 0
    # Rounding in the division must not turn an exact fit into one step too many.
    whole = np.ceil(weights * (steps / capacity) * (1 - 1e-12)).astype(np.int64)
    best = np.zeros(steps + 1)  # best value by room used
    chosen = np.zeros((len(whole), steps + 1), bool)
    for item, (size, value) in enumerate(zip(whole, values, strict=True)):
        if size > steps:
            continue
        with_item = best[: steps + 1 - size] + value
        chosen[item, size:] = with_item > best[size:]
        best[size:] = np.maximum(best[size:], with_item)
    taken, room = np.zeros(len(whole), bool), steps
    for item in range(len(whole) - 1, -1, -1):
        if chosen[item, room]:
            taken[item], room = True, room - whole[item]
    return taken


def worth(
    items: Real[np.ndarray, "instance item 2"],
    actions: Int[np.ndarray, "instance item"],
    stop_at: float | None = None,
) -> Float[np.ndarray, " instance"]:
    """Value of what a policy chose, in float64, beside the float32 reward of `nco.problems`.

    Args:
        items: weights and values.
        actions: items in the order of their choice; -1 takes nothing.
        stop_at: the capacity, under the stop rule: the item that overflows is not counted.
    """
    chosen = np.where(actions >= 0, actions, 0)
    weight, gained = (
        np.where(actions >= 0, np.take_along_axis(column.astype(np.float64), chosen, axis=1), 0.0)
        for column in np.moveaxis(items, -1, 0)
    )
    if stop_at is not None:
        gained = np.where(np.cumsum(weight, axis=1) <= stop_at, gained, 0.0)
    return gained.sum(axis=1)


def _checked(
    weights: np.ndarray, values: np.ndarray, capacity: float
) -> tuple[Float[np.ndarray, " item"], Float[np.ndarray, " item"]]:
    weights, values = np.asarray(weights, np.float64), np.asarray(values, np.float64)
    if weights.ndim != 1 or weights.shape != values.shape or not weights.size:
        shapes = f"{list(weights.shape)} and {list(values.shape)}"
        raise ValueError(f"weights and values: expected the same shape [item], got {shapes}")
    for name, array in (("weights", weights), ("values", values)):
        if not np.isfinite(array).all() or (array < 0).any():
            raise ValueError(f"{name}: expected finite numbers of at least 0")
    if not 0 <= capacity < math.inf:
        raise ValueError(f"capacity: expected a finite number of at least 0, got {capacity}")
    return weights, values
