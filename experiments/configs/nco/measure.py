"""One method of chapter 2 on the field's public instances: what it reaches, and in which time.

Command: python -m experiments.run --config=nco/measure:tsp20-greedy,cpu --workdir=runs/greedy20
Expected time: 20 s on one core. Expected number: a mean tour length of 3.906 over 10,000
instances; gaps to the optimum stand in the tables, `python -m experiments.report --fill nco/tsp`.

Sizes: TASK-METHOD. Tasks: tsp20, tsp50, tsp100, knap50, knap100, knap200 (`--config.size` makes
tours of other sizes), and tsplib, the .tsp files of `--config.folder` under TSPLIB's rounding, each
by the model trained on the nearest number of cities. Methods: greedy; sample (the best of
`samples`); perturbed (the best of `samples` greedy solutions under noise of `perturbation` nats);
ensemble (the best of several `models`' greedy solutions); active (Active Search, `steps_each`
updates an instance), active_scratch (from an untrained network); random; optimal (tours:
near-optimal, by fast-tsp; knapsacks: OR-Tools' branch and bound); for tours christofides,
or_tools, or_tools_simulated_annealing, or_tools_tabu_search, or_tools_guided_local_search (until
`time_limit`), proven (CP-SAT); for knapsacks dynamic_programming, skip_greedy, stop_greedy.

`models` are shipped names, runs' folders or .npz files. A temperature or rate that is not given is
the model's own: its T* in the .json beside its parameters, its run's `finish`. The journal gets an
entry after every `part` instances (0: as many as a device searches at once).

Presets: `cpu`; `paper`, the thesis's 1,280,000 samples and 10,000 updates, from scratch 100,000
(200,000 at 100 cities, 5,000 for knapsacks), on its 1,000 instances, for accelerators; `smoke`.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from experiments.nco.config import CAPACITY, of_search
from experiments.nco.methods import METHODS
from experiments.runner.checks import split_arg

TASKS = {f"tsp{n}": "tsp" for n in (20, 50, 100)} | {f"knap{n}": "knapsack" for n in CAPACITY}
SIZES = tuple(
    f"{task}-{name}"
    for task, problem in (TASKS | {"tsplib": "tsp"}).items()
    for name, method in METHODS.items()
    if problem in method.problems
)
PRESETS = ("cpu", "paper", "smoke")
SOME = ("tsp20-greedy", "tsp100-sample", "tsp50-perturbed", "tsp20-active", "tsp100-active_scratch",
        "tsp50-optimal", "tsp20-christofides", "tsp50-proven", "tsp20-or_tools_tabu_search",
        "knap50-greedy", "knap200-active_scratch", "knap100-random", "knap50-optimal",
        "knap100-dynamic_programming")  # fmt: skip
ARGUMENTS = tuple(f"{size},{preset}" for size in SOME for preset in PRESETS)
_SMOKE = {"instances": 4, "samples": 4, "steps_each": 2, "time_limit": 0.05}


def get_config(arg: str = "") -> ConfigDict:
    size, preset = split_arg(arg or "tsp20-greedy", sizes=SIZES, presets=PRESETS)
    task, _, name = size.partition("-")
    method, items = METHODS[name], task.removeprefix("tsp").removeprefix("knap")
    config = ConfigDict(of_search() | {"experiment": "nco_measure", "method": name})
    config.update({"problem": TASKS.get(task, "tsp"), "part": method.part})  # which sets the steps
    if task == "tsplib":
        config.folder = "runs/tsplib"
    else:
        config.update({"size": int(items), "instances": method.instances, "validation": False})
    if config.problem == "knapsack":
        config.update({"capacity": CAPACITY[items], "stop_rule": False})
    for field, value in method.fields.items():
        config[field] = placeholder(float) if value is None else value
    if "models" in config:
        config.models = ("nco/tsp20", "nco/tsp50") if task == "tsplib" else (f"nco/{task}",)
    if preset == "paper":
        config.update(method.paper(task))
        if "instances" in config:
            config.instances = 1000
    if preset == "smoke":
        config.update({key: value for key, value in _SMOKE.items() if key in config})
    return config
