import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nco import attention, critic, lstm, pointer
from nco.problems import tsp
from tests.nco import oracle


def _setup(items=6, batch=3, scale=0.6, hidden=16, seed=0):
    k_params, k_inputs, k_sample = jax.random.split(jax.random.key(seed), 3)
    params = pointer.init(k_params, embed=12, hidden=hidden, scale=scale)
    return params, tsp.sample(k_inputs, batch, items), k_sample


def _float64(tree):
    return jax.tree.map(lambda x: np.asarray(x, np.float64), tree)


@pytest.mark.parametrize(("glimpses", "clip"), [(0, None), (1, 10.0), (1, None), (2, 5.0)])
def test_step_distributions_equal_the_numpy_network(glimpses, clip):
    params, inputs, key = _setup()
    options = {"glimpses": glimpses, "clip": clip}
    policy = pointer.policy(tsp.problem, **options)
    actions = policy.sample(params, key, inputs, num_samples=2).actions
    encoded = pointer.encode(params, inputs)
    log_probs, taken = pointer.step_log_probs(
        params, tsp.problem, inputs, encoded, actions, **options
    )
    assert taken.all()
    for s, b in itertools.product(range(2), range(3)):
        expected = oracle.pointer_probabilities(
            _float64(params), _float64(inputs[b]), np.asarray(actions[s, b]), glimpses, clip
        )
        np.testing.assert_allclose(np.exp(log_probs[:, s, b]), expected, atol=2e-6)


def test_greedy_decoding_takes_the_numpy_networks_argmax():
    params, inputs, _ = _setup(items=8)
    actions = (
        pointer.policy(tsp.problem).sample(params, jax.random.key(0), inputs, greedy=True).actions
    )
    for b in range(3):
        rows = oracle.pointer_probabilities(
            _float64(params), _float64(inputs[b]), np.asarray(actions[0, b])
        )
        assert (rows.argmax(1) == np.asarray(actions[0, b])).all()


def test_samples_follow_the_policys_own_distribution():
    params, inputs, key = _setup(items=4, batch=1)
    policy = pointer.policy(tsp.problem)
    tours = jnp.array(list(itertools.permutations(range(4))), jnp.int32)
    probability = np.exp(policy.log_prob(params, inputs, tours[:, None])[0][:, 0])
    np.testing.assert_allclose(probability.sum(), 1.0, rtol=1e-5)
    count = 20_000
    drawn = np.asarray(policy.sample(params, key, inputs, num_samples=count).actions[:, 0])
    observed = np.array([(drawn == np.asarray(t)).all(1).sum() for t in tours])
    chi_square = ((observed - count * probability) ** 2 / (count * probability)).sum()
    assert chi_square < 49.7  # 99.9% quantile at 23 degrees of freedom
    assert chi_square > 1.0


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_temperature_divides_the_clipped_logits(temperature):
    params, inputs, _ = _setup()
    encoded = pointer.encode(params, inputs)
    first, _ = pointer._first_state(params, tsp.problem, inputs, encoded, 1, 1.0)
    everything = jnp.ones((1, 1, *inputs.shape[:2]), bool)
    found = pointer.point(params, encoded, first[0][None], everything, temperature=temperature)
    for b in range(3):
        rows = oracle.pointer_probabilities(
            _float64(params), _float64(inputs[b]), np.arange(6), temperature=temperature
        )
        np.testing.assert_allclose(np.exp(found[0, 0, b]), rows[0], atol=2e-6)


def test_parameters_that_are_not_finite_still_give_permutations():
    params, inputs, key = _setup()
    broken = jax.tree.map(lambda x: x * jnp.nan, params)
    policy = pointer.policy(tsp.problem)
    for greedy in (False, True):
        actions = policy.sample(broken, key, inputs, num_samples=2, greedy=greedy).actions
        assert (np.sort(actions, axis=-1) == np.arange(6)).all()


def test_a_single_city_has_one_tour_and_no_gradient():
    params, inputs, key = _setup(items=1)
    policy = pointer.policy(tsp.problem)

    def loss(p):
        return policy.sample(p, key, inputs, num_samples=2).log_prob.sum()

    value, grads = jax.value_and_grad(loss)(params)
    assert value == 0.0
    assert all(not np.any(g) for g in jax.tree.leaves(grads))


def test_temperature_sharpens_and_flattens_what_is_sampled():
    params, inputs, key = _setup(items=5, batch=1, scale=0.9)
    policy = pointer.policy(tsp.problem)
    best = policy.sample(params, key, inputs, greedy=True).actions[0, 0]

    def hits(temperature):
        drawn = policy.sample(
            params, key, inputs, num_samples=2000, temperature=temperature
        ).actions
        return float(jnp.mean(jnp.all(drawn[:, 0] == best[None], axis=-1)))

    assert hits(0.25) > hits(1.0) > hits(4.0)


def test_sampled_log_prob_equals_rescored_sum_of_steps_and_its_gradient():
    params, inputs, key = _setup(items=7)
    policy = pointer.policy(tsp.problem)
    sample = policy.sample(params, key, inputs, num_samples=3)
    log_prob, entropy = policy.log_prob(params, inputs, sample.actions)
    np.testing.assert_allclose(sample.log_prob, log_prob, rtol=1e-5)
    np.testing.assert_allclose(sample.entropy, entropy, rtol=1e-5)
    encoded = pointer.encode(params, inputs)
    steps, _ = pointer.step_log_probs(params, tsp.problem, inputs, encoded, sample.actions)
    index = jnp.moveaxis(sample.actions, -1, 0)[..., None]
    summed = jnp.take_along_axis(steps, index, axis=-1)[..., 0].sum(0)
    np.testing.assert_allclose(log_prob, summed, rtol=1e-5)
    sampled_grad = jax.grad(lambda p: policy.sample(p, key, inputs, num_samples=3).log_prob.sum())(
        params
    )
    scored_grad = jax.grad(lambda p: policy.log_prob(p, inputs, sample.actions)[0].sum())(params)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4, rtol=1e-4),
        sampled_grad,
        scored_grad,
    )


def test_centred_and_scaled_features_are_read_as_such():
    params, inputs, key = _setup(items=6)
    plain = pointer.policy(tsp.problem)
    read = pointer.policy(tsp.problem, center=0.5, spread=0.3)
    moved = (inputs - 0.5) / 0.3
    mine = read.sample(params, key, inputs, num_samples=3)
    theirs = plain.sample(params, key, moved, num_samples=3)
    np.testing.assert_array_equal(mine.actions, theirs.actions)
    np.testing.assert_allclose(mine.log_prob, theirs.log_prob, rtol=1e-4)
    grads = [
        jax.grad(lambda p, f=f, x=x: f.log_prob(p, x, mine.actions)[0].sum())(params)
        for f, x in ((read, inputs), (plain, moved))
    ]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), *grads)
    assert (read.sample(params, key, inputs, greedy=True).actions >= 0).all()


@pytest.mark.parametrize("items", [1, 2, 9])
def test_every_tour_is_a_permutation(items):
    params, inputs, key = _setup(items=items)
    policy = pointer.policy(tsp.problem)
    for greedy in (False, True):
        actions = policy.sample(params, key, inputs, num_samples=4, greedy=greedy).actions
        assert actions.shape == (4, 3, items)
        assert (np.sort(actions, axis=-1) == np.arange(items)).all()


def test_entropy_is_that_of_the_distribution_over_tours():
    # Chain rule: the mean of the summed step entropies is the entropy of the tours themselves.
    params, inputs, _ = _setup(items=5, batch=1)
    tours = jnp.array(list(itertools.permutations(range(5))), jnp.int32)
    log_prob, entropy = pointer.policy(tsp.problem).log_prob(params, inputs, tours[:, None])
    p = np.exp(np.asarray(log_prob[:, 0], np.float64))
    np.testing.assert_allclose(
        (p * np.asarray(entropy[:, 0])).sum(), -(p * np.log(p)).sum(), rtol=1e-5
    )


def test_gradient_of_log_prob_equals_finite_differences(x64):
    params, inputs, _ = _setup(items=5, batch=2, hidden=4)
    params, inputs = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), (params, inputs))
    policy = pointer.policy(tsp.problem)
    tours = jnp.array([[[0, 3, 2, 4, 1], [4, 1, 0, 2, 3]]], jnp.int32)

    def loss(p):
        return policy.log_prob(p, inputs, tours)[0].sum()

    grads = jax.grad(loss)(params)
    direction = jax.tree.map(
        lambda x: jnp.asarray(np.random.default_rng(x.size).normal(size=x.shape)), params
    )
    for name in params:
        only = {
            k: jax.tree.map(lambda d, keep=float(k == name): d * keep, v)
            for k, v in direction.items()
        }
        ahead = loss(jax.tree.map(lambda p, d: p + 1e-5 * d, params, only))
        behind = loss(jax.tree.map(lambda p, d: p - 1e-5 * d, params, only))
        slope = sum(
            jnp.vdot(g, d)
            for g, d in zip(jax.tree.leaves(grads), jax.tree.leaves(only), strict=True)
        )
        np.testing.assert_allclose(
            float(slope), float((ahead - behind) / 2e-5), rtol=1e-6, atol=1e-9
        )


def test_lstm_and_attention_gradients_equal_autodiff_of_the_plain_formulas(x64):
    rng = np.random.default_rng(0)
    key = jax.random.key(1)
    cell = jax.tree.map(
        lambda x: x.astype(jnp.float64), lstm.init(key, input_dim=3, hidden=5, scale=0.7)
    )
    inputs, carry = (
        jnp.asarray(rng.normal(size=(6, 2, 3))),
        tuple(jnp.asarray(rng.normal(size=(2, 2, 5)))),
    )

    def plain(cell, inputs, carry):
        states = []
        for x in inputs:
            gates = x @ cell["w_x"] + carry[0] @ cell["w_h"] + cell["b"][None]
            i, f, o, g = jnp.split(gates, 4, -1)
            memory = jax.nn.sigmoid(f + 1.0) * carry[1] + jax.nn.sigmoid(i) * jnp.tanh(g)
            carry = (jax.nn.sigmoid(o) * jnp.tanh(memory), memory)
            states.append(carry[0])
        return jnp.stack(states), carry

    def scalar(function):
        def inner(*args):
            states, (hidden, memory) = function(*args)
            return jnp.sum(jnp.sin(states)) + jnp.sum(hidden * memory)

        return inner

    ours = jax.grad(scalar(lambda c, x, s: lstm.run(lstm.fold(c), x, s)), argnums=(0, 1, 2))
    theirs = jax.grad(scalar(plain), argnums=(0, 1, 2))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11),
        ours(cell, inputs, carry),
        theirs(cell, inputs, carry),
    )

    def replayed(cell, inputs, carry):
        weights, fixed = lstm.fold(cell), jax.lax.stop_gradient((cell, inputs, carry))
        state, steps = fixed[2], []
        for x in fixed[1]:
            steps.append(lstm.traced_step(lstm.fold(fixed[0]), state, x))
            state = (steps[-1].hidden, steps[-1].memory)
        trace = jax.tree.map(lambda *each: jnp.stack(each), *steps)
        return lstm.replay(weights, inputs, carry, trace)

    from_states = [
        jax.grad(lambda *a, f=f: jnp.sum(jnp.sin(f(*a))), argnums=(0, 1, 2))(cell, inputs, carry)
        for f in (replayed, lambda *a: plain(*a)[0])
    ]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11), *from_states)

    head = jax.tree.map(lambda x: x.astype(jnp.float64), attention.init(key, hidden=5, scale=0.9))
    references, queries = (
        jnp.asarray(rng.normal(size=(2, 4, 5))),
        jnp.asarray(rng.normal(size=(3, 6, 2, 5))),
    )

    def plain_scores(head, references, queries):
        sums = (references @ head["w_ref"])[None, None] + (queries @ head["w_q"])[:, :, :, None]
        return jnp.tanh(sums) @ head["v"]

    def our_scores(head, references, queries):
        return attention.scores(head, attention.keys_of(head, references), queries)

    np.testing.assert_allclose(
        our_scores(head, references, queries), plain_scores(head, references, queries), rtol=1e-9
    )
    for_all = [
        jax.grad(lambda *a, f=f: jnp.sum(jnp.sin(f(*a))), argnums=(0, 1, 2))(
            head, references, queries
        )
        for f in (our_scores, plain_scores)
    ]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-12), *for_all)


@pytest.mark.parametrize(("size", "error"), [(0.01, 2e-6), (1.0, 2e-6), (20.0, 5e-6)])
def test_attention_scores_keep_float32_accuracy_at_large_and_small_projections(size, error):
    rng = np.random.default_rng(3)
    head = {"w_ref": np.eye(8), "w_q": np.eye(8), "v": rng.normal(size=8)}
    references, queries = (
        rng.uniform(-size, size, (2, 5, 8)),
        rng.uniform(-size, size, (3, 1, 2, 8)),
    )
    expected = np.tanh(references[None, None] + queries[:, :, :, None]) @ head["v"]
    head32, references32, queries32 = jax.tree.map(
        lambda x: jnp.asarray(x, jnp.float32), (head, references, queries)
    )
    keys = attention.keys_of(head32, references32)
    np.testing.assert_allclose(attention.scores(head32, keys, queries32), expected, atol=error)


def test_critic_equals_the_numpy_critic():
    key = jax.random.key(5)
    params = critic.init(key, embed=12, hidden=16, scale=0.5)
    inputs = tsp.sample(jax.random.key(6), 4, 7)
    expected = [oracle.critic_value(_float64(params), _float64(x)) for x in inputs]
    np.testing.assert_allclose(critic.apply(params, inputs), expected, atol=3e-6)


def test_the_critic_reads_features_centred_and_scaled_as_the_policy_does():
    params = critic.init(jax.random.key(5), embed=12, hidden=16, scale=0.5)
    inputs = tsp.sample(jax.random.key(6), 4, 7)
    expected = [oracle.critic_value(_float64(params), (_float64(x) - 0.5) / 0.3) for x in inputs]
    found = critic.apply(params, inputs, center=0.5, spread=0.3)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_init_draws_every_parameter_from_the_seeds_interval():
    params = pointer.init(jax.random.key(0)) | {"critic": critic.init(jax.random.key(1))}
    for leaf in jax.tree.leaves(params):
        assert np.abs(leaf).max() <= 0.08
    flat = np.concatenate([np.ravel(x) for x in jax.tree.leaves(params)])
    np.testing.assert_allclose(flat.std(), 0.08 / np.sqrt(3), rtol=0.02)
    assert np.abs(flat.mean()) < 1e-3
