"""The evaluator that a search's config asks for: in this process, a pool, or a Ray cluster."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from experiments.runner.config import ConfigError, check_choice, check_float, check_int
from search import evaluate, ray_cluster

KINDS = ("process", "pool", "ray")


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
