"""A roofline lower bound on a program's time, from its cost and a machine's rates.

    max(arithmetic, memory)
    arithmetic = matrix FLOPs / matrix rate + sum over functions of elements / the function's rate
    memory     = bytes of the program's arguments and results / copy rate

Additions, multiplications, comparisons, movement inside the program, and the start of each
operation are free in it, so a program comes near its floor only if it fuses all of them away. The
arithmetic terms add up because matrix products and functions use the same units of the processor.
A function that is not measured counts at the rate of the fastest one that is.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

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


def lower_bound(cost: Cost, rates: Rates) -> Floor:
    """The floor of a program with this cost, by the formula at the head of this module."""
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
