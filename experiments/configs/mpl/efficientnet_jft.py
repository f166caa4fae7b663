"""EfficientNet-L2 and B6-Wide at 512 pixels with ImageNet and JFT (Pham 2021, section 5.4).

Command: python -m experiments.run --config=mpl/efficientnet_jft:l2,paper --workdir=runs/l2
Expected time: 11 days on 2,048 TPUv3 cores, 10 days for b6-wide (the thesis's). Expected number:
accuracy 90.2 (top-5 98.8) for l2, 90.0 for b6-wide (the thesis's, table 5.4); never trained here.
What a step takes, `--dry_run` says in 20 s of one core. Sharding over a mesh is not here.

"The same hyper-parameters with Noisy Student": its rate, dropout and weight decay, and RMSProp
(section 5.7.7). The rate falls by 0.97 as often as in its 350 epochs, stretched to this run's
million steps: 2.4 epochs of labelled images, 1,500 steps, would leave nothing of it after a tenth
of them. The teacher has the student's rate. Label smoothing, UDA and the warm-up are of table 5.8,
column ImageNet. RandAugment is table 5.5's, as elsewhere, not Noisy Student's with its one
magnitude. Weights are not averaged: the chapter never says so.

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
    config = large.make("mpl", f"efficientnet-{size}")
    config.model.update({"name": f"efficientnet-{size}", "dtype": "bfloat16"})
    config.data.update({"side": 512, "labelled_shards": 1004, "reserved_shards": 20})
    # Noisy Student's choice, which "we use the same": see `mpl.splits.top_of_each_class`.
    config.data.update({"unlabelled": "jft", "top_per_class": 130_000})
    config.data.update({"confidence": 0.3, "repeat": True})
    config.update({"batch_size": 2048, "unlabelled_batch_size": 16_384})
    large.set_stages(config, 0, 1_000_000, 20_000)
    large.set_rmsprop(config, 1_000_000)
    config.finetune.update({"optimizer": "lars", "learning_rate": 0.001, "batch_size": 4096})
    return large.smoke(config) if preset == "smoke" else config
