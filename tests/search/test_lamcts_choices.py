"""LA-MCTS on choices: its regions, distinct points, and the contract."""

import numpy as np
import pytest

from search import interface, lamcts, lamcts_choices, partition, spaces
from tests.search.contract import check_searcher

pytest.importorskip("sklearn")

SPACE = spaces.choices([3, 4, 2, 3])
SMALL = lamcts.Settings(
    solver="random", c=0.1, num_init=8, leaf_size=4, scale_values=True, candidates=32, fit_steps=2
)


def weighted(point, seed):
    return float(point @ np.array([1.0, 0.5, -0.3, 0.2]))


@pytest.mark.parametrize("solver", ["random", "bo"])
def test_it_keeps_the_contract(solver):
    searcher = lamcts_choices.searcher(SPACE, SMALL._replace(solver=solver))
    check_searcher(searcher, weighted, budget=18, valid=lambda x: SPACE.contains(x[None])[0])


@pytest.mark.parametrize("solver", ["random", "bo"])
def test_no_point_comes_twice_until_all_were_asked_for(solver):
    searcher = lamcts_choices.searcher(SPACE, SMALL._replace(solver=solver))
    run = interface.maximise(searcher, weighted, budget=SPACE.size + 6, seed=0, batch_size=6)
    points = np.array([trial.point for trial in run.trials])
    assert len(np.unique(SPACE.rows(points[: SPACE.size]))) == SPACE.size
    assert len(points) == SPACE.size + 6  # there is nothing new, and it goes on


def test_points_lie_in_the_region_that_the_tree_selects():
    space = spaces.choices([4] * 5)
    settings = SMALL._replace(c=0.0, leaf_size=6)
    searcher = lamcts_choices.searcher(space, settings)
    state, depths = searcher.init(2), set()
    for _ in range(20):
        before = state
        state, trials = searcher.ask(state, 2)
        if before.asked >= settings.num_init:
            hot, values = space.one_hot(before.points), before.values
            root = partition.build(
                hot, values, leaf_size=6, kernel="rbf", scale_values=True, seed=2
            )
            _, region = partition.select(root, values, c=0.0, form="algorithm")
            depths.add(len(region))
            points = np.array([trial.point for trial in trials])
            every = space.every()[partition.inside(region, space.one_hot(space.every()))]
            new = set(space.rows(every)) - set(space.rows(before.points))
            asked = set(space.rows(points))
            assert asked <= new or new <= asked  # a region that is used up hands over
        outcomes = [interface.score(trial, lambda x, seed: float(x.sum())) for trial in trials]
        state = searcher.tell(state, outcomes)
    assert max(depths) >= 2


def test_it_finds_the_best_of_a_table_sooner_than_by_chance():
    space = spaces.choices([4] * 5)
    values = space.one_hot(space.every()) @ np.random.default_rng(0).standard_normal(20)
    searcher, samples = lamcts_choices.searcher(space, SMALL), []
    for seed in range(3):
        state, found = searcher.init(seed), []
        while len(found) < 200 and values.max() not in found:  # then its number is known
            state, trials = searcher.ask(state, 10)
            outcomes = [
                interface.score(trial, lambda x, _: values[space.rows(x[None])[0]])
                for trial in trials
            ]
            state, found = searcher.tell(state, outcomes), [*found, *(o.value for o in outcomes)]
        samples.append(found.index(values.max()) if values.max() in found else 200)
    assert np.median(samples) < 200  # by chance 512


def test_trust_regions_and_bad_settings_are_refused():
    with pytest.raises(ValueError, match="random or bo for choices, got 'turbo'"):
        lamcts_choices.searcher(SPACE, lamcts.Settings())
    with pytest.raises(ValueError, match="leaf_size"):
        lamcts_choices.searcher(SPACE, SMALL._replace(leaf_size=1))
