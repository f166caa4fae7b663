"""A small regression in four shapes, for the runner's tests: glue as `experiments/*.py` has it.

The task is named by `config.task`: "resident" (data on the device), "host" (batches made by a host
function), "traced" (made inside the step, no data) and "cycle" (two phases, one with `enter`).
"""

from __future__ import annotations

import time
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.runner.checks import ConfigError, check_choice, check_float, check_int
from experiments.runner.experiment import Experiment, Phase

TASKS = ("resident", "host", "traced", "cycle")


@flax.struct.dataclass
class State:
    params: Any
    opt_state: Any
    best: Any  # float32 []: lowest loss so far, infinite before the first update
    flips: Any  # int32 []: how often a phase was entered
    step: Any
    key: Any


def build(config: Any) -> Experiment:
    check_choice(config, "task", TASKS)
    size = check_int(config, "model.size", low=1, high=4096)
    rows = check_int(config, "rows", low=1)
    optimizer = optax.sgd(check_float(config, "model.rate", positive=True), momentum=0.9)
    check_float(config, "throttle", low=0.0)
    check_int(config, "nan_at", low=-1)
    if len(config.phase_steps) != 2:
        raise ConfigError("phase_steps", "two numbers", config.phase_steps)
    update = _updater(config, optimizer)
    task = config.task

    def init(key: Any) -> State:
        weights = jax.random.normal(jax.random.fold_in(key, 7), (size,)) / size**0.5
        params = {"weights": weights, "bias": jnp.zeros(())}
        return State(
            params=params,
            opt_state=optimizer.init(params),
            best=jnp.asarray(jnp.inf),
            flips=jnp.asarray(0, jnp.int32),
            step=jnp.asarray(0, jnp.int32),
            key=key,
        )

    def enter(state: State) -> State:
        scaled = jax.tree.map(lambda leaf: leaf * 0.9, state.params)
        return state.replace(params=scaled, flips=state.flips + 1)

    def evaluate(state: State, step: int) -> dict[str, float]:
        if config.throttle:
            time.sleep(config.throttle)
        inputs, targets = _table(size)
        loss = _loss(state.params, {"inputs": inputs, "targets": targets})
        return {"error": float(loss), "flips": float(state.flips)}

    def finish(state: State, workdir: Any) -> list[dict[str, Any]]:
        (workdir / "weights.txt").write_text(str(np.asarray(state.params["weights"])))
        return [{"name": "toy", "metric": "error", "value": evaluate(state, -1)["error"]}]

    if task == "host":
        phases = [Phase("train", config.steps, update, _host_batch(rows, size))]
    elif task == "traced":
        phases = [Phase("train", config.steps, update, _traced_batch(rows, size), data=())]
    elif task == "resident":
        phases = [Phase("train", config.steps, update, _resident_batch(rows), data=_table(size))]
    else:
        first, second = config.phase_steps
        phases = [
            Phase("weights", first, update, _resident_batch(rows), data=_table(size)),
            Phase("control", second, update, _host_batch(rows, size), enter=enter),
        ]
    return Experiment(init, tuple(phases), task == "cycle", evaluate, ("error", "min"), finish)


def _updater(config: Any, optimizer: Any) -> Any:
    nan_at, leaf = config.nan_at, config.nan_leaf

    def update(state: State, batch: Any) -> tuple[State, dict[str, Any]]:
        loss, gradient = jax.value_and_grad(_loss)(state.params, batch)
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        poison = jnp.where(state.step == nan_at, jnp.nan, 0.0)
        if leaf == "loss":
            loss = loss + poison
        elif leaf == "weights":
            params = {**params, "weights": params["weights"].at[0].add(poison)}
        after = state.replace(
            params=params,
            opt_state=opt_state,
            best=jnp.minimum(state.best, loss),
            step=state.step + 1,
        )
        return after, {"loss": loss, "grad_norm": optax.tree.norm(gradient)}

    return update


def _loss(params: Any, batch: Any) -> Any:
    predicted = batch["inputs"] @ params["weights"] + params["bias"]
    return jnp.mean((predicted - batch["targets"]) ** 2)


def _table(size: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    inputs = random.normal(size=(64, size)).astype(np.float32)
    return inputs, np.sin(inputs.sum(axis=1)).astype(np.float32)


def _resident_batch(rows: int) -> Any:
    def batch(data: Any, key: Any, step: Any) -> Any:
        inputs, targets = data
        chosen = jax.random.randint(key, (rows,), 0, inputs.shape[0])
        return {"inputs": inputs[chosen], "targets": targets[chosen]}

    return batch


def _traced_batch(rows: int, size: int) -> Any:
    def batch(data: Any, key: Any, step: Any) -> Any:
        inputs = jax.random.normal(key, (rows, size))
        return {"inputs": inputs, "targets": jnp.sin(inputs.sum(axis=1))}

    return batch


def _host_batch(rows: int, size: int) -> Any:
    def batch(seed: int, step: int) -> Any:
        random = np.random.default_rng((seed, step))
        inputs = random.normal(size=(rows, size)).astype(np.float32)
        share = rows // jax.process_count()
        mine = slice(jax.process_index() * share, (jax.process_index() + 1) * share)
        return {"inputs": inputs[mine], "targets": np.sin(inputs.sum(axis=1))[mine]}

    return batch
