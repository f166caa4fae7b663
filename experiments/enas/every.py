"""Every architecture of a small space trained from scratch: what shared weights are judged by.

A search of listed points: a point is an architecture, as a line, and the number of its training;
its value is the accuracy on the validation data, negative as an error, and the journal has that on
the test data beside it. One compiled program trains any of them. Errors are normalised by the
batches' own statistics, like those of children that share weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from ml_collections import ConfigDict

from enas import decisions, tasks, train
from enas.controller import controller
from experiments.enas import problem
from experiments.runner import search_journal
from experiments.runner.checks import check_int
from experiments.runner.experiment import Search
from search import listed
from search.interface import Measured


def build(config: ConfigDict) -> Search:
    """Checks the config and makes the search; raises ConfigError naming the key."""
    trainings, epoch = check_int(config, "trainings", 1), check_int(config, "epoch", 1)
    updates = check_int(config, "updates", 1)
    found = problem.of(config)
    space, metric = found.task.supernet.decisions, found.headline[0]
    lines = [decisions.line(space, each) for each in decisions.enumerated(space, most=10_000)]
    points = [[line, number] for number in range(trainings) for line in lines]
    child, policy = tasks.child(found.task), controller(space, hidden=1)
    tx = found.optimizer(epoch, -(-updates // epoch))
    measures = {part: found.measure(part) for part in ("valid", "test")}

    @jax.jit
    def trained(choices: Array, key: Array, resident: Any) -> Any:
        alone = train.search(policy, child, tx, proposals=lambda _: choices)

        def step(state: train.State, index: Array) -> tuple[train.State, None]:
            batch = found.train(resident, jax.random.fold_in(key, index), index)
            return alone.weights(state, batch)[0], None

        return jax.lax.scan(step, alone.init(key), jnp.arange(updates))[0].weights

    def objective(point: Any, seed: int) -> Measured:
        line, number = point
        del number
        choices = jnp.asarray(decisions.parse(space, line))
        weights = trained(choices, jax.random.key(seed), found.data)
        errors = {part: measures[part](weights, choices)[metric] for part in measures}
        return Measured(-errors["valid"], errors)

    return Search(
        searcher=listed.searcher(points),
        objective=objective,
        headline=(metric, "min"),
        budget=len(points),
        curve=False,
    )


def errors(workdir: Path, part: str = "test") -> dict[str, np.ndarray]:
    """What a finished run measured: the errors of each architecture's trainings, by its line."""
    found: dict[str, list[float]] = {}
    for each in search_journal.recorded(workdir):
        for point, more in zip(each.points, each.more, strict=True):
            found.setdefault(point[0], []).append(more[part])
    return {line: np.asarray(values) for line, values in found.items()}
