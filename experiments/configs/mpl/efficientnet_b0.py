"""EfficientNet-B0 with all labels and images from elsewhere: CIFAR-10 and SVHN of table 5.11.

Command: python -m experiments.run --config=mpl/efficientnet_b0:svhn_supervised,paper \
    --workdir=runs/b0_svhn
and then the same with svhn_reduced and another workdir.
Expected time: some 10 days on one accelerator, an estimate. Expected number: accuracy 98.78 on
SVHN and 98.56 on CIFAR-10; 98.71 and 98.22 with noisy_student, 98.17 and 97.18 with supervised
(Pham 2021, table 5.11); never trained here.

The thesis reserves 4,000 images of CIFAR-10 and 7,300 of SVHN, labels the others, and lets a
supervised network choose 50,000 and 35,000 unlabelled ones a class. It says "about 45,000" and
"65,000" labelled, where 46,000 and 65,957 are left. It states neither rates nor steps nor the size
of images: they are those of tables 5.6 and 5.8, and the data's own 32 pixels.

The supervised run comes first and leaves its predictions of the unlabelled images in its workdir;
the others read them at `--config.data.predictions` (runs/b0_svhn, runs/b0_cifar10), to choose
images (`--config.data.top_per_class`) and as labels. No large teacher is in their memory. SVHN's
unlabelled images are its extra ones. CIFAR-10's were TinyImages, which was withdrawn:
`--config.data.pool=FILE` names bytes [N, 32, 32, 3] of yours, as many as the device's memory holds.

Sizes: svhn_reduced, svhn_noisy_student, svhn_supervised, cifar10_reduced and so on. Presets:
`paper`, `smoke` (digits; a perceptron in the network's place, a teacher of the run's own).
"""

from ml_collections import ConfigDict

from experiments.mpl import config as mpl_config
from experiments.runner.checks import split_arg

METHODS = ("reduced", "noisy_student", "supervised")
SIZES = tuple(f"{dataset}_{method}" for dataset in ("svhn", "cifar10") for method in METHODS)
PRESETS = ("paper", "smoke")
ARGUMENTS = (*(f"{size},paper" for size in SIZES), "svhn_reduced,smoke")


def get_config(arg: str = "") -> ConfigDict:
    size, preset = split_arg(arg, sizes=SIZES, presets=PRESETS)
    dataset, _, method = size.partition("_")
    if preset == "smoke":
        config = mpl_config.make(method, "digits,smoke")
        config.model.update({"name": "perceptron", "depth": 1, "width": 8})
        return config
    config = mpl_config.make(method, f"{dataset},paper")
    config.model.update({"name": "efficientnet-b0", "reduced": 128})
    labelled, reserved = {"cifar10": (46_000, 4000), "svhn": (65_957, 7300)}[dataset]
    config.data.update({"labelled": labelled, "reserved": reserved, "extra": False})
    config.data.pool = "extra" if dataset == "svhn" else "runs/pool.npy"
    if method == "supervised":
        config.data.write_predictions = True
        return config
    config.data.predictions = f"runs/b0_{dataset}/predictions.npy"
    config.data.top_per_class = {"cifar10": 50_000, "svhn": 35_000}[dataset]
    config.steps -= config.stages.teacher
    config.stages.teacher = 0
    return config
