"""Search of 72 small networks, of which every one can be trained alone as well.

Command: python -m experiments.run --config=enas/tiny:fashion_mnist,cpu --workdir=runs/tiny
"""

from ml_collections import ConfigDict

from experiments.enas.config import arguments, make

ARGUMENTS = arguments("tiny")


def get_config(arg: str = "") -> ConfigDict:
    return make("tiny", arg)
