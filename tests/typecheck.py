"""The run-time check of jaxtyping annotations, as `tests/conftest.py` installs it."""

from collections.abc import Callable
from typing import Any

import beartype

_CHECK = beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))


def check_functions(function: Callable[..., Any]) -> Callable[..., Any]:
    """Check a function's arguments and result, but never what a dataclass is made of.

    jaxtyping would check the fields of a pytree dataclass too, whenever one is made; and JAX makes
    them with placeholders as leaves (`tree.map(lambda _: None, state)`, `in_axes`), by design.
    """
    return function if function.__name__ == "__init__" else _CHECK(function)
