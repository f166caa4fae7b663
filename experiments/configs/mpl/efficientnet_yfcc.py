"""Reduced Meta Pseudo Labels: EfficientNet-B7, ImageNet and YFCC-100M (Pham 2021, 5.7.14).

Command: python -m experiments.run --config=mpl/efficientnet_yfcc:reduced,paper \
    --workdir=runs/reduced --config.data.predictions=runs/supervised/predictions.npy
Expected time: days on many accelerators; the thesis does not say. Expected number: accuracy 86.87
(top-5 98.11), 85.81 with noisy_student, 84.49 with supervised (the thesis's, table 5.11); never
trained here. What a step takes, `--dry_run` says in 60 s.

The supervised run comes first: it leaves its predictions of all images in the folder
(`--config.data.unlabelled`, "yfcc100m" unless said otherwise) in its workdir. The others take the
first 12,800 of each class from them; the reduced teacher, a perceptron of 512 units, reads them,
Noisy Student learns them as they are.

40 shards are reserved. The thesis states neither batches nor steps, rates or the size of images:
they are those of table 5.8, column ImageNet, of Noisy Student and of Tan and Le 2019 (600 pixels).
The supervised teacher has 350 epochs.

Sizes: reduced, noisy_student, supervised. Presets: `paper`, `smoke` (32 pixels).
"""

from ml_collections import ConfigDict

from experiments.mpl import photograph_config as large
from experiments.runner.checks import split_arg

SIZES = ("reduced", "noisy_student", "supervised")
ARGUMENTS = ("reduced,paper", "reduced,smoke", "noisy_student,smoke", "supervised,smoke")


def get_config(arg: str = "") -> ConfigDict:
    size, preset = split_arg(arg, sizes=SIZES, presets=large.PRESETS)
    config = large.make(size, "efficientnet-b7")
    config.model.update({"name": "efficientnet-b7", "reduced": 512, "dtype": "bfloat16"})
    config.data.update({"side": 600, "labelled_shards": 984, "reserved_shards": 40})
    config.data.unlabelled = "yfcc100m"
    if size == "supervised":
        steps, tuned = large.EPOCHS * 1_231_000 // 2048, 0
        config.data.write_predictions = True
    else:
        steps, tuned = 500_000, 2000
        config.data.top_per_class = 12_800
    large.set_stages(config, 0, steps, tuned)
    large.set_rmsprop(config, steps)
    return large.smoke(config) if preset == "smoke" else config
