"""Trainings of all 1,364 plain CNNs on 8x8 digits: the table that `search/plain_cnn` searches.

Command: python -m experiments.run --config=search/plain_cnn_training --workdir=runs/plain_cnn_table
Expected time: 50 min on two cores. Expected number: a best accuracy of 0.95; plain_cnn.csv in the
folder equals the bundled one but for the last digits of another machine.

Sizes: digits. Presets: `cpu`, `smoke` (networks of one and two layers, two epochs).
"""

from ml_collections import ConfigDict

from experiments.runner.checks import split_arg
from experiments.search.config import measured_here

PRESETS = ("cpu", "smoke")
ARGUMENTS = ("digits,cpu", "digits,smoke")


def get_config(arg: str = "") -> ConfigDict:
    _, preset = split_arg(arg, sizes=("digits",), presets=PRESETS)
    config = measured_here()
    config.experiment = "search_plain_cnn_training"
    config.trainings = 2  # of each network
    config.depths = (1, 2, 3, 4, 5)
    config.together = 32  # networks of one measurement
    # Adam at a rate that falls to 0 as a cosine; our choice.
    config.epochs, config.batch, config.learning_rate = 8, 30, 1e-2
    config.steps = 88  # measurements
    if preset == "smoke":
        config.depths, config.epochs, config.steps = (1, 2), 2, 4
    return config
