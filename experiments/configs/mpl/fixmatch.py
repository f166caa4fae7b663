"""FixMatch: hard labels of confident, weakly augmented images (Pham 2021, table 5.2, quoted).

Command: python -m experiments.run --config=mpl/fixmatch:digits,cpu --workdir=runs/ssl
Expected time: 1 min a seed on one core that other work shared. Expected number: accuracy
91.5 in percent on the 297 test digits, the mean of 5 seeds (`experiments/results/mpl`).

The thesis only quotes its result; it has the settings of UDA here, FixMatch's own threshold 0.95,
and its average of the parameters.

Sizes: digits (50 labels), fashion_mnist (1,000), cifar10 (4,000), svhn (1,000). Presets: `paper`
(WideResNet-28-2 and the thesis's numbers), `cpu` (WideResNet-10), `smoke` (seconds).
"""

from ml_collections import ConfigDict

from experiments.mpl import config as mpl_config

ARGUMENTS = mpl_config.ARGUMENTS


def get_config(arg: str = "") -> ConfigDict:
    return mpl_config.make("fixmatch", arg)
