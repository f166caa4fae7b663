"""Meta Pseudo Labels on images (Pham 2021, Algorithm 3, tables 5.2 and 5.8).

Command: python -m experiments.run --config=mpl/meta:digits,cpu --workdir=runs/ssl
Expected time: 90 s a seed on one core that other work shared. Expected number: accuracy
91.2 in percent on the 297 test digits, the mean of 5 seeds (`experiments/results/mpl`).

A teacher with UDA's losses learns from its student's feedback; the student learns from the
teacher's labels alone and is finetuned on labelled images at the end. `--config.meta.teacher` is
uda, supervised, mixup, pseudo_labels or none; `--config.meta.feedback` is cosine (the thesis's),
dot, difference, per_label or exact, or none: a control, whose teacher hears nothing of its student.
`--config.data.same=true --config.augment.num_ops=0 --config.meta.teacher=supervised` is the
regularisation of table 5.9.

Sizes: digits (50 labels), fashion_mnist (1,000), cifar10 (4,000), svhn (1,000). Presets: `paper`
(WideResNet-28-2 and the thesis's numbers), `cpu` (WideResNet-10), `smoke` (seconds).
"""

from ml_collections import ConfigDict

from experiments.mpl import config as mpl_config

ARGUMENTS = mpl_config.ARGUMENTS


def get_config(arg: str = "") -> ConfigDict:
    return mpl_config.make("mpl", arg)
