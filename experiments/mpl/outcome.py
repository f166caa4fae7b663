"""What runs of `configs/mpl` have in common: evaluation, result rows, and so the `Experiment`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from experiments.mpl import predictions
from experiments.report.interval import mean_interval
from experiments.report.markdown import markdown
from experiments.runner import stages as runner_stages
from experiments.runner.experiment import Experiment
from experiments.runner.stages import Stage, State
from experiments.runner.workdir import replace_text
from mpl import meta
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


def experiment(
    config: ConfigDict,
    name: str,
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
        stages: in their order.
        judge: of its networks.
        printed: the thesis's figure and its place, by metric, in percent.
        data: resident, of all stages; `None` where the host feeds them.
        targets: as `experiments.runner.stages.init`.
        prepare: as `Experiment.prepare`.
    """

    def evaluate(state: State, step: int) -> dict[str, float]:
        side = learned(state.stages[runner_stages.active(stages, step)])
        return judge.accuracies(side, False)

    def finish(state: State, workdir: Path) -> list[dict[str, Any]]:
        """Accuracies at each stage's end: so a student's, before its finetuning and after."""
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
        if config.data.write_predictions:
            predictions.write(workdir, *judge.pool(learned(state.stages[-1])))
        table = markdown(rows, columns=("name", "metric", "value"))
        replace_text(Path(workdir) / "table.md", table + "\n")
        return rows

    return Experiment(
        init=functools.partial(runner_stages.init, stages, targets),
        phases=runner_stages.phases(stages, data),
        cycle=False,
        evaluate=evaluate,
        headline=("accuracy", "max"),
        finish=finish,
        prepare=prepare,
    )
