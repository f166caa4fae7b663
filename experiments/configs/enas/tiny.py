"""Search of 72 small networks, of which every one can be trained alone as well.

Command: python -m experiments.run --config=enas/tiny:fashion_mnist,cpu --workdir=runs/tiny
Expected time: 1 min a seed on one core that other work shared. Expected number: the reward,
accuracy on a minibatch of validation images, of one of 72 networks of two layers.

A macro space of two layers on images of 7 x 7 pixels. What enas/macro writes is written here too,
and `every.json`, the error of each of the 72 with shared weights, to be compared with what
enas/tiny_every measures.

Sizes: fashion_mnist, digits. Presets: `cpu`, `smoke`. `--config.num_seeds=10` runs ten searches;
other overrides as of enas/macro.
"""

from ml_collections import ConfigDict

from experiments.enas.config import arguments, make

ARGUMENTS = arguments("tiny")


def get_config(arg: str = "") -> ConfigDict:
    return make("tiny", arg)
