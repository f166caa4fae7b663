"""The learners of `configs/mpl`: networks, objectives, optimisers and stages of a config.

They read shapes alone, so that images may lie on the device (`mpl_images`), on disk
(`mpl_photographs`), or nowhere (`--dry_run`).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array
from ml_collections import ConfigDict

from experiments.mpl.stages import Stage, State
from mpl import baselines, meta, objectives, optimizers, teaching
from mpl.models import efficientnet, perceptron, resnet, wide_resnet
from mpl.models.network import Network
from mpl.objectives import Objective
from nco.policy_gradient import Learner, moving_average

PyTree = Any
EFFICIENTNETS = tuple(f"efficientnet-{name}" for name in efficientnet.SCALES)
NETWORKS = ("wide_resnet", "resnet50", "perceptron", *EFFICIENTNETS)
_EVALUATED = 256  # images at once


class Images(Protocol):
    """What the learners need to know of a data set."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one image: height, width, channels."""

    @property
    def classes(self) -> int:
        """Number of classes."""


def network(config: ConfigDict, found: Images, dropout: float) -> Network:
    """The network that `config.model` describes, for images of a shape and number of classes."""
    model, shape = config.model, found.shape
    options: dict[str, Any] = {"dropout": dropout, "decay": model.decay}
    if model.name == "wide_resnet":
        sizes = {"depth": model.depth, "width": model.width, "base": model.base}
        return wide_resnet.wide_resnet(shape, found.classes, **sizes, **options)
    if model.name == "perceptron":
        from mpl.models.network import network as functions

        widths = (model.width,) * model.depth
        return functions(perceptron.Perceptron(widths, found.classes), shape)
    options |= {"dtype": jnp.dtype(model.dtype), "native": model.native}
    if model.name == "resnet50":
        return resnet.resnet50(shape, found.classes, **options)
    name = model.name.removeprefix("efficientnet-")
    return efficientnet.efficientnet(name, shape, found.classes, **options)


def make_stages(
    config: ConfigDict,
    found: Images,
    batch: Callable[..., PyTree],
    tuning: Callable[..., PyTree],
    relabel: Callable[[Network], Callable[[State], State]] | None = None,
) -> tuple[Stage, ...]:
    """The learners of a method, in their order.

    Args:
        config: of `configs/mpl`.
        found: the shape of the images and the number of classes.
        batch: of all stages but the finetuning, as `Stage.batch`.
        tuning: of the finetuning, which has its own batch size.
        relabel: makes of the first stage's network what its successor enters with.
    """
    first, tuned = config.stages.teacher, config.stages.finetune
    rest = config.steps - first - tuned
    student = network(config, found, config.student.dropout)
    teacher = network(config, found, config.teacher.dropout)
    of_labelled = _supervised(config, found, rest)
    single = functools.partial(baselines.learner, student)
    stages = []
    if first:
        plain = objectives.supervised(smoothing=config.smoothing)
        tx = _optimizer(config, config.teacher.learning_rate, first)
        stages.append(Stage("teacher", baselines.learner(teacher, plain, tx), first, batch))
    enter = relabel(teacher) if first and relabel else None
    tx = _optimizer(config, config.student.learning_rate, rest)
    learner: Learner
    if config.method in ("supervised", "mixup"):
        learner = single(of_labelled, tx)
    elif config.method == "uda":
        learner = single(_uda(config, of_labelled), tx)
    elif config.method == "fixmatch":
        options = {"factor": config.fixmatch.factor, "threshold": config.fixmatch.threshold}
        objective = objectives.fixmatch(of_labelled, **options)
        learner = single(objective, tx, average_decay=config.fixmatch.average_decay)
    elif config.method == "pseudo_labels":
        learner = single(_pseudo(config, of_labelled), tx)
    elif config.method == "noisy_student":
        # Nothing but the fixed teacher is unlike "reduced": the student learns from its labels
        # alone, with the same settings, and is finetuned (5.7.14).
        options = {"hard": False, "view": config.meta.view, "smoothing": config.smoothing}
        learner = single(objectives.pseudo_labels(None, **options), tx)
    else:
        learner = _meta(config, found, teacher, student, of_labelled, tx, rest)
    name = config.method if config.method in ("mpl", "reduced") else "train"
    stages.append(Stage(name, learner, rest, batch, enter))
    if tuned:
        tuner = baselines.learner(student, objectives.supervised(), _tuning_optimizer(config))
        stages.append(Stage("finetune", tuner, tuned, tuning, _take_student))
    return tuple(stages)


def _supervised(config: ConfigDict, found: Images, steps: int) -> Objective:
    keep = None
    if config.method == "uda" or (config.method == "mpl" and config.meta.teacher == "uda"):
        keep = objectives.annealed(config.uda.annealing, steps, found.classes)
    return objectives.supervised(smoothing=config.smoothing, keep=keep)


def _uda(config: ConfigDict, of_labelled: Objective) -> Objective:
    keys = ("factor", "temperature", "threshold", "warmup")
    return objectives.uda(of_labelled, **{key: config.uda[key] for key in keys})


def _pseudo(config: ConfigDict, of_labelled: Objective) -> Objective:
    return objectives.pseudo_labels(of_labelled, threshold=config.pseudo.threshold)


def _meta(
    config: ConfigDict,
    found: Images,
    teacher: Network,
    student: Network,
    of_labelled: Objective,
    student_tx: optax.GradientTransformation,
    steps: int,
) -> Learner:
    exact = config.meta.feedback == "exact"
    if config.method == "reduced":
        small = perceptron.reduced_teacher(found.classes, config.model.reduced)
        proposing = teaching.reduced_teacher(small, soft=exact)
    else:
        own = {
            "none": None,
            "supervised": of_labelled,
            "mixup": of_labelled,
            "pseudo_labels": _pseudo(config, of_labelled),
            "uda": _uda(config, of_labelled),
        }[config.meta.teacher]
        proposing = teaching.teacher(teacher, own, soft=exact)
    decay = config.meta.baseline_decay
    return meta.meta_pseudo_labels(
        proposing,
        teaching.student(student, view=config.meta.view, smoothing=config.smoothing),
        _optimizer(config, config.teacher.learning_rate, steps),
        student_tx,
        feedback=config.meta.feedback,
        along=config.meta.along,
        learning_rate=_schedule(config, config.student.learning_rate, steps),
        baseline=moving_average(decay) if decay and not exact else None,
    )


def _schedule(config: ConfigDict, rate: float, steps: int) -> optax.Schedule:
    if config.optimizer.name == "nesterov":
        return optimizers.cosine_schedule(rate, steps, warmup=config.warmup)
    keys = ("decay_rate", "decay_steps")
    options = {key: config.optimizer[key] for key in keys}
    return optimizers.staircase_schedule(rate, warmup=config.warmup, **options)


def _optimizer(config: ConfigDict, rate: float, steps: int) -> optax.GradientTransformation:
    schedule = _schedule(config, rate, steps)
    if config.optimizer.name == "rmsprop":
        return optimizers.rmsprop(schedule, weight_decay=config.weight_decay)
    return optimizers.nesterov(schedule, weight_decay=config.weight_decay)


def _tuning_optimizer(config: ConfigDict) -> optax.GradientTransformation:
    rate = config.finetune.learning_rate
    return optimizers.lars(rate) if config.finetune.optimizer == "lars" else optax.sgd(rate)


def relabelled(predict: Callable[..., np.ndarray], images: np.ndarray, state: State) -> State:
    """The first stage's distributions of all unlabelled images."""
    params, stats = learned(state.stages[0])
    targets = jax.nn.softmax(jnp.asarray(predict(params, stats, images)))
    return dataclasses.replace(state, targets=targets)


def _take_student(state: State) -> State:
    """Starts the last stage from the student that the one before it taught."""
    params, stats = learned(state.stages[-2])
    tuned = dataclasses.replace(
        state.stages[-1], params=jax.tree.map(jnp.copy, params), stats=jax.tree.map(jnp.copy, stats)
    )
    return dataclasses.replace(state, stages=(*state.stages[:-1], tuned))


def learned(stage: PyTree) -> tuple[PyTree, PyTree]:
    """The parameters and averages that a stage's predictions are made with: the student's."""
    if isinstance(stage, meta.State):
        return stage.student.params, stage.student.stats
    return baselines.evaluated(stage)


def predictor(net: Network) -> Callable[..., np.ndarray]:
    """`(params, stats, images uint8) -> logits [N, K]` on the host, some images at a time."""

    @jax.jit
    def some(params: PyTree, stats: PyTree, images: Array) -> Array:
        return net.apply(params, stats, scaled(images), train=False)[0]

    def predict(params: PyTree, stats: PyTree, images: np.ndarray) -> np.ndarray:
        missing = -len(images) % _EVALUATED
        padded = np.concatenate([images, np.repeat(images[:1], missing, axis=0)])
        parts = [
            np.asarray(some(params, stats, padded[start : start + _EVALUATED]))
            for start in range(0, len(padded), _EVALUATED)
        ]
        return np.concatenate(parts)[: len(images)]

    return predict


def scaled(images: Array) -> Array:
    """Bytes as float32 in [-1, 1]."""
    return images.astype(jnp.float32) / 127.5 - 1.0
