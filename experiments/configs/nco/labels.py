"""Random instances of the TSP with near-optimal tours, for supervised learning to follow.

Command: python -m experiments.run --config=nco/labels:20,cpu --workdir=runs/labels/tsp20
Expected time: 5 min on two cores. Expected number: a gap of 0.0% to the proven optima of the first
100 tours.

Sizes: 20, 50, 100 cities. Presets: `cpu` (20,000 instances), `paper` (one million), `smoke`. A
larger `--config.steps`, of 1,000 instances each, adds to the labels that are there.
"""

from ml_collections import ConfigDict

from experiments.nco.config import of_search
from experiments.runner.checks import split_arg

SIZES = ("20", "50", "100")
PRESETS = ("cpu", "paper", "smoke")
ARGUMENTS = tuple(f"{size},{preset}" for size in SIZES for preset in PRESETS)


def get_config(arg: str = "") -> ConfigDict:
    size, preset = split_arg(arg, sizes=SIZES, presets=PRESETS)
    config = ConfigDict(of_search() | {"experiment": "nco_labels", "cities": int(size)})
    config.part = 8 if preset == "smoke" else 1000
    config.steps = {"cpu": 20, "paper": 1000, "smoke": 2}[preset]
    return config
