"""The predictors of AlphaX alone, on cells that they have not seen (Wang 2022, section 3.3.2).

Command: python -m experiments.run --config=search/alphax:cifar10,cpu --workdir=runs/predictors
Expected time: 3 s on two cores; 10 s for the LSTM. Expected number: a correlation of 0.61 after 500
samples, and of 0.998 after 12,500 (`results/search/meta_dnn.json`).

`--config.model` is lstm, mlp, multi_stage or multi_stage_parts (stages of equally many cells). The
search by these predictors is `search/nasbench201` with `--config.method=alphax`.

Sizes: cifar10, cifar100, imagenet (fetch nasbench201), and made_up, which needs no data. Presets:
`cpu`, `smoke`.
"""

from ml_collections import ConfigDict

from experiments.runner.checks import split_arg
from experiments.search.config import measured_here

SIZES = ("cifar10", "cifar100", "imagenet", "made_up")
PRESETS = ("cpu", "smoke")
ARGUMENTS = ("cifar10,cpu", "made_up,cpu", "made_up,smoke")


def get_config(arg: str = "") -> ConfigDict:
    size, preset = split_arg(arg, sizes=SIZES, presets=PRESETS)
    config = measured_here()
    config.experiment = "search_alphax"
    config.task = size
    config.model = "multi_stage"
    config.samples = (500, 12_500)
    config.epochs = 20
    config.widths, config.lstm = (256, 256), 100  # the thesis's, 512 to 2048, take an hour
    config.edges = (0.25, 0.5, 0.75)  # between the stages; the thesis names the first
    config.steps = len(config.samples)
    if preset == "smoke":
        config.samples, config.epochs, config.widths, config.lstm = (60, 120), 2, (16,), 8
    return config
