"""The pointer network: an LSTM reads the items, another points at them one after the other.

Shapes: `batch` instances of `items` items, `samples` solutions an instance, `hidden` units.

Source: Pham 2021, ch. 2, sections 2.3.1, 2.7.1 and 2.7.2 (eqs. 2.8-2.16).
Decisions where the thesis is silent:

- The decoder starts from the encoder's last state; the embedding has no bias; the LSTM's biases
  are drawn from the same interval as every other parameter, and its forget gate has the offset 1
  (see `nco.lstm`).
- Clipping comes before the temperature, softmax(C tanh(u) / T): eq. 2.15 and 2.16 each change
  eq. 2.8 or 2.9 alone, and a temperature exists to change a trained distribution.
- Infeasible items are masked in the glimpse as in the pointing (eq. 2.11 uses the same A). Logit
  clipping and temperature, which exist to shape the distribution that is sampled, act on the
  pointing only; masking comes after clipping, since C tanh(-inf) = -C would leave visited items
  reachable.
- The output of the glimpse is the query of the pointing; it is not fed back into the decoder's
  state. So with a glimpse the pointing sees a mixture of the open items in place of that state.
  Without one (`glimpses=0`) the state itself is the query, and the shipped networks of tours
  learned in fewer updates, which cost less.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from nco import attention, initializers, lstm
from nco.policy_gradient import Policy, Sample
from nco.problems.problem import Problem

Params = dict[str, Any]


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Settings:
    """How a network reads and points, with its parameters as their entry `settings`.

    Parameters mean something only under the settings that they were trained with. As a pytree it
    has no leaves, so that gradients, optimisers and checkpoints pass it by.

    Attributes:
        glimpses: attention glimpses before pointing (eq. 2.14), all with the same parameters.
        clip: C of eq. 2.16; `None` leaves the logits as they are.
        forget_bias: see `nco.lstm.fold`.
        center: subtracted from every feature that the network reads; 0 in the thesis.
        spread: what is left of a feature is divided by it; 1 in the thesis. Features that are
            uniform in [0, 1] get mean 0 and variance 1, which LeCun's start expects, by 0.5 and
            0.2887.
    """

    glimpses: int = 1
    clip: float | None = 10.0
    forget_bias: float = 1.0
    center: float = 0.0
    spread: float = 1.0


THESIS = Settings()


class Encoded(NamedTuple):
    """What a decoder reads of an instance; the memory of every step.

    Attributes:
        references: float32 `[batch, items, hidden]`, enc_i.
        carry: the encoder's last hidden and memory state, each `[batch, hidden]`.
        glimpse: the references' side of the glimpse.
        pointer: the references' side of the pointing.
    """

    references: Array
    carry: lstm.Carry
    glimpse: attention.Keys
    pointer: attention.Keys


def init(
    key: Array,
    *,
    input_dim: int = 2,
    embed: int = 128,
    hidden: int = 128,
    scale: float | None = 0.08,
    settings: Settings = THESIS,
) -> Params:
    """Parameters theta, uniform in [-scale, scale] (section 2.5.1); the key is consumed.

    Args:
        key: PRNG key.
        input_dim: features an item.
        embed: width of the items' linear embedding.
        hidden: units of both LSTMs and of the attention.
        scale: half-width of the interval; `None` gives each parameter its own
            (`nco.initializers`).
        settings: what every function here reads from the entry `settings`.
    """
    k_embed, k_start, k_encoder, k_decoder, k_glimpse, k_pointer = jax.random.split(key, 6)
    return {
        "embed": initializers.uniform(k_embed, (input_dim, embed), scale),
        "start": initializers.uniform(k_start, (embed,), scale),  # <g>, the decoder's first input
        "encoder": lstm.init(k_encoder, input_dim=embed, hidden=hidden, scale=scale),
        "decoder": lstm.init(k_decoder, input_dim=embed, hidden=hidden, scale=scale),
        "glimpse": attention.init(k_glimpse, hidden=hidden, scale=scale),
        "pointer": attention.init(k_pointer, hidden=hidden, scale=scale),
        "settings": settings,
    }


def settings_of(params: Params) -> Settings:
    """The settings that came with the parameters.

    Raises:
        ValueError: there are none, as where arrays were read from a file.
    """
    found = params.get("settings")
    if not isinstance(found, Settings):
        raise ValueError(
            "params: expected the entry 'settings', a nco.pointer.Settings, as `init` gives it; "
            f"got {sorted(params)}"
        )
    return found


def _reading(params: Params) -> dict[str, float]:
    """The arguments of `nco.lstm.fold` for an LSTM that reads items."""
    settings = settings_of(params)
    return {key: getattr(settings, key) for key in ("forget_bias", "center", "spread")}


def encode(
    params: Params,
    inputs: Float[Array, "batch items features"],
) -> Encoded:
    """Reads the items in their order (section 2.3.1).

    Raises:
        ValueError: the items have another number of features than the parameters were made for.
    """
    wanted = params["embed"].shape[0]
    if inputs.ndim != 3 or inputs.shape[-1] != wanted:
        raise ValueError(
            f"inputs: expected [batch, items, {wanted}], as input_dim of these parameters is "
            f"{wanted}; got shape {list(inputs.shape)}"
        )
    weights = lstm.fold(params["encoder"], params["embed"], **_reading(params))
    zeros = jnp.zeros((inputs.shape[0], params["encoder"]["w_h"].shape[0]), inputs.dtype)
    states, carry = lstm.run(weights, jnp.swapaxes(inputs, 0, 1), (zeros, zeros))
    references = jnp.swapaxes(states, 0, 1)
    return Encoded(
        references,
        carry,
        attention.keys_of(params["glimpse"], references),
        attention.keys_of(params["pointer"], references),
    )


def point(
    params: Params,
    encoded: Encoded,
    states: Float[Array, "steps samples batch hidden"],
    open_items: Bool[Array, "steps samples batch items"],
    *,
    temperature: float | Float[Array, ""] = 1.0,
) -> Float[Array, "steps samples batch items"]:
    """Log-probabilities of the next item, in nats, -inf where an item is not open.

    Args:
        params: from `init`.
        encoded: from `encode`.
        states: the decoder's hidden states dec_j.
        open_items: the items that may be pointed at; at least one each.
        temperature: T of eq. 2.15.
    """
    query, settings = states, settings_of(params)
    for _ in range(settings.glimpses):
        weights = attention.scores(params["glimpse"], encoded.glimpse, query)
        weights = jax.nn.softmax(jnp.where(open_items, weights, -jnp.inf), axis=-1)
        query = jnp.einsum("tsbn,bnh->tsbh", weights, encoded.references)
    logits = attention.scores(params["pointer"], encoded.pointer, query)
    logits = logits if settings.clip is None else settings.clip * jnp.tanh(logits)
    return jax.nn.log_softmax(jnp.where(open_items, logits / temperature, -jnp.inf), axis=-1)


def decode(
    params: Params,
    problem: Problem,
    inputs: Float[Array, "batch items features"],
    encoded: Encoded,
    *,
    num_samples: int = 1,
    noise: Float[Array, "items samples batch items"] | None = None,
    temperature: float | Float[Array, ""] = 1.0,
) -> tuple[Int[Array, "samples batch items"], lstm.Trace]:
    """Decodes `num_samples` solutions of every instance, item by item.

    Each step takes the item with the largest log-probability plus noise: with Gumbel noise that is
    a sample, without noise the greedy choice.

    Args:
        params: from `init`.
        problem: says which items are feasible.
        inputs: the instances.
        encoded: from `encode`, of the same instances.
        num_samples: solutions an instance.
        noise: drawn before the recurrence; `None` decodes greedily.
        temperature: see `point`.

    Returns:
        The items in the order of their choice, -1 after a solution is complete; and the decoder's
        steps after each choice, `[items, samples, batch, ...]`, for `step_log_probs`.
    """
    weights = lstm.fold(params["decoder"], params["embed"], **_reading(params))
    carry, problem_state = _first_state(params, problem, inputs, encoded, num_samples)

    def body(state: tuple, noise_step: Array | None) -> tuple[tuple, tuple[Array, lstm.Trace]]:
        carry, problem_state = state
        feasible = problem.feasible(problem_state)
        if feasible.shape != (num_samples, *inputs.shape[:2]) or feasible.dtype != jnp.bool_:
            wanted = [num_samples, *inputs.shape[:2]]
            found = f"{feasible.dtype} {list(feasible.shape)}"
            raise ValueError(f"feasible: expected bool {wanted}, one an item; got {found}")
        alive = jnp.any(feasible, axis=-1)
        log_probs = point(
            params,
            encoded,
            carry[0][None],
            # A complete solution points anywhere, to no effect.
            (feasible | ~alive[..., None])[None],
            temperature=temperature,
        )[0]
        perturbed = log_probs if noise_step is None else log_probs + noise_step
        # Masked once more: parameters that are not finite must not lead to a visited item, whose
        # tour of length 0 would win every comparison.
        perturbed = jnp.where(feasible, perturbed, -jnp.inf)
        action = jnp.where(alive, jnp.argmax(perturbed, axis=-1), -1).astype(jnp.int32)
        done = lstm.traced_step(weights, carry, _chosen(inputs, action))
        carry = (done.hidden, done.memory)
        return (carry, problem.step(problem_state, action)), (action, done)

    _, (actions, trace) = jax.lax.scan(body, (carry, problem_state), noise, length=inputs.shape[1])
    return jnp.moveaxis(actions, 0, -1), trace


def step_log_probs(
    params: Params,
    problem: Problem,
    inputs: Float[Array, "batch items features"],
    encoded: Encoded,
    actions: Int[Array, "samples batch items"],
    *,
    trace: lstm.Trace | None = None,
) -> tuple[Float[Array, "items samples batch items"], Bool[Array, "items samples batch"]]:
    """Distribution of every decision along given solutions, differentiable in the parameters.

    The decoder's state depends on the choices, not on the attention, so that with the choices
    given the recurrence runs alone and the attention of all steps follows in large products. Where
    `decode` made the solutions with the same parameters, its trace saves that run.

    Returns:
        Log-probabilities over the items at each step (-inf where infeasible), and whether the step
        is a decision (an action of -1 is none).
    """
    weights = lstm.fold(params["decoder"], params["embed"], **_reading(params))
    carry, problem_state = _first_state(params, problem, inputs, encoded, actions.shape[0])

    def body(problem_state: Any, action: Array) -> tuple[Any, tuple]:
        feasible = problem.feasible(problem_state)
        return problem.step(problem_state, action), (feasible, _chosen(inputs, action))

    decided = jnp.moveaxis(actions, -1, 0)
    _, (feasible, chosen) = jax.lax.scan(body, problem_state, decided)
    if trace is None:
        later, _ = lstm.run(weights, chosen[:-1], carry)
    else:
        steps = jax.tree.map(lambda x: x[:-1], trace)
        later = lstm.replay(weights, chosen[:-1], carry, steps)
    states = jnp.concatenate([carry[0][None], later])
    taken = decided >= 0
    return point(params, encoded, states, feasible | ~taken[..., None]), taken


def policy(problem: Problem, *, perturbation: float | None = None) -> Policy:
    """The pointer network as a `Policy`, for parameters of any settings.

    A sample's log-probability and entropy are those of the policy itself, at temperature 1,
    whatever temperature or perturbation drew the sample.

    Args:
        problem: says which items are feasible.
        perturbation: decodes greedily under Gaussian noise of this deviation, in nats, on the
            log-probabilities (section 2.4.1, after Cho 2016) instead of sampling.
    """

    def sample(
        params: Params,
        key: Array,
        inputs: Array,
        *,
        num_samples: int = 1,
        temperature: float | Array = 1.0,
        greedy: bool = False,
    ) -> Sample:
        batch, items, _ = inputs.shape
        encoded = encode(params, inputs)
        # Nothing differentiates through the drawing of a sample; the scores below carry the
        # gradient.
        fixed, fixed_encoded = jax.lax.stop_gradient((params, encoded))
        shape = (items, num_samples, batch, items)
        if greedy:
            noise = None
        elif perturbation is not None:
            noise = perturbation * jax.random.normal(key, shape)
        else:
            noise = jax.random.gumbel(key, shape)
        actions, trace = decode(
            fixed,
            problem,
            inputs,
            fixed_encoded,
            num_samples=num_samples,
            noise=noise,
            temperature=temperature,
        )
        return Sample(actions, *score(params, inputs, encoded, actions, trace))

    def score(
        params: Params,
        inputs: Array,
        encoded: Encoded,
        actions: Array,
        trace: lstm.Trace | None = None,
    ) -> tuple[Array, Array]:
        log_probs, taken = step_log_probs(params, problem, inputs, encoded, actions, trace=trace)
        index = jnp.maximum(jnp.moveaxis(actions, -1, 0), 0)[..., None]
        chosen = jnp.take_along_axis(log_probs, index, axis=-1)[..., 0]
        finite = jnp.where(log_probs > -jnp.inf, log_probs, 0.0)
        entropy = -jnp.sum(jnp.exp(log_probs) * finite, axis=-1)
        return (
            jnp.sum(jnp.where(taken, chosen, 0.0), axis=0),
            jnp.sum(jnp.where(taken, entropy, 0.0), axis=0),
        )

    def log_prob(params: Params, inputs: Array, actions: Array) -> tuple[Array, Array]:
        return score(params, inputs, encode(params, inputs), actions)

    return Policy(sample, log_prob)


def _first_state(
    params: Params,
    problem: Problem,
    inputs: Array,
    encoded: Encoded,
    samples: int,
) -> tuple[lstm.Carry, Any]:
    """The decoder's state after its first input <g>, and the problem's before the first action."""

    def repeated(x: Array) -> Array:
        return jnp.broadcast_to(x[None], (samples, *x.shape))

    weights = lstm.fold(params["decoder"], forget_bias=settings_of(params).forget_bias)
    start = jnp.broadcast_to(params["start"], (inputs.shape[0], params["start"].shape[0]))
    carry = lstm.step(weights, encoded.carry, start)
    return jax.tree.map(repeated, carry), problem.reset(repeated(inputs))


def _chosen(inputs: Array, action: Array) -> Array:
    """Features of the chosen items, [samples, batch, features]; of item 0 where there is none."""
    index = jnp.maximum(action, 0)[..., None, None]
    return jnp.take_along_axis(inputs[None], index, axis=2)[:, :, 0]
