"""The controller: an LSTM that takes a space's decisions one after another (Pham 2021, 4.2.2).

Each decision is drawn from a softmax of the LSTM's output; what was chosen is fed, as an embedding,
into the next step, and the first step gets an empty (zero) embedding. So each decision is
conditioned on all before it: a reduction cell on the convolutional one, say. Every decision has a
classifier and embeddings of its own, as the thesis does not say what is shared; classifiers have
no biases (from the public code).

"A temperature of 5.0 and a tanh constant of 2.5 for the sampling logits": logits are 2.5 tanh(u /
5), in this order (from the public code). The other, 2.5 tanh(u) / 5, would keep the odds of any two
choices below e, and no controller could ever decide.

The reward's entropy and its divergence from a prior depend on the parameters themselves, and their
gradient is taken too (`bonus`), so that the expected reward is what is ascended, exactly.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from enas.decisions import Decisions, check, open_at, sizes
from nco import initializers, lstm
from nco.policy_gradient import Policy, Sample

PyTree = Any
_CLOSED = -1e9  # the logit of a choice that is masked


class Controller(NamedTuple):
    """A policy over architectures, as pure functions.

    Attributes:
        init: `(key) -> params`.
        policy: `nco.policy_gradient.Policy`; its inputs are not read, and it acts as for one of
            them: actions are int32 `[samples, 1, decisions]`.
        log_probs: `(params, actions) -> float32 [samples, 1, decisions, widest]`: the
            log-probability of every choice of every decision, after the choices before it; -1e9 and
            less where there is no such choice.
        divergence: `(params, actions) -> float32 [samples, 1]`, nats: KL(decision || its prior)
            along the sampled architecture, summed over the decisions of a node that have a prior
            and averaged over such nodes (from the public code); 0 where no decision has one.
    """

    init: Any
    policy: Policy
    log_probs: Any
    divergence: Any


def controller(
    decisions: Decisions,
    *,
    hidden: int = 100,
    scale: float = 0.1,
    tanh_constant: float | None = 2.5,
    temperature: float = 5.0,
) -> Controller:
    """The controller of a list of decisions.

    Args:
        decisions: the space.
        hidden: LSTM units (100 in the thesis).
        scale: parameters start in U[-scale, scale].
        tanh_constant: bound of the logits; `None` for none.
        temperature: divides the logits, before the tanh.

    Raises:
        ValueError: `decisions` are not as `enas.decisions.check` wants them.
    """
    check(decisions)
    widths = sizes(decisions)
    places, widest = len(widths), max(widths)
    masked = open_at(decisions)

    def init(key: Array) -> PyTree:
        k_lstm, k_embed, k_out = jax.random.split(key, 3)
        return {
            "lstm": lstm.init(k_lstm, input_dim=hidden, hidden=hidden, scale=scale),
            "embeddings": initializers.uniform(k_embed, (places, widest, hidden), scale),
            "classifiers": initializers.uniform(k_out, (places, hidden, widest), scale),
        }

    def scores(outputs: Array, classifier: Array) -> Array:
        logits = outputs @ classifier / temperature
        return logits if tanh_constant is None else tanh_constant * jnp.tanh(logits)

    def draw(params: PyTree, key: Array, num_samples: int, sharpness: Any, greedy: bool) -> Array:
        weights = lstm.fold(params["lstm"], forget_bias=0.0)
        gumbel = jax.random.gumbel(key, (places, num_samples, widest))
        noise = jnp.zeros_like(gumbel) if greedy else gumbel

        def step(carry: tuple, given: tuple) -> tuple[tuple, None]:
            state, inputs, choices = carry
            place, classifier, embedding, noise = given
            state = lstm.step(weights, state, inputs)
            logits = scores(state[0], classifier) / sharpness + noise
            allowed = jax.vmap(lambda one: masked(place, one))(choices)
            choice = jnp.argmax(jnp.where(allowed, logits, _CLOSED), axis=-1).astype(jnp.int32)
            return (state, embedding[choice], choices.at[:, place].set(choice)), None

        zeros = jnp.zeros((num_samples, hidden))
        start = ((zeros, zeros), zeros, jnp.zeros((num_samples, places), jnp.int32))
        steps = (jnp.arange(places), params["classifiers"], params["embeddings"], noise)
        return jax.lax.scan(step, start, steps)[0][2]

    def log_probs(
        params: PyTree, actions: Int[Array, "samples one decisions"]
    ) -> Float[Array, "samples one decisions widest"]:
        choices = actions[:, 0]
        chosen = params["embeddings"][jnp.arange(places), choices]  # [samples, decisions, hidden]
        inputs = jnp.concatenate([jnp.zeros_like(chosen[:, :1]), chosen[:, :-1]], axis=1)
        zeros = jnp.zeros((len(choices), hidden))
        weights = lstm.fold(params["lstm"], forget_bias=0.0)
        states, _ = lstm.run(weights, jnp.swapaxes(inputs, 0, 1), (zeros, zeros))
        logits = jax.vmap(scores)(states, params["classifiers"])  # [decisions, samples, widest]
        allowed = jax.vmap(lambda one: jnp.stack([masked(place, one) for place in range(places)]))(
            choices
        )
        logits = jnp.where(allowed, jnp.swapaxes(logits, 0, 1), _CLOSED)
        return jax.nn.log_softmax(logits)[:, None]

    def log_prob(params: PyTree, inputs: PyTree, actions: Array) -> tuple[Array, Array]:
        del inputs
        every = log_probs(params, actions)
        taken = jnp.take_along_axis(every, actions[..., None], axis=-1)[..., 0]
        entropy = -jnp.sum(jnp.exp(every) * every, axis=(-2, -1))
        return jnp.sum(taken, axis=-1), entropy

    def sample(
        params: PyTree,
        key: Array,
        inputs: PyTree,
        *,
        num_samples: int = 1,
        temperature: float = 1.0,
        greedy: bool = False,
    ) -> Sample:
        actions = draw(jax.lax.stop_gradient(params), key, num_samples, temperature, greedy)
        return Sample(actions[:, None], *log_prob(params, inputs, actions[:, None]))

    priors, weights = _priors(decisions)

    def divergence(
        params: PyTree, actions: Int[Array, "samples one decisions"]
    ) -> Float[Array, "samples one"]:
        if not np.any(weights):
            return jnp.zeros(actions.shape[:2])
        every = log_probs(params, actions)
        each = jnp.sum(jnp.exp(every) * (every - priors[None, None]), axis=-1)
        return jnp.sum(each * weights[None, None], axis=-1)

    return Controller(init, Policy(sample, log_prob), log_probs, divergence)


def _priors(decisions: Decisions) -> tuple[np.ndarray, np.ndarray]:
    """Log-priors `[decisions, widest]`, and each decision's weight in the divergence."""
    widest = max(sizes(decisions))
    nodes = {decision.node for decision in decisions if decision.prior is not None}
    logs = np.zeros((len(decisions), widest), np.float32)
    weights = np.zeros(len(decisions), np.float32)
    for place, decision in enumerate(decisions):
        if decision.prior is not None:
            logs[place, : len(decision.prior)] = np.log(np.maximum(decision.prior, 1e-30))
            weights[place] = 1.0 / len(nodes)
    return logs, weights
