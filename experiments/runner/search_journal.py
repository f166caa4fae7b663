"""A search's journal, which is its checkpoint: JSON lines, appended, on disk before they count.

    {"kind": "ask", "trials": [{"id": 0, "point": [0.5, 1.0], "seed": 77}, ...]}
    {"kind": "outcome", "id": 0, "value": 1.25, "status": "ok", "note": ""}
    {"kind": "tell", "ids": [0]}                      which outcomes the searcher was told, in order

`value` is null where the status is not "ok". A search is a function of its seed and of these calls,
so replaying them gives its state; trials without an outcome are evaluated again.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.runner.workdir import CORRUPT, WorkdirError, replace_text
from search.evaluate import Report
from search.interface import Outcome, Searcher, Trial

JOURNAL = "journal.jsonl"
Record = dict[str, Any]


class JournalError(WorkdirError):
    """A journal that the searcher does not follow: it asks for other trials than it did."""


class Replayed(NamedTuple):
    """A search as far as its journal goes.

    Attributes:
      state: the searcher's.
      trials: all that were asked for.
      reports: those that have an outcome, by id.
      told: the ids of the outcomes that the searcher knows, in the order in which it was told.
    """

    state: Any
    trials: list[Trial]
    reports: dict[int, Report]
    told: list[int]


class Journal:
    """The file, open for more.

    Args:
      path: made if absent. It is expected to be whole: `read` mends it.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab")

    def asked(self, trials: Sequence[Trial]) -> None:
        """Returns when the trials are on disk, so that none is evaluated that is not."""
        self._write({"kind": "ask", "trials": [_trial_record(trial) for trial in trials]})
        self.sync()

    def ended(self, report: Report) -> None:
        number, value, status = report.outcome
        known = None if math.isnan(value) else value
        self._write(
            {"kind": "outcome", "id": number, "value": known, "status": status}
            | {"note": report.note}
        )

    def told(self, ids: Sequence[int]) -> None:
        self._write({"kind": "tell", "ids": list(ids)})

    def sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self.sync()
        self._file.close()

    def _write(self, record: Record) -> None:
        self._file.write(json.dumps(record, allow_nan=False).encode() + b"\n")


def read(path: Path) -> list[Record]:
    """Reads a journal and leaves it whole: a torn last line goes.

    A line that cannot be read before the last ends what is trusted: the file as it was is kept in
    `corrupt/` beside it, and the search goes on from there.
    """
    if not path.exists():
        return []
    text = path.read_bytes()
    good, records = 0, list[Record]()
    for line in text.splitlines(keepends=True):
        record = _parse(line)
        if record is None:
            break
        records.append(record)
        good += len(line)
    if good == len(text):
        return records
    if b"\n" in text[good:].rstrip(b"\n") or text.endswith(b"\n"):  # more than a torn last line
        kept = path.parent / CORRUPT / path.name
        kept.parent.mkdir(exist_ok=True)
        shutil.copy(path, kept)
        warnings.warn(
            f"{path}: line {len(records) + 1} cannot be read; going on from the line before "
            f"(the file as it was: {kept})",
            stacklevel=2,
        )
    replace_text(path, text[:good].decode())
    return records


def replay(searcher: Searcher, seed: int, records: Sequence[Record]) -> Replayed:
    """Makes the calls of a journal again.

    Raises:
      JournalError: the searcher asks for other trials than the journal has, or a record makes no
        sense after those before it.
    """
    state, trials = searcher.init(seed), list[Trial]()
    reports, told = dict[int, Report](), list[int]()
    for number, record in enumerate(records, 1):
        try:
            if record["kind"] == "ask":
                state, asked = searcher.ask(state, len(record["trials"]))
                _compare(asked, record["trials"])
                trials += asked
            elif record["kind"] == "outcome":
                value = math.nan if record["value"] is None else float(record["value"])
                outcome = Outcome(int(record["id"]), value, str(record["status"]))
                reports[outcome.id] = Report(outcome, str(record["note"]))
            else:
                ids = [int(i) for i in record["ids"]]
                state = searcher.tell(state, [reports[i].outcome for i in ids])
                told += ids
        except (KeyError, TypeError, ValueError) as error:
            raise JournalError(f"line {number} of the journal: {error}") from error
    return Replayed(state, trials, reports, told)


def plain(value: Any) -> Any:
    """A point as JSON has it: arrays and tuples as lists.

    Raises:
      TypeError: something that JSON does not have.
    """
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [plain(each) for each in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"point: expected arrays, numbers, strings and lists, got {value!r}")


def _trial_record(trial: Trial) -> Record:
    return {"id": trial.id, "point": plain(trial.point), "seed": trial.seed}


def _parse(line: bytes) -> Record | None:
    if not line.endswith(b"\n"):
        return None
    try:
        record = json.loads(line)
    except ValueError:
        return None
    known = isinstance(record, dict) and record.get("kind") in ("ask", "outcome", "tell")
    return record if known else None


def _compare(asked: Sequence[Trial], recorded: Sequence[Record]) -> None:
    for trial, record in zip(asked, recorded, strict=True):
        if _trial_record(trial) != record:
            raise JournalError(
                f"the journal has trial {record}, and the searcher now asks for "
                f"{_trial_record(trial)}: it was written with other versions or settings; "
                "use another --workdir"
            )
