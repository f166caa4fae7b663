"""One cell of `enas.spaces.micro`, run for an architecture that is a constant or an array.

A constant's edges are written out, each with its operation alone. For an array, all edges of a cell
are one loop: an edge takes its input from a buffer of the cell's nodes, runs one branch, and adds
the result to its node's place in the buffer. So only a few programs of operations are compiled,
whatever the number of nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from enas import branches, layers
from enas.normalization import Norms

OPERATIONS = ("identity", "sep3", "sep5", "avg3", "max3")
SLOTS = ("a", "b")

Conv = Callable[..., Array] | None  # of `enas.layers`


class Output(NamedTuple):
    """A feature map in parts, of which the loose ones count, as if concatenated in depth.

    Attributes:
        parts: float32 `[parts, batch, height, width, channels]`, or a list of them.
        loose: bool `[parts]`; of NumPy where it is constant.
    """

    parts: Any
    loose: Any


def loose_ends(inputs: Any) -> Any:
    """Which of nodes 3..B no other takes.

    Args:
        inputs: int32 `[B - 2, 2]`; i means node i + 1.

    Returns:
        bool `[B - 2]`, of NumPy where the inputs are.
    """
    places = np.arange(inputs.shape[0], dtype=np.int32) + 2
    return ~(inputs[..., None] == places[None, None]).any((0, 1))


def edges(kind: str, count: int) -> list[tuple[str, int, str]]:
    """Of each edge of a cell of `count` nodes beside its inputs: node's name and place, slot."""
    return [(f"{kind}{at + 3}", at, slot) for at in range(count) for slot in SLOTS]


def operate(
    norms: Norms, name: str, operation: str, weights: Any, x: Array, stride: int, conv: Conv
) -> Array:
    """One operation on one feature map."""
    if operation == "identity":
        return x if stride == 1 else layers.conv_bn(norms, name, weights, x, stride=2, conv=conv)
    if operation in ("avg3", "max3"):
        return {"avg3": layers.average_pool, "max3": layers.max_pool}[operation](x, stride=stride)
    return layers.separable_bn(norms, name, weights, x, stride=stride, conv=conv)


def constant(
    norms: Norms,
    cell: str,
    kind: str,
    weights: Any,
    taken: Int[np.ndarray, "nodes 2 2"],
    inputs: Sequence[Array],
    paths: Float[Array, "edges batch"] | None,
    conv: Conv,
) -> Output:
    """A cell whose architecture is a constant, by weights without rows.

    Args:
        norms: the network's.
        cell: its name among the weights.
        kind: "normal" or "reduce".
        weights: the child's, `{node: {operation: {cell: ...}}}`.
        taken: input and operation of each slot of each node.
        inputs: nodes 1 and 2.
        paths: factor of each edge's results but an identity's.
        conv: as in `operate`.
    """
    maps = list(inputs)
    for number, (node, _, slot) in enumerate(edges(kind, len(taken))):
        place, chosen = (int(choice) for choice in taken.reshape(-1, 2)[number])
        stride = 2 if kind == "reduce" and place < 2 else 1
        key = f"{slot}_{OPERATIONS[chosen]}"
        own = weights[node].get(key, {}).get(cell)
        name = f"{node}/{key}/{cell}"
        made = operate(norms, name, OPERATIONS[chosen], own, maps[place], stride, conv)
        if paths is not None and chosen:
            made = made * paths[number][:, None, None, None]
        maps = [*maps, made] if slot == SLOTS[0] else [*maps[:-1], maps[-1] + made]
    return Output(maps[2:], loose_ends(taken[..., 0]))


def chosen(
    cell: str,
    kind: str,
    weights: Any,
    taken: Int[Array, "nodes 2 2"],
    inputs: Sequence[Array],
    paths: Float[Array, "edges batch"] | None,
    conv: Conv,
) -> Output:
    """A cell whose architecture is an array, by weights with rows; arguments as of `constant`."""
    count = taken.shape[0]
    places, operations = taken.reshape(-1, 2).T
    xs = {
        "place": places,
        "operation": operations,
        "node": jnp.repeat(jnp.arange(count, dtype=jnp.int32), 2),
        "rows": _rows(cell, kind, weights, places, count),
    }
    if paths is not None:
        xs["path"] = jnp.where((operations == 0)[:, None], 1.0, paths)
    given = jnp.stack(inputs)
    plain = [_branch(operation, 1, conv) for operation in OPERATIONS]
    if kind == "normal":
        start = jnp.concatenate([given, jnp.zeros((count, *given.shape[1:]))])
        first = 2
    else:
        strided = jax.eval_shape(lambda x: x[:, ::2, ::2], inputs[0])
        start = jnp.zeros((count, *strided.shape))
        first = 0
    halved = [_branch(operation, 2, conv) for operation in OPERATIONS]

    def edge(carry: tuple[Array, ...], x: dict[str, Any]) -> tuple[tuple[Array, ...], None]:
        if kind == "normal":
            (made,) = carry
            made, source = take(made, x["place"])
            result = branches.switch(x["operation"], plain, x["rows"], source)
        else:
            large, made = carry
            large, wide = take(large, jnp.minimum(x["place"], 1))
            made, source = take(made, jnp.maximum(x["place"] - 2, 0))
            index = x["operation"] + jnp.where(x["place"] < 2, len(plain), 0)
            both = [lambda rows, wide, source, f=f: f(rows, source) for f in plain]
            both += [lambda rows, wide, source, f=f: f(rows, wide) for f in halved]
            result = branches.switch(index, both, x["rows"], wide, source)
        if "path" in x:
            result = result * x["path"][:, None, None, None]
        made = add(made, x["node"] + first, result)
        return ((made,) if kind == "normal" else (large, made)), None

    carry: tuple[Array, ...] = (start,) if kind == "normal" else (given, start)
    carry, _ = jax.lax.scan(edge, carry, xs)
    return Output(carry[-1][first:], loose_ends(taken[..., 0]))


def _rows(
    cell: str, kind: str, weights: Any, places: Int[Array, " edges"], count: int
) -> dict[str, Any]:
    """Each operation's weights for the inputs that are taken, with an axis over edges."""
    own = [
        {
            name.partition("_")[2]: value[cell]
            for name, value in weights[node].items()
            if name.startswith(f"{slot}_")
        }
        for node, _, slot in edges(kind, count)
    ]
    picked = [
        jax.tree.map(lambda w, place=place: w[jnp.minimum(place, w.shape[0] - 1)], each)
        for place, each in zip(places, own, strict=True)
    ]
    return jax.tree.map(lambda *rows: jnp.stack(rows), *picked)


def _branch(operation: str, stride: int, conv: Conv) -> Callable[..., Array]:
    def run(rows: Mapping[str, Any], x: Array) -> Array:
        norms = Norms(None, train=True)
        return operate(norms, operation, operation, rows.get(operation), x, stride, conv)

    return run


@jax.custom_vjp
def take(maps: Array, place: Array) -> tuple[Array, Array]:
    """`(maps, maps[place])`, for a loop that goes on with the maps that it returns.

    So the gradient of the maps is one buffer that is added to in place, where indexing alone would
    make a whole buffer of zeros for each map that is taken.
    """
    return maps, jax.lax.dynamic_index_in_dim(maps, place, keepdims=False)


@jax.custom_vjp
def add(maps: Array, place: Array, x: Array) -> Array:
    """`maps.at[place].add(x)`; the gradient of `take`, and `take` is its own."""
    new = jax.lax.dynamic_index_in_dim(maps, place, keepdims=False) + x
    return jax.lax.dynamic_update_index_in_dim(maps, new, place, 0)


def _take_forward(maps: Array, place: Array) -> tuple[tuple[Array, Array], Array]:
    return take(maps, place), place


def _take_backward(place: Array, grads: tuple[Array, Array]) -> tuple[Array, None]:
    return add(grads[0], place, grads[1]), None


def _add_forward(maps: Array, place: Array, x: Array) -> tuple[Array, Array]:
    return add(maps, place, x), place


def _add_backward(place: Array, grad: Array) -> tuple[Array, None, Array]:
    maps, x = take(grad, place)
    return maps, None, x


take.defvjp(_take_forward, _take_backward)
add.defvjp(_add_forward, _add_backward)


def read(
    norms: Norms, name: str, weights: Any, output: Output, stride: int
) -> Float[Array, "batch height width channels"]:
    """1x1 relu-conv-bn of a cell's output, as a sum over its loose parts.

    Args:
        norms: the network's.
        name: where `weights` stands among all.
        weights: from `layers.init_project`, or a child's, without the kernels of other parts.
        output: what is read.
        stride: 1 or 2.
    """
    if isinstance(output.loose, np.ndarray):
        some = {
            part: output.parts[place][:, ::stride, ::stride]
            for place, part in enumerate(part_names(len(output.loose)))
            if output.loose[place]
        }
        return layers.project_bn(norms, name, weights, some, dict.fromkeys(some, 1))[0]
    kernels = jnp.stack([weights["kernels"][part] for part in part_names(len(output.parts))])

    def product(rows: Array, x: Array) -> Array:
        return jax.nn.relu(x[:, ::stride, ::stride]) @ rows

    shape = jax.eval_shape(product, kernels[0], output.parts[0])

    def skip(rows: Array, x: Array) -> Array:
        return jnp.zeros(shape.shape)

    def step(total: Array, x: tuple[Array, Array, Array]) -> tuple[Array, None]:
        is_loose, rows, part = x
        return total + branches.switch(is_loose, [skip, product], rows, part), None

    parts = (output.loose.astype(jnp.int32), kernels, output.parts)
    total, _ = jax.lax.scan(step, jnp.zeros(shape.shape), parts)
    return norms(f"{name}/bn", weights["bn"], total)


def part_names(count: int) -> list[str]:
    """Names of the parts of an output: of nodes, and of the stem where there is but one part."""
    return [f"{place + 3}" for place in range(count)]
