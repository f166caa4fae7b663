"""All of 72 small networks, each trained from scratch: what shared weights are judged by.

Command: python -m experiments.run --config=enas/tiny_every:fashion_mnist,cpu --workdir=runs/every
"""

from ml_collections import ConfigDict

from experiments.enas.config import arguments, every

ARGUMENTS = arguments("tiny")


def get_config(arg: str = "") -> ConfigDict:
    return every(arg)
