"""Search for convolutional cells with shared weights (Pham 2021, section 4.3.2).

Command: python -m experiments.run --config=enas/micro:fashion_mnist,cpu --workdir=runs/micro
Expected time: 3.5 min on one core that other work shared. Expected number: the reward, accuracy on
a minibatch of validation images; retrained, an error of 3.54% on CIFAR-10 in the thesis.

An epoch is a phase on the shared weights and a phase on the controller. At its end a run derives
an architecture: `architecture.txt` has its line, `architecture.png` its graph, `derived.json` all
samples with their rewards, `search.png` reward and entropy. Retrain it with enas/micro_fixed.

`--config.controller.train=false` trains the weights alone, on samples of an untrained controller;
`--config.children=4` is M of eq. 4.1; `--config.derive.samples`, how many are ranked at the end.
`--config.space.nodes` is B, with the two inputs; cells a block and blocks are `space.cells`, N, and
`space.blocks`.

Sizes: digits, fashion_mnist, cifar10, own (`--config.data.path=FOLDER`, a folder a class).
Presets: `cpu` (5 nodes, 2 blocks of a cell each, 8 channels), `paper` (7 nodes, 3 blocks of 2, 20
channels, 310 epochs), `gpu` (the paper's network, 70 epochs; not run yet), `smoke` (seconds).
"""

from ml_collections import ConfigDict

from experiments.enas.config import arguments, make

ARGUMENTS = arguments("micro")


def get_config(arg: str = "") -> ConfigDict:
    return make("micro", arg)
