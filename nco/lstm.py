"""Long short-term memory over time-major sequences, with the gradient written out.

The recurrence holds one matrix product a step, `[h, x, 1] @ weights`; its gradient stores the
gates' values, walks back with one product a step, and makes the weights' gradient in a single
product over all steps.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from nco import initializers

Params = dict[str, Array]
Carry = tuple[Array, Array]  # hidden and memory state, each [..., hidden]


class Trace(NamedTuple):
    """What one step of the cell computed, or many steps in a row; enough for their gradient.

    Attributes:
        gates: float32 `[..., 4 hidden]`, after their tanh.
        hidden: float32 `[..., hidden]`, the hidden state after the step.
        memory: float32 `[..., hidden]`, the memory state after it.
    """

    gates: Array
    hidden: Array
    memory: Array


def init(key: Array, *, input_dim: int, hidden: int, scale: float | None = 0.08) -> Params:
    """Weights and biases by `nco.initializers.uniform`; the key is consumed.

    Gates stand in the order input, forget, output, candidate: `w_x` is `[input_dim, 4 hidden]`,
    `w_h` is `[hidden, 4 hidden]`, `b` is `[4 hidden]`.
    """
    shapes = {"w_x": (input_dim, 4 * hidden), "w_h": (hidden, 4 * hidden), "b": (4 * hidden,)}
    keys = jax.random.split(key, len(shapes))
    return {
        name: initializers.uniform(k, shape, scale, bias=name == "b")
        for k, (name, shape) in zip(keys, shapes.items(), strict=True)
    }


def fold(
    params: Params,
    embed: Float[Array, "features input_dim"] | None = None,
    *,
    forget_bias: float = 1.0,
    center: float = 0.0,
    spread: float = 1.0,
) -> Float[Array, "rows gates"]:
    """One matrix of the whole cell, for `run` and `step`: gates are `[h, x, 1]` times it.

    A linear embedding before the cell folds in, so that the inputs may stay as narrow as the
    features. The columns of the three sigmoid gates are halved (exactly): sigmoid(z) =
    (1 + tanh(z / 2)) / 2, so that one tanh serves all.

    Args:
        params: from `init`.
        embed: the embedding's matrix; `None` where the inputs are the cell's own.
        forget_bias: added to the forget gate, as TensorFlow's cell of the thesis's time did by
            default; the thesis does not mention it.
        center: subtracted from every feature.
        spread: what is left of a feature is divided by it.
    """
    hidden = params["w_h"].shape[0]
    w_x = params["w_x"] if embed is None else embed @ params["w_x"]
    w_x = w_x / spread
    b = params["b"].at[hidden : 2 * hidden].add(forget_bias) - center * jnp.sum(w_x, axis=0)
    halved = jnp.concatenate([jnp.full((3 * hidden,), 0.5), jnp.ones((hidden,))])
    return jnp.concatenate([params["w_h"], w_x, b[None]]) * halved[None]


def step(
    weights: Float[Array, "rows gates"], carry: Carry, inputs: Float[Array, "*batch features"]
) -> Carry:
    """One step of the cell; `weights` come from `fold`."""
    done = traced_step(weights, carry, inputs)
    return done.hidden, done.memory


def traced_step(
    weights: Float[Array, "rows gates"], carry: Carry, inputs: Float[Array, "*batch features"]
) -> Trace:
    """`step`, with all that it computed."""
    gates = jnp.tanh(_with_input(carry[0], inputs) @ weights)
    return Trace(gates, *_state(gates, carry[1]))


def run(
    weights: Float[Array, "rows gates"],
    inputs: Float[Array, "length *batch features"],
    carry: Carry,
) -> tuple[Float[Array, "length *batch hidden"], Carry]:
    """Runs the cell over time-major inputs; returns every hidden state and the last carry.

    Batch axes are never merged, so that any of them may be split over devices.

    Args:
        weights: from `fold`.
        inputs: the sequence.
        carry: hidden and memory state before the first step, each `[*batch, hidden]`.
    """
    states, memory = _run(weights, inputs, *carry)
    return states, (states[-1] if len(inputs) else carry[0], memory)


def replay(
    weights: Float[Array, "rows gates"],
    inputs: Float[Array, "length *batch features"],
    carry: Carry,
    trace: Trace,
) -> Float[Array, "length *batch hidden"]:
    """The hidden states of `run`, read from a trace of its steps, with the gradient of `run`.

    A policy that samples has run the cell already when it scores what it sampled.

    Args:
        weights: from `fold`; where the trace was made with others, the gradient is wrong.
        inputs: the sequence.
        carry: the state before the first step.
        trace: the steps', from `traced_step`, time first; a constant.
    """
    return _replay(weights, inputs, *carry, jax.lax.stop_gradient(trace))


def _with_input(hidden: Array, inputs: Array) -> Array:
    return jnp.concatenate(
        [hidden, inputs, jnp.ones((*hidden.shape[:-1], 1), hidden.dtype)], axis=-1
    )


def _state(values: Array, memory: Array) -> Carry:
    in_gate, forget_gate, out_gate, candidate = jnp.split(values, 4, axis=-1)
    memory = 0.5 * ((1.0 + forget_gate) * memory + (1.0 + in_gate) * candidate)
    return 0.5 * (1.0 + out_gate) * jnp.tanh(memory), memory


@jax.custom_vjp
def _run(weights: Array, inputs: Array, hidden: Array, memory: Array) -> tuple[Array, Array]:
    def body(carry: Carry, inputs_step: Array) -> tuple[Carry, Array]:
        carry = step(weights, carry, inputs_step)
        return carry, carry[0]

    (_, memory), states = jax.lax.scan(body, (hidden, memory), inputs)
    return states, memory


def _run_forward(
    weights: Array, inputs: Array, hidden: Array, memory: Array
) -> tuple[tuple[Array, Array], tuple]:
    def body(carry: Carry, inputs_step: Array) -> tuple[Carry, tuple]:
        values = jnp.tanh(_with_input(carry[0], inputs_step) @ weights)
        new = _state(values, carry[1])
        return new, (carry[0], values, carry[1], new[1])

    (last, memory_last), stored = jax.lax.scan(body, (hidden, memory), inputs)
    before, values, memory_before, memories = stored
    states = jnp.concatenate([before, last[None]])[1:]  # none, where there are no inputs
    return (states, memory_last), (weights, inputs, before, values, memory_before, memories)


def _run_backward(residuals: tuple, grads: tuple[Array, Array]) -> tuple[Array, ...]:
    weights, inputs, before, values, memory_before, memories = residuals
    grad_states, grad_memory = grads
    hidden = before.shape[-1]
    back = weights[:hidden].T

    def body(carry: Carry, stored: tuple) -> tuple[Carry, Array]:
        grad_hidden, grad_memory = carry
        grad_state, gates, memory_before, memory = stored
        in_gate, forget_gate, out_gate, candidate = jnp.split(gates, 4, axis=-1)
        grad_hidden = grad_hidden + grad_state
        squashed = jnp.tanh(memory)
        grad_memory = grad_memory + 0.5 * grad_hidden * (1.0 + out_gate) * (
            1.0 - jnp.square(squashed)
        )
        grad_values = 0.5 * jnp.concatenate(
            [
                grad_memory * candidate,
                grad_memory * memory_before,
                grad_hidden * squashed,
                grad_memory * (1.0 + in_gate),
            ],
            axis=-1,
        )
        grad_gates = grad_values * (1.0 - jnp.square(gates))
        return (grad_gates @ back, 0.5 * grad_memory * (1.0 + forget_gate)), grad_gates

    stored = (grad_states, values, memory_before, memories)
    zeros = jnp.zeros_like(grad_memory)
    (grad_hidden, grad_memory), grad_gates = jax.lax.scan(
        body, (zeros, grad_memory), stored, reverse=True
    )
    over_time_and_batch = tuple(range(inputs.ndim - 1))
    grad_weights = jnp.tensordot(
        _with_input(before, inputs), grad_gates, axes=(over_time_and_batch, over_time_and_batch)
    )
    grad_inputs = grad_gates @ weights[hidden:-1].T
    return grad_weights, grad_inputs, grad_hidden, grad_memory


_run.defvjp(_run_forward, _run_backward)


@jax.custom_vjp
def _replay(weights: Array, inputs: Array, hidden: Array, memory: Array, trace: Trace) -> Array:
    del weights, inputs, hidden, memory
    return trace.hidden


def _replay_forward(
    weights: Array, inputs: Array, hidden: Array, memory: Array, trace: Trace
) -> tuple[Array, tuple]:
    before, memory_before = (
        jnp.concatenate([first[None], later])[:-1]
        for first, later in ((hidden, trace.hidden), (memory, trace.memory))
    )
    stored = (weights, inputs, before, trace.gates, memory_before, trace.memory)
    return trace.hidden, stored


def _replay_backward(residuals: tuple, grad_states: Array) -> tuple:
    last = jnp.zeros(grad_states.shape[1:], grad_states.dtype)  # the last memory leads nowhere
    return *_run_backward(residuals, (grad_states, last)), None


_replay.defvjp(_replay_forward, _replay_backward)
