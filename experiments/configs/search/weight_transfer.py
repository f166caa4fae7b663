"""What a network saves that starts from its parent's weights: figure 3.8 of Wang 2022.

Command: python -m experiments.run --config=search/weight_transfer:curves,cpu --workdir=runs/weights
Expected time: 1 min on one core. Expected number: 31 epochs from the parent's weights for 70 from
random ones, a mean of five seeds that differ much (`results/search/weight_transfer.json`).

Sizes: curves, of a parent and its child; search, in which AlphaX trains networks from the weights
of the trials that it names as parents, or, with `--config.start=scratch`, from fresh ones. Presets:
`cpu`, `smoke`.
"""

from ml_collections import ConfigDict

from experiments.runner.checks import split_arg
from experiments.search.config import measured_here

SIZES = ("curves", "search")
PRESETS = ("cpu", "smoke")
ARGUMENTS = tuple(f"{size},{preset}" for size in SIZES for preset in PRESETS)


def get_config(arg: str = "") -> ConfigDict:
    size, preset = split_arg(arg, sizes=SIZES, presets=PRESETS)
    config = measured_here()
    config.experiment = "search_weight_transfer"
    config.task = size
    config.epochs = 70 if size == "curves" else 9
    config.batch, config.learning_rate = 30, 2e-3
    if size == "search":
        config.start = "transferred"
        config.c = 0.2
        config.trials, config.first = 40, 10  # the first trials are in no mean
    config.steps = 1  # one measurement a seed
    if preset == "smoke":
        config.epochs = 2
        if size == "search":
            config.trials, config.first = 4, 1
    return config
