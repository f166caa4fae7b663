"""One of 72 small networks, trained from scratch.

Command: python -m experiments.run --config=enas/tiny_fixed:fashion_mnist,cpu --workdir=runs/tiny1
Expected time: a few seconds on one core, 1 min at most. Expected number: test error in percent,
one of the 72 that enas/tiny_every measures.

`--config.architecture` is the folder of a search, a line such as "1: conv3 | 2: sep3 +1", or
random.

Sizes: fashion_mnist, digits. Presets: `cpu`, `smoke`.
"""

from ml_collections import ConfigDict

from experiments.enas.config import arguments, make

ARGUMENTS = arguments("tiny")


def get_config(arg: str = "") -> ConfigDict:
    return make("tiny", arg, fixed=True)
