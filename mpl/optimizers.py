"""The optimisers of Pham 2021, section 5.7.7, from optax."""

from __future__ import annotations

import jax
import optax


def cosine_schedule(
    learning_rate: float, steps: int, *, warmup: int = 0, end: float = 0.0
) -> optax.Schedule:
    """Linear warm-up from 0, then half a cosine down to `end` at `steps`."""
    if not 0 <= warmup < steps:
        raise ValueError(f"warmup: expected 0 to steps - 1 = {steps - 1}, got {warmup}")
    if not warmup:
        return optax.cosine_decay_schedule(learning_rate, steps, alpha=end / learning_rate)
    return optax.warmup_cosine_decay_schedule(0.0, learning_rate, warmup, steps, end)


def nesterov(
    schedule: optax.ScalarOrSchedule,
    *,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    max_grad_norm: float = 0.0,
) -> optax.GradientTransformation:
    """SGD with Nesterov's momentum and L2 weight decay, for WideResNet-28-2 and ResNet-50.

    The decay is added to the gradient, as an L2 term of the loss would be, and is of matrices and
    filters alone: not of biases, nor of batch normalization's scales.

    Args:
        schedule: learning rate, or a function of the step.
        momentum: 0.9 in the thesis.
        weight_decay: factor of the parameters; 0 for none.
        max_grad_norm: bound on the gradient's L2 norm; 0 for none, as in the thesis.
    """
    parts = [optax.clip_by_global_norm(max_grad_norm)] if max_grad_norm else []
    return optax.chain(
        *parts,
        optax.add_decayed_weights(weight_decay, mask=_matrices),
        optax.sgd(schedule, momentum, nesterov=True),
    )


def staircase_schedule(
    learning_rate: float, *, decay_rate: float = 0.97, decay_steps: float, warmup: int = 0
) -> optax.Schedule:
    """A rate that is multiplied by `decay_rate` after every `decay_steps` steps.

    The thesis refers to the networks' own papers for the numbers: 0.97 every 2.4 epochs (Tan and Le
    2019).

    Args:
        learning_rate: after the warm-up.
        decay_rate: factor of each decay.
        decay_steps: steps between decays, counted from the end of the warm-up.
        warmup: steps in which the rate rises linearly from 0.
    """
    falling = optax.exponential_decay(learning_rate, int(decay_steps), decay_rate, staircase=True)
    if not warmup:
        return falling
    rising = optax.linear_schedule(0.0, learning_rate, warmup)
    return optax.join_schedules([rising, falling], [warmup])


def rmsprop(
    schedule: optax.ScalarOrSchedule,
    *,
    decay: float = 0.9,
    momentum: float = 0.9,
    epsilon: float = 1e-3,
    weight_decay: float = 0.0,
) -> optax.GradientTransformation:
    """RMSProp for EfficientNets (section 5.7.7), with `staircase_schedule`.

    The thesis refers to the networks' own papers for the numbers: decay and momentum 0.9 (Tan and
    Le 2019), epsilon 1e-3 in the public code.

    Args:
        schedule: learning rate, or a function of the step.
        decay: of the squared gradients' average.
        momentum: of the scaled gradients.
        epsilon: added inside the root.
        weight_decay: of matrices and filters, added to the gradient.
    """
    return optax.chain(
        optax.add_decayed_weights(weight_decay, mask=_matrices),
        optax.rmsprop(schedule, decay, epsilon, momentum=momentum),
    )


def lars(
    learning_rate: float = 0.001, *, momentum: float = 0.9, weight_decay: float = 0.0
) -> optax.GradientTransformation:
    """LARS for the finetuning of EfficientNet-L2 and B6-Wide: rate 0.001, momentum 0.9 (5.7.7)."""
    return optax.lars(
        learning_rate,
        weight_decay=weight_decay,
        weight_decay_mask=_matrices,
        trust_ratio_mask=_matrices,
        momentum=momentum,
    )


def _matrices(params: optax.Params) -> optax.Params:

    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)
