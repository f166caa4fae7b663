"""Places for the nodes and edges of an acyclic graph, drawn in layers from top to bottom.

Sugiyama's method: a node's layer is the length of the longest path to it; where an edge passes a
layer it has a place there, which the edges of one node share; places are ordered within layers so
that few edges cross (means of neighbours, in sweeps), and moved sideways to where their neighbours
are, without losing their order or their distance. The label of an edge is a place of its own, in
the layer above the node that it leads to.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from enas.supernet import Graph

_SWEEPS = 24
# How much an edge pulls its ends together: long ones shall be straight.
_PULL = {(True, True): 8.0, (True, False): 1.0, (False, True): 1.0, (False, False): 8.0}


class Place(NamedTuple):
    """Where something lies.

    Attributes:
        x: of its middle, rightwards.
        layer: from 0, downwards.
        width: as given.
    """

    x: float
    layer: int
    width: float


class Route(NamedTuple):
    """The way of an edge.

    Attributes:
        source: name of the node that it leaves.
        target: of the node that it enters.
        places: what it passes, both ends included.
        label: "" for none.
        at: which of the places has the label; `None` without one.
    """

    source: str
    target: str
    places: tuple[Place, ...]
    label: str
    at: int | None


class Layout(NamedTuple):
    """A graph that can be drawn; `x` begins at 0.

    Attributes:
        nodes: place by name.
        routes: in the order of the graph's edges.
        width: from the leftmost side to the rightmost.
        layers: how many.
    """

    nodes: dict[str, Place]
    routes: tuple[Route, ...]
    width: float
    layers: int


Key = tuple[object, ...]  # of a place: ("node", name), ("pass", source, layer) or ("label", edge)


def layered(
    graph: Graph,
    *,
    node_width: Callable[[str], float],
    label_width: Callable[[str], float],
    gap: float = 0.3,
) -> Layout:
    """Places for all of a graph.

    Args:
        graph: its nodes in topological order.
        node_width: of a node, by its name.
        label_width: of an edge's label.
        gap: between neighbours of a layer.

    Raises:
        ValueError: an edge's end is not a node, or it leads upwards in the order of the nodes.
    """
    ranks = _ranks(graph)
    chains = [_chain(place, edge, ranks) for place, edge in enumerate(graph.edges)]
    widths: dict[Key, float] = {("node", name): node_width(name) for name in graph.nodes}
    layer: dict[Key, int] = {("node", name): ranks[name] for name in graph.nodes}
    for (source, _, label), chain in zip(graph.edges, chains, strict=True):
        for step, key in enumerate(chain):
            widths.setdefault(key, label_width(label) if key[0] == "label" else 0.0)
            layer.setdefault(key, ranks[source] + step)
    pairs = list(dict.fromkeys(pair for chain in chains for pair in itertools.pairwise(chain)))
    rows = _ordered(layer, pairs)
    x = _moved(rows, pairs, widths, gap)
    left = min(x[key] - widths[key] / 2 for key in x)
    places = {key: Place(x[key] - left, layer[key], widths[key]) for key in x}
    routes = tuple(
        Route(
            source,
            target,
            tuple(places[key] for key in chain),
            label,
            len(chain) - 2 if label else None,
        )
        for (source, target, label), chain in zip(graph.edges, chains, strict=True)
    )
    return Layout(
        {name: places["node", name] for name in graph.nodes},
        routes,
        max(place.x + place.width / 2 for place in places.values()),
        1 + max(layer.values()),
    )


def _ranks(graph: Graph) -> dict[str, int]:
    order = {name: place for place, name in enumerate(graph.nodes)}
    for source, target, _ in graph.edges:
        if not order.get(source, len(order)) < order.get(target, -1):
            raise ValueError(f"edges: expected them from a node to a later one, {source}->{target}")
    ranks = dict.fromkeys(graph.nodes, 0)
    for name in graph.nodes:
        entering = [edge for edge in graph.edges if edge[1] == name]
        ranks[name] = max((ranks[edge[0]] + 1 + bool(edge[2]) for edge in entering), default=0)
    return ranks


def _chain(number: int, edge: tuple[str, str, str], ranks: Mapping[str, int]) -> list[Key]:
    source, target, label = edge
    passed: list[Key] = [("pass", source, rank) for rank in range(ranks[source] + 1, ranks[target])]
    if label:
        passed[-1] = ("label", number)
    return [("node", source), *passed, ("node", target)]


def _neighbours(pairs: Sequence[tuple[Key, Key]]) -> tuple[dict[Key, list[Key]], ...]:
    above: dict[Key, list[Key]] = {}
    below: dict[Key, list[Key]] = {}
    for upper, lower in pairs:
        above.setdefault(lower, []).append(upper)
        below.setdefault(upper, []).append(lower)
    return above, below


def _ordered(layer: Mapping[Key, int], pairs: Sequence[tuple[Key, Key]]) -> list[list[Key]]:
    """The places of each layer from left to right: the order with the fewest crossings seen."""
    rows: list[list[Key]] = [[] for _ in range(1 + max(layer.values()))]
    for key in layer:  # nodes first, then what passes: to their right
        rows[layer[key]].append(key)
    above, below = _neighbours(pairs)
    best, fewest = [list(row) for row in rows], _crossings(rows, below)
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        beside = above if down else below
        for number in range(1, len(rows)) if down else range(len(rows) - 2, -1, -1):
            fixed = {key: at for at, key in enumerate(rows[number - 1 if down else number + 1])}
            own = {key: at for at, key in enumerate(rows[number])}
            means = {
                key: np.mean([fixed[each] for each in beside.get(key, ())] or [own[key]])
                for key in own
            }
            rows[number].sort(key=means.__getitem__)
        crossed = _crossings(rows, below)
        if crossed < fewest:
            best, fewest = [list(row) for row in rows], crossed
    return best


def _crossings(rows: Sequence[Sequence[Key]], below: Mapping[Key, Sequence[Key]]) -> int:
    found = 0
    for upper, lower in itertools.pairwise(rows):
        place = {key: at for at, key in enumerate(lower)}
        ends = [sorted(place[each] for each in below.get(key, ())) for key in upper]
        flat = [end for each in ends for end in each]
        found += sum(a > b for at, a in enumerate(flat) for b in flat[at + 1 :])
    return found


def _moved(
    rows: Sequence[Sequence[Key]],
    pairs: Sequence[tuple[Key, Key]],
    widths: Mapping[Key, float],
    gap: float,
) -> dict[Key, float]:
    """The middle of each place: as near to its neighbours as the order of its layer allows."""
    x: dict[Key, float] = {}
    offsets = []
    for row in rows:
        steps = [(widths[a] + widths[b]) / 2 + gap for a, b in itertools.pairwise(row)]
        offset = np.cumsum([0.0, *steps])
        offsets.append(offset)
        x |= dict(zip(row, offset - offset[-1] / 2, strict=True))
    above, below = _neighbours(pairs)
    for sweep in range(4 * _SWEEPS):
        order = range(len(rows)) if sweep % 2 == 0 else range(len(rows) - 1, -1, -1)
        for row, offset in ((rows[number], offsets[number]) for number in order):
            wanted, weights = [], []
            for key in row:
                near = [*above.get(key, ()), *below.get(key, ())]
                pulls = [_PULL[key[0] == "node", each[0] == "node"] for each in near]
                pull = sum(pulls)
                wanted.append(np.dot(pulls, [x[each] for each in near]) / pull if pull else x[key])
                weights.append(pull or 1.0)
            kept = _increasing(np.array(wanted) - offset, np.array(weights)) + offset
            x |= dict(zip(row, kept.tolist(), strict=True))
    return x


def _increasing(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The nearest sequence, by weighted squares, that never falls (pooled adjacent violators)."""
    pools: list[tuple[float, float, int]] = []
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        pools.append((value, weight, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (a, u, m), (b, v, n) = pools[-2:]
            pools[-2:] = [((a * u + b * v) / (u + v), u + v, m + n)]
    return np.repeat([pool[0] for pool in pools], [pool[2] for pool in pools])
