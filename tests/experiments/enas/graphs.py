"""Graphs in the shapes that the three spaces give, drawn at random."""

import numpy as np

from enas.supernet import Graph

OPERATIONS = ("conv3", "conv5", "sep3", "sep5", "max3", "avg3")


def network(seed: int, layers: int = 12, skips: float = 0.4) -> Graph:
    """A stem, layers with skip connections, a head."""
    rng = np.random.default_rng(seed)
    nodes = {"stem": "stem"}
    edges = [("stem", "layer1", "")]
    for layer in range(1, layers + 1):
        nodes[f"layer{layer}"] = str(rng.choice(OPERATIONS))
        if layer > 1:
            edges.append((f"layer{layer - 1}", f"layer{layer}", ""))
        taken = [each for each in range(1, layer - 1) if rng.random() < skips]
        edges += [(f"layer{each}", f"layer{layer}", "") for each in taken]
    return Graph(nodes | {"head": "head"}, (*edges, (f"layer{layers}", "head", "")))


def recurrent(seed: int, nodes: int = 12) -> Graph:
    """Two inputs, a tree of nodes, the average of its loose ends."""
    rng = np.random.default_rng(seed)
    taken = [int(rng.integers(1, node)) for node in range(2, nodes + 1)]
    labels = {str(node): str(rng.choice(["tanh", "relu"])) for node in range(1, nodes + 1)}
    edges = [("x", "1", ""), ("h", "1", "")]
    edges += [(str(each), str(node), "") for node, each in enumerate(taken, start=2)]
    loose = [node for node in range(1, nodes + 1) if node not in taken]
    edges += [(str(node), "average", "") for node in loose]
    return Graph({"x": "x_t", "h": "h_{t-1}", **labels, "average": "average"}, tuple(edges))


def cell(seed: int, nodes: int = 7) -> Graph:
    """Two inputs, nodes with two operations each, the loose ends together."""
    rng = np.random.default_rng(seed)
    names = ["h[-2]", "h[-1]", *(str(node) for node in range(3, nodes + 1))]
    edges, taken = [], set()
    for node in range(2, nodes):
        for place in rng.integers(0, node, 2).tolist():
            taken.add(place)
            edges.append((names[place], names[node], str(rng.choice(OPERATIONS))))
    edges += [(names[node], "output", "") for node in range(2, nodes) if node not in taken]
    return Graph({name: name for name in names} | {"output": "concatenated"}, tuple(edges))
