"""One walker over jaxprs, and the cost of a program that it adds up.

`walk` visits every equation of a program in order, containers (jit, scan, cond, checkpoint,
shard_map, ...) before what they hold, and tells how many times each one runs and the path of
containers around it. `cost` is its first user: floating-point operations, transcendental functions
and bytes of a function, from shapes alone. Nothing is computed or compiled, so a program for a
machine that is not here costs as little to ask about as a small one.

What is counted:

- An operation on elements, comparisons and selects included, is one FLOP for each element of its
  result, as in XLA's own cost analysis; the transcendental ones are counted apart. A multiply-add
  is two.
- `dot_general` and `conv_general_dilated` are exact: a convolution does not count the products with
  padding or with the zeros of a dilated input, so that its gradient costs what it must.
- A reduction of n elements to m is n - m. Moving or converting data (gather, slice, transpose,
  cast) is none; a scatter that adds is one for each update.
- Bytes are those of each operation's operands and results, once each: what a program without any
  fusion or cache would move, an upper bound. A slice or gather reads only what it returns, an
  update in place writes only the update, and a reshape moves nothing. `argument_bytes +
  result_bytes` is the matching lower bound.
- Dead code is removed first, since XLA does so.
- A scan counts its body `length` times. A while loop's trips are unknown: its body and condition
  count once, and its path is listed in `unbounded_loops`. Of a cond the most costly branch counts.
- Under `shard_map` the body counts once for each device: costs are of the whole program, not of one
  device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
from jax.extend import core
from jax.interpreters import partial_eval

from parallel import operations

Jaxpr = Any  # jax.extend.core.Jaxpr, or ClosedJaxpr where the version of jax still has both
Equation = core.JaxprEqn


class Subprogram(NamedTuple):
    """A jaxpr that an equation runs.

    Attributes:
        jaxpr: the open jaxpr.
        times: how often one run of the equation runs it; 1 for a while loop, whose trips are
            unknown.
        label: how it reads in a path, such as `jit(step)`, `scan[20]`, `cond.1`, `while.body`.
        kind: "call", "scan", "branch" (one of several, of which one runs), or "while".
    """

    jaxpr: Jaxpr
    times: int
    label: str
    kind: str


class Operation(NamedTuple):
    """An equation where it stands in a program.

    Attributes:
        equation: primitive, operands (`invars`), results (`outvars`), parameters.
        times: how often one run of the program runs it, a while loop counted once and every branch
            as if taken.
        path: labels of the containers around it, outermost first.
        subprograms: what it holds; empty for an operation that computes.
    """

    equation: Equation
    times: int
    path: tuple[str, ...]
    subprograms: tuple[Subprogram, ...]


class Work(NamedTuple):
    """What one primitive's operations add up to: runs, elements of results, and as in `Cost`."""

    calls: int = 0
    elements: int = 0
    flops: int = 0
    transcendentals: int = 0
    bytes_read: int = 0
    bytes_written: int = 0


class Cost(NamedTuple):
    """Cost of one run of a program, by the rules at the head of this module.

    Attributes:
        flops: arithmetic operations of any type, a multiply-add being two; the transcendental ones
            are not among them.
        transcendentals: elements of exponentials, logarithms, roots, powers, trigonometric and
            error functions.
        bytes_read, bytes_written: every operation's operands and results, unfused: upper bounds.
        argument_bytes, result_bytes: arguments and captured arrays that are used, and results:
            lower bounds.
        primitives: the same by primitive's name.
        unbounded_loops: paths of the while loops, whose bodies are counted once.
        unknown: names of primitives for which there is no rule: their bytes count, their FLOPs do
            not.
    """

    flops: int
    transcendentals: int
    bytes_read: int
    bytes_written: int
    argument_bytes: int
    result_bytes: int
    primitives: dict[str, Work]
    unbounded_loops: tuple[str, ...]
    unknown: tuple[str, ...]


def trace(function: Callable, *args: Any, **kwargs: Any) -> Jaxpr:
    """The open jaxpr of `function(*args, **kwargs)`, without dead code.

    Args:
        function: any function that jax can trace.
        *args: pytrees of arrays or of `jax.ShapeDtypeStruct`; only shapes and types matter. What
            must be static is bound beforehand (`functools.partial`).
        **kwargs: the same.
    """
    program = _open(jax.make_jaxpr(function)(*args, **kwargs))
    alive, _ = partial_eval.dce_jaxpr(program, [True] * len(program.outvars))
    return _open(alive)


def subprograms(equation: Equation) -> tuple[Subprogram, ...]:
    """The jaxprs that an equation runs; empty for an operation that computes."""
    name, params = operations.primitive_name(equation), equation.params
    if name == "scan":
        length = int(params["length"])
        return (Subprogram(_open(params["jaxpr"]), length, f"scan[{length}]", "scan"),)
    if name == "while":
        return tuple(
            Subprogram(_open(params[f"{part}_jaxpr"]), 1, f"while.{part}", "while")
            for part in ("cond", "body")
        )
    if name == "cond":
        return tuple(
            Subprogram(_open(branch), 1, f"cond.{index}", "branch")
            for index, branch in enumerate(params["branches"])
        )
    if name == "custom_linear_solve":  # the other three serve its derivatives
        return (Subprogram(_open(params["jaxprs"].solve), 1, name, "call"),)
    if name == "shard_map":
        devices = _manual_devices(params)
        return (Subprogram(_open(params["jaxpr"]), devices, f"shard_map[{devices}]", "call"),)
    if name in operations.SCALAR_BODIES or name == "pallas_call":
        return ()
    label = f"{name}({params['name']})" if "name" in params else name
    return tuple(Subprogram(_open(inner), 1, label, "call") for inner in _jaxprs(params))


def walk(
    jaxpr: Jaxpr,
    visit: Callable[[Operation], Iterable[Subprogram] | None],
    *,
    times: int = 1,
    path: tuple[str, ...] = (),
) -> None:
    """Calls `visit` on every equation, in the program's order, a container before what it holds.

    Args:
        jaxpr: open or closed.
        visit: given an `Operation`, returns None to go into all that it holds, or those
            `subprograms` to go into: `()` prunes, one branch of a cond selects it.
        times: how often the jaxpr runs.
        path: labels of the containers around it.

    >>> import jax.numpy as jnp
    >>> def iterate(x):
    ...     return jax.lax.scan(lambda carry, _: (jnp.sin(carry), None), x, None, length=3)[0]
    >>> walk(trace(iterate, 1.0), lambda op: print(op.equation.primitive.name, op.times, op.path))
    scan 1 ()
    sin 3 ('scan[3]',)
    """
    for equation in _open(jaxpr).eqns:
        operation = Operation(equation, times, path, subprograms(equation))
        chosen = visit(operation)
        for inner in operation.subprograms if chosen is None else chosen:
            walk(inner.jaxpr, visit, times=times * inner.times, path=(*path, inner.label))


def cost(function: Callable, *args: Any, **kwargs: Any) -> Cost:
    """Cost of `function(*args, **kwargs)` by abstract evaluation: nothing is computed.

    Args:
        function: any function that jax can trace.
        *args: pytrees of arrays or of `jax.ShapeDtypeStruct`.
        **kwargs: the same.

    >>> import jax.numpy as jnp
    >>> matrix = jax.ShapeDtypeStruct((4, 8), jnp.float32)
    >>> found = cost(lambda a: jnp.tanh(a @ a.T), matrix)
    >>> found.flops, found.transcendentals, found.argument_bytes, found.result_bytes
    (256, 16, 128, 64)
    """
    return jaxpr_cost(trace(function, *args, **kwargs))


def jaxpr_cost(jaxpr: Jaxpr) -> Cost:
    """Cost of a jaxpr as it stands, dead code included; see `Cost`."""
    jaxpr = _open(jaxpr)
    primitives: dict[str, Work] = {}
    loops: list[str] = []
    unknown: set[str] = set()

    def visit(operation: Operation) -> Iterable[Subprogram] | None:
        inner = operation.subprograms
        if not inner:
            name = operations.primitive_name(operation.equation)
            work = operations.work(operation.equation)
            if work is None:
                unknown.add(name)
                work = (0, 0)
            total = primitives.get(name, Work())
            primitives[name] = _add(total, operation.equation, work, operation.times)
            return ()
        if inner[0].kind == "while":
            loops.append("/".join((*operation.path, "while")))
        if inner[0].kind == "branch":
            return (max(inner, key=lambda branch: _weight(jaxpr_cost(branch.jaxpr))),)
        return inner

    walk(jaxpr, visit)
    inputs = (*jaxpr.constvars, *jaxpr.invars)
    totals = Work(*(sum(column) for column in zip(Work(), *primitives.values(), strict=True)))
    return Cost(
        flops=totals.flops,
        transcendentals=totals.transcendentals,
        bytes_read=totals.bytes_read,
        bytes_written=totals.bytes_written,
        argument_bytes=sum(operations.nbytes(var.aval) for var in inputs),
        result_bytes=sum(operations.nbytes(var.aval) for var in jaxpr.outvars),
        primitives=primitives,
        unbounded_loops=tuple(loops),
        unknown=tuple(sorted(unknown)),
    )


def _open(jaxpr: Jaxpr) -> Jaxpr:
    # From jax 0.11 on a closed jaxpr is a jaxpr too, and has no `jaxpr` of its own.
    return getattr(jaxpr, "jaxpr", jaxpr)


def _jaxprs(params: dict[str, Any]) -> Iterable[Jaxpr]:
    for value in params.values():
        for candidate in value if isinstance(value, (tuple, list)) else (value,):
            if hasattr(candidate, "eqns"):
                yield candidate


def _manual_devices(params: dict[str, Any]) -> int:
    sizes = params["mesh"].shape
    axes = next(
        (params[key] for key in ("newly_manual_axes", "manual_axes") if key in params), sizes
    )
    return math.prod(sizes[axis] for axis in axes)


def _weight(found: Cost) -> tuple[int, int]:
    return found.flops + found.transcendentals, found.bytes_read + found.bytes_written


def _add(total: Work, equation: Equation, work: tuple[int, int], times: int) -> Work:
    read, written = operations.traffic(equation)
    elements = sum(operations.size(var.aval) for var in equation.outvars)
    return Work(
        *(
            old + times * new
            for old, new in zip(total, (1, elements, *work, read, written), strict=True)
        )
    )
