"""Runs a solver on many instances: of tours, in a pool of processes, or of knapsacks."""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

import numpy as np

from nco import solvers

# Gaps are to its tours, which a loaded machine must not make longer.
near_optimal: Callable[..., np.ndarray] = functools.partial(
    solvers.near_optimal, clock=time.thread_time
)


class Solutions(NamedTuple):
    """What `solve_many` found.

    Attributes:
        tours: int32 `[instances, city]`, each a permutation that starts at city 0.
        lengths: float64 `[instances]`, in the unit of the coordinates or weights.
        seconds: float64 `[instances]`, time in the solver.
    """

    tours: np.ndarray
    lengths: np.ndarray
    seconds: np.ndarray


def solve_many(
    solver: Callable[..., np.ndarray],
    instances: np.ndarray | None = None,
    *,
    matrices: np.ndarray | None = None,
    processes: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> Solutions:
    """Runs a solver on many instances in a pool of processes.

    The processes are started afresh (spawn), because a process in which jax has run must not fork.
    A script that calls this therefore guards its main part by `if __name__ == "__main__"`.

    Args:
        solver: a function of `nco.solvers`, or a `functools.partial` of one; it must pickle.
        instances: coordinates, float `[instances, city, dim]`.
        matrices: weights, float `[instances, city, city]`, instead of coordinates.
        processes: how many; with 1 everything runs in this process.
        progress: called with (solved, instances) after each instance, in order.

    Raises:
        ValueError: if not exactly one of `instances` and `matrices` is given.
        Exception: whatever the solver raises, with a note that names the instance.
    """
    if (instances is None) == (matrices is None):
        raise ValueError("expected exactly one of instances and matrices")
    if processes < 1:
        raise ValueError(f"processes: expected at least 1, got {processes}")
    key, stack = ("coords", instances) if matrices is None else ("matrix", matrices)
    stack = np.asarray(stack)
    if stack.ndim != 3:
        raise ValueError(f"{key}: expected 3 axes, instances first, got shape {stack.shape}")
    tasks = [(solver, key, index, instance) for index, instance in enumerate(stack)]
    processes = min(processes, max(1, len(tasks)))
    if processes == 1:
        _warm_up(solver, key)
        return _gather(map(_solve_task, tasks), stack.shape, progress)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        processes, mp_context=context, initializer=_warm_up, initargs=(solver, key)
    ) as pool:
        chunk = max(1, min(16, len(tasks) // (4 * processes)))
        try:
            return _gather(pool.map(_solve_task, tasks, chunksize=chunk), stack.shape, progress)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def fill_many(
    solver: Callable[..., np.ndarray], instances: np.ndarray, capacity: float
) -> tuple[np.ndarray, np.ndarray]:
    """Runs a solver of `nco.knapsack_solvers` on many instances.

    Returns:
        What it takes, int32 `[instances, items]` with -1 behind the last, and its seconds, float64
        `[instances]`.
    """
    wide = instances.astype(np.float64)
    actions, seconds = np.full(wide.shape[:2], -1, np.int32), np.zeros(len(wide))
    solver(*wide[0].T, capacity)  # imports what it needs
    for index, items in enumerate(wide):
        start = time.perf_counter()
        taken = np.flatnonzero(solver(*items.T, capacity))
        seconds[index] = time.perf_counter() - start
        actions[index, : len(taken)] = taken
    return actions, seconds


def _warm_up(solver: Callable[..., np.ndarray], key: str) -> None:
    """Solves a square, so that no instance's time holds the import of a library."""
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    # What is wrong with a solver is told with the first instance.
    with contextlib.suppress(Exception):
        solver(**{key: corners if key == "coords" else solvers.distances(corners)})


def _solve_task(task: tuple) -> tuple[np.ndarray, float, float]:
    solver, key, index, instance = task
    start = time.perf_counter()
    try:
        tour = solver(**{key: instance})
    except Exception as error:
        error.add_note(f"while solving instance {index}")
        raise
    seconds = time.perf_counter() - start
    weights = solvers.distances(instance) if key == "coords" else instance
    return tour, solvers.tour_length(weights, tour), seconds


def _gather(
    results: Iterable[tuple[np.ndarray, float, float]],
    shape: tuple[int, ...],
    progress: Callable[[int, int], None] | None,
) -> Solutions:
    tours = np.zeros(shape[:2], np.int32)
    lengths, seconds = np.zeros(shape[0]), np.zeros(shape[0])
    for index, (tour, length, taken) in enumerate(results):
        tours[index], lengths[index], seconds[index] = tour, length, taken
        if progress is not None:
            progress(index + 1, shape[0])
    return Solutions(tours, lengths, seconds)
