"""What the configs at the scale of ImageNet share; the glue is `photographs`.

What the thesis leaves open is decided in each of them. Where it refers to the networks' own papers,
the numbers are of Tan and Le 2019 and of Xie et al. 2020 (Noisy Student).
"""

from __future__ import annotations

from ml_collections import ConfigDict

from experiments.mpl import config as mpl_config

PRESETS = ("paper", "smoke")
EPOCHS = 350  # of Noisy Student's and EfficientNet's training
_DECAY_EPOCHS = 2.4  # after which their rate is 0.97 of what it was
_RATE = 0.128  # of Noisy Student, for 2,048 labelled images


def make(method: str, row: str = "") -> ConfigDict:
    """ResNet-50 with the columns ImageNet of tables 5.6 to 5.8; steps are for `set_stages`.

    Args:
        method: one of `mpl_config.METHODS`.
        row: what result rows are called; the share of labels by default.
    """
    config = ConfigDict(mpl_config.shared(method) | {"row": row})
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
    mpl_config.fill(config, mpl_config.printed(method, "imagenet"))
    return config


def set_stages(config: ConfigDict, first: int, main: int, last: int) -> None:
    """Updates of a fixed teacher, of the method, and of the finetuning."""
    config.steps = first + main + last
    config.stages.update({"teacher": first, "finetune": last})


def set_rmsprop(config: ConfigDict, steps: int) -> None:
    """Noisy Student's optimiser, whose rate falls as often as in its 350 epochs."""
    decay_steps = round(steps * _DECAY_EPOCHS / EPOCHS)
    config.optimizer.update({"name": "rmsprop", "decay_rate": 0.97, "decay_steps": decay_steps})
    config.weight_decay = 1e-5
    for side in ("student", "teacher"):
        config[side].update({"learning_rate": _RATE, "dropout": 0.5})


def smoke(config: ConfigDict) -> ConfigDict:
    """The same with a small network and ImageNet-10% at 32 pixels, for some steps."""
    first, last = (10 if config.stages.teacher else 0), (10 if config.stages.finetune else 0)
    set_stages(config, first, 20, last)
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
