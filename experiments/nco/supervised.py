"""Glue of supervised learning: builds an `Experiment` from `experiments/configs/nco/supervised.py`.

A label is a tour that starts at the city that is fed first, towards its neighbour that is fed
earlier, as in Vinyals et al. 2015. The seed says no more than that it had one million optimal tours
(Pham 2021, section 2.5.1).
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from ml_collections import ConfigDict

from experiments.data.registry import MissingDataset
from experiments.nco import labels as tsp_labels
from experiments.nco import training as pointer_training
from experiments.nco import tsp as nco_tsp
from experiments.nco.decoding import Model
from experiments.report.interval import mean_interval
from experiments.report.markdown import markdown
from experiments.runner.checks import ConfigError, check_bool, check_int, lookup
from experiments.runner.experiment import Experiment, Phase
from experiments.runner.workdir import replace_text
from nco import actor_critic, search
from nco.policy_gradient import Policy
from nco.problems import tsp

_UNSAVED = 1000  # labels that are made without a file, at most


def build(config: ConfigDict) -> Experiment:
    """Checks the config and makes the experiment.

    Raises:
        ConfigError: names the key.
        MissingDataset: there is no file of labels; the message is the command that makes it.
    """
    check_int(config, "cities", low=4, high=1000)
    check_int(config, "batch_size", low=1)
    check_bool(config, "augment")
    pointer_training.check_network(config)
    pointer_training.check_finish(config)
    labels = _labels(config)
    policy = pointer_training.policy(config, tsp.problem)
    learner = actor_critic.supervised(
        policy,
        pointer_training.optimizer(config),
        init_params=pointer_training.initial(config, tsp.problem),
    )

    def batch(data: tuple[Array, Array], key: Any, step: Any) -> Any:
        k_pick, k_change = jax.random.split(key)
        index = jax.random.randint(k_pick, (config.batch_size,), 0, len(data[0]))
        coords, tours = data[0][index], data[1][index]
        return augment(k_change, coords, tours) if config.augment else (coords, tours)

    validation = tsp.sample(jax.random.key(20_000), config.eval.instances, config.cities)
    decode = jax.jit(functools.partial(search.greedy, policy, tsp.problem))

    def evaluate(state: Any, step: int) -> dict[str, float]:
        return {"tour_length": -float(jnp.mean(decode(state.params, validation).reward))}

    data = (jnp.asarray(labels.coords), jnp.asarray(labels.tours))
    return Experiment(
        init=learner.init,
        phases=(Phase("train", config.steps, learner.update, batch, data),),
        cycle=False,
        evaluate=evaluate,
        headline=("tour_length", "min"),
        finish=functools.partial(_finish, config, policy, labels.about),
    )


def augment(key: Array, coords: Array, tours: Array) -> tuple[Array, Array]:
    """The same instances and tours in new orders of the cities, turned and mirrored at random.

    Args:
        key: PRNG key; consumed.
        coords: float32 `[batch, cities, 2]` in the unit square.
        tours: int32 `[batch, cities]`.
    """
    k_order, k_flip, k_swap = jax.random.split(key, 3)
    batch, cities, _ = coords.shape
    flip = jax.random.bernoulli(k_flip, shape=(batch, 1, 2))
    coords = jnp.where(flip, 1.0 - coords, coords)
    swap = jax.random.bernoulli(k_swap, shape=(batch, 1, 1))
    coords = jnp.where(swap, coords[..., ::-1], coords)
    order = jnp.broadcast_to(jnp.arange(cities), (batch, cities))
    order = jax.random.permutation(k_order, order, axis=1, independent=True)
    place = jnp.argsort(order, axis=1)  # where a city is fed now
    renamed = jnp.take_along_axis(place, tours, axis=1)
    return jnp.take_along_axis(coords, order[..., None], axis=1), canonical(renamed)


def canonical(tours: Array) -> Array:
    """Tours `[batch, cities]` from city 0 on, towards its neighbour of the smaller number."""
    cities = tours.shape[1]
    start = jnp.argmin(tours, axis=1, keepdims=True)
    steps = jnp.arange(cities)[None]
    onward = jnp.take_along_axis(tours, (start + steps) % cities, axis=1)
    back = jnp.take_along_axis(tours, (start - steps) % cities, axis=1)
    return jnp.where(onward[:, 1:2] < back[:, 1:2], onward, back).astype(jnp.int32)


def _labels(config: ConfigDict) -> tsp_labels.Labels:
    path, count = str(lookup(config, "labels.path")), check_int(config, "labels.count", low=1)
    if not path:
        check_int(config, "labels.count", low=1, high=_UNSAVED)
        try:
            return tsp_labels.solved(config.cities, count)
        except ImportError as error:
            raise ConfigError("labels.path", f"a file, as none can be made: {error}", "") from error
    command = (
        f"python -m experiments.nco.labels --cities {config.cities} --count {count} --out {path}"
    )
    try:
        labels = tsp_labels.load(path)
    except FileNotFoundError as error:
        raise MissingDataset(f"labels.path: there is no {path}; make it by: {command}") from error
    except (OSError, ValueError) as error:
        raise ConfigError("labels.path", f"a file of labels; {command} makes it", path) from error
    held, cities = labels.tours.shape
    if cities != config.cities:
        raise ConfigError(
            "labels.path", f"labels of {config.cities} cities", f"of {cities}: {path}"
        )
    if held < count:
        raise MissingDataset(
            f"labels.count: {path} holds {held:,} of {count:,}; make the others by: {command}"
        )
    return labels._replace(coords=labels.coords[:count], tours=labels.tours[:count])


def _finish(
    config: ConfigDict, policy: Policy, about: dict[str, Any], state: Any, workdir: Path
) -> list[dict[str, Any]]:
    """Saves the model as one of tours, and decodes the first public instances."""
    name = f"tsp{config.cities}"
    described = ConfigDict(config.to_dict())
    described.experiment = "nco_tsp"  # what it is a network for
    described.learning = "supervised"
    described.labels.update(about)
    pointer_training.save_model(described, f"{name}-supervised", state, Path(workdir))
    if not config.finish.instances:
        return []
    instances = pointer_training.public_instances(config.cities, config.finish.instances)
    model = Model(policy, state.params, name, tsp.problem)
    found = pointer_training.decode_and_sample(model, instances, config.finish)
    rows = [
        {"name": f"{name}-supervised-{method}", "metric": "tour_length", "unit": "instance"}
        | mean_interval(nco_tsp.lengths(instances, np.asarray(tours)))._asdict()
        for method, tours in found.items()
    ]
    table = markdown(rows, columns=("name", "metric", "value", "low", "high", "n"))
    replace_text(Path(workdir) / "table.md", f"{table}\n\nLabels: {described.labels.to_dict()}\n")
    return rows
