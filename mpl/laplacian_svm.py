"""A support vector machine that is smooth along the data (Belkin, Niyogi & Sindhwani 2006).

Pham compares TwoMoon with it (2021, section 5.3.1) and states none of its constants.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int


def laplacian_svm(
    inputs: Float[np.ndarray, "points features"],
    labelled: Int[np.ndarray, " labelled"],
    labels: Int[np.ndarray, " labelled"],
    *,
    width: float = 0.35,
    neighbours: int = 6,
    ambient: float = 1e-6,
    intrinsic: float = 1.0,
) -> Callable[[np.ndarray], np.ndarray]:
    """Fits two classes, 0 and 1; returns `[M, features] -> [M]` whose sign tells the class.

    Minimizes the hinge loss of the labelled points + ambient |f|^2 in the space of the RBF kernel +
    intrinsic f' L f / N^2, with L = D - W the Laplacian of the graph of nearest neighbours. By
    the representer theorem f = sum_i alpha_i k(x_i, .) + b, and its dual is that of an ordinary
    support vector machine with another kernel between the labelled points (their eq. 37 to 39),
    which scikit-learn solves.

    Args:
        inputs: all points.
        labelled: rows of those with a label.
        labels: their classes.
        width: sigma of the kernel exp(-|x - y|^2 / (2 sigma^2)), in units of the inputs.
        neighbours: edges of a point in the graph.
        ambient: gamma_A.
        intrinsic: gamma_I.

    Raises:
        ValueError: the labels are not of both classes.
    """
    from scipy.spatial.distance import cdist
    from sklearn.neighbors import kneighbors_graph
    from sklearn.svm import SVC

    if sorted(set(np.asarray(labels).tolist())) != [0, 1]:
        raise ValueError(f"labels: expected both 0 and 1, got {sorted(set(labels.tolist()))}")

    def kernel(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        return np.exp(-cdist(left, right, "sqeuclidean") / (2.0 * width**2))

    points = np.asarray(inputs, np.float64)
    count = len(points)
    edges = kneighbors_graph(points, neighbours).toarray()
    edges = np.maximum(edges, edges.T)
    laplacian = np.diag(edges.sum(1)) - edges
    gram = kernel(points, points)
    system = 2.0 * ambient * np.eye(count)
    # The graph's term is averaged over the pairs of points that it joins, not over all N^2: the
    # weight then means the same for any N.
    system += 2.0 * intrinsic / count * laplacian @ gram
    chosen = np.zeros((count, len(labelled)))
    chosen[labelled, np.arange(len(labelled))] = 1.0
    expanded = np.linalg.solve(system, chosen)  # alpha = expanded @ (y beta)
    between = gram[labelled] @ expanded
    machine = SVC(C=1.0 / len(labelled), kernel="precomputed")
    machine.fit((between + between.T) / 2.0, labels)
    weights = np.zeros(len(labelled))
    weights[machine.support_] = machine.dual_coef_[0]
    alpha, offset = expanded @ weights, float(machine.intercept_[0])
    return lambda new: kernel(np.asarray(new, np.float64), points) @ alpha + offset
