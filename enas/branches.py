"""One branch of several, chosen by an array, at about the price of that branch alone.

The gradient of `jax.lax.switch` keeps what every branch would need for its own gradient, with zeros
for the branches that were not taken: for the six operations of a layer that costs more than the
operation itself. Here branches share the places in which they keep things: as many of a shape as
the neediest branch has, and none for what the branch was given. Within a branch only the results of
convolutions (or whatever is `kept`) are kept, and what is elementwise is computed again.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.extend import core
from jaxtyping import Array

PyTree = Any
Branch = Callable[..., PyTree]
Slot = tuple[tuple[int, ...], Any]  # shape and dtype

_KEPT = "enas_kept"


def kept(array: Array) -> Array:
    """Marks an array inside a branch as worth keeping for the gradient."""
    return checkpoint_name(array, _KEPT)


def switch(index: Any, branches: Sequence[Branch], *operands: PyTree) -> PyTree:
    """`branches[index](*operands)`, of which no other branch runs, forward or backward.

    Operands that a branch does not read get gradients of exactly zero, so give each branch its own
    weights as an operand of its own. Branches close over nothing that is traced. Gradients are of
    the first order, in reverse mode. Under `jax.vmap` over the index all branches run, and the
    results are selected.

    Args:
        index: scalar; a Python or NumPy integer calls that branch directly (the others are not
            even compiled), an integer or bool array chooses when the program runs. Where it is out
            of range the nearest branch runs.
        branches: functions of the operands, with results of the same structure, shapes and dtypes.
        *operands: pytrees of arrays; those of floats get gradients.

    Raises:
        ValueError: there are no branches, or a constant index is none of them.
        TypeError: the branches' results differ (from `jax.lax.switch`).
    """
    if not branches:
        raise ValueError("branches: expected at least one, got none")
    if not isinstance(index, jax.Array):
        if not 0 <= int(index) < len(branches):
            raise ValueError(f"index: expected one of {len(branches)} branches, got {int(index)}")
        return branches[int(index)](*operands)
    flat, tree = jax.tree.flatten(operands)
    flat = [jnp.asarray(leaf) for leaf in flat]
    floats = tuple(jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in flat)
    given = [leaf for leaf, is_float in zip(flat, floats, strict=True) if is_float]
    others = [leaf for leaf, is_float in zip(flat, floats, strict=True) if not is_float]
    functions = tuple(_of_leaves(branch, tree, floats) for branch in branches)
    return _switch(functions, jnp.asarray(index, jnp.int32), others, given)


def _of_leaves(branch: Branch, tree: Any, floats: tuple[bool, ...]) -> Branch:
    def function(others: list[Array], *given: Array) -> PyTree:
        of_given, of_others = iter(given), iter(others)
        flat = [next(of_given if is_float else of_others) for is_float in floats]
        return branch(*jax.tree.unflatten(tree, flat))

    return function


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _switch(
    functions: tuple[Branch, ...], index: Array, others: list[Array], given: list[Array]
) -> PyTree:
    taken = [lambda others, given, f=f: f(others, *given) for f in functions]
    return jax.lax.switch(index, taken, others, given)


class _Trace(NamedTuple):
    """A branch's forward pass: outputs, then what its gradient needs."""

    jaxpr: core.ClosedJaxpr
    output: Any  # structure of the result
    gradient: Any  # structure of the function that makes gradients
    sources: tuple[tuple[str, int], ...]  # of each leaf of it: an input, an output or a slot
    fresh: tuple[int, ...]  # which leaves take slots
    slots: tuple[Slot, ...]  # their shapes


def _trace(function: Branch, others: list[Array], given: list[Array]) -> _Trace:
    policy = jax.checkpoint_policies.save_only_these_names(_KEPT)
    lean = jax.checkpoint(function, policy=policy, prevent_cse=False)

    def forward(others: list[Array], given: list[Array]) -> tuple[PyTree, PyTree]:
        return jax.vjp(functools.partial(lean, others), *given)

    closed, (output, gradient) = jax.make_jaxpr(forward, return_shape=True)(others, given)
    outputs = len(jax.tree.leaves(output))
    results, kept = closed.jaxpr.outvars[:outputs], closed.jaxpr.outvars[outputs:]
    known = {id(var): ("output", at) for at, var in enumerate(results)}
    known |= {id(var): ("input", at) for at, var in enumerate(closed.jaxpr.invars)}
    sources: list[tuple[str, int]] = []
    fresh: list[int] = []
    slots: list[Slot] = []
    for place, var in enumerate(kept):
        if id(var) not in known:
            known[id(var)] = ("slot", len(slots))
            fresh.append(place)
            slots.append((tuple(var.aval.shape), var.aval.dtype))
        sources.append(known[id(var)])
    return _Trace(
        closed,
        jax.tree.structure(output),
        jax.tree.structure(gradient),
        tuple(sources),
        tuple(fresh),
        tuple(slots),
    )


def _shared(traces: Sequence[_Trace]) -> list[Slot]:
    """The slots that any branch fits in: of each shape, as many as the neediest branch has."""
    most: Counter[Slot] = Counter()
    for trace in traces:
        most |= Counter(trace.slots)
    return list(most.elements())


def _places(slots: Sequence[Slot], shared: Sequence[Slot]) -> list[int]:
    """Where each of a branch's slots stands among the shared ones."""
    left: dict[Slot, list[int]] = {}
    for place, slot in enumerate(shared):
        left.setdefault(slot, []).append(place)
    return [left[slot].pop(0) for slot in slots]


@jax.tree_util.register_static
class _Traces(tuple[_Trace, ...]):
    """The traces of all branches, as a constant among what is kept."""

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other


def _forward(
    functions: tuple[Branch, ...], index: Array, others: list[Array], given: list[Array]
) -> tuple[PyTree, tuple[Any, ...]]:
    traces = _Traces(_trace(function, others, given) for function in functions)
    shared = _shared(traces)

    def of(trace: _Trace) -> Branch:
        places = _places(trace.slots, shared)

        def branch(inputs: list[Array]) -> tuple[PyTree, list[Array]]:
            found = core.jaxpr_as_fun(trace.jaxpr)(*inputs)
            outputs, leaves = found[: trace.output.num_leaves], found[trace.output.num_leaves :]
            slots = [leaves[at] for at in trace.fresh]
            by_place = dict(zip(places, slots, strict=True))
            filled = [
                by_place[place] if place in by_place else jnp.zeros(*slot)
                for place, slot in enumerate(shared)
            ]
            return jax.tree.unflatten(trace.output, outputs), filled

        return branch

    inputs = [*others, *given]
    output, slots = jax.lax.switch(index, [of(trace) for trace in traces], inputs)
    uses_output = any(kind == "output" for trace in traces for kind, _ in trace.sources)
    outputs = jax.tree.leaves(output) if uses_output else []
    return output, (traces, index, inputs, outputs, slots)


def _backward(
    functions: tuple[Branch, ...], residuals: tuple[Any, ...], grad: PyTree
) -> tuple[None, None, list[Array]]:
    del functions
    traces, index, inputs, outputs, slots = residuals
    shared = _shared(traces)

    def of(trace: _Trace) -> Branch:
        places = _places(trace.slots, shared)

        def branch(
            inputs: list[Array], outputs: list[Array], slots: list[Array], grad: PyTree
        ) -> list[Array]:
            own = [slots[place] for place in places]
            kinds = {"input": inputs, "output": outputs, "slot": own}
            leaves = [kinds[kind][at] for kind, at in trace.sources]
            return list(jax.tree.unflatten(trace.gradient, leaves)(grad))

        return branch

    grads = jax.lax.switch(index, [of(trace) for trace in traces], inputs, outputs, slots, grad)
    return None, None, grads


_switch.defvjp(_forward, _backward)
