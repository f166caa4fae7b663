"""The regions that LA-MCTS selects, by iteration: figures 5.3, 5.9 and 5.11 of Wang 2022.

Command: python -m experiments.run --config=search/regions:ackley2-random,cpu --workdir=runs/regions
Expected time: 5 s on one core, 30 s for ackley20-turbo. Expected number: a least cost near 0.03
after 20 iterations (`results/search/regions.json`).

Sizes: ackley2-random, ackley2-turbo and ackley20-turbo, searched with that solver inside the
region, and sine-2 and sine-3, trees of sin(x) over two and three maxima. Presets: `cpu`, `smoke`.
"""

from ml_collections import ConfigDict

from experiments.runner.checks import split_arg
from experiments.search import tree
from experiments.search.config import measured_here

SIZES = ("ackley2-random", "ackley2-turbo", "ackley20-turbo", "sine-2", "sine-3")
PRESETS = ("cpu", "smoke")
ARGUMENTS = tuple(f"{size},{preset}" for size in SIZES for preset in PRESETS)


def get_config(arg: str = "") -> ConfigDict:
    size, preset = split_arg(arg, sizes=SIZES, presets=PRESETS)
    config = measured_here()
    config.experiment = "search_regions"
    config.task = size
    config.marks = (0, 1, 2, 5, 10, 20)  # iterations that rows are of
    # A round until the trust region collapses would leave few iterations.
    rounds = {"ackley2-turbo": (10, 20), "ackley20-turbo": (20, 40)}.get(size, (30, 0))
    config.tree = ConfigDict(tree.defaults(round_init=rounds[0], round_most=rounds[1]))
    config.together = 10 if size == "ackley2-random" else 1
    config.steps = 1  # one measurement a seed
    if preset == "smoke":
        config.marks = (0, 2)
        config.tree.num_init, config.tree.leaf_size = 12, 6
        if size.endswith("turbo"):
            config.tree.round_init, config.tree.round_most = 3, 5
    return config
