"""A regression with a few weights, in a second.

Command: python -m experiments.run --config=tests/experiments/runner/configs/toy.py --workdir=w
Expected time: 5 s, most of it to start. Expected number: error 0.4 after 60 steps.
"""

from ml_collections import ConfigDict


def get_config(arg: str = "") -> ConfigDict:
    return ConfigDict(
        {
            "experiment": "tests.experiments.runner.toy",
            "seed": 0,
            "num_seeds": 1,
            "seed_axis": "map",
            "steps": 60,
            "chunk": 5,
            "eval_every": 10,
            "checkpoint_every": 20,
            "keep_checkpoints": 2,
            "deterministic": False,
            "task": arg or "resident",
            "rows": 8,
            "model": {"size": 16, "rate": 0.01},
            "phase_steps": (7, 12),
            "throttle": 0.0,
            "nan_at": -1,
            "nan_leaf": "loss",
        }
    )
