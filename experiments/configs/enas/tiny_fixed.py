"""One of 72 small networks, trained from scratch.

Command: python -m experiments.run --config=enas/tiny_fixed:fashion_mnist,cpu --workdir=runs/tiny1
"""

from ml_collections import ConfigDict

from experiments.enas.config import arguments, make

ARGUMENTS = arguments("tiny")


def get_config(arg: str = "") -> ConfigDict:
    return make("tiny", arg, fixed=True)
