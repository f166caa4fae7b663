"""A network of convolutional cells trained from scratch (Pham 2021, section 4.3.2).

Command: python -m experiments.run --config=enas/micro_fixed:fashion_mnist,cpu --workdir=runs/micro1
"""

from ml_collections import ConfigDict

from experiments.enas.config import arguments, make

ARGUMENTS = arguments("micro")


def get_config(arg: str = "") -> ConfigDict:
    return make("micro", arg, fixed=True)
