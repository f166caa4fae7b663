"""What runs of `configs/mpl` have in common: evaluation, result rows, and the trained network."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from experiments.mpl import learners, predictions
from experiments.report.interval import mean_interval
from experiments.report.markdown import markdown
from experiments.runner import pretrained
from experiments.runner.experiment import Experiment, Phase
from experiments.runner.workdir import replace_text
from mpl import augment, meta
from mpl import stages as sequence
from mpl.models.network import Network, predictor
from mpl.stages import Stage, State
from mpl.teaching import learned

PyTree = Any
Side = tuple[PyTree, PyTree]  # parameters and averages of a network


class Judge(NamedTuple):
    """A network's measure on a data set.

    Attributes:
        accuracies: `(side, every) -> fractions by metric`, "accuracy" among them, on all test
            images or on some.
        pool: `side -> (logits of all unlabelled images in parts, how many images and classes)`.
    """

    accuracies: Callable[[Side, bool], dict[str, float]]
    pool: Callable[[Side], tuple[Iterable[np.ndarray], tuple[int, int]]]


class Classifier(NamedTuple):
    """A trained network.

    Attributes:
        network: its functions.
        params: of the network.
        stats: its averages of batch normalization.
        predict: `(uint8 [N, height, width, channels]) -> logits float32 [N, classes]`.
    """

    network: Network
    params: PyTree
    stats: PyTree
    predict: Callable[[np.ndarray], np.ndarray]


def load(name: str | Path) -> Classifier:
    """The network that a run of images ended with, by the run's folder.

    Raises:
        LookupError: no such model, or the run has not ended.
        ValueError: a model of another kind.
    """
    loaded = pretrained.load(name)
    if not {"shape", "classes"} <= set(loaded.meta):
        kind = loaded.config.get("experiment")
        raise ValueError(f"{name}: expected a network of images, got one of {kind}")
    found = learners.Images(tuple(loaded.meta["shape"]), loaded.meta["classes"])
    net = learners.network(ConfigDict(loaded.config), found, 0.0)
    side = loaded.params["params"], loaded.params.get("stats", {})
    return Classifier(net, *side, functools.partial(predictor(net, augment.scaled), *side))


def phases(stages: Sequence[Stage], data: PyTree) -> tuple[Phase, ...]:
    """The runner's phases, all on the same resident data, or fed by the host (`data=None`)."""
    return tuple(
        Phase(
            stage.name,
            stage.steps,
            sequence.update(stages, index),
            stage.batch,
            data,
            stage.enter,
            stage.like,
        )
        for index, stage in enumerate(stages)
    )


def experiment(
    config: ConfigDict,
    name: str,
    found: learners.Images,
    stages: tuple[Stage, ...],
    judge: Judge,
    *,
    printed: Mapping[str, tuple[float | None, str]],
    data: PyTree = None,
    targets: Callable[[Any], PyTree] | None = None,
    prepare: Callable[[], None] | None = None,
) -> Experiment:
    """Stages as an experiment whose headline is the accuracy.

    Args:
        config: of `configs/mpl`.
        name: of its result rows.
        found: shape and classes of its images.
        stages: in their order.
        judge: of its networks.
        printed: the thesis's figure and its place, by metric, in percent.
        data: resident, of all stages; `None` where the host feeds them.
        targets: as `mpl.stages.init`.
        prepare: as `Experiment.prepare`.
    """

    def evaluate(state: State, step: int) -> dict[str, float]:
        side = learned(state.stages[sequence.active(stages, step)])
        return judge.accuracies(side, False)

    def finish(state: State, workdir: Path) -> list[dict[str, Any]]:
        """Accuracies at each stage's end (a student's before its finetuning and after); a model."""
        rows: list[dict[str, Any]] = []

        def add(suffix: str, side: Side) -> None:
            for metric, value in judge.accuracies(side, True).items():
                known, source = (None, "") if suffix else printed.get(metric, (None, ""))
                row = {"name": f"{name}{suffix}", "metric": metric, "unit": "seed"}
                row |= mean_interval([100.0 * value])._asdict()
                rows.append(row | {"reference": known, "source": source})

        for stage, inner in zip(stages, state.stages, strict=True):
            add("" if stage is stages[-1] else f"-{stage.name}", learned(inner))
            if isinstance(inner, meta.State) and config.method == "mpl":
                add("-its_teacher", (inner.teacher.params, inner.teacher.stats))
        params, stats = jax.device_get(learned(state.stages[-1]))
        about = {"step": int(state.step), "name": name, **found._asdict()}
        model = {"params": params, "stats": stats}
        pretrained.save(Path(workdir) / "model.npz", model, config.to_dict(), about)
        if config.data.write_predictions:
            predictions.write(workdir, *judge.pool(learned(state.stages[-1])))
        table = markdown(rows, columns=("name", "metric", "value"))
        replace_text(Path(workdir) / "table.md", table + "\n")
        return rows

    return Experiment(
        init=functools.partial(sequence.init, stages, targets),
        phases=phases(stages, data),
        cycle=False,
        evaluate=evaluate,
        headline=("accuracy", "max"),
        finish=finish,
        prepare=prepare,
    )
