"""Noisy Student: a trained teacher's distributions and a noised student (Pham 2021, 5.7.14).

Command: python -m experiments.run --config=mpl/noisy_student:digits,cpu --workdir=runs/ssl
Expected time: 1 min a seed on one core that other work shared. Expected number: accuracy
83.1 in percent on the 297 test digits, the mean of 5 seeds (`experiments/results/mpl`).

Three stages: the teacher on labelled images; a new network on its distributions of all others; and
finetuning. All but the fixed teacher is as in `mpl/reduced`, whose control this is: Noisy Student
itself also learns from labelled images along the way (Xie et al. 2020b).

Sizes: digits (50 labels), fashion_mnist (1,000), cifar10 (4,000), svhn (1,000). Presets: `paper`
(WideResNet-28-2 and the thesis's numbers), `cpu` (WideResNet-10), `smoke` (seconds).
"""

from ml_collections import ConfigDict

from experiments.mpl import config as mpl_config

ARGUMENTS = mpl_config.ARGUMENTS


def get_config(arg: str = "") -> ConfigDict:
    return mpl_config.make("noisy_student", arg)
