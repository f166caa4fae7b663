"""LA-MCTS and baselines on lunar lander, a rover's path and locomotion (Wang 2022, section 5.4).

Command: python -m experiments.run --config=search/control:lunar,cpu --workdir=runs/lunar
Expected time: 1 min on one core. Expected number: a best value of 206 after 300 evaluations, a mean
of three seeds that differ by some 100, each over 10 terrains (`results/search/control.json`).

All but rover need the extra: pip install "ncolab[control]". `--config.method` picks the
searcher, one of `experiments.search.methods.BOX_METHODS`, such as lamcts_turbo, turbo, cma or
random.

Sizes: lunar, rover, swimmer, hopper, halfcheetah, walker2d, ant, humanoid. Presets: `paper` (the
thesis's settings and TuRBO's published constants, 50 terrains, 10 episodes), `cpu` (the constants
called "fast", 10 terrains, 3 episodes, fewer evaluations), `smoke`.
"""

from ml_collections import ConfigDict

from experiments.runner.checks import split_arg
from experiments.runner.evaluators import shared
from experiments.search import tree
from experiments.search.config import CONTROL, LINEAR, SMALL

PRESETS = ("paper", "cpu", "smoke")
ARGUMENTS = tuple(f"{size},{preset}" for size in CONTROL for preset in PRESETS)


def get_config(arg: str = "") -> ConfigDict:
    size, preset = split_arg(arg, sizes=CONTROL, presets=PRESETS)
    small = size in SMALL
    config = ConfigDict(shared())
    config.experiment = "search_control"
    config.task = size
    config.method = "lamcts_turbo"
    config.preset = "paper" if preset == "paper" else "fast"
    # Section 5.4's settings; the kernel of lunar and rover is not stated.
    config.tree = ConfigDict(
        tree.defaults(
            c=1.0 if small else 10.0,
            leaf_size=20 if small else 100,
            kernel="linear" if size in LINEAR else "rbf",
        )
    )
    config.terrains, config.episodes = 50, 10
    # The thesis prints no budgets; lunar's and the rover's are those of TuRBO's authors.
    config.steps = {"lunar": 1500, "rover": 20_000}.get(size, 10_000)
    if preset != "paper":
        config.terrains, config.episodes = 10, 3
        config.steps = 1000 if size == "rover" else 300
    if preset == "smoke":
        config.steps, config.tree.num_init = 20, 5
        config.terrains = config.episodes = 1
    return config
