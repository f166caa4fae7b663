"""`--profile`: a trace of a few dispatches, past the ones that compile."""

from __future__ import annotations

from pathlib import Path

import jax

FIRST, LAST = 3, 6  # dispatches traced, counted from 1


class Profiler:
    """Starts and stops jax.profiler by counting dispatches; does nothing without a folder."""

    def __init__(self, folder: Path | None) -> None:
        self._folder, self._count, self._on = folder, 0, False

    def before_dispatch(self) -> None:
        if self._folder is None:
            return
        self._count += 1
        if self._count == FIRST:
            jax.profiler.start_trace(str(self._folder))
            self._on = True
        elif self._count > LAST:
            self.close()

    def close(self) -> None:
        if self._on:
            jax.profiler.stop_trace()
            self._on = False
