"""What children are trained and judged by: classifying images, and predicting the next word.

A `Task` is a supernet with a loss; the search (`child`) and the retraining of one architecture
(`enas.fixed`) use the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from enas.supernet import Supernet
from enas.train import Child
from nco.policy_gradient import Metrics

PyTree = Any


class Judged(NamedTuple):
    """What one batch came to.

    Attributes:
        loss: float32 scalar, nats, to be minimised.
        metrics: float32 scalars.
        carry: what the next batch starts from.
        averages: of batch normalization.
    """

    loss: Array
    metrics: Metrics
    carry: PyTree
    averages: PyTree


class Task(NamedTuple):
    """A supernet with a loss.

    Attributes:
        supernet: the search space.
        carry: before the first batch.
        judge: traced `(weights, choices, carry, batch, *, train, key=None, averages=None) ->
            Judged`; a carry of `None` is empty.
        reward: `(Metrics) -> scalar`, maximised, of a validation batch.
    """

    supernet: Supernet
    carry: PyTree
    judge: Callable[..., Judged]
    reward: Callable[[Metrics], Array]


def images(supernet: Supernet, *, smoothing: float = 0.0, auxiliary_weight: float = 0.4) -> Task:
    """Classification: cross-entropy, and as reward the accuracy of a minibatch (section 4.2.2).

    A batch is a dict of "images", float32 `[batch, height, width, channel]`, and "labels", int32
    `[batch]`.

    Args:
        supernet: gives logits `[batch, classes]`, or `(logits, auxiliary logits)`.
        smoothing: of labels, in training.
        auxiliary_weight: of the auxiliary head's loss in training (from the public code).
    """

    def judge(
        weights: PyTree,
        choices: Any,
        carry: PyTree,
        batch: PyTree,
        *,
        train: bool,
        key: Array | None = None,
        averages: PyTree = None,
    ) -> Judged:
        outputs, averages = supernet.apply(
            weights, choices, batch["images"], train=train, key=key, averages=averages
        )
        logits, auxiliary = outputs if isinstance(outputs, tuple) else (outputs, None)
        labels = jax.nn.one_hot(batch["labels"], logits.shape[-1])
        targets = optax.smooth_labels(labels, smoothing) if train else labels
        loss = jnp.mean(optax.softmax_cross_entropy(logits, targets))
        hit = jnp.argmax(logits, -1) == batch["labels"]
        metrics = {"cross_entropy": loss, "accuracy": jnp.mean(hit.astype(jnp.float32))}
        if train and auxiliary is not None:
            aside = jnp.mean(optax.softmax_cross_entropy(auxiliary, targets))
            loss = loss + auxiliary_weight * aside
        return Judged(loss, metrics, carry, averages)

    return Task(supernet, (), judge, lambda metrics: metrics["accuracy"])


def language(supernet: Supernet, *, batch_size: int, hidden: int, constant: float = 80.0) -> Task:
    """Next words: cross-entropy a word, and as reward c / perplexity of a minibatch (4.2.2).

    A batch is a dict of "tokens" and "targets", int32 `[batch, time]`, and "starts", a bool scalar:
    whether the text starts again, and with it the hidden state.

    Args:
        supernet: takes `(hidden state, tokens)`, gives `(logits [batch, time, words], hidden)`.
        batch_size: streams of text that are read side by side in training.
        hidden: size of the hidden state, which is carried over from segment to segment; its
            gradient is not.
        constant: c; 80 from the public code, as the thesis does not say.
    """

    def judge(
        weights: PyTree,
        choices: Any,
        carry: PyTree,
        batch: PyTree,
        *,
        train: bool,
        key: Array | None = None,
        averages: PyTree = None,
    ) -> Judged:
        empty = jnp.zeros((len(batch["tokens"]), hidden))
        before = empty if carry is None else jnp.where(batch["starts"], empty, carry)
        (logits, after), averages = supernet.apply(
            weights, choices, (before, batch["tokens"]), train=train, key=key, averages=averages
        )
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch["targets"])
        loss = jnp.mean(losses)
        metrics = {"cross_entropy": loss}
        return Judged(loss, metrics, jax.lax.stop_gradient(after), averages)

    def reward(metrics: Metrics) -> Array:
        return constant / jnp.exp(metrics["cross_entropy"])

    return Task(supernet, jnp.zeros((batch_size, hidden)), judge, reward)


def child(task: Task) -> Child:
    """The three functions that a search needs; rewards start from an empty hidden state."""

    def init(key: Array) -> tuple[PyTree, PyTree]:
        return task.supernet.init(key), task.carry

    def loss(
        weights: PyTree, carry: PyTree, choices: Array, batch: PyTree, key: Array
    ) -> tuple[Array, tuple[PyTree, Metrics]]:
        judged = task.judge(weights, choices, carry, batch, train=True, key=key)
        return judged.loss, (judged.carry, judged.metrics)

    def reward(weights: PyTree, choices: Array, batch: PyTree) -> Array:
        return task.reward(task.judge(weights, choices, None, batch, train=False).metrics)

    return Child(init, loss, reward)
