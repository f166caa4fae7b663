"""Nevergrad's default: the contract, and its own loop with the same costs."""

import numpy as np
import pytest

from search import baselines, interface, spaces
from search.interface import Outcome, trial_seed
from tests.search.contract import check_searcher
from tests.search.test_baselines import needs, sphere

pytestmark = needs("nevergrad")

WIDE = spaces.box(-5.0, 10.0, 20)  # where its choice is one that asks for one point at a time


def searcher():
    return baselines.nevergrad_default(WIDE, budget=1000)


def own_loop(count):
    """What the library does alone: points and costs."""
    import nevergrad as library

    parameter = library.p.Array(shape=(20,)).set_bounds(WIDE.low, WIDE.high)
    parameter.random_state.seed(trial_seed(2, 0))
    optimizer = library.optimizers.NGOpt(parameter, budget=1000, num_workers=1)
    points = []
    for _ in range(count):
        candidate = optimizer.ask()
        optimizer.tell(candidate, -sphere(candidate.value, 0))
        points.append(candidate.value)
    return points


def test_it_keeps_the_contract():
    check_searcher(searcher(), sphere, budget=15, valid=lambda x: WIDE.contains(x[None])[0])


@pytest.mark.parametrize("batch", [1, 4])
def test_it_is_the_librarys_own_loop(batch):
    """The first of each batch is its point, and the next cost that it is told is that point's."""
    run = interface.maximise(searcher(), sphere, budget=12 * batch, batch_size=batch, seed=2)
    points = [trial.point for trial in run.trials[::batch]]
    np.testing.assert_array_equal(points, own_loop(12))


@pytest.mark.parametrize("batch", [1, 3])
def test_the_kept_optimiser_is_what_running_it_again_gives(batch):
    """Each ask of one searcher, and of a new one that has kept nothing; some trials fail."""
    one = searcher()
    state = one.init(2)
    for number in range(12):
        _, wanted = searcher().ask(state, batch)
        state, trials = one.ask(state, batch)
        np.testing.assert_array_equal([t.point for t in trials], [t.point for t in wanted])
        failed = number % 4 == 1
        state = one.tell(
            state,
            [Outcome(t.id, np.nan if failed else sphere(t.point, 0), "ok") for t in trials[::-1]],
        )


def test_what_was_kept_of_one_search_is_not_taken_for_another():
    one = searcher()
    interface.maximise(one, sphere, budget=30, seed=2)

    def twice(point, seed):
        return 2.0 * sphere(point, seed)

    again = interface.maximise(one, twice, budget=30, seed=2)
    wanted = interface.maximise(searcher(), twice, budget=30, seed=2)
    np.testing.assert_array_equal(again.values, wanted.values)
