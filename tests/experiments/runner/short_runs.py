"""Runs of the toy inside the test's own process."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import jax
from ml_collections import ConfigDict

from experiments.runner import loop
from experiments.runner.checkpoint import restore_state, to_host
from experiments.runner.experiment import Experiment
from experiments.runner.programs import Programs
from tests.experiments.runner import toy as glue

ONE = jax.devices()[:1]


_compiled: dict[str, Programs] = {}


def train(config: ConfigDict, workdir: Path, **options: Any) -> loop.Finished:
    """Trains the toy that the config describes, on one device.

    Runs of one config share their compiled programs, which take most of a short run's time; those
    in processes of their own, of `test_resume.py`, do not.
    """

    def programs(experiment: Experiment, *rest: Any) -> Programs:
        return _compiled.setdefault(config.to_json(), Programs(experiment, *rest))

    with mock.patch.object(loop, "Programs", programs):
        return loop.train(glue.build(config), config, workdir, devices=ONE, **options)


def stop_after(dispatches: int) -> Callable[[], bool]:
    """Asks to stop after so many dispatches."""
    asked: list[None] = []

    def stop() -> bool:
        asked.append(None)
        return len(asked) >= dispatches

    return stop


def same_states(one: Any, other: Any) -> bool:
    """Whether all leaves are equal bit for bit."""
    left, right = to_host(one), to_host(other)
    assert left.keys() == right.keys()
    return all(left[name].tobytes() == right[name].tobytes() for name in left)


def final(workdir: Path, experiment: Experiment) -> Any:
    """The state of the newest checkpoint."""
    target = jax.eval_shape(experiment.init, jax.random.key(0))
    return restore_state(workdir, target)[0]
