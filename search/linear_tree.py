"""The tree of LaNAS: every inner node splits its region by a learned linear function.

Nodes are numbered as in a heap: node j has the children 2j + 1 (left, "good") and 2j + 2 (right,
"bad"). A tree of height h has h levels and 2^h - 1 nodes. A node whose samples would all go to one
side is not split and is a leaf above the lowest level. For figure 4.6(b) a node's function can be a
perceptron with one hidden layer.

Source: Wang 2022, section 4.2, equations 4.1 and 4.2.
"""

from __future__ import annotations

import itertools
import warnings
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from search.partition import require

# One-hot columns of a choice sum to one, so that the least squares problem has many solutions; a
# ridge of this size, relative to the number of samples, picks the one of the least norm, nearly.
RIDGE = 1e-4


class Hidden(NamedTuple):
    """A layer before each node's function: h_j(a) = max(a . weights[j] + offsets[j], 0).

    Attributes:
        weights: float64 `[inner, hot, units]`.
        offsets: float64 `[inner, units]`.
    """

    weights: Float[np.ndarray, "inner hot units"]
    offsets: Float[np.ndarray, "inner units"]


class LinearTree(NamedTuple):
    """A tree over encodings of `hot` numbers.

    Attributes:
        weights: float64 `[inner, hot]`: f_j(a) = weights[j] . a + offsets[j]; with a hidden layer
            `[inner, units]`, and h_j(a) in the place of a.
        offsets: float64 `[inner]`, such that a goes left where f_j(a) > 0: the mean of the node's
            values is subtracted already.
        split: whether the node has children, `[inner]`.
    """

    weights: Float[np.ndarray, "inner features"]
    offsets: Float[np.ndarray, " inner"]
    split: Bool[np.ndarray, " inner"]
    hidden: Hidden | None = None


def bare(height: int, hot: int, hidden_units: int = 0) -> LinearTree:
    """A tree of one leaf.

    Raises:
        ValueError: a height below 1, or fewer than 0 hidden units.
    """
    if height < 1:
        raise ValueError(f"height: expected at least 1 level, got {height}")
    if hidden_units < 0:
        raise ValueError(f"hidden_units: expected at least 0, got {hidden_units}")
    inner = 2 ** (height - 1) - 1
    hidden = None
    if hidden_units:
        hidden = Hidden(np.zeros((inner, hot, hidden_units)), np.zeros((inner, hidden_units)))
    weights = np.zeros((inner, hidden_units or hot))
    return LinearTree(weights, np.zeros(inner), np.zeros(inner, bool), hidden)


def learn(
    encodings: Float[np.ndarray, "sample hot"],
    values: Float[np.ndarray, " sample"],
    height: int,
    *,
    hidden_units: int = 0,
    seed: int = 0,
) -> LinearTree:
    """Fits the tree, from the root down.

    At node j, with the samples in its region: their mean value V (4.1), the linear function f_j of
    least squares (4.2), and children {f_j > V} and {f_j <= V}.

    Args:
        encodings: of the samples.
        values: rewards, finite.
        height: levels of the tree.
        hidden_units: with them f_j is a perceptron (scikit-learn's, by L-BFGS, on the node's
            standardised values); 0 for the linear function.
        seed: of the perceptrons' first weights.

    Raises:
        ImportError: scikit-learn is needed and absent; says what to install.
        ValueError: a height below 1, or fewer than 0 hidden units.
    """
    tree = bare(height, encodings.shape[1], hidden_units)
    weights, offsets, split, hidden = tree  # which are filled below
    here: list[Int[np.ndarray, " some"]] = [np.arange(len(values))]
    for node in range(len(split)):
        samples = here[node]
        here += [samples[:0], samples[:0]]
        if len(samples) < 2:
            continue
        features = encodings[samples]
        if hidden is not None:
            slope, offset = _perceptron(hidden, node, features, values[samples], seed)
            features = _layer(hidden, node, features)
        else:
            slope, centre = _least_squares(features, values[samples])
            offset = -float(slope @ centre)  # at the mean encoding, f_j is the mean value V
        left = features @ slope + offset > 0
        if left.all() or not left.any():
            continue
        weights[node], offsets[node], split[node] = slope, offset, True
        here[2 * node + 1], here[2 * node + 2] = samples[left], samples[~left]
    return tree


def _perceptron(
    hidden: Hidden,
    node: int,
    encodings: Float[np.ndarray, "sample hot"],
    values: Float[np.ndarray, " sample"],
    seed: int,
) -> tuple[Float[np.ndarray, " units"], float]:
    """Fits a node's perceptron, whose hidden layer is written into `hidden`; returns the rest."""
    regressors = require("sklearn.neural_network")
    units = hidden.offsets.shape[1]
    spread = float(values.std()) or 1.0
    with warnings.catch_warnings():  # L-BFGS that has not converged is good enough for a side
        warnings.simplefilter("ignore")
        fitted = regressors.MLPRegressor(
            hidden_layer_sizes=(units,), solver="lbfgs", max_iter=200, random_state=seed % 2**32
        ).fit(encodings, (values - values.mean()) / spread)
    hidden.weights[node], hidden.offsets[node] = fitted.coefs_[0], fitted.intercepts_[0]
    return fitted.coefs_[1][:, 0], float(fitted.intercepts_[1][0])


def _layer(
    hidden: Hidden, node: int, encodings: Float[np.ndarray, "n hot"]
) -> Float[np.ndarray, "n units"]:
    return np.maximum(encodings @ hidden.weights[node] + hidden.offsets[node], 0.0)


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
        features = encodings
        if tree.hidden is not None:
            before = np.einsum("nh,nhu->nu", encodings, tree.hidden.weights[at])
            features = np.maximum(before + tree.hidden.offsets[at], 0.0)
        good = (features * tree.weights[at]).sum(1) + tree.offsets[at] > 0
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
        features = encodings if tree.hidden is None else _layer(tree.hidden, above, encodings)
        scores = features @ tree.weights[above] + tree.offsets[above]
        good &= (scores > 0) == (below == 2 * above + 1)
    return good


def halfspaces(
    tree: LinearTree, node: int
) -> tuple[Float[np.ndarray, "constraint hot"], Float[np.ndarray, " constraint"]]:
    """The constraints on the path to a node as normals w and offsets b: w . a + b >= 0.

    Raises:
        ValueError: the tree's functions are not linear.
    """
    if tree.hidden is not None:
        raise ValueError("tree: expected linear functions, got a hidden layer")
    steps = _steps(node)
    above = np.array([a for a, _ in steps], np.int64)
    sign = np.array([1.0 if b == 2 * a + 1 else -1.0 for a, b in steps])
    return tree.weights[above] * sign[:, None], tree.offsets[above] * sign


def _steps(node: int) -> list[tuple[int, int]]:
    nodes = path(node)
    return list(itertools.pairwise(nodes))
