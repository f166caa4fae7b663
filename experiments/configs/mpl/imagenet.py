"""ImageNet-10% with ResNet-50: MPL and what it is compared with (Pham 2021, section 5.3.2).

Command: python -m experiments.run --config=mpl/imagenet:mpl,paper --workdir=runs/imagenet10
Expected time: days on many accelerators; the seed does not say. Expected number: accuracy 73.89
(top-5 91.38) after the finetuning, 68.07 with uda (the seed's, table 5.2); never trained here. What
a step takes, `--dry_run` says in 20 s.

Needs ImageNet (`python -m experiments.data show imagenet`). `--config.data.labelled_shards=204` is
ImageNet-20% (figure 5.5); 1024 with supervised is the full data set.

Sizes: mpl, uda, fixmatch, pseudo_labels, supervised. Presets: `paper`, `smoke` (32 pixels).
"""

from ml_collections import ConfigDict

from experiments.mpl import photograph_config as large
from experiments.runner.checks import split_arg

SIZES = ("mpl", "uda", "fixmatch", "pseudo_labels", "supervised")
ARGUMENTS = ("mpl,paper", *(f"{size},smoke" for size in SIZES))


def get_config(arg: str = "") -> ConfigDict:
    size, preset = split_arg(arg, sizes=SIZES, presets=large.PRESETS)
    config = large.imagenet_10(size)
    return large.smoke(config) if preset == "smoke" else config
