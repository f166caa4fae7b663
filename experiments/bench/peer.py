"""Peers: other people's implementations, run beside ours in an environment of their own.

A peer is a script in `experiments/peers/` that answers requests in lines of JSON; see
`experiments/peers/rl4co_tsp.py`. It is a process that stays, so that both sides stay warm while
they take turns.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

FOLDER = Path(__file__).resolve().parent / "peers"
LAST_LINES = 15


class PeerError(Exception):
    """A peer did not start, or stopped."""


class Peer:
    """A running peer; a context manager that ends it.

    Args:
      python: the Python of the peer's environment.
      script: file name in `experiments/peers/`.
      threads: threads that it may use.
      options: more words of its command line.

    Raises:
      PeerError: there is no such Python, or the script stopped before its first line.
    """

    def __init__(self, python: Path, script: str, *, threads: int, options: tuple[str, ...] = ()):
        if not python.exists():
            raise PeerError(f"{python} does not exist")
        # `python` is not resolved: a virtual environment is found through its link's own place.
        command = [str(python.absolute()), str(FOLDER / script), "--threads", str(threads)]
        self.script = script
        # A file, since a pipe that nobody reads would fill up; `close` closes it.
        self.said = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            [*command, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.said,
            text=True,
        )
        try:
            self.about: dict[str, Any] = self._answer()
        except PeerError:
            self.close()
            raise

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Sends a request and returns the answer.

        Raises:
          PeerError: the peer stopped; the message holds the end of what it wrote to stderr.
        """
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # what it said before it stopped is told below
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """Ends the process."""
        self.process.kill()
        self.process.communicate()
        self.said.close()

    def __enter__(self) -> Peer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            code = self.process.wait()
            self.said.seek(0)
            said = self.said.read().splitlines()[-LAST_LINES:]
            raise PeerError("\n".join([f"{self.script} stopped with exit code {code}", *said]))
        return json.loads(line)
