"""What configs of the group `search` are named by; light, so that configs can be listed quickly."""

from __future__ import annotations

from ml_collections import ConfigDict

from experiments.runner.evaluators import shared
from search.contest import MODELS

DATA = ("digits", "wine", "breast_cancer")
# Classifier, data set and metric: what `search/contest` tunes.
CONTEST = tuple(
    f"{name}-{data}-{metric}"
    for name, model in MODELS.items()
    for data in DATA
    for metric in model.metrics
)

SMALL = ("lunar", "rover")
NON_LINEAR = ("swimmer", "hopper", "halfcheetah")  # partitions of the locomotion tasks
LINEAR = ("walker2d", "ant", "humanoid")
CONTROL = (*SMALL, *NON_LINEAR, *LINEAR)

ELSEWHERE = ("asynchronous", "batch_size", "evaluate")


def measured_here() -> ConfigDict:
    """The fields of a study: those of a search, but for where and how many at once."""
    return ConfigDict({key: value for key, value in shared().items() if key not in ELSEWHERE})
