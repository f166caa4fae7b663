"""LaNAS: Monte-Carlo tree search whose actions are learned linear splits of the space.

Every `select_every` samples a full binary tree is learned from all of them (`linear_tree`). Each
trial descends it by upper confidence bounds to a leaf and draws a point there, in the intersection
of the half-spaces on its path. The tree is learned, not grown: nothing is simulated and no node is
expanded.

One-shot evaluation needs nothing of its own: the objective asks a supernet about an architecture.

Source: Wang 2022, chapter 4 (equations 4.1 to 4.3, algorithm 4).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeGuard, get_args

import numpy as np
from jaxtyping import Bool, Float, Shaped

from search import bandit, linear_tree, spaces
from search.acquisition import expected_improvement
from search.bandit import Form
from search.interface import (
    History,
    Outcome,
    Searcher,
    Trial,
    begin,
    check_count,
    extend,
    generator,
    record,
)
from search.linear_tree import LinearTree
from search.spaces import ENUMERABLE, Box, Choices, Space

Sampling = Literal["rejection", "hit_and_run"]
# (encodings, values, random numbers) -> (encodings -> mean, standard deviation)
Surrogate = Callable[[Any, Any, np.random.Generator], Callable[[Any], tuple[Any, Any]]]

DRAWS = 1000  # uniform points looked at together
ROUNDS = 20  # of them, before a region counts as too thin for rejection
STEPS = 50  # of a hit-and-run chain


class State(NamedTuple):
    """A search: its trials, the tree, and how many values there were when it was learned."""

    history: History
    tree: LinearTree
    learned_from: int


def searcher(
    space: Space,
    *,
    height: int = 8,
    c: float = 0.1,
    form: Form = "algorithm",
    num_init: int = 200,
    select_every: int = 50,
    sampling: Sampling = "rejection",
    surrogate: Surrogate | None = None,
    candidates: int = 256,
    unique: bool = True,
    hidden_units: int = 0,
    encode: Callable[[Any], Float[np.ndarray, "n hot"]] | None = None,
) -> Searcher:
    """LaNAS over a space; the defaults are the thesis's (section 4.3).

    A trial that is open counts as a visit, so that a batch spreads over the leaves; one that failed
    counts too, without a value.

    Args:
        space: what to search.
        height: levels of the tree: height 5 has 31 nodes, 16 of them leaves.
        c: weight of exploration, in the unit of the reward. The thesis advises 0.1 of the largest
            reward; on NAS-Bench-201 no c was clearly better than 0.
        form: of the bound (`search.bandit`); the thesis's advice on `c` is for "algorithm".
        num_init: random trials before the first tree.
        select_every: new values from one tree to the next (the thesis's #select).
        sampling: "rejection" draws uniform points until one lies in the region. If none of 20,000
            does, it continues with "hit_and_run", a random walk inside the region from one of its
            samples; on choices the walk changes one at a time. A space of at most 20,000 choices is
            listed instead.
        surrogate: with it a trial is the point of largest expected improvement among `candidates`
            points of the region (pi_bayes); without, a random point (pi_random).
        candidates: see `surrogate`.
        unique: whether known choices are not asked for again. Where a region has no new points, its
            parent's is taken. Once all points of the space are known, they come again.
        hidden_units: of a perceptron that splits each node (figure 4.6b); 0 for a linear function.
            On choices only: the walk in a box needs linear constraints.
        encode: `[n, dim]` points as `[n, hot]` vectors to split; one-hot for choices, the unit cube
            for a box by default.

    Raises:
        ImportError: scikit-learn is needed for `hidden_units` and absent; says what to install.
        ValueError: a setting out of range, or no space.
    """
    spaces.check(space, Box, Choices)
    bandit.check(c, form)
    if hidden_units and not isinstance(space, Choices):
        raise ValueError(f"hidden_units: expected 0 in a box, got {hidden_units}")
    if sampling not in get_args(Sampling):
        raise ValueError(f"sampling: expected one of {get_args(Sampling)}, got {sampling!r}")
    for name, value in (
        ("num_init", num_init), ("select_every", select_every), ("candidates", candidates)
    ):  # fmt: skip
        if value < 1:
            raise ValueError(f"{name}: expected at least 1, got {value}")
    encode = encode or (space.one_hot if isinstance(space, Choices) else space.to_unit)
    hot = encode(space.sample(generator(0), 1)).shape[1]
    discrete = isinstance(space, Choices)
    settings = _Settings(
        space, encode, c, form, sampling, surrogate, candidates, unique and discrete
    )

    def init(seed: int) -> State:
        history = begin(seed, space.dim, np.int64 if discrete else np.float64)
        return State(history, linear_tree.bare(height, hot, hidden_units), 0)

    def ask(state: State, n: int) -> tuple[State, list[Trial]]:
        check_count(n)
        trials: list[Trial] = []
        for _ in range(n):
            state = _relearn(settings, state, height, num_init, select_every, hidden_units)
            history, new = extend(state.history, _propose(settings, state, num_init))
            state, trials = state._replace(history=history), trials + new
        return state, trials

    def tell(state: State, outcomes: Sequence[Outcome]) -> State:
        return state._replace(history=record(state.history, outcomes))

    return Searcher(init, ask, tell)


class _Settings(NamedTuple):
    space: Space
    encode: Callable[[Any], Any]
    c: float
    form: Form
    sampling: Sampling
    surrogate: Surrogate | None
    candidates: int
    unique: bool


def _relearn(
    settings: _Settings,
    state: State,
    height: int,
    num_init: int,
    select_every: int,
    hidden_units: int,
) -> State:
    good = state.history.good
    wanted = state.learned_from + select_every if state.learned_from else 1
    if state.history.asked < num_init or len(good) < wanted:
        return state
    encodings = settings.encode(state.history.points[good])
    tree = linear_tree.learn(
        encodings, state.history.values[good], height,
        hidden_units=hidden_units, seed=state.history.seed,
    )  # fmt: skip
    return State(state.history, tree, len(good))


def _propose(settings: _Settings, state: State, num_init: int) -> Shaped[np.ndarray, "1 dim"]:
    history = state.history
    rng = generator(history.seed, history.asked)
    if history.asked < num_init or not state.learned_from:
        found = _draw(settings, state, 0, np.zeros((0, settings.space.dim)), rng, 1)
        return found if len(found) else settings.space.sample(rng, 1)  # all points are known
    encodings = settings.encode(history.points)
    leaves = linear_tree.route(state.tree, encodings)
    leaf = select(state.tree, leaves, history.values, c=settings.c, form=settings.form)
    for node in reversed(linear_tree.path(leaf)):
        members = history.points[linear_tree.inside(state.tree, node, encodings)]
        wanted = 1 if settings.surrogate is None else settings.candidates
        found = _draw(settings, state, node, members, rng, wanted)
        if len(found):
            break
    else:
        return settings.space.sample(rng, 1)
    if settings.surrogate is None:
        return found[:1]
    good = history.good
    predict = settings.surrogate(encodings[good], history.values[good], rng)
    mean, spread = predict(settings.encode(found))
    gain = expected_improvement(mean, spread, float(history.values[good].max()))
    return found[[int(np.argmax(gain))]]


def select(
    tree: LinearTree,
    leaves: Shaped[np.ndarray, " n"],
    values: Float[np.ndarray, " n"],
    *,
    c: float,
    form: Form = "algorithm",
) -> int:
    """Descends from the root to the leaf of the largest bounds.

    Args:
        tree: of any height.
        leaves: where each trial stops.
        values: of the trials; nan where open or failed.
        c: weight of the bonus.
        form: of the bound.

    Returns:
        The leaf's number. Of two children with the same bound, the left one.
    """
    counts = linear_tree.count(tree, leaves, values)
    mean = counts.total / np.maximum(counts.known, 1)
    node = 0
    while node < len(tree.split) and tree.split[node]:
        children = np.array([2 * node + 1, 2 * node + 2])
        bound = bandit.upper_bound(
            mean[children], counts.visits[node], counts.visits[children], c=c, form=form
        )
        node = int(children[np.argmax(bound)])
    return node


def _draw(
    settings: _Settings,
    state: State,
    node: int,
    members: Shaped[np.ndarray, "m dim"],
    rng: np.random.Generator,
    wanted: int,
) -> Shaped[np.ndarray, "found dim"]:
    """Up to `wanted` points of a node's region, none that is known if they are to be unique."""

    def allowed(points: Any) -> Bool[np.ndarray, " n"]:
        good = linear_tree.inside(state.tree, node, settings.encode(points))
        if settings.unique:
            good &= ~_among(settings.space, points, state.history.points)
        return good

    found: list[Any] = []
    walking = settings.sampling == "hit_and_run" and len(members) > 0 and node > 0
    space = settings.space
    if _is_small(space) and not walking:
        points = space.every()
        points = points[allowed(points)]
        return points[rng.permutation(len(points))[:wanted]]
    for _ in range(0 if walking else ROUNDS):
        points = settings.space.sample(rng, DRAWS)
        found += list(points[allowed(points)])
        if len(found) >= wanted:
            break
    if not found and len(members):
        chains = max(1, wanted // 8)
        for _ in range(chains):
            start = members[rng.integers(len(members))]
            points = walk(settings.space, settings.encode, state.tree, node, start, rng)
            found += list(points[allowed(points)])
        # The end of a walk is the furthest from where it began.
        found = found[::-1]
    if not found:
        return np.zeros((0, settings.space.dim), state.history.points.dtype)
    return np.array(found[:wanted])


def _is_small(space: Space) -> TypeGuard[Choices]:
    return isinstance(space, Choices) and space.size <= ENUMERABLE


def _among(space: Space, points: Any, known: Any) -> Bool[np.ndarray, " n"]:
    """Which points are among the known ones."""
    if isinstance(space, Choices) and space.size < 2**62:
        return np.isin(space.rows(points), space.rows(known))
    bytes_known = {point.tobytes() for point in known}
    return np.array([point.tobytes() in bytes_known for point in points], bool)


def walk(
    space: Space,
    encode: Callable[[Any], Float[np.ndarray, "n hot"]],
    tree: LinearTree,
    node: int,
    start: Shaped[np.ndarray, " dim"],
    rng: np.random.Generator,
    steps: int = STEPS,
) -> Shaped[np.ndarray, "steps dim"]:
    """A hit-and-run chain inside a node's region: every point of it satisfies the constraints.

    In a box each step draws a direction and then a uniform point of the chord (whose ends follow
    from the linear constraints, so `encode` has to be affine there; the default is). On choices it
    draws a coordinate and then one of the values that stay inside.

    Args:
        space: the box or the choices.
        encode: as in `searcher`.
        tree: whose region.
        node: which.
        start: a point of the region, `[dim]`.
        rng: the random numbers.
        steps: how many points.
    """
    points, here = [], start.copy()
    for _ in range(steps):
        if isinstance(space, Choices):
            here = _change(space, encode, tree, node, here, rng)
        else:
            here = _along(space, encode, tree, node, here, rng)
        points.append(here)
    return np.array(points)


def _change(
    space: Choices, encode: Any, tree: LinearTree, node: int, here: Any, rng: np.random.Generator
) -> Any:
    where = int(rng.integers(space.dim))
    line = np.repeat(here[None], int(space.sizes[where]), 0)
    line[:, where] = np.arange(len(line))
    line = line[linear_tree.inside(tree, node, encode(line))]
    return line[rng.integers(len(line))]


def _along(
    space: Box, encode: Any, tree: LinearTree, node: int, here: Any, rng: np.random.Generator
) -> Any:
    unit = space.to_unit(here[None])[0]
    direction = rng.standard_normal(space.dim)
    direction /= np.linalg.norm(direction)
    # Faces of the cube, then of the region, as a + t b >= 0.
    a, b = [unit, 1.0 - unit], [direction, -direction]
    normals, offsets = linear_tree.halfspaces(tree, node)
    ends = encode(space.low + np.stack([unit, unit + direction]) * (space.high - space.low))
    scores = ends @ normals.T + offsets
    at, slope = np.concatenate([*a, scores[0]]), np.concatenate([*b, scores[1] - scores[0]])
    with np.errstate(divide="ignore", invalid="ignore"):
        cut = -at / slope
    low = np.max(cut[slope > 0], initial=-np.inf)
    high = np.min(cut[slope < 0], initial=np.inf)
    drawn = rng.random()
    if not low < high:
        return here
    new = space.from_unit((unit + (low + drawn * (high - low)) * direction)[None])
    # Rounding may put the end of a chord outside.
    return new[0] if linear_tree.inside(tree, node, encode(new))[0] else here
