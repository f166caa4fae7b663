"""The fields that all image configs of `configs/mpl` share, and tables 5.6 to 5.8 of Pham 2021."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from experiments.runner.checks import split_arg

SIZES = ("digits", "fashion_mnist", "cifar10", "svhn")
PRESETS = ("smoke", "cpu", "paper", "gpu")
ARGUMENTS = (
    *(f"{size},{preset}" for size in SIZES for preset in PRESETS[:3]),
    *("fashion_mnist,gpu", "cifar10,gpu"),
)

# Columns CIFAR-10, SVHN and ImageNet of each table, row by row.
COLUMNS = ("cifar10", "svhn", "imagenet")
TABLE_5_6 = {  # supervised learning and Pseudo Labels
    "weight_decay": (0.0005, 0.001, 0.0002),
    "smoothing": (0.0, 0.0, 0.1),
    "batch_norm_decay": (0.99, 0.99, 0.99),
    "learning_rate": (0.4, 0.05, 1.28),
    "steps": (50_000, 50_000, 40_000),
    "warmup": (2500, 0, 2000),
    "batch_size": (1024, 128, 2048),
    "dropout": (0.4, 0.5, 0.2),
    "pseudo_threshold": (0.95, 0.975, 0.7),
}
TABLE_5_7 = {  # UDA
    "weight_decay": (0.0005, 0.0005, 0.0002),
    "smoothing": (0.0, 0.0, 0.1),
    "batch_norm_decay": (0.99, 0.99, 0.99),
    "learning_rate": (0.3, 0.4, 1.28),
    "steps": (1_000_000, 1_000_000, 500_000),
    "warmup": (5000, 5000, 5000),
    "batch_size": (128, 128, 2048),
    "dropout": (0.5, 0.6, 0.25),
    "uda_factor": (2.5, 1.0, 20.0),
    "uda_temperature": (0.7, 0.8, 0.7),
}
TABLE_5_8 = {  # Meta Pseudo Labels
    "weight_decay": (0.0005, 0.0005, 0.0002),
    "smoothing": (0.1, 0.1, 0.1),
    "batch_norm_decay": (0.99, 0.99, 0.99),
    "steps": (1_000_000, 1_000_000, 500_000),
    "warmup": (2000, 2000, 1000),
    "learning_rate": (0.3, 0.15, 0.8),  # of the student
    "batch_size": (128, 128, 2048),
    "dropout": (0.35, 0.45, 0.1),
    "teacher_learning_rate": (0.125, 0.05, 0.5),
    "teacher_dropout": (0.5, 0.65, 0.1),
    "uda_factor": (1.0, 2.5, 16.0),
    "uda_temperature": (0.8, 1.25, 0.75),
}


class Method(NamedTuple):
    """What a method is, besides its objective (`experiments.mpl.learners.OBJECTIVES`).

    Attributes:
        table: its settings by data set.
        fixed: whether a teacher is trained first, and labels the others once and for all.
        tuned: whether its student is finetuned on labelled images at the end.
        consistent: whether it has a loss of unlabelled images under RandAugment; the tables apply
            it to the labelled images of the others.
    """

    table: Mapping[str, tuple[float, ...]]
    fixed: bool = False
    tuned: bool = False
    consistent: bool = False


METHODS = {
    "supervised": Method(TABLE_5_6),
    "mixup": Method(TABLE_5_6),
    "pseudo_labels": Method(TABLE_5_6, fixed=True),
    "noisy_student": Method(TABLE_5_8, fixed=True, tuned=True),
    "uda": Method(TABLE_5_7, consistent=True),
    "fixmatch": Method(TABLE_5_7, consistent=True),
    "mpl": Method(TABLE_5_8, tuned=True, consistent=True),
    "reduced": Method(TABLE_5_8, fixed=True, tuned=True),
}
# Section 5.7.4; how many labels the other sets get is ours.
LABELLED = {"cifar10": 4000, "svhn": 1000, "fashion_mnist": 1000, "digits": 50}
RESERVED = {"cifar10": 5000, "svhn": 5000, "fashion_mnist": 0, "digits": 0}


def printed(method: str, dataset: str) -> dict[str, float]:
    """The column of the table that a method has, for CIFAR-10, SVHN or ImageNet."""
    place = COLUMNS.index(dataset)
    return {name: row[place] for name, row in METHODS[method].table.items()}


def make(method: str, arg: str) -> ConfigDict:
    """The config of a method; `arg` is `dataset[,preset]`.

    Data sets that the thesis does not have take the settings of CIFAR-10, but the operations of
    SVHN, without rotations and horizontal translations, for images of digits.
    """
    size, preset = split_arg(arg or "digits,cpu", sizes=SIZES, presets=PRESETS)
    column = printed(method, size if size in COLUMNS else "cifar10")
    digits = size in ("digits", "svhn")
    steps = int(column["steps"])
    first, last = steps * METHODS[method].fixed, 1000 * METHODS[method].tuned
    config = ConfigDict(shared(method) | {"steps": first + steps + last})
    config.data.update({"name": size, "labelled": LABELLED[size], "reserved": RESERVED[size]})
    config.augment.update({"operations": "svhn" if digits else "cifar", "flip": not digits})
    config.stages.update({"teacher": first, "finetune": last})
    fill(config, column)
    config.data.extra = size == "svhn" and preset == "paper"
    if preset != "paper":
        _small(config, size)
    if preset == "smoke":
        _smoke(config)
    if preset == "gpu":
        _accelerated(config)
    return config


def shared(method: str) -> dict[str, Any]:
    """Every field, with a value that a data set may replace."""
    return {
        "experiment": "mpl_images",
        "method": method,
        "seed": 0,
        "num_seeds": 1,
        "seed_axis": "map",
        "steps": 1,
        "steps_in_schedule": True,
        "chunk": 20,
        "eval_every": 1000,
        "checkpoint_every": 1000,
        "keep_checkpoints": 2,
        "deterministic": False,
        "data": {
            "name": "digits",
            "labelled": 50,
            "reserved": 0,
            "same": False,
            "all_labels": False,
            "extra": False,  # the extra images of SVHN, beside the rest
            # Unlabelled images in the place of the rest: "extra" of SVHN, or a .npy file of bytes.
            "pool": "",
            # A file of a teacher's predictions, and how many images it keeps a class (0: all).
            "predictions": "",
            "top_per_class": 0,
            "confidence": 0.0,
            "repeat": False,
            "write_predictions": False,
        },
        "augment": {
            "operations": "cifar",
            "num_ops": 2,
            "pad": 4,
            "flip": True,
            # "RandAugment" in the tables.
            "labelled": "weak" if METHODS[method].consistent else "strong",
        },
        "batch_size": 128,
        "unlabelled_batch_size": 0,  # 0: as many as labelled ones
        # WideResNet-28-2, or the name of another network; `base` is its first channels.
        "model": {
            "name": "wide_resnet",
            "depth": 28,
            "width": 2,
            "base": 16,
            "decay": 0.99,
            "reduced": 128,
            # Of ResNet-50 and EfficientNet: type of the convolutions, and whether their gradients
            # are the compiler's own, which are slow in a CPU's loop (`mpl.models.convolution`).
            "dtype": "float32",
            "native": False,
        },
        # Or "rmsprop", whose rate falls by `decay_rate` every `decay_steps`.
        "optimizer": {"name": "nesterov", "decay_rate": 0.97, "decay_steps": 1000},
        "weight_decay": 0.0005,
        "smoothing": 0.0,
        "warmup": 0,
        "student": {"learning_rate": 0.3, "dropout": 0.0},
        "teacher": {"learning_rate": 0.125, "dropout": 0.0},
        # The thesis states no threshold.
        "uda": {
            "factor": 1.0,
            "temperature": 0.8,
            "threshold": 0.0,
            # "Mask out the supervised examples" (5.7.7); how is ours.
            "annealing": "linear" if method == "uda" else "none",
            "warmup": 0,
        },
        "fixmatch": {"threshold": 0.95, "factor": 1.0, "average_decay": 0.999},
        "pseudo": {"threshold": 0.95},
        "meta": {
            "teacher": "uda",
            "feedback": "cosine",  # or "none": a control, its teacher hears nothing of the student
            "along": "gradient",
            "baseline_decay": 0.99,
            "view": "strong",
        },
        "stages": {"teacher": 0, "finetune": 0},
        "finetune": {"optimizer": "sgd", "learning_rate": 1e-5, "batch_size": 512},
        "eval": {"images": 0},
    }


def fill(config: ConfigDict, column: dict[str, float]) -> None:
    """Sets what a column of tables 5.6 to 5.8 states, but the numbers of steps."""
    config.weight_decay = column["weight_decay"]
    config.smoothing = column["smoothing"]
    config.warmup = int(column["warmup"])
    config.batch_size = int(column["batch_size"])
    config.model.decay = column["batch_norm_decay"]
    rate, dropout = column["learning_rate"], column["dropout"]
    config.student.update({"learning_rate": rate, "dropout": dropout})
    config.teacher.update(
        {
            "learning_rate": column.get("teacher_learning_rate", rate),
            "dropout": column.get("teacher_dropout", dropout),
        }
    )
    config.pseudo.threshold = column.get("pseudo_threshold", 0.95)
    config.uda.factor = column.get("uda_factor", 1.0)
    config.uda.temperature = column.get("uda_temperature", 1.0)


def _small(config: ConfigDict, size: str) -> None:
    """What a laptop finishes: few labels, WideResNet-10, thousands of steps."""
    small = size == "digits"
    main = 2000 if small else 10_000
    first = main if config.stages.teacher else 0
    last = 200 if config.stages.finetune else 0
    config.update({"steps": first + main + last, "batch_size": 32 if small else 64})
    config.warmup = 100
    config.stages.update({"teacher": first, "finetune": last})
    config.update({"chunk": 20, "eval_every": 500, "checkpoint_every": 500})
    config.model.update({"depth": 10, "width": 1 if small else 2, "decay": 0.99})
    config.student.update({"learning_rate": 0.1, "dropout": 0.0})
    config.teacher.update({"learning_rate": 0.1, "dropout": 0.0})
    config.augment.pad = 1 if small else 2
    config.fixmatch.average_decay = 0.99  # of fewer steps
    config.finetune.update({"batch_size": 64, "learning_rate": 1e-4})


def _accelerated(config: ConfigDict) -> None:
    """WideResNet-28-2 for 40,000 updates, which one accelerator does in pieces; not run yet."""
    main, first, last = 40_000, 40_000 * bool(config.stages.teacher), 1000
    last *= bool(config.stages.finetune)
    config.update({"steps": first + main + last, "batch_size": 128, "warmup": 1000, "chunk": 50})
    config.stages.update({"teacher": first, "finetune": last})
    config.update({"eval_every": 1000, "checkpoint_every": 1000})
    config.model.update({"depth": 28, "width": 2})
    config.student.learning_rate = config.teacher.learning_rate = 0.2
    config.fixmatch.average_decay = 0.999


def _smoke(config: ConfigDict) -> None:
    first, last = (10 if config.stages.teacher else 0), (10 if config.stages.finetune else 0)
    config.update({"steps": first + 20 + last, "chunk": 5, "eval_every": 10})
    config.update({"checkpoint_every": 10, "batch_size": 8, "warmup": 2})
    config.stages.update({"teacher": first, "finetune": last})
    config.model.update({"base": 4})
    config.finetune.batch_size = 8
    config.data.labelled = 20
    config.eval.images = 64
