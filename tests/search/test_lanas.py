"""LaNAS: its tree, its samplers, and the compiled form against a slow oracle."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from search import bandit, benchmarks, interface, lanas, lanas_table, linear_tree, spaces
from search.acquisition import expected_improvement
from tests.search.contract import check_searcher

TABLE = spaces.choices([3] * 5)
BOX = spaces.box(-2.0, 2.0, 4)


def additive(cells, seed=0):
    """Rewards that a linear function explains for the most part."""
    rng = np.random.default_rng(seed)
    parts = rng.standard_normal((5, 3))
    return parts[np.arange(5), cells].sum(1) + 0.3 * rng.standard_normal(len(cells))


@pytest.fixture
def samples():
    rng = np.random.default_rng(1)
    cells = TABLE.every()[rng.permutation(243)[:90]]
    return TABLE.one_hot(cells), additive(cells)


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("algorithm", 0.5 + 2 * 0.1 * np.sqrt(2 * np.log(20) / 4)),
        ("equation", 0.5 + 0.1 * np.sqrt(np.log(20) / 4)),
        ("root", 0.5 + 2 * 0.1 * np.sqrt(2 * np.sqrt(20) / 4)),
    ],
)
def test_bounds_are_as_printed(form, expected):
    found = bandit.upper_bound(np.array([0.5, 0.9]), 20, np.array([4, 0]), c=0.1, form=form)
    np.testing.assert_allclose(found, [expected, np.inf])
    compiled = bandit.upper_bound(
        jnp.array([0.5, 0.9]), 20, jnp.array([4, 0]), c=0.1, form=form, xp=jnp
    )
    np.testing.assert_allclose(compiled, found, rtol=1e-6)


def test_the_tree_splits_by_least_squares_at_the_mean(samples):
    encodings, values = samples
    tree = linear_tree.learn(encodings, values, 4)
    assert (len(tree.split), tree.split[0]) == (7, True)
    design = np.column_stack([encodings, np.ones(len(values))])
    members = {0: np.arange(len(values))}
    for node in range(7):
        here = members.get(node)
        if here is None or not tree.split[node]:
            continue
        fit, *_ = np.linalg.lstsq(design[here], values[here], rcond=None)
        good = design[here] @ fit > values[here].mean()
        found = encodings[here] @ tree.weights[node] + tree.offsets[node] > 0
        np.testing.assert_array_equal(found, good)
        members[2 * node + 1], members[2 * node + 2] = here[good], here[~good]
    leaves = linear_tree.route(tree, encodings)
    for node, here in members.items():
        if node >= 7 or not tree.split[node]:
            np.testing.assert_array_equal(np.flatnonzero(leaves == node), here)


def test_left_is_better_than_right(samples):
    encodings, values = samples
    tree = linear_tree.learn(encodings, values, 4)
    counts = linear_tree.count(tree, linear_tree.route(tree, encodings), values)
    mean = counts.total / counts.known
    for node in np.flatnonzero(tree.split):
        assert mean[2 * node + 1] > mean[2 * node + 2]


def test_what_cannot_be_split_is_a_leaf():
    encodings = TABLE.one_hot(TABLE.every()[:20])
    for values in (np.full(20, 0.5), np.zeros(20)):
        assert not linear_tree.learn(encodings, values, 3).split.any()
    assert not linear_tree.learn(encodings[:1], np.ones(1), 3).split.any()
    assert linear_tree.bare(1, 4).split.shape == (0,)
    np.testing.assert_array_equal(linear_tree.route(linear_tree.bare(1, 15), encodings), 0)


def test_counts_are_what_lies_in_each_region(samples):
    encodings, values = samples
    values = values.copy()
    values[::7] = np.nan
    tree = linear_tree.learn(encodings, np.nan_to_num(values), 4)
    counts = linear_tree.count(tree, linear_tree.route(tree, encodings), values)
    for node in range(15):
        if node and not tree.split[(node - 1) // 2]:
            assert counts.visits[node] == 0
            continue
        inside = linear_tree.inside(tree, node, encodings)
        assert counts.visits[node] == inside.sum()
        assert counts.known[node] == np.isfinite(values[inside]).sum()
        np.testing.assert_allclose(counts.total[node], np.nansum(values[inside]))


def test_without_exploration_the_descent_is_greedy(samples):
    encodings, values = samples
    tree = linear_tree.learn(encodings, values, 4)
    leaves = linear_tree.route(tree, encodings)
    leaf = lanas.select(tree, leaves, values, c=0.0)
    assert leaf == linear_tree.path(leaf)[-1]
    assert all(node % 2 == 1 for node in linear_tree.path(leaf)[1:])
    # The bound of a child that was visited a thousand times less outweighs its mean.
    far = lanas.select(tree, np.concatenate([leaves, np.full(10**5, leaf)]),
                       np.concatenate([values, np.full(10**5, np.nan)]), c=1.0)  # fmt: skip
    assert far != leaf


@pytest.mark.parametrize("sampling", ["rejection", "hit_and_run"])
@pytest.mark.parametrize(
    "space", [TABLE, BOX, benchmarks.supernet()], ids=["choices", "box", "supernet"]
)
def test_it_keeps_the_contract(space, sampling):
    searcher = lanas.searcher(space, height=3, num_init=6, select_every=3, sampling=sampling, c=0.5)
    check_searcher(
        searcher,
        lambda x, seed: -float(((np.asarray(x) - 1.0) ** 2).sum()),
        budget=18,
        valid=lambda x: space.contains(x[None])[0],
    )


@pytest.mark.parametrize("sampling", ["rejection", "hit_and_run"])
def test_trials_lie_in_the_region_that_was_selected(sampling):
    searcher = lanas.searcher(BOX, height=4, num_init=30, select_every=10, sampling=sampling, c=0.0)
    run = interface.maximise(searcher, lambda x, seed: -float(x @ x), budget=30)
    state = run.state
    for _ in range(9):
        state, (trial,) = searcher.ask(state, 1)
        encodings = BOX.to_unit(state.history.points[:-1])
        leaf = lanas.select(
            state.tree, linear_tree.route(state.tree, encodings), state.history.values[:-1], c=0.0
        )
        assert leaf >= 7
        assert linear_tree.inside(state.tree, leaf, BOX.to_unit(trial.point[None]))[0]
        state = searcher.tell(state, [interface.Outcome(trial.id, float(-trial.point @ trial.point),
                                                        "ok")])  # fmt: skip


def test_a_walk_is_uniform_in_its_region():
    space = spaces.box(0.0, 1.0, 2)
    tree = linear_tree.LinearTree(
        np.array([[1.0, 0.0], [0.0, -1.0], [0.0, 0.0]]),
        np.array([-0.5, 0.25, 0.0]),
        np.array([True, True, False]),
    )  # left of left: x > 0.5 and y < 0.25
    rng = np.random.default_rng(0)
    points = lanas.walk(space, space.to_unit, tree, 3, np.array([0.9, 0.1]), rng, steps=4000)
    assert linear_tree.inside(tree, 3, points).all()
    np.testing.assert_allclose(points.mean(0), [0.75, 0.125], atol=0.02)
    np.testing.assert_allclose(points.std(0), [0.5 / 12**0.5, 0.25 / 12**0.5], rtol=0.1)


def test_a_walk_on_choices_reaches_all_of_a_region():
    tree = linear_tree.learn(TABLE.one_hot(TABLE.every()), TABLE.every().sum(1).astype(float), 2)
    region = {tuple(x) for x in TABLE.every()[linear_tree.inside(tree, 1, TABLE.one_hot(
        TABLE.every()))]}  # fmt: skip
    points = lanas.walk(
        TABLE, TABLE.one_hot, tree, 1, np.full(5, 2), np.random.default_rng(0), steps=5000
    )
    assert {tuple(x) for x in points} == region


@pytest.mark.parametrize("c", [0.0, 1.0])
def test_no_choice_comes_twice_until_all_are_known(c):
    small = spaces.choices([2, 3, 2])
    searcher = lanas.searcher(small, height=4, num_init=3, select_every=2, c=c)
    run = interface.maximise(searcher, lambda x, seed: float(x.sum()), budget=15)
    points = [tuple(trial.point) for trial in run.trials]
    assert len(set(points[:12])) == 12
    assert len(points) == 15


def test_expected_improvement_is_an_expectation():
    rng = np.random.default_rng(0)
    mean, spread = np.array([0.0, 1.0, -2.0, 0.3]), np.array([1.0, 0.5, 2.0, 0.0])
    draws = mean + spread * rng.standard_normal((400_000, 4))
    expected = np.maximum(draws - 0.2 - 0.1, 0.0).mean(0)
    found = expected_improvement(mean, spread, 0.2, margin=0.1)
    np.testing.assert_allclose(found, expected, atol=5e-3)
    with pytest.raises(ValueError, match="deviation"):
        expected_improvement(mean, -spread, 0.0)


def test_the_bayesian_variant_takes_the_best_candidate_of_the_region():
    def exact(encodings, values, rng):
        return lambda at: (-((at - 0.75) ** 2).sum(1), np.full(len(at), 1e-3))

    def run(surrogate):
        searcher = lanas.searcher(
            BOX, height=2, num_init=10, select_every=5, c=0.0, surrogate=surrogate
        )
        return interface.maximise(
            searcher, lambda x, seed: -float(((x - 1.0) ** 2).sum()), budget=30, seed=2
        )

    assert run(exact).best[-1] > run(None).best[-1]
    assert run(exact).best[-1] > -0.3


def slow(encodings, values, key, budget, settings):
    """The compiled search again, a trial at a time in float64, with the same random numbers."""
    first, rest = jax.random.split(key)
    asked = list(np.asarray(jax.random.permutation(first, len(values)))[: settings.num_init])
    draws = np.asarray(jax.random.uniform(rest, (budget - settings.num_init,)))
    for number, drawn in enumerate(draws):
        if number % settings.select_every == 0:
            tree = linear_tree.learn(encodings[asked], values[asked], settings.height)
            everyone = linear_tree.route(tree, encodings)
        leaf = lanas.select(tree, everyone[asked], values[asked], c=settings.c, form=settings.form)
        for node in reversed(linear_tree.path(leaf)):
            inside = linear_tree.inside(tree, node, encodings)
            free = [row for row in np.flatnonzero(inside) if row not in asked]
            if free:
                break
        asked.append(free[min(int(drawn * np.float32(len(free))), len(free) - 1)])
    return np.array(asked)


@pytest.mark.parametrize(
    "settings",
    [
        lanas_table.Settings(4, 0.3, "algorithm", 10, 5),
        lanas_table.Settings(5, 0.0, "algorithm", 20, 10),
        lanas_table.Settings(2, 1.0, "equation", 10, 20),
    ],
)
def test_the_compiled_form_is_the_slow_one(settings):
    # One-hot rows often lie on a border but for rounding; these do not.
    rng = np.random.default_rng(0)
    encodings = rng.standard_normal((243, 6))
    values = encodings @ rng.standard_normal(6) + 0.5 * rng.standard_normal(243)
    keys = jax.random.split(jax.random.key(5), 2)
    found = lanas_table.search(
        jnp.asarray(encodings, jnp.float32),
        jnp.asarray(values, jnp.float32),
        keys,
        budget=130,
        settings=settings,
        together=2,
    )
    for key, rows in zip(keys, np.asarray(found), strict=True):
        np.testing.assert_array_equal(rows, slow(encodings, values, key, 130, settings))


SEARCH = {"height": 4, "c": 0.1, "num_init": 20, "select_every": 10}


def needed(asked, values):
    """Samples until the best row is found; one more than all where it is not."""
    return [*list(asked), values.argmax()].index(values.argmax()) + 1


@pytest.fixture(scope="module")
def compiled_rows():
    """The rows that 104 seeds, 8 at a time, of the compiled form ask for."""
    cells = TABLE.every()
    found = lanas_table.search(
        jnp.asarray(TABLE.one_hot(cells), jnp.float32),
        jnp.asarray(additive(cells), jnp.float32),
        jax.random.split(jax.random.key(0), 104),
        budget=120,
        settings=lanas_table.Settings(**SEARCH),
    )
    return np.asarray(found)


def test_it_finds_the_best_row_sooner_than_chance(compiled_rows):
    values = additive(TABLE.every())
    assert all(len(set(each)) == 120 for each in compiled_rows)
    assert np.median([needed(each, values) for each in compiled_rows]) < 244 / 2 / 2


def test_the_ask_and_tell_form_needs_as_many_samples_as_the_compiled_one(compiled_rows):
    values = additive(TABLE.every())
    searcher = lanas.searcher(TABLE, **SEARCH)
    told = []
    for seed in range(8):
        run = interface.maximise(
            searcher, lambda x, _: float(values[TABLE.rows(x[None])[0]]), budget=60, seed=seed
        )
        told.append(needed(TABLE.rows(np.array([trial.point for trial in run.trials])), values))
    compiled = [needed(each[:60], values) for each in compiled_rows]
    error = np.std(compiled) / 8**0.5
    assert abs(np.mean(told) - np.mean(compiled)) < 3 * error


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"height": 0}, "height: expected at least 1"),
        ({"c": -1.0}, "c: expected a finite number"),
        ({"num_init": 0}, "num_init: expected at least 1"),
    ],
)
def test_settings_out_of_range_are_refused(change, words):
    with pytest.raises(ValueError, match=words):
        lanas.searcher(TABLE, **change).init(0)
    with pytest.raises(ValueError, match=words.split(":")[0]):
        lanas_table.check(lanas_table.Settings()._replace(**change), 90, 243)


def test_an_unknown_bound_is_refused():
    with pytest.raises(ValueError, match="form: expected one of algorithm, equation, root"):
        bandit.check(0.1, "printed")


@pytest.mark.parametrize("budget", [40, 95, 300])
def test_a_budget_that_does_not_fit_is_refused(budget):
    with pytest.raises(ValueError, match="budget: expected"):
        lanas_table.check(lanas_table.Settings(), budget, 243)


def test_paths_are_heap_paths():
    assert linear_tree.path(0) == [0]
    assert linear_tree.path(12) == [0, 2, 5, 12]
    where = np.asarray(lanas_table._ancestry(4))
    for one, other in itertools.product(range(15), repeat=2):
        assert where[one, other] == (other in linear_tree.path(one))
