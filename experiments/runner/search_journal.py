"""A search's journal, which is its checkpoint: JSON lines, appended, on disk before they count.

    {"kind": "ask", "trials": [{"id": 0, "point": [0.5, 1.0], "seed": 77}, ...]}
    {"kind": "outcome", "id": 0, "value": 1.25, "status": "ok", "note": "", "more": {...}}
    {"kind": "tell", "ids": [0]}                      which outcomes the searcher was told, in order

`value` is null where the status is not "ok"; `more` is there where the objective measured more than
the value. A search is a function of its seed and of these calls,
so replaying them gives its state; trials without an outcome are evaluated again.
"""

from __future__ import annotations

import json
import math
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.runner.checks import UserError, plain
from experiments.runner.metrics import Journal as JsonLines
from experiments.runner.workdir import CORRUPT, WorkdirError, replace_text
from search.interface import Outcome, Report, Searcher, Trial

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


class Journal(JsonLines):
    """The file, open for more; it is expected to be whole: `read` mends it."""

    def asked(self, trials: Sequence[Trial]) -> None:
        """Returns when the trials are on disk, so that none is evaluated that is not."""
        self.write({"kind": "ask", "trials": [_trial_record(trial) for trial in trials]})
        self.sync()

    def ended(self, report: Report) -> None:
        number, value, status = report.outcome
        known = None if math.isnan(value) else value
        record = {"kind": "outcome", "id": number, "value": known, "status": status}
        record["note"] = report.note
        try:
            self.write(record if report.more is None else record | {"more": plain(report.more)})
        except TypeError as error:
            raise UserError(f"trial {number}: Measured: more: {error}") from error

    def told(self, ids: Sequence[int]) -> None:
        self.write({"kind": "tell", "ids": list(ids)})


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
                reports[int(record["id"])] = _report(record)
            else:
                ids = [int(i) for i in record["ids"]]
                state = searcher.tell(state, [reports[i].outcome for i in ids])
                told += ids
        except (KeyError, TypeError, ValueError) as error:
            raise JournalError(f"line {number} of the journal: {error}") from error
    return Replayed(state, trials, reports, told)


def unreplayed(records: Sequence[Record]) -> Replayed:
    """A search as its journal has it: without a state, and with points as JSON has them.

    Raises:
      JournalError: a record makes no sense after those before it.
    """
    trials, reports, told = list[Trial](), dict[int, Report](), list[int]()
    for number, record in enumerate(records, 1):
        try:
            if record["kind"] == "ask":
                trials += [Trial(t["id"], t["point"], t["seed"]) for t in record["trials"]]
            elif record["kind"] == "outcome":
                reports[int(record["id"])] = _report(record)
            else:
                told += [reports[int(i)].outcome.id for i in record["ids"]]
        except (KeyError, TypeError, ValueError) as error:
            raise JournalError(f"line {number} of the journal: {error}") from error
    return Replayed(None, trials, reports, told)


class Recorded(NamedTuple):
    """A search as its journal has it, read without its searcher.

    Attributes:
      points: of all trials, by id, as JSON has them.
      reports: what became of them, by id; open trials have none.
      told: ids in the order in which the searcher was told.
    """

    points: list[Any]
    reports: dict[int, Report]
    told: list[int]

    @property
    def values(self) -> np.ndarray:
        """Rewards in the order of the tells, float64 [told]; nan where one failed."""
        return np.array([self.reports[i].outcome.value for i in self.told], np.float64)

    @property
    def best(self) -> np.ndarray:
        """The best reward so far after each tell, float64 [told].

        A failed start counts as the first reward that there is.
        """
        values = self.values
        known = values[np.isfinite(values)]
        if not len(known):
            raise ValueError("the search has no evaluation that did not fail")
        filled = np.where(np.isfinite(values), values, -np.inf)
        best = np.maximum.accumulate(filled)
        return np.where(np.isfinite(best), best, known[0])

    @property
    def more(self) -> list[dict[str, Any]]:
        """What was measured besides the rewards, in the order of the tells."""
        return [self.reports[i].more or {} for i in self.told]


def recorded(workdir: Path) -> list[Recorded]:
    """The searches of a run, one a seed, from its folder alone.

    Raises:
      WorkdirError: the folder holds no journal.
    """
    own = [workdir / JOURNAL] if (workdir / JOURNAL).exists() else []
    seeds = sorted(workdir.glob(f"seed_*/{JOURNAL}"), key=lambda path: int(path.parent.name[5:]))
    if not own and not seeds:
        raise WorkdirError(f"{workdir}: expected the folder of a search, with {JOURNAL}")
    found = []
    for path in own or seeds:
        try:
            _, trials, reports, told = unreplayed(read(path))
        except JournalError as error:
            raise JournalError(f"{path}: {error}") from error
        found.append(Recorded([trial.point for trial in trials], reports, told))
    return found


def _report(record: Record) -> Report:
    value = math.nan if record["value"] is None else float(record["value"])
    outcome = Outcome(int(record["id"]), value, str(record["status"]))
    return Report(outcome, str(record["note"]), record.get("more"))


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
