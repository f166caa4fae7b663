"""Reading a pickle from a registry package without running it.

A pickle is a program: loading one may call any function. The unpickler here looks up no name
outside a short list, so a hostile file is refused at the moment it asks for one, before the call.
It is used once, at fetch; what the project keeps and reads later is a NumPy file.
"""

import pickle
from collections.abc import Collection
from typing import IO, Any

# What NumPy's own arrays and scalars need to be rebuilt, under the module names of NumPy 1 and 2.
NUMPY = frozenset(
    {("numpy", "ndarray"), ("numpy", "dtype")}
    | {
        (f"numpy.{core}.{module}", name)
        for core in ("core", "_core")
        for module, name in (
            ("multiarray", "_reconstruct"),
            ("multiarray", "scalar"),
            ("numeric", "_frombuffer"),
        )
    }
)


class ForbiddenPickle(pickle.UnpicklingError):
    """A pickle asked for a name outside the list; nothing of it was called."""


class _Restricted(pickle.Unpickler):
    def __init__(self, file: IO[bytes], allowed: Collection[tuple[str, str]]) -> None:
        super().__init__(file)
        self._allowed = allowed

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._allowed:
            raise ForbiddenPickle(f"pickle: refused {module}.{name}, which is not on the list")
        return super().find_class(module, name)

    def persistent_load(self, pid: Any) -> Any:
        raise ForbiddenPickle(f"pickle: refused the persistent object {pid!r}")


def load(file: IO[bytes], *, allowed: Collection[tuple[str, str]] = NUMPY) -> Any:
    """Unpickle built-in containers, numbers and strings, and what `allowed` names besides.

    Args:
      file: opened for reading bytes.
      allowed: (module, name) pairs; by default those that rebuild NumPy arrays. `()` for none.

    Raises:
      ForbiddenPickle: the file asks for anything else.
    """
    return _Restricted(file, allowed).load()
