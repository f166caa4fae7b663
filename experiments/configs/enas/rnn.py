"""Search for a recurrent cell with shared weights (Pham 2021, section 4.3.1).

Command: python -m experiments.run --config=enas/rnn:brown,cpu --workdir=runs/rnn
Expected time: 2.5 min on one core that other work shared. Expected number: the reward, 80 over the
perplexity of a minibatch, of the derived cell; retrained, 56.3 on Penn Treebank in the thesis.

An epoch is a phase on the shared weights and a phase on the controller. At its end a run derives
an architecture: `architecture.txt` has its line, `architecture.png` its graph, `derived.json` all
samples with their rewards, `search.png` reward and entropy. Retrain it with enas/rnn_fixed.

`--config.controller.train=false` trains the weights alone, on samples of an untrained controller;
`--config.children=4` is M of eq. 4.1; `--config.derive.samples`, how many are ranked at the end.
`--config.space.nodes` is N. An epoch has phases.weights + phases.controller of `--config.steps`.

Sizes: pydoc (always there), brown, penn_treebank, own (`--config.data.path=FILE`). Presets: `cpu`
(6 nodes, 128 units), `paper` (12 nodes, 785 units, 150 epochs), `gpu` (the paper's network, 30
epochs; not run yet), `smoke` (seconds).
"""

from ml_collections import ConfigDict

from experiments.enas.config import arguments, make

ARGUMENTS = arguments("rnn")


def get_config(arg: str = "") -> ConfigDict:
    return make("rnn", arg)
