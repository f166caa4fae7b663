"""Configs: found by name, checked, overridden from the command line, compared.

A config is a Python file with `get_config(arg) -> ConfigDict`. The first line of its docstring is
what `--list` shows; the rest holds the command, the expected time and the expected number.
Everything that can be wrong raises `ConfigError`, which names the key, what was expected and what
came.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import importlib.util
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from ml_collections import ConfigDict

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
# What may differ between two runs that share a workdir.
NOT_IDENTITY = ("workdir", "logging", "profile")


class ConfigError(ValueError):
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


# --- Checks for glue modules ---------------------------------------------------------------------


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


# --- Finding and loading -------------------------------------------------------------------------


def available() -> dict[str, str]:
    """Returns every config under `experiments/configs` with its one-line description."""
    found = {}
    for path in sorted(CONFIGS.rglob("*.py")):
        if path.name != "__init__.py":
            name = path.relative_to(CONFIGS).with_suffix("").as_posix()
            found[name] = describe(path)
    return found


def choices(name: str) -> str:
    """Returns the sizes and presets of a config's `ARGUMENTS`, in brackets; empty without."""
    try:
        given = getattr(load_module(name), "ARGUMENTS", ())
    except Exception:  # a config that cannot be run is listed all the same
        return ""
    split = [argument.split(",") for argument in given]
    parts = [list(dict.fromkeys(part)) for part in zip(*split, strict=False)]
    return f" [{', '.join('|'.join(part) for part in parts)}]" if parts else ""


def describe(path: Path) -> str:
    """Returns the first line of a config's docstring, read without running the file."""
    try:
        docstring = ast.get_docstring(ast.parse(path.read_text()))
    except (SyntaxError, UnicodeDecodeError):
        return "(cannot be read as Python)"
    return docstring.splitlines()[0] if docstring else "(no description)"


def load_module(name: str) -> ModuleType:
    """Imports a config file, by its name under `experiments/configs` or a path to a `.py`."""
    if name.endswith(".py"):
        path = Path(name)
        if not path.is_file():
            raise ConfigError("--config", "a config file that exists", name)
    else:
        path = CONFIGS / f"{name}.py"
        if not name or not path.is_file():
            choices = available()
            raise ConfigError(
                "--config", "the name of a config or a path to a .py file", name, choices
            )
    spec = importlib.util.spec_from_file_location(f"config_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not callable(getattr(module, "get_config", None)):
        raise ConfigError("--config", "a file that defines get_config(arg)", str(path))
    return module


def load(name: str, overrides: Iterable[tuple[str, str]] = ()) -> ConfigDict:
    """Loads a config and applies overrides.

    Args:
      name: `nco/tsp:20,cpu`, that is a name under `experiments/configs` or a path to a `.py` file,
        then optionally a colon and the argument of `get_config`.
      overrides: pairs of a dotted key that the config has and the new value, as text.

    Returns:
      The config, locked, its common fields checked.

    Raises:
      ConfigError: no such config, bad argument, unknown key, wrong type or impossible value.
    """
    stem, _, arg = name.partition(":")
    module = load_module(stem)
    try:
        config = module.get_config(arg)
    except (KeyError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        wanted = f"an argument that {stem} knows ({type(error).__name__}: {error})"
        raise ConfigError("--config argument", wanted, arg) from error
    if not isinstance(config, ConfigDict):
        raise ConfigError("--config", "get_config to return a ConfigDict", type(config).__name__)
    for key, text in overrides:
        override(config, key, text)
    config.lock()
    check_common(config)
    return config


def override(config: ConfigDict, key: str, text: str) -> None:
    """Sets the value at a dotted path to `text`, read as the type that is there now."""
    lookup(config, key)
    *parents, last = key.split(".")
    node = config
    for part in parents:
        node = node[part]
    if isinstance(node[last], ConfigDict):
        inner = [f"{key}.{name}" for name in node[last]]
        raise ConfigError(key, "one value; this key holds several", text, inner)
    wanted = node.get_type(last) if isinstance(node, ConfigDict) else type(node[last])
    value = _parse(key, text, wanted, node[last])
    with node.unlocked():
        node[last] = value


def _parse(key: str, text: str, wanted: type, current: Any) -> Any:
    if wanted is bool:
        values = {"true": True, "1": True, "false": False, "0": False}
        if text.lower() not in values:
            raise ConfigError(key, "true or false", text)
        return values[text.lower()]
    if wanted is int:
        try:
            return int(text)
        except ValueError:
            raise ConfigError(key, "an integer", text) from None
    if wanted is float:
        try:
            value = float(text)
        except ValueError:
            raise ConfigError(key, "a number", text) from None
        if math.isnan(value):
            raise ConfigError(key, "a number", text)
        return value
    if wanted in (tuple, list):
        return _parse_sequence(key, text, wanted, current)
    if wanted is str:
        return text
    raise ConfigError(key, f"no value from the command line (it holds a {wanted.__name__})", text)


def _parse_sequence(key: str, text: str, wanted: type, current: Any) -> Any:
    items = [item.strip() for item in text.strip("()[] ").split(",")]
    kinds = {type(item) for item in current or ()}
    kind = kinds.pop() if len(kinds) == 1 else None
    values = []
    for item in filter(None, items):
        if kind is not None:
            values.append(_parse(key, item, kind, None))
            continue
        try:
            values.append(ast.literal_eval(item))
        except (ValueError, SyntaxError):
            values.append(item)
    return wanted(values)


# --- Identity ------------------------------------------------------------------------------------


def flatten(config: Mapping[str, Any] | ConfigDict, prefix: str = "") -> dict[str, Any]:
    """Returns the config as `{dotted key: value}`, sorted by key, tuples as lists."""
    flat: dict[str, Any] = {}
    for name in sorted(config):
        value = config[name]
        if isinstance(value, Mapping | ConfigDict):
            flat.update(flatten(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = list(value) if isinstance(value, tuple) else value
    return flat


def identity(config: Mapping[str, Any] | ConfigDict) -> dict[str, Any]:
    """Returns the flat config without what may change between two starts of one run.

    `steps` may grow, unless the config says `steps_in_schedule = True` (a schedule reads it).
    """
    flat = flatten(config)
    left_out = NOT_IDENTITY if flat.get("steps_in_schedule") else (*NOT_IDENTITY, "steps")
    return {key: value for key, value in flat.items() if key.split(".")[0] not in left_out}


def digest(config: Mapping[str, Any] | ConfigDict) -> str:
    """Returns 16 hexadecimal digits that stand for the config's identity."""
    text = json.dumps(identity(config), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def diff(old: Mapping[str, Any] | ConfigDict, new: Mapping[str, Any] | ConfigDict) -> list[str]:
    """Returns one line for each key of the identity that differs, empty if none does.

    >>> diff({"seed": 0, "size": 20}, {"seed": 1, "size": 20})
    ['seed: 0 -> 1']
    """
    before, after = identity(old), identity(new)
    lines = []
    for key in sorted(before.keys() | after.keys()):
        left = repr(before[key]) if key in before else "(absent)"
        right = repr(after[key]) if key in after else "(absent)"
        if left != right:
            lines.append(f"{key}: {left} -> {right}")
    return lines
