"""The space of recurrent cells, and the language model around them (Pham 2021, 4.2.1 and 4.3.1).

A cell has N nodes. For the first a controller chooses an activation; for every later one, which
earlier node it takes, then an activation. The nodes that no other takes are averaged. A cell prints
as `1: tanh | 2: 1 relu | 3: 2 relu | 4: 1 tanh`.

There are 4^N (N - 1)! cells: 6.7e14 at N = 12, where the text says about 1e14.

Around the cell stand word embeddings as wide as the cell's output, and a softmax whose weights are
the same embeddings, with a bias of its own (the text does not say whether it has one).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from enas import highway, normalization
from enas.decisions import Decision, check_choices
from enas.highway import ACTIVATIONS
from enas.supernet import Graph, Supernet, Weights
from nco import initializers


class Dropout(NamedTuple):
    """Rates of variational dropout (Gal and Ghahramani 2016); the text gives none.

    A mask is drawn once for a segment, and holds at all of its steps.

    Attributes:
        words: of the vocabulary's words, whose embeddings are 0 wherever they are read (not in the
            softmax).
        inputs: of the embeddings' units, for each sequence.
        hidden: of the units of the cell's output on the way into its next step's product.
        outputs: of the units of the cell's output on the way to the softmax.
    """

    words: float = 0.0
    inputs: float = 0.0
    hidden: float = 0.0
    outputs: float = 0.0


def decisions(nodes: int) -> tuple[Decision, ...]:
    """The space of cells of so many nodes.

    Raises:
        ValueError: there is no node.
    """
    if nodes < 1:
        raise ValueError(f"nodes: expected at least 1, got {nodes}")
    found = [Decision("1", ACTIVATIONS)]
    for node in range(2, nodes + 1):
        earlier = tuple(str(each) for each in range(1, node))
        found += [Decision(str(node), earlier), Decision(str(node), ACTIVATIONS)]
    return tuple(found)


def supernet(
    *,
    vocabulary: int,
    nodes: int = 12,
    hidden: int = 200,
    scale: float = 0.025,
    normalize: bool = True,
    dropout: Dropout = Dropout(),  # noqa: B008 (a constant)
) -> Supernet:
    """The language models of all cells, on shared weights.

    Weights are `{"embedding": {"table": [vocabulary, hidden]}, "softmax": {"bias": [vocabulary]},
    "node1": {"x", "h": [hidden, 2 hidden]}, "node<l>": {"from": [l - 1, hidden, 2 hidden]},
    "output": {"bn": {"scale", "offset": [hidden]}}}`; a node's matrix has the gate's columns before
    the candidate's, and `from` one matrix for each earlier node.

    `apply(weights, choices, (hidden, tokens), train=, key=, averages=)` takes the cell's output
    before the segment, float32 `[batch, hidden]`, and int32 tokens `[batch, time]`; it gives
    `((logits float32 [batch, time, vocabulary], hidden [batch, hidden]), averages)`, so that the
    next segment goes on from there. Whoever truncates the gradient stops it at `hidden`. Dropout
    needs `train` and a key. Running averages move once a segment, by the mean of its steps'
    statistics.

    Args:
        vocabulary: number of words.
        nodes: N.
        hidden: width of the cell and of the embeddings. The text gives none; with 12 nodes and
            10,000 words, 785 makes a child of the 24 million parameters to which it keeps.
        scale: weights start in U[-scale, scale], the softmax's bias at 0; the text has 0.025 in
            search, 0.04 in retraining.
        normalize: whether the average is batch-normalised before it leaves the cell, as in search;
            statistics are of one step, over the batch. The text drops it in retraining.
        dropout: rates.

    Raises:
        ValueError: a size below 1, or a rate outside [0, 1); `apply`: one sequence, where the
            batch's statistics normalise; `restrict` and `graphs`: choices of another space.
    """
    space = decisions(nodes)
    if vocabulary < 1 or hidden < 1:
        raise ValueError(f"vocabulary, hidden: expected at least 1, got {vocabulary} and {hidden}")
    for name, rate in dropout._asdict().items():
        if not 0.0 <= rate < 1.0:
            raise ValueError(f"dropout.{name}: expected a rate in [0, 1), got {rate}")

    def init(key: Array) -> Weights:
        return _init(key, vocabulary, nodes, hidden, scale, normalize)

    def apply(
        weights: Weights,
        choices: Int[Array, " decisions"] | Int[np.ndarray, " decisions"],
        inputs: tuple[Float[Array, "batch hidden"], Int[Array, "batch time"]],
        *,
        train: bool,
        key: Array | None = None,
        averages: normalization.Averages | None = None,
    ) -> tuple[tuple[Array, Array], normalization.Averages | None]:
        if normalize and len(inputs[0]) == 1 and (train or averages is None):
            raise ValueError(
                "inputs: expected at least two sequences, as the batch's statistics normalise"
            )
        rates = dropout if train and key is not None else Dropout()
        return _apply(weights, choices, inputs, train, rates, key, averages)

    def restrict(weights: Weights, choices: np.ndarray) -> Weights:
        return _restrict(weights, check_choices(space, choices))

    def graphs(choices: np.ndarray) -> dict[str, Graph]:
        return {"cell": _graph(check_choices(space, choices))}

    return Supernet(space, init, apply, restrict, graphs)


def _init(
    key: Array, vocabulary: int, nodes: int, hidden: int, scale: float, normalize: bool
) -> Weights:
    keys = iter(jax.random.split(key, nodes + 2))
    matrix = (hidden, 2 * hidden)
    weights: dict[str, Any] = {
        "embedding": {"table": initializers.uniform(next(keys), (vocabulary, hidden), scale)},
        "softmax": {"bias": jnp.zeros(vocabulary)},
        "node1": {name: initializers.uniform(next(keys), matrix, scale) for name in ("x", "h")},
    }
    for node in range(2, nodes + 1):
        stack = initializers.uniform(next(keys), (node - 1, *matrix), scale)
        weights[f"node{node}"] = {"from": stack}
    if normalize:
        weights["output"] = {"bn": normalization.init(hidden)}
    return weights


def _apply(
    weights: Weights,
    choices: Any,
    inputs: tuple[Array, Array],
    train: bool,
    rates: Dropout,
    key: Array | None,
    averages: normalization.Averages | None,
) -> tuple[tuple[Array, Array], normalization.Averages | None]:
    hidden, tokens = inputs
    table = weights["embedding"]["table"]
    masks = _masks(key, rates, table, hidden)
    embedded = table[tokens.T]
    if masks["words"] is not None:
        embedded = embedded * masks["words"][tokens.T][..., None]
    embedded = _masked(embedded, masks["inputs"])
    architecture = tuple(choices.tolist()) if isinstance(choices, np.ndarray) else None
    first, matrices = _chosen(weights, choices if architecture is None else architecture)
    states, averages = highway.run(
        architecture,
        jnp.asarray(choices),
        matrices,
        embedded @ first,
        hidden,
        mask=masks["hidden"],
        norm=weights["output"]["bn"] if "output" in weights else None,
        averages=averages,
        train=train,
    )
    read = jnp.swapaxes(_masked(states, masks["outputs"]), 0, 1)
    logits = read @ table.T + weights["softmax"]["bias"][None, None]
    return (logits, states[-1]), averages


def _chosen(weights: Weights, choices: Any) -> tuple[Array, tuple[Array, ...]]:
    """The first node's matrix for inputs, and each node's for what it takes; all stretched."""
    matrices = [highway.stretched(weights["node1"]["h"], choices[0])]
    for node in range(2, len(choices) // 2 + 2):
        stack = weights[f"node{node}"]["from"]
        row = choices[2 * node - 3] if len(stack) > 1 else 0
        chosen = jax.lax.dynamic_index_in_dim(stack, row, 0, keepdims=False)
        matrices.append(highway.stretched(chosen, choices[2 * node - 2]))
    return highway.stretched(weights["node1"]["x"], choices[0]), tuple(matrices)


def _masks(
    key: Array | None, rates: Dropout, table: Array, hidden: Array
) -> dict[str, Array | None]:
    """Masks of a segment, 0 or 1 / (1 - rate); `None` where nothing drops."""
    shapes = {"words": table.shape[:1], "inputs": hidden.shape}
    shapes |= {"hidden": hidden.shape, "outputs": hidden.shape}
    masks: dict[str, Array | None] = dict.fromkeys(shapes)
    for index, (name, rate) in enumerate(rates._asdict().items()):
        if rate > 0.0 and key is not None:
            kept = jax.random.bernoulli(jax.random.fold_in(key, index), 1.0 - rate, shapes[name])
            masks[name] = kept.astype(table.dtype) / (1.0 - rate)
    return masks


def _masked(
    values: Float[Array, "time batch hidden"], mask: Float[Array, "batch hidden"] | None
) -> Float[Array, "time batch hidden"]:
    return values if mask is None else values * mask[None]


def _restrict(weights: Weights, choices: np.ndarray) -> Weights:
    left = dict(weights)
    for node in range(2, len(choices) // 2 + 2):
        row = choices[2 * node - 3]
        left[f"node{node}"] = {"from": weights[f"node{node}"]["from"][row : row + 1]}
    return left


def _graph(choices: np.ndarray) -> Graph:
    activations, taken = choices[::2], choices[1::2] + 1
    nodes = {"x": "x_t", "h": "h_{t-1}"}
    nodes |= {str(node): ACTIVATIONS[each] for node, each in enumerate(activations, start=1)}
    edges = [("x", "1", ""), ("h", "1", "")]
    edges += [(str(each), str(node), "") for node, each in enumerate(taken, start=2)]
    loose = sorted(set(range(1, len(activations) + 1)) - set(taken.tolist()))
    edges += [(str(node), "average", "") for node in loose]
    return Graph(nodes | {"average": "average"}, tuple(edges))
