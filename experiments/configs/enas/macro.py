"""Search for a whole convolutional network with shared weights (Pham 2021, 4.3.2).

Command: python -m experiments.run --config=enas/macro:fashion_mnist,cpu --workdir=runs/macro
"""

from ml_collections import ConfigDict

from experiments.enas.config import arguments, make

ARGUMENTS = arguments("macro")


def get_config(arg: str = "") -> ConfigDict:
    return make("macro", arg)
