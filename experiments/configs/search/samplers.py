"""What LaNAS samples in a leaf, and what splits its nodes: figures 4.5 and 4.6(b) of Wang 2022.

Command: python -m experiments.run --config=search/samplers:cifar10,cpu --workdir=runs/samplers
Expected time: 1 s on one core; 20 s for pi_bayes, 4 s for perceptron. Expected number: the best
cell, of accuracy 0.9161, after 200 samples (`results/search/lanas_samplers.json`).

`--config.sampler` is pi_random (a random cell of the region), pi_bayes (expected improvement among
`candidates` of them), perceptron (which splits the nodes) or random (no tree). A search ends at the
best cell.

Sizes: cifar10, cifar100, imagenet (fetch nasbench201), and made_up, which needs no data. Presets:
`cpu`, `smoke`.
"""

from ml_collections import ConfigDict

from experiments.runner.checks import split_arg
from experiments.runner.evaluators import shared

SIZES = ("cifar10", "cifar100", "imagenet", "made_up")
PRESETS = ("cpu", "smoke")
ARGUMENTS = ("cifar10,cpu", "made_up,cpu", "made_up,smoke")


def get_config(arg: str = "") -> ConfigDict:
    size, preset = split_arg(arg, sizes=SIZES, presets=PRESETS)
    config = ConfigDict(shared())
    config.experiment = "search_samplers"
    config.task = size
    config.sampler = "pi_random"
    config.steps = 600
    # As the row `lanas` of the other tables: equation 4.3's bound.
    config.lanas = ConfigDict(
        {"height": 5, "c": 0.1, "form": "equation", "num_init": 50, "select_every": 20}
    )
    config.candidates, config.fit_steps = 256, 10  # of pi_bayes
    config.hidden_units = 16  # of the perceptron
    if preset == "smoke":
        config.steps, config.lanas.num_init, config.lanas.select_every = 30, 20, 5
        config.candidates, config.fit_steps = 16, 2
    return config
