"""EfficientNet-L2 and B6-Wide at 512 pixels with ImageNet and JFT (Pham 2021, section 5.4).

Command: python -m experiments.run --config=mpl/efficientnet_jft:l2,paper --workdir=runs/l2
Expected time: 11 days on 2,048 TPUv3 cores, 10 days for b6-wide (the seed's). Expected number:
accuracy 90.2 (top-5 98.8) for l2, 90.0 for b6-wide (the seed's, table 5.4); never trained here.
What a step takes, `--dry_run` says in 20 s of one core. Sharding over a mesh is not here.

B6-Wide is said to have B6's depth (factor 2.6), width factor 5.0 and 390 million parameters; these
factors, which are used, make 316.6 million (`mpl.models.efficientnet`).

Needs ImageNet, a folder of images (`--config.data.unlabelled`) and predictions of these
(`--config.data.predictions`): of each class, 130,000 images with a confidence above 0.3.

Sizes: l2, b6-wide. Presets: `paper`, `smoke` (32 pixels; what is left of ImageNet for JFT).
"""

from ml_collections import ConfigDict

from experiments.mpl import photograph_config as large
from experiments.runner.checks import split_arg

SIZES = ("l2", "b6-wide")
ARGUMENTS = ("b6-wide,paper", "l2,smoke")  # l2 at its own scale: tests/experiments


def get_config(arg: str = "") -> ConfigDict:
    size, preset = split_arg(arg, sizes=SIZES, presets=large.PRESETS)
    config = large.efficientnet_jft(size)
    return large.smoke(config) if preset == "smoke" else config
