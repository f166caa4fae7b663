"""The controller: sampling, log-probability, entropy and greedy agree; exact on tiny spaces."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from enas import decisions
from enas.controller import controller
from enas.decisions import Decision

SPACE = [
    Decision("1", ("a", "b", "c")),
    Decision("2", ("a", "b"), mask=lambda c: jnp.array([True, False]) | (c[0] > 0)),
    Decision("2", ("", "+1"), prior=(0.6, 0.4)),
]
EVERY = decisions.enumerated(SPACE)[:, None]  # [10, 1, 3]


@pytest.fixture(scope="module")
def made():
    policy = controller(SPACE, hidden=6, scale=2.0)
    return policy, policy.init(jax.random.key(3))


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def plain_log_probs(params, choices, *, hidden=6, tanh_constant=2.5, temperature=5.0):
    """Log-probabilities of each decision's choices, step by step in float64."""
    p = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    h, c, x = np.zeros(hidden), np.zeros(hidden), np.zeros(hidden)
    found = []
    for place, decision in enumerate(SPACE):
        gates = x @ p["lstm"]["w_x"] + h @ p["lstm"]["w_h"] + p["lstm"]["b"]
        i, f, o, g = np.split(gates, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        logits = tanh_constant * np.tanh(h @ p["classifiers"][place] / temperature)
        logits = logits[: len(decision.labels)]
        allowed = np.ones(len(decision.labels), bool)
        if decision.mask is not None:
            allowed = np.asarray(decision.mask(jnp.asarray(choices)))
        logits = np.where(allowed, logits, -np.inf)
        found.append(logits - np.log(np.sum(np.exp(logits))))
        x = p["embeddings"][place, choices[place]]
    return found


def test_it_is_the_lstm_of_the_text(made):
    policy, params = made
    log_prob, entropy = policy.policy.log_prob(params, (), jnp.asarray(EVERY))
    for one, got, spread in zip(EVERY[:, 0], log_prob[:, 0], entropy[:, 0], strict=True):
        each = plain_log_probs(params, one)
        wanted = sum(row[choice] for row, choice in zip(each, one, strict=True))
        np.testing.assert_allclose(got, wanted, atol=1e-5)
        probs = [np.exp(row) for row in each]
        wanted = -sum(np.sum(p[p > 0] * np.log(p[p > 0])) for p in probs)
        np.testing.assert_allclose(spread, wanted, atol=1e-5)


def test_probabilities_of_all_architectures_sum_to_one(made):
    policy, params = made
    log_prob, _ = policy.policy.log_prob(params, (), jnp.asarray(EVERY))
    np.testing.assert_allclose(jnp.sum(jnp.exp(log_prob)), 1.0, atol=1e-6)


def test_samples_have_these_probabilities(made):
    policy, params = made
    drawn = policy.policy.sample(params, jax.random.key(0), (), num_samples=20_000)
    names = {tuple(one): index for index, one in enumerate(EVERY[:, 0])}
    counts = np.zeros(len(names))
    for one in np.asarray(drawn.actions[:, 0]):
        counts[names[tuple(one)]] += 1
    log_prob, _ = policy.policy.log_prob(params, (), jnp.asarray(EVERY))
    wanted = np.exp(np.asarray(log_prob[:, 0], np.float64))
    assert stats.chisquare(counts, 20_000 * wanted / wanted.sum()).pvalue > 1e-3
    again, entropy = policy.policy.log_prob(params, (), drawn.actions)
    np.testing.assert_allclose(again, drawn.log_prob, atol=1e-6)
    np.testing.assert_allclose(entropy, drawn.entropy, atol=1e-6)


def test_greedy_takes_the_likeliest_choice_at_every_step(made):
    policy, params = made
    best = policy.policy.sample(params, jax.random.key(0), (), greedy=True).actions[0, 0]
    for place, row in enumerate(plain_log_probs(params, np.asarray(best))):
        assert int(best[place]) == int(np.argmax(row))


def test_a_low_temperature_is_greedy(made):
    policy, params = made
    best = policy.policy.sample(params, jax.random.key(0), (), greedy=True).actions
    cold = policy.policy.sample(params, jax.random.key(1), (), num_samples=50, temperature=1e-4)
    assert np.all(cold.actions == best)


def test_divergence_is_of_the_decisions_that_have_a_prior(made):
    policy, params = made
    got = policy.divergence(params, jnp.asarray(EVERY))[:, 0]
    for one, value in zip(EVERY[:, 0], got, strict=True):
        p = np.exp(plain_log_probs(params, one)[2])
        np.testing.assert_allclose(value, np.sum(p * np.log(p / [0.6, 0.4])), atol=1e-5)
    free = controller([Decision("1", ("a", "b"))], hidden=4)
    assert not np.any(
        free.divergence(free.init(jax.random.key(0)), jnp.zeros((3, 1, 1), jnp.int32))
    )


def test_an_untrained_controller_is_nearly_uniform():
    space = [Decision(str(i), ("a", "b", "c", "d")) for i in range(12)]
    policy = controller(space)
    drawn = policy.policy.sample(policy.init(jax.random.key(0)), jax.random.key(1), ())
    np.testing.assert_allclose(drawn.entropy, 12 * np.log(4), rtol=1e-3)


def test_the_thesis_settings_are_the_defaults():
    params = controller(SPACE).init(jax.random.key(0))
    assert params["lstm"]["w_h"].shape == (100, 400)
    for leaf in jax.tree.leaves(params):
        assert 0.09 < float(jnp.max(jnp.abs(leaf))) <= 0.1
