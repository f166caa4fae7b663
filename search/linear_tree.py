"""The tree of LaNAS: every inner node splits its region by a learned linear function.

Nodes are numbered as in a heap: node j has the children 2j + 1 (left, "good") and 2j + 2 (right,
"bad"). A tree of height h has h levels and 2^h - 1 nodes. A node whose samples would all go one way
is not split: it is a leaf above the lowest level.

Source: Wang 2022, section 4.2, equations 4.1 and 4.2.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

# One-hot columns of a choice sum to one, so that the least squares problem has many solutions; a
# ridge of this size, relative to the number of samples, picks the one of the least norm, nearly.
RIDGE = 1e-4


class LinearTree(NamedTuple):
    """A tree over encodings of `hot` numbers.

    Attributes:
        weights: float64 `[inner, hot]`: f_j(a) = weights[j] . a + offsets[j].
        offsets: float64 `[inner]`, such that a goes left where f_j(a) > 0: the mean of the node's
            values is subtracted already.
        split: whether the node has children, `[inner]`.
    """

    weights: Float[np.ndarray, "inner hot"]
    offsets: Float[np.ndarray, " inner"]
    split: Bool[np.ndarray, " inner"]


def bare(height: int, hot: int) -> LinearTree:
    """A tree of one leaf.

    Raises:
        ValueError: a height below 1.
    """
    if height < 1:
        raise ValueError(f"height: expected at least 1 level, got {height}")
    inner = 2 ** (height - 1) - 1
    return LinearTree(np.zeros((inner, hot)), np.zeros(inner), np.zeros(inner, bool))


def learn(
    encodings: Float[np.ndarray, "sample hot"], values: Float[np.ndarray, " sample"], height: int
) -> LinearTree:
    """Fits the tree, from the root down.

    At node j, with the samples in its region: their mean value V (4.1), the linear function f_j of
    least squares (4.2), and children {f_j > V} and {f_j <= V}.

    Args:
        encodings: of the samples.
        values: rewards, finite.
        height: levels of the tree.

    Raises:
        ValueError: a height below 1.
    """
    tree = bare(height, encodings.shape[1])
    weights, offsets, split = (part.copy() for part in tree)
    here: list[Int[np.ndarray, " some"]] = [np.arange(len(values))]
    for node in range(len(split)):
        samples = here[node]
        here += [samples[:0], samples[:0]]
        if len(samples) < 2:
            continue
        slope, centre = _least_squares(encodings[samples], values[samples])
        offset = -float(slope @ centre)  # at the mean encoding, f_j is the mean value V
        left = encodings[samples] @ slope + offset > 0
        if left.all() or not left.any():
            continue
        weights[node], offsets[node], split[node] = slope, offset, True
        here[2 * node + 1], here[2 * node + 2] = samples[left], samples[~left]
    return LinearTree(weights, offsets, split)


def _least_squares(
    encodings: Float[np.ndarray, "sample hot"], values: Float[np.ndarray, " sample"]
) -> tuple[Float[np.ndarray, " hot"], Float[np.ndarray, " hot"]]:
    """The slope of the linear fit, and the mean encoding, where it takes the mean value."""
    centre = encodings.mean(0)
    centred = encodings - centre
    gram = centred.T @ centred + RIDGE * len(values) * np.eye(encodings.shape[1])
    return np.linalg.solve(gram, centred.T @ (values - values.mean())), centre


def route(tree: LinearTree, encodings: Float[np.ndarray, "n hot"]) -> Int[np.ndarray, " n"]:
    """The leaf of each point: the node at which it stops."""
    inner = len(tree.split)
    nodes = np.zeros(len(encodings), np.int64)
    going = np.ones(len(encodings), bool) if inner else np.zeros(len(encodings), bool)
    while going.any():
        at = np.where(going, nodes, 0)
        going &= tree.split[at]
        good = (encodings * tree.weights[at]).sum(1) + tree.offsets[at] > 0
        nodes = np.where(going, 2 * nodes + np.where(good, 1, 2), nodes)
        going &= nodes < inner
    return nodes


def path(node: int) -> list[int]:
    """The nodes from the root to this one."""
    nodes = [node]
    while nodes[-1]:
        nodes.append((nodes[-1] - 1) // 2)
    return nodes[::-1]


class Counts(NamedTuple):
    """What a node has seen: visits n(s), and the values' sum and number, each `[node]`."""

    visits: Int[np.ndarray, " node"]
    total: Float[np.ndarray, " node"]
    known: Int[np.ndarray, " node"]


def count(
    tree: LinearTree,
    leaves: Int[np.ndarray, " n"],
    values: Float[np.ndarray, " n"],
) -> Counts:
    """Adds up every sample at each node on its path.

    Args:
        tree: of any height.
        leaves: where the samples stop (`route`).
        values: nan for a trial whose outcome is open: it counts as a visit without a value.
    """
    nodes = 2 * len(tree.split) + 1
    visits, known = np.zeros(nodes, np.int64), np.zeros(nodes, np.int64)
    total = np.zeros(nodes)
    at, going = leaves.copy(), np.ones(len(leaves), bool)
    finite = np.isfinite(values)
    while going.any():
        np.add.at(visits, at[going], 1)
        np.add.at(known, at[going & finite], 1)
        np.add.at(total, at[going & finite], values[going & finite])
        going &= at > 0
        at = np.where(going, (at - 1) // 2, at)
    return Counts(visits, total, known)


def inside(
    tree: LinearTree, node: int, encodings: Float[np.ndarray, "n hot"]
) -> Bool[np.ndarray, " n"]:
    """Which points satisfy the linear constraints on the path to a node."""
    good = np.ones(len(encodings), bool)
    for above, below in _steps(node):
        scores = encodings @ tree.weights[above] + tree.offsets[above]
        good &= (scores > 0) == (below == 2 * above + 1)
    return good


def halfspaces(
    tree: LinearTree, node: int
) -> tuple[Float[np.ndarray, "constraint hot"], Float[np.ndarray, " constraint"]]:
    """The constraints on the path to a node as normals w and offsets b: w . a + b >= 0."""
    steps = _steps(node)
    above = np.array([a for a, _ in steps], np.int64)
    sign = np.array([1.0 if b == 2 * a + 1 else -1.0 for a, b in steps])
    return tree.weights[above] * sign[:, None], tree.offsets[above] * sign


def _steps(node: int) -> list[tuple[int, int]]:
    nodes = path(node)
    return list(itertools.pairwise(nodes))
