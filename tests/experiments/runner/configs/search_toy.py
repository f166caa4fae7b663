"""A toy search for the tests of the runner.

Command:
    python -m experiments.run --config=tests/experiments/runner/configs/search_toy.py --workdir=w
Expected time: 1 s. Expected number: 0.1.
"""

from ml_collections import ConfigDict


def get_config(arg: str = "") -> ConfigDict:
    return ConfigDict(
        {
            "experiment": "tests.experiments.runner.search_toy",
            "seed": 0,
            "num_seeds": 1,
            "seed_axis": "map",
            "steps": 12,
            "chunk": 1,
            "eval_every": 1,
            "checkpoint_every": 1,
            "keep_checkpoints": 1,
            "deterministic": False,
            "batch_size": 3,
            "asynchronous": False,
            "pool": False,
            "pause_s": 0.0,
            "broken": False,
        }
    )
