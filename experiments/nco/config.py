"""The fields that all configs of the pointer network share, and the thesis's numbers."""

from __future__ import annotations

from typing import Any

CAPACITY = {"50": 12.5, "100": 25.0, "200": 25.0}  # of knapsacks, by items (section 2.5.2)
# Budgets an instance (section 2.5.1): samples, and updates of Active Search of 128 samples each,
# from a trained model and from an untrained one, by task.
SAMPLES, ACTIVE_STEPS = 1_280_000, 10_000
SCRATCH_STEPS = {"": 100_000, "tsp100": 200_000} | {f"knap{n}": 5000 for n in CAPACITY}


def of_search() -> dict[str, Any]:
    """Fields of the runner, for a search of listed points: of them `steps` and `seed` are read."""
    runner = {"chunk": 1, "eval_every": 1, "checkpoint_every": 1, "keep_checkpoints": 1}
    return runner | {
        "seed": 0,
        "num_seeds": 1,
        "seed_axis": "map",
        "steps": 1,
        "deterministic": False,
    }


def defaults() -> dict[str, Any]:
    """Fields of the runner and of `experiments.nco.training` (Pham 2021, section 2.5.1).

    The thesis does not state the number of steps.
    """
    return {
        "seed": 0,
        "num_seeds": 1,
        "seed_axis": "map",
        "steps": 200_000,
        "keep_checkpoints": 3,
        "deterministic": False,
        "batch_size": 128,
        "num_samples": 1,
        "baseline": "critic",
        "baseline_decay": 0.99,
        "rollout_period": 2500,
        "entropy_weight": 0.0,
        "reward_bounds": (),  # or a lower and an upper one, for rewards to be clipped to
        "model": {
            "hidden": 128,
            "embed": 128,
            "scale": 0.08,  # 0.0: each parameter its own, by LeCun
            "glimpses": 1,
            "clip": 10.0,  # 0.0: none
            "forget_bias": 1.0,
            "center": 0.0,  # features are read as (x - center) / spread
            "spread": 1.0,
        },
        "optimizer": {
            "name": "adam",
            "learning_rate": 1e-3,
            "decay_rate": 0.96,
            "decay_steps": 5000,
            "decay_begin": 0,
            "max_grad_norm": 1.0,
        },
        "eval": {"instances": 1000},
    }
