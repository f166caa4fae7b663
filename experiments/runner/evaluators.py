"""The fields that every config of a search has, and the evaluator that they ask for."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from experiments.runner.checks import ConfigError, check_choice, check_float, check_int
from search import evaluate, ray_cluster

KINDS = ("process", "pool", "ray")


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


def evaluator(config: Any) -> Callable[..., Any]:
    """Reads `config.evaluate`: kind, workers, timeout_s (0 for none), retries, address.

    Raises:
      ConfigError: a value out of range.
      ImportError: Ray is asked for and absent; names the extra.
    """
    kind = check_choice(config, "evaluate.kind", KINDS)
    workers = check_int(config, "evaluate.workers", low=1)
    timeout_s = check_float(config, "evaluate.timeout_s", low=0.0) or float("inf")
    retries = check_int(config, "evaluate.retries", low=0)
    if kind == "process":
        if timeout_s < float("inf"):
            raise ConfigError(
                "evaluate.timeout_s", "0 with evaluate.kind=process, which can stop nothing",
                timeout_s,
            )  # fmt: skip
        return evaluate.InProcess
    if kind == "pool":
        return functools.partial(
            evaluate.pool, workers=workers, timeout_s=timeout_s, retries=retries
        )
    ray_cluster.require()
    return functools.partial(
        ray_cluster.connect, workers=workers, timeout_s=timeout_s, retries=retries,
        address=config.evaluate.address,
    )  # fmt: skip
