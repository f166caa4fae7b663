"""Configs of Pham 2021, ch. 5, at the scale of ImageNet; the glue is `photographs`.

What the thesis leaves open is decided where it is set below. Where it refers to the networks' own
papers, the numbers are of Tan and Le 2019 and of Xie et al. 2020 (Noisy Student).
"""

from __future__ import annotations

from ml_collections import ConfigDict

from experiments.mpl import config as mpl_config

PRESETS = ("paper", "smoke")
_EPOCHS = 350  # of Noisy Student's and EfficientNet's training
_DECAY_EPOCHS = 2.4  # after which their rate is 0.97 of what it was
_RATE = 0.128  # of Noisy Student, for 2,048 labelled images


def imagenet_10(method: str) -> ConfigDict:
    """ImageNet-10% with ResNet-50: columns ImageNet of tables 5.6 to 5.8 (section 5.3.2).

    No images are reserved: the thesis keeps its last 20 shards for sections 5.3.3 and 5.4, and
    "does not use any heldout validation set" here.
    """
    config = _photographs(method)
    column = mpl_config.printed(method, "imagenet")
    mpl_config.fill(config, column)
    config.data.labelled_shards = 102
    first = int(column["steps"]) if method == "pseudo_labels" else 0
    _stages(config, first, int(column["steps"]), 2000 if method == "mpl" else 0)
    return config


def resnet_jft() -> ConfigDict:
    """ResNet-50 with all of ImageNet and 12.8 million images of JFT (section 5.3.3).

    "The same as in Section 5.3.2" but for batches and steps: so the rates of table 5.8 are not
    scaled with the batch, and the optimiser stays Nesterov's (section 5.7.7). 500,000 steps are
    "about 160 epochs on the unlabeled dataset" for batches of 4,096; with the 32,768 that the same
    section states, they are 1,280. The batch of the finetuning is that of section 5.3.2.
    """
    config = _photographs("mpl")
    mpl_config.fill(config, mpl_config.printed("mpl", "imagenet"))
    config.row = "resnet50-jft"
    config.data.update({"labelled_shards": 1004, "reserved_shards": 20})
    config.data.update({"unlabelled": "jft", "top_per_class": 12_800})
    config.update({"batch_size": 4096, "unlabelled_batch_size": 32_768})
    _stages(config, 0, 500_000, 10_000)
    config.finetune.learning_rate = 1e-4
    return config


def efficientnet_jft(name: str) -> ConfigDict:
    """EfficientNet-L2 or B6-Wide at 512 pixels with 130 million images of JFT (section 5.4).

    "The same hyper-parameters with Noisy Student": its rate, dropout and weight decay, and RMSProp
    (section 5.7.7). The rate falls by 0.97 as often as in its 350 epochs, stretched to this run's
    million steps: 2.4 epochs of labelled images, 1,500 steps, would leave nothing of it after a
    tenth of them. The teacher has the student's rate. Label smoothing, UDA and the warm-up are of
    table 5.8, column ImageNet. RandAugment is table 5.5's, as elsewhere, not Noisy Student's with
    its one magnitude. Weights are not averaged: the chapter never says so.
    """
    config = _photographs("mpl")
    mpl_config.fill(config, mpl_config.printed("mpl", "imagenet"))
    config.row = f"efficientnet-{name}"
    config.model.update({"name": f"efficientnet-{name}", "dtype": "bfloat16"})
    config.data.update({"side": 512, "labelled_shards": 1004, "reserved_shards": 20})
    # Noisy Student's choice, which "we use the same": see `mpl.splits.top_of_each_class`.
    config.data.update({"unlabelled": "jft", "top_per_class": 130_000})
    config.data.update({"confidence": 0.3, "repeat": True})
    config.update({"batch_size": 2048, "unlabelled_batch_size": 16_384})
    _stages(config, 0, 1_000_000, 20_000)
    _rmsprop(config, 1_000_000)
    config.finetune.update({"optimizer": "lars", "learning_rate": 0.001, "batch_size": 4096})
    return config


def efficientnet_yfcc(method: str) -> ConfigDict:
    """EfficientNet-B7, all of ImageNet and 12.8 million images of YFCC-100M (section 5.7.14).

    40 shards are reserved. The thesis states neither batches nor steps, rates or the size of
    images: they are those of table 5.8, column ImageNet, of Noisy Student and of Tan and Le 2019 (600
    pixels). The supervised teacher has 350 epochs. Its predictions of the images in the folder,
    which the supervised run writes, choose these images and are what the reduced teacher reads.
    """
    config = _photographs(method)
    mpl_config.fill(config, mpl_config.printed(method, "imagenet"))
    config.row = "efficientnet-b7"
    config.model.update({"name": "efficientnet-b7", "reduced": 512, "dtype": "bfloat16"})
    config.data.update({"side": 600, "labelled_shards": 984, "reserved_shards": 40})
    config.data.unlabelled = "yfcc100m"
    if method == "supervised":
        steps, tuned = _EPOCHS * 1_231_000 // 2048, 0
        config.data.write_predictions = True
    else:
        steps, tuned = 500_000, 2000
        config.data.top_per_class = 12_800
    _stages(config, 0, steps, tuned)
    _rmsprop(config, steps)
    return config


def smoke(config: ConfigDict) -> ConfigDict:
    """The same with a small network and ImageNet-10% at 32 pixels, for some steps."""
    first, last = (10 if config.stages.teacher else 0), (10 if config.stages.finetune else 0)
    _stages(config, first, 20, last)
    config.update({"eval_every": 10, "checkpoint_every": 10, "warmup": 2, "batch_size": 8})
    config.unlabelled_batch_size = 16 if config.unlabelled_batch_size else 0
    config.data.update({"side": 32, "workers": 2, "top_per_class": 0, "repeat": False})
    config.data.update({"labelled_shards": 102, "reserved_shards": 0, "unlabelled": ""})
    config.model.update({"name": "wide_resnet", "depth": 10, "width": 1, "base": 4})
    config.optimizer.name, config.uda.factor = "nesterov", 1.0
    for side in ("student", "teacher"):
        config[side].update({"learning_rate": 0.05, "dropout": 0.0})
    config.finetune.batch_size = 8
    config.eval.images = 64
    return config


def _photographs(method: str) -> ConfigDict:
    config = ConfigDict(mpl_config.shared(method) | {"row": ""})
    config.experiment = "mpl_photographs"
    own = ("predictions", "top_per_class", "confidence", "repeat", "write_predictions")
    config.data = {key: config.data[key] for key in own} | {
        "name": "imagenet",
        "side": 224,  # pixels
        "classes": 1000,
        "shards": 1024,
        "labelled_shards": 102,
        "reserved_shards": 0,  # the last
        "unlabelled": "",  # a folder of images; "" for what is left of ImageNet
        "workers": 16,  # threads that decode
    }
    config.model.update({"name": "resnet50", "native": True})
    # A dispatch's batches are on the host at once.
    config.update({"chunk": 1, "eval_every": 5000, "checkpoint_every": 5000})
    return config


def _stages(config: ConfigDict, first: int, main: int, last: int) -> None:
    config.steps = first + main + last
    config.stages.update({"teacher": first, "finetune": last})


def _rmsprop(config: ConfigDict, steps: int) -> None:
    decay_steps = round(steps * _DECAY_EPOCHS / _EPOCHS)
    config.optimizer.update({"name": "rmsprop", "decay_rate": 0.97, "decay_steps": decay_steps})
    config.weight_decay = 1e-5
    for side in ("student", "teacher"):
        config[side].update({"learning_rate": _RATE, "dropout": 0.5})
