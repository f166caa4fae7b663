"""Known points are answered from memory: the search within goes on as if it had been evaluated."""

import numpy as np
import pytest

from search import baselines, benchmarks, distinct, interface, lanas_table
from search.interface import Searcher, generator
from search.spaces import choices
from tests.search.contract import check_searcher

SPACE = choices([3, 2, 3])


def objective(point, seed):
    return float(point @ np.array([1.0, 2.0, 4.0]))


def evolution():
    return baselines.regularised_evolution(SPACE, population=4, tournament=2)


def test_contract():
    check_searcher(
        distinct.searcher(evolution(), 3),
        objective,
        valid=lambda point: SPACE.contains(point[None])[0],
    )


def test_distinct_trials_are_the_first_of_each_point_of_the_search_within():
    plain = interface.maximise(evolution(), objective, budget=200, seed=1)
    points = np.array([trial.point for trial in plain.trials])
    _, first = np.unique(points, axis=0, return_index=True)
    first = np.sort(first)[:12]
    found = interface.maximise(distinct.searcher(evolution(), 3), objective, budget=12, seed=1)
    np.testing.assert_array_equal([trial.point for trial in found.trials], points[first])
    np.testing.assert_array_equal(found.values, plain.values[first])


def test_a_search_that_is_stuck_repeats_its_first_point_and_asks_no_more():
    calls = []

    def ask(history, n):
        calls.append(n)
        rng = generator(history.seed, history.asked)
        return interface.extend(history, rng.integers(0, 2, (n, 1)))

    two = Searcher(lambda seed: interface.begin(seed, 1, np.int64), ask, interface.record)
    found = interface.maximise(
        distinct.searcher(two, 1, idle=7), lambda point, seed: float(point[0]), budget=30
    )
    assert {int(trial.point[0]) for trial in found.trials[:2]} == {0, 1}
    assert {int(trial.point[0]) for trial in found.trials[2:]} == {int(found.trials[0].point[0])}
    assert len(calls) < 30
    with pytest.raises(ValueError, match="idle: expected at least 1"):
        distinct.searcher(two, 1, idle=0)


SETTINGS = lanas_table.Settings(2, 0.1, "algorithm", 6, 5)
CELLS = choices([3] * 4)


def listed(budget):
    rewards = CELLS.every() @ np.array([1.0, 2.0, 4.0, 8.0])
    return lanas_table.searcher(CELLS, rewards / 100, budget=budget, settings=SETTINGS)


def test_the_compiled_lanas_asks_and_is_told_like_any_other(monkeypatch):
    check_searcher(listed(30), lambda point, seed: float(point[0]))
    rewards = CELLS.every() @ np.array([1.0, 2.0, 4.0, 8.0]) / 100
    reward = lambda point, seed: float(rewards[CELLS.rows(point[None])[0]])  # noqa: E731
    whole = interface.maximise(listed(30), reward, budget=30, seed=2)
    import jax

    (rows,) = lanas_table.search(
        CELLS.one_hot(CELLS.every()).astype(np.float32), rewards.astype(np.float32),
        jax.random.key(2)[None], budget=31, settings=SETTINGS,
    )  # fmt: skip
    asked = CELLS.rows(np.array([trial.point for trial in whole.trials]))
    np.testing.assert_array_equal(asked, np.asarray(rows)[:30])
    monkeypatch.setattr(lanas_table, "FIRST", 10)  # short at first, then longer
    again = interface.maximise(listed(30), reward, budget=30, seed=2)
    later = CELLS.rows(np.array([trial.point for trial in again.trials]))
    assert len(set(later)) == 30
    np.testing.assert_array_equal(later[:11], asked[:11])
    with pytest.raises(ValueError, match="expected at most 11 more trials"):
        interface.maximise(listed(9), reward, budget=12, batch_size=12)


def test_the_best_cell_is_found_in_nasbench201s_space_without_repeats():
    space = benchmarks.nasbench201()
    run = interface.maximise(
        distinct.searcher(baselines.regularised_evolution(space, population=5, tournament=3), 6),
        lambda point, seed: -float(point.sum()), budget=120,
    )  # fmt: skip
    assert len({trial.point.tobytes() for trial in run.trials}) == 120
