"""ImageNet-10% with ResNet-50: MPL and what it is compared with (Pham 2021, section 5.3.2).

Command: python -m experiments.run --config=mpl/imagenet:mpl,paper --workdir=runs/imagenet10
Expected time: days on many accelerators; the thesis does not say. Expected number: accuracy 73.89
(top-5 91.38) after the finetuning, 68.07 with uda (the thesis's, table 5.2); never trained here.
What a step takes, `--dry_run` says in 20 s.

Columns ImageNet of tables 5.6 to 5.8. No images are reserved: the thesis keeps its last 20 shards
for sections 5.3.3 and 5.4, and "does not use any heldout validation set" here.

Needs ImageNet (`python -m experiments.data show imagenet`). `--config.data.labelled_shards=204` is
ImageNet-20% (figure 5.5); 1024 with supervised is the full data set.

Sizes: mpl, uda, fixmatch, pseudo_labels, supervised. Presets: `paper`, `smoke` (32 pixels).
"""

from ml_collections import ConfigDict

from experiments.mpl import photograph_config as large
from experiments.mpl.config import printed
from experiments.runner.checks import split_arg

SIZES = ("mpl", "uda", "fixmatch", "pseudo_labels", "supervised")
ARGUMENTS = ("mpl,paper", *(f"{size},smoke" for size in SIZES))


def get_config(arg: str = "") -> ConfigDict:
    size, preset = split_arg(arg, sizes=SIZES, presets=large.PRESETS)
    config, steps = large.make(size), int(printed(size, "imagenet")["steps"])
    first, tuned = steps * (size == "pseudo_labels"), 2000 * (size == "mpl")
    large.set_stages(config, first, steps, tuned)
    return large.smoke(config) if preset == "smoke" else config
