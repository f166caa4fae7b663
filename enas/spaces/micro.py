"""The convolutional-cell space of the thesis (Pham 2021, sections 4.2.4 and 4.3.2).

Two cells are designed, a convolutional and a reduction cell, and a network is `blocks` blocks of
`cells` convolutional cells and one reduction cell (figure 4.4). In a cell of B nodes, nodes 1 and 2
are the outputs of the two cells before; node i = 3..B takes two earlier nodes, applies one of five
operations to each, and adds the results. Nodes 3..B that no other node takes are concatenated in
depth, and are the cell's output.

How many there are: two ordered inputs of i - 1 nodes and two operations of 5 make
prod_i (5 (i - 1))^2 = (5^(B-2) (B-1)!)^2 cells, 5.06e12 at B = 7, and 2.56e25 pairs. The thesis
prints (5 (B-2)!)^4 = 1.3e11 pairs, which contradicts the decisions that it lists.

What the thesis leaves open, and what is done here:

- Node 1 is the older of the two cells' outputs, h[-2], and node 2 is h[-1] (from the public code);
  at the network's start both are the stem, a 3x3 convolution (from the public code).
- A cell has as many channels at all of its nodes. Whoever reads a cell's output (the 1x1
  relu-conv-bn in front of each later cell's node 1 or 2, the auxiliary head, the dense layer after
  the average over places) does not concatenate: it adds the products of each loose node with its
  own rows of the reader's matrix, so that the width never depends on the architecture.
- A reduction cell has stride 2 where an operation reads node 1 or 2; later nodes are small already.
  An identity of stride 2 is a 1x1 relu-conv-bn of stride 2.
- A reduction cell has twice the channels of the cells before it.
- After a reduction h[-2] is twice as large as h[-1]: its 1x1 convolution has stride 2 (the public
  code joins two shifted ones).
- Each cell, node, slot (a or b), operation and input has weights of its own, as section 4.2.1 says
  of recurrent cells: `weights["normal4"]["a_sep3"]["cell1"]` has a leading axis over inputs.
- The last dense layer reads ReLUs of the nodes (from the public code).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from enas import layers, normalization
from enas.decisions import Decision, check_choices
from enas.normalization import Averages, Norms
from enas.spaces import cells as running
from enas.spaces.cells import OPERATIONS, Output, edges, loose_ends, part_names
from enas.supernet import Graph, Supernet, Weights

KINDS = ("normal", "reduce")
_PLAIN = MappingProxyType({"scale": 1.0, "offset": 0.0, "bias": 0.0})  # what is not drawn

Choices = Int[Array, " decisions"] | Int[np.ndarray, " decisions"]


def decisions(nodes: int = 7) -> tuple[Decision, ...]:
    """For each node: input and operation of slot a, then of slot b; the convolutional cell first.

    Args:
        nodes: B, nodes 1 and 2 included.

    Raises:
        ValueError: fewer than 3 nodes.
    """
    if nodes < 3:
        raise ValueError(f"nodes: expected at least 3, got {nodes}")
    return tuple(
        Decision(f"{kind}{node}", labels)
        for kind in KINDS
        for node in range(3, nodes + 1)
        for labels in (tuple(str(before) for before in range(1, node)), OPERATIONS) * 2
    )


class _Source(NamedTuple):
    """Who makes a feature map: the stem, which has one part, or a cell with one for each node."""

    kind: str
    parts: int
    channels: int
    size: tuple[int, int]


class _Cell(NamedTuple):
    """One cell of the network: where it reads, and what it makes."""

    name: str
    old: _Source
    new: _Source
    made: _Source


def _plan(
    shape: Sequence[int], nodes: int, cells: int, blocks: int, channels: int, last_reduction: bool
) -> list[_Cell]:
    """The network's cells in order."""
    old = new = _Source("stem", 1, channels, (shape[0], shape[1]))
    kinds = ([KINDS[0]] * cells + [KINDS[1]]) * blocks
    found = []
    for number, kind in enumerate(kinds if last_reduction else kinds[:-1], 1):
        size, width = new.size, new.channels
        if kind == "reduce":
            size, width = ((size[0] + 1) // 2, (size[1] + 1) // 2), 2 * width
        made = _Source(kind, nodes - 2, width, size)
        found.append(_Cell(f"cell{number}", old, new, made))
        old, new = new, made
    return found


def supernet(
    shape: Sequence[int],
    classes: int,
    *,
    nodes: int = 7,
    cells: int = 2,
    blocks: int = 3,
    channels: int = 20,
    last_reduction: bool = True,
    auxiliary: int | None = None,
    auxiliary_channels: tuple[int, int] = (128, 768),
    drop_rate: float = 0.0,
    drop_path: float = 0.0,
    conv: Callable[..., Array] | None = None,
) -> Supernet:
    """All networks of the space, with shared weights.

    Inputs are float32 `[batch, height, width, channels]`; outputs are logits float32
    `[batch, classes]`, or with an auxiliary head `(logits, auxiliary logits)`.

    Args:
        shape: height, width and channels of an image.
        classes: how many.
        nodes: B, of a cell.
        cells: N, convolutional cells of a block.
        blocks: each of N convolutional cells and a reduction cell.
        channels: at each node of the first block; doubled by each reduction.
        last_reduction: whether the last block ends with a reduction cell (as in figure 4.4).
        auxiliary: number (from 1) of the cell whose output a second classifier reads; for
            retraining (from the public code).
        auxiliary_channels: of its two convolutions (from the public code).
        drop_rate: of the dropout in front of the last dense layer (from the public code).
        drop_path: probability, for each example and each edge but identities, that the edge gives
            zero; others are scaled up to the same mean (from the public code, for retraining).
        conv: in place of `jax.lax.conv_general_dilated`, of its signature (see `enas.layers`).

    Raises:
        ValueError: an argument out of range.
    """
    for name, value in {"cells": cells, "blocks": blocks, "channels": channels}.items():
        if value < 1:
            raise ValueError(f"{name}: expected at least 1, got {value}")
    for name, rate in {"drop_rate": drop_rate, "drop_path": drop_path}.items():
        if not 0.0 <= rate < 1.0:
            raise ValueError(f"{name}: expected a rate from 0 to below 1, got {rate}")
    space = decisions(nodes)
    plan = _plan(shape, nodes, cells, blocks, channels, last_reduction)
    if auxiliary is not None and not 1 <= auxiliary <= len(plan):
        raise ValueError(f"auxiliary: expected a cell from 1 to {len(plan)}, got {auxiliary}")
    head = None if auxiliary is None else (plan[auxiliary - 1], auxiliary_channels)

    def init(key: Array) -> Weights:
        found, tree = jax.tree_util.tree_flatten_with_path(_shapes(plan, shape[2], classes, head))
        names = tuple((path[-1].key, leaf.shape) for path, leaf in found)
        return jax.tree.unflatten(tree, _drawn(key, names))

    def apply(
        weights: Weights,
        choices: Choices,
        inputs: Float[Array, "batch height width channels"],
        *,
        train: bool,
        key: Array | None = None,
        averages: Averages | None = None,
    ) -> tuple[Any, Averages | None]:
        if isinstance(choices, np.ndarray):
            choices = check_choices(space, choices)
            weights = child(weights, choices)
        elif averages is not None:
            raise ValueError("averages: expected None where choices are no constant (NumPy)")
        norms, by_kind = Norms(averages, train=train), _by_kind(choices)
        x = layers.convolve(inputs, weights["stem"]["kernel"], conv=conv)
        x = norms("stem/bn", weights["stem"]["bn"], x)
        old = new = Output(x[None], np.ones(1, bool))
        second = None
        for number, cell in enumerate(plan, 1):
            paths = None
            if train and key is not None and drop_path > 0:
                draws = jax.random.fold_in(key, number)
                keep = jax.random.bernoulli(draws, 1 - drop_path, (2 * nodes - 4, x.shape[0]))
                paths = keep.astype(jnp.float32) / (1 - drop_path)
            own = weights["calibrate"][cell.name]
            maps = [
                running.read(norms, f"calibrate/{cell.name}/{name}", own[name], output, stride)
                for name, output, stride in (
                    ("old", old, 1 if cell.old.size == cell.new.size else 2),
                    ("new", new, 1),
                )
            ]
            kind, taken = cell.made.kind, by_kind[cell.made.kind]
            rest = (cell.name, kind, weights, taken, maps, paths, conv)
            is_constant = isinstance(taken, np.ndarray)
            made = running.constant(norms, *rest) if is_constant else running.chosen(*rest)
            old, new = new, made
            if number == auxiliary:
                second = _auxiliary(norms, weights["auxiliary"], new)
        pooled = jnp.stack([jnp.mean(jax.nn.relu(part), (1, 2)) for part in new.parts])
        if train and key is not None and drop_rate > 0:
            keep = jax.random.bernoulli(jax.random.fold_in(key, 0), 1 - drop_rate, pooled.shape)
            pooled = jnp.where(keep, pooled / (1 - drop_rate), 0.0)
        logits = _dense(weights["dense"], pooled, new.loose)
        return (logits if auxiliary is None else (logits, second)), norms.after

    def restrict(weights: Weights, choices: Any) -> Weights:
        return _restrict(weights, _by_kind(check_choices(space, choices)), plan, auxiliary)

    def child(weights: Weights, choices: np.ndarray) -> Weights:
        is_whole = {"a_sep3", "a_sep5"} <= set(weights["normal3"])
        return restrict(weights, choices) if is_whole else weights

    def graphs(choices: Any) -> dict[str, Graph]:
        taken = _by_kind(check_choices(space, choices))
        return {kind: _graph(taken[kind]) for kind in KINDS}

    return Supernet(space, init, apply, restrict, graphs)


def _by_kind(choices: Choices) -> dict[str, Any]:
    """Of each kind of cell `[nodes - 2, slot, (input, operation)]`."""
    return dict(zip(KINDS, choices.reshape(2, -1, 2, 2), strict=True))


def _shapes(
    plan: Sequence[_Cell], depth: int, classes: int, head: tuple[_Cell, tuple[int, int]] | None
) -> Any:
    """Shapes of all weights."""
    stem = _shape_of(layers.init_conv, 3, depth, plan[0].old.channels)
    shapes: Any = {"stem": stem, "calibrate": {}}
    for cell in plan:
        kind, parts, width, _ = cell.made
        shapes["calibrate"][cell.name] = {
            name: _reader_shape(source, width)
            for name, source in (("old", cell.old), ("new", cell.new))
        }
        own = {
            name: _shape_of(layers.init_separable, size, width, width, twice=True)
            for name, size in (("sep3", 3), ("sep5", 5))
        }
        if kind == "reduce":
            own["identity"] = _shape_of(layers.init_conv, 1, width, width)
        for node, at, slot in edges(kind, parts):
            for name, one in own.items():
                rows = 2 if name == "identity" else at + 2
                by_cell = shapes.setdefault(node, {}).setdefault(f"{slot}_{name}", {})
                by_cell[cell.name] = jax.tree.map(
                    lambda leaf, rows=rows: jax.ShapeDtypeStruct((rows, *leaf.shape), leaf.dtype),
                    one,
                )
    last = plan[-1].made
    shapes["dense"] = _dense_shape(last.parts, last.channels, classes)
    if head is not None:
        cell, (few, many) = head
        conv = _shape_of(layers.init_conv, 1, few, many)
        side = _pooled_size(cell.made.size)
        conv["kernel"] = jax.ShapeDtypeStruct((*side, few, many), jnp.float32)
        shapes["auxiliary"] = {
            "project": _reader_shape(cell.made, few),
            "conv": conv,
            "dense": _dense_shape(1, many, classes),
        }
    return shapes


def _shape_of(init: Callable[..., Any], *sizes: int, **settings: bool) -> Any:
    return jax.eval_shape(lambda: init(jax.random.key(0), *sizes, **settings))


def _reader_shape(source: _Source, width: int) -> Any:
    kernel = jax.ShapeDtypeStruct((source.channels, width), jnp.float32)
    bn = jax.eval_shape(lambda: normalization.init(width))
    return {"kernels": dict.fromkeys(part_names(source.parts), kernel), "bn": bn}


def _dense_shape(parts: int, width: int, classes: int) -> Any:
    shapes = {"kernel": (parts, width, classes), "bias": (classes,)}
    return {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in shapes.items()}


@functools.partial(jax.jit, static_argnums=1)
def _drawn(key: Array, shapes: tuple[tuple[str, tuple[int, ...]], ...]) -> list[Array]:
    """He initialisation of kernels; scales of 1, offsets and biases of 0.

    All are parts of one draw, which compiles in seconds where a draw for each takes minutes. A
    kernel ends with `[height, width, inputs, outputs]` or `[parts, inputs, outputs]`.
    """
    counts = [0 if name in _PLAIN else math.prod(shape) for name, shape in shapes]
    draws = jax.random.normal(key, (sum(counts),))
    leaves = []
    for (name, shape), end, count in zip(shapes, np.cumsum(counts), counts, strict=True):
        if name in _PLAIN:
            leaves.append(jnp.full(shape, _PLAIN[name], jnp.float32))
        else:
            deviation = math.sqrt(2.0 / math.prod(shape[-4:-1]))
            leaves.append(deviation * draws[int(end) - count : int(end)].reshape(shape))
    return leaves


def _restrict(
    weights: Weights, taken: Mapping[str, np.ndarray], plan: Sequence[_Cell], auxiliary: int | None
) -> Weights:
    """Rows of the inputs that are taken, of the operations that are; rows of loose nodes."""
    child: Weights = {"stem": weights["stem"], "calibrate": {}}
    loose = {kind: loose_ends(taken[kind][..., 0]) for kind in KINDS} | {"stem": np.ones(1, bool)}
    for cell in plan:
        own = weights["calibrate"][cell.name]
        child["calibrate"][cell.name] = {
            name: _loose_rows(own[name], loose[source.kind])
            for name, source in (("old", cell.old), ("new", cell.new))
        }
    for kind in KINDS:
        for (name, _, slot), (place, operation) in zip(
            edges(kind, len(taken[kind])), taken[kind].reshape(-1, 2), strict=True
        ):
            node, key = child.setdefault(name, {}), f"{slot}_{OPERATIONS[operation]}"
            if key in weights.get(name, {}) and not (key.endswith("identity") and place > 1):
                node[key] = jax.tree.map(lambda w, place=int(place): w[place], weights[name][key])
    last = weights["dense"]
    child["dense"] = {**last, "kernel": last["kernel"][loose[plan[-1].made.kind]]}
    if auxiliary is not None:
        rows = loose[plan[auxiliary - 1].made.kind]
        own = weights["auxiliary"]
        child["auxiliary"] = {**own, "project": _loose_rows(own["project"], rows)}
    return child


def _loose_rows(reader: Mapping[str, Any], loose: np.ndarray) -> dict[str, Any]:
    names = [name for name, yes in zip(part_names(len(loose)), loose, strict=True) if yes]
    return {**reader, "kernels": {name: reader["kernels"][name] for name in names}}


def _graph(taken: np.ndarray) -> Graph:
    """Nodes 1 and 2 are h[-2] and h[-1]; loose ends go to the output."""
    names = ["h[-2]", "h[-1]", *(str(node) for node in range(3, len(taken) + 3))]
    edges = [
        (names[place], names[at + 2], OPERATIONS[operation])
        for at, slots in enumerate(taken)
        for place, operation in slots
    ]
    edges += [(names[at + 2], "output", "") for at in np.flatnonzero(loose_ends(taken[..., 0]))]
    labels = {name: name for name in names} | {"output": "concatenated"}
    return Graph(labels, tuple(edges))


def _dense(
    weights: Any, pooled: Float[Array, "parts batch channels"], loose: Any
) -> Float[Array, "batch classes"]:
    kernel = weights["kernel"]
    if isinstance(loose, np.ndarray):
        pooled = pooled[np.flatnonzero(loose)]
    else:
        pooled = jnp.where(loose[:, None, None], pooled, 0.0)
    return jnp.einsum("pbc,pck->bk", pooled, kernel) + weights["bias"][None]


def _pooled_size(size: tuple[int, int]) -> tuple[int, int]:
    """Of a feature map after the auxiliary head's pooling."""
    return (max(size[0] - 5, 0) // 3 + 1, max(size[1] - 5, 0) // 3 + 1)


def _auxiliary(norms: Norms, weights: Any, output: Output) -> Array:
    """Average pooling (5x5, stride 3), 1x1 convolution, one over all places, dense."""

    def pool(x: Array) -> Array:
        window = (1, min(5, x.shape[1]), min(5, x.shape[2]), 1)
        total = jax.lax.reduce_window(
            jax.nn.relu(x), 0.0, jax.lax.add, window, (1, 3, 3, 1), "VALID"
        )
        return total / (window[1] * window[2])

    parts = [pool(part) for part in output.parts]
    pooled = Output(
        parts if isinstance(output.loose, np.ndarray) else jnp.stack(parts), output.loose
    )
    x = running.read(norms, "auxiliary/project", weights["project"], pooled, 1)
    x = jnp.einsum("bhwc,hwck->bk", jax.nn.relu(x), weights["conv"]["kernel"])
    x = jax.nn.relu(norms("auxiliary/conv/bn", weights["conv"]["bn"], x))
    return _dense(weights["dense"], x[None], np.ones(1, bool))
