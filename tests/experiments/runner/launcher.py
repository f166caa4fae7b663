"""Starts many short runs quickly: one process that has imported jax forks one child for each.

The server is `python -m tests.experiments.runner.launcher`; a test talks to it through `Launcher`.
Its children have imported everything but not started jax, so each may have its own devices.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]


class Launcher:
    """Runs command lines of `experiments.run` in forked processes.

    Args:
      cache: a folder that keeps compiled programs between runs; None compiles in each.
    """

    def __init__(self, cache: Path | None = None) -> None:
        environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
        environment.pop("XLA_FLAGS", None)
        if cache is not None:  # of compiled programs, so that runs of one config compile once
            environment["JAX_COMPILATION_CACHE_DIR"] = str(cache)
            environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
            environment["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.experiments.runner.launcher"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment,
        )

    def start(
        self, arguments: Sequence[Any], log: Path, environment: Mapping[str, str] | None = None
    ) -> int:
        """Starts a run and returns its process id; its output goes to `log`."""
        words = [str(word) for word in arguments]
        return self._ask({"start": words, "log": str(log), "environment": dict(environment or {})})

    def wait(self, pid: int) -> int:
        """Waits for a run and returns its exit code, negative for a signal."""
        return self._ask({"wait": pid})

    def running(self, pid: int) -> bool:
        """Whether a run has not ended."""
        return bool(self._ask({"poll": pid}))

    def run(
        self, arguments: Sequence[Any], log: Path, environment: Mapping[str, str] | None = None
    ) -> int:
        """Starts a run and waits for it."""
        return self.wait(self.start(arguments, log, environment))

    def wait_for(self, pid: int, path: Path, text: str, seconds: float = 60.0) -> None:
        """Waits until a file that the run writes holds a text."""
        deadline = time.monotonic() + seconds
        while not (path.exists() and text in path.read_text()):
            assert self.running(pid), f"the run ended before {path.name} held {text!r}"
            assert time.monotonic() < deadline, f"{path.name} does not hold {text!r}"
            time.sleep(0.02)

    def close(self) -> None:
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait()

    def _ask(self, request: Mapping[str, Any]) -> Any:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        return json.loads(self._server.stdout.readline())


def serve() -> None:
    """Answers requests until the input ends, then kills what still runs."""
    ended: dict[int, int] = {}
    alive: set[int] = set()

    def collect(pid: int, flags: int) -> None:
        if pid in alive:
            found, status = os.waitpid(pid, flags)
            if found:
                alive.discard(pid)
                ended[pid] = os.waitstatus_to_exitcode(status)

    for line in sys.stdin:
        request = json.loads(line)
        if "start" in request:
            pid = os.fork()
            if pid == 0:
                child(request)
            alive.add(pid)
            answer: Any = pid
        elif "wait" in request:
            collect(request["wait"], 0)
            answer = ended[request["wait"]]
        else:
            collect(request["poll"], os.WNOHANG)
            answer = request["poll"] in alive
        print(json.dumps(answer), flush=True)
    for pid in alive:
        os.kill(pid, signal.SIGKILL)


def child(request: Mapping[str, Any]) -> None:
    """Becomes a run: never returns."""
    code = 1
    try:
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.environ.update(request["environment"])
        sys.argv = ["experiments.run", *request["start"]]
        from experiments.run import main

        try:
            code = main()
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        except BaseException:
            import traceback

            traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    for module in (
        "experiments.runner.loop",
        "experiments.runner.dry_run",
        "tests.experiments.runner.toy",
    ):
        importlib.import_module(module)
    serve()
