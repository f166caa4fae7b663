"""Search for a whole convolutional network with shared weights (Pham 2021, 4.3.2).

Command: python -m experiments.run --config=enas/macro:fashion_mnist,cpu --workdir=runs/macro
Expected time: 2.5 min on one core that other work shared. Expected number: the reward, accuracy on
a minibatch of validation images; retrained, an error of 4.23% on CIFAR-10 in the thesis.

An epoch is a phase on the shared weights and a phase on the controller. At its end a run derives
an architecture: `architecture.txt` has its line, `architecture.png` its graph, `derived.json` all
samples with their rewards, `search.png` reward and entropy. Retrain it with enas/macro_fixed.

`--config.controller.train=false` trains the weights alone, on samples of an untrained controller;
`--config.children=4` is M of eq. 4.1; `--config.derive.samples`, how many are ranked at the end.
`--config.derive.ensemble=20` averages predictions of as many of these (250 in section 4.3.3);
`--config.space.layers` is L, and `--config.space.operations` takes some of the six.

Sizes: digits, fashion_mnist, cifar10, own (`--config.data.path=FOLDER`, a folder a class).
Presets: `cpu` (6 layers of 12 channels, 14 x 14 pixels of Fashion-MNIST), `paper` (12 layers of 36
channels, 310 epochs), `gpu` (the paper's network, 70 epochs; not run yet), `smoke` (seconds).
"""

from ml_collections import ConfigDict

from experiments.enas.config import arguments, make

ARGUMENTS = arguments("macro")


def get_config(arg: str = "") -> ConfigDict:
    return make("macro", arg)
