"""Runs of a sweep as processes: each on its own core, and told to save where the sweep ends."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def started(core: int, workers: int) -> list[str]:
    """Words before a command: its own core, and an end where this process is killed outright.

    Two runs share two cores badly; and a run that went on alone would hold its folder.
    """
    code = ["import ctypes,os,sys"]
    if workers > 1 and hasattr(os, "sched_getaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        code.append(f"os.sched_setaffinity(0, {{{allowed[core % len(allowed)]}}})")
    if sys.platform == "linux":
        code.append("ctypes.CDLL(None).prctl(1, 15)")  # PR_SET_PDEATHSIG, SIGTERM
    return [sys.executable, "-c", "; ".join([*code, "os.execv(sys.argv[1], sys.argv[1:])"])]


class Children:
    """Processes that are told to save and end where this one is interrupted or terminated."""

    def __init__(self) -> None:
        self.stopping = False
        self._running: set[subprocess.Popen[bytes]] = set()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Children:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._stop)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _stop(self, *_: object) -> None:
        self.stopping = True
        for child in list(self._running):
            child.send_signal(signal.SIGTERM)

    def run(self, words: Sequence[str], log: Path) -> int:
        """Runs a command to its end, its output appended to a file; returns its exit code."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as out:
            out.write(f"$ {shlex.join(words)}\n".encode())
            out.flush()
            # A session of its own: a terminal's Ctrl-C comes once, through this process.
            child = subprocess.Popen(
                words, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
            )
            self._running.add(child)
            if self.stopping:
                child.send_signal(signal.SIGTERM)
            try:
                return child.wait()
            finally:
                self._running.discard(child)
