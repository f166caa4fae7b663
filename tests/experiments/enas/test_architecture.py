"""An architecture shown in words."""

import sys

import jax.numpy as jnp
import numpy as np
import pytest

from enas import decisions
from enas.decisions import Decision
from enas.spaces import rnn
from enas.supernet import Graph, Supernet
from experiments.enas import architecture


def supernet(space, *, pieces=2):
    """Each child keeps as many rows of the weights as its first choice says, from 1."""

    def graphs(choices):
        nodes = {"in": "in", "1": "conv3", "2": space[1].labels[choices[1]]}
        edges = (("in", "1", ""), ("1", "2", "sep5"), ("in", "2", ""))
        return {"cell": Graph(nodes, edges)}

    return Supernet(
        space,
        init=lambda key: {"head": {"b": jnp.zeros(())}, "1": {"w": jnp.zeros((pieces, 1000))}},
        apply=lambda *given, **rest: None,
        restrict=lambda weights, choices: {
            **weights,
            "1": {"w": weights["1"]["w"][: choices[0] + 1]},
        },
        graphs=graphs,
    )


SPACE = (Decision("1", ("one", "two")), Decision("2", ("conv3", "max3")))


def test_an_architecture_in_words():
    shown = architecture.show(supernet(SPACE), np.array([1, 1]))
    assert shown.splitlines() == [
        "1: two | 2: max3",
        "",
        "cell",
        "  in",
        "  1: conv3  from in",
        "  2: max3   from 1 (sep5), in",
        "",
        "architectures in the space: 4",
        "parameters of this one: 2,001",
    ]
    assert architecture.parameters(supernet(SPACE), np.array([0, 1])) == 1001


@pytest.mark.parametrize(
    ("decision", "places", "said"),
    [
        (Decision("1", ("one", "two")), 29, "536,870,912"),
        (Decision("1", tuple("abcdef")), 40, "1.34e+31"),
        (Decision("1", tuple("abcdef")), 500, "1.19e+389"),
        (Decision("1", ("one", "two"), lambda choices: jnp.ones(2, bool)), 3, "8"),
    ],
)
def test_the_number_of_architectures(decision, places, said):
    assert architecture._count([decision] * places) == said


def test_a_space_that_is_too_large_to_be_counted(monkeypatch):
    monkeypatch.setattr(architecture, "MOST", 3)
    space = [Decision("1", ("one", "two"), lambda choices: jnp.ones(2, bool))] * 2
    assert architecture._count(space) == "more than 3"


def test_a_recurrent_cell_of_the_thesis_and_its_picture(tmp_path):
    pytest.importorskip("matplotlib")
    space = rnn.supernet(vocabulary=100, nodes=4, hidden=10)
    line = "1: tanh | 2: 1 relu | 3: 2 relu | 4: 1 tanh"  # figure 4.2
    path = tmp_path / "cell.png"
    shown = architecture.show(space, decisions.parse(space.decisions, line), path)
    assert shown.startswith(line)
    assert "average  from 3, 4" in shown
    assert "architectures in the space: 1,536" in shown  # 4^4 3!
    # Two matrices (h and c) at each of 4 nodes and of the input, words with their biases.
    weights = 5 * 2 * 10 * 10 + 100 * 10 + 100
    found = int(shown.rpartition(" ")[2].replace(",", ""))
    assert weights <= found <= weights + 2 * 10  # batch normalization in a search
    assert path.read_bytes().startswith(b"\x89PNG")


def test_a_picture_that_cannot_be_drawn_is_no_surprise_later(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match="pip install"):
        architecture.show(supernet(SPACE), np.array([1, 1]), tmp_path / "cell.png")


def test_choices_of_another_space():
    with pytest.raises(ValueError, match=r"choices\[1\]"):
        architecture.show(supernet(SPACE), np.array([1, 2]))
