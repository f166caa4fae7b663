"""The search: its gradients are exact on a space that can be enumerated, and it finds the best."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from enas import decisions, train
from enas.controller import controller
from enas.decisions import Decision
from enas.train import Child
from nco.policy_gradient import Baseline, Learner, moving_average
from tests.contract import check_learner

SPACE = [
    Decision("1", ("a", "b", "c")),
    Decision("2", ("", "+1"), prior=(0.6, 0.4)),
    Decision("2", ("x", "y")),
]
EVERY = decisions.enumerated(SPACE)
VALUES = np.random.default_rng(0).uniform(size=(3, 2, 2)).astype(np.float32)


def score(choices):
    return jnp.asarray(VALUES)[choices[0], choices[1], choices[2]]


def child_of_points():
    """Weights `[3, 2]` of node 1: the loss pulls the chosen row towards the batch."""

    def loss(weights, carry, choices, batch, key):
        del key
        value = 0.5 * jnp.sum(jnp.square(weights[choices[0]] - batch))
        return value, (carry + 1, {"seen": choices[0].astype(jnp.float32)})

    def reward(weights, choices, batch):
        return score(choices) + 0.0 * jnp.sum(weights) + 0.0 * jnp.sum(batch)

    return Child(lambda key: (jnp.zeros((3, 2)), jnp.zeros(())), loss, reward)


def made(**options):
    policy = controller(SPACE, hidden=8, scale=1.0)
    options = {"controller_tx": optax.sgd(1.0)} | options
    return policy, train.search(policy, child_of_points(), optax.sgd(0.5), **options)


def nothing() -> Baseline:
    return Baseline(lambda *_: (), lambda state, reward, inputs, **_: (reward, state, {}))


def expected(policy, params, entropy_weight, prior_weight):
    """E[R + w_e H - w_k KL] over all architectures."""
    actions = jnp.asarray(EVERY)[:, None]
    log_prob, entropy = policy.policy.log_prob(params, (), actions)
    total = jax.vmap(score)(jnp.asarray(EVERY))[:, None] + entropy_weight * entropy
    total = total - prior_weight * policy.divergence(params, actions)
    return jnp.sum(jnp.exp(log_prob) * total)


@pytest.mark.parametrize("weights", [(0.0, 0.0), (0.3, 0.0), (0.1, 0.8)])
def test_the_controllers_step_is_the_gradient_of_the_expected_reward(weights):
    """The mean of 60,000 samples' steps is the exact gradient, within 5 of its standard errors."""
    entropy_weight, prior_weight = weights
    options = {"entropy_weight": entropy_weight, "prior_weight": prior_weight}
    policy, whole = made(baseline=nothing(), num_samples=3000, **options)
    state = whole.init(jax.random.key(0))
    exact = jax.grad(lambda p: expected(policy, p, *weights))(state.controller.params)

    @jax.jit
    def stepped(key):
        controller_state = state.controller.replace(key=key)
        after, _ = whole.controller(state.replace(controller=controller_state), jnp.zeros(2))
        before = state.controller.params
        return jax.tree.map(lambda new, old: new - old, after.controller.params, before)

    steps = jax.lax.map(stepped, jax.random.split(jax.random.key(1), 20))
    for got, wanted in zip(jax.tree.leaves(steps), jax.tree.leaves(exact), strict=True):
        error = np.std(got, axis=0, ddof=1) / np.sqrt(20)
        assert np.all(np.abs(np.mean(got, axis=0) - wanted) < 5 * error + 1e-5)


def test_a_step_of_the_weights_is_the_mean_over_children():
    _, whole = made(num_children=4)
    state = whole.init(jax.random.key(0))
    batch = jnp.array([1.0, 2.0])
    after, said = jax.jit(whole.weights)(state, batch)
    # All children start from zero: each one that takes a row moves it a quarter of 0.5 batch.
    taken = np.asarray(after.weights) / np.asarray(0.5 * batch / 4)
    np.testing.assert_allclose(taken, np.round(taken), atol=1e-6)
    np.testing.assert_allclose(taken.sum(0), [4, 4], atol=1e-6)
    rows = np.round(taken[:, 0])
    np.testing.assert_allclose(said["seen"], rows @ np.arange(3) / 4, atol=1e-6)
    assert float(after.carry) == 1.0
    untouched = jax.tree.leaves(state.controller), jax.tree.leaves(after.controller)
    for old, new in zip(*untouched, strict=True):
        assert np.array_equal(jax.device_get(bits(old)), jax.device_get(bits(new)))


def bits(leaf):
    is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return jax.random.key_data(leaf) if is_key else leaf


def test_proposals_take_the_controllers_place():
    fixed = jnp.array([2, 0, 1], jnp.int32)
    _, whole = made(proposals=lambda key: fixed)
    after, said = whole.weights(whole.init(jax.random.key(0)), jnp.ones(2))
    assert float(said["seen"]) == 2.0
    assert np.array_equal(np.any(np.asarray(after.weights) != 0, axis=1), [False, False, True])


def test_both_updates_keep_the_contract_of_learners():
    _, whole = made(entropy_weight=0.1, prior_weight=0.8)
    for update in (whole.weights, whole.controller):
        check_learner(Learner(whole.init, update), jnp.zeros(2))


def test_it_finds_the_best_of_a_known_space_with_every_seed():
    options = {"num_samples": 8, "baseline": moving_average(0.9)}
    policy, whole = made(controller_tx=optax.adam(0.05), **options)

    def run(key):
        def step(state, _):
            return whole.controller(state, jnp.zeros(2))[0], None

        state = jax.lax.scan(step, whole.init(key), None, length=300)[0]
        chosen = train.sample(policy, state, jax.random.fold_in(key, 9), 10)
        return train.derive(child_of_points(), state.weights, chosen, jnp.zeros(2))

    found = jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(0), 10))
    best = EVERY[np.argmax([VALUES[tuple(one)] for one in EVERY])]
    assert np.all(np.asarray(found.best) == best)
    assert np.all(np.mean(found.rewards, axis=1) > 0.8)  # of all architectures: 0.56


def test_deriving_takes_the_best_sample_however_many_are_evaluated_at_once():
    child, choices = child_of_points(), jnp.asarray(EVERY)
    for at_once in (1, 5, 12):
        found = train.derive(child, jnp.zeros((3, 2)), choices, jnp.zeros(2), at_once=at_once)
        np.testing.assert_allclose(found.rewards, VALUES.reshape(-1))
        assert np.array_equal(found.best, EVERY[np.argmax(VALUES.reshape(-1))])


def test_what_makes_no_search_is_refused():
    for name in ("num_children", "num_samples"):
        with pytest.raises(ValueError, match=f"{name}: expected at least 1, got 0"):
            made(**{name: 0})
