"""ResNet-50 with all of ImageNet and 12.8 million images of JFT (Pham 2021, section 5.3.3).

Command: python -m experiments.run --config=mpl/imagenet_jft:resnet50,paper --workdir=runs/jft
Expected time: 2 days on 512 TPUv2 cores (the thesis's). Expected number: accuracy 83.2 (top-5 96.5,
the thesis's, table 5.3); never trained here. What a step takes, `--dry_run` says in 20 s.

"The same as in Section 5.3.2" but for batches and steps: so the rates of table 5.8 are not scaled
with the batch, and the optimiser stays Nesterov's (section 5.7.7). 500,000 steps are "about 160
epochs on the unlabeled dataset" for batches of 4,096; with the 32,768 that the same section states,
they are 1,280. The batch of the finetuning is that of section 5.3.2.

Needs ImageNet, a folder of images (`--config.data.unlabelled`, "jft" unless said otherwise) and a
ResNet-50's predictions of these (`--config.data.predictions`), of which the first 12,800 of each
class are used. Such a file is left by, for example,
`--config=mpl/imagenet:supervised --config.data.labelled_shards=1004
--config.data.unlabelled=jft --config.data.write_predictions=true`.

Sizes: resnet50. Presets: `paper`, `smoke` (32 pixels; what is left of ImageNet serves as a folder).
"""

from ml_collections import ConfigDict

from experiments.mpl import photograph_config as large
from experiments.runner.checks import split_arg

SIZES = ("resnet50",)
ARGUMENTS = tuple(f"{size},{preset}" for size in SIZES for preset in large.PRESETS)


def get_config(arg: str = "") -> ConfigDict:
    _, preset = split_arg(arg, sizes=SIZES, presets=large.PRESETS)
    config = large.make("mpl", "resnet50-jft")
    config.data.update({"labelled_shards": 1004, "reserved_shards": 20})
    config.data.update({"unlabelled": "jft", "top_per_class": 12_800})
    config.update({"batch_size": 4096, "unlabelled_batch_size": 32_768})
    large.set_stages(config, 0, 500_000, 10_000)
    config.finetune.learning_rate = 1e-4
    return large.smoke(config) if preset == "smoke" else config
