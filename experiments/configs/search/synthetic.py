"""LA-MCTS and baselines on Ackley, Rosenbrock, Levy, Rastrigin (Wang 2022, section 5.3).

Command: python -m experiments.run --config=search/synthetic:ackley20,cpu --workdir=runs/ackley
Expected time: 2 min on one core. Expected number: a best value near 0.15 after 1,000 evaluations
(seed 0 gave 0.0386; the table is `results/search/synthetic.json`).

`--config.method` picks the searcher, one of
`experiments.search.methods.BOX_METHODS`, such as lamcts_turbo, turbo, cma or random.

Sizes: a function and its dimension. `--config.function=ackley20_moved` and the like have their
minimum at a random point, which `--config.seed` draws. Presets: `paper` (the thesis's settings and
TuRBO's published constants), `cpu` (the constants called "fast": 5 Adam steps a fit, 500
candidates), `smoke`.
"""

from ml_collections import ConfigDict

from experiments.runner.checks import split_arg
from experiments.runner.evaluators import shared
from experiments.search import tree

NAMES = ("ackley", "rosenbrock", "levy", "rastrigin")
SIZES = tuple(f"{name}{dim}" for name in NAMES for dim in (20, 100))
PRESETS = ("paper", "cpu", "smoke")
ARGUMENTS = tuple(f"{size},{preset}" for size in ("ackley20", "levy100") for preset in PRESETS)


def get_config(arg: str = "") -> ConfigDict:
    size, preset = split_arg(arg, sizes=SIZES, presets=PRESETS)
    config = ConfigDict(shared())
    config.experiment = "search_synthetic"
    config.function = size
    config.method = "lamcts_turbo"
    config.preset = "paper" if preset == "paper" else "fast"
    config.tree = ConfigDict(tree.defaults())
    if preset == "smoke":
        config.steps, config.tree.num_init = 40, 5
    return config
