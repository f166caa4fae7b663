"""TwoMoon (Pham 2021, section 5.3.1): which methods find the moons from 6 labels?

    python -m experiments.mpl.moons --cpu_devices 2
    python -m experiments.mpl.moons --first 200 --label fresh --cpu_devices 2
    python -m experiments.mpl.moons --seeds 16 --steps 2000 --dry_run
    python -m experiments.mpl.moons --separation 0 --noise 0.05 --label interlocked --methods all

Each seed draws 2,000 points, 1,000 a moon, and labels 3 at random in each. A run succeeds if its
network puts at least 99% of the unlabelled points in the right moon. Rows of
`experiments/results/mpl/two_moon.json`: success_rate, in [0, 1] with its exact 95% interval, and
accuracy, in percent; the picture of one seed's decision regions is `two_moon.png` beside it.

The seed's: two hidden layers of 8 sigmoids, SGD at 0.1, parameters from U[-0.1, 0.1], no
regularisation. What it leaves open, and what is chosen here: Gaussian noise 0.13; batches of 16
unlabelled points beside all 6 labelled ones; 20,000 updates (of Pseudo Labels twice as many: its
teacher's, then its own); the teacher learns from the labelled points too (`mpl`) or from the
feedback alone (`mpl_pure`); labels are drawn, h is the cosine, its baseline decays by 0.99.
`mpl_likeliest` proposes the likeliest class instead, without a baseline.

How far apart the moons are decides. The usual moons reach into each other (`--separation 0`), and
only a bent boundary tells them apart, which this network does not find in 20,000 updates even with
all 2,000 labels (`all_labels`); then none succeeds but, mostly, the Laplacian SVM. Drawn apart
(`--separation 1`, the default: the moons of one colour moved up by a half, the others down), a
straight line through the gap is right, and 6 labels place it badly: this is where feedback helps.
Labels are drawn, so a boundary through dense points moves at random until it lies where few are.
How much it helps depends on the rest: noise, batch and separation here are those, of a dozen tried
on the first 200 data sets, at which the methods differ most there; rows "fresh" are of 200 others.
"""

from __future__ import annotations

import argparse
import functools
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int

from experiments import data
from experiments.mpl.laplacian_svm import laplacian_svm
from experiments.nco.tables import Parser
from experiments.report import rows as result_rows
from experiments.report import table as results_table
from experiments.report.interval import mean_interval, rate_interval
from experiments.runner.distributed import make_cpu_devices
from mpl import baselines, meta, objectives, teaching
from mpl.models import perceptron
from mpl.models.network import Network
from nco.policy_gradient import Learner, moving_average

PyTree = Any
TITLE = "TwoMoon, 6 labels: how often a method finds the moons"
METHODS = ("supervised", "pseudo_labels", "mpl", "mpl_pure", "mpl_likeliest", "all_labels")
PANELS = ("supervised", "pseudo_labels", "mpl", "laplacian_svm")
RIGHT = 0.99  # of the unlabelled points


class Setting(NamedTuple):
    """What a command line may change.

    Attributes:
        noise: standard deviation of the points about their moon, whose radius is 1.
        separation: vertical distance by which the moons are drawn apart; from 0.5 a straight line
            tells them apart.
        steps: updates of each network.
        batch: unlabelled points in an update.
        rate: learning rate of all networks.
        scale: parameters start from U[-scale, scale].
        feedback_weight: of the feedback beside the teacher's supervised loss.
    """

    noise: float = 0.13
    separation: float = 1.0
    steps: int = 20_000
    batch: int = 16
    rate: float = 0.1
    scale: float = 0.1
    feedback_weight: float = 1.0


class Moons(NamedTuple):
    """A data set, or several along a first axis."""

    points: Float[np.ndarray, "points 2"]
    labels: Int[np.ndarray, " points"]
    labelled: Int[np.ndarray, " labelled"]


def moons(seed: int, setting: Setting) -> Moons:
    """Two moons about the origin, three labelled points in each."""
    drawn = data.load("moons", noise=setting.noise, seed=seed)
    labels = np.asarray(drawn["labels"], np.int32)
    apart = np.stack([np.zeros(len(labels)), (0.5 - labels) * setting.separation], axis=-1)
    points = drawn["features"] - np.array([0.5, 0.25]) + apart
    chooser = np.random.default_rng(seed)
    chosen = [chooser.choice(np.flatnonzero(labels == side), 3, replace=False) for side in (0, 1)]
    return Moons(points.astype(np.float32), labels, np.concatenate(chosen).astype(np.int32))


def learners(network: Network, setting: Setting) -> dict[str, Learner]:
    """The learners by method; that of Pseudo Labels is the student's."""
    tx = optax.sgd(setting.rate)
    supervised = objectives.supervised()

    def feedback(own: objectives.Objective | None, *, likeliest: bool = False) -> Learner:
        return meta.meta_pseudo_labels(
            teaching.teacher(network, own, likeliest=likeliest),
            teaching.student(network, view="weak"),
            tx,
            tx,
            baseline=None if likeliest else moving_average(0.99),
            feedback_weight=setting.feedback_weight,
        )

    return {
        "supervised": baselines.learner(network, supervised, tx),
        "pseudo_labels": baselines.learner(
            network, objectives.pseudo_labels(None, view="weak"), tx
        ),
        "mpl": feedback(supervised),
        "mpl_pure": feedback(None),
        "mpl_likeliest": feedback(supervised, likeliest=True),
        "all_labels": baselines.learner(network, supervised, tx),
    }


def fit(
    method: str, setting: Setting, steps: int, key: Array, given: Moons, teacher: PyTree = None
) -> PyTree:
    """Parameters of a method's last network after `steps` updates; jits, and vmaps over all arrays.

    Args:
        method: one of METHODS.
        setting: of the experiment.
        steps: updates.
        key: of the run.
        given: points, labels (read for the labelled points alone, but by "all_labels"), labelled.
        teacher: parameters that Pseudo Labels learns from.
    """
    network = perceptron.two_moon(setting.scale)
    learner = learners(network, setting)[method]
    points, labels, labelled = (jnp.asarray(part) for part in given)

    def update(state: PyTree, step: Array) -> tuple[PyTree, None]:
        drawn = jax.random.fold_in(jax.random.fold_in(key, 7), step)
        rows = jax.random.randint(drawn, (setting.batch,), 0, len(points))
        known = rows if method == "all_labels" else labelled
        batch = {"labelled": points[known], "labels": labels[known], "weak": points[rows]}
        if method == "pseudo_labels":
            logits, _ = network.apply(teacher, (), batch["weak"], train=False)
            batch["targets"] = jax.nn.softmax(logits)
        return learner.update(state, batch)[0], None

    state, _ = jax.lax.scan(update, learner.init(key), jnp.arange(steps))
    return state.student.params if isinstance(state, meta.State) else state.params


def predict(setting: Setting, params: PyTree, points: Array | np.ndarray) -> Int[Array, " points"]:
    """The class that a network gives to each point."""
    network = perceptron.two_moon(setting.scale)
    logits, _ = network.apply(params, (), jnp.asarray(points), train=False)
    return jnp.argmax(logits, axis=-1)


def fit_all(
    setting: Setting, seeds: int, methods: Sequence[str], first: int = 0
) -> tuple[Moons, dict[str, Any]]:
    """The data sets of seeds first, first + 1, ..., and each method's parameters on them."""
    drawn = [moons(seed, setting) for seed in range(first, first + seeds)]
    made = Moons(*(np.stack(part) for part in zip(*drawn, strict=True)))
    mesh = jax.sharding.Mesh(np.array(jax.devices()), ("seeds",))
    spread = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("seeds"))
    given: Moons = jax.device_put(made, spread)
    root = jax.random.key(0)
    keys = jax.vmap(functools.partial(jax.random.fold_in, root))(first + jnp.arange(seeds))
    keys = jax.device_put(keys, spread)
    found: dict[str, Any] = {}
    for method in methods:
        one = functools.partial(fit, method, setting, setting.steps)
        start = time.monotonic()
        if method == "pseudo_labels":
            found[method] = jax.jit(jax.vmap(one))(keys, given, found["supervised"])
        else:
            found[method] = jax.jit(jax.vmap(one))(keys, given)
        jax.block_until_ready(found[method])
        print(f"{method}: {seeds} seeds in {time.monotonic() - start:.0f} s", flush=True)
    return made, found


def unlabelled(made: Moons) -> Bool[np.ndarray, "seeds points"]:
    """Which points of each data set have no label."""
    mask = np.ones(made.labels.shape, bool)
    np.put_along_axis(mask, made.labelled, False, axis=1)
    return mask


def accuracies(given: np.ndarray, made: Moons) -> Float[np.ndarray, " seeds"]:
    """How many of the unlabelled points have their moon's class, for each data set."""
    mask = unlabelled(made)
    return np.sum((given == made.labels) & mask, axis=1) / np.sum(mask, axis=1)


def svm(made: Moons, seed: int) -> Callable[[np.ndarray], np.ndarray]:
    """The Laplacian SVM of one data set, as a function from points to classes."""
    rows = made.labelled[seed]
    machine = laplacian_svm(made.points[seed], rows, made.labels[seed][rows])
    return lambda points: (machine(points) > 0).astype(int)


def draw(
    path: Path, made: Moons, seed: int, panels: Mapping[str, Callable[[np.ndarray], np.ndarray]]
) -> None:
    """The decision regions of some methods on one data set (figure 5.2)."""
    from experiments.report.figures import pyplot

    plt = pyplot()
    points, labels, rows = made.points[seed], made.labels[seed], made.labelled[seed]
    low, high = points.min(0) - 0.3, points.max(0) + 0.3
    across, up = np.meshgrid(*(np.linspace(low[axis], high[axis], 201) for axis in (0, 1)))
    grid = np.stack([across.ravel(), up.ravel()], axis=-1).astype(np.float32)
    figure, axes = plt.subplots(1, len(panels), figsize=(3.0 * len(panels), 3.2), squeeze=False)
    colours = np.array(["#4477aa", "#ee6677"])
    for axis, (name, given) in zip(axes[0], panels.items(), strict=True):
        regions = np.asarray(given(grid)).reshape(across.shape)
        axis.contourf(across, up, regions, levels=[-0.5, 0.5, 1.5], colors=colours, alpha=0.25)
        axis.scatter(*points.T, s=1.5, c=colours[labels], linewidths=0)
        axis.scatter(*points[rows].T, s=90, c=colours[labels[rows]], marker="*", edgecolors="black")
        right = accuracies(np.asarray(given(points))[None], Moons(*(x[seed][None] for x in made)))
        axis.set_title(f"{name.replace('_', ' ')}: {100 * right[0]:.1f}%")
        axis.set_xticks([])
        axis.set_yticks([])
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    plt.close(figure)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = Parser(
        prog="python -m experiments.mpl.moons",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--seeds", type=int, default=200, metavar="N", help="data sets (200)")
    add("--first", type=int, default=0, metavar="S", help="seed of the first data set (0)")
    add("--svms", type=int, default=20, metavar="N", help="data sets of the Laplacian SVM (20)")
    for name, default in Setting._field_defaults.items():
        add(f"--{name}", type=type(default), default=default, metavar="X", help=f"({default})")
    add(
        "--methods",
        type=_methods,
        default=METHODS[:3],
        metavar="A,B",
        help=f"of {', '.join(METHODS)}, or all (the first three)",
    )
    add("--label", default="", metavar="L", help="rows are called L-METHOD: another setting")
    add("--cpu_devices", type=int, metavar="N", help="split the data sets over N cores")
    add("--drawn", type=int, metavar="S", help="the data set to draw, from 0 (first typical one)")
    add("--dry_run", action="store_true", help="measure, write nothing")
    flags = parser.parse_args(words)
    setting = Setting(**{name: getattr(flags, name) for name in Setting._fields})
    for name, low in (("seeds", 1), ("first", 0), ("svms", 0), ("steps", 1), ("batch", 1)):
        if getattr(flags, name) < low:
            parser.error(f"--{name}: expected at least {low}, got {getattr(flags, name)}")
    for name in ("noise", "rate", "scale", "feedback_weight"):
        if not getattr(flags, name) > 0:
            parser.error(f"--{name}: expected more than 0, got {getattr(flags, name)}")
    if flags.drawn is not None and not 0 <= flags.drawn < flags.seeds:
        parser.error(f"--drawn: expected 0 to {flags.seeds - 1}, got {flags.drawn}")
    if flags.cpu_devices is not None:
        make_cpu_devices(flags.cpu_devices)
    if flags.seeds % jax.device_count():
        parser.error(f"--seeds: expected a multiple of {jax.device_count()}, the devices")
    command = shlex.join(["python", "-m", "experiments.mpl.moons", *words])
    return measure(setting, flags, command)


def measure(setting: Setting, flags: argparse.Namespace, command: str) -> int:
    """Fits all methods, prints and writes their rows, and draws the picture."""
    made, params = fit_all(setting, flags.seeds, flags.methods, flags.first)
    guess = jax.jit(jax.vmap(functools.partial(predict, setting)))
    right = {
        method: accuracies(np.asarray(guess(params[method], made.points)), made)
        for method in flags.methods
    }
    few = min(flags.svms, flags.seeds)
    machines = [svm(made, seed) for seed in range(few)]
    if few:
        given = np.stack([machine(made.points[seed]) for seed, machine in enumerate(machines)])
        right["laplacian_svm"] = accuracies(given, Moons(*(part[:few] for part in made)))
    rows = []
    for method, each in right.items():
        name = f"{flags.label}-{method}" if flags.label else method
        config = ", ".join(f"{key} {value:g}" for key, value in setting._asdict().items())
        for metric, interval in (
            ("success_rate", rate_interval(each >= RIGHT)),
            ("accuracy", mean_interval(100.0 * each)),
        ):
            row = result_rows.row(
                name,
                metric,
                interval,
                unit="seed",
                command=command,
                config=config,
                seeds=range(flags.first, flags.first + len(each)),
            )
            rows.append(row)
        rate, low, high, n = rate_interval(each >= RIGHT)
        print(f"{name}: {rate:.3f} ({low:.3f} to {high:.3f}), accuracy {each.mean():.3f}, n={n}")
    if flags.dry_run:
        return 0
    path = results_table.table_path("mpl/two_moon")
    results_table.write_table(path, TITLE, rows)
    panels: dict[str, Callable[[np.ndarray], np.ndarray]] = {}
    seed = flags.drawn if flags.drawn is not None else typical(right)
    for method in (each for each in PANELS if each in right):
        if method == "laplacian_svm":
            panels[method] = svm(made, seed)
        else:
            one = jax.tree.map(lambda leaf: leaf[seed], params[method])
            panels[method] = functools.partial(_classes, setting, one)
    picture = path.with_name(f"two_moon{'_' + flags.label if flags.label else ''}.png")
    draw(picture, made, seed, panels)
    print(f"wrote {path} and {picture}")
    return 0


def _methods(text: str) -> tuple[str, ...]:
    chosen = set(METHODS) if text == "all" else set(text.split(","))
    if unknown := sorted(chosen - set(METHODS)):
        raise argparse.ArgumentTypeError(f"expected some of {', '.join(METHODS)}; got {unknown}")
    if "pseudo_labels" in chosen:
        chosen.add("supervised")  # its teacher
    return tuple(method for method in METHODS if method in chosen)


def _classes(setting: Setting, params: PyTree, points: np.ndarray) -> np.ndarray:
    return np.asarray(predict(setting, params, points))


def typical(right: Mapping[str, np.ndarray]) -> int:
    """The first data set on which MPL succeeds and the baselines do not; 0 if there is none."""
    if not {"mpl", *METHODS[:2]} <= set(right):
        return 0
    bad = (right["supervised"] < RIGHT) & (right["pseudo_labels"] < RIGHT)
    return int(np.argmax((right["mpl"] >= RIGHT) & bad))


if __name__ == "__main__":
    sys.exit(main())
