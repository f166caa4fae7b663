"""Teachers and students that are classifiers, for `mpl.meta`; and the reduced teacher (5.7.14)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from mpl import baselines, meta
from mpl.baselines import views_of
from mpl.meta import Student, Teacher
from mpl.models.network import Network
from mpl.objectives import Batch, Metrics, Objective, accuracy, cross_entropy, one_hot

PyTree = Any


def teacher(
    network: Network,
    objective: Objective | None,
    *,
    view: str = "weak",
    soft: bool = False,
    likeliest: bool = False,
) -> Teacher:
    """A classifier that labels unlabelled inputs, and learns from an objective beside the feedback.

    Args:
        network: T.
        objective: its own losses, supervised or UDA; `None` for feedback alone.
        view: of the unlabelled inputs that it labels. The thesis has one x_u. UDA's target is the
            prediction of the weak view, so with UDA this view costs no pass of its own.
        soft: propose whole distributions, for feedback "exact", instead of drawing a class.
        likeliest: propose the class of the highest probability instead of drawing one. The teacher
            then no longer follows the expectation of equation 5.10: where its labels help, it
            becomes surer of the same labels. TwoMoon shows it (`mpl.moons`).

    Raises:
        ValueError: both `soft` and `likeliest`.
    """
    if soft and likeliest:
        raise ValueError("likeliest: expected False with soft=True")
    views = objective.views if objective else ()
    views = views if view in views else (*views, view)

    def forward(params: PyTree, stats: PyTree, batch: Batch, key: Array) -> tuple[PyTree, PyTree]:
        return views_of(network, params, stats, batch, views, key)

    def propose(key: Array, logits: PyTree) -> Array:
        given = logits[view]
        if soft:
            return jax.nn.softmax(given)
        chosen = jnp.argmax(given, -1) if likeliest else jax.random.categorical(key, given)
        return jax.nn.one_hot(chosen, given.shape[-1])

    def nll(logits: PyTree, labels: Array) -> Array:
        return cross_entropy(labels, logits[view])

    def auxiliary(logits: PyTree, batch: Batch, step: Array) -> tuple[Array, Metrics]:
        assert objective is not None
        loss, metrics = objective.loss(logits, batch, step)
        return loss, {f"teacher_{name}": value for name, value in metrics.items()}

    return Teacher(network.init, forward, propose, nll, auxiliary if objective else None)


def student(network: Network, *, view: str = "strong", smoothing: float = 0.0) -> Student:
    """A classifier that learns from a teacher's labels.

    Args:
        network: S.
        view: of the unlabelled inputs that it sees. With "strong" it learns to give the teacher's
            label of the weak view to the strong one, as in UDA and FixMatch; the thesis, with one
            x_u, does not say. "weak" is what it prints.
        smoothing: of the pseudo labels ("label smoothing" in table 5.8, for teacher and student).
            The labelled loss that judges them is not smoothed.

    The labelled loss is computed in training mode, and the averages of batch normalization that it
    would move are dropped: the student never learns from labelled inputs.

    It records `student_accuracy`, how often it agrees with the labels it is given, which is its
    "training accuracy" in section 5.7.11.
    """

    def losses(
        params: PyTree, stats: PyTree, batch: Batch, labels: Array, key: Array
    ) -> tuple[Array, PyTree, Metrics]:
        logits, stats = network.apply(params, stats, batch[view], key=key, train=True)
        said = {"student_accuracy": accuracy(labels, logits)}
        return cross_entropy(one_hot(labels, logits.shape[-1], smoothing), logits), stats, said

    def labelled_loss(params: PyTree, stats: PyTree, batch: Batch, key: Array) -> Array:
        logits, _ = network.apply(params, stats, batch["labelled"], key=key, train=True)
        return jnp.mean(cross_entropy(one_hot(batch["labels"], logits.shape[-1]), logits))

    return Student(network.init, losses, labelled_loss)


def reduced_teacher(network: Network, *, identity: float = 0.0, soft: bool = False) -> Teacher:
    """A small T' that calibrates a large teacher's distributions (section 5.7.14).

    Its batches hold `targets`, the distributions that the large teacher gave once, so that the
    update needs no large network. The perceptron's logits are added to the logarithms of the
    targets: T' then starts near the identity, as the thesis asks without saying how.

    Args:
        network: the perceptron, from `[U, K]` to logits `[U, K]`.
        identity: weight of a loss that keeps T' near its input, CE(input, T'); the thesis has none.
        soft: propose whole distributions, for feedback "exact".
    """

    def forward(params: PyTree, stats: PyTree, batch: Batch, key: Array) -> tuple[PyTree, PyTree]:
        given = batch["targets"]
        logits, stats = network.apply(params, stats, given, key=key, train=True)
        return logits + jnp.log(jnp.maximum(given, 1e-6)), stats

    def propose(key: Array, logits: Array) -> Array:
        if soft:
            return jax.nn.softmax(logits)
        return jax.nn.one_hot(jax.random.categorical(key, logits), logits.shape[-1])

    def nll(logits: Array, labels: Array) -> Array:
        return cross_entropy(labels, logits)

    def auxiliary(logits: Array, batch: Batch, step: Array) -> tuple[Array, Metrics]:
        del step
        loss = jnp.mean(cross_entropy(batch["targets"], logits))
        return identity * loss, {"teacher_identity_loss": loss}

    return Teacher(network.init, forward, propose, nll, auxiliary if identity else None)


def learned(state: baselines.State | meta.State) -> tuple[PyTree, PyTree]:
    """The `(params, stats)` that a learner predicts with: with a teacher, the student's."""
    if isinstance(state, meta.State):
        return state.student.params, state.student.stats
    return baselines.evaluated(state)
