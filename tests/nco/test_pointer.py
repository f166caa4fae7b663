"""The pointer network and its critic against slow NumPy ones.

What a check needs is one compiled program, and tests share the programs of one shape: nearly all
of the time goes to compiling.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nco import attention, critic, lstm, pointer
from nco.problems import tsp
from tests.nco import drawn, oracle

POLICY = pointer.policy(tsp.problem)
READ = pointer.Settings(center=0.5, spread=0.3)


def _setup(items=6, batch=3, scale=0.6, hidden=16, settings=pointer.THESIS):
    init = functools.partial(pointer.init, settings=settings)
    params = drawn.parameters(init, scale=scale, embed=12, hidden=hidden)
    return params, drawn.instances(batch, items), jax.random.key(0)


def _float64(tree):
    return jax.tree.map(lambda x: np.asarray(x, np.float64), tree)


@functools.partial(jax.jit, static_argnames=("num_samples", "greedy"))
def _sampled(params, key, inputs, *, num_samples, greedy):
    return POLICY.sample(params, key, inputs, num_samples=num_samples, greedy=greedy).actions


@jax.jit
def _sampled_and_scored(params, key, inputs):
    """Three samples an instance and their scores, each with the gradient of its log-probability."""

    def sampled(p):
        sample = POLICY.sample(p, key, inputs, num_samples=3)
        return sample.log_prob.sum(), sample

    sampled_grad, sample = jax.grad(sampled, has_aux=True)(params)

    def scored(p):
        log_prob, entropy = POLICY.log_prob(p, inputs, sample.actions)
        return log_prob.sum(), (log_prob, entropy)

    scored_grad, scores = jax.grad(scored, has_aux=True)(params)
    return sample, sampled_grad, scores, scored_grad


@pytest.mark.parametrize(("glimpses", "clip"), [(0, None), (1, 10.0), (1, None), (2, 5.0)])
def test_step_distributions_equal_the_numpy_network(glimpses, clip):
    params, inputs, key = _setup(settings=pointer.Settings(glimpses, clip))

    @jax.jit
    def steps(params, inputs):
        actions = POLICY.sample(params, key, inputs, num_samples=2).actions
        encoded = pointer.encode(params, inputs)
        return actions, *pointer.step_log_probs(params, tsp.problem, inputs, encoded, actions)

    actions, log_probs, taken = steps(params, inputs)
    assert taken.all()
    for s, b in itertools.product(range(2), range(3)):
        expected = oracle.pointer_probabilities(
            _float64(params), _float64(inputs[b]), np.asarray(actions[s, b]), glimpses, clip
        )
        np.testing.assert_allclose(np.exp(log_probs[:, s, b]), expected, atol=2e-6)


def test_greedy_decoding_takes_the_numpy_networks_argmax():
    params, inputs, key = _setup(items=9)
    actions = np.asarray(_sampled(params, key, inputs, num_samples=4, greedy=True))
    for s, b in itertools.product(range(4), range(3)):
        rows = oracle.pointer_probabilities(_float64(params), _float64(inputs[b]), actions[s, b])
        assert (rows.argmax(1) == actions[s, b]).all()


@pytest.fixture(scope="module")
def enumerated():
    """The scores of all 24 tours of four cities, and 20,000 samples."""
    params, inputs, key = _setup(items=4, batch=1)
    tours = np.array(list(itertools.permutations(range(4))), np.int32)

    @jax.jit
    def run(params, key, inputs, tours):
        samples = POLICY.sample(params, key, inputs, num_samples=20_000).actions
        return *POLICY.log_prob(params, inputs, tours[:, None]), samples

    log_prob, entropy, samples = (np.asarray(x)[:, 0] for x in run(params, key, inputs, tours))
    return tours, log_prob.astype(np.float64), entropy, samples


def test_samples_follow_the_policys_own_distribution(enumerated):
    tours, log_prob, _, samples = enumerated
    probability = np.exp(log_prob)
    np.testing.assert_allclose(probability.sum(), 1.0, rtol=1e-5)
    observed = np.array([(samples == tour).all(1).sum() for tour in tours])
    expected = len(samples) * probability
    chi_square = ((observed - expected) ** 2 / expected).sum()
    assert chi_square < 49.7  # 99.9% quantile at 23 degrees of freedom
    assert chi_square > 1.0


def test_entropy_is_that_of_the_distribution_over_tours(enumerated):
    # Chain rule: the mean of the summed step entropies is the entropy of the tours themselves.
    _, log_prob, entropy, _ = enumerated
    p = np.exp(log_prob)
    np.testing.assert_allclose((p * entropy).sum(), -(p * log_prob).sum(), rtol=1e-5)


@jax.jit
def _first_choice(params, inputs, temperature):
    encoded = pointer.encode(params, inputs)
    first, _ = pointer._first_state(params, tsp.problem, inputs, encoded, 1)
    everything = jnp.ones((1, 1, *inputs.shape[:2]), bool)
    return pointer.point(params, encoded, first[0][None], everything, temperature=temperature)


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_temperature_divides_the_clipped_logits(temperature):
    params, inputs, _ = _setup()
    found = _first_choice(params, inputs, temperature)
    for b in range(3):
        rows = oracle.pointer_probabilities(
            _float64(params), _float64(inputs[b]), np.arange(6), temperature=temperature
        )
        np.testing.assert_allclose(np.exp(found[0, 0, b]), rows[0], atol=2e-6)


def test_temperature_sharpens_and_flattens_what_is_sampled():
    params, inputs, key = _setup(items=5, batch=1, scale=0.9)

    @jax.jit
    def agreement(params, key, inputs, temperature):
        best = POLICY.sample(params, key, inputs, greedy=True).actions
        sample = POLICY.sample(params, key, inputs, num_samples=2000, temperature=temperature)
        return jnp.mean(jnp.all(sample.actions == best, axis=-1))

    def hits(temperature):
        return float(agreement(params, key, inputs, temperature))

    assert hits(0.25) > hits(1.0) > hits(4.0)


def test_parameters_that_are_not_finite_still_give_permutations():
    params, inputs, key = _setup(items=9)
    broken = jax.tree.map(lambda x: x * np.float32(np.nan), params)
    for greedy in (False, True):
        actions = _sampled(broken, key, inputs, num_samples=4, greedy=greedy)
        assert (np.sort(actions, axis=-1) == np.arange(9)).all()


@pytest.mark.parametrize("items", [1, 2, 9])
def test_every_tour_is_a_permutation(items):
    params, inputs, key = _setup(items=items)
    for greedy in (False, True):
        actions = _sampled(params, key, inputs, num_samples=4, greedy=greedy)
        assert actions.shape == (4, 3, items)
        assert (np.sort(actions, axis=-1) == np.arange(items)).all()


def test_a_single_city_has_one_tour_and_no_gradient():
    params, inputs, key = _setup(items=1)
    sample, grads, _, _ = _sampled_and_scored(params, key, inputs)
    assert not np.any(sample.log_prob)
    assert all(not np.any(g) for g in jax.tree.leaves(grads))


def test_sampled_log_prob_equals_rescored_sum_of_steps_and_its_gradient():
    params, inputs, key = _setup()
    sample, sampled_grad, scores, scored_grad = _sampled_and_scored(params, key, inputs)
    log_prob, entropy = scores
    np.testing.assert_allclose(sample.log_prob, log_prob, rtol=1e-5)
    np.testing.assert_allclose(sample.entropy, entropy, rtol=1e-5)

    @jax.jit
    def steps(params, inputs, actions):
        encoded = pointer.encode(params, inputs)
        return pointer.step_log_probs(params, tsp.problem, inputs, encoded, actions)[0]

    index = np.moveaxis(np.asarray(sample.actions), -1, 0)[..., None]
    each = np.take_along_axis(np.asarray(steps(params, inputs, sample.actions)), index, axis=-1)
    np.testing.assert_allclose(log_prob, each[..., 0].sum(0), rtol=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4, rtol=1e-4),
        sampled_grad,
        scored_grad,
    )


def test_centred_and_scaled_features_are_read_as_such():
    params, inputs, key = _setup()
    moved = (inputs - np.float32(0.5)) / np.float32(0.3)
    reading = params | {"settings": READ}
    mine, _, _, grad = _sampled_and_scored(reading, key, inputs)
    theirs, _, _, their_grad = _sampled_and_scored(params, key, moved)
    np.testing.assert_array_equal(mine.actions, theirs.actions)
    np.testing.assert_allclose(mine.log_prob, theirs.log_prob, rtol=1e-4)
    for a, b in zip(jax.tree.leaves(grad), jax.tree.leaves(their_grad), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
    assert (_sampled(reading, key, inputs, num_samples=1, greedy=True) >= 0).all()


def test_parameters_bring_their_settings_or_are_refused():
    params, inputs, key = _setup(settings=READ)
    assert params["settings"] == READ
    arrays = {name: part for name, part in params.items() if name != "settings"}
    with pytest.raises(ValueError, match=r"params: expected the entry 'settings'.*got .*'embed'"):
        POLICY.sample(arrays, key, jnp.asarray(inputs))
    with pytest.raises(ValueError, match=r"settings"):
        jax.tree.map(np.add, params, params | {"settings": pointer.THESIS})


def test_gradient_of_log_prob_equals_finite_differences(x64):
    params, inputs, _ = _setup(items=5, batch=2, hidden=4)
    params, inputs = _float64(params), jnp.asarray(inputs, jnp.float64)
    tours = jnp.array([[[0, 3, 2, 4, 1], [4, 1, 0, 2, 3]]], jnp.int32)
    value_and_grad = jax.jit(
        jax.value_and_grad(lambda p: POLICY.log_prob(p, inputs, tours)[0].sum())
    )

    _, grads = value_and_grad(params)
    direction = jax.tree.map(lambda x: np.random.default_rng(x.size).normal(size=x.shape), params)
    for name in params:
        only = {
            k: jax.tree.map(lambda d, keep=float(k == name): d * keep, v)
            for k, v in direction.items()
        }
        ahead, _ = value_and_grad(jax.tree.map(lambda p, d: p + 1e-5 * d, params, only))
        behind, _ = value_and_grad(jax.tree.map(lambda p, d: p - 1e-5 * d, params, only))
        slope = sum(
            np.vdot(g, d)
            for g, d in zip(jax.tree.leaves(grads), jax.tree.leaves(only), strict=True)
        )
        np.testing.assert_allclose(
            float(slope), float((ahead - behind) / 2e-5), rtol=1e-6, atol=1e-9
        )


def _grads(function, *args):
    """The gradient of a scalar in all arguments, compiled."""
    return jax.jit(jax.grad(function, argnums=tuple(range(len(args)))))(*args)


def test_lstm_gradient_equals_autodiff_of_the_plain_formulas(x64):
    rng = np.random.default_rng(0)
    cell = _float64(drawn.parameters(lstm.init, scale=0.7, input_dim=3, hidden=5))
    inputs, carry = rng.normal(size=(6, 2, 3)), tuple(rng.normal(size=(2, 2, 5)))

    def plain(cell, inputs, carry):
        def body(carry, x):
            gates = x @ cell["w_x"] + carry[0] @ cell["w_h"] + cell["b"][None]
            i, f, o, g = jnp.split(gates, 4, -1)
            memory = jax.nn.sigmoid(f + 1.0) * carry[1] + jax.nn.sigmoid(i) * jnp.tanh(g)
            carry = (jax.nn.sigmoid(o) * jnp.tanh(memory), memory)
            return carry, carry[0]

        carry, states = jax.lax.scan(body, carry, inputs)
        return states, carry

    def scalar(function):
        def inner(*args):
            states, (hidden, memory) = function(*args)
            return jnp.sum(jnp.sin(states)) + jnp.sum(hidden * memory)

        return inner

    args = (cell, inputs, carry)
    ours = _grads(scalar(lambda c, x, s: lstm.run(lstm.fold(c), x, s)), *args)
    theirs = _grads(scalar(plain), *args)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11), ours, theirs)

    def replayed(cell, inputs, carry):
        weights, fixed = lstm.fold(cell), jax.lax.stop_gradient((cell, inputs, carry))

        def body(state, x):
            done = lstm.traced_step(lstm.fold(fixed[0]), state, x)
            return (done.hidden, done.memory), done

        _, trace = jax.lax.scan(body, fixed[2], fixed[1])
        return lstm.replay(weights, inputs, carry, trace)

    from_states = [
        _grads(lambda *a, f=f: jnp.sum(jnp.sin(f(*a))), *args)
        for f in (replayed, lambda *a: plain(*a)[0])
    ]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11), *from_states)


def test_attention_scores_and_gradient_equal_those_of_the_plain_formula(x64):
    rng = np.random.default_rng(0)
    head = _float64(drawn.parameters(attention.init, scale=0.9, hidden=5))
    references, queries = rng.normal(size=(2, 4, 5)), rng.normal(size=(3, 6, 2, 5))

    def plain(head, references, queries):
        sums = (references @ head["w_ref"])[None, None] + (queries @ head["w_q"])[:, :, :, None]
        return jnp.tanh(sums) @ head["v"]

    def ours(head, references, queries):
        return attention.scores(head, attention.keys_of(head, references), queries)

    def scores_and_grads(function):
        def scalar(*args):
            scores = function(*args)
            return jnp.sum(jnp.sin(scores)), scores

        grads, scores = jax.jit(jax.grad(scalar, argnums=(0, 1, 2), has_aux=True))(
            head, references, queries
        )
        return scores, grads

    (scores, grads), (plain_scores, plain_grads) = map(scores_and_grads, (ours, plain))
    np.testing.assert_allclose(scores, plain_scores, rtol=1e-9)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-12), grads, plain_grads
    )


@jax.jit
def _scores(head, references, queries):
    return attention.scores(head, attention.keys_of(head, references), queries)


@pytest.mark.parametrize(("size", "error"), [(0.01, 2e-6), (1.0, 2e-6), (20.0, 5e-6)])
def test_attention_scores_keep_float32_accuracy_at_large_and_small_projections(size, error):
    rng = np.random.default_rng(3)
    head = {"w_ref": np.eye(8), "w_q": np.eye(8), "v": rng.normal(size=8)}
    references, queries = (
        rng.uniform(-size, size, (2, 5, 8)),
        rng.uniform(-size, size, (3, 1, 2, 8)),
    )
    expected = np.tanh(references[None, None] + queries[:, :, :, None]) @ head["v"]
    in_float32 = jax.tree.map(lambda x: x.astype(np.float32), (head, references, queries))
    np.testing.assert_allclose(_scores(*in_float32), expected, atol=error)


@pytest.mark.parametrize(
    ("options", "error"), [({}, 3e-6), ({"center": 0.5, "spread": 0.3}, 1e-5)], ids=str
)
def test_critic_equals_the_numpy_critic_and_reads_centred_and_scaled_features(options, error):
    params = drawn.parameters(critic.init, scale=0.5, embed=12, hidden=16)
    inputs = drawn.instances(4, 7)
    read = (_float64(inputs) - options.get("center", 0.0)) / options.get("spread", 1.0)
    expected = [oracle.critic_value(_float64(params), x) for x in read]
    found = jax.jit(functools.partial(critic.apply, **options))(params, inputs)
    np.testing.assert_allclose(found, expected, atol=error)


def test_init_draws_every_parameter_from_the_seeds_interval():
    params = pointer.init(jax.random.key(0)) | {"critic": critic.init(jax.random.key(1))}
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(params)]
    for leaf in leaves:
        assert np.abs(leaf).max() <= 0.08
    flat = np.concatenate([np.ravel(x) for x in leaves])
    np.testing.assert_allclose(flat.std(), 0.08 / np.sqrt(3), rtol=0.02)
    assert np.abs(flat.mean()) < 1e-3
