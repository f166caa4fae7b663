"""SMAC keeps the contract, and searches."""

import numpy as np
import pytest

from search import interface, smac, spaces
from search.interface import Outcome
from tests.search.contract import check_searcher
from tests.search.test_baselines import BOX, TABLE, needs, sphere

pytestmark = needs("smac")


@pytest.mark.parametrize("space", [BOX, TABLE], ids=["box", "choices"])
def test_it_keeps_the_contract(space):
    made = smac.searcher(space, budget=16, retrain_after=5)
    check_searcher(made, sphere, budget=12, valid=lambda x: space.contains(x[None])[0])


def test_it_finds_better_points_than_its_design():
    run = interface.maximise(smac.searcher(BOX, budget=40), sphere, budget=40, seed=1)
    design = run.best[9]  # a quarter of 40
    assert run.best[-1] > design / 4


def test_choices_come_once_each_and_then_again():
    small = spaces.choices([3, 2])
    run = interface.maximise(smac.searcher(small, budget=24), sphere, budget=20, seed=0)
    assert len({tuple(trial.point) for trial in run.trials[:6]}) == 6
    assert len(run.trials) == 20


def test_failed_and_open_trials_are_told_to_it():
    searcher = smac.searcher(TABLE, budget=16, retrain_after=4)
    state, trials = searcher.ask(searcher.init(3), 4)
    outcomes = [Outcome(trials[0].id, float("nan"), "failed"), Outcome(trials[1].id, -2.0, "ok")]
    state = searcher.tell(state, outcomes)
    state, more = searcher.ask(state, 8)
    points = {tuple(trial.point) for trial in [*trials, *more]}
    assert len(points) == 12  # none again: not the open ones, nor the failed


def test_settings_are_checked():
    with pytest.raises(ValueError, match="budget, retrain_after: expected at least 4 and 1"):
        smac.searcher(BOX, budget=3)


def test_the_first_fit_is_that_of_smac_itself():
    """SMAC's own loop with the same design and seed proposes the same point."""
    from ConfigSpace import Configuration
    from smac.runhistory import TrialValue

    searcher = smac.searcher(BOX, budget=40, retrain_after=5)
    state, design = searcher.ask(searcher.init(7), 10)
    values = [sphere(trial.point, 0) for trial in design]
    outcomes = [Outcome(trial.id, value, "ok") for trial, value in zip(design, values, strict=True)]
    _, wanted = searcher.ask(searcher.tell(state, outcomes), 1)
    units = np.clip(BOX.to_unit(np.array([trial.point for trial in design])), 0.0, 1.0)
    with smac._scenario(BOX, 40, interface.trial_seed(7, 10)) as scenario:
        facade, space = smac._facade(), scenario.configspace
        given = [
            Configuration(space, values={f"x{i}": x for i, x in enumerate(unit.tolist())})
            for unit in units
        ]
        optimizer = facade(
            scenario, smac._never, overwrite=True, logging_level=False,
            initial_design=facade.get_initial_design(
                scenario, n_configs=0, additional_configs=given
            ),
            config_selector=facade.get_config_selector(scenario, retrain_after=5),
        )  # fmt: skip
        for value in values:
            optimizer.tell(optimizer.ask(), TrialValue(cost=-value))
        found = optimizer.ask().config
    point = BOX.from_unit(np.array([[found[f"x{i}"] for i in range(3)]]))
    np.testing.assert_allclose(wanted[0].point[None], point, atol=1e-9)
