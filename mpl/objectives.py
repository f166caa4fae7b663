"""What a single network learns from, as functions of its logits (Pham 2021, ch. 5).

An `Objective` names the *views* of a batch that it needs and gives a loss of their logits, so that
all views go through the network in one pass, and so that the same objective trains a network on its
own (`mpl.baselines`) or a teacher beside its student's feedback (`mpl.teaching`).

A batch is a dict:
    labelled: inputs of the labelled examples; labels: int32 [B], or float32 [B, K] distributions
    weak: unlabelled inputs, weakly augmented; strong: the same examples, strongly augmented
    targets: float32 [U, K], a fixed teacher's distributions of the unlabelled examples
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Batch = Mapping[str, Any]
Metrics = dict[str, Array]


class Objective(NamedTuple):
    """A loss of logits.

    Attributes:
        views: keys of the batch whose inputs go through the network.
        loss: `(logits, batch, step) -> (loss, Metrics)`, with `logits` a dict by view.
    """

    views: tuple[str, ...]
    loss: Callable[[Mapping[str, Array], Batch, Array], tuple[Array, Metrics]]


def one_hot(labels: Array, classes: int, smoothing: float = 0.0) -> Float[Array, "batch classes"]:
    """Distributions of labels: those given, or smoothed one-hot ones of integers.

    Args:
        labels: int `[B]`, or float `[B, K]`, which are smoothed too.
        classes: K.
        smoothing: mass that is spread evenly over all classes (Szegedy et al. 2016).
    """
    if not jnp.issubdtype(labels.dtype, jnp.floating):
        labels = jax.nn.one_hot(labels, classes)
    return (1.0 - smoothing) * labels + smoothing / classes


def cross_entropy(target: Float[Array, "batch classes"], logits: Array) -> Float[Array, " batch"]:
    """CE(target, softmax(logits)) of each example, nats."""
    return -jnp.sum(target * jax.nn.log_softmax(logits), axis=-1)


def accuracy(labels: Array, logits: Array) -> Float[Array, ""]:
    """Fraction whose largest logit is the label's (or the label distribution's largest)."""
    labels = labels if labels.ndim == 1 else jnp.argmax(labels, axis=-1)
    return jnp.mean((jnp.argmax(logits, axis=-1) == labels).astype(jnp.float32))


def supervised(
    *, smoothing: float = 0.0, keep: Callable[[Array], Array] | None = None
) -> Objective:
    """Mean cross-entropy on labelled examples.

    Args:
        smoothing: of the labels.
        keep: `(step) -> probability`: examples whose label has at least this probability already
            are left out (training signal annealing, Xie et al. 2020; section 5.7.7 "we also mask
            out the supervised examples with high confidence"). `None` keeps all.
    """

    def loss(logits: Mapping[str, Array], batch: Batch, step: Array) -> tuple[Array, Metrics]:
        predicted, labels = logits["labelled"], batch["labels"]
        losses = cross_entropy(one_hot(labels, predicted.shape[-1], smoothing), predicted)
        metrics = {"accuracy": accuracy(labels, predicted)}
        if keep is None:
            value = jnp.mean(losses)
        else:
            hard = labels if labels.ndim == 1 else jnp.argmax(labels, axis=-1)
            given = jnp.take_along_axis(jax.nn.softmax(predicted), hard[:, None], axis=-1)[:, 0]
            mask = jax.lax.stop_gradient(given < keep(step)).astype(jnp.float32)
            value = jnp.sum(mask * losses) / jnp.maximum(jnp.sum(mask), 1.0)
            metrics["kept"] = jnp.mean(mask)
        return value, metrics | {"supervised_loss": value}

    return Objective(("labelled",), loss)


def annealed(schedule: str, steps: int, classes: int) -> Callable[[Array], Array] | None:
    """Training signal annealing's threshold, from 1/K to 1 in `steps` (Xie et al. 2020, eq. 2).

    Args:
        schedule: linear, log, exp, or none.
        steps: T.
        classes: K.

    Raises:
        ValueError: another schedule.
    """
    shapes: dict[str, Callable[[Array], Array]] = {
        "linear": lambda t: t,
        "log": lambda t: 1.0 - jnp.exp(-5.0 * t),
        "exp": lambda t: jnp.exp(5.0 * (t - 1.0)),
    }
    if schedule == "none":
        return None
    if schedule not in shapes:
        raise ValueError(f"schedule: expected none, {', '.join(shapes)}; got {schedule!r}")

    def threshold(step: Array) -> Array:
        part = jnp.minimum(step / steps, 1.0)
        return shapes[schedule](part) * (1.0 - 1.0 / classes) + 1.0 / classes

    return threshold


def sharpened(logits: Array, temperature: float) -> Array:
    """softmax(logits / temperature), a constant: the target of a consistency loss."""
    return jax.nn.softmax(jax.lax.stop_gradient(logits) / temperature)


def uda(
    of_labelled: Objective,
    *,
    factor: float,
    temperature: float = 1.0,
    threshold: float = 0.0,
    warmup: int = 0,
) -> Objective:
    """A supervised objective plus UDA's consistency loss (Xie et al. 2020; Algorithm 3).

    factor * CE(sharpened T(x_u), T(RandAugment(x_u))), over unlabelled inputs: Algorithm 3 writes
    x_l, but section 5.2 says "on unlabeled data", as UDA does. The target is a constant.

    Args:
        of_labelled: the supervised part.
        factor: the tables' "UDA factor".
        temperature: of the target, the tables' "UDA temperature"; below 1 sharpens.
        threshold: inputs whose largest probability (before sharpening) is not above this are
            masked out, in UDA's way: the mean is still over all inputs.
        warmup: steps in which the factor grows linearly from 0. Neither the thesis nor UDA states
            one; 0 is none.
    """

    def loss(logits: Mapping[str, Array], batch: Batch, step: Array) -> tuple[Array, Metrics]:
        value, metrics = of_labelled.loss(logits, batch, step)
        confident = jnp.max(sharpened(logits["weak"], 1.0), axis=-1) > threshold
        losses = cross_entropy(sharpened(logits["weak"], temperature), logits["strong"])
        consistency = jnp.mean(jnp.where(confident, losses, 0.0))
        weight = factor * (jnp.minimum(step / warmup, 1.0) if warmup else 1.0)
        metrics |= {"uda_loss": consistency, "confident": jnp.mean(confident.astype(jnp.float32))}
        return value + weight * consistency, metrics

    return Objective((*of_labelled.views, "weak", "strong"), loss)


def fixmatch(of_labelled: Objective, *, factor: float = 1.0, threshold: float = 0.95) -> Objective:
    """A supervised objective plus FixMatch's: hard labels of confident weak views.

    Source: Sohn et al. 2020.

    Args:
        of_labelled: the supervised part.
        factor: lambda_u.
        threshold: tau; inputs below it count as zeros in the mean.
    """

    def loss(logits: Mapping[str, Array], batch: Batch, step: Array) -> tuple[Array, Metrics]:
        value, metrics = of_labelled.loss(logits, batch, step)
        target = sharpened(logits["weak"], 1.0)
        confident = jnp.max(target, axis=-1) >= threshold
        hard = jax.nn.one_hot(jnp.argmax(target, axis=-1), target.shape[-1])
        losses = cross_entropy(hard, logits["strong"])
        consistency = jnp.mean(jnp.where(confident, losses, 0.0))
        metrics |= {"uda_loss": consistency, "confident": jnp.mean(confident.astype(jnp.float32))}
        return value + factor * consistency, metrics

    return Objective((*of_labelled.views, "weak", "strong"), loss)


def pseudo_labels(
    of_labelled: Objective | None,
    *,
    threshold: float = 0.0,
    hard: bool = True,
    view: str = "strong",
    factor: float = 1.0,
    smoothing: float = 0.0,
) -> Objective:
    """Learns a fixed teacher's labels (eq. 5.1), beside labelled examples.

    With soft targets, a noised student and no threshold this is Noisy Student (Xie et al. 2020b).

    Args:
        of_labelled: the supervised part; `None` learns from pseudo labels alone.
        threshold: examples whose largest target is below it are left out (the "pseudo label
            threshold" of table 5.6); the mean is over those that stay.
        hard: whether a target is its largest class, or the distribution.
        view: of the unlabelled examples.
        factor: weight beside the supervised loss.
        smoothing: of the targets.
    """

    def loss(logits: Mapping[str, Array], batch: Batch, step: Array) -> tuple[Array, Metrics]:
        target = batch["targets"]
        mask = (jnp.max(target, axis=-1) >= threshold).astype(jnp.float32)
        if hard:
            target = jax.nn.one_hot(jnp.argmax(target, axis=-1), target.shape[-1])
        losses = cross_entropy(one_hot(target, target.shape[-1], smoothing), logits[view])
        value = factor * jnp.sum(mask * losses) / jnp.maximum(jnp.sum(mask), 1.0)
        metrics: Metrics = {"pseudo_loss": value, "confident": jnp.mean(mask)}
        if of_labelled is None:
            return value, metrics
        first, said = of_labelled.loss(logits, batch, step)
        return first + value, said | metrics

    return Objective((*(of_labelled.views if of_labelled else ()), view), loss)
