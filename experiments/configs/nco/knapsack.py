"""A pointer network that learns to fill a 0-1 knapsack by policy gradients.

Command: python -m experiments.run --config=nco/knapsack:50,cpu --workdir=runs/knap50
Expected time: 17 min on one core (100,cpu: 9 min; 200,cpu: 11 min for 500 updates, on a core that
other work shared; then as long to finish).
Expected number: greedy value 20.06 on the first 1,000 public instances, whose optimum is 20.09.

Sizes: 50, 100, 200 items, with the thesis's capacities 12.5, 25 and 25 (section 2.5.2). Presets:
`paper` (the recipe of the TSP, since the thesis states no other, and 5,000 updates of Active
Search from scratch, as `nco/measure` takes them; the thesis samples no knapsacks: the 1,280 samples
at temperature 1 are ours), `cpu` (16 instances with 8 samples each, the shared baseline with
standardized advantages, and LeCun's start; at the end 1,280 samples an instance and a comparison
with solvers), `smoke` (seconds).
"""

from ml_collections import ConfigDict

from experiments.nco.config import CAPACITY, SCRATCH_STEPS, defaults
from experiments.runner.checks import split_arg

PRESETS = ("smoke", "cpu", "paper")
ARGUMENTS = tuple(f"{size},{preset}" for size in CAPACITY for preset in PRESETS)


def get_config(arg: str = "") -> ConfigDict:
    size, preset = split_arg(arg or "50,cpu", sizes=tuple(CAPACITY), presets=PRESETS)
    config = ConfigDict(
        defaults()
        | {
            "experiment": "nco_knapsack",
            "chunk": 10,
            "eval_every": 500,
            "checkpoint_every": 500,
            "num_items": int(size),
            "capacity": CAPACITY[size],
            "stop_rule": False,  # the thesis's: stop at the first item that does not fit, dropped
            "finish": {
                "instances": 1000,
                "samples": 1280,
                "temperature": 1.0,
                "solvers": False,
            },
        }
    )
    if preset == "paper":
        config.finish.update({"search_rate": 1e-5, "scratch_steps": SCRATCH_STEPS[f"knap{size}"]})
    if preset == "cpu":
        steps = {"50": 4000, "100": 1500, "200": 500}[size]
        config.update({"baseline": "standardized", "batch_size": 16, "num_samples": 8})
        config.update({"steps": steps})
        config.model.scale = 0.0
        config.chunk = {"50": 10, "100": 2, "200": 1}[size]
        if size != "50":
            config.finish.instances = 100
            config.model.glimpses = 0  # a third cheaper, and as good after 300 updates
        # A quarter of the updates at the first rate, then a hundred decays.
        config.optimizer.update({"decay_begin": steps // 4, "decay_steps": 3 * steps // 400})
        config.finish.solvers = True
    if preset == "smoke":
        config.update({"steps": 20, "chunk": 5, "eval_every": 10, "checkpoint_every": 10})
        config.update({"batch_size": 8})
        config.model.update({"hidden": 16, "embed": 16})
        config.eval.instances = 16
        config.finish.update({"instances": 0, "samples": 128})
    return config
