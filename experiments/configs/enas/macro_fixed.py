"""A convolutional network trained from scratch (Pham 2021, section 4.3.2).

Command: python -m experiments.run --config=enas/macro_fixed:fashion_mnist,cpu --workdir=runs/macro1
Expected time: 1.5 min on one core that other work shared. Expected number: test error in percent;
4.23 of the thesis's network and 5.86 of a random one, on CIFAR-10 at full size.

`--config.architecture` is the folder of a search that has ended, a line such as "1: conv3 | 2: sep5
+1 | ...", or random (the default), which the seed draws as guided random search does.
`--config.change=plain` puts plain convolutions in the place of separable ones, with as many
parameters. The test's rows are `valid_error_percent` and `test_error_percent`; `model.npz` has the
weights.

Sizes: digits, fashion_mnist, cifar10, own (`--config.data.path=FOLDER`, a folder a class).
Presets as of enas/macro: `cpu`, `paper` (96 channels), `gpu`, `smoke`. `--config.space.channels`
and `--config.space.widen=2` make wider networks; `--config.augment.cutout` cuts squares out.
"""

from ml_collections import ConfigDict

from experiments.enas.config import arguments, make

ARGUMENTS = arguments("macro")


def get_config(arg: str = "") -> ConfigDict:
    return make("macro", arg, fixed=True)
