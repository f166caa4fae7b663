"""Objectives that end their process, hang, raise or return NaN, for `experiments.search.workers`.

In a module of its own, that a fresh process imports quickly.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

POINTS = 60
# What a point does, by its number; the others return it.
DIES, DIES_ONCE, HANGS, RAISES, NAN = (7, 40), (3, 17, 31), (11, 50), (23,), (29,)


def objective(folder: str, point: Any, seed: int) -> float:
    """What the number of the point says."""
    number = int(point[0])
    mark = Path(folder) / str(number)
    if number in DIES or (number in DIES_ONCE and not mark.exists()):
        mark.touch()
        os._exit(1)
    if number in HANGS:
        time.sleep(3600)
    if number in RAISES:
        raise ValueError("out of range")
    return float("nan") if number in NAN else float(number)


def expected(number: int) -> str:
    """The status that a point's trial ends with."""
    if number in HANGS:
        return "timeout"
    return "failed" if number in (*DIES, *RAISES, *NAN) else "ok"


def restless(folder: str, point: Any, seed: int) -> float:
    """Ends its process the first time that it sees a first choice."""
    mark = Path(folder) / str(int(point[0]))
    if not mark.exists():
        mark.touch()
        os._exit(1)
    return float(sum(point)) / len(point)
