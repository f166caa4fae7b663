"""The leaves of LaNAS's trees on NAS-Bench-201: figure 4.7 and theorem 1 of Wang 2022.

Command: python -m experiments.run --config=search/partition:cifar10,cpu --workdir=runs/partition
Expected time: 3 s on one core; 1 min for 20 seeds. Expected number: a rank correlation of 0.97
between the place of a leaf and what is in it (`results/search/partition.json`).

Trees are learned from the first n samples of LaNAS, for each n of `--config.sizes`;
`--config.samples=uniform` takes cells at random, `table` all of them.

Sizes: cifar10, cifar100, imagenet (fetch nasbench201), and made_up, which needs no data. Presets:
`cpu`, `smoke` (fewer n).
"""

from ml_collections import ConfigDict

from experiments.runner.checks import split_arg
from experiments.search.config import measured_here

SIZES = ("cifar10", "cifar100", "imagenet", "made_up")
PRESETS = ("cpu", "smoke")
ARGUMENTS = ("cifar10,cpu", "made_up,cpu", "made_up,smoke")


def get_config(arg: str = "") -> ConfigDict:
    size, preset = split_arg(arg, sizes=SIZES, presets=PRESETS)
    config = measured_here()
    config.experiment = "search_partition"
    config.task = size
    config.samples = "lanas"
    config.sizes = (100, 150, 200, 250, 300, 400, 500, 700, 1000, 2000, 5000)
    config.height, config.bins = 5, 10
    # Section 4.3's, but for c and the bound of equation 4.3, which are those of the row `lanas`.
    config.lanas = ConfigDict({"c": 0.1, "form": "equation", "num_init": 200, "select_every": 50})
    if preset == "smoke":
        config.sizes = (80, 260)
    config.steps = len(config.sizes)
    return config
