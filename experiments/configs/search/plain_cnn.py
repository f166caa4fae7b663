"""Tree search of 1,364 plain CNNs by the actions it is given: section 4.1 of Wang 2022.

Command: python -m experiments.run --config=search/plain_cnn:digits,cpu --workdir=runs/plain_cnn
Expected time: 2 s on one core; 2 min for 200 seeds. Expected number: the best network, of accuracy
0.9482, after some 290 (`results/search/plain_cnn.json`).

`--config.actions` is global (the depth first), sequential (layer by layer) or random (no tree). A
search ends at the best network. The networks' accuracies come with the package
(`search/plain_cnn_training` measures them).

Sizes: digits. Presets: `cpu`, `smoke`.
"""

from ml_collections import ConfigDict

from experiments.runner.checks import split_arg
from experiments.runner.evaluators import shared

PRESETS = ("cpu", "smoke")
ARGUMENTS = ("digits,cpu", "digits,smoke")


def get_config(arg: str = "") -> ConfigDict:
    _, preset = split_arg(arg, sizes=("digits",), presets=PRESETS)
    config = ConfigDict(shared())
    config.experiment = "search_plain_cnn"
    config.actions = "global"
    config.c, config.form = 0.2, "algorithm"  # the thesis prints no c
    config.steps = 1364
    if preset == "smoke":
        config.steps = 30
    return config
