"""A pointer network that learns to solve the Euclidean TSP by policy gradients.

Command: python -m experiments.run --config=nco/tsp:20,demo --workdir=runs/demo --cpu_devices=2
Expected time: 2 min on 2 cores (20,cpu: 110,000 updates, 52 min on one core; 50,cpu: 10,000, 16
min; 100,cpu: 1,500, 7 min; then minutes to finish). Expected number: greedy tour length 3.98 on the
first 1,000 public instances (20,cpu: 3.92; 50,cpu: 6.08; 100,cpu: 8.73, on 100).

Sizes: 20, 50, 100 cities. Presets:

- `paper`: the thesis's recipe, section 2.5.1: a critic, batch 128, one sample an instance,
  parameters from U[-0.08, 0.08], and at the end 1,280,000 samples an instance. The thesis does not
  state its number of steps. For an accelerator. Its Active Search, 10,000 updates from a trained
  model and 100,000 from scratch (200,000 at 100 cities), is `nco/measure`'s in the same preset.
- `cpu`: 16 instances with 8 samples each, the same number of tours a step; standardized advantages,
  an entropy bonus, Muon, features that are centred and scaled, LeCun's start, and no glimpse; at
  the end 1,280 samples an instance at temperature 1, and a comparison with solvers.
- `gpu`: the same recipe with 512 instances a step, 40,000 to 100,000 updates, for one accelerator;
  it has not been run yet. At the end 1,280 samples on 1,000 instances, and solvers.
- `demo`: 3,000 updates of `cpu`'s recipe, one minute. At the end 128 samples an instance, and a
  tour of real cities.
- `smoke`: seconds.
"""

from ml_collections import ConfigDict

from experiments.nco.config import defaults
from experiments.runner.checks import split_arg

SIZES = ("20", "50", "100")
PRESETS = ("smoke", "demo", "cpu", "gpu", "paper")
STEPS = {
    "cpu": {"20": 110_000, "50": 10_000, "100": 1500},
    "gpu": {"20": 40_000, "50": 60_000, "100": 100_000},
}
ARGUMENTS = tuple(f"{size},{preset}" for size in SIZES for preset in PRESETS)


def get_config(arg: str = "") -> ConfigDict:
    size, preset = split_arg(arg or "20,cpu", sizes=SIZES, presets=PRESETS)
    config = ConfigDict(
        defaults()
        | {
            "experiment": "nco_tsp",
            "chunk": 20,
            "eval_every": 1000,
            "checkpoint_every": 1000,
            "cities": int(size),
            "finish": {
                "instances": 1000,
                "samples": 1_280_000,
                "temperature": {"20": 2.0, "50": 2.2, "100": 1.5}[size],
                "solvers": False,
                "real_cities": False,
                "search_candidates": 1_280_000,
                "search_rate": 1e-6 if size == "100" else 1e-5,
            },
        }
    )
    if size == "100":
        config.optimizer.learning_rate = 1e-4
    if preset == "paper":  # of 128 samples each, from a trained model and from scratch
        scratch = 200_000 if size == "100" else 100_000
        config.finish.update({"active_steps": 10_000, "scratch_steps": scratch})
    if preset in ("cpu", "demo", "gpu"):
        config.update({"batch_size": 16, "num_samples": 8, "chunk": 10})
        # The thesis's interval stays for long at tours that are sorted along one direction (length
        # 7.4 at 20 cities); `nco.initializers` says why.
        config.model.scale = 0.0
        config.finish.update({"samples": 1280, "temperature": 1.0, "solvers": True})
        config.finish.search_candidates = 12_800
        if size == "100":
            config.update({"chunk": 2})
            config.finish.instances = 100
        steps = STEPS.get(preset, {}).get(size, 3000)
        config.update({"baseline": "standardized", "entropy_weight": 0.05, "steps": steps})
        # Without a glimpse the decoder's state itself is the query: it learns in fewer updates,
        # which cost half as much.
        config.model.update({"glimpses": 0, "center": 0.5, "spread": 12**-0.5})  # of U[0, 1]
        config.optimizer.update({"name": "muon", "learning_rate": 5e-3})
        # To a fiftieth of the first rate, or a twentieth.
        config.optimizer.decay_steps = steps // (96 if size == "20" and preset == "cpu" else 75)
    if preset == "gpu":
        config.update({"batch_size": 512, "chunk": 50})
        config.finish.instances = 1000
        config.optimizer.decay_steps = steps // 96
    if preset == "demo":
        config.update({"eval_every": 200, "checkpoint_every": 200})
        config.finish.update({"samples": 128, "real_cities": True, "search_candidates": 6400})
        config.finish.search_rate = 1e-4
    if preset == "smoke":
        config.update({"steps": 20, "chunk": 5, "eval_every": 10, "checkpoint_every": 10})
        config.update({"batch_size": 8})
        config.finish.update({"instances": 0, "samples": 128, "search_candidates": 128})
        config.model.update({"hidden": 16, "embed": 16})
        config.eval.instances = 16
    return config
