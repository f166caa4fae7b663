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
import inspect
import json
import math
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
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
        path = Path(name).expanduser()
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
    given = [arg] if inspect.signature(module.get_config).parameters else []
    if arg and not given:
        raise ConfigError("--config argument", f"none, as get_config() of {stem} takes none", arg)
    try:
        config = module.get_config(*given)
    except (KeyError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        wanted = f"an argument that {stem} knows ({type(error).__name__}: {error})"
        raise ConfigError("--config argument", wanted, arg) from error
    if not isinstance(config, ConfigDict):
        raise ConfigError("--config", "get_config to return a ConfigDict", type(config).__name__)
    _without_numpy(config)
    for key, text in overrides:
        override(config, key, text)
    flatten(config)  # refuses what config.json could not hold
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


def _without_numpy(config: ConfigDict) -> None:
    """Makes NumPy's scalars Python's, which checks, overrides and config.json know."""
    for name, value in list(config.items()):
        if isinstance(value, ConfigDict):
            _without_numpy(value)
        elif isinstance(value, np.generic):
            with config.unlocked(), config.ignore_type():
                config[name] = value.item()


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
    if wanted in (dict, ConfigDict):
        return _parse_dict(key, text, wanted, current)
    if wanted is str:
        quoted = _literal(text.strip())
        return quoted if isinstance(quoted, str) else text
    raise ConfigError(key, f"no value from the command line (it holds a {wanted.__name__})", text)


def _parse_sequence(key: str, text: str, wanted: type, current: Any) -> Any:
    """Items as those that are there now: of one kind, to any depth, or else as Python has them."""
    kinds = {type(item) for item in current or ()}
    kind = kinds.pop() if len(kinds) == 1 else type(None)
    values = []
    for index, item in enumerate(_items(key, text)):
        like = None if kind is type(None) else current[min(index, len(current) - 1)]
        if kind in (dict, ConfigDict):
            like = {name: value for one in current for name, value in one.items()}
        if kind in (tuple, list) and item[0] not in "([":
            raise ConfigError(key, "sequences in brackets, such as (1,2),(3,4)", text)
        values.append(_literal(item) if like is None else _parse(key, item, kind, like))
    return wanted(values)


def _parse_dict(key: str, text: str, wanted: type, current: Any) -> Any:
    """Python's notation of a dict, with the names and types that are there now."""
    given = _literal(text)
    names = f"a dict of {', '.join(map(repr, current))}"
    if not isinstance(given, dict) or not given.keys() <= current.keys():
        raise ConfigError(key, names, text)
    parsed = {}
    for name, value in given.items():
        words = value if isinstance(value, str) else repr(value)
        like = current[name]
        parsed[name] = value if like is None else _parse(f"{key}.{name}", words, type(like), like)
    return wanted(parsed)


def _items(key: str, text: str) -> list[str]:
    """The items of a sequence, as text: what commas part outside of brackets and quotes."""
    text = text.strip()
    if text[:1] and text[0] in "([" and _closes(text) == len(text) - 1:
        text = text[1:-1]
    items, start = [], 0
    while start < len(text):
        stop = start
        while stop < len(text) and text[stop] != ",":
            if text[stop] in "([{" or (text[stop] in "'\"" and not text[start:stop].strip()):
                stop += _closes(text[stop:])
            elif text[stop] in ")]}":
                stop = len(text) + 1
            stop += 1
        if stop > len(text):
            raise ConfigError(key, "brackets and quotes that match", text)
        items.append(text[start:stop].strip())
        start = stop + 1
    return [item for item in items if item]


def _closes(text: str) -> int:
    """Where the bracket or quote that a text begins with closes; beyond its end if nowhere."""
    expected: list[str] = []
    for place, sign in enumerate(text):
        if expected and sign == expected[-1]:
            expected.pop()
        elif not expected or expected[-1] not in "'\"":
            expected += {"(": ")", "[": "]", "{": "}", "'": "'", '"': '"'}.get(sign, "")
        if not expected:
            return place
    return len(text) + 1


def _literal(text: str) -> Any:
    """What Python reads in a text, else the text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):  # all that it raises
        return text


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
        there, here = (json.dumps(each.get(key), sort_keys=True) for each in (before, after))
        if there != here or (key in before) != (key in after):
            lines.append(f"{key}: {left} -> {right}")
    return lines
