"""What a user may get wrong: the errors that say so in a line, and checks of a config's fields."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict


class UserError(ValueError):
    """The user's input cannot be used: which, what was expected, what came. Commands print it."""


class ConfigError(UserError):
    """A config value, name or override that cannot be used.

    Args:
      key: dotted path of the value (`model.hidden`), or the flag that carries it (`--config`).
      expected: what would be accepted, in words.
      got: the value that came.
      choices: what could be written instead; the closest to `got` is suggested.
    """

    def __init__(self, key: str, expected: str, got: Any, choices: Iterable[Any] = ()) -> None:
        self.key, self.expected, self.got = key, expected, got
        self.choices = [str(choice) for choice in choices]
        message = f"{key}: expected {expected}, got {got!r}"
        near = nearest(str(got), self.choices)
        if near:
            message += f"; did you mean {near!r}?"
        if self.choices:
            message += f"\n  choices: {', '.join(self.choices)}"
        super().__init__(message)


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """Returns the choice that was probably meant, comparing whole names, then their last parts."""
    choices = list(choices)
    for shorten in (str, _last_part):
        by_name = {shorten(choice): choice for choice in reversed(choices)}
        near = difflib.get_close_matches(shorten(word), by_name, n=1)
        if near:
            return by_name[near[0]]
    return None


def _last_part(name: str) -> str:
    return name.replace("/", ".").rpartition(".")[2]


def lookup(config: ConfigDict, key: str) -> Any:
    """Returns the value at a dotted path.

    Raises:
      ConfigError: the path is not in the config; names the nearest key that is.
    """
    value: Any = config
    for part in key.split("."):
        if not isinstance(value, Mapping | ConfigDict) or part not in value:
            raise ConfigError(key, "a key of this config", key, flatten(config))
        value = value[part]
    return value


def check_int(config: ConfigDict, key: str, low: int | None = None, high: int | None = None) -> int:
    """Returns the integer at `key`, which lies in `[low, high]`."""
    value = lookup(config, key)
    wanted = "an integer" + _range_words(low, high)
    if isinstance(value, bool) or not isinstance(value, int) or not _within(value, low, high):
        raise ConfigError(key, wanted, value)
    return value


def check_float(
    config: ConfigDict,
    key: str,
    low: float | None = None,
    high: float | None = None,
    *,
    positive: bool = False,
) -> float:
    """Returns the finite float at `key`, which lies in `[low, high]` and above 0 if `positive`."""
    value = lookup(config, key)
    wanted = ("a finite float > 0" if positive else "a finite float") + _range_words(low, high)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not _within(value, low, high):
        raise ConfigError(key, wanted, value)
    if positive and value <= 0:
        raise ConfigError(key, wanted, value)
    return float(value)


def check_bool(config: ConfigDict, key: str) -> bool:
    """Returns the boolean at `key`."""
    value = lookup(config, key)
    if not isinstance(value, bool):
        raise ConfigError(key, "true or false", value)
    return value


def check_choice(config: ConfigDict, key: str, choices: Sequence[Any]) -> Any:
    """Returns the value at `key`, which is one of `choices`."""
    value = lookup(config, key)
    if value not in choices:
        raise ConfigError(key, "one of the choices below", value, choices)
    return value


def check_divides(config: ConfigDict, divisor: str, key: str) -> None:
    """Checks that the integer at `divisor` divides the one at `key`."""
    small, large = check_int(config, divisor, low=1), check_int(config, key, low=1)
    if large % small:
        raise ConfigError(key, f"a multiple of {divisor} = {small}", large)


def split_arg(
    arg: str,
    *,
    sizes: Sequence[Any],
    presets: Sequence[str] = ("paper", "cpu", "smoke"),
) -> tuple[str, str]:
    """Splits a config argument by the grammar `size[,preset]`; both default to the first choice.

    >>> split_arg("50,cpu", sizes=("20", "50"))
    ('50', 'cpu')
    >>> split_arg("", sizes=("20", "50"))
    ('20', 'paper')
    """
    size, _, preset = arg.partition(",")
    size, preset = size.strip() or str(sizes[0]), preset.strip() or presets[0]
    if size not in [str(choice) for choice in sizes]:
        raise ConfigError("--config argument (size)", "a size", size, sizes)
    if preset not in presets:
        raise ConfigError("--config argument (preset)", "a preset", preset, presets)
    return size, preset


# What the runner itself reads of a config, the last of them if it is there.
COMMON = (
    "experiment", "seed", "num_seeds", "seed_axis", "steps", "chunk", "eval_every",
    "checkpoint_every", "keep_checkpoints", "deterministic", "steps_in_schedule",
)  # fmt: skip


def check_common(config: ConfigDict) -> None:
    """Checks the fields that the runner itself reads; every config has all of them.

    Raises:
      ConfigError: a field is missing, of the wrong type or out of range.
    """
    if not isinstance(lookup(config, "experiment"), str) or not config.experiment:
        raise ConfigError("experiment", "the name of a glue module", config.experiment)
    check_int(config, "seed", low=0, high=2**32 - 1)
    check_int(config, "num_seeds", low=1, high=min(4096, 2**32 - config.seed))
    check_choice(config, "seed_axis", ("vmap", "map"))
    check_int(config, "steps", low=1, high=2**31 - 1)
    check_int(config, "chunk", low=1)
    check_divides(config, "chunk", "eval_every")
    check_divides(config, "eval_every", "checkpoint_every")
    check_int(config, "keep_checkpoints", low=1)
    check_bool(config, "deterministic")
    if "steps_in_schedule" in config:
        check_bool(config, "steps_in_schedule")


def _within(value: float, low: float | None, high: float | None) -> bool:
    return (low is None or value >= low) and (high is None or value <= high)


def _range_words(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f" from {low} to {high}"
    if low is not None:
        return f" >= {low}"
    return f" <= {high}" if high is not None else ""


def flatten(config: Mapping[str, Any] | ConfigDict, prefix: str = "") -> dict[str, Any]:
    """Returns the config as `{dotted key: value}`, sorted by key, values as JSON has them.

    Raises:
      ConfigError: JSON does not have a value; names its key.
    """
    flat: dict[str, Any] = {}
    for name in sorted(config):
        value = config[name]
        if isinstance(value, Mapping | ConfigDict):
            flat.update(flatten(value, f"{prefix}{name}."))
        else:
            try:
                flat[f"{prefix}{name}"] = plain(value)
            except TypeError as error:
                wanted = "numbers, strings, true, false, None, or tuples, lists and dicts of these"
                raise ConfigError(f"{prefix}{name}", wanted, value) from error
    return flat


def plain(value: Any) -> Any:
    """A value as JSON has it: arrays and tuples as lists, configs as dicts.

    Raises:
      TypeError: something that JSON does not have.
    """
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Mapping | ConfigDict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [plain(each) for each in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"expected arrays, numbers, strings and lists, got {value!r}")
