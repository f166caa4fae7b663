"""Control tasks for search in a box: lunar lander, a rover's path, linear policies that walk.

Each objective is a function `(point, seed) -> reward` with settings as keywords, so that a
`functools.partial` of it pickles. Lunar lander and locomotion need `gymnasium[box2d,mujoco]`.

Source: Wang 2022, sections 5.4.1 and 5.4.2, which take lunar lander from Eriksson et al., "Scalable
global optimization via local Bayesian optimization", 2019, the rover from Wang et al., "Batched
large-scale Bayesian optimization in high-dimensional spaces", 2018, and the linear policies from
Mania et al., "Simple random search of static linear policies", 2018.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Real

from search import spaces
from search.interface import trial_seed
from search.spaces import Box

Objective = Callable[[Any, int], float]
FRESH = 50  # terrains or episodes of a point tried again

# What the controller that comes with the environment has in place of the twelve parameters.
LANDER_DEFAULTS = (0.5, 1.0, 0.4, 0.55, 0.5, 1.0, 0.5, 0.5, 0.0, 0.5, 0.05, 0.05)

ROVER_POINTS = 30
ROVER_SAMPLES = 1000  # of the path, for its integral
ROVER_START = (0.05, 0.05)
ROVER_GOAL = (0.95, 0.95)
ROVER_OFFSET = 5.0
_PATH_COST = 0.05  # of a unit of length outside obstacles
_OBSTACLE_COST = 20.0  # more inside them
_MISS_COST = 10.0  # of a unit of distance (L1) by which the path misses its start or goal
_OBSTACLE_COUNT = 40
_OBSTACLE_SIDES = (0.12, 0.08)  # alternately wide and high
_CLEARANCE = 0.12  # from the start and the goal to a centre, in both coordinates


def lander_box() -> Box:
    """The box of the twelve parameters: [0, 2]^12."""
    return spaces.box(0.0, 2.0, len(LANDER_DEFAULTS))


def lander_action(weights: Sequence[float], state: Sequence[float]) -> int:
    """The heuristic controller of lunar lander: 0 idle, 1 left, 2 main, 3 right engine.

    With w_0 to w_11: the angle wanted is w_0 x + w_1 v_x, at most w_2 to either side; the height
    wanted is w_3 |x|. The correction of the angle is w_4 times its error less w_5 times its
    velocity, that of the height w_6 times its error less w_7 v_y. Once a leg touches the ground
    they are w_8 and -w_9 v_y. The main engine fires where the height's correction is above w_10 and
    above the angle's, the side engines where the angle's is beyond w_11. `LANDER_DEFAULTS` gives
    the controller that comes with the environment.

    Args:
        weights: w, twelve numbers.
        state: x, y, v_x, v_y, angle, its velocity, and whether each leg touches the ground.
    """
    w, (x, y, v_x, v_y, angle, spin, left, right) = weights, state
    lean = min(max(w[0] * x + w[1] * v_x, -w[2]), w[2])
    turn = w[4] * (lean - angle) - w[5] * spin
    lift = w[6] * (w[3] * abs(x) - y) - w[7] * v_y
    if left or right:
        turn, lift = w[8], -w[9] * v_y
    if lift > abs(turn) and lift > w[10]:
        return 2
    if turn < -w[11]:
        return 3
    return 1 if turn > w[11] else 0


def land(
    point: Real[np.ndarray, " dim"], seed: int, *, terrains: int = 50, first: int = 0
) -> float:
    """Mean reward of the lander over a fixed set of terrains and starts; above 200 is solved.

    Args:
        point: the twelve parameters of `lander_action`.
        seed: ignored: the terrains are the same for each point.
        terrains: how many; the source has 50. An episode ends after 1,000 steps at the latest.
        first: the number of the first terrain.

    Raises:
        ImportError: gymnasium with Box2D is absent; says what to install.
        ValueError: a point of another length, or no terrain.
    """
    weights = _vector("point", point, len(LANDER_DEFAULTS)).tolist()
    _at_least_one("terrains", terrains)
    with _environment("LunarLander-v3") as env:
        totals = [
            _episode(env, first + number, lambda state: lander_action(weights, state.tolist()))
            for number in range(terrains)
        ]
    return float(np.mean(totals))


def rover_box() -> Box:
    """The box of the rover's 60 numbers: x and y of 30 points, from -0.1 to 1.1."""
    return spaces.box(-0.1, 1.1, 2 * ROVER_POINTS)


def rover(point: Real[np.ndarray, " dim"], seed: int) -> float:
    """Reward of a rover's path over the unit square: 5 less its cost, at best about 4.93.

    The path is the cubic B-spline that goes through 30 points, at equal steps of its parameter. Its
    cost is the integral of `rover_cost` along it, and ten times the L1 distances of its ends from
    the start (0.05, 0.05) and the goal (0.95, 0.95). The cost's constants are the source's; the
    obstacles are not: they are those of `rover_obstacles`, so rewards compare among themselves.

    Args:
        point: 60 numbers: x and y of the first point, x and y of the second, and so on.
        seed: ignored.

    Raises:
        ImportError: SciPy is absent.
        ValueError: a point of another length.
    """
    path = rover_path(point, ROVER_SAMPLES)
    costs = rover_cost(path)
    lengths = np.linalg.norm(np.diff(path, axis=0), axis=1)
    along = float(((costs[1:] + costs[:-1]) / 2.0) @ lengths)
    misses = np.abs(path[0] - ROVER_START).sum() + np.abs(path[-1] - ROVER_GOAL).sum()
    return float(ROVER_OFFSET - along - _MISS_COST * misses)


def rover_path(point: Real[np.ndarray, " dim"], samples: int) -> Float[np.ndarray, "samples 2"]:
    """Places on the rover's path at equal steps of its parameter, both ends among them."""
    from scipy.interpolate import make_interp_spline

    through = _vector("point", point, 2 * ROVER_POINTS).reshape(ROVER_POINTS, 2)
    spline = make_interp_spline(np.linspace(0.0, 1.0, ROVER_POINTS), through, k=3)
    return np.asarray(spline(np.linspace(0.0, 1.0, samples)), np.float64)


def rover_obstacles() -> Float[np.ndarray, "n 4"]:
    """Rectangles that the rover should go around: low x, low y, high x, high y.

    A layout of this project: the first 40 points of an additive recurrence with the powers of the
    plastic number, which fill the square evenly; those near the start and the goal are left out.
    """
    ratio = 1.324717957244746  # the root of r^3 = r + 1
    steps = np.arange(1, _OBSTACLE_COUNT + 1)
    centres = (0.5 + steps[:, None] / np.array([ratio, ratio**2])) % 1.0
    half = np.array(_OBSTACLE_SIDES) / 2.0
    halves = np.where(steps[:, None] % 2 == 1, half, half[::-1])
    far = [np.abs(centres - end).max(1) > _CLEARANCE for end in (ROVER_START, ROVER_GOAL)]
    kept = far[0] & far[1]
    return np.concatenate([centres - halves, centres + halves], 1)[kept]


def rover_cost(places: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, " n"]:
    """Cost of a unit of length at each place: 0.05, and 20 more inside an obstacle."""
    walls = rover_obstacles()
    x, y = places[:, :1], places[:, 1:]
    across = (walls[:, 0] <= x) & (x <= walls[:, 2])
    inside = np.any(across & (walls[:, 1] <= y) & (y <= walls[:, 3]), axis=1)
    return np.where(inside, _PATH_COST + _OBSTACLE_COST, _PATH_COST)


class Locomotion(NamedTuple):
    """A MuJoCo task for a linear policy.

    Attributes:
        environment: its name in gymnasium.
        actions: numbers of an action.
        observations: numbers of an observation in version 2 of the task, the source's.
        absent: which of them, as (first, last + 1), version 5 leaves out as they are always 0: what
            belongs to the world's body, and the forces of actuators that the root has not.
        threshold: reward at which the source counts the task as solved (table 5.2).
        reference: the samples that the source's LA-MCTS needed for that; None where it did not.
    """

    environment: str
    actions: int
    observations: int
    absent: tuple[tuple[int, int], ...]
    threshold: float
    reference: float | None

    @property
    def dim(self) -> int:
        """How many entries the policy's matrix has."""
        return self.actions * self.observations

    @property
    def present(self) -> Bool[np.ndarray, " observations"]:
        """Which numbers of version 2's observation version 5 has."""
        kept = np.ones(self.observations, bool)
        for first, end in self.absent:
            kept[first:end] = False
        return kept


LOCOMOTION = MappingProxyType(
    {
        "swimmer": Locomotion("Swimmer-v5", 2, 8, (), 325.0, 126.0),
        "hopper": Locomotion("Hopper-v5", 3, 11, (), 3120.0, 2913.0),
        "halfcheetah": Locomotion("HalfCheetah-v5", 6, 17, (), 3430.0, 3967.0),
        "walker2d": Locomotion("Walker2d-v5", 6, 17, (), 4390.0, None),
        "ant": Locomotion("Ant-v5", 8, 111, ((27, 33),), 3580.0, None),
        "humanoid": Locomotion(
            "Humanoid-v5", 17, 376, ((45, 55), (185, 191), (269, 275), (292, 298)), 6000.0, None
        ),
    }
)


def policy_box(task: str) -> Box:
    """The box of a task's linear policy: [-1, 1] for each entry of its matrix, row by row.

    Raises:
        ValueError: an unknown task.
    """
    return spaces.box(-1.0, 1.0, _locomotion(task).dim)


def walk(task: str, point: Real[np.ndarray, " dim"], seed: int, *, episodes: int = 10) -> float:
    """Mean reward of the linear policy a = W s over episodes: `functools.partial(walk, "hopper")`.

    Observations are not normalised. W has the columns of version 2 of the task, so that dimensions
    are the source's (16, 33, 102, 102, 888, 6392); the columns of what is always 0 change nothing.
    Rewards are version 5's. Actions are not clipped here: MuJoCo clips what it applies, and the
    task's price of control is of the action as it is.

    Args:
        task: one of `LOCOMOTION`.
        point: W's entries, row by row.
        seed: of the episodes' starts, so that a point's reward is noisy over trials.
        episodes: how many.

    Raises:
        ImportError: gymnasium with MuJoCo is absent; says what to install.
        ValueError: an unknown task, a point of another length, or no episode.
    """
    chosen = _locomotion(task)
    matrix = _vector("point", point, chosen.dim).reshape(chosen.actions, chosen.observations)
    _at_least_one("episodes", episodes)
    matrix = matrix[:, chosen.present]
    with _environment(chosen.environment) as env:
        totals = [
            _episode(env, trial_seed(seed, number), lambda state: matrix @ state)
            for number in range(episodes)
        ]
    return float(np.mean(totals))


class Problem(NamedTuple):
    """A task as a search sees it.

    Attributes:
        box: of its points.
        objective: `(point, seed) -> reward`.
        fresh: the same over terrains or starts that no search sees, as the best of many noisy
            values is too high; `None` where rewards have no noise.
    """

    box: Box
    objective: Objective
    fresh: Objective | None


def problem(task: str, *, terrains: int = 50, episodes: int = 10) -> Problem:
    """The problem of a task.

    Args:
        task: "lunar", "rover", or one of `LOCOMOTION`.
        terrains: of an evaluation of the lander.
        episodes: of an evaluation of a walker.

    Raises:
        ValueError: an unknown task.
    """
    if task == "rover":
        return Problem(rover_box(), rover, None)
    if task == "lunar":
        unseen = partial(land, terrains=FRESH, first=terrains)
        return Problem(lander_box(), partial(land, terrains=terrains), unseen)
    objective, fresh = (partial(walk, task, episodes=count) for count in (episodes, FRESH))
    return Problem(policy_box(task), objective, fresh)


def require() -> None:
    """Checks that the environments can be made.

    Raises:
        ImportError: gymnasium, Box2D or MuJoCo is absent; says what to install.
    """
    for name in ("gymnasium", "Box2D", "mujoco"):
        try:
            importlib.import_module(name)
        except ImportError as error:
            message = f'{name} is needed here: pip install "gymnasium[box2d,mujoco]"'
            raise ImportError(message) from error


def _environment(name: str) -> Any:
    require()
    gymnasium = importlib.import_module("gymnasium")
    return gymnasium.make(name, disable_env_checker=True)


def _episode(env: Any, seed: int, act: Callable[[Any], Any]) -> float:
    """The sum of an episode's rewards."""
    state, _ = env.reset(seed=seed)
    total, over = 0.0, False
    while not over:
        state, reward, ended, cut, _ = env.step(act(state))
        total, over = total + float(reward), ended or cut
    return total


def _locomotion(task: str) -> Locomotion:
    if task not in LOCOMOTION:
        raise ValueError(f"task: expected one of {', '.join(LOCOMOTION)}, got {task!r}")
    return LOCOMOTION[task]


def _vector(name: str, value: Any, length: int) -> Float[np.ndarray, " length"]:
    vector = np.asarray(value, np.float64)
    if vector.shape != (length,):
        raise ValueError(f"{name}: expected [{length}], got {list(vector.shape)}")
    return vector


def _at_least_one(name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"{name}: expected at least 1, got {value}")
