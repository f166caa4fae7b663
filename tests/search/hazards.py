"""Objectives that fail in every way, in a module that a fresh process imports quickly."""

import os
import time
from pathlib import Path


def sphere(point, seed):
    return -sum(float(x) ** 2 for x in point)


def hazard(point, seed):
    """What the first number of the point says."""
    kind = int(point[0])
    if kind == 1:
        raise ValueError("out of range")
    if kind == 2:
        return float("nan")
    if kind == 3:
        time.sleep(600)
    if kind == 4:
        os._exit(7)
    return float(point[1])


def dies_once(folder, point, seed):
    """Ends its process the first time it sees a point."""
    mark = Path(folder) / str(int(point[0]))
    if not mark.exists():
        mark.touch()
        os._exit(1)
    return float(point[0])


def naps(point, seed):
    """Sleeps for so many seconds."""
    time.sleep(float(point[0]))
    return float(point[0])
