"""Shows an architecture: its nodes in words, the size of its space, its parameters, its picture."""

from __future__ import annotations

import decimal
import math
from pathlib import Path
from typing import Any

import jax
import numpy as np

from enas import decisions
from enas.decisions import Decisions
from enas.supernet import Graph, Supernet
from experiments.enas import figures
from experiments.report.figures import pyplot

MOST = 10**6  # architectures that are counted one by one, where choices depend on each other


def show(supernet: Supernet, choices: np.ndarray, path: Path | None = None) -> str:
    """An architecture in words; draws it too where `path` says so.

    Args:
        supernet: its space, of which no weights are made.
        choices: int32 `[decisions]`.
        path: of the picture; its suffix is the format (.png, .svg, .pdf).

    Returns:
        Lines: the one that `enas.decisions.parse` reads, the nodes of each graph with what they
        take, how many architectures the space has, and the parameters of the child.

    Raises:
        ValueError: these are not choices of the space.
        ImportError: matplotlib is absent, and there is a `path`.
    """
    line = decisions.line(supernet.decisions, choices)
    graphs = supernet.graphs(choices)
    if path is not None:
        pyplot()  # says what is missing
        figures.draw_graphs(graphs, path)
    parts = [line, *(f"\n{title}\n{_listed(graph)}" for title, graph in graphs.items())]
    parts.append(f"\narchitectures in the space: {_count(supernet.decisions)}")
    parts.append(f"parameters of this one: {parameters(supernet, choices):,}")
    return "\n".join(parts)


def parameters(supernet: Supernet, choices: np.ndarray) -> int:
    """How many weights a child has, from their shapes alone."""

    def child(key: Any) -> Any:
        return supernet.restrict(supernet.init(key), choices)

    made = jax.eval_shape(child, jax.random.key(0))
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(made))


def _listed(graph: Graph) -> str:
    """A line a node: what it is, and what it takes, with the operation on it in brackets."""
    names = {name: figures.words(graph, name) for name in graph.nodes}
    width = max(map(len, names.values()))
    lines = []
    for name, said in names.items():
        entering = [
            f"{source} ({label})" if label else source
            for source, target, label in graph.edges
            if target == name
        ]
        lines.append(f"  {said:{width}}  from {', '.join(entering)}" if entering else f"  {said}")
    return "\n".join(lines)


def _count(space: Decisions) -> str:
    try:
        number = decisions.count(space, most=MOST)
    except ValueError:
        return f"more than {MOST:,}"
    return f"{number:,}" if number < 10**9 else f"{decimal.Decimal(number):.2e}"
