"""LaNAS on a table of all points, compiled, many seeds at once.

The same search as `lanas.searcher` with `pi_random`, for a space so small that every point's reward
is in a table. Sampling in a region is exact then: a uniform draw from the rows that lie in it and
were not asked for. Its random numbers are others than those of `lanas.searcher`, so the two agree
in distribution; row by row it agrees with the slow NumPy oracle of the tests.

Source: Wang 2022, chapter 4; the benchmark protocol of its section 4.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from search import bandit, spaces
from search.bandit import Form
from search.interface import (
    History,
    Outcome,
    Searcher,
    Trial,
    begin,
    check_count,
    extend,
    record,
)
from search.linear_tree import RIDGE
from search.spaces import Choices

FIRST = 600  # samples that most searches need no more than


class Settings(NamedTuple):
    """As the arguments of `lanas.searcher`; `select_every` divides `budget - num_init`."""

    height: int = 5
    c: float = 0.1
    form: Form = "algorithm"
    num_init: int = 50
    select_every: int = 20


class Listed(NamedTuple):
    """A search by `searcher`.

    Attributes:
        history: its trials.
        order: the rows that it asks for, as far as they have been computed.
    """

    history: History
    order: Int[np.ndarray, " known"]


def searcher(
    space: Choices, values: Float[np.ndarray, " row"], *, budget: int, settings: Settings
) -> Searcher:
    """The compiled search as a searcher. It knows the rewards and ignores what it is told.

    Args:
        space: whose points the rows are, in the order of `space.every()`.
        values: their rewards.
        budget: trials of a seed at most; rounded up to whole trees. Rows that are left when no
            whole tree fits into the table any more come last, and then all come again.
        settings: of the search.

    Raises:
        ValueError: a setting out of range, or a space that is not of choices.
    """
    spaces.check(space, Choices)
    points = space.every()
    encodings = jnp.asarray(space.one_hot(points), jnp.float32)
    rewards = jnp.asarray(values, jnp.float32)

    def whole(trials: int) -> int:
        trees = max(0, -(-(trials - settings.num_init) // settings.select_every))
        fit = (len(points) - settings.num_init) // settings.select_every
        return settings.num_init + min(trees, fit) * settings.select_every

    first, last = whole(min(FIRST, budget)), whole(budget)
    most = max(last, budget)
    check(settings, last, len(points))

    def init(seed: int) -> Listed:
        return Listed(begin(seed, space.dim, np.int64), np.zeros(0, np.int64))

    def ask(state: Listed, n: int) -> tuple[Listed, list[Trial]]:
        check_count(n)
        history, order = state
        end = history.asked + n
        if end > most:
            raise ValueError(f"n: expected at most {most - history.asked} more trials, got {n}")
        if end > len(order) and len(order) < last:
            keys = jax.random.key(history.seed)[None]
            size = first if end <= first else last
            (found,) = np.asarray(
                search(encodings, rewards, keys, budget=size, settings=settings), np.int64
            )
            # A longer search begins as the shorter one does, but for the rounding of its sums.
            order = np.concatenate([order, found[~np.isin(found, order)]])
        if end > len(order):  # beyond the last whole tree
            order = np.concatenate([order, np.setdiff1d(np.arange(len(points)), order)])
        rows = order[np.arange(history.asked, end) % len(order)]
        history, trials = extend(history, points[rows])
        return Listed(history, order), trials

    def tell(state: Listed, outcomes: Sequence[Outcome]) -> Listed:
        return state._replace(history=record(state.history, outcomes))

    return Searcher(init, ask, tell)


class _Tree(NamedTuple):
    weights: Float[Array, "inner hot"]
    offsets: Float[Array, " inner"]
    split: Bool[Array, " inner"]


@partial(jax.jit, static_argnames=("budget", "settings", "together"))
def search(
    encodings: Float[Array, "row hot"],
    values: Float[Array, " row"],
    keys: Key[Array, " seed"],
    *,
    budget: int,
    settings: Settings,
    together: int = 8,
) -> Int[Array, "seed budget"]:
    """Which rows each seed asks for, in order; no row twice.

    Args:
        encodings: of all points, one a row.
        values: their rewards.
        keys: one a seed; consumed.
        budget: evaluations a seed, the first `num_init` of them random.
        settings: of the search.
        together: seeds that are run as one batch; memory grows with it.

    Raises:
        ValueError: a setting out of range.
    """
    check(settings, budget, encodings.shape[0])
    one = partial(_search, encodings, values, budget=budget, settings=settings)
    return jax.lax.map(one, keys, batch_size=together)


def asked(
    encodings: Float[np.ndarray, "row hot"],
    values: Float[np.ndarray, " row"],
    seed: int,
    *,
    budget: int,
    settings: Settings,
) -> Int[np.ndarray, " asked"]:
    """Which rows a single seed asks for: at least `budget`, rounded up to whole trees.

    Args:
        encodings: of all points, one a row.
        values: their rewards.
        seed: of the search.
        budget: evaluations.
        settings: of the search.

    Raises:
        ValueError: a setting out of range.
    """
    trees = -(-max(budget - settings.num_init, 0) // settings.select_every)
    whole = settings.num_init + trees * settings.select_every
    table = jnp.asarray(encodings, jnp.float32), jnp.asarray(values, jnp.float32)
    keys = jax.random.key(seed)[None]
    return np.asarray(search(*table, keys, budget=whole, settings=settings)[0])


def check(settings: Settings, budget: int, rows: int) -> None:
    """Checks settings against the budget and the size of the table.

    Raises:
        ValueError: names what is out of range.
    """
    bandit.check(settings.c, settings.form)
    if settings.height < 1:
        raise ValueError(f"height: expected at least 1, got {settings.height}")
    if settings.num_init < 1 or settings.select_every < 1:
        got = (settings.num_init, settings.select_every)
        raise ValueError(f"num_init, select_every: expected at least 1, got {got}")
    if not settings.num_init <= budget <= rows:
        raise ValueError(f"budget: expected {settings.num_init} to {rows}, got {budget}")
    if (budget - settings.num_init) % settings.select_every:
        raise ValueError(
            f"budget: expected num_init = {settings.num_init} and a multiple of select_every = "
            f"{settings.select_every} more, got {budget}"
        )


def _search(
    encodings: Float[Array, "row hot"],
    values: Float[Array, " row"],
    key: Key[Array, ""],
    *,
    budget: int,
    settings: Settings,
) -> Int[Array, " budget"]:
    rows = encodings.shape[0]
    first, rest = jax.random.split(key)
    start = jax.random.permutation(first, rows)[: settings.num_init].astype(jnp.int32)
    draws = jax.random.uniform(rest, (budget - settings.num_init,))
    asked = jnp.zeros(budget, jnp.int32).at[: settings.num_init].set(start)
    seen = jnp.zeros(rows, bool).at[start].set(True)
    where = _ancestry(settings.height)
    depths = where.sum(1, dtype=jnp.int32)  # [node]

    def learn_and_select(
        carry: tuple[Array, Array, Array], drawn: Float[Array, " select"]
    ) -> tuple[tuple[Array, Array, Array], None]:
        asked, seen, count = carry
        known = jnp.arange(budget) < count
        tree = _learn(encodings[asked], values[asked], known, settings.height)
        leaves = _route(tree, encodings, settings.height)  # [row]
        visited = where[leaves[asked]] & known[:, None]  # [budget, node]
        visits = visited.sum(0).astype(jnp.float32)
        total = jnp.where(visited, values[asked][:, None], 0.0).sum(0)
        by_leaf = jnp.zeros(where.shape[0], jnp.int32).at[leaves].add((~seen).astype(jnp.int32))
        free = by_leaf @ where.astype(jnp.int32)  # [node]: rows that were not asked for

        def step(carry: Any, uniform: Float[Array, ""]) -> tuple[Any, None]:
            asked, seen, count, visits, total, free = carry
            node = _select(tree, visits, total, settings)
            row = _draw(depths, leaves, seen, free, node, uniform)
            path = where[leaves[row]]
            on_path = path.astype(jnp.float32)
            return (
                asked.at[count].set(row),
                seen.at[row].set(True),
                count + 1,
                visits + on_path,
                total + on_path * values[row],
                free - path.astype(jnp.int32),
            ), None

        begun = (asked, seen, count, visits, total, free)
        (asked, seen, count, _, _, _), _ = jax.lax.scan(step, begun, drawn)
        return (asked, seen, count), None

    begun = (asked, seen, jnp.int32(settings.num_init))
    (asked, _, _), _ = jax.lax.scan(
        learn_and_select, begun, draws.reshape(-1, settings.select_every)
    )
    return asked


def _ancestry(height: int) -> Bool[Array, "node node"]:
    """Whether the second node is on the path to the first, itself included."""
    nodes = 2**height - 1
    heap = jnp.arange(1, nodes + 1)
    above = jnp.stack([heap >> level for level in range(height)])  # [level, node]
    return (above[:, :, None] == heap[None, None, :]).any(0)


def _learn(
    encodings: Float[Array, "budget hot"],
    values: Float[Array, " budget"],
    known: Bool[Array, " budget"],
    height: int,
) -> _Tree:
    """As `linear_tree.learn`, all nodes of a level at once."""
    hot, inner = encodings.shape[1], 2 ** (height - 1) - 1
    tree = _Tree(jnp.zeros((inner, hot)), jnp.zeros(inner), jnp.zeros(inner, bool))
    nodes = jnp.zeros(values.shape[0], jnp.int32)
    going = known
    for level in range(height - 1):
        at = jnp.arange(2**level - 1, 2 ** (level + 1) - 1)
        member = (going[None] & (nodes[None] == at[:, None])).astype(jnp.float32)  # [node, sample]
        weights, offsets, split = jax.vmap(partial(_fit, encodings, values))(member)
        tree = _Tree(
            tree.weights.at[at].set(weights),
            tree.offsets.at[at].set(offsets),
            tree.split.at[at].set(split),
        )
        nodes, going = _down(tree, encodings, nodes, going)
    return tree


def _fit(
    encodings: Float[Array, "sample hot"],
    values: Float[Array, " sample"],
    member: Float[Array, " sample"],
) -> tuple[Float[Array, " hot"], Float[Array, ""], Bool[Array, ""]]:
    size = member.sum()
    safe = jnp.maximum(size, 1.0)
    centre, mean = member @ encodings / safe, member @ values / safe
    centred = (encodings - centre[None]) * member[:, None]
    gram = centred.T @ centred + RIDGE * safe * jnp.eye(encodings.shape[1])
    slope = jax.scipy.linalg.solve(gram, centred.T @ (values - mean), assume_a="pos")
    offset = -(slope @ centre)
    left = ((encodings @ slope + offset) > 0).astype(jnp.float32) @ member
    split = (size >= 2) & (left > 0) & (left < size)
    return slope, offset, split


def _down(
    tree: _Tree,
    encodings: Float[Array, "n hot"],
    nodes: Int[Array, " n"],
    going: Bool[Array, " n"],
) -> tuple[Int[Array, " n"], Bool[Array, " n"]]:
    """Moves points one level down where their node is split."""
    going = going & tree.split[nodes]
    scores = jnp.take_along_axis(encodings @ tree.weights.T, nodes[:, None], 1)[:, 0]
    good = scores + tree.offsets[nodes] > 0
    return jnp.where(going, 2 * nodes + jnp.where(good, 1, 2), nodes), going


def _route(tree: _Tree, encodings: Float[Array, "row hot"], height: int) -> Int[Array, " row"]:
    scores = encodings @ tree.weights.T + tree.offsets[None]  # [row, inner]
    nodes = jnp.zeros(encodings.shape[0], jnp.int32)
    going = jnp.ones(encodings.shape[0], bool)
    for _ in range(height - 1):
        going = going & tree.split[nodes]
        good = jnp.take_along_axis(scores, nodes[:, None], 1)[:, 0] > 0
        nodes = jnp.where(going, 2 * nodes + jnp.where(good, 1, 2), nodes)
    return nodes


def _select(
    tree: _Tree, visits: Float[Array, " node"], total: Float[Array, " node"], settings: Settings
) -> Int[Array, ""]:
    mean = total / jnp.maximum(visits, 1.0)
    node, going = jnp.int32(0), jnp.bool_(True)
    for _ in range(settings.height - 1):
        going = going & tree.split[node]
        children = 2 * node + jnp.array([1, 2], jnp.int32)
        bound = bandit.upper_bound(
            mean[children], visits[node], visits[children],
            c=settings.c, form=settings.form, xp=jnp,
        )  # fmt: skip
        node = jnp.where(going, children[jnp.argmax(bound)], node)
    return node


def _draw(
    depths: Int[Array, " node"],
    leaves: Int[Array, " row"],
    seen: Bool[Array, " row"],
    free: Int[Array, " node"],
    node: Int[Array, ""],
    uniform: Float[Array, ""],
) -> Int[Array, ""]:
    """A row of the node's region that was not seen; of its parent's where there is none."""
    node = jax.lax.while_loop(lambda node: (free[node] == 0) & (node > 0), _above, node)
    below = depths[leaves] - depths[node]  # in a heap, an ancestor's number is a prefix
    inside = (below >= 0) & ((leaves + 1) >> jnp.maximum(below, 0) == node + 1)
    rank = (uniform * free[node].astype(uniform.dtype)).astype(jnp.int32)
    count = jnp.cumsum(inside & ~seen)
    return jnp.searchsorted(count, jnp.minimum(rank + 1, free[node])).astype(jnp.int32)


def _above(node: Int[Array, ""]) -> Int[Array, ""]:
    return (node - 1) // 2
