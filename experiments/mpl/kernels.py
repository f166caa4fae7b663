"""Kernels of the mpl room: a student's update, a teacher's, both with feedback; a convolution.

The timing `step-mpl` compares the update of Meta Pseudo Labels with its parts trained separately,
and both with their counted operations:

    python -m experiments.bench mpl --only 'step-*' --json experiments/results/mpl/step.json

The count, in passes of a network over B images (a backward pass is two): the teacher alone 9 B,
forwards and backwards over labelled, weak and strong images; the student alone 3 B; together with
feedback 15 B, as the labelled loss at theta_S' and its gradient take 3 B more. The teacher's pass
is shared: its labels, its own losses and the feedback's gradient are functions of one set of
logits, which is differentiated once. 15 over 12 is 1.25; augmentations are no part of it.
"""

from __future__ import annotations

import functools
import statistics
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.bench.kernel import Kernel, Loaded, Timing
from experiments.report.rows import Row
from mpl import baselines, meta, objectives, optimizers, teaching
from mpl.models import perceptron, wide_resnet
from mpl.models.convolution import conv_general_dilated
from nco.policy_gradient import Learner, moving_average

BATCH, UPDATES = 32, 5  # UPDATES in one dispatch
SHAPE, CLASSES, DEPTH, WIDTH = (8, 8, 1), 10, 10, 1


def learners(*, tiny: bool = False) -> dict[str, Learner]:
    """The three learners of `configs/mpl/meta.py:digits,cpu`, without their schedules."""
    if tiny:
        network = perceptron.perceptron(SHAPE, CLASSES, (32,))
    else:
        network = wide_resnet.wide_resnet(SHAPE, CLASSES, depth=DEPTH, width=WIDTH)
    tx = optimizers.nesterov(0.1, weight_decay=5e-4)
    own = objectives.uda(objectives.supervised(smoothing=0.1), factor=1.0, temperature=0.8)
    taught = objectives.pseudo_labels(None, smoothing=0.1)
    return {
        "digits-student": baselines.learner(network, taught, tx),
        "digits-teacher": baselines.learner(network, own, tx),
        "digits-mpl": meta.meta_pseudo_labels(
            teaching.teacher(network, own),
            teaching.student(network, smoothing=0.1),
            tx,
            tx,
            baseline=moving_average(0.99),
        ),
    }


def batch(size: int) -> dict[str, Any]:
    """Random images in all views, labels, and distributions of a fixed teacher."""
    rng = np.random.default_rng(0)
    shape = (size, *SHAPE)
    made: dict[str, Any] = {
        view: rng.uniform(-1, 1, shape).astype(np.float32)
        for view in ("labelled", "weak", "strong")
    }
    made["labels"] = rng.integers(0, CLASSES, size).astype(np.int32)
    made["targets"] = rng.dirichlet(np.ones(CLASSES), size).astype(np.float32)
    return jax.tree.map(jnp.asarray, made)


def kernels(*, tiny: bool = False) -> list[Kernel]:
    """Returns the kernels; the floor's convolutions count as matrix products.

    Args:
      tiny: a few small images instead, for tests.
    """
    size = 4 if tiny else BATCH
    found = [_update(name, learner, size) for name, learner in learners(tiny=tiny).items()]
    return [*found, _convolution(size)]


def timings(*, tiny: bool = False) -> list[Timing]:
    """Returns the comparison of an update with its parts.

    Args:
      tiny: toy sizes, for tests.
    """
    rounds, seconds = (2, 0.0) if tiny else (9, 1.0)
    return [Timing("step-mpl", functools.partial(_over_parts, tiny, rounds, seconds))]


def flops_ratio(whole: Any, *parts: Any) -> float:
    """Operations of a program over those of its parts, each a `parallel.jaxpr.Cost`."""
    counted, *others = [each.flops + each.transcendentals for each in (whole, *parts)]
    return counted / sum(others)


def _over_parts(tiny: bool, rounds: int, seconds: float) -> list[Row]:
    """Times of the three, which take turns, and their counted operations."""
    named = {kernel.name: kernel for kernel in kernels(tiny=tiny)}
    loaded = [Loaded(named[f"digits-{name}"]) for name in ("mpl", "student", "teacher")]
    ratios = []
    for _ in range(rounds):
        whole, *parts = [statistics.median(one.timed(seconds)) for one in loaded]
        ratios.append(whole / sum(parts))
    flops = flops_ratio(*(one.cost for one in loaded))

    def row(metric: str, values: Sequence[float]) -> Row:
        middle = statistics.median(values)
        numbers = {"value": middle, "low": min(values), "high": max(values), "n": len(values)}
        about = {"unit": "round", "config": f"WideResNet-10-1, digits, batch {BATCH}"}
        return {"name": "mpl", "metric": metric, **numbers, **about}

    over = [ratio / flops for ratio in ratios]
    found = {"ratio": ratios, "flops_ratio": [flops], "ratio_over_flops_ratio": over}
    return [row(metric, values) for metric, values in found.items()]


def _update(name: str, learner: Learner, size: int) -> Kernel:
    def program(state: Any, given: Any) -> tuple[Any, Any]:
        return jax.lax.scan(lambda s, _: learner.update(s, given), state, None, length=UPDATES)

    return Kernel(
        name=name,
        items=UPDATES * size,
        unit="image",
        program=program,
        arguments=lambda: (jax.jit(learner.init)(jax.random.key(0)), batch(size)),
        carries=True,
        settings={"batch": size, "updates_a_dispatch": UPDATES, "network": "WideResNet-10-1"},
    )


def _convolution(size: int) -> Kernel:
    """Gradients of a 3 x 3 convolution in a loop, where the compiler's own are slow on a CPU."""

    def program(kernel: Any, images: Any) -> tuple[Any, Any]:
        def loss(kernel: Any) -> Any:
            return jnp.sum(conv_general_dilated(images, kernel, (1, 1), "SAME") ** 2)

        def one(kernel: Any, _: None) -> tuple[Any, None]:
            return kernel - 1e-6 * jax.grad(loss)(kernel), None

        return jax.lax.scan(one, kernel, None, length=UPDATES)

    def arguments() -> tuple:
        rng = np.random.default_rng(0)
        kernel = rng.normal(size=(3, 3, 16, 16)).astype(np.float32)
        return jnp.asarray(kernel), jnp.asarray(rng.normal(size=(size, 8, 8, 16)), jnp.float32)

    return Kernel(
        name="convolution-gradient",
        items=UPDATES * size,
        unit="image",
        program=program,
        arguments=arguments,
        carries=True,
        settings={"batch": size, "channels": 16},
    )
