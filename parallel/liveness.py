"""How many bytes of arrays a program holds at once, from its jaxpr alone.

The operations run in the program's order, each result is made when its operation runs, and goes
after its last use. Nothing is compiled, so a program for a machine that is not here costs as little
to ask about as a small one. What a compiler changes is left out: fusion holds less (an elementwise
chain needs no arrays between its operations, and a derivative such as 1 - tanh^2 is made again
rather than kept), a library's workspaces hold more. A gradient's peak is up to twice the
compiler's.
"""

from __future__ import annotations

from typing import Any

from jax.extend import core

from parallel import operations
from parallel.jaxpr import Jaxpr, subprograms

# Views of their operand, or made where they are read by any compiler.
_VIEWS = frozenset(
    {
        "bitcast_convert_type",
        "expand_dims",
        "name",
        "optimization_barrier",
        "reshape",
        "sharding_constraint",
        "squeeze",
        "stop_gradient",
    }
)
_MADE_WHERE_READ = frozenset({"broadcast_in_dim", "iota"})


def peak_bytes(jaxpr: Jaxpr) -> int:
    """Most bytes of intermediate arrays and results that are alive at once.

    Arguments are the caller's and are not among them: they add `Cost.argument_bytes`. What runs
    inside (jit, cond, while, custom gradients) is counted while it runs; of branches, the largest.
    A scan holds its stacked results and one iteration.

    Args:
        jaxpr: open, as `parallel.jaxpr.trace` gives it.

    >>> import jax, jax.numpy as jnp
    >>> from parallel.jaxpr import trace
    >>> row = jax.ShapeDtypeStruct((256,), jnp.float32)
    >>> peak_bytes(trace(lambda x: jnp.tanh(jnp.sin(jnp.cos(x))), row))  # two at a time
    2048
    >>> peak_bytes(trace(lambda x: (y := jnp.cos(x), jnp.tanh(jnp.sin(y))), row))
    3072
    """
    return _peak(jaxpr, {})


def _peak(jaxpr: Jaxpr, known: dict[int, int]) -> int:
    if id(jaxpr) in known:  # a function that is called often has one jaxpr
        return known[id(jaxpr)]
    roots: dict[Any, Any] = {}

    def root(var: Any) -> Any:
        return roots.get(var, var)

    mine: set[Any] = set()
    last: dict[Any, int] = {}
    for place, equation in enumerate(jaxpr.eqns):
        name = operations.primitive_name(equation)
        used = [root(var) for var in equation.invars if not isinstance(var, core.Literal)]
        last.update(dict.fromkeys(used, place))
        if name in _VIEWS and used:
            # `optimization_barrier` has several operands, each of them a view of its own.
            operands = [var for var in equation.invars if not isinstance(var, core.Literal)]
            pairs = zip(equation.outvars, operands, strict=False)
            roots.update({out: root(var) for out, var in pairs})
        elif name not in _MADE_WHERE_READ:
            mine.update(equation.outvars)
            last.update(dict.fromkeys(equation.outvars, place))
    ends = [root(var) for var in jaxpr.outvars if not isinstance(var, core.Literal)]
    last.update(dict.fromkeys(ends, len(jaxpr.eqns)))
    leaving: dict[int, list[Any]] = {}
    for var, place in last.items():
        if var in mine:
            leaving.setdefault(place, []).append(var)
    live = peak = 0
    for place, equation in enumerate(jaxpr.eqns):
        inner = subprograms(equation)
        inside = max((_peak(each.jaxpr, known) for each in inner), default=0)
        made = sum(operations.nbytes(var.aval) for var in equation.outvars if var in mine)
        looped = bool(inner) and inner[0].kind == "scan"
        peak = max(peak, live + (inside + made if looped else max(inside, made)))
        live += made - sum(operations.nbytes(var.aval) for var in leaving.get(place, ()))
    known[id(jaxpr)] = peak
    return peak
