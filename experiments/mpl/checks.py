"""Checks of the fields that all configs of `configs/mpl` share."""

from __future__ import annotations

from ml_collections import ConfigDict

from experiments.mpl.learners import NETWORKS
from experiments.runner.checks import (
    ConfigError,
    check_bool,
    check_choice,
    check_float,
    check_int,
    lookup,
)
from mpl import meta

METHODS = (
    "supervised",
    "mixup",
    "pseudo_labels",
    "noisy_student",
    "uda",
    "fixmatch",
    "mpl",
    "reduced",
)
TEACHERS = ("none", "supervised", "mixup", "pseudo_labels", "uda")


def check(config: ConfigDict) -> None:
    """Checks the fields that all data sets share, one by one.

    Raises:
        ConfigError: names the key.
    """
    check_choice(config, "method", METHODS)
    check_str(config, "data.predictions")
    check_int(config, "data.top_per_class", low=0)
    check_float(config, "data.confidence", low=0.0, high=1.0)
    for key in ("data.repeat", "data.write_predictions", "augment.flip"):
        check_bool(config, key)
    if config.data.repeat and not config.data.top_per_class:
        raise ConfigError("data.repeat", "false without data.top_per_class", True)
    check_choice(config, "augment.operations", ("cifar", "svhn"))
    check_choice(config, "augment.labelled", ("none", "weak", "strong"))
    check_int(config, "augment.pad", low=0, high=16)
    check_int(config, "augment.num_ops", low=0, high=10)
    check_int(config, "batch_size", low=1)
    check_int(config, "unlabelled_batch_size", low=0)
    check_choice(config, "model.name", NETWORKS)
    check_bool(config, "model.native")
    for key in ("depth", "width", "base", "reduced"):
        check_int(config, f"model.{key}", low=1, high=4096)
    check_float(config, "model.decay", low=0.0, high=1.0)
    check_choice(config, "model.dtype", ("float32", "bfloat16"))
    check_choice(config, "optimizer.name", ("nesterov", "rmsprop"))
    check_float(config, "optimizer.decay_rate", positive=True)
    check_int(config, "optimizer.decay_steps", low=1)
    check_float(config, "weight_decay", low=0.0)
    check_float(config, "smoothing", low=0.0, high=1.0)
    check_int(config, "warmup", low=0)
    for side in ("student", "teacher"):
        check_float(config, f"{side}.learning_rate", positive=True)
        check_float(config, f"{side}.dropout", low=0.0, high=0.99)
    check_float(config, "uda.factor", low=0.0)
    check_float(config, "uda.temperature", positive=True)
    check_float(config, "uda.threshold", low=0.0, high=1.0)
    check_choice(config, "uda.annealing", ("none", "linear", "log", "exp"))
    check_int(config, "uda.warmup", low=0)
    check_float(config, "fixmatch.threshold", low=0.0, high=1.0)
    check_float(config, "fixmatch.factor", low=0.0)
    check_float(config, "fixmatch.average_decay", low=0.0, high=1.0)
    check_float(config, "pseudo.threshold", low=0.0, high=1.0)
    check_choice(config, "meta.teacher", TEACHERS)
    check_choice(config, "meta.feedback", meta.FEEDBACKS)
    check_choice(config, "meta.along", ("gradient", "update"))
    check_float(config, "meta.baseline_decay", low=0.0, high=1.0)
    check_choice(config, "meta.view", ("weak", "strong"))
    check_int(config, "stages.teacher", low=0)
    check_int(config, "stages.finetune", low=0)
    check_int(config, "finetune.batch_size", low=1)
    check_choice(config, "finetune.optimizer", ("sgd", "lars"))
    check_float(config, "finetune.learning_rate", positive=True)
    check_int(config, "eval.images", low=0)


def check_stages(config: ConfigDict, two: bool) -> None:
    """Checks the lengths of the stages.

    Args:
        config: of `configs/mpl`.
        two: whether a stage of a teacher comes first.

    Raises:
        ConfigError: a stage is absent, not to be, or shorter than its warm-up.
    """
    if two != (config.stages.teacher > 0):
        wanted = "steps of the teacher" if two else f"0 with method {config.method}"
        raise ConfigError("stages.teacher", wanted, config.stages.teacher)
    if config.stages.finetune and config.method not in ("mpl", "reduced", "noisy_student"):
        raise ConfigError(
            "stages.finetune", f"0 with method {config.method}", config.stages.finetune
        )
    rest = config.steps - config.stages.teacher - config.stages.finetune
    if rest <= config.warmup or 0 < config.stages.teacher <= config.warmup:
        raise ConfigError("steps", "each stage longer than warmup", config.steps)


def check_str(config: ConfigDict, key: str) -> str:
    """Returns the text at `key`."""
    value = lookup(config, key)
    if not isinstance(value, str):
        raise ConfigError(key, "text", value)
    return value
