"""A convolutional network trained from scratch (Pham 2021, section 4.3.2).

Command: python -m experiments.run --config=enas/macro_fixed:fashion_mnist,cpu --workdir=runs/macro1
"""

from ml_collections import ConfigDict

from experiments.enas.config import arguments, make

ARGUMENTS = arguments("macro")


def get_config(arg: str = "") -> ConfigDict:
    return make("macro", arg, fixed=True)
