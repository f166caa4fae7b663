"""A run's folder: what lies where, whose it is, and that one process at a time works in it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from experiments.runner import config as configs
from experiments.runner.checks import UserError, plain

CONFIG, LOCK = "config.json", ".lock"
METRICS, TIMING, TENSORBOARD = "metrics.jsonl", "timing.jsonl", "tensorboard"
CHECKPOINTS, CORRUPT, RESULTS = "checkpoints", "corrupt", "results.json"


class WorkdirError(UserError):
    """A folder that this run may not use: another config's, or in use by another process."""


@contextlib.contextmanager
def claim(workdir: Path, config: ConfigDict) -> Iterator[None]:
    """Holds a folder for this process, if it may be used for this config; makes it if absent.

    Raises:
      WorkdirError: it belongs to another config (the message is a diff), or another process holds
        it. Nothing in it has been touched then.
    """
    check_identity(workdir, config)
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        held = (workdir / LOCK).open("a")
    except OSError as error:
        raise WorkdirError(f"--workdir {workdir}: cannot be used: {error.strerror}") from error
    with held as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise WorkdirError(f"{workdir} is in use by another process") from None
        check_identity(workdir, config)  # again: it may have been claimed while we came here
        yield


def check_identity(workdir: Path, config: ConfigDict) -> None:
    """Checks that the folder is new, or holds a run of the same config that has not gone too far.

    Raises:
      WorkdirError: it does not; the message shows what differs.
    """
    if workdir.exists() and not workdir.is_dir():
        raise WorkdirError(
            f"--workdir {workdir}: expected a folder, or nothing yet; this is a file"
        )
    stored = read_config(workdir)
    if stored is None:
        leftover = [name for name in (CHECKPOINTS, METRICS) if (workdir / name).exists()]
        if leftover:
            raise WorkdirError(f"{workdir} has {leftover[0]} but no {CONFIG}: whose is it?")
        return
    differences = configs.diff(stored, config)
    if differences:
        lines = "\n  ".join(differences)
        hint = ""
        if any(line.startswith("steps:") for line in differences):
            hint = "\nA schedule of this config reads `steps`, so the run cannot be extended."
        raise WorkdirError(
            f"{workdir} holds a run of another config (there -> here):\n  {lines}{hint}\n"
            "Use another --workdir, or the config that it was made with."
        )
    done = max(saved_steps(workdir), default=0)
    if done > config.steps:
        raise WorkdirError(f"{workdir} has done {done} steps, more than steps = {config.steps}")


def saved_steps(workdir: Path) -> list[int]:
    """Returns the steps that have a finished checkpoint, ascending."""
    folder = Path(workdir) / CHECKPOINTS
    if not folder.is_dir():
        return []
    # A checkpoint still being written has a longer name.
    return sorted(int(entry.name) for entry in folder.iterdir() if entry.name.isdigit())


def read_config(workdir: Path) -> dict[str, Any] | None:
    """Returns the config that a run's folder belongs to, as nested dicts; None if it is new.

    Raises:
      WorkdirError: its config.json cannot be read.
    """
    path = workdir / CONFIG
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text())["config"]
    except (ValueError, KeyError, TypeError) as error:
        raise WorkdirError(f"{path} cannot be read ({error}); mend it or remove it") from error


def write_config(workdir: Path, config: ConfigDict) -> None:
    """Writes config.json, readable and sorted, unless it says the same already."""
    content = {"digest": configs.digest(config), "config": plain(config)}
    text = json.dumps(content, indent=2, sort_keys=True) + "\n"
    path = workdir / CONFIG
    if not path.exists() or path.read_text() != text:
        replace_text(path, text)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name in the same folder that no file has, to write; `path` is replaced by it at the end.

    At any moment `path` holds either the old content or the new, and a failure leaves the old.
    """
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def replace_text(path: Path, text: str) -> None:
    """Writes a file so that at any moment it holds either the old text or the new."""
    with replacing(path) as temporary, temporary.open("x") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def read_results(path: Path) -> dict[str, Any]:
    """Returns what `write_results` wrote, or an empty dict if there is no such file.

    Raises:
      WorkdirError: it holds something else; names the file and, where it can, the line.
    """
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text())
        for row in found["rows"]:
            row["name"], row["metric"], row["value"]
        return found
    except (ValueError, KeyError, TypeError) as error:
        line = f":{error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise WorkdirError(
            f"{path}{line}: expected the results of a run ({error}); remove it, and the run's "
            "command writes it again"
        ) from error


def write_results(path: Path, title: str, rows: Sequence[Mapping[str, Any]], **more: Any) -> None:
    """Writes `{"title", "rows", **more}` as JSON, replacing the file at once.

    Raises:
      ValueError: two rows have the same name and metric.
    """
    keys = [(row["name"], row["metric"]) for row in rows]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise ValueError(f"result rows: (name, metric) is not unique: {twice}")
    replace_text(path, json.dumps({"title": title, **more, "rows": list(rows)}, indent=2) + "\n")
