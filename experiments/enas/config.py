"""The fields of `configs/enas`: the settings of Pham 2021, ch. 4, and what fits a laptop.

A config of a search and one of the training of a single architecture share the task (`data`,
`space`, `augment`, `optimizer`); `make` fills in either.
"""

from __future__ import annotations

from typing import Any

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from experiments.runner.checks import split_arg

IMAGES = ("digits", "fashion_mnist", "cifar10", "own")
TEXTS = ("pydoc", "brown", "penn_treebank", "own")
SIZES = {"rnn": TEXTS, "macro": IMAGES, "micro": IMAGES, "tiny": ("fashion_mnist", "digits")}
PRESETS = ("cpu", "smoke", "paper", "gpu")
OPERATIONS = ("conv3", "conv5", "sep3", "sep5", "max3", "avg3")
SIZE_OF = {"digits": 8, "fashion_mnist": 28, "cifar10": 32, "own": 32}  # pixels


def presets(space: str) -> tuple[str, ...]:
    """The presets of a space; the tiny one has no paper."""
    return PRESETS[:2] if space == "tiny" else PRESETS


def arguments(space: str) -> tuple[str, ...]:
    """The arguments that a config of a space names: each preset on the data that it is meant for.

    Any other pair of a size and a preset can be given, too.
    """
    sizes = SIZES[space]
    if space == "tiny":
        return tuple(f"{size},{preset}" for size in sizes for preset in presets(space))
    small, measured, printed, own = sizes
    return (
        f"{measured},cpu",
        f"{small},cpu",
        f"{small},smoke",
        f"{printed},paper",
        f"{measured},gpu",
        f"{own},cpu",
    )


def make(space: str, arg: str, *, fixed: bool = False) -> ConfigDict:
    """The config of a search, or of the training of one architecture.

    Args:
        space: "rnn", "macro", "micro", or "tiny", which is a macro space of two layers.
        arg: `size[,preset]`.
        fixed: whether it is one architecture that is trained.
    """
    size, preset = split_arg(arg, sizes=SIZES[space], presets=presets(space))
    config = ConfigDict(_runner(fixed) | (_text(size) if space == "rnn" else _images(size)))
    config.space = ConfigDict({"name": "macro" if space == "tiny" else space} | _SPACES[space]())
    if fixed:
        _of_fixed(config, space)
    else:
        _of_search(config, space)
    if preset != "paper":
        _SMALL[space](config, size, fixed)
    if preset == "smoke":
        _smoke(config, space)
    if preset == "gpu":
        _accelerated(config, space, fixed)
    epoch = config.epoch if fixed else config.phases.weights + config.phases.controller
    config.steps = config.epochs * epoch
    del config.epochs
    return config


def every(arg: str) -> ConfigDict:
    """The config that trains all architectures of the tiny space."""
    config = make("tiny", arg, fixed=True)
    config.experiment, config.trainings, config.updates = "enas_every", 1, config.steps
    config.update({"chunk": 1, "eval_every": 1, "checkpoint_every": 1})
    config.steps = len(OPERATIONS) ** 2 * 2 * config.trainings  # evaluations
    for key in ("architecture", "change", "auxiliary_weight"):
        del config[key]
    return config


def _runner(fixed: bool) -> dict[str, Any]:
    return {
        "experiment": "enas_fixed" if fixed else "enas_search",
        "seed": 0,
        "num_seeds": 1,
        "seed_axis": "map",  # under vmap every operation would run
        "steps": 1,
        "epochs": 1,
        "chunk": 10,
        "eval_every": 1000,
        "checkpoint_every": 1000,
        "keep_checkpoints": 2,
        "deterministic": False,
    }


def _images(size: str) -> dict[str, Any]:
    """Section 4.3.2; digits are not mirrored."""
    return {
        "data": {
            "name": size,
            "path": "",  # of a folder of one's own images
            "valid": {"digits": 300}.get(size, 5000),  # training images kept for validation
            "shrink": 1,  # means of so many by so many pixels
            "size": SIZE_OF[size],  # of one's own images, pixels
        },
        "augment": {"pad": 4, "flip": size != "digits", "cutout": 0},
        "batch_size": 128,
        "optimizer": {
            "highest": 0.05,
            "lowest": 0.001,
            "first": 10,
            "factor": 2,
            "momentum": 0.9,
            "weight_decay": 1e-4,
            "max_grad_norm": placeholder(float),
        },
        "eval": {"batch_size": 500},
    }


def _text(size: str) -> dict[str, Any]:
    """Section 4.3.1."""
    return {
        "data": {"name": size, "path": "", "vocabulary": 10_000},
        "batch_size": 64,
        "bptt": 35,
        "optimizer": {
            "learning_rate": 20.0,
            "decay": 0.96,
            "decay_from": 15,
            "max_grad_norm": 0.25,
            "weight_decay": 1e-7,
        },
        "eval": {"batch_size": 10},
    }


def _rnn() -> dict[str, Any]:
    """The widths make a child of 24 million parameters; the rates of dropout are ours."""
    return {
        "nodes": 12,
        "hidden": 785,
        "scale": 0.025,
        "normalize": True,
        "dropout": {"words": 0.1, "inputs": 0.65, "hidden": 0.25, "outputs": 0.65},
    }


def _macro() -> dict[str, Any]:
    return {
        "layers": 12,
        "operations": OPERATIONS,
        "channels": 36,
        "pool_at": placeholder(tuple),  # after a third and two thirds of the layers
        "widen": 1,
        "skip_prior": 0.4,
        "normalize_skips": True,
        "dropout": 0.0,
    }


def _micro() -> dict[str, Any]:
    return {
        "nodes": 7,
        "cells": 2,
        "blocks": 3,
        "channels": 20,
        "last_reduction": True,
        "auxiliary": placeholder(int),  # after which cell another head stands, in training
        "dropout": 0.0,
        "drop_path": 0.0,
    }


def _tiny() -> dict[str, Any]:
    return _macro() | {"layers": 2, "channels": 8, "pool_at": ()}


_SPACES = {"rnn": _rnn, "macro": _macro, "micro": _micro, "tiny": _tiny}
_EPOCH = {"rnn": 414, "macro": 352, "micro": 352, "tiny": 352}  # updates in a pass


def _of_search(config: ConfigDict, space: str) -> None:
    """Section 4.2.2: an epoch is a pass on the weights, then 2,000 steps on the controller."""
    text = space == "rnn"
    config.epochs = 150 if text else 310
    config.phases = ConfigDict({"weights": _EPOCH[space], "controller": 2000})
    config.controller = ConfigDict(
        {
            "train": True,
            "hidden": 100,
            "scale": 0.1,
            "tanh_constant": 2.5,
            "temperature": 5.0,
            "learning_rate": 0.00035,
            "baseline_decay": 0.99,
            "entropy_weight": 0.0001 if text else 0.1,
            "prior_weight": 0.8 if space in ("macro", "tiny") else 0.0,
            "samples": 1,
            "batch_size": 64 if text else 128,
        }
    )
    if text:
        config.controller.constant = 80.0  # c of c / perplexity
    config.children = 1  # M
    config.derive = ConfigDict({"samples": 100, "batch_size": 64 if text else 500, "ensemble": 0})
    config.derive.every = space == "tiny"  # rank the whole space, too
    config.eval.samples = 10


def _of_fixed(config: ConfigDict, space: str) -> None:
    """An architecture alone: "the same settings", but for what the thesis says changes."""
    text = space == "rnn"
    config.architecture = "random"  # or a line of text, or the folder of a search
    config.change = ""  # or saturate, swap, plain, rewire: a neighbour of it
    config.epochs = 150 if text else 310
    config.epoch = _EPOCH[space]
    if text:
        config.space.update({"scale": 0.04, "normalize": False})
    elif space == "macro":
        # Doubled twice: 384 channels in the highest layers. With 128 they are 512, for 3.87%.
        config.space.update({"channels": 96, "widen": 2, "normalize_skips": False})
        config.space.dropout = 0.1
    elif space == "micro":
        config.space.update({"cells": 6, "channels": 36, "auxiliary": 14, "dropout": 0.1})
        config.space.drop_path = 0.2
    if not text:
        config.auxiliary_weight = 0.4


def _small_text(config: ConfigDict, size: str, fixed: bool) -> None:
    # Cells of ReLU and identity alone, which so short searches derive too, need normalization.
    config.space.update({"nodes": 6, "hidden": 128, "scale": 0.1 if fixed else 0.08})
    config.space.normalize = True
    config.space.dropout.update({"words": 0.0, "inputs": 0.1, "hidden": 0.1, "outputs": 0.2})
    config.data.vocabulary = 2000 if size == "pydoc" else 5000
    config.batch_size = 20
    config.optimizer.update({"learning_rate": 5.0, "decay_from": 4, "decay": 0.8})
    _budget(config, fixed, weights=150, controller=50, epochs=8)
    if not fixed:
        config.controller.update({"batch_size": 20, "constant": 80.0})


def _small_macro(config: ConfigDict, size: str, fixed: bool) -> None:
    config.space.update({"layers": 6, "channels": 12, "widen": 1, "dropout": 0.0})
    _small_images(config, size)
    _budget(config, fixed, weights=200, controller=60, epochs=7)


def _small_micro(config: ConfigDict, size: str, fixed: bool) -> None:
    config.space.update({"nodes": 5, "cells": 1, "blocks": 2, "channels": 8, "dropout": 0.0})
    config.space.update({"last_reduction": False, "auxiliary": None, "drop_path": 0.0})
    _small_images(config, size)
    _budget(config, fixed, weights=150, controller=50, epochs=7)


def _small_tiny(config: ConfigDict, size: str, fixed: bool) -> None:
    _small_images(config, size)
    config.data.shrink = 4 if size == "fashion_mnist" else 1
    _budget(config, fixed, weights=100, controller=100, epochs=7)


def _small_images(config: ConfigDict, size: str) -> None:
    config.batch_size = 64
    config.data.shrink = 2 if size == "fashion_mnist" else 1
    config.augment.pad = 1
    config.optimizer.update({"first": 1, "max_grad_norm": 5.0})


def _budget(config: ConfigDict, fixed: bool, *, weights: int, controller: int, epochs: int) -> None:
    """Short epochs; a controller that takes few steps takes larger ones, from more samples."""
    config.epochs = epochs
    config.eval_every = config.checkpoint_every = 10 * max(1, weights // 10)
    if fixed:
        config.epoch = weights
        return
    config.phases.update({"weights": weights, "controller": controller})
    config.controller.update({"learning_rate": 0.004, "baseline_decay": 0.9, "samples": 4})
    config.controller.update({"entropy_weight": 1e-3, "prior_weight": 0.01})
    config.derive.update({"samples": 20})


_SMALL = {"rnn": _small_text, "macro": _small_macro, "micro": _small_micro, "tiny": _small_tiny}


def _smoke(config: ConfigDict, space: str) -> None:
    config.epochs, config.batch_size = 2, 8
    config.update({"chunk": 2, "eval_every": 4, "checkpoint_every": 4})
    if "phases" in config:
        config.phases.update({"weights": 4, "controller": 2})
        config.controller.update({"samples": 2, "batch_size": 8})
        config.derive.update({"samples": 2, "batch_size": 8})
        config.eval.samples = 2
    else:
        config.epoch = 4
    if space == "rnn":
        config.space.update({"nodes": 3, "hidden": 8})
        config.update({"bptt": 5})
        config.data.vocabulary = 50
    else:
        config.space.channels = 4
    if space == "macro":
        config.space.layers = 3
    if space == "micro":
        config.space.update({"nodes": 3, "blocks": 1, "last_reduction": True})


def _accelerated(config: ConfigDict, space: str, fixed: bool) -> None:
    """Full-size networks for a part of the thesis's epochs, on one accelerator; not run yet."""
    paper = make(space, f"{config.data.name},paper", fixed=fixed)
    config.space, config.optimizer = paper.space, paper.optimizer
    config.update({"batch_size": paper.batch_size, "chunk": 50})
    config.update({"eval_every": 1000, "checkpoint_every": 1000})
    config.data.update(paper.data)
    config.augment.update(paper.augment) if space != "rnn" else None
    config.epochs = 30 if space == "rnn" else 70
    if fixed:
        config.epoch = paper.epoch
    else:
        config.update({"phases": paper.phases, "controller": paper.controller})
        config.phases.controller = 500
        config.derive = paper.derive
