"""What a long command has finished, a JSON line each, so that it goes on where it was stopped."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


class Finished:
    """Results by key, in a file that is appended to; a torn last line is forgotten.

    Args:
      path: made, with its folder, at the first result.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._known = path, dict[str, Any]()
        if path.exists():
            for line in path.read_bytes().splitlines(keepends=True):
                try:
                    record = json.loads(line)
                    self._known[record["key"]] = record["result"]
                except (ValueError, KeyError, TypeError):
                    continue

    def __contains__(self, key: str) -> bool:
        return key in self._known

    def __getitem__(self, key: str) -> Any:
        return self._known[key]

    def items(self) -> list[tuple[str, Any]]:
        """Keys and results, in the order of the file."""
        return list(self._known.items())

    def add(self, key: str, result: Any) -> None:
        """Returns when the result is on disk."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab") as file:
            # From the start of a line, whatever the one before was cut at.
            file.write(b"\n" + json.dumps({"key": key, "result": result}).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._known[key] = result
