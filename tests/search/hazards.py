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


# What a point of `many` does, by its number; the others return it.
POINTS = 60
DIES, DIES_ONCE, HANGS, RAISES, NAN = (7, 40), (3, 17, 31), (11, 50), (23,), (29,)


def many(folder, point, seed):
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


def expected(number):
    """The status that a trial of `many` ends with."""
    if number in HANGS:
        return "timeout"
    return "failed" if number in (*DIES, *RAISES, *NAN) else "ok"


def restless(folder, point, seed):
    """Ends its process the first time that it sees a first choice; else the mean choice."""
    dies_once(folder, point, seed)
    return float(sum(point)) / len(point)
