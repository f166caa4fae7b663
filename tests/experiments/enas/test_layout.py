"""Where the nodes and edges of a drawn graph lie."""

import itertools

import pytest

from enas.supernet import Graph
from experiments.enas.layout import Layout, layered
from tests.experiments.enas.graphs import cell, network, recurrent

GAP = 0.5


def laid(graph: Graph) -> Layout:
    return layered(graph, node_width=len, label_width=lambda label: len(label) / 2, gap=GAP)


def graph(nodes: str, *edges: str) -> Graph:
    """`graph("abc", "ab", "bc:label")`."""
    parts = [edge.partition(":") for edge in edges]
    ends = tuple((name[0], name[1], label) for name, _, label in parts)
    return Graph({name: name for name in nodes}, ends)


@pytest.mark.parametrize("make", [network, recurrent, cell])
@pytest.mark.parametrize("seed", range(5))
def test_edges_lead_down_through_every_layer_and_nothing_overlaps(make, seed):
    drawn = make(seed)
    found = laid(drawn)
    places = {*found.nodes.values()}
    for (source, target, label), route in zip(drawn.edges, found.routes, strict=True):
        assert (route.source, route.target, route.label) == (source, target, label)
        assert route.places[0] == found.nodes[source]
        assert route.places[-1] == found.nodes[target]
        layers = [place.layer for place in route.places]
        assert layers == [*range(layers[0], layers[-1] + 1)]
        assert len(layers) > 1
        places |= {*route.places}
    for layer in range(found.layers):
        row = sorted(place for place in places if place.layer == layer)
        assert row
        for left, right in itertools.pairwise(row):
            assert right.x - left.x >= (left.width + right.width) / 2 + GAP - 1e-9
    assert min(place.x - place.width / 2 for place in places) == pytest.approx(0.0)
    assert max(place.x + place.width / 2 for place in places) == pytest.approx(found.width)


def test_a_node_lies_below_all_that_enter_it():
    found = laid(graph("abcd", "ab", "bc", "ac", "ad"))
    assert [found.nodes[name].layer for name in "abcd"] == [0, 1, 2, 1]
    assert found.layers == 3


def test_labels_have_a_place_of_their_own_above_the_node_that_the_edge_enters():
    found = laid(graph("abc", "ab:one", "ab:three", "bc", "ac:x"))
    assert found.nodes["b"].layer == 2
    one, three, plain, long = found.routes
    assert plain.at is None
    assert one.places[one.at].layer == three.places[three.at].layer == 1
    assert one.places[one.at].x != three.places[three.at].x
    assert three.places[three.at].width == 2.5
    assert long.places[long.at].layer == found.nodes["c"].layer - 1


def test_the_edges_of_a_node_share_their_way():
    found = laid(graph("abcde", "ab", "bc", "cd", "de", "ad", "ae"))
    near, far = found.routes[4:]
    assert far.places[:3] == near.places[:3]
    assert len({place for route in found.routes for place in route.places}) == 5 + 3


def test_edges_do_not_cross_where_they_need_not():
    found = laid(graph("abcdef", "ad", "bc", "ce", "df"))
    x = {name: place.x for name, place in found.nodes.items()}
    assert (x["a"] < x["b"]) == (x["d"] < x["c"]) == (x["f"] < x["e"])


def test_a_chain_is_straight_and_a_node_stands_between_its_own():
    found = laid(graph("abc", "ab", "bc"))
    assert len({round(place.x, 6) for place in found.nodes.values()}) == 1
    found = laid(graph("abcd", "ab", "ac", "ad"))
    middle = sorted(place.x for name, place in found.nodes.items() if name != "a")[1]
    assert found.nodes["a"].x == pytest.approx(middle)
    found = laid(graph("abcd", "ab", "ac", "bd"))
    assert found.nodes["d"].x == pytest.approx(found.nodes["b"].x, abs=1e-3)


@pytest.mark.parametrize("edge", ["ba", "aa", "az", "za"])
def test_an_edge_leads_from_a_node_to_a_later_one(edge):
    with pytest.raises(ValueError, match=f"to a later one, {edge[0]}->{edge[1]}"):
        laid(graph("abc", edge))
