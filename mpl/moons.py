"""TwoMoon: two half circles of points, of which few have labels (Pham 2021, section 5.3.1).

The thesis does not say how the moons lie, and this decides what a method can find. The usual moons
reach into each other (`separation=0`), and only a bent boundary tells them apart. Drawn apart
(`separation=1`: one moved up by a half, the other down), a straight line through the gap is right,
and few labels place it badly: there feedback helps a teacher. Labels are drawn, so a boundary
through dense points moves at random until it lies where few are; a teacher that proposes the
likeliest label instead grows surer of what it said.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from mpl import baselines, meta, objectives, teaching
from mpl.laplacian_svm import laplacian_svm
from mpl.models.network import Network
from nco.policy_gradient import Learner, moving_average

METHODS = ("supervised", "pseudo_labels", "mpl", "mpl_pure", "mpl_likeliest", "all_labels")


class Moons(NamedTuple):
    """A data set.

    Attributes:
        points: float32 `[points, 2]`, about the origin; a moon's radius is 1.
        labels: int32 `[points]`, 0 of the upper moon and 1 of the lower.
        labelled: int32 `[2 * each]`, rows of the points whose labels a learner is shown.
    """

    points: Array
    labels: Array
    labelled: Array


def moons(
    key: Array,
    *,
    each: int = 1000,
    shown: int = 3,
    noise: float = 0.13,
    separation: float = 1.0,
) -> Moons:
    """Two moons about the origin, some labelled points in each; may be vmapped over keys.

    Args:
        key: PRNG key; consumed.
        each: points of a moon.
        shown: labelled points of a moon.
        noise: standard deviation of the points about their moon.
        separation: vertical distance by which the moons are drawn apart; from 0.5 a straight line
            tells them apart.
    """
    k_noise, *k_shown = jax.random.split(key, 3)
    angle = jnp.linspace(0.0, jnp.pi, each)
    upper = jnp.stack([jnp.cos(angle), jnp.sin(angle) + separation / 2.0], axis=-1)
    lower = jnp.stack([1.0 - jnp.cos(angle), 0.5 - jnp.sin(angle) - separation / 2.0], axis=-1)
    points = jnp.concatenate([upper, lower]) - jnp.array([[0.5, 0.25]])
    chosen = [
        side * each + jax.random.choice(k, each, (shown,), replace=False)
        for side, k in enumerate(k_shown)
    ]
    return Moons(
        points + noise * jax.random.normal(k_noise, points.shape),
        jnp.repeat(jnp.arange(2, dtype=jnp.int32), each),
        jnp.concatenate(chosen).astype(jnp.int32),
    )


def learner(
    method: str, net: Network, *, learning_rate: float = 0.1, feedback_weight: float = 1.0
) -> Learner:
    """The learner of a method's last network, by SGD.

    The labels of "mpl" are drawn, h is the cosine, and its baseline decays by 0.99; its teacher
    learns from the labelled points too. That of "mpl_pure" learns from the feedback alone, and that
    of "mpl_likeliest" proposes the likeliest class instead, without a baseline.

    Args:
        method: one of `METHODS`.
        net: of the student, and of its teacher.
        learning_rate: of both.
        feedback_weight: as `meta.meta_pseudo_labels`.

    Raises:
        ValueError: an unknown method.
    """
    if method not in METHODS:
        raise ValueError(f"method: expected one of {', '.join(METHODS)}, got {method!r}")
    tx, supervised = optax.sgd(learning_rate), objectives.supervised()
    if method in ("supervised", "all_labels"):
        return baselines.learner(net, supervised, tx)
    if method == "pseudo_labels":
        return baselines.learner(net, objectives.pseudo_labels(None, view="weak"), tx)
    likeliest, own = method == "mpl_likeliest", method != "mpl_pure"
    return meta.meta_pseudo_labels(
        teaching.teacher(net, supervised if own else None, likeliest=likeliest),
        teaching.student(net, view="weak"),
        tx,
        tx,
        baseline=None if likeliest else moving_average(0.99),
        feedback_weight=feedback_weight,
    )


def views(
    given: Moons,
    rows: Int[Array, " batch"],
    *,
    all_labels: bool = False,
    label: Callable[[Array], Array] | None = None,
) -> dict[str, Array]:
    """What a learner reads of a data set: the labelled points, and a batch without labels.

    Args:
        given: the data set.
        rows: of the batch's points.
        all_labels: the batch's points are the labelled ones instead.
        label: traced, from points to distributions `[batch, 2]`: those of a fixed teacher.

    Returns:
        "labelled" and "weak", float32 points; "labels", int32; "targets" where `label` is given.
    """
    known = rows if all_labels else given.labelled
    found = {"labelled": given.points[known], "labels": given.labels[known]}
    found["weak"] = given.points[rows]
    return found if label is None else found | {"targets": label(found["weak"])}


def accuracy(given: Int[np.ndarray, " points"], made: Moons) -> float:
    """How many of the unlabelled points have their moon's class, as a fraction.

    Args:
        given: the classes that a method gives to all points.
        made: the data set.
    """
    hidden = np.ones(len(made.labels), bool)
    hidden[np.asarray(made.labelled)] = False
    return float(np.mean((given == np.asarray(made.labels))[hidden]))


def svm(made: Moons) -> Callable[[Float[np.ndarray, "n 2"]], Int[np.ndarray, " n"]]:
    """The Laplacian SVM of a data set, as a function from points to classes.

    Raises:
        ImportError: scikit-learn is absent.
    """
    rows = np.asarray(made.labelled)
    machine = laplacian_svm(np.asarray(made.points), rows, np.asarray(made.labels)[rows])
    return lambda points: (machine(points) > 0).astype(int)
