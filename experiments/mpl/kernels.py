"""Kernels of the mpl room: a student's update, a teacher's, both with feedback; a convolution.

`step` compares the update of Meta Pseudo Labels with its parts trained separately, and both with
their counted FLOPs (`experiments/results/mpl/step.json`):

    python -m experiments.mpl.kernels --json experiments/results/mpl/step.json

The count, in passes of a network over B images (a backward pass is two): the teacher alone 9 B,
forwards and backwards over labelled, weak and strong images; the student alone 3 B; together with
feedback 15 B, as the labelled loss at theta_S' and its gradient take 3 B more. The teacher's pass
is shared: its labels, its own losses and the feedback's gradient are functions of one set of
logits, which is differentiated once. 15 over 12 is 1.25; augmentations are no part of it.
"""

from __future__ import annotations

import argparse
import shlex
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.bench.kernel import Kernel, Loaded
from experiments.report import rows as result_rows
from experiments.report.interval import Interval
from experiments.runner.command import whole
from mpl import baselines, meta, objectives, optimizers, teaching
from mpl.models import wide_resnet
from mpl.models.convolution import conv_general_dilated
from nco.policy_gradient import Learner, moving_average

BATCH, UPDATES = 32, 5  # UPDATES in one dispatch
SHAPE, CLASSES, DEPTH, WIDTH = (8, 8, 1), 10, 10, 1
PARTS = ("digits-student", "digits-teacher")


def learners(*, tiny: bool = False) -> dict[str, Learner]:
    """The three learners of `configs/mpl/meta.py:digits,cpu`, without their schedules."""
    network = wide_resnet.wide_resnet(
        SHAPE, CLASSES, depth=DEPTH, width=WIDTH, base=4 if tiny else 16
    )
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


def ratios(*, rounds: int, seconds: float, tiny: bool = False) -> tuple[list[float], float]:
    """An update of MPL over the sum of its parts: times round by round, and FLOPs.

    Args:
      rounds: the three take turns so often.
      seconds: how long each runs in a round, at least.
      tiny: toy sizes.
    """
    loaded = {
        kernel.name: Loaded(kernel)
        for kernel in kernels(tiny=tiny)
        if kernel.name in (*PARTS, "digits-mpl")
    }
    times = []
    for _ in range(rounds):
        each = {name: statistics.median(one.timed(seconds)) for name, one in loaded.items()}
        times.append(each["digits-mpl"] / sum(each[part] for part in PARTS))
    flops = {name: one.cost.flops + one.cost.transcendentals for name, one in loaded.items()}
    return times, flops["digits-mpl"] / sum(flops[part] for part in PARTS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures the ratio and returns the exit code."""
    from experiments.bench import __main__ as bench
    from experiments.report import table as results_table

    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(
        prog="python -m experiments.mpl.kernels",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--repeat", type=whole, default=9, metavar="N", help="rounds (9)")
    add("--seconds", type=float, default=1.0, metavar="S", help="of each part in a round (1)")
    add("--json", type=Path, metavar="OUT", help="write result rows; others in the file stay")
    add("--tiny", action="store_true", help="toy sizes: tries the machinery, measures nothing")
    flags = parser.parse_args(words)
    if flags.json is not None and not flags.json.absolute().parent.is_dir():
        parser.error(f"--json {flags.json}: there is no folder {flags.json.parent}")
    times, flops = ratios(rounds=flags.repeat, seconds=flags.seconds, tiny=flags.tiny)
    low, middle, high = bench.spread(times)
    print(f"an update of MPL takes {middle:.3f} ({low:.3f} to {high:.3f}) times its parts,")
    print(f"its FLOPs are {flops:.3f} times theirs: {middle / flops:.3f} times what they explain")
    if flags.json is None:
        return 0
    command = shlex.join(["python", "-m", "experiments.mpl.kernels", *words])
    config = f"WideResNet-10-1, digits, batch {BATCH}, threads {bench.threads()}"
    rows = []
    for metric, values in (
        ("ratio", times),
        ("flops_ratio", [flops]),
        ("ratio_over_flops_ratio", [time / flops for time in times]),
    ):
        least, value, most = bench.spread(values)
        interval = Interval(value, least, most, len(values))
        more = result_rows.row(
            "mpl", metric, interval, unit="round", command=command, config=config
        )
        rows.append(more)
    title = "An update of Meta Pseudo Labels over its parts trained separately"
    results_table.write_table(flags.json, title, rows)
    print(f"wrote {flags.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
