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
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from ml_collections import ConfigDict

from experiments.runner.checks import COMMON, ConfigError, check_common, flatten, lookup

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
# What may differ between two runs that share a workdir.
NOT_IDENTITY = ("workdir", "logging", "profile")


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
    if stem.endswith(".py"):
        check_known(config, stem)
    return config


def check_known(config: ConfigDict, path: str) -> None:
    """Checks the fields of a user's own config: a misspelt one would be set and never read.

    For an experiment of ours they are those of its configs. For one's own nobody knows them, so a
    name that is nearly one of the runner's is only warned of.

    Raises:
      ConfigError: a field that no config of this experiment has; names the nearest.
    """
    given, ours = flatten(config), _fields(config.experiment)
    for key in sorted(given.keys() - {*COMMON, *ours}):
        if key.split(".")[0] in NOT_IDENTITY:
            continue
        if ours:
            wanted = f"a field that experiment {config.experiment} has"
            raise ConfigError(key, wanted, key, sorted({*COMMON, *ours}))
        if close := difflib.get_close_matches(key, COMMON, n=1, cutoff=0.85):
            told = f"{path}: the runner does not read {key!r}; did you mean {close[0]!r}?"
            warnings.warn(told, stacklevel=3)


def _fields(experiment: str) -> set[str]:
    """The fields that the configs of an experiment of ours have, any argument given."""
    group, found = experiment.partition("_")[0], set[str]()
    for path in CONFIGS.glob(f"{group}/[a-z]*.py"):
        module = load_module(f"{group}/{path.stem}")
        for arg in (*getattr(module, "ARGUMENTS", ()), *map(str, getattr(module, "SIZES", ()))):
            made = module.get_config(arg)
            found |= set(flatten(made)) if made.experiment == experiment else set()
    return found


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
