"""Trained models as two small files: `NAME.npz` (arrays, no pickles) and `NAME.json` (settings).

model = pretrained.load("nco/tsp20")       # a shipped model
model = pretrained.load("runs/demo")       # the model that a run wrote at its end

python -m experiments.runner.pretrained runs/tsp20 nco/tsp20   # ships a finished run's model
"""

from __future__ import annotations

import io
import json
import re
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.runner.checks import UserError
from experiments.runner.command import Parser, command
from experiments.runner.workdir import read_results, replacing

SHIPPED = Path(__file__).parents[1] / "pretrained"
_SEPARATOR = "/"


class Pretrained(NamedTuple):
    """A trained model.

    Attributes:
        params: nested dicts of float32 NumPy arrays.
        config: the run's config as plain values, `config["model"]` the network's settings.
        meta: how it was made: command, steps, seconds, machine, headline number.
    """

    params: dict[str, Any]
    config: dict[str, Any]
    meta: dict[str, Any]


def save(path: str | Path, params: Any, config: dict[str, Any], meta: dict[str, Any]) -> Path:
    """Writes `path` (ending in .npz) and the .json beside it, each atomically.

    Args:
        path: of the .npz file.
        params: nested dicts of arrays; names hold no "/". Static entries (pytrees without leaves)
            are left out, as the config describes them.
        config: plain values.
        meta: plain values.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    np.savez(buffer, **_flatten(params))  # type: ignore[arg-type]
    text = json.dumps({"config": config, "meta": meta}, indent=1, sort_keys=True, default=list)
    for target, content in ((path.with_suffix(".json"), text.encode()), (path, buffer.getvalue())):
        with replacing(target) as temporary:
            temporary.write_bytes(content)
    return path


def load(name: str | Path) -> Pretrained:
    """Loads a shipped model by name, the model of a run by its workdir, or an .npz file.

    Raises:
        LookupError: there is no such model; the message lists the shipped ones.
        ValueError: the files are not a model.
    """
    path = _find(name)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            params = _unflatten({key: arrays[key] for key in arrays.files})
        described = json.loads(path.with_suffix(".json").read_text())
        return Pretrained(params, described["config"], described["meta"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path}: expected a model (.npz with a .json beside it): {error}"
        ) from error


def ship(workdir: str | Path, name: str) -> Path:
    """Copies a finished run's model among the shipped ones, with how it was made.

    Args:
        workdir: of the run.
        name: `ROOM/MODEL`, such as "nco/tsp20".

    Raises:
        ValueError: another form of name, or the run has no result rows.
        LookupError: the run has no model.
    """
    if not re.fullmatch(r"[a-z]+/[a-z0-9_]+", name):
        raise ValueError(f"name: expected ROOM/MODEL in lower case, got {name!r}")
    model = load(Path(workdir) / "model.npz")
    finished = read_results(Path(workdir) / "results.json")
    if not finished.get("rows"):
        raise ValueError(f"{workdir}: expected a finished run with result rows; it has none")
    first = finished["rows"][0]
    made = {key: first[key] for key in ("command", "seeds", "seconds", "machine", "commit")}
    numbers = {f"{row['name']} {row['metric']}": row["value"] for row in finished["rows"]}
    meta = model.meta | made | {"results": numbers}
    return save(SHIPPED / f"{name}.npz", model.params, model.config, meta)


def shipped() -> list[str]:
    """Names of the models that come with the project."""
    found = SHIPPED.glob("**/*.npz")
    return sorted(p.relative_to(SHIPPED).with_suffix("").as_posix() for p in found)


def _find(name: str | Path) -> Path:
    given = Path(name).expanduser()
    candidates = [given / "model.npz", SHIPPED / f"{name}.npz"]
    candidates += [given] if given.suffix == ".npz" else []
    for path in candidates:
        if path.is_file():
            return path
    known = f"or a shipped model: {', '.join(shipped())}" if shipped() else "(no model is shipped)"
    problem = f"model {str(name)!r}: expected a workdir with model.npz, an .npz file, {known}"
    if (given / "config.json").is_file():
        seeds = sorted(path.parent.name for path in given.glob("seed_*/model.npz"))
        problem += f"; its seeds have one each: {', '.join(seeds)}" if seeds else ""
        problem += "" if seeds else "; this run has not ended yet"
    raise LookupError(problem)


def _flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, np.ndarray]:
    flat: dict[str, np.ndarray] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{key}{_SEPARATOR}")
        elif jax.tree.leaves(value):
            flat[prefix + key] = np.asarray(value)
    return flat


def _unflatten(flat: dict[str, np.ndarray]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, value in flat.items():
        *parents, last = name.split(_SEPARATOR)
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = value
    return tree


@command
def main(words: Sequence[str]) -> int:
    """Runs the command line and returns the exit code."""
    parser = Parser("experiments.runner.pretrained", "Ships the model of a finished run.")
    parser.add_argument("workdir", metavar="WORKDIR", help="of the run")
    parser.add_argument("name", metavar="ROOM/MODEL", help="such as nco/tsp20")
    flags = parser.parse_args(words)
    try:
        print(ship(flags.workdir, flags.name))
    except (LookupError, ValueError) as error:
        raise UserError(str(error)) from error
    return 0


if __name__ == "__main__":
    sys.exit(main())
