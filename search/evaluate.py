"""Where trials are evaluated: in this process or in a pool; `search.ray_cluster` is the third.

An evaluator takes trials and gives reports, in whatever order they finish:

    with pool(objective, workers=2, timeout_s=60.0) as evaluator:
        evaluator.submit(trial)
        for report in evaluator.collect(wait_s=1.0): ...

Whatever happens to a trial, it is reported exactly once: with a value; as "failed" after an
exception, a return that is no finite number, or the loss of more processes than `retries` allows;
as "timeout" after its time. The distributed forms of AlphaX and LaNAS (Wang 2022, sections 3.2 and
4.2) are these evaluators with a searcher that is told late.

An objective is a function `(point, seed) -> reward`, or `-> Measured(reward, more)`. A pool or a
cluster pickles it, so there it is a function of a module, or a `functools.partial` of one.
"""

from __future__ import annotations

import collections
import multiprocessing
import pickle
import signal
import time
from collections.abc import Callable
from multiprocessing import connection as pipes
from types import TracebackType
from typing import Any, Protocol

from search.interface import Measured, Outcome, Point, Report, Trial, attempt

Objective = Callable[[Point, int], float | Measured]
_READY = "ready"
POLL_S = 0.05  # how long a collect that must not wait still looks


class PoolError(RuntimeError):
    """Processes cannot evaluate an objective: it cannot be sent to them, or they end at once."""


class Evaluator(Protocol):
    """Takes trials, gives reports; closed by `with`."""

    @property
    def capacity(self) -> int:
        """How many trials are evaluated at once; more are queued."""
        ...

    def submit(self, trial: Trial) -> None:
        """Starts or queues an evaluation."""
        ...

    def collect(self, wait_s: float) -> list[Report]:
        """What has ended since the last call; waits up to `wait_s` seconds for something."""
        ...

    def __enter__(self) -> Any: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class InProcess:
    """Evaluates one trial after another in the calls of `collect`; it knows no time limit.

    Args:
        objective: any callable.
    """

    def __init__(self, objective: Objective) -> None:
        self._objective = objective
        self._queue: collections.deque[Trial] = collections.deque()

    @property
    def capacity(self) -> int:
        """One."""
        return 1

    def submit(self, trial: Trial) -> None:
        """Queues an evaluation."""
        self._queue.append(trial)

    def collect(self, wait_s: float) -> list[Report]:
        """Evaluates the first trial in the queue, however long that takes."""
        if not self._queue:
            return []
        return [attempt(self._queue.popleft(), self._objective)]

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: Any) -> None:
        self._queue.clear()


class _Worker:
    """A process of the pool, its end of a pipe, and what it does."""

    def __init__(self, objective: Objective) -> None:
        context = multiprocessing.get_context("spawn")  # a process with jax in it must not fork
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, objective), daemon=True)
        try:
            self.process.start()
        except (AttributeError, TypeError, pickle.PicklingError) as error:
            raise PoolError(
                "objective: expected a function of a module that other processes can import, or a "
                f"functools.partial of one; got {objective!r} ({error})"
            ) from error
        theirs.close()  # so that its death closes the pipe
        self.ready = False
        self.trial: Trial | None = None
        self.deadline = float("inf")

    def kill(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _serve(pipe: Any, objective: Objective) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt means
    pipe.send(_READY)
    while True:
        try:
            trial = pipe.recv()
        except EOFError:
            return
        pipe.send(attempt(trial, objective))


class Pool:
    """A pool of processes in which one that hangs is killed and one that dies is replaced.

    The standard library's pools can do neither to a single process, which is why this is here.
    Made by `pool`.
    """

    def __init__(
        self, objective: Objective, *, workers: int, timeout_s: float, retries: int
    ) -> None:
        self._objective, self._timeout_s, self._retries = objective, timeout_s, retries
        self._queue: collections.deque[Trial] = collections.deque()
        self._lost: collections.Counter[int] = collections.Counter()
        self._failed_starts = 0
        self._workers = [_Worker(objective) for _ in range(workers)]

    @property
    def capacity(self) -> int:
        """The number of processes."""
        return len(self._workers)

    @property
    def processes(self) -> list[int]:
        """Their process ids."""
        return [int(worker.process.pid or 0) for worker in self._workers]

    def submit(self, trial: Trial) -> None:
        """Gives the trial to an idle process, or queues it."""
        self._queue.append(trial)
        self._assign()

    def collect(self, wait_s: float) -> list[Report]:
        """What has ended since the last call; waits up to `wait_s` seconds for something.

        Raises:
            PoolError: processes die before they have come as far as the objective.
        """
        until, reports = time.monotonic() + max(wait_s, POLL_S), list[Report]()
        while not reports and (self._queue or any(worker.trial for worker in self._workers)):
            now = time.monotonic()
            if now >= until:
                break
            first = min((worker.deadline for worker in self._workers), default=until)
            ready = pipes.wait(
                [worker.pipe for worker in self._workers], max(0.0, min(until, first) - now)
            )
            for index, worker in enumerate(self._workers):
                if worker.pipe in ready:
                    reports += self._hear(index, worker)
                elif worker.trial is not None and time.monotonic() >= worker.deadline:
                    reports += self._give_up(index, worker)
            self._assign()
        return reports

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: Any) -> None:
        for worker in self._workers:
            worker.kill()
        self._queue.clear()

    def _assign(self) -> None:
        for worker in self._workers:
            if self._queue and worker.ready and worker.trial is None:
                trial = self._queue.popleft()
                try:
                    worker.pipe.send(trial)
                except OSError:  # it has just died; the next collect hears of it
                    self._queue.appendleft(trial)
                    continue
                worker.trial, worker.deadline = trial, time.monotonic() + self._timeout_s

    def _hear(self, index: int, worker: _Worker) -> list[Report]:
        try:
            message = worker.pipe.recv()
        except (EOFError, OSError):
            return self._bury(index, worker)
        if message == _READY:
            worker.ready, self._failed_starts = True, 0
            return []
        worker.trial, worker.deadline = None, float("inf")
        return [message]

    def _bury(self, index: int, worker: _Worker) -> list[Report]:
        """Replaces a process that died; its trial is tried again, or has failed."""
        worker.kill()
        if not worker.ready:
            self._failed_starts += 1
            if self._failed_starts > 2 + len(self._workers):
                raise PoolError(
                    "workers end before they evaluate: can the objective be imported in a process "
                    'of its own, and does a script start under `if __name__ == "__main__":`? '
                    f"(exit code {worker.process.exitcode})"
                )
        self._workers[index] = _Worker(self._objective)
        trial = worker.trial
        if trial is None:
            return []
        self._lost[trial.id] += 1
        if self._lost[trial.id] <= self._retries:
            self._queue.appendleft(trial)
            return []
        note = f"its process was lost {self._lost[trial.id]} times"
        return [Report(Outcome(trial.id, float("nan"), "failed"), note)]

    def _give_up(self, index: int, worker: _Worker) -> list[Report]:
        trial = worker.trial
        assert trial is not None
        worker.kill()
        self._workers[index] = _Worker(self._objective)
        outcome = Outcome(trial.id, float("nan"), "timeout")
        return [Report(outcome, f"no value within {self._timeout_s:g} s")]


def pool(
    objective: Objective, *, workers: int = 2, timeout_s: float = float("inf"), retries: int = 1
) -> Pool:
    """Processes on this machine; close them by `with`.

    The processes start afresh (spawn), so a script guards its main part by
    `if __name__ == "__main__"`.

    Args:
        objective: pickles.
        workers: how many processes.
        timeout_s: seconds for one evaluation, after which its process is killed. Not tried again.
        retries: how often a trial whose process died is tried again.

    Raises:
        ValueError: a number out of range.
        PoolError: the objective does not pickle.
    """
    check(workers, timeout_s, retries)
    return Pool(objective, workers=workers, timeout_s=timeout_s, retries=retries)


def check(workers: int, timeout_s: float, retries: int) -> None:
    """Checks the numbers of a pool or a cluster.

    Raises:
        ValueError: one is out of range.
    """
    if workers < 1:
        raise ValueError(f"workers: expected at least 1, got {workers}")
    if not timeout_s > 0:
        raise ValueError(f"timeout_s: expected more than 0 seconds, got {timeout_s}")
    if retries < 0:
        raise ValueError(f"retries: expected at least 0, got {retries}")
