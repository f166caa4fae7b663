"""TwoMoon: which methods find the moons from 6 labels (Pham 2021, section 5.3.1)?

Command: python -m experiments.run --config=mpl/moons:mpl,cpu --workdir=runs/moons
Expected time: 20 s on one core. Expected number: an accuracy of 97.9 in percent, and a success
rate of 0.55, the mean of 200 data sets (`experiments/results/mpl/two_moon.json`; `paper`).

Each seed draws a data set. `--config.separation=0 --config.noise=0.05` are the usual moons, which
reach into each other; `--config.seed=200` are other data sets; `experiments/mpl/moons.py` says
which details matter.

Sizes: mpl, mpl_pure, mpl_likeliest, pseudo_labels, supervised, all_labels, laplacian_svm. Presets:
`paper` (200 data sets; 20 of the SVM), `cpu` (20), `smoke` (seconds).
"""

from ml_collections import ConfigDict

from experiments.runner.checks import split_arg

SIZES = (
    "mpl", "mpl_pure", "mpl_likeliest", "pseudo_labels", "supervised", "all_labels", "laplacian_svm"
)  # fmt: skip
PRESETS = ("cpu", "paper", "smoke")
ARGUMENTS = (*(f"{size},smoke" for size in SIZES), "mpl,cpu", "mpl,paper")


def get_config(arg: str = "") -> ConfigDict:
    size, preset = split_arg(arg, sizes=SIZES, presets=PRESETS)
    updates = 20 if preset == "smoke" else 20_000
    machine, first = size == "laplacian_svm", updates * (size == "pseudo_labels")
    return ConfigDict(
        {
            "experiment": "mpl_moons",
            "method": size,
            "seed": 0,
            "num_seeds": {"smoke": 2, "cpu": 20, "paper": 20 if machine else 200}[preset],
            "seed_axis": "vmap",
            "steps": 1 if machine else first + updates,
            "chunk": updates // 20,
            "eval_every": updates // 2,
            "checkpoint_every": updates // 2,
            "keep_checkpoints": 1,
            "deterministic": False,
            "stages": {"teacher": first},
            "each": 1000,  # points of a moon
            "shown": 3,  # of these, with their labels
            "noise": 0.13,
            "separation": 1.0,
            "batch_size": 16,  # unlabelled points
            "learning_rate": 0.1,
            "scale": 0.1,  # parameters start from U[-scale, scale]
            "feedback_weight": 1.0,  # beside the teacher's supervised loss
        }
    )
