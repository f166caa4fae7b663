"""What the pointer network's experiments share: checks, the learner, its end."""

from __future__ import annotations

import functools
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from experiments.nco import decoding
from experiments.nco.problems import Kind, public_instances
from experiments.report.interval import mean_interval
from experiments.report.markdown import markdown
from experiments.report.rows import Row
from experiments.runner import pretrained
from experiments.runner.checks import ConfigError, check_choice, check_float, check_int
from experiments.runner.command import stage
from experiments.runner.experiment import Experiment, Phase
from experiments.runner.workdir import replace_text, replacing
from nco import actor_critic, critic, many, pointer, policy_gradient, search
from nco.many import Model
from nco.policy_gradient import Baseline, Learner, Policy
from nco.problems.problem import Problem

BASELINES = ("critic", "moving_average", "multi_sample", "standardized", "greedy_rollout")
OPTIMIZERS = {"adam": actor_critic.adam_optimizer, "muon": actor_critic.muon_optimizer}
_SHARED = ("multi_sample", "standardized")
Solve = Callable[[np.ndarray, many.Progress], np.ndarray]  # of instances: solutions


class Compared(NamedTuple):
    """Result rows, instances, and by method the solutions and their lengths or values."""

    rows: list[Row]
    instances: np.ndarray
    found: dict[str, np.ndarray]
    reached: dict[str, np.ndarray]


def check(config: ConfigDict) -> None:
    """Checks all but the problem's own fields; raises ConfigError naming the key."""
    check_int(config, "batch_size", low=1)
    check_int(config, "num_samples", low=1)
    baseline = check_choice(config, "baseline", BASELINES)
    if baseline in _SHARED and config.num_samples < 2:
        raise ConfigError("num_samples", f"at least 2 with baseline {baseline}", config.num_samples)
    if config.baseline == "greedy_rollout" and config.batch_size < 2:
        raise ConfigError(
            "batch_size", "at least 2 with baseline greedy_rollout", config.batch_size
        )
    check_float(config, "baseline_decay", low=0.0, high=1.0)
    check_int(config, "rollout_period", low=1)
    check_float(config, "entropy_weight", low=0.0)
    bounds = tuple(config.reward_bounds)
    numbers = all(isinstance(bound, int | float) for bound in bounds)
    if bounds and not (numbers and len(bounds) == 2 and bounds[0] < bounds[1]):
        raise ConfigError("reward_bounds", "nothing, or a lower and an upper bound", bounds)
    check_network(config)


def check_network(config: ConfigDict) -> None:
    """Checks the fields of `config.model` and `config.optimizer`."""
    check_choice(config, "optimizer.name", tuple(OPTIMIZERS))
    for key in ("learning_rate", "decay_rate", "max_grad_norm"):
        check_float(config, f"optimizer.{key}", positive=True)
    check_int(config, "optimizer.decay_steps", low=1)
    check_int(config, "optimizer.decay_begin", low=0)
    for key in ("hidden", "embed"):
        check_int(config, f"model.{key}", low=1, high=4096)
    check_float(config, "model.scale", low=0.0)
    check_int(config, "model.glimpses", low=0, high=10)
    check_float(config, "model.clip", low=0.0)
    check_float(config, "model.forget_bias")
    check_float(config, "model.center")
    check_float(config, "model.spread", positive=True)


def learner(config: ConfigDict, problem: Problem, shape: tuple[int, ...]) -> Learner:
    """The learner of the whole config, for batches of a shape `[batch, items, features]`."""
    proposing = pointer.policy(problem)
    return actor_critic.actor_critic(
        proposing,
        _baseline(config, problem, proposing),
        optimizer(config),
        init_params=initial(config, problem),
        reward=problem.reward,
        example_inputs=jax.ShapeDtypeStruct(shape, jnp.float32),
        num_samples=config.num_samples,
        entropy_weight=config.entropy_weight,
        reward_bounds=_bounds(config),
    )


def optimizer(config: ConfigDict) -> Any:
    """The optimiser that `config.optimizer` describes."""
    options = config.optimizer.to_dict()
    return OPTIMIZERS[options.pop("name")](options.pop("learning_rate"), **options)


def initial(config: ConfigDict, problem: Problem) -> Callable[[Any], Any]:
    """`(key) -> params` of the pointer network that `config.model` describes."""
    model = config.model
    fields = {key: model[key] for key in ("glimpses", "forget_bias", "center", "spread")}
    settings = pointer.Settings(clip=model.clip or None, **fields)  # 0 means none
    return functools.partial(pointer.init, settings=settings, **_widths(config, problem))


def _widths(config: ConfigDict, problem: Problem) -> dict[str, Any]:
    model = config.model
    scale = model.scale or None  # 0 means LeCun's
    widths = {"embed": model.embed, "hidden": model.hidden, "scale": scale}
    return widths | {"input_dim": problem.input_dim}


def _baseline(config: ConfigDict, problem: Problem, proposing: Policy) -> Baseline:
    if config.baseline == "critic":
        init = functools.partial(critic.init, **_widths(config, problem))
        reading = {key: config.model[key] for key in ("forget_bias", "center", "spread")}
        apply = functools.partial(critic.apply, **reading)
        return policy_gradient.critic(init, apply, optimizer(config))
    if config.baseline == "moving_average":
        return policy_gradient.moving_average(config.baseline_decay)
    if config.baseline in _SHARED:
        return policy_gradient.multi_sample(standardize=config.baseline == "standardized")

    def clipped(inputs: Any, actions: Any) -> Any:
        return policy_gradient.clip_reward(problem.reward(inputs, actions), _bounds(config))

    return policy_gradient.greedy_rollout(proposing, clipped, period=config.rollout_period)


def _bounds(config: ConfigDict) -> tuple[float, float] | None:
    return tuple(config.reward_bounds) or None


def experiment(
    config: ConfigDict,
    kind: Kind,
    learner: Learner,
    batch: Callable[..., Any],
    data: Any,
    finish: Callable[..., list[Row]],
) -> Experiment:
    """Training by one learner, evaluated by greedy decoding on instances for validation."""
    problem = kind.problem(config)
    # They have a seed of their own, apart from every run's and from the test sets'.
    key = jax.random.key(20_000)
    validation = problem.sample(key, config.eval.instances, config[kind.size])
    decode = jax.jit(functools.partial(search.greedy, pointer.policy(problem), problem))

    def evaluate(state: Any, step: int) -> dict[str, float]:
        return {kind.metric: kind.sign * float(jnp.mean(decode(state.params, validation).reward))}

    return Experiment(
        init=learner.init,
        phases=(Phase("train", config.steps, learner.update, batch, data),),
        cycle=False,
        evaluate=evaluate,
        headline=(kind.metric, kind.mode),
        finish=finish,
    )


def by_policy_gradients(
    config: ConfigDict, kind: Kind, finish: Callable[..., list[Row]]
) -> Experiment:
    """Training on new instances in every step."""
    problem = kind.problem(config)
    shape = (config.batch_size, config[kind.size], problem.input_dim)

    def batch(_: Any, key: Any, step: Any) -> Any:
        return problem.sample(key, config.batch_size, config[kind.size])

    return experiment(config, kind, learner(config, problem, shape), batch, (), finish)


def check_finish(config: ConfigDict) -> None:
    """Checks `eval` and the fields of `config.finish` that all experiments of `nco` may have."""
    check_int(config, "eval.instances", low=1)
    check_int(config, "finish.instances", low=0, high=10_000)
    check_int(config, "finish.samples", low=1)
    check_float(config, "finish.temperature", positive=True)
    for key in ("active_steps", "scratch_steps"):  # of the paper presets
        if key in config.finish:
            check_int(config, f"finish.{key}", low=1)
    if "search_rate" in config.finish:
        check_float(config, "finish.search_rate", positive=True)


def save_model(config: ConfigDict, name: str, state: Any, workdir: Path) -> None:
    """Writes `model.npz`, which `experiments.runner.pretrained` loads."""
    params = jax.tree.map(np.asarray, state.params)
    described = config.to_dict()
    described["model"]["clip"] = config.model.clip or None
    meta = {"step": int(state.step), "name": name}
    pretrained.save(workdir / "model.npz", params, described, meta)


def compare(
    config: ConfigDict,
    kind: Kind,
    name: str,
    params: Any,
    solvers: Mapping[str, Solve],
    workdir: Path,
) -> Compared:
    """Solves the first public instances by greedy decoding, by sampling, and by solvers.

    Args:
        config: of the run; `finish` says how many instances and samples.
        kind: its problem.
        name: of the model, which begins the rows' names.
        params: the network's.
        solvers: by name; what they find does not depend on the network, and stays in the folder.
        workdir: of the run.
    """
    problem, finish = kind.problem(config), config.finish
    instances = public_instances(config[kind.size], finish.instances)
    model = Model(pointer.policy(problem), params, name, problem)
    count, found = len(instances), {}
    with stage(f"greedy decoding of {count:,} instances", count) as done:
        found["greedy"] = decoding.greedy(model, instances, done).actions
    each = f"sample{finish.samples}"
    with stage(f"{each}, {count:,} instances", finish.samples * count) as done:
        options = {"num_samples": finish.samples, "temperature": finish.temperature}
        found[each] = decoding.best_of_samples(model, instances, done, **options).actions
    for each, solve in solvers.items():
        found[each] = kept(workdir / "solved" / f"{each}.npz", instances, solve)
    reached = {each: kind.score(instances, actions, config) for each, actions in found.items()}
    rows: list[Row] = [
        {"name": f"{name}-{each}", "metric": kind.metric, "unit": "instance"}
        | mean_interval(values)._asdict()
        for each, values in reached.items()
    ]
    return Compared(rows, instances, found, reached)


def kept(path: Path, instances: np.ndarray, solve: Solve) -> np.ndarray:
    """A solver's solutions, from its file if that holds them; else solves and writes it."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            if np.array_equal(stored["instances"], instances):
                return stored["solutions"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        pass  # there is none, or it is damaged
    with stage(f"{path.stem}, {len(instances):,} instances", len(instances)) as done:
        found = solve(instances, done)
    path.parent.mkdir(exist_ok=True)
    with replacing(path) as temporary, temporary.open("xb") as file:
        np.savez(file, instances=instances, solutions=found)
    return found


def write_table(rows: list[Row], workdir: Path, note: str = "") -> None:
    """Writes the rows into `table.md`."""
    table = markdown(rows, columns=("name", "metric", "value", "low", "high", "n"))
    replace_text(workdir / "table.md", f"{table}\n{note}")
