"""The floor under a kernel's time: what this machine reaches on plain operations.

`measure` times plain operations in this process: a matrix product, a copy, and a few functions of
one element. `lower_bound` turns a program's cost into the time that the same operations would take
at those rates if nothing else took any. It is a roofline lower bound:

    max(arithmetic, memory)
    arithmetic = matrix FLOPs / matrix rate + sum over functions of elements / the function's rate
    memory     = bytes of the program's arguments and results / copy rate

Additions, multiplications, comparisons, movement inside the program, and the start of each
operation are free in it, so a program comes near its floor only if it fuses all of them away. The
arithmetic terms add up because matrix products and functions use the same units of the processor.
A function that is not measured counts at the rate of the fastest one that is.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from parallel.jaxpr import Cost

MATRIX = ("dot_general", "conv_general_dilated")
# Primitives by the measured function that stands for them. `rem` divides, and a root takes about
# as long as another.
MEASURED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "tanh": ("tanh", "logistic"),
        "exp": ("exp", "exp2", "expm1"),
        "log": ("log", "log1p", "log2"),
        "division": ("div", "rem"),
        "square root": ("sqrt", "rsqrt", "cbrt"),
        "random bits": ("random_bits",),
    }
)


class Rates(NamedTuple):
    """What this machine reaches.

    Attributes:
        matrix: FLOP/s of a float32 matrix product.
        copy: bytes/s read and written by a copy that does not fit in the caches.
        functions: elements/s of each of `MEASURED`, float32 or 32 random bits.
    """

    matrix: float
    copy: float
    functions: Mapping[str, float]


class Floor(NamedTuple):
    """Lower bound on a program's time.

    Attributes:
        seconds: the bound.
        parts: seconds of each part, by its name; the memory part overlaps with the others.
    """

    seconds: float
    parts: Mapping[str, float]


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


def lower_bound(cost: Cost, rates: Rates) -> Floor:
    """Returns the floor of a program with this cost; see the head of this module."""
    parts = {"matrix": sum(_flops(cost, name) for name in MATRIX) / rates.matrix}
    named = {name for names in MEASURED.values() for name in names}
    for function, names in MEASURED.items():
        elements = sum(cost.primitives[name].elements for name in names if name in cost.primitives)
        parts[function] = elements / rates.functions[function]
    others = sum(
        work.transcendentals for name, work in cost.primitives.items() if name not in named
    )
    parts["other functions"] = others / max(
        rates.functions[name] for name in ("tanh", "exp", "log", "square root")
    )
    arithmetic = sum(parts.values())
    parts["memory"] = (cost.argument_bytes + cost.result_bytes) / rates.copy
    return Floor(max(arithmetic, parts["memory"]), parts)


def _flops(cost: Cost, name: str) -> int:
    return cost.primitives[name].flops if name in cost.primitives else 0
