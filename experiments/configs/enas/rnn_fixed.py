"""A recurrent cell trained from scratch (Pham 2021, section 4.3.1).

Command: python -m experiments.run --config=enas/rnn_fixed:brown,cpu --workdir=runs/rnn_fixed
Expected time: 1 min on one core that other work shared. Expected number: test perplexity; 56.3 of
the thesis's cell and 81.2 of a random one, on Penn Treebank at full size.

`--config.architecture` is the folder of a search that has ended, a line such as "1: tanh | 2: 1
relu | ...", or random (the default), which the seed draws as guided random search does.
`--config.change` trains a neighbour: saturate (two activations become identity or sigmoid) or swap
(ReLU and tanh). The test's rows are `valid_perplexity` and `test_perplexity`; `model.npz` has the
weights.

Sizes: pydoc (always there), brown, penn_treebank, own (`--config.data.path=FILE`).
Presets as of enas/rnn: `cpu`, `paper`, `gpu`, `smoke`. At full size the cell is not normalised
(`--config.space.normalize`).
"""

from ml_collections import ConfigDict

from experiments.enas.config import arguments, make

ARGUMENTS = arguments("rnn")


def get_config(arg: str = "") -> ConfigDict:
    return make("rnn", arg, fixed=True)
