"""Host batches made on a thread, a little ahead of the device."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

_END = object()


@contextlib.contextmanager
def ahead(
    make: Callable[[Any], Any], items: Iterable[Any], depth: int = 2
) -> Iterator[Iterator[tuple[Any, Any]]]:
    """Gives an iterator over `(item, make(item))`, computed up to `depth` items ahead on a thread.

    An exception in `make` is raised where its item would have come. Leaving the context stops the
    thread.

    >>> with ahead(lambda n: n * n, range(3)) as pairs:
    ...     list(pairs)
    [(0, 0), (1, 1), (2, 4)]
    """
    made: queue.Queue[Any] = queue.Queue(maxsize=depth)
    leaving = threading.Event()

    def put(entry: Any) -> bool:
        while not leaving.is_set():
            with contextlib.suppress(queue.Full):
                made.put(entry, timeout=0.1)
                return True
        return False

    def work() -> None:
        try:
            for item in items:
                if not put((item, make(item))):
                    return
            put(_END)
        except BaseException as error:  # handed over, whatever it is
            put(error)

    def drain() -> Iterator[tuple[Any, Any]]:
        while (entry := made.get()) is not _END:
            if isinstance(entry, BaseException):
                raise entry
            yield entry

    thread = threading.Thread(target=work, name="host batches", daemon=True)
    thread.start()
    try:
        yield drain()
    finally:
        leaving.set()
        thread.join()


@contextlib.contextmanager
def at_once(
    make: Callable[[Any], Any], items: Iterable[Any]
) -> Iterator[Iterator[tuple[Any, Any]]]:
    """The same without a thread, for batches that the compiled step makes itself."""
    yield ((item, make(item)) for item in items)
