"""Evaluation on a Ray cluster: `search.evaluate`'s interface, with tasks that Ray places.

    with ray_cluster.connect(objective, workers=2, timeout_s=60.0) as evaluator: ...

Needs Ray: `pip install ray`.
"""

from __future__ import annotations

import collections
import importlib
import time
import warnings
from typing import Any

from search.evaluate import POLL_S, Objective, check
from search.interface import Outcome, Report, Trial, attempt


class RayCluster:
    """Tasks of a Ray cluster, which restarts what is lost. Made by `connect`."""

    def __init__(
        self, objective: Objective, *, workers: int, timeout_s: float, retries: int, address: str
    ) -> None:
        self._ray = require()
        if not self._ray.is_initialized():
            where = {"address": address} if address else {"num_cpus": workers}
            with warnings.catch_warnings():
                # JAX warns of forks; Ray's processes run another program at once.
                warnings.filterwarnings("ignore", message=r"os\.fork\(\) was called")
                self._ray.init(**where, include_dashboard=False, log_to_driver=False)
        self._workers, self._timeout_s = workers, timeout_s
        self._objective = self._ray.put(objective)
        # Without a core of its own, so that it never waits for the tasks that report to it.
        self._starts = self._ray.remote(num_cpus=0)(_Starts).remote()
        self._task = self._ray.remote(num_cpus=1, max_retries=retries)(_started_attempt)
        self._queue: collections.deque[Trial] = collections.deque()
        self._running: dict[Any, Trial] = {}
        self._begun: dict[int, tuple[int, float]] = {}  # trial: how often, and when last

    @property
    def capacity(self) -> int:
        """How many tasks run at once."""
        return self._workers

    def submit(self, trial: Trial) -> None:
        """Starts a task, or queues the trial."""
        self._queue.append(trial)
        self._assign()

    def collect(self, wait_s: float) -> list[Report]:
        """What has ended since the last call; waits up to `wait_s` seconds for something."""
        until, reports = time.monotonic() + max(wait_s, POLL_S), list[Report]()
        while not reports and self._running and time.monotonic() < until:
            done, _ = self._ray.wait(list(self._running), num_returns=1, timeout=POLL_S)
            reports += [self._result(reference) for reference in done]
            reports += [self._cancel(reference) for reference in self._late()]
            self._assign()
        return reports

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: Any) -> None:
        for reference in self._running:
            self._ray.cancel(reference, force=True)
        self._running.clear()
        self._queue.clear()

    def _assign(self) -> None:
        while self._queue and len(self._running) < self._workers:
            trial = self._queue.popleft()
            self._running[self._task.remote(trial, self._objective, self._starts)] = trial

    def _late(self) -> list[Any]:
        """Tasks that run for longer than they may; those that wait for a core have not begun."""
        if not self._running or self._timeout_s == float("inf"):
            return []
        now = time.monotonic()
        for trial, count in self._ray.get(self._starts.counts.remote()).items():
            if count > self._begun.get(trial, (0, now))[0]:  # again, where its worker was lost
                self._begun[trial] = count, now
        return [
            reference
            for reference, trial in self._running.items()
            if now >= self._begun.get(trial.id, (0, now))[1] + self._timeout_s
        ]

    def _result(self, reference: Any) -> Report:
        trial = self._running.pop(reference)
        try:
            return self._ray.get(reference)
        except Exception as error:  # a lost worker, tried again as often as it may be
            failed = Outcome(trial.id, float("nan"), "failed")
            return Report(failed, f"{type(error).__name__}: its task was lost")

    def _cancel(self, reference: Any) -> Report:
        trial = self._running.pop(reference)
        self._ray.cancel(reference, force=True)
        outcome = Outcome(trial.id, float("nan"), "timeout")
        return Report(outcome, f"no value within {self._timeout_s:g} s")


class _Starts:
    """An actor that counts how often each trial was begun."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}

    def begin(self, trial: int) -> None:
        self._counts[trial] = self._counts.get(trial, 0) + 1

    def counts(self) -> dict[int, int]:
        return self._counts


def _started_attempt(trial: Trial, objective: Objective, starts: Any) -> Report:
    starts.begin.remote(trial.id)
    return attempt(trial, objective)


def connect(
    objective: Objective,
    *,
    workers: int = 2,
    timeout_s: float = float("inf"),
    retries: int = 1,
    address: str = "",
) -> RayCluster:
    """Tasks on a Ray cluster, or on one started here with `workers` cores.

    Ray places the tasks, moves the objective, and runs a task again whose worker was lost; the
    time limit is ours: a task beyond it is cancelled and its worker killed.

    Args:
        objective: pickles.
        workers: how many tasks run at once.
        timeout_s: seconds from a task's start; waiting for a core of the cluster is no part of it.
        retries: how often a task whose worker died is run again.
        address: of a cluster, as in `ray.init`; empty starts one on this machine, unless this
            process is connected to one already.

    Raises:
        ImportError: Ray is absent; says what to install.
        ValueError: a number out of range.
    """
    check(workers, timeout_s, retries)
    return RayCluster(
        objective, workers=workers, timeout_s=timeout_s, retries=retries, address=address
    )


def require() -> Any:
    """Imports Ray.

    Raises:
        ImportError: it is absent; says how to install it.
    """
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise ImportError("a Ray cluster needs Ray: pip install ray") from error
