"""The fields that every config of a search has."""

from __future__ import annotations

from typing import Any


def shared() -> dict[str, Any]:
    """Fields of the runner and of the evaluator.

    `steps` is the budget of evaluations. `chunk` and what follows it are of compiled training: a
    search writes its journal after every evaluation.
    """
    return {
        "seed": 0,
        "num_seeds": 1,
        "seed_axis": "map",
        "steps": 1000,
        "chunk": 1,
        "eval_every": 1,
        "checkpoint_every": 1,
        "keep_checkpoints": 1,
        "deterministic": False,
        "batch_size": 1,
        "asynchronous": False,  # keep batch_size trials open, instead of a batch after the other
        # kind: process, pool or ray; timeout_s 0 is none; retries are of lost workers.
        "evaluate": {
            "kind": "process",
            "workers": 2,
            "timeout_s": 0.0,
            "retries": 1,
            "address": "",
        },
    }
