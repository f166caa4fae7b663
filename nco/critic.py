"""The critic: reads an instance and predicts the reward that the present policy earns on it.

Source: Pham 2021, ch. 2, section 2.4 ("Critic's architecture") and 2.5.1: the policy's encoder, P
= 3 processing steps, and a two-layer ReLU head. The hidden state that the process block updates is
an LSTM's: it starts at the encoder's last state, and each step reads a glimpse of the memory
states as its input (eqs. 2.11-2.12).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from nco import attention, initializers, lstm

Params = dict[str, Any]


def init(
    key: Array,
    *,
    input_dim: int = 2,
    embed: int = 128,
    hidden: int = 128,
    scale: float | None = 0.08,
) -> Params:
    """Parameters theta_v, by `nco.initializers.uniform`; the key is consumed."""
    k_embed, k_encoder, k_process, k_glimpse, k_1, k_2, k_3, k_4 = jax.random.split(key, 8)
    uniform = initializers.uniform
    return {
        "embed": uniform(k_embed, (input_dim, embed), scale),
        "encoder": lstm.init(k_encoder, input_dim=embed, hidden=hidden, scale=scale),
        "process": lstm.init(k_process, input_dim=hidden, hidden=hidden, scale=scale),
        "glimpse": attention.init(k_glimpse, hidden=hidden, scale=scale),
        "head": {
            "w_1": uniform(k_1, (hidden, hidden), scale),
            "b_1": uniform(k_2, (hidden,), scale, bias=True),
            "w_2": uniform(k_3, (hidden, 1), scale),
            "b_2": uniform(k_4, (1,), scale, bias=True),
        },
    }


def apply(
    params: Params,
    inputs: Float[Array, "batch items features"],
    *,
    process_steps: int = 3,
    forget_bias: float = 1.0,
    center: float = 0.0,
    spread: float = 1.0,
) -> Float[Array, " batch"]:
    """Predicted reward of each instance.

    Args:
        params: from `init`.
        inputs: the instances.
        process_steps: P.
        forget_bias: see `nco.lstm.fold`.
        center: see `nco.lstm.fold`; the policy's, so that both read the same features.
        spread: the same.
    """
    head = params["head"]
    reading = {"forget_bias": forget_bias, "center": center, "spread": spread}
    encoder = lstm.fold(params["encoder"], params["embed"], **reading)
    process = lstm.fold(params["process"], forget_bias=forget_bias)
    zeros = jnp.zeros((inputs.shape[0], params["encoder"]["w_h"].shape[0]), inputs.dtype)
    states, carry = lstm.run(encoder, jnp.swapaxes(inputs, 0, 1), (zeros, zeros))
    references = jnp.swapaxes(states, 0, 1)
    keys = attention.keys_of(params["glimpse"], references)
    for _ in range(process_steps):
        scores = attention.scores(params["glimpse"], keys, carry[0][None, None])[0, 0]
        glimpse = jnp.einsum("bn,bnh->bh", jax.nn.softmax(scores, axis=-1), references)
        carry = lstm.step(process, carry, glimpse)
    features = jax.nn.relu(carry[0] @ head["w_1"] + head["b_1"][None])
    return (features @ head["w_2"] + head["b_2"][None])[:, 0]
