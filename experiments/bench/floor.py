"""What this machine reaches on plain operations, timed in this process.

A matrix product, a copy, and a few functions of one element. `parallel.roofline` turns a program's
cost into the time that it would take at these rates if nothing else took any.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from parallel.roofline import Rates


def measure(*, repeat: int = 10, tiny: bool = False) -> Rates:
    """Measures the rates, each the best of `repeat` runs over several sizes.

    Args:
        repeat: runs of each size.
        tiny: small sizes, for tests: fast and meaningless.
    """
    import jax
    import jax.numpy as jnp

    powers = (10,) if tiny else (16, 17, 18, 19, 20)
    sides = (64,) if tiny else (1024, 2048)
    large = 1 << (12 if tiny else 24)

    def rate(function: Callable[..., Any], work: float, *args: Any) -> float:
        return work / best_time(function, *args, repeat=repeat)

    def matrix(side: int) -> float:
        ones = jnp.ones((side, side), jnp.float32)
        return rate(jnp.matmul, 2.0 * side**3, ones, ones)

    def over_sizes(function: Callable[..., Any]) -> float:
        arguments = [jnp.linspace(0.5, 2.0, 1 << power) for power in powers]
        return max(rate(function, argument.size, argument) for argument in arguments)

    def bits(power: int) -> float:
        size = 1 << power
        return rate(lambda key: jax.random.bits(key, (size,)), size, jax.random.key(0))

    vector = jnp.ones((large,), jnp.float32)
    return Rates(
        matrix=max(matrix(side) for side in sides),
        copy=rate(jnp.copy, 2.0 * vector.nbytes, vector),
        functions={
            "tanh": over_sizes(jnp.tanh),
            "exp": over_sizes(jnp.exp),
            "log": over_sizes(jnp.log),
            "division": over_sizes(lambda x: 1.5 / x),
            "square root": over_sizes(jnp.sqrt),
            "random bits": max(bits(power) for power in powers),
        },
    )


def best_time(function: Callable[..., Any], *args: Any, repeat: int) -> float:
    """Returns the shortest of `repeat` compiled runs, in seconds."""
    import jax

    compiled = jax.jit(function).lower(*args).compile()
    jax.block_until_ready(compiled(*args))
    best = math.inf
    for _ in range(repeat):
        start = time.perf_counter()
        jax.block_until_ready(compiled(*args))
        best = min(best, time.perf_counter() - start)
    return best
