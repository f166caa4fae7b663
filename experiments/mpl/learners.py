"""The learners of `configs/mpl`: checks, networks, objectives, optimisers and stages of a config.

They read shapes alone, so that images may lie on the device (`images`), on disk (`photographs`), or
nowhere (`--dry_run`).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array
from ml_collections import ConfigDict

from experiments.mpl.config import METHODS
from experiments.runner.checks import (
    ConfigError,
    check_bool,
    check_choice,
    check_float,
    check_int,
    lookup,
)
from mpl import augment, baselines, meta, objectives, optimizers, teaching
from mpl.models import efficientnet, perceptron, resnet, wide_resnet
from mpl.models.network import Network
from mpl.objectives import Objective
from mpl.stages import Stage, State
from nco.policy_gradient import Learner, moving_average

PyTree = Any


class Images(NamedTuple):
    """What the learners need to know of a data set: height, width, channels; number of classes."""

    shape: tuple[int, int, int]
    classes: int


def _pseudo_labels(config: ConfigDict, labelled: Objective) -> Objective:
    return objectives.pseudo_labels(labelled, threshold=config.pseudo.threshold)


def _noisy_student(config: ConfigDict, _: Objective) -> Objective:
    # Nothing but the fixed teacher is unlike "reduced": the student learns from its labels alone,
    # with the same settings, and is finetuned (5.7.14).
    options = {"hard": False, "view": config.meta.view, "smoothing": config.smoothing}
    return objectives.pseudo_labels(None, **options)


def _uda(config: ConfigDict, labelled: Objective) -> Objective:
    keys = ("factor", "temperature", "threshold", "warmup")
    return objectives.uda(labelled, **{key: config.uda[key] for key in keys})


def _fixmatch(config: ConfigDict, labelled: Objective) -> Objective:
    options = {"factor": config.fixmatch.factor, "threshold": config.fixmatch.threshold}
    return objectives.fixmatch(labelled, **options)


# What a network learns from, of the config and the objective of labelled images; with feedback
# ("mpl", "reduced"), a teacher's own is that of `meta.teacher`.
OBJECTIVES: dict[str, Callable[[ConfigDict, Objective], Objective]] = {
    "supervised": lambda config, labelled: labelled,
    "mixup": lambda config, labelled: labelled,  # its batches are mixed
    "pseudo_labels": _pseudo_labels,
    "noisy_student": _noisy_student,
    "uda": _uda,
    "fixmatch": _fixmatch,
}
TEACHERS = ("none", "supervised", "mixup", "pseudo_labels", "uda")
NO_FEEDBACK = "none"  # of `meta.feedback`: computed as "cosine", and weighed by 0
NETWORKS: dict[str, Callable[..., Network]] = {
    "wide_resnet": wide_resnet.wide_resnet,
    "resnet50": resnet.resnet50,
    "perceptron": perceptron.perceptron,
    **{
        f"efficientnet-{name}": functools.partial(efficientnet.efficientnet, name)
        for name in efficientnet.SCALES
    },
}

OPTIMIZERS: dict[str, Callable[..., optax.GradientTransformation]] = {
    "nesterov": optimizers.nesterov,
    "rmsprop": optimizers.rmsprop,
}
_CHOICES = {
    "method": tuple(METHODS),
    "augment.operations": ("cifar", "svhn"),
    "augment.labelled": ("none", "weak", "strong"),
    "model.name": tuple(NETWORKS),
    "model.dtype": ("float32", "bfloat16"),
    "optimizer.name": tuple(OPTIMIZERS),
    "uda.annealing": ("none", "linear", "log", "exp"),
    "meta.teacher": TEACHERS,
    "meta.feedback": (*meta.FEEDBACKS, NO_FEEDBACK),
    "meta.along": ("gradient", "update"),
    "meta.view": ("weak", "strong"),
    "finetune.optimizer": ("sgd", "lars"),
}
_FLAGS = ("data.repeat", "data.write_predictions", "augment.flip", "model.native")
_WHOLE = {  # least and largest
    "data.top_per_class": (0, None),
    "augment.pad": (0, 16),
    "augment.num_ops": (0, 10),
    "batch_size": (1, None),
    "unlabelled_batch_size": (0, None),
    **{f"model.{key}": (1, 4096) for key in ("depth", "width", "base", "reduced")},
    "optimizer.decay_steps": (1, None),
    "warmup": (0, None),
    "uda.warmup": (0, None),
    "stages.teacher": (0, None),
    "stages.finetune": (0, None),
    "finetune.batch_size": (1, None),
    "eval.images": (0, None),
}
_LARGEST = {  # of floats from 0
    "data.confidence": 1.0,
    "model.decay": 1.0,
    "weight_decay": None,
    "smoothing": 1.0,
    "student.dropout": 0.99,
    "teacher.dropout": 0.99,
    "uda.factor": None,
    "uda.threshold": 1.0,
    "fixmatch.threshold": 1.0,
    "fixmatch.factor": None,
    "fixmatch.average_decay": 1.0,
    "pseudo.threshold": 1.0,
    "meta.baseline_decay": 1.0,
}
_POSITIVE = (
    "optimizer.decay_rate",
    "student.learning_rate",
    "teacher.learning_rate",
    "uda.temperature",
    "finetune.learning_rate",
)


def check(config: ConfigDict) -> None:
    """Checks the fields that all data sets share, one by one.

    Raises:
        ConfigError: names the key.
    """
    for key, choices in _CHOICES.items():
        check_choice(config, key, choices)
    for key in _FLAGS:
        check_bool(config, key)
    for key, (low, most) in _WHOLE.items():
        check_int(config, key, low, most)
    for key, high in _LARGEST.items():
        check_float(config, key, 0.0, high)
    for key in _POSITIVE:
        check_float(config, key, positive=True)
    check_str(config, "data.predictions")
    if config.data.repeat and not config.data.top_per_class:
        raise ConfigError("data.repeat", "false without data.top_per_class", True)
    if (config.meta.teacher, config.meta.feedback) == ("none", NO_FEEDBACK):
        raise ConfigError("meta.feedback", "some for a teacher that learns nothing else", "none")


def check_stages(config: ConfigDict, two: bool) -> None:
    """Checks the lengths of the stages.

    Args:
        config: of `configs/mpl`.
        two: whether a stage of a teacher comes first.

    Raises:
        ConfigError: a stage is absent, not to be, or as short as its warm-up.
    """
    first, tuned, method = config.stages.teacher, config.stages.finetune, config.method
    if two != (first > 0):
        wanted = "steps of the teacher" if two else f"0 with method {method}"
        raise ConfigError("stages.teacher", wanted, first)
    if tuned and not METHODS[method].tuned:
        raise ConfigError("stages.finetune", f"0 with method {method}", tuned)
    if config.steps - first - tuned <= config.warmup or 0 < first <= config.warmup:
        raise ConfigError("steps", "each stage longer than warmup", config.steps)


def check_str(config: ConfigDict, key: str) -> str:
    """Returns the text at `key`."""
    value = lookup(config, key)
    if not isinstance(value, str):
        raise ConfigError(key, "text", value)
    return value


def has_fixed_teacher(config: ConfigDict) -> bool:
    """Whether labels come from a teacher that is trained first and never again."""
    return METHODS[config.method].fixed or proposes(config, "pseudo_labels")


def proposes(config: ConfigDict, teacher: str) -> bool:
    """Whether the student has feedback for a teacher of this kind."""
    return (config.method, config.meta.teacher) == ("mpl", teacher)


def method_name(config: ConfigDict) -> str:
    """The method as result rows call it, with the kind of its teacher."""
    name = config.method
    if name == "mpl" and config.meta.teacher != "none":
        name += f"_{config.meta.teacher}"
    off = config.meta.feedback == NO_FEEDBACK and config.method not in OBJECTIVES
    return f"{name}_no_feedback" if off else name


def rand_augment(config: ConfigDict) -> Callable[[Array, Array], Array]:
    """`(key, images) -> images` by the operations of the data set."""
    names = {"cifar": augment.CIFAR, "svhn": augment.SVHN}[config.augment.operations]
    options = {"operations": names, "num_ops": config.augment.num_ops}
    return functools.partial(augment.rand_augment, **options)


def network(config: ConfigDict, found: Images, dropout: float) -> Network:
    """The network that `config.model` describes, for images of a shape and number of classes."""
    model = config.model
    options: dict[str, Any] = {"dropout": dropout, "decay": model.decay}
    if model.name == "perceptron":
        options = {"widths": (model.width,) * model.depth}
    elif model.name == "wide_resnet":
        options |= {"depth": model.depth, "width": model.width, "base": model.base}
    else:
        options |= {"dtype": jnp.dtype(model.dtype), "native": model.native}
    return NETWORKS[model.name](found.shape, found.classes, **options)


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
    stages = []
    if first:
        plain = objectives.supervised(smoothing=config.smoothing)
        tx = _optimizer(config, config.teacher.learning_rate, first)
        stages.append(Stage("teacher", baselines.learner(teacher, plain, tx), first, batch))
    keep = None
    if config.method == "uda" or proposes(config, "uda"):
        keep = objectives.annealed(config.uda.annealing, rest, found.classes)
    of_labelled = objectives.supervised(smoothing=config.smoothing, keep=keep)
    tx = _optimizer(config, config.student.learning_rate, rest)
    enter = relabel(teacher) if first and relabel else None
    if config.method in OBJECTIVES:
        name, decay = "train", config.fixmatch.average_decay * (config.method == "fixmatch")
        objective = OBJECTIVES[config.method](config, of_labelled)
        learner = baselines.learner(student, objective, tx, average_decay=decay)
    else:
        name = config.method
        learner = _meta(config, found, teacher, student, of_labelled, tx, rest)
    stages.append(Stage(name, learner, rest, batch, enter))
    if tuned:
        rate = config.finetune.learning_rate
        tx = optimizers.lars(rate) if config.finetune.optimizer == "lars" else optax.sgd(rate)
        tuner = baselines.learner(student, objectives.supervised(), tx)
        stages.append(Stage("finetune", tuner, tuned, tuning, _take_student))
    return tuple(stages)


def _meta(
    config: ConfigDict,
    found: Images,
    teacher: Network,
    student: Network,
    of_labelled: Objective,
    student_tx: optax.GradientTransformation,
    steps: int,
) -> Learner:
    given, off = config.meta, config.meta.feedback == NO_FEEDBACK
    exact = given.feedback == "exact"
    if config.method == "reduced":
        small = perceptron.reduced_teacher(found.classes, config.model.reduced)
        proposing = teaching.reduced_teacher(small, soft=exact)
    else:
        none = given.teacher == "none"
        own = None if none else OBJECTIVES[given.teacher](config, of_labelled)
        proposing = teaching.teacher(teacher, own, soft=exact)
    decay = given.baseline_decay
    return meta.meta_pseudo_labels(
        proposing,
        teaching.student(student, view=given.view, smoothing=config.smoothing),
        _optimizer(config, config.teacher.learning_rate, steps),
        student_tx,
        feedback="cosine" if off else given.feedback,
        along=given.along,
        learning_rate=_schedule(config, config.student.learning_rate, steps),
        baseline=moving_average(decay) if decay and not exact else None,
        feedback_weight=0.0 if off else 1.0,
    )


def _schedule(config: ConfigDict, rate: float, steps: int) -> optax.Schedule:
    if config.optimizer.name == "nesterov":
        return optimizers.cosine_schedule(rate, steps, warmup=config.warmup)
    keys = ("decay_rate", "decay_steps")
    options = {key: config.optimizer[key] for key in keys}
    return optimizers.staircase_schedule(rate, warmup=config.warmup, **options)


def _optimizer(config: ConfigDict, rate: float, steps: int) -> optax.GradientTransformation:
    make = OPTIMIZERS[config.optimizer.name]
    return make(_schedule(config, rate, steps), weight_decay=config.weight_decay)


def relabelled(predict: Callable[..., np.ndarray], images: np.ndarray, state: State) -> State:
    """The first stage's distributions of all unlabelled images."""
    params, stats = teaching.learned(state.stages[0])
    targets = jax.nn.softmax(jnp.asarray(predict(params, stats, images)))
    return dataclasses.replace(state, targets=targets)


def _take_student(state: State) -> State:
    """Starts the last stage from the student that the one before it taught."""
    params, stats = jax.tree.map(jnp.copy, teaching.learned(state.stages[-2]))
    tuned = dataclasses.replace(state.stages[-1], params=params, stats=stats)
    return dataclasses.replace(state, stages=(*state.stages[:-1], tuned))
