"""A pointer network that learns the TSP from near-optimal tours: the supervised row of table 2.2.

Labels first: python -m experiments.run --config=nco/labels:20,cpu --workdir=runs/labels/tsp20
Command: python -m experiments.run --config=nco/supervised:20,cpu --workdir=runs/sup20
Expected time: 5 min for the labels and 4 min on one core. Expected number: greedy tour length 3.98
on the first 1,000 public instances.

Sizes: 20, 50, 100 cities. Presets: `paper` (one million labels, batch 128, the optimiser of the
other runs; the thesis does not state its steps), `cpu` (20,000 labels, each seen in new orders of
its cities and under the square's symmetries, from LeCun's start), `smoke` (seconds, 64 labels by
Christofides).
"""

from ml_collections import ConfigDict

from experiments.nco.config import defaults
from experiments.runner.checks import split_arg

SIZES = ("20", "50", "100")
PRESETS = ("smoke", "cpu", "paper")
ARGUMENTS = tuple(f"{size},{preset}" for size in SIZES for preset in PRESETS)


def get_config(arg: str = "") -> ConfigDict:
    size, preset = split_arg(arg or "20,cpu", sizes=SIZES, presets=PRESETS)
    shared = defaults()
    for name in ("num_samples", "baseline", "baseline_decay", "rollout_period", "entropy_weight"):
        del shared[name]  # of policy gradients
    del shared["reward_bounds"]
    config = ConfigDict(
        shared
        | {
            "experiment": "nco_supervised",
            "chunk": 20,
            "eval_every": 1000,
            "checkpoint_every": 1000,
            "cities": int(size),
            # A file, or "DIR.npz" for the folder DIR of a run of nco/labels; none: Christofides.
            "labels": {"path": f"runs/labels/tsp{size}.npz", "count": 1_000_000},
            "augment": False,
            "finish": {"instances": 1000, "samples": 1280, "temperature": 1.0},
        }
    )
    if preset == "cpu":
        config.update({"steps": 10_000, "batch_size": 64, "augment": True})
        config.labels.count = 20_000
        # The network and the optimiser of `nco/tsp`'s cpu preset.
        config.model.update({"scale": 0.0, "glimpses": 0, "center": 0.5, "spread": 12**-0.5})
        config.optimizer.update({"name": "muon", "learning_rate": 5e-3, "decay_steps": 133})
    if preset == "smoke":
        config.update({"steps": 20, "chunk": 5, "eval_every": 10, "checkpoint_every": 10})
        config.update({"batch_size": 8, "augment": True})
        config.model.update({"hidden": 16, "embed": 16})
        config.labels.update({"path": "", "count": 64})
        config.eval.instances = 16
        config.finish.update({"instances": 0, "samples": 128})
    return config
