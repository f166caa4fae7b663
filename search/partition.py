"""The tree of LA-MCTS: k-means on [x, f] and a support vector machine split each node, recursively.

All points are in the unit cube. A fitted machine is kept as arrays (`Boundary`), so that a tree is
data like any other; its decision function here is scikit-learn's, written out.

Source: Wang 2022, section 5.2, and figure 5.4 for `sample`.
"""

from __future__ import annotations

import importlib
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from search import bandit
from search.bandit import Form

Kernel = Literal["linear", "poly", "rbf"]

CUBE, OUTSIDE_SHARE, GROWTHS = 1e-4, 0.1, 40  # of figure 5.4: side, share that ends, doublings
DRAWS, ROUNDS = 1024, 8


class Boundary(NamedTuple):
    """A support vector machine: a point is good where the decision is above 0.

    Attributes:
        support: `[vector, dim]`.
        dual: `[vector]`.
        intercept: of the decision.
        gamma: scale of the kernel.
        kernel: its name; "poly" is of degree 3, without a constant.
    """

    support: Float[np.ndarray, "vector dim"]
    dual: Float[np.ndarray, " vector"]
    intercept: float
    gamma: float
    kernel: Kernel


class Node(NamedTuple):
    """A region of the tree.

    Attributes:
        members: numbers of the samples in it.
        boundary: what splits it; none in a leaf.
        good: its better child.
        bad: the other.
    """

    members: Int[np.ndarray, " member"]
    boundary: Boundary | None
    good: Node | None
    bad: Node | None


# A region: the boundaries on the path to it, each with the side that is inside.
Region = tuple[tuple[Boundary, bool], ...]


def decide(boundary: Boundary, points: Float[np.ndarray, "n dim"]) -> Float[np.ndarray, " n"]:
    """The decision function."""
    products = points @ boundary.support.T
    if boundary.kernel == "linear":
        values = products
    elif boundary.kernel == "poly":
        values = (boundary.gamma * products) ** 3
    else:
        squares = (points**2).sum(1)[:, None] + (boundary.support**2).sum(1)[None]
        values = np.exp(-boundary.gamma * np.maximum(squares - 2.0 * products, 0.0))
    return values @ boundary.dual + boundary.intercept


def inside(region: Region, points: Float[np.ndarray, "n dim"]) -> Bool[np.ndarray, " n"]:
    """Which points are on the right side of every boundary."""
    good = np.ones(len(points), bool)
    for boundary, side in region:
        some = np.flatnonzero(good)
        if len(some) == 0:
            break
        good[some] = (decide(boundary, points[some]) > 0) == side
    return good


def build(
    points: Float[np.ndarray, "n dim"],
    values: Float[np.ndarray, " n"],
    *,
    leaf_size: int,
    kernel: Kernel = "rbf",
    scale_values: bool = False,
    seed: int = 0,
) -> Node:
    """Splits while a leaf has more than `leaf_size` samples and can be split.

    A node's samples fall into two clusters of [x, f]; the machine learns them, and the children are
    its predictions. A node stays a leaf where they are all the same, or where the samples on the
    good side have no higher mean than those on the bad.

    Args:
        points: samples, in the unit cube.
        values: rewards, finite.
        leaf_size: theta.
        kernel: of the machines; gamma is 1 / (dim var(x)).
        scale_values: whether k-means sees rewards and coordinates divided by their standard
            deviations in the node; without, both as they are. The thesis clusters in the box's own
            units; in the unit cube clusters follow f more, the more so the wider the box is.
        seed: of k-means.

    Raises:
        ImportError: scikit-learn is absent; says what to install.
        ValueError: a leaf size below 1.
    """
    if leaf_size < 1:
        raise ValueError(f"leaf_size: expected at least 1, got {leaf_size}")
    require("sklearn")

    def grow(members: Int[np.ndarray, " member"]) -> Node:
        leaf = Node(members, None, None, None)
        if len(members) <= leaf_size:
            return leaf
        boundary = _split(points[members], values[members], kernel, scale_values, seed)
        if boundary is None:
            return leaf
        good = decide(boundary, points[members]) > 0
        if good.all() or not good.any():
            return leaf
        if values[members][good].mean() <= values[members][~good].mean():
            return leaf
        return Node(members, boundary, grow(members[good]), grow(members[~good]))

    return grow(np.arange(len(points)))


def _split(
    points: Float[np.ndarray, "n dim"],
    values: Float[np.ndarray, " n"],
    kernel: Kernel,
    scale_values: bool,
    seed: int,
) -> Boundary | None:
    from sklearn.cluster import KMeans
    from sklearn.svm import SVC

    together = np.column_stack([points, values])
    if scale_values:
        spread = together.std(0)
        together = together / np.where(spread > 0, spread, 1.0)
    if len(np.unique(together, axis=0)) < 2:
        return None
    labels = KMeans(2, n_init=10, random_state=seed).fit(together).labels_
    if labels.all() or not labels.any():
        return None
    one = values[labels == 1].mean() > values[labels == 0].mean()
    good = labels == (1 if one else 0)
    variance = float(points.var())
    gamma = 1.0 / (points.shape[1] * variance) if variance > 0 else 1.0
    machine = SVC(kernel=kernel, gamma=gamma, degree=3, coef0=0.0).fit(points, good)
    intercept = float(machine.intercept_[0])
    return Boundary(machine.support_vectors_, machine.dual_coef_[0], intercept, gamma, kernel)


def select(
    root: Node,
    values: Float[np.ndarray, " n"],
    *,
    c: float,
    form: Form = "algorithm",
) -> tuple[Node, Region]:
    """Descends to the leaf of the largest bounds.

    Args:
        root: of the tree.
        values: rewards of its samples; the bound takes their mean once.
        c: C_p, in the unit of the rewards.
        form: of the bound.

    Returns:
        The leaf and its region.
    """
    node, region = root, list[tuple[Boundary, bool]]()
    while node.boundary is not None:
        assert node.good is not None
        assert node.bad is not None
        children = (node.good, node.bad)
        mean = np.array([values[child.members].mean() for child in children])
        visits = np.array([len(child.members) for child in children])
        bound = bandit.upper_bound(mean, len(node.members), visits, c=c, form=form)
        side = bool(bound[0] >= bound[1])
        region.append((node.boundary, side))
        node = children[0] if side else children[1]
    return node, tuple(region)


def leaves(root: Node) -> list[Node]:
    """All leaves, the best side first."""
    if root.good is None or root.bad is None:
        return [root]
    return [*leaves(root.good), *leaves(root.bad)]


def sample(
    region: Region,
    members: Float[np.ndarray, "member dim"],
    count: int,
    rng: np.random.Generator,
) -> Float[np.ndarray, "count dim"]:
    """Points of a region: uniform ones by rejection, else from cubes that grow around its samples.

    Where fewer than `count` of some thousand uniform points lie inside, each sample gets a cube of
    side 1e-4 around it with a Sobol design; the cube doubles until a tenth of the design is outside
    the region. What is inside is pooled, and `count` of it are drawn (figure 5.4).

    Args:
        region: what to sample.
        members: samples inside it, in the unit cube; at least one, unless all of the cube is.
        count: how many points.
        rng: the random numbers.
    """
    dim = members.shape[1]
    found = np.zeros((0, dim))
    for _ in range(ROUNDS if region else 1):
        points = rng.random((max(DRAWS, count) if region else count, dim))
        found = np.concatenate([found, points[inside(region, points)]])
        if len(found) >= count:
            return found[:count]
    centres = _some(members, rng)
    each = 1 << (2 * count // max(1, len(centres))).bit_length()
    pooled = [_around(region, centre, min(max(each, 16), 4096), rng) for centre in centres]
    together = np.concatenate([found, *pooled])
    if len(together) == 0:  # no point is strictly inside: the samples themselves
        together = members
    return together[rng.choice(len(together), count, replace=len(together) < count)]


def _some(
    members: Float[np.ndarray, "member dim"], rng: np.random.Generator, most: int = 64
) -> Any:
    return members if len(members) <= most else members[rng.choice(len(members), most, False)]


def _around(
    region: Region, centre: Float[np.ndarray, " dim"], number: int, rng: np.random.Generator
) -> Float[np.ndarray, "some dim"]:
    from scipy.stats import qmc

    design = qmc.Sobol(len(centre), rng=rng).random(number) - 0.5
    side, kept = CUBE, np.zeros((0, len(centre)))
    for _ in range(GROWTHS):
        points = np.clip(centre + side * design, 0.0, 1.0)
        good = inside(region, points)
        kept = points[good]
        if good.mean() < 1.0 - OUTSIDE_SHARE or side >= 2.0:
            break
        side *= 2.0
    return kept


def require(name: str) -> Any:
    """Imports an optional package.

    Raises:
        ImportError: it is absent; says how to install it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0].replace("sklearn", "scikit-learn")
        raise ImportError(f"{package} is needed here: pip install {package}") from error
