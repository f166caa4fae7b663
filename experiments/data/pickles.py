"""Reading a pickle from a registry package without running it.

A pickle is a program: loading one may call any function. The unpickler here looks up no name at
all, so a hostile file is refused at the moment it asks for one, before the call. It is used once,
at fetch; what the project keeps and reads later is a NumPy file.
"""

import pickle
from typing import IO, Any, NoReturn


class ForbiddenPickle(pickle.UnpicklingError):
    """A pickle asked for a function, a class or an object outside it; nothing of it was called."""


class _Restricted(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> NoReturn:
        raise ForbiddenPickle(f"pickle: refused {module}.{name}")

    def persistent_load(self, pid: Any) -> NoReturn:
        raise ForbiddenPickle(f"pickle: refused the persistent object {pid!r}")


def load(file: IO[bytes]) -> Any:
    """Unpickle containers, numbers and strings that Python has built in, and nothing else.

    Args:
      file: opened for reading bytes.

    Raises:
      ForbiddenPickle: the file asks for anything else.
    """
    return _Restricted(file).load()
