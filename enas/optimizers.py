"""The optimisers of the shared weights and of retrained children (Pham 2021, 4.3.1 and 4.3.2)."""

from __future__ import annotations

import jax.numpy as jnp
import optax


def sgd(
    learning_rate: float = 20.0,
    *,
    steps_per_epoch: int,
    decay: float = 0.96,
    decay_from: int = 15,
    max_grad_norm: float = 0.25,
    weight_decay: float = 1e-7,
) -> optax.GradientTransformation:
    """SGD for recurrent cells: a large rate, and gradients clipped at a small norm.

    Args:
        learning_rate: of the first epochs.
        steps_per_epoch: updates in a pass through the training data.
        decay: factor after each epoch.
        decay_from: the first epoch, counted from 1, after which it decays: the rate of epoch e is
            `learning_rate * decay^max(e - decay_from, 0)`.
        max_grad_norm: bound on the L2 norm of the whole gradient, that of the penalty included.
        weight_decay: of an L2 penalty of half the sum of squares, over all weights.
    """
    rate = optax.exponential_decay(
        learning_rate,
        steps_per_epoch,
        decay,
        transition_begin=(decay_from - 1) * steps_per_epoch,
        staircase=True,
    )
    return optax.chain(
        optax.add_decayed_weights(weight_decay),
        optax.clip_by_global_norm(max_grad_norm),
        optax.sgd(rate),
    )


def nesterov(
    *,
    steps_per_epoch: int,
    epochs: int,
    highest: float = 0.05,
    lowest: float = 0.001,
    first: int = 10,
    factor: int = 2,
    momentum: float = 0.9,
    weight_decay: float = 1e-4,
    max_grad_norm: float | None = None,
) -> optax.GradientTransformation:
    """Nesterov's momentum with a cosine schedule that restarts (Loshchilov and Hutter 2017).

    Args:
        steps_per_epoch: updates in a pass through the training data.
        epochs: how many the schedule must cover; 310 are five whole periods of the thesis's.
        highest: l_max, the rate at the start of a period.
        lowest: l_min, at its end.
        first: T_0, epochs of the first period.
        factor: T_mul, by which each period is longer than the one before.
        momentum: 0.9 (the thesis does not say).
        weight_decay: of an L2 penalty of half the sum of squares, over all weights.
        max_grad_norm: bound on the gradient's L2 norm; `None`, as in the thesis, for none.
    """
    parts = [] if max_grad_norm is None else [optax.clip_by_global_norm(max_grad_norm)]
    return optax.chain(
        optax.add_decayed_weights(weight_decay),
        *parts,
        optax.sgd(
            cosine_restarts(
                steps_per_epoch=steps_per_epoch,
                epochs=epochs,
                highest=highest,
                lowest=lowest,
                first=first,
                factor=factor,
            ),
            momentum,
            nesterov=True,
        ),
    )


def cosine_restarts(
    *,
    steps_per_epoch: int,
    epochs: int,
    highest: float = 0.05,
    lowest: float = 0.001,
    first: int = 10,
    factor: int = 2,
) -> optax.Schedule:
    """Half a cosine from `highest` to `lowest` in each period; arguments as in `nesterov`."""
    for name, value in (("first", first), ("factor", factor)):
        if value < 1:
            raise ValueError(f"{name}: expected at least 1, got {value}")
    periods = [first]
    while sum(periods) < epochs:
        periods.append(periods[-1] * factor)
    parts = [
        optax.cosine_decay_schedule(highest, period * steps_per_epoch, alpha=lowest / highest)
        for period in periods
    ]
    ends = [sum(periods[: i + 1]) * steps_per_epoch for i in range(len(periods) - 1)]
    joined = optax.join_schedules(parts, ends)
    return lambda step: joined(jnp.asarray(step, jnp.float32))
