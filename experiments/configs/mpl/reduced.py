"""Reduced Meta Pseudo Labels: a perceptron adapts a fixed teacher (Pham 2021, 5.7.14).

Command: python -m experiments.run --config=mpl/reduced:digits,cpu --workdir=runs/ssl
Expected time: 90 s a seed on one core that other work shared. Expected number: accuracy
84.3 in percent on the 297 test digits, the mean of 5 seeds (`experiments/results/mpl`).

Three stages: a teacher on labelled images, whose distributions are kept; a student with a small
teacher that adapts them by feedback; finetuning. `paper` has the settings of CIFAR-10-4K; table
5.11's own problem is `mpl/efficientnet_b0`.

Sizes: digits (50 labels), fashion_mnist (1,000), cifar10 (4,000), svhn (1,000). Presets: `paper`
(WideResNet-28-2 and the thesis's numbers), `cpu` (WideResNet-10), `smoke` (seconds).
"""

from ml_collections import ConfigDict

from experiments.mpl import config as mpl_config

ARGUMENTS = mpl_config.ARGUMENTS


def get_config(arg: str = "") -> ConfigDict:
    return mpl_config.make("reduced", arg)
