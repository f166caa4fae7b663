"""Control tasks against quadrature, a path search, the environments' own controller and sizes."""

import functools
import pickle

import numpy as np
import pytest

from search import control
from search.control import LOCOMOTION

STRAIGHT = np.repeat(np.linspace(0.05, 0.95, control.ROVER_POINTS), 2)


def gym(*packages):
    for package in packages:
        pytest.importorskip(package)
    return pytest.importorskip("gymnasium")


def wavy(seed):
    """A path from the start to the goal with a few bends."""
    rng = np.random.default_rng(seed)
    bends = 0.2 * np.cumsum(rng.standard_normal((control.ROVER_POINTS, 2)), 0) / 5.0
    return STRAIGHT + (bends - np.linspace(0, 1, control.ROVER_POINTS)[:, None] * bends[-1]).ravel()


@pytest.mark.parametrize("seed", range(4))
def test_the_rovers_reward_is_the_integral_along_its_path(seed):
    point = wavy(seed)
    path = control.rover_path(point, 200_001)
    middles, steps = (path[1:] + path[:-1]) / 2, np.diff(path, axis=0)
    walls = control.rover_obstacles()
    hit = np.zeros(len(middles), bool)
    for x0, y0, x1, y1 in walls:
        x, y = middles.T
        hit |= (x0 <= x) & (x <= x1) & (y0 <= y) & (y <= y1)
    along = np.sum((0.05 + 20.0 * hit) * np.hypot(*steps.T))
    ends = np.abs(path[0] - 0.05).sum() + np.abs(path[-1] - 0.95).sum()
    # A border is met to half a step of the coarse path: 20 * length / 2000 each.
    assert control.rover(point, 0) == pytest.approx(5 - along - 10 * ends, abs=0.25)


def test_the_rovers_path_goes_through_its_points():
    point = wavy(9)
    path = control.rover_path(point, 29 * 10 + 1)
    np.testing.assert_allclose(path[::10], point.reshape(-1, 2), atol=1e-9)
    # A spline of cubics: fourth differences vanish between the knots.
    np.testing.assert_allclose(np.diff(path[100:111], 4, axis=0), 0.0, atol=1e-12)


def test_the_rover_pays_for_missing_its_ends():
    off = STRAIGHT.copy()
    off[0] -= 0.05
    path, moved = (control.rover_path(point, 100_000) for point in (STRAIGHT, off))
    costs = [control.rover_cost(p)[1:] @ np.hypot(*np.diff(p, axis=0).T) for p in (path, moved)]
    loss = control.rover(STRAIGHT, 0) - control.rover(off, 0)
    assert loss == pytest.approx(10 * 0.05 + costs[1] - costs[0], abs=0.2)


def test_there_is_a_way_between_the_obstacles_and_the_straight_one_is_not():
    from scipy import ndimage

    axis = np.linspace(-0.1, 1.1, 241)
    x, y = np.meshgrid(axis, axis, indexing="ij")
    free = control.rover_cost(np.stack([x.ravel(), y.ravel()], 1)).reshape(x.shape) < 1.0
    regions, _ = ndimage.label(free)
    ends = [regions[tuple(np.round((np.array(end) + 0.1) * 200).astype(int))]
            for end in (control.ROVER_START, control.ROVER_GOAL)]  # fmt: skip
    assert ends[0] == ends[1] != 0
    assert control.rover(STRAIGHT, 0) < 0.0
    walls = control.rover_obstacles()
    assert (walls[:, 2:] > walls[:, :2]).all()
    assert control.rover_cost(np.array([[2.0, 2.0], walls[0, :2]])) == pytest.approx([0.05, 20.05])


def test_dimensions_are_the_sources():
    assert control.lander_box().dim == 12
    assert control.rover_box().dim == 60
    sizes = [control.policy_box(task).dim for task in LOCOMOTION]
    assert sizes == [16, 33, 102, 102, 888, 6392]


def test_the_landers_engines():
    weights = control.LANDER_DEFAULTS

    def action(*state):
        return control.lander_action(weights, state)

    assert action(0, 1, 0, 0, 0, 0, 0, 0) == 0  # high and still
    assert action(0, 1, 0, -2, 0, 0, 0, 0) == 2  # falls: 0.5 (0 - 1) + 0.5 * 2 > 0.05
    assert action(0, 1, 0, 0, 0.5, 0, 0, 0) == 3  # leans left: turn right
    assert action(0, 1, 0, 0, -0.5, 0, 0, 0) == 1
    assert action(0, 0, 0, -0.2, 0.5, 0, 1, 0) == 2  # on a leg: only the fall counts


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: control.rover(np.zeros(3), 0), r"point: expected \[60\], got \[3\]"),
        (lambda: control.land(np.zeros(3), 0), r"point: expected \[12\], got \[3\]"),
        (lambda: control.land(np.zeros(12), 0, terrains=0), "terrains: expected at least 1"),
        (lambda: control.policy_box("dog"), "task: expected one of swimmer"),
        (lambda: control.walk("hopper", np.zeros(3), 0), r"point: expected \[33\], got \[3\]"),
        (lambda: control.walk("hopper", np.zeros(33), 0, episodes=0), "episodes: expected at"),
    ],
)
def test_what_does_not_fit_is_refused(call, words):
    with pytest.raises((ValueError, TypeError), match=words):
        call()


def test_a_missing_package_is_named(monkeypatch):
    import importlib

    def absent(name, package=None):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(ImportError, match=r'pip install "gymnasium\[box2d,mujoco\]"'):
        control.walk("swimmer", np.zeros(16), 0)


def test_the_controller_is_the_environments_own():
    gym("Box2D")
    lander = pytest.importorskip("gymnasium.envs.box2d.lunar_lander")
    rng = np.random.default_rng(0)
    weights = control.LANDER_DEFAULTS

    class Discrete:
        continuous = False
        unwrapped = property(lambda self: self)

    for _ in range(500):
        state = rng.standard_normal(8) * 0.5
        state[6:] = rng.random(2) < 0.2
        assert control.lander_action(weights, state.tolist()) == lander.heuristic(Discrete(), state)


def test_the_default_controller_lands():
    gym("Box2D")
    weights = np.array(control.LANDER_DEFAULTS)
    mean = control.land(weights, 0, terrains=10)
    assert mean > 200.0
    assert control.land(weights, 7, terrains=10) == mean  # the same terrains whatever the seed
    parts = [control.land(weights, 0, terrains=5, first=first) for first in (0, 5)]
    assert np.mean(parts) == pytest.approx(mean, rel=1e-12)
    assert control.land(np.zeros(12), 0, terrains=3) < 0.0
    pickle.loads(pickle.dumps(functools.partial(control.land, terrains=2)))


@pytest.mark.parametrize("task", LOCOMOTION)
def test_a_policy_fits_its_environment(task, monkeypatch, tmp_path):
    gymnasium = gym("mujoco")
    monkeypatch.chdir(tmp_path)  # MuJoCo logs its warnings beside the caller
    chosen = LOCOMOTION[task]
    env = gymnasium.make(chosen.environment)
    assert env.observation_space.shape == (chosen.present.sum(),)
    assert env.action_space.shape == (chosen.actions,)


@pytest.mark.parametrize("task", ["ant", "humanoid"])
def test_what_version_5_leaves_out_is_0(task, monkeypatch, tmp_path):
    gymnasium = gym("mujoco")
    monkeypatch.chdir(tmp_path)
    chosen = LOCOMOTION[task]
    old = chosen.environment.replace("v5", "v4")
    try:
        more = {"use_contact_forces": True} if task == "ant" else {}
        before = gymnasium.make(old, **more)
    except gymnasium.error.Error as error:
        pytest.skip(str(error))
    after = gymnasium.make(chosen.environment)
    states = [before.reset(seed=3)[0], after.reset(seed=3)[0]]
    for _ in range(5):
        assert states[0].shape == (chosen.observations,)
        np.testing.assert_array_equal(states[0][chosen.present], states[1])
        np.testing.assert_array_equal(states[0][~chosen.present], 0.0)
        action = np.random.default_rng(0).uniform(-0.4, 0.4, chosen.actions)
        states = [env.step(action)[0] for env in (before, after)]


def test_a_policy_walks_the_same_way_twice_and_the_matrix_is_row_by_row():
    gymnasium = gym("mujoco")
    matrix = np.random.default_rng(0).uniform(-1, 1, (3, 11))
    found = control.walk("hopper", matrix.ravel(), 5, episodes=2)
    assert found == control.walk("hopper", matrix.ravel(), 5, episodes=2)
    assert found != control.walk("hopper", matrix.ravel(), 6, episodes=2)
    env, totals = gymnasium.make("Hopper-v5"), []
    for episode in range(2):
        state, _ = env.reset(seed=control.trial_seed(5, episode))
        totals.append(0.0)
        for _ in range(1000):
            state, reward, ended, _, _ = env.step(matrix @ state)
            totals[-1] += reward
            if ended:
                break
    assert found == pytest.approx(np.mean(totals), rel=1e-9)


def test_a_task_is_a_box_and_an_objective_and_one_that_is_fresh():
    box, objective, fresh = control.problem("rover")
    assert (box.dim, objective, fresh) == (60, control.rover, None)
    lunar = control.problem("lunar", terrains=7)
    assert lunar.objective.keywords == {"terrains": 7}
    assert lunar.fresh.keywords == {"terrains": control.FRESH, "first": 7}  # none is seen
    swimmer = control.problem("swimmer", episodes=2)
    assert (swimmer.box.dim, swimmer.objective.args) == (16, ("swimmer",))
    assert swimmer.objective.keywords == {"episodes": 2}
    assert swimmer.fresh.keywords == {"episodes": control.FRESH}
    with pytest.raises(ValueError, match="task"):
        control.problem("dog")
