"""A network of convolutional cells trained from scratch (Pham 2021, section 4.3.2).

Command: python -m experiments.run --config=enas/micro_fixed:fashion_mnist,cpu --workdir=runs/micro1
Expected time: 1 min on one core that other work shared. Expected number: test error in percent;
3.54 of the thesis's cells and 6.77 of random ones, on CIFAR-10 at full size.

`--config.architecture` is the folder of a search that has ended, a line such as "normal3: 1 sep3 2
max3 | ...", or random (the default), which the seed draws as guided random search does.
`--config.change=rewire` draws four of its connections anew. The test's rows are
`valid_error_percent` and `test_error_percent`; `model.npz` has the weights.

Sizes: digits, fashion_mnist, cifar10, own (`--config.data.path=FOLDER`, a folder a class).
Presets as of enas/micro: `cpu`, `paper` (6 cells a block, 36 channels, an auxiliary head), `gpu`,
`smoke`. `--config.augment.cutout=16` is the cutout of 2.89%.
"""

from ml_collections import ConfigDict

from experiments.enas.config import arguments, make

ARGUMENTS = arguments("micro")


def get_config(arg: str = "") -> ConfigDict:
    return make("micro", arg, fixed=True)
