"""What a search space hands over: its decisions, and one network that holds all of its children.

A child is the subgraph that an architecture selects. `Supernet.apply` takes the architecture as

- an int32 array: one compiled program serves every architecture, and runs only the operations that
  are chosen (`enas.branches`, or a row of a stack of weights);
- a NumPy array, a constant: the child alone is compiled, from the weights that `restrict` leaves.

Under `jax.vmap` over architectures a branch becomes a mixture by mask: every operation runs, on all
architectures at once (`Supernet.apply` is then the second form of evaluation, for ranking).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jaxtyping import Array

from enas.decisions import Decisions

PyTree = Any
Weights = Any  # {node: {operation: {name: array}}}, and stem, head, embedding beside the nodes


class Graph(NamedTuple):
    """A network or a cell to be drawn.

    Attributes:
        nodes: label of each node by its name, in topological order.
        edges: `(from, to)` names, with a label ("" for none) each.
    """

    nodes: Mapping[str, str]
    edges: tuple[tuple[str, str, str], ...]


class Supernet(NamedTuple):
    """A search space with its shared weights, as pure functions.

    Attributes:
        decisions: the space.
        init: `(key) -> weights`: of all children, addressable by node and operation, so that a
            supernet can be split.
        apply: `(weights, choices, inputs, *, train, key=None, averages=None) -> (outputs,
            averages)`: one child. `key` is for dropout, and `None` drops nothing. `averages` are
            those of batch normalization (`enas.normalization`): `None` normalises by the batch's
            own statistics, in training and evaluation alike, which is how children that share
            weights are compared.
        restrict: `(weights, choices NumPy) -> weights` of that child alone.
        graphs: `(choices NumPy) -> {title: Graph}`, to be drawn.
    """

    decisions: Decisions
    init: Callable[[Array], Weights]
    apply: Callable[..., tuple[Any, PyTree]]
    restrict: Callable[[Weights, Any], Weights]
    graphs: Callable[[Any], dict[str, Graph]]
