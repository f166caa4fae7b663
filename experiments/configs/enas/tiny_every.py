"""All of 72 small networks, each trained from scratch: what shared weights are judged by.

Command: python -m experiments.run --config=enas/tiny_every:fashion_mnist,cpu --workdir=runs/every
Expected time: 1.5 min on one core that other work shared. Expected number: the least error in
percent on validation images of 72 networks; the journal has each one's, and its test error.

`--config.trainings=2` trains each twice, `--config.updates` is the length of a training.

Sizes: fashion_mnist, digits. Presets: `cpu`, `smoke`.
"""

from ml_collections import ConfigDict

from experiments.enas.config import arguments, every

ARGUMENTS = arguments("tiny")


def get_config(arg: str = "") -> ConfigDict:
    return every(arg)
