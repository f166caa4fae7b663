"""Glue of a search with shared weights: builds an `Experiment` from `configs/enas`.

An epoch is a phase on the weights and a phase on the controller (Pham 2021, section 4.2.2); without
a trained controller (`controller.train=false`) weights alone are trained, on its first samples. At
its end a run derives an architecture and writes it, as a line, to `architecture.txt`, and all
samples with their rewards to `derived.json`.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from enas import decisions, tasks, train
from enas.controller import controller
from experiments.enas import figures, problem
from experiments.enas.problem import Measure, Problem
from experiments.report import curves
from experiments.report.interval import mean_interval
from experiments.runner.checks import ConfigError, check_bool, check_float, check_int
from experiments.runner.experiment import Experiment, Phase
from experiments.runner.workdir import METRICS, replace_text
from nco.policy_gradient import moving_average

ARCHITECTURE, DERIVED, EVERY = "architecture.txt", "derived.json", "every.json"


def build(config: ConfigDict) -> Experiment:
    """Checks the config and makes the experiment.

    Raises:
        ConfigError: names the key.
    """
    check(config)
    found = problem.of(config)
    if config.derive.ensemble and not found.labels:
        raise ConfigError("derive.ensemble", "0 for text", config.derive.ensemble)
    space = found.task.supernet.decisions
    given, phases = config.controller, config.phases
    policy = controller(
        space,
        hidden=given.hidden,
        scale=given.scale,
        tanh_constant=given.tanh_constant,
        temperature=given.temperature,
    )
    period = phases.weights + (phases.controller if given.train else 0)
    child = tasks.child(found.task)
    whole = train.search(
        policy,
        child,
        found.optimizer(phases.weights, -(-config.steps // period)),
        controller_tx=optax.adam(given.learning_rate),
        baseline=moving_average(given.baseline_decay),
        entropy_weight=given.entropy_weight,
        prior_weight=given.prior_weight,
        num_children=config.children,
        num_samples=given.samples,
    )

    def training(data: Any, key: Any, step: Any) -> Any:
        before = step // period * phases.weights + step % period
        return found.train(data, key, before)

    def validation(data: Any, key: Any, step: Any) -> Any:
        del step
        return found.validation(data, key, given.batch_size)

    cycle = [Phase("weights", phases.weights, whole.weights, training, found.data)]
    if given.train:
        step = phases.controller
        cycle.append(Phase("controller", step, whole.controller, validation, found.data))

    @functools.partial(jax.jit, static_argnames=("samples", "rows"))
    def derived(state: train.State, data: Any, key: Any, *, samples: int, rows: int) -> Any:
        k_sample, k_batch = jax.random.split(key)
        chosen = train.sample(policy, state, k_sample, samples)
        batch = found.validation(data, k_batch, rows)
        _, entropy = policy.policy.log_prob(state.controller.params, (), chosen[:, None])
        return train.derive(child, state.weights, chosen, batch), jnp.mean(entropy)

    measures = {part: found.measure(part) for part in ("valid", "test")}

    def evaluate(state: train.State, step: int) -> dict[str, float]:
        del step
        best, entropy = derived(
            state,
            found.data,
            jax.random.key(config.seed),
            samples=config.eval.samples,
            rows=config.derive.batch_size,
        )
        return {
            "reward": float(np.mean(best.rewards)),
            "best_reward": float(np.max(best.rewards)),
            "policy_entropy": float(entropy),
        }

    def finish(state: train.State, workdir: Path) -> list[dict[str, Any]]:
        best, _ = derived(
            state,
            found.data,
            jax.random.fold_in(jax.random.key(config.seed), 1),
            samples=config.derive.samples,
            rows=config.derive.batch_size,
        )
        return _finish(config, found, measures, state, jax.device_get(best), Path(workdir))

    return Experiment(
        init=whole.init,
        phases=tuple(cycle),
        cycle=True,
        evaluate=evaluate,
        headline=("reward", "max"),
        finish=finish,
    )


def check(config: ConfigDict) -> None:
    """Checks the fields that only searches have."""
    for key in ("phases.weights", "phases.controller", "children", "controller.hidden"):
        check_int(config, key, 1)
    for key in ("controller.samples", "derive.samples", "eval.samples"):
        check_int(config, key, 1)
    for key in ("controller.batch_size", "derive.batch_size"):
        check_int(config, key, 2)
    check_int(config, "derive.ensemble", 0, config.derive.samples)
    for key in ("controller.train", "derive.every"):
        check_bool(config, key)
    for key in ("learning_rate", "scale", "temperature"):
        check_float(config, f"controller.{key}", positive=True)
    for key in ("entropy_weight", "prior_weight"):
        check_float(config, f"controller.{key}", low=0.0)
    check_float(config, "controller.baseline_decay", 0.0, 1.0)
    if config.seed_axis != "map" and config.num_seeds > 1:
        raise ConfigError("seed_axis", "map, as vmap runs every operation", config.seed_axis)


def _finish(
    config: ConfigDict,
    found: Problem,
    measures: Mapping[str, Measure],
    state: train.State,
    best: train.Derived,
    workdir: Path,
) -> list[dict[str, Any]]:
    """Writes what was derived; rows of its reward, and of shared weights on the test data."""
    supernet = found.task.supernet
    lines = [decisions.line(supernet.decisions, each) for each in np.asarray(best.choices)]
    line = lines[int(np.argmax(best.rewards))]
    replace_text(workdir / ARCHITECTURE, line + "\n")
    ranked = [
        {"architecture": lines[i], "reward": float(best.rewards[i])}
        for i in np.argsort(-best.rewards, kind="stable")
    ]
    replace_text(workdir / DERIVED, json.dumps(ranked, indent=1) + "\n")
    figures.draw_graphs(supernet.graphs(np.asarray(best.best)), workdir / "architecture.png")
    measure, metric = measures["test"], found.headline[0]
    values = {"reward": float(np.max(best.rewards)), "mean_reward": float(np.mean(best.rewards))}
    values[f"shared_{metric}"] = measure(state.weights, jnp.asarray(best.best))[metric]
    if config.derive.ensemble:
        values |= _ensemble(config, found, measure, state, best)
    if config.derive.every:
        every = _every(found, measures["valid"], state)
        replace_text(workdir / EVERY, json.dumps(every, indent=1) + "\n")
    runs = [path for path in (workdir, workdir.parent) if (path / METRICS).exists()]
    if runs and config.controller.train:
        figures.search_curve(workdir / "search.png", curves.group_runs([curves.read_run(runs[0])]))
    print(line)
    row = {"name": config.space.name, "unit": "seed"}
    return [row | {"metric": name} | mean_interval([v])._asdict() for name, v in values.items()]


def _every(found: Problem, measure: Measure, state: train.State) -> dict[str, float]:
    """The error of every architecture on all validation data, with shared weights."""
    space = found.task.supernet.decisions
    return {
        decisions.line(space, each): measure(state.weights, jnp.asarray(each))[found.headline[0]]
        for each in decisions.enumerated(space, most=10_000)
    }


def _ensemble(
    config: ConfigDict, found: Problem, measure: Any, state: train.State, best: train.Derived
) -> dict[str, float]:
    """Errors of some samples with shared weights, and of their averaged predictions (4.3.3)."""
    every = [measure(state.weights, each) for each in best.choices[: config.derive.ensemble]]
    together = np.mean([each["chances"] for each in every], axis=0)
    labels = found.labels["test"]
    return {
        "ensemble_error_percent": float(100 * np.mean(together.argmax(-1) != labels)),
        "sample_error_percent": float(np.mean([each["error_percent"] for each in every])),
    }
