"""Solvers of the 0-1 knapsack that a learned policy is compared with.

NumPy in, NumPy out: weights and values of one instance, and the answer which items are taken. What
they take fits: the sum of its weights, rounded once to float64 (`math.fsum`), is at most the
capacity.

Source: the baselines of Pham 2021, section 2.5.2. The thesis's MinKnap and ExpKnap (branch and
bound) are in no registry: `exact` is the method of the first, and has optima of the second.
"""

from __future__ import annotations

import functools
import math
from fractions import Fraction

import numpy as np
from jaxtyping import Bool, Float, Int, Real, Shaped

from nco.whole import whole

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
            of the thesis's "greedy" column.

    >>> import numpy as np
    >>> ratio_greedy(np.array([0.5, 0.9, 0.4]), np.array([5.0, 4.0, 1.0]), 1.0)
    array([ True, False,  True])
    """
    weights, values = _checked(weights, values, capacity)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratios = np.where(weights > 0, values / weights, np.inf)
    sizes, room = _counted(weights, capacity)
    taken = np.zeros(len(weights), bool)
    for item in np.argsort(-ratios, kind="stable"):
        fits = sizes[item] <= room
        if fits:
            taken[item] = True
            room -= sizes[item]
        elif not skip:
            break
    return taken


def exact(
    weights: Items, values: Items, capacity: float, *, most_states: int = 2**20
) -> Bool[np.ndarray, " item"]:
    """An optimum, by MinKnap: dynamic programming from the break item outwards, with bounds.

    Weights and values are counted exactly, whatever their magnitudes: of what fits, nothing has a
    larger exact sum of values. 50 random items take some 2 ms and 200 some 10 ms; 1,000, or items
    whose values hang on their weights, may take many states and minutes.

    Args:
        weights: at least 0.
        values: at least 0.
        capacity: in the weights' unit.
        most_states: bound on the pairs of weight and value that are kept at a time.

    Raises:
        ValueError: the input is no instance (every solver checks).
        RuntimeError: more states would be needed for a proof.

    Source: D. Pisinger, "A minimal algorithm for the 0-1 knapsack problem", 1997.

    >>> import numpy as np
    >>> exact(np.array([0.8, 0.4, 0.2, 0.1]), np.array([4.0, 3.0, 2.0, 1.0]), 1.5)
    array([ True,  True,  True,  True])
    """
    weights, values = _checked(weights, values, capacity)
    sizes, room = _counted(weights, capacity)
    worths, _ = whole(values)
    taken = (sizes == 0) & (worths > 0)
    order = np.flatnonzero((sizes > 0) & (sizes <= room) & (worths > 0))
    if order.size:

        def after(i: int, j: int) -> int:
            return int(worths[j]) * int(sizes[i]) - int(worths[i]) * int(sizes[j])

        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            roughly = np.argsort(-(values / weights)[order], kind="stable")
        order = np.array(sorted(order[roughly].tolist(), key=functools.cmp_to_key(after)))
        taken[order] = _minknap(sizes[order], worths[order], room, most_states)
    return taken


def _minknap(
    sizes: Shaped[np.ndarray, " item"], worths: Shaped[np.ndarray, " item"], room: int, most: int
) -> Bool[np.ndarray, " item"]:
    """Which items to take; they come by falling worth over size, each above 0.

    A state is a set of items: those before the break item, but for the items that were toggled on
    the way to it. States are kept by rising size and worth.
    """
    items = len(sizes)
    rising = np.cumsum(sizes)
    right = int(np.searchsorted(rising, room, side="right"))  # the break item
    left = right - 1
    first = np.arange(items) < right
    if right == items:
        return first
    size, worth = (np.sum(x[:right], keepdims=True, dtype=x.dtype) for x in (sizes, worths))
    best, taken, filled = int(worth[0]), first, room - int(size[0])
    bound = best + filled * int(worths[right]) // int(sizes[right])
    history: list[tuple[int, np.ndarray, np.ndarray]] = []
    while len(size) and best < bound and (left >= 0 or right < items):
        adding = right < items and (left < 0 or len(history) % 2 == 0)
        item, sign = (right, 1) if adding else (left, -1)
        right, left = (right + 1, left) if adding else (right, left - 1)
        before = np.tile(np.arange(len(size)), 2)
        toggled = np.repeat([False, True], len(size))
        size = np.concatenate([size, size + sign * sizes[item]])
        worth = np.concatenate([worth, worth + sign * worths[item]])
        order = np.argsort(-worth, kind="stable")
        order = order[np.argsort(size[order], kind="stable")]
        ahead = np.maximum.accumulate(worth[order])  # no state of this size or less has more
        order = order[np.concatenate([[True], ahead[1:] > ahead[:-1]])]
        last = int(np.sum(size[order] <= room)) - 1
        if last >= 0 and worth[order[last]] > best:
            best, index, taken = int(worth[order[last]]), order[last], first.copy()
            for one, back, flipped in [(item, before, toggled), *reversed(history)]:
                taken[one] ^= flipped[index]
                index = back[index]
        size, worth = size[order], worth[order]
        # What fills the room that is left, or makes it, at the ratio of the next item to add or to
        # remove: the state comes to no more. In Python's integers, as products may be long.
        add = (int(worths[right]), int(sizes[right])) if right < items else (0, 1)
        remove = (int(worths[left]), int(sizes[left])) if left >= 0 else (1, 0)
        price, unit = np.array([remove, add], object)[(size <= room).astype(int)].T
        hopeful = (worth - best) * unit + (room - size) * price > 0
        keep = np.flatnonzero(hopeful)
        order, size, worth = order[keep], size[keep], worth[keep]
        history.append((item, before[order], toggled[order]))
        if len(size) > most:
            raise RuntimeError(f"no proof of an optimum of {items} items within {most} states")
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
    sizes, room = _counted(weights, capacity)
    with np.errstate(over="ignore"):
        shares = weights / capacity
    for slack in (1e-12, -1e-12):  # that rounding does not turn an exact fit into a step too many
        taken = _in_steps(shares * (1.0 - slack), values, steps)
        if sizes[taken].sum() <= room:
            break
    return taken


def _in_steps(shares: np.ndarray, values: np.ndarray, steps: int) -> np.ndarray:
    """The best items of these shares of the capacity, each rounded up to whole steps."""
    counted = np.ceil(np.minimum(shares, 2.0) * steps).astype(np.int64)
    best = np.zeros(steps + 1)  # best value by room used
    chosen = np.zeros((len(counted), steps + 1), bool)
    for item, (size, value) in enumerate(zip(counted, values, strict=True)):
        if size > steps:
            continue
        with_item = best[: steps + 1 - size] + value
        chosen[item, size:] = with_item > best[size:]
        best[size:] = np.maximum(best[size:], with_item)
    taken, room = np.zeros(len(counted), bool), steps
    for item in range(len(counted) - 1, -1, -1):
        if chosen[item, room]:
            taken[item], room = True, room - counted[item]
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


def _counted(
    weights: Float[np.ndarray, " item"], capacity: float
) -> tuple[Shaped[np.ndarray, " item"], int]:
    """Weights as whole numbers, and the largest whole sum that rounds to at most the capacity."""
    sizes, factor = whole(weights)
    room, step = Fraction(float(capacity)), Fraction(math.ulp(capacity))
    limit = (room + step / 2) * factor
    even = room / step % 2 == 0  # a tie is rounded to even, here to the capacity
    most = math.floor(limit) if even else math.ceil(limit) - 1
    return sizes, min(most, int(sizes.sum()))
