"""How well a tree of linear splits partitions a space whose values are all known.

Of a table of all points: whether the leaves' mean values fall from left to right, how far the
samples in a leaf are distributed otherwise than the points of a reference's leaf, and how many
points the left-most leaf holds against theorem 1's bound.

Source: Wang 2022, sections 4.2.4 (theorem 1) and 4.3.2 (figure 4.7).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from search import linear_tree
from search.linear_tree import LinearTree


def leaves(tree: LinearTree) -> list[int]:
    """Numbers of the leaves, left to right, those above the lowest level among them."""
    found, waiting = list[int](), [0]
    while waiting:
        node = waiting.pop()
        if node < len(tree.split) and tree.split[node]:
            waiting += [2 * node + 2, 2 * node + 1]
        else:
            found.append(node)
    return found


def leaf_means(
    tree: LinearTree, encodings: Float[np.ndarray, "n hot"], values: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " leaf"]:
    """The mean value of the points in each leaf, left to right; nan where there is none.

    Args:
        tree: of any height.
        encodings: of the points.
        values: theirs.
    """
    counts = linear_tree.count(tree, linear_tree.route(tree, encodings), values)
    order = leaves(tree)
    with np.errstate(invalid="ignore"):
        return counts.total[order] / counts.known[order]


class Ordering(NamedTuple):
    """How far values fall from left to right.

    Attributes:
        adjacent: part of the neighbours of which the left one is larger, from 0 to 1.
        correlation: Spearman's, of value and place; 1 where every value is below the one before.
    """

    adjacent: float
    correlation: float


def ordering(means: Float[np.ndarray, " leaf"]) -> Ordering:
    """Compares the leaves' means, left to right, with the order that the tree promises.

    Args:
        means: one a leaf; nan, of an empty leaf, is left out.

    Raises:
        ValueError: fewer than two means.
    """
    from scipy.stats import rankdata

    known = means[np.isfinite(means)]
    if len(known) < 2:
        raise ValueError(f"means: expected at least two finite values, got {len(known)}")
    ranks = rankdata(-known)
    flat = ranks.std() == 0  # all the same: no order at all
    correlation = 0.0 if flat else float(np.corrcoef(ranks, np.arange(len(known)))[0, 1])
    return Ordering(float(np.mean(known[:-1] > known[1:])), correlation)


def equal_bins(values: Float[np.ndarray, " n"], bins: int) -> Float[np.ndarray, " inner"]:
    """The `bins` - 1 inner edges between which equally many of the values lie.

    Raises:
        ValueError: fewer than two bins.
    """
    if bins < 2:
        raise ValueError(f"bins: expected at least 2, got {bins}")
    return np.quantile(values, np.arange(1, bins) / bins)


def histogram(
    values: Float[np.ndarray, " n"], edges: Float[np.ndarray, " inner"], *, prior: float = 0.0
) -> Float[np.ndarray, " bin"]:
    """The share of values in each bin, from 0 to 1; they add up to 1.

    Args:
        values: at least one, unless there is a prior.
        edges: between the bins, ascending; a value on an edge belongs to the bin above.
        prior: values that are added to each bin, so that none is empty.

    Raises:
        ValueError: neither values nor a prior.
    """
    counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
    together = counts + prior
    if together.sum() <= 0:
        raise ValueError("values: expected at least one, or a prior above 0, got neither")
    return together / together.sum()


def divergence(p: Float[np.ndarray, " bin"], q: Float[np.ndarray, " bin"]) -> float:
    """Kullback and Leibler's D(p || q) of two discrete distributions, in nats.

    Raises:
        ValueError: q is 0 where p is not.
    """
    some = p > 0
    if (q[some] <= 0).any():
        raise ValueError("q: expected a share above 0 in every bin where p has one; use a prior")
    return float(np.sum(p[some] * np.log(p[some] / q[some])))


def bound(points: float, error: float, splits: int) -> float:
    """Theorem 1: at most 2 delta_max (1 - 2^-h) + N / 2^h points are in the left-most leaf.

    Args:
        points: N, of the whole space.
        error: delta_max, the largest partition error on the left-most path, in points.
        splits: h, nodes on that path that are split: the tree's levels minus one at most.

    Raises:
        ValueError: a negative number of splits.
    """
    if splits < 0:
        raise ValueError(f"splits: expected at least 0, got {splits}")
    return 2.0 * error * (1.0 - 0.5**splits) + points * 0.5**splits


def partition_error(values: Float[np.ndarray, " n"], estimate: float) -> int:
    """delta: the most points of a node that can lie between its threshold and its median.

    Of the points with values in [V - e - s, M] and in [M, V + e + s], the more numerous, where V is
    the estimate, e its distance from the true mean, s the standard deviation and M the median
    (section 4.2.4). The integrals of the values' density are counts here.

    Args:
        values: of all points in the node, at least one.
        estimate: of their mean, from the samples: what the node splits at.
    """
    median, mean = float(np.median(values)), float(values.mean())
    reach = abs(estimate - mean) + float(values.std())
    below = np.sum((values >= estimate - reach) & (values <= median))
    above = np.sum((values >= median) & (values <= estimate + reach))
    return int(max(below, above))


class LeftPath(NamedTuple):
    """The nodes from the root to the left-most leaf.

    Attributes:
        sizes: points of the space in each, h + 1 of them.
        errors: delta of each that is split, h of them (`partition_error`).
    """

    sizes: Int[np.ndarray, " node"]
    errors: Int[np.ndarray, " split"]

    @property
    def limit(self) -> float:
        """Theorem 1's bound on the last of `sizes`."""
        return bound(float(self.sizes[0]), float(self.errors.max(initial=0)), len(self.errors))

    @property
    def exact(self) -> float:
        """The same bound with the largest of `realised` for delta_max; it always holds."""
        largest = float(self.realised.max(initial=0.0))
        return bound(float(self.sizes[0]), largest, len(self.errors))

    @property
    def realised(self) -> Float[np.ndarray, " split"]:
        """By how many points each left child exceeds half of its parent."""
        return self.sizes[1:] - self.sizes[:-1] / 2.0


def left_path(
    tree: LinearTree,
    sampled: Int[np.ndarray, " sample"],
    encodings: Float[np.ndarray, "n hot"],
    values: Float[np.ndarray, " n"],
) -> LeftPath:
    """What theorem 1 speaks of, counted in the table of all points.

    Nothing makes the theorem's step true of every tree: a node splits by f_j(a) > V, the theorem by
    v(a) > V. Compare `errors` with `realised`.

    Args:
        tree: learned from the samples.
        sampled: their rows in the table.
        encodings: of all points.
        values: of all points.
    """
    sizes, errors, node = list[int](), list[int](), 0
    while True:
        here = linear_tree.inside(tree, node, encodings)
        sizes.append(int(here.sum()))
        if node >= len(tree.split) or not tree.split[node]:
            return LeftPath(np.array(sizes), np.array(errors, np.int64))
        estimate = float(values[sampled[here[sampled]]].mean())
        errors.append(partition_error(values[here], estimate))
        node = 2 * node + 1


class Reference(NamedTuple):
    """A table of all points, and the tree that is learned from all of them.

    Attributes:
        encodings: of the points.
        values: theirs.
        edges: between bins of equally many values (`equal_bins`).
        leaves: the values in each of its leaves, p_j*, by the leaf's number.
        height: of this tree, and of those that are compared with it.
    """

    encodings: Float[np.ndarray, "n hot"]
    values: Float[np.ndarray, " n"]
    edges: Float[np.ndarray, " inner"]
    leaves: dict[int, Float[np.ndarray, " m"]]
    height: int


class Quality(NamedTuple):
    """Of a tree that was learned from samples.

    Attributes:
        ordered_pairs: part of neighbouring leaves of which the left one is truly better: the mean
            value of all points in it, not only of the samples.
        rank_correlation: Spearman's, of those means and the leaves' places; 1 is left to right.
        divergence_nats: D_KL[p_j^n || p_j*], a mean over leaves j: the values of the samples in
            leaf j against those of all points in leaf j of the reference. A sample of n_j from p_j*
            itself has about (bins - 1) / (2 n_j), so that it falls with n whatever the search does.
        mean_gap_points: mean value of the samples in leaf j minus that of p_j*, a mean over j, in
            hundredths.
        left_cells: points in the left-most leaf.
        left_bound: theorem 1's bound on them (`LeftPath.limit`).
        exact_bound: the same with delta counted after the fact (`LeftPath.exact`); always holds.
        bound_holds: 1 where left_cells is at most left_bound, else 0.
        steps_hold: part of the left-most path's nodes whose left child has at most half of the
            node's points and delta more: what the theorem's proof takes for granted.
        left_accuracy_percent: mean value of all points in the left-most leaf, in hundredths.
    """

    ordered_pairs: float
    rank_correlation: float
    divergence_nats: float
    mean_gap_points: float
    left_cells: float
    left_bound: float
    exact_bound: float
    bound_holds: float
    steps_hold: float
    left_accuracy_percent: float


class Seen(NamedTuple):
    """A tree's quality, and what is in each of the lowest level's leaves, left to right.

    Attributes:
        quality: in numbers.
        means: of the values of all points in each, nan where there is none.
        shares: of the samples' values in each bin, nan where there is no sample.
    """

    quality: Quality
    means: Float[np.ndarray, " leaf"]
    shares: Float[np.ndarray, "leaf bin"]


def reference(
    encodings: Float[np.ndarray, "n hot"], values: Float[np.ndarray, " n"], height: int, bins: int
) -> Reference:
    """Learns a tree of a whole table."""
    tree = linear_tree.learn(encodings, values, height)
    where = linear_tree.route(tree, encodings)
    found = {leaf: values[where == leaf] for leaf in leaves(tree)}
    return Reference(encodings, values, equal_bins(values, bins), found, height)


def look(known: Reference, sampled: Int[np.ndarray, " sample"], *, prior: float = 0.5) -> Seen:
    """Learns a tree from samples of a table and measures its leaves.

    Args:
        known: the table.
        sampled: their rows in it.
        prior: values that each bin of a p_j* has besides.
    """
    encodings, values = known.encodings, known.values
    tree = linear_tree.learn(encodings[sampled], values[sampled], known.height)
    means = leaf_means(tree, encodings, values)
    order = ordering(means)
    path = left_path(tree, sampled, encodings, values)
    where = linear_tree.route(tree, encodings[sampled])
    first = 2 ** (known.height - 1) - 1
    by_leaf = dict(zip(leaves(tree), means, strict=True))
    placed = np.array([by_leaf.get(leaf, np.nan) for leaf in range(first, 2 * first + 1)])
    shares = np.full((first + 1, len(known.edges) + 1), np.nan)
    divergences, gaps = list[float](), list[float]()
    for place in range(first + 1):
        here, star = values[sampled[where == first + place]], known.leaves.get(first + place)
        if len(here) == 0 or star is None:
            continue
        shares[place] = histogram(here, known.edges)
        divergences.append(divergence(shares[place], histogram(star, known.edges, prior=prior)))
        gaps.append(100.0 * float(here.mean() - star.mean()))
    left = float(path.sizes[-1])
    steps = path.realised <= path.errors
    quality = Quality(
        order.adjacent, order.correlation, float(np.mean(divergences)), float(np.mean(gaps)), left,
        path.limit, path.exact, float(left <= path.limit),
        float(np.mean(steps)) if len(steps) else 1.0, 100.0 * float(means[0]),
    )  # fmt: skip
    return Seen(quality, placed, shares)
