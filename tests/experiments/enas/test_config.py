"""The settings of the thesis stand in the presets `paper`, each at its value."""

import pytest

from experiments.enas import config as enas_config
from experiments.runner import config as configs
from experiments.runner.checks import flatten

CONTROLLER = {
    "controller.hidden": 100,
    "controller.scale": 0.1,
    "controller.tanh_constant": 2.5,
    "controller.temperature": 5.0,
    "controller.learning_rate": 0.00035,
    "controller.samples": 1,
    "phases.controller": 2000,
    "children": 1,
}
SGD = {
    "batch_size": 64,
    "bptt": 35,
    "optimizer.learning_rate": 20.0,
    "optimizer.decay": 0.96,
    "optimizer.decay_from": 15,
    "optimizer.max_grad_norm": 0.25,
    "optimizer.weight_decay": 1e-7,
    "space.nodes": 12,
}
COSINE = {
    "batch_size": 128,
    "data.valid": 5000,
    "augment.pad": 4,
    "augment.flip": True,
    "optimizer.highest": 0.05,
    "optimizer.lowest": 0.001,
    "optimizer.first": 10,
    "optimizer.factor": 2,
    "optimizer.weight_decay": 1e-4,
    "optimizer.max_grad_norm": None,
}
PAPER = {
    "rnn:penn_treebank": CONTROLLER
    | SGD
    | {
        "controller.entropy_weight": 0.0001,
        "controller.prior_weight": 0.0,
        "phases.weights": 414,  # "about 400 steps"
        "space.scale": 0.025,
        "space.normalize": True,
        "steps": 150 * (414 + 2000),
    },
    "rnn_fixed:penn_treebank": SGD
    | {"space.scale": 0.04, "space.normalize": False, "steps": 150 * 414},
    "macro:cifar10": CONTROLLER
    | COSINE
    | {
        "controller.entropy_weight": 0.1,
        "controller.prior_weight": 0.8,
        "space.skip_prior": 0.4,
        "space.layers": 12,
        "space.operations": ["conv3", "conv5", "sep3", "sep5", "max3", "avg3"],
        "phases.weights": 352,  # a pass of 45,000 images in batches of 128
        "steps": 310 * (352 + 2000),
    },
    "macro_fixed:cifar10": COSINE
    | {"space.layers": 12, "space.normalize_skips": False, "steps": 310 * 352},
    "micro:cifar10": CONTROLLER
    | COSINE
    | {
        "controller.entropy_weight": 0.1,
        "controller.prior_weight": 0.0,
        "space.nodes": 7,
        "space.blocks": 3,
        "steps": 310 * (352 + 2000),
    },
    "micro_fixed:cifar10": COSINE | {"space.nodes": 7, "space.cells": 6, "steps": 310 * 352},
}


@pytest.mark.parametrize("name", PAPER)
def test_paper_has_the_thesis_settings(name):
    found = flatten(configs.load(f"enas/{name},paper"))
    assert {key: found[key] for key in PAPER[name]} == PAPER[name]


@pytest.mark.parametrize("space", enas_config.SIZES)
def test_every_size_and_preset_makes_a_config(space):
    for size in enas_config.SIZES[space]:
        for preset in enas_config.presets(space):
            for fixed in (False, True):
                config = enas_config.make(space, f"{size},{preset}", fixed=fixed)
                assert config.steps > 0
                assert config.data.name == size
                assert "epochs" not in config
