"""Search for a recurrent cell with shared weights (Pham 2021, section 4.3.1).

Command: python -m experiments.run --config=enas/rnn:pydoc,cpu --workdir=runs/rnn
"""

from ml_collections import ConfigDict

from experiments.enas.config import arguments, make

ARGUMENTS = arguments("rnn")


def get_config(arg: str = "") -> ConfigDict:
    return make("rnn", arg)
