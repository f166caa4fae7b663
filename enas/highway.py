"""A recurrent cell of highway nodes over a sequence, with the gradient written out.

With h the cell's output at the step before, and u that of the node which a node takes (Pham 2021,
eqs. 4.2-4.5):

    c_1 = sigmoid(x W^(x,c) + h W^(c)),   h_1 = c_1 f_1(x W^(x,h) + h W^(h)) + (1 - c_1) h
    c_l = sigmoid(u W_l^(c)),             h_l = c_l f_l(u W_l^(h)) + (1 - c_l) u

What the equations call h_N^(t-1), and the text above them h_D^(t-1), is the cell's output: the
average of its loose ends, the nodes that no other node takes, batch-normalised where that is on.

The gate's and the candidate's columns of a node stand in one matrix, `[hidden, 2 hidden]`, so that
a node is one product. Going forward, each step stores what its gradient needs; going back holds one
product for each node and step, and each weight's gradient is one product over all steps.

An architecture is `[f_1, j_2, f_2, ..., j_N, f_N]`, with j_l from 0. Given as an array, one program
serves all: a node is read from a buffer, and all activations share one tanh. Given as a tuple, the
wiring is a constant of the program.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from enas.normalization import Averages, Norms

ACTIVATIONS = ("tanh", "relu", "identity", "sigmoid")
NORM = "output/bn"  # the batch normalization's place among weights

# f(z) = a tanh(s z) + b + r max(z, 0) + i z: s, and a, b, r, i, of each activation
_STRETCHES = (1.0, 1.0, 1.0, 0.5)
_MIXES = ((1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0), (0.5, 0.5, 0.0, 0.0))

Architecture = tuple[int, ...]


class Wiring(NamedTuple):
    """What a cell computes.

    Attributes:
        previous: of node 2, 3, ...: the node that it takes, from 0; an int, or int32 scalar.
        activations: of each node: its index among `ACTIVATIONS`, or the float32 `[4]` mix of them.
        shares: of each node in the cell's output, 0 where another node takes it; a float, or
            float32 scalar.
    """

    previous: tuple[Any, ...]
    activations: tuple[Any, ...]
    shares: tuple[Any, ...]


class Step(NamedTuple):
    """What the gradient needs of a node at one step, each float32 `[batch, hidden]`.

    Attributes:
        entering: what its matrix was multiplied with.
        gate: c_l.
        gate_slope: derivative of the node's output by its gate's product.
        slope: derivative of the node's output by its candidate's product.
    """

    entering: Array
    gate: Array
    gate_slope: Array
    slope: Array


def wiring(architecture: Architecture | None, choices: Int[Array, " decisions"]) -> Wiring:
    """The cell of an architecture, of constants where it is given as a tuple."""
    if architecture is not None:
        previous, nodes = architecture[1::2], range(len(architecture[::2]))
        loose = [node for node in nodes if node not in previous]
        shares = tuple(1.0 / len(loose) if node in loose else 0.0 for node in nodes)
        return Wiring(previous, architecture[::2], shares)
    mixes = jnp.asarray(_MIXES, jnp.float32)[choices[::2]]
    taken = choices[1::2]
    loose_ends = jnp.ones(len(mixes), jnp.float32).at[taken].set(0.0)
    return Wiring(tuple(taken), tuple(mixes), tuple(loose_ends / jnp.sum(loose_ends)))


def stretched(
    weights: Float[Array, "rows columns"], activation: int | Int[Array, ""]
) -> Float[Array, "rows columns"]:
    """A node's matrix as `run` takes it: columns are halved (exactly) where a sigmoid comes after.

    sigmoid(z) = (1 + tanh(z / 2)) / 2, so that one tanh serves all.
    """
    half = weights.shape[1] // 2
    stretch = jnp.asarray(_STRETCHES, weights.dtype)[activation]
    gate = jnp.full(half, 0.5, weights.dtype)
    columns = jnp.concatenate([gate, jnp.broadcast_to(stretch, (half,))])
    return weights * columns[None]


def run(
    architecture: Architecture | None,
    choices: Int[Array, " decisions"],
    weights: tuple[Float[Array, "hidden columns"], ...],
    inputs: Float[Array, "time batch columns"],
    hidden: Float[Array, "batch hidden"],
    *,
    mask: Float[Array, "batch hidden"] | None = None,
    norm: Mapping[str, Array] | None = None,
    averages: Averages | None = None,
    train: bool = False,
) -> tuple[Float[Array, "time batch hidden"], Averages | None]:
    """Runs a cell; returns its outputs, and running averages as they are after them.

    Batch axes are merged only to make a weight's gradient.

    Args:
        architecture: a constant, or `None` where `choices` count.
        choices: of one architecture.
        weights: of each node, `stretched`; the first node's multiplies the output before.
        inputs: what the first node adds to its product: x [W^(x,c), W^(x,h)], stretched too.
        hidden: the cell's output before the first step.
        mask: multiplies the cell's output on its way into the first node's product, the same at
            every step (not on the way around it: scaled up to keep its mean, a mask would let the
            state that a closed gate keeps grow at each step).
        norm: weights of batch normalization, `None` for none; its statistics are of one step.
        averages: see `enas.normalization`; they make one move a call, by the mean of the statistics
            of its steps.
        train: whether averages move.
    """
    return _run(architecture, train, choices, weights, inputs, hidden, mask, norm, averages)


def _normalized(
    train: bool, norm: Mapping[str, Array] | None, averages: Averages | None, outputs: Array
) -> tuple[Array, Averages | None]:
    if norm is None:
        return outputs, averages
    norms = Norms(averages, train=train)
    return norms(NORM, norm, outputs), norms.after


def _take(nodes: list[Array], node: Any) -> Array:
    """One of the nodes.

    For a node known to the program alone this is a chain of selects by scalars. A buffer that is
    written and sliced was copied whole for each node, on a CPU.
    """
    if isinstance(node, int):
        return nodes[node]
    return jax.lax.select_n(node, *nodes) if len(nodes) > 1 else nodes[0]


def _add(nodes: list[Array], node: Any, value: Array) -> list[Array]:
    """Nodes, one of which has a value added."""
    return [
        each
        if isinstance(node, int) and index != node
        else each + (value if isinstance(node, int) else jnp.where(node == index, value, 0.0))
        for index, each in enumerate(nodes)
    ]


def _activated(activation: Any, stretched: Array) -> tuple[Array, Array]:
    """f, and its derivative by the stretched product."""
    if not isinstance(activation, int):
        a, b, r, i = activation
        squashed = jnp.tanh(stretched)
        value = a * squashed + b + r * jnp.maximum(stretched, 0.0) + i * stretched
        positive = (stretched > 0).astype(stretched.dtype)
        return value, a * (1.0 - jnp.square(squashed)) + r * positive + i
    match ACTIVATIONS[activation]:
        case "relu":
            return jnp.maximum(stretched, 0.0), (stretched > 0).astype(stretched.dtype)
        case "identity":
            return stretched, jnp.ones_like(stretched)
        case "tanh":
            squashed = jnp.tanh(stretched)
            return squashed, 1.0 - jnp.square(squashed)
        case _:
            squashed = jnp.tanh(stretched)
            return 0.5 + 0.5 * squashed, 0.5 * (1.0 - jnp.square(squashed))


def _node(activation: Any, product: Array, carried: Array, entering: Array) -> tuple[Array, Step]:
    gate_product, candidate = jnp.split(product, 2, axis=-1)
    squashed = jnp.tanh(gate_product)
    gate = 0.5 + 0.5 * squashed
    value, slope = _activated(activation, candidate)
    change = value - carried
    gate_slope = 0.5 * (1.0 - jnp.square(squashed)) * change
    return carried + gate * change, Step(entering, gate, gate_slope, gate * slope)


def _cell(
    plan: Wiring,
    weights: tuple[Array, ...],
    inputs: Array,
    hidden: Array,
    mask: Array | None,
) -> tuple[Array, tuple[Step, ...]]:
    """The average of loose ends at one step, and what the gradient needs of each node."""
    entering = hidden if mask is None else hidden * mask
    value, done = _node(plan.activations[0], inputs + entering @ weights[0], hidden, entering)
    average, steps = plan.shares[0] * value, [done]
    nodes = [value]
    for node in range(1, len(weights)):
        carried = _take(nodes, plan.previous[node - 1])
        product = carried @ weights[node]
        value, done = _node(plan.activations[node], product, carried, carried)
        nodes.append(value)
        average = average + plan.shares[node] * value
        steps.append(done)
    return average, tuple(steps)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _run(
    architecture: Architecture | None,
    train: bool,
    choices: Array,
    weights: tuple[Array, ...],
    inputs: Array,
    hidden: Array,
    mask: Array | None,
    norm: Mapping[str, Array] | None,
    averages: Averages | None,
) -> tuple[Array, Averages | None]:
    plan = wiring(architecture, choices)

    def body(hidden: Array, inputs: Array) -> tuple[Array, tuple]:
        average, _ = _cell(plan, weights, inputs, hidden, mask)
        hidden, after = _normalized(train, norm, averages, average)
        return hidden, (hidden, after)

    _, (states, after) = jax.lax.scan(body, hidden, inputs)
    return states, _mean(after) if train else averages


def _mean(averages: Averages | None) -> Averages | None:
    """Of averages after each step, as moved by that step alone."""
    return jax.tree.map(lambda each: jnp.mean(each, axis=0), averages)


def _run_forward(
    architecture: Architecture | None,
    train: bool,
    choices: Array,
    weights: tuple[Array, ...],
    inputs: Array,
    hidden: Array,
    mask: Array | None,
    norm: Mapping[str, Array] | None,
    averages: Averages | None,
) -> tuple[tuple[Array, Averages | None], tuple]:
    plan = wiring(architecture, choices)

    def body(hidden: Array, inputs: Array) -> tuple[Array, tuple]:
        average, steps = _cell(plan, weights, inputs, hidden, mask)
        hidden, after = _normalized(train, norm, averages, average)
        return hidden, (hidden, after, average, steps)

    _, (states, after, average, steps) = jax.lax.scan(body, hidden, inputs)
    after = _mean(after) if train else averages
    return (states, after), (choices, weights, mask, norm, averages, average, steps)


def _run_backward(
    architecture: Architecture | None,
    train: bool,
    residuals: tuple,
    grads: tuple[Array, Averages | None],
) -> tuple:
    choices, weights, mask, norm, averages, average, steps = residuals
    plan = wiring(architecture, choices)
    back = tuple(matrix.T for matrix in weights)

    def body(carry: tuple, stored: tuple) -> tuple[tuple, tuple[Array, ...]]:
        grad_hidden, grad_norm = carry
        grad_state, average, steps = stored

        def normalized(norm: Any, outputs: Array) -> Array:
            return _normalized(train, norm, averages, outputs)[0]

        more, grad_average = jax.vjp(normalized, norm, average)[1](grad_hidden + grad_state)
        grad_norm = jax.tree.map(jnp.add, grad_norm, more)
        grad_hidden, grad_products = _cell_backward(plan, back, mask, steps, grad_average)
        return (grad_hidden, grad_norm), grad_products

    zeros = (jnp.zeros_like(average[0]), jax.tree.map(jnp.zeros_like, norm))
    stored = (grads[0], average, steps)
    (grad_hidden, grad_norm), products = jax.lax.scan(body, zeros, stored, reverse=True)
    grad_weights = tuple(
        jnp.tensordot(step.entering, product, axes=((0, 1), (0, 1)))
        for step, product in zip(steps, products, strict=True)
    )
    return None, grad_weights, products[0], grad_hidden, None, grad_norm, None


def _cell_backward(
    plan: Wiring,
    back: tuple[Array, ...],
    mask: Array | None,
    steps: tuple[Step, ...],
    grad_average: Array,
) -> tuple[Array, tuple[Array, ...]]:
    """Gradients by the cell's output before, and by each node's product."""
    nodes = [share * grad_average for share in plan.shares]
    grad_products = [grad_average] * len(steps)
    for node in reversed(range(len(steps))):
        step, grad = steps[node], nodes.pop()
        product = jnp.concatenate([grad * step.gate_slope, grad * step.slope], axis=-1)
        grad_products[node] = product
        around, through = grad * (1.0 - step.gate), product @ back[node]
        if node == 0:
            return around + (through if mask is None else through * mask), tuple(grad_products)
        nodes = _add(nodes, plan.previous[node - 1], around + through)
    raise AssertionError("a cell has a node")


_run.defvjp(_run_forward, _run_backward)
