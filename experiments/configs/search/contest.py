"""Tuning scikit-learn's classifiers by the protocol of a contest (Wang 2022, section 9.6).

Command: python -m experiments.run --config=search/contest:svm-digits-accuracy,cpu --workdir=runs/a
Expected time: 10 s on one core. Expected number: an accuracy near 0.97 (the table, with all
methods, is `results/search/contest.json`).

128 evaluations in 16 batches of 8. `--config.method` picks the searcher, one of
`experiments.search.methods.BOX_METHODS`, such as lamcts_turbo, turbo, cma or random.

Sizes: MODEL-DATA-METRIC with the models knn, svm, tree, forest, mlp, ada, linear, the data digits,
wine, breast_cancer, and the metrics accuracy, log_loss (not of svm). Presets: `paper` (TuRBO's
published constants), `cpu` (those called "fast"), `smoke`. The contest fixed the protocol; the
settings of the tree are of this project.
"""

from ml_collections import ConfigDict

from experiments.runner.checks import split_arg
from experiments.runner.evaluators import shared
from experiments.search import tree
from experiments.search.config import CONTEST

PRESETS = ("paper", "cpu", "smoke")
SOME = ("svm-digits-accuracy", "knn-wine-log_loss", "linear-breast_cancer-log_loss")
ARGUMENTS = tuple(f"{size},{preset}" for size in SOME for preset in PRESETS)


def get_config(arg: str = "") -> ConfigDict:
    size, preset = split_arg(arg, sizes=CONTEST, presets=PRESETS)
    config = ConfigDict(shared())
    config.experiment = "search_contest"
    config.task = size
    config.method = "lamcts_turbo"
    config.preset = "paper" if preset == "paper" else "fast"
    config.steps, config.batch_size = 128, 8
    # C_p is a tenth of an accuracy's largest value, the advice of the thesis's section 5.4; two
    # batches begin the search and one begins a round, as 128 evaluations leave no more.
    config.tree = ConfigDict(tree.defaults(c=0.1, num_init=16, round_init=8))
    # So that an evaluation takes a tenth of a second: fewer samples where there are more.
    config.rows, config.folds = 300, 3
    if preset == "smoke":
        config.steps, config.rows = 24, 150
    return config
