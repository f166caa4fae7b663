"""A classifier that learns from labelled images alone (Pham 2021, tables 5.2, 5.6 and 5.9).

Command: python -m experiments.run --config=mpl/supervised:digits,cpu --workdir=runs/ssl
Expected time: 30 s a seed on one core that other work shared. Expected number: accuracy
80.4 in percent on the 297 test digits, the mean of 5 seeds (`experiments/results/mpl`).

RandAugment on the labelled images; `--config.method=mixup`, `--config.smoothing=0.1` and
`--config.augment.labelled=weak` are its variants, `--config.data.all_labels=true` the headroom.

Sizes: digits (50 labels), fashion_mnist (1,000), cifar10 (4,000), svhn (1,000). Presets: `paper`
(WideResNet-28-2 and the thesis's numbers), `cpu` (WideResNet-10), `smoke` (seconds).
"""

from ml_collections import ConfigDict

from experiments.mpl import config as mpl_config

ARGUMENTS = mpl_config.ARGUMENTS


def get_config(arg: str = "") -> ConfigDict:
    return mpl_config.make("supervised", arg)
