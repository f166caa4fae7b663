"""Glue of supervised learning: builds an `Experiment` from `experiments/configs/nco/supervised.py`.

A label is a tour that starts at the city that is fed first, towards its neighbour that is fed
earlier, as in Vinyals et al. 2015. The thesis says only that it had one million optimal tours
(Pham 2021, section 2.5.1).
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array
from ml_collections import ConfigDict

from experiments.data.registry import MissingDataset
from experiments.nco import labels as tsp_labels
from experiments.nco import training
from experiments.nco.problems import PROBLEMS
from experiments.report.rows import Row
from experiments.runner.checks import ConfigError, check_bool, check_int, lookup
from experiments.runner.experiment import Experiment
from nco import actor_critic, pointer
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
    training.check_network(config)
    training.check_finish(config)
    labels = _labels(config)
    policy = pointer.policy(tsp.problem)
    learner = actor_critic.supervised(
        policy,
        training.optimizer(config),
        init_params=training.initial(config, tsp.problem),
    )

    def batch(data: tuple[Array, Array], key: Any, step: Any) -> Any:
        k_pick, k_change = jax.random.split(key)
        index = jax.random.randint(k_pick, (config.batch_size,), 0, len(data[0]))
        coords, tours = data[0][index], data[1][index]
        return tsp.augment(k_change, coords, tours) if config.augment else (coords, tours)

    data = (jnp.asarray(labels.coords), jnp.asarray(labels.tours))
    finish = functools.partial(_finish, config, labels.about)
    return training.experiment(config, PROBLEMS["tsp"], learner, batch, data, finish)


def _labels(config: ConfigDict) -> tsp_labels.Labels:
    path, count = str(lookup(config, "labels.path")), check_int(config, "labels.count", low=1)
    if not path:
        check_int(config, "labels.count", low=1, high=_UNSAVED)
        try:
            return tsp_labels.solved(config.cities, count)
        except ImportError as error:
            raise ConfigError("labels.path", f"a file, as none can be made: {error}", "") from error
    command = (
        f"python -m experiments.run --config=nco/labels:20 --config.cities={config.cities} "
        f"--config.steps={-(-count // 1000)} --workdir={Path(path).with_suffix('')}"
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


def _finish(config: ConfigDict, about: dict[str, Any], state: Any, workdir: Path) -> list[Row]:
    """Saves the model as one of tours, and decodes the first public instances."""
    name, workdir = f"tsp{config.cities}-supervised", Path(workdir)
    described = ConfigDict(config.to_dict())
    described.experiment = PROBLEMS["tsp"].experiment  # what it is a network for
    described.learning = "supervised"
    described.labels.update(about)
    training.save_model(described, name, state, workdir)
    if not config.finish.instances:
        return []
    rows = training.compare(config, PROBLEMS["tsp"], name, state.params, {}, workdir).rows
    training.write_table(rows, workdir, f"\nLabels: {described.labels.to_dict()}\n")
    return rows
