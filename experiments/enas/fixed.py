"""Glue of one architecture's training from scratch: builds an `Experiment` from `configs/enas`.

`config.architecture` is a line of text, the folder of a search, or "random": drawn as guided random
search does, by the run's seed. `config.change` trains a neighbour of it instead (section 4.3): the
tests of whether what was found is a local optimum.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from enas import decisions, fixed, neighbours
from enas.decisions import Decisions
from experiments.enas import figures, problem
from experiments.enas.architecture import parameters
from experiments.enas.config import OPERATIONS
from experiments.enas.search import ARCHITECTURE
from experiments.enas.spaces import supernet_of
from experiments.report.interval import mean_interval
from experiments.runner import pretrained
from experiments.runner.checks import ConfigError, check_choice, check_int
from experiments.runner.experiment import Experiment, Phase
from experiments.runner.workdir import replace_text

RANDOM = "random"
_BENT, _FLAT = ("tanh", "relu"), ("identity", "sigmoid")
# Labels that become others, and how many choices; the thesis says "some".
CHANGES: Mapping[str, tuple[Mapping[str, tuple[str, ...]], int | None]] = MappingProxyType(
    {
        "saturate": (dict.fromkeys(_BENT, _FLAT), 2),
        "swap": ({"relu": ("tanh",), "tanh": ("relu",)}, 2),
        "plain": ({"sep3": ("conv3",), "sep5": ("conv5",)}, None),
    }
)
REWIRE, REWIRED = "rewire", 4
_KEPT = {*OPERATIONS, *_BENT, *_FLAT, "identity"}  # what is no connection


def build(config: ConfigDict) -> Experiment:
    """Checks the config and makes the experiment.

    Raises:
        ConfigError: names the key.
    """
    epoch = check_int(config, "epoch", 1)
    found = problem.of(config)
    supernet = found.task.supernet
    choices = architecture(config, supernet.decisions)
    if config.change:
        changed = neighbour(config, supernet.decisions, choices)
        if config.change == "plain":
            found = _as_large(config, found, choices, changed)
            supernet = found.task.supernet
        choices = changed
    learner = fixed.fixed(found.task, choices, found.optimizer(epoch, -(-config.steps // epoch)))
    metric = found.headline[0]
    measures = {part: found.measure(part, choices) for part in ("valid", "test")}

    def batch(data: Any, key: Any, step: Any) -> Any:
        return found.train(data, key, step)

    def evaluate(state: fixed.State, step: int) -> dict[str, float]:
        del step
        return {metric: measures["valid"](state.weights, None, state.averages)[metric]}

    def finish(state: fixed.State, workdir: Path) -> list[dict[str, Any]]:
        workdir = Path(workdir)
        line = decisions.line(supernet.decisions, choices)
        replace_text(workdir / ARCHITECTURE, line + "\n")
        figures.draw_graphs(supernet.graphs(choices), workdir / "architecture.png")
        values = {
            f"{part}_{metric}": measures[part](state.weights, None, state.averages)[metric]
            for part in measures
        }
        values["parameters"] = float(parameters(supernet, choices))
        model = jax.device_get({"weights": state.weights, "averages": state.averages})
        about = {"step": int(state.step), "architecture": line}
        pretrained.save(workdir / "model.npz", model, config.to_dict(), about)
        row = {"name": config.space.name, "unit": "seed"}
        return [row | {"metric": name} | mean_interval([v])._asdict() for name, v in values.items()]

    return Experiment(
        init=learner.init,
        phases=(Phase("train", config.steps, learner.update, batch, found.data),),
        cycle=False,
        evaluate=evaluate,
        headline=(metric, "min"),
        finish=finish,
    )


def neighbour(config: ConfigDict, space: Decisions, choices: np.ndarray) -> np.ndarray:
    """The architecture with the config's change, drawn by its seed.

    Raises:
        ConfigError: no such change, or none of this architecture.
    """
    kind = check_choice(config, "change", ("", *CHANGES, REWIRE))
    rng = np.random.default_rng(config.seed)
    try:
        if kind == REWIRE:
            return neighbours.rewired(space, choices, rng, kept=_KEPT, count=REWIRED)
        replacements, count = CHANGES[kind]
        return neighbours.relabelled(space, choices, replacements, rng, count=count)
    except ValueError as error:
        raise ConfigError(
            "change", f"one that this architecture can take ({error})", kind
        ) from error


def _as_large(
    config: ConfigDict, found: problem.Problem, choices: np.ndarray, changed: np.ndarray
) -> problem.Problem:
    """The problem with as many channels as bring the changed network nearest to the old one."""
    wanted = parameters(found.task.supernet, choices)

    def size(channels: int) -> int:
        return parameters(supernet_of(_with_channels(config, channels), found.shape), changed)

    widths = range(1, config.space.channels + 1)
    best = min(widths, key=lambda channels: abs(size(channels) - wanted))
    return problem.of(_with_channels(config, best))


def _with_channels(config: ConfigDict, channels: int) -> ConfigDict:
    copied = ConfigDict(config.to_dict())
    copied.space.channels = channels
    return copied


def architecture(config: ConfigDict, space: Decisions) -> np.ndarray:
    """The architecture that a config names.

    Raises:
        ConfigError: it is no line of this space, nor the folder of a search that has ended.
    """
    given = config.architecture
    if given == RANDOM:
        return np.asarray(decisions.guided(space, jax.random.key(config.seed), 1)[0])
    text, path = given, Path(given).expanduser()
    if "|" not in given and ":" not in given:
        path = path / ARCHITECTURE if path.is_dir() else path
        if not path.is_file():
            expected = f"{RANDOM}, a line of text, or the folder of a search that has ended"
            raise ConfigError("architecture", expected, given)
        text = path.read_text()
    try:
        return decisions.parse(space, text)
    except ValueError as error:
        raise ConfigError("architecture", f"a line of this space: {error}", text.strip()) from error
