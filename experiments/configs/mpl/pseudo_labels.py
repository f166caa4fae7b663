"""Pseudo Labels: a trained teacher labels the rest, once (Pham 2021, eq. 5.1, table 5.6).

Command: python -m experiments.run --config=mpl/pseudo_labels:digits,cpu --workdir=runs/ssl
Expected time: 2 min a seed on one core that other work shared. Expected number: accuracy
87.1 in percent on the 297 test digits, the mean of 5 seeds (`experiments/results/mpl`).

Two stages: the teacher on labelled images, then a new network on these and on images whose label
the teacher is sure of.

Sizes: digits (50 labels), fashion_mnist (1,000), cifar10 (4,000), svhn (1,000). Presets: `paper`
(WideResNet-28-2 and the thesis's numbers), `cpu` (WideResNet-10), `smoke` (seconds).
"""

from ml_collections import ConfigDict

from experiments.mpl import config as mpl_config

ARGUMENTS = mpl_config.ARGUMENTS


def get_config(arg: str = "") -> ConfigDict:
    return mpl_config.make("pseudo_labels", arg)
