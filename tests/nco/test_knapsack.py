"""The knapsack problem against enumeration, and its solvers against one another."""

import functools
import inspect
import itertools
import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nco import knapsack_solvers, pointer, search
from nco.problems import knapsack
from tests.nco import drawn


def brute_force(weights, values, capacity):
    """The best value of all subsets that fit, in float64."""
    subsets = np.array(list(itertools.product((False, True), repeat=len(weights))))
    totals, worth = subsets @ weights, subsets @ values
    return worth[totals <= capacity * (1 + 1e-12)].max()


# Not subnormal: XLA counts such numbers as zero.
UNIT = st.floats(0, 1, width=32, allow_subnormal=False)
# Halves and quarters: sums are exact, so that exact fits are common.
AMOUNT = (
    st.sampled_from([0.0, 0.1, 0.2, 1 / 3, 1e-300, 1e15, 1e300])
    | st.floats(0, 2)
    | (st.integers(1, 9).map(float))
)
ITEM = st.tuples(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0, 3.0]) | UNIT, UNIT)


@settings(max_examples=40, deadline=None)
@given(items=st.lists(ITEM, min_size=6, max_size=6), seed=st.integers(0, 10**6))
@pytest.mark.parametrize("capacity", [0.0, 1.0, 2.5])
def test_random_solutions_are_feasible_and_complete(items, seed, capacity):
    inputs = jnp.asarray([items], jnp.float32)
    found = random_solver(capacity)(jax.random.key(seed), inputs)
    actions = np.asarray(found.actions[0])
    weights, values = np.asarray(inputs[0], np.float64).T
    chosen = actions[actions >= 0]
    assert len(set(chosen.tolist())) == len(chosen)
    assert (actions[len(chosen) :] == -1).all()
    total = weights[chosen].sum()
    assert total <= capacity + 1e-12
    left = np.setdiff1d(np.arange(6), chosen)
    assert (weights[left] > capacity - total - 1e-12).all()  # nothing else fits
    np.testing.assert_allclose(found.reward[0], values[chosen].sum(), rtol=1e-6)
    assert found.reward[0] <= brute_force(weights, values, capacity) + 1e-6


@functools.cache
def random_solver(capacity):
    problem = knapsack.problem(capacity)
    return jax.jit(lambda key, x: search.random_solutions(problem, key, x))


def test_single_items():
    inputs = jnp.array([[[0.3, 2.0]], [[1.5, 3.0]], [[0.0, 1.0]]])
    found = random_solver(1.0)(jax.random.key(0), inputs)
    np.testing.assert_array_equal(found.actions, [[0], [-1], [0]])
    np.testing.assert_array_equal(found.reward, [2.0, 0.0, 1.0])


def test_rounding_of_many_items_lets_in_nothing_that_does_not_fit():
    # 0.1 in float32 is above a tenth: of 1,000 only 999 fit into 100, but float32 sums drift.
    weight = np.float32(0.1)
    inputs = jnp.stack([jnp.full((1, 1000), weight), jnp.ones((1, 1000))], axis=-1)
    found = jax.jit(lambda key, x: search.random_solutions(knapsack.problem(100.0), key, x))(
        jax.random.key(0), inputs
    )
    assert int((found.actions >= 0).sum()) == int(100.0 / np.float64(weight)) == 999
    assert found.reward[0] == 999.0


def test_stop_rule_drops_the_item_that_does_not_fit_and_ends():
    problem = knapsack.problem(1.0, stop_rule=True)
    inputs = jnp.array([[[0.625, 1.0], [0.5, 2.0], [0.375, 3.0], [0.0, 4.0]]])
    state, step, feasible = problem.reset(inputs), jax.jit(problem.step), jax.jit(problem.feasible)
    for action, mask in ((0, [0, 1, 1, 1]), (1, [0, 0, 0, 0])):
        state = step(state, np.array([action], np.int32))
        np.testing.assert_array_equal(feasible(state)[0], np.array(mask, bool))
    actions = jnp.array([[[0, 1, -1, -1]], [[0, 2, 3, 1]], [[1, 0, -1, -1]]], jnp.int32)
    reward = np.asarray(jax.jit(problem.reward)(inputs, actions))
    np.testing.assert_array_equal(reward[:, 0], [1.0, 8.0, 2.0])


def test_the_pointer_network_fills_knapsacks():
    problem, inputs = knapsack.problem(1.0), knapsack.sample(jax.random.key(0), 4, 8)
    policy = pointer.policy(problem)
    params = drawn.parameters(pointer.init, scale=0.6, embed=8, hidden=8)

    @jax.jit
    def run(params, key, inputs):
        sample = policy.sample(params, key, inputs, num_samples=5)
        scores = policy.log_prob(params, inputs, sample.actions)
        return sample, scores, problem.reward(inputs, sample.actions)

    sample, (log_prob, entropy), reward = run(params, jax.random.key(2), inputs)
    np.testing.assert_allclose(sample.log_prob, log_prob, rtol=1e-5)
    np.testing.assert_allclose(sample.entropy, entropy, rtol=1e-5)
    for s, b in itertools.product(range(5), range(4)):
        weights, values = np.asarray(inputs[b], np.float64).T
        chosen = np.asarray(sample.actions[s, b])
        chosen = chosen[chosen >= 0]
        assert weights[chosen].sum() <= 1.0
        np.testing.assert_allclose(reward[s, b], values[chosen].sum(), rtol=1e-6)
        assert reward[s, b] <= brute_force(weights, values, 1.0) + 1e-6


def test_impossible_capacities_are_refused():
    for capacity in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="capacity: expected a finite number"):
            knapsack.problem(capacity)


SOLVERS = {
    "skip": knapsack_solvers.ratio_greedy,
    "stop": lambda *args: knapsack_solvers.ratio_greedy(*args, skip=False),
    "exact": knapsack_solvers.exact,
    "dynamic": knapsack_solvers.dynamic_programming,
}


# Without the tests' checks of annotations, as users call them.
UNCHECKED = {name: inspect.unwrap(solver) for name, solver in SOLVERS.items()}
UNCHECKED["stop"] = lambda *args: UNCHECKED["skip"](*args, skip=False)


@pytest.mark.parametrize("solver", SOLVERS)
@settings(max_examples=40, deadline=None)
@given(items=st.lists(ITEM, min_size=1, max_size=8), capacity=st.sampled_from([0.0, 1.0, 1.75]))
def test_solvers_take_what_fits_and_the_exact_ones_the_best(solver, items, capacity):
    weights, values = np.array(items, np.float64).T
    taken = SOLVERS[solver](weights, values, capacity)
    assert taken.dtype == bool
    assert weights[taken].sum() <= capacity + 1e-12
    best = brute_force(weights, values, capacity)
    assert values[taken].sum() <= best + 1e-9
    if solver in ("exact", "dynamic"):
        # A weight within rounding of an exact fit may be left out.
        tight = brute_force(weights, values, capacity * (1 - 1e-4))
        assert values[taken].sum() >= tight - 1e-6


def most_worth(weights, values, capacity):
    """The largest exact value of all that fits, and whether each subset fits, by fsum."""
    subsets = itertools.product((False, True), repeat=len(weights))
    fitting = [x for x in map(list, subsets) if math.fsum(weights[x]) <= capacity]
    return max(sum(map(Fraction, values[x])) for x in fitting)


@settings(max_examples=60, deadline=None)
@given(
    items=st.lists(st.tuples(AMOUNT, AMOUNT), min_size=1, max_size=6),
    capacity=AMOUNT | st.integers(1, 255),
    filled=st.booleans(),
)
def test_exact_is_exact_whatever_the_magnitudes(items, capacity, filled):
    weights, values = np.array(items, np.float64).T
    if filled or capacity > 1e300:  # what some of the items fill, to the last bit or one more
        chosen = [bool(int(capacity) % 255 >> i & 1) for i in range(len(weights))]
        capacity = math.fsum(weights[chosen])
    best = most_worth(weights, values, capacity)
    for name in ("exact", "skip", "dynamic"):
        taken = SOLVERS[name](weights, values, capacity)
        assert math.fsum(weights[taken]) <= capacity
        found = sum(map(Fraction, values[taken]))
        assert found == best if name == "exact" else found <= best


def test_items_that_fill_the_capacity_exactly_fit():
    for weights, values, capacity, right in (
        ([0.8, 0.4, 0.2, 0.1], [4.0, 3.0, 2.0, 1.0], 1.5, [1, 1, 1, 1]),
        ([1 / 3, 2 / 3], [1.0, 1.0], 1.0, [1, 1]),
        ([1e15, 2e15, 3e15], [1.0, 2.0, 2.5], 3e15, [1, 1, 0]),
        ([0.1] * 10, [1.0] * 10, 1.0, [1] * 10),
        ([1.0, 2.0**-53], [1.0, 1.0], 1.0, [1, 1]),  # a tie, rounded to the even 1
        ([1.0, 2.0**-52], [1.0, 1.0], 1.0, [0, 1]),
        ([1.0 + 2.0**-52, 2.0**-53], [1.0, 1.0], 1.0 + 2.0**-52, [0, 1]),  # a tie, rounded up
    ):
        taken = knapsack_solvers.exact(np.array(weights), np.array(values), capacity)
        assert math.fsum(np.array(weights)[taken]) <= capacity
        if sum(right) == 1:
            assert taken.sum() == 1
        else:
            np.testing.assert_array_equal(taken, np.array(right, bool))


def test_dynamic_programming_takes_nothing_that_overflows_by_less_than_its_slack():
    weights = np.full(10, 0.1 * (1 + 5e-13))
    taken = knapsack_solvers.dynamic_programming(weights, np.ones(10), 1.0, steps=1000)
    assert taken.sum() == 9
    assert knapsack_solvers.dynamic_programming(np.full(10, 0.1), np.ones(10), 1.0).all()


def test_values_that_hang_on_weights_are_proven_or_refused():
    rng = np.random.default_rng(0)
    whole = rng.integers(1, 1000, 60).astype(float)
    for values in (whole, whole + 100.0, whole + rng.integers(-50, 50, 60).clip(-whole + 1)):
        taken = knapsack_solvers.exact(whole, values, 12_000.0)
        best = np.zeros(12_001)
        for weight, value in zip(whole.astype(int), values, strict=True):
            best[weight:] = np.maximum(best[weight:], best[:-weight] + value)
        assert values[taken].sum() == best[-1]
        assert whole[taken].sum() <= 12_000
    fine = rng.uniform(size=60)
    with pytest.raises(RuntimeError, match="no proof of an optimum of 60 items within 1000 states"):
        knapsack_solvers.exact(fine, fine, 12.0, most_states=1000)


def test_the_public_instances_have_the_published_optima():
    """The first 200 of numpy's seed 1234, against dynamic programming; and the greedy rules."""
    items = np.random.RandomState(1234).uniform(size=(10_000, 50, 2))[:200]
    worth = {
        name: np.array([x[solver(*x.T, 12.5), 1].sum() for x in items])
        for name, solver in SOLVERS.items()
    }
    missed = worth["exact"] - worth["dynamic"]
    assert missed.min() > -1e-9
    assert missed.mean() < 2e-3  # weights rounded up by some 1e-4 each
    finer = functools.partial(knapsack_solvers.dynamic_programming, steps=2_000_000)
    found = [x[finer(*x.T, 12.5), 1].sum() for x in items[10:11]]
    np.testing.assert_allclose(found, worth["exact"][10:11])
    assert (worth["stop"] <= worth["skip"]).all()
    assert (worth["skip"] <= worth["exact"] + 1e-9).all()
    np.testing.assert_allclose(worth["exact"].mean(), 20.01662, atol=1e-4)


@pytest.mark.parametrize(
    ("weights", "values", "capacity", "words"),
    [
        ([1.0, 2.0], [1.0], 1.0, r"expected the same shape \[item\], got \[2\] and \[1\]"),
        ([], [], 1.0, "the same shape"),
        ([-1.0], [1.0], 1.0, "weights: expected finite numbers of at least 0"),
        ([1.0], [float("nan")], 1.0, "values: expected finite numbers"),
        ([1.0], [1.0], -2.0, "capacity: expected a finite number of at least 0, got -2.0"),
    ],
)
@pytest.mark.parametrize("solver", SOLVERS)
def test_bad_instances_are_named(solver, weights, values, capacity, words):
    with pytest.raises(ValueError, match=words):
        UNCHECKED[solver](np.array(weights, float), np.array(values, float), capacity)


def test_ratios_beyond_the_range_of_floats_are_compared_exactly():
    large, tiny = 2.0**1000, 2.0**-74  # as shares of the sums, the last item has no precision
    weights = np.array([0.5 * large, 0.99 * large, large, 1.4 * tiny])
    values = np.array([0.3 * large, 0.42 * large, 0.28 * large, 0.6 * tiny])
    taken = knapsack_solvers.exact(weights, values, large)
    assert taken.tolist() == [False, True, False, True]
