"""Metrics files: nothing beyond a resume, no torn line, nothing of the clock."""

import builtins
import io
import json
import sys

import numpy as np
import pytest

from experiments.runner import metrics
from experiments.runner.checks import UserError
from experiments.runner.metrics import Board, Journal, Progress, Writer, drop_beyond, read, records


def lines(path):
    return path.read_bytes().splitlines(keepends=True)


def fill(path, steps):
    journal = Journal(path, 10**9)
    for step in steps:
        journal.write({"step": step, "loss": step / 3})
    journal.close()


def test_records_beyond_the_step_are_dropped(tmp_path):
    path = tmp_path / "m.jsonl"
    fill(path, [5, 10, 10, 15, 20])
    before = lines(path)
    Journal(path, 10).close()
    assert lines(path) == before[:3]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("cut", [1, 5, 17])
def test_a_torn_last_line_is_dropped(tmp_path, cut):
    path = tmp_path / "m.jsonl"
    fill(path, [5, 10, 15])
    before = lines(path)
    path.write_bytes(b"".join(before)[:-cut])
    assert len(read(path)) == 2
    Journal(path, 100).close()
    assert lines(path) == before[:2]


def test_what_was_dropped_is_written_again_the_same(tmp_path):
    path, other = tmp_path / "m.jsonl", tmp_path / "n.jsonl"
    fill(path, [5, 10, 15])
    fill(other, [5, 10, 15, 20])
    path.write_bytes(path.read_bytes()[:-3])
    journal = Journal(path, 10)
    for step in (15, 20):
        journal.write({"step": step, "loss": step / 3})
    journal.close()
    assert path.read_bytes() == other.read_bytes()


def test_an_intact_file_is_not_rewritten(tmp_path):
    path = tmp_path / "m.jsonl"
    fill(path, [5, 10])
    inode = path.stat().st_ino
    drop_beyond(path, 10)
    assert path.stat().st_ino == inode


def test_an_unreadable_line_within_is_dropped_with_a_warning(tmp_path):
    path = tmp_path / "m.jsonl"
    fill(path, [5, 10, 15])
    good = lines(path)
    path.write_bytes(good[0] + b"\x00\xff garbage\n" + good[2])
    with pytest.warns(UserWarning, match="1 unreadable lines dropped"):
        drop_beyond(path, 100)
    assert lines(path) == [good[0], good[2]]


@pytest.mark.parametrize("bad", [b"{", b"[1]", b"\xff", b'{"loss": 1}'])
def test_a_reader_names_the_line_that_is_no_record(tmp_path, bad):
    path = tmp_path / "m.jsonl"
    fill(path, [5, 10])
    path.write_bytes(lines(path)[0] + bad + b"\n" + lines(path)[1])
    with pytest.raises(UserError, match=rf"{path}:2: expected a JSON object with a step, got"):
        read(path)


def test_not_a_number_is_never_written(tmp_path):
    journal = Journal(tmp_path / "m.jsonl", 0)
    with pytest.raises(ValueError, match="Out of range float"):
        journal.write({"step": 1, "loss": float("nan")})
    journal.close()


def test_each_seed_has_a_line_and_the_mean_has_none():
    made = records(7, "train", "p", {"loss": np.asarray([1.0, 3.0])}, [4, 5])
    head = {"step": 7, "kind": "train", "phase": "p"}
    assert made == [
        {**head, "seed": 4, "loss": 1.0},
        {**head, "seed": 5, "loss": 3.0},
        {**head, "loss": 2.0},
    ]
    assert records(7, "eval", "p", {"loss": np.asarray([1.5])}, [4]) == [
        {"step": 7, "kind": "eval", "phase": "p", "loss": 1.5}
    ]


def writer(tmp_path, start=0):
    progress = Progress(start, 100, "error", items=4, quiet=True)
    progress.out = io.StringIO()
    return Writer(tmp_path, start, [0], progress)


def test_the_writer_keeps_the_clock_apart(tmp_path):
    made = writer(tmp_path)
    for step in (10, 20):
        made.train(step, "p", {"loss": np.asarray([0.5])}, 10)
        made.evaluated(step, "p", {"error": np.asarray([0.25])})
    made.sync()
    assert read(tmp_path / "metrics.jsonl") == [
        {"step": 10, "kind": "train", "phase": "p", "loss": 0.5},
        {"step": 10, "kind": "eval", "phase": "p", "error": 0.25},
        {"step": 20, "kind": "train", "phase": "p", "loss": 0.5},
        {"step": 20, "kind": "eval", "phase": "p", "error": 0.25},
    ]
    timing = read(tmp_path / "timing.jsonl")
    assert [(line["step"], line["updates"], line["items"]) for line in timing] == [
        (10, 10, 40),
        (20, 10, 40),
    ]
    out = made.progress.out.getvalue().splitlines()
    assert out[0] == "step 10/100 (p)  loss 0.5  error 0.25"
    assert out[1].startswith("step 20/100 (p)  loss 0.5  error 0.25  ")
    assert "steps/s" in out[1]
    assert out[1].endswith(" left")
    made.close()


def test_a_second_slow_dispatch_is_remarked_once(tmp_path, monkeypatch):
    made, now = writer(tmp_path), [0.0]
    monkeypatch.setattr(metrics.time, "monotonic", lambda: now[0])
    made.compiled()
    made._ready = 0.0
    for _ in range(4):
        since, now[0] = now[0], now[0] + 5.0
        made.ready(since, chunk=50)
    made.close()
    assert made.progress.out.getvalue() == (
        "one dispatch of 50 updates took 5.0 s, so a signal waits as long; "
        "a chunk of about 10 would be prompter\n"
    )


def test_tensorboard_hides_what_is_beyond_the_resume(tmp_path):
    from tensorboardX.proto.event_pb2 import Event, SessionLog

    board = Board(tmp_path, 10)
    board.write([{"step": 20, "kind": "eval", "phase": "p", "seed": 3, "error": 0.5}])
    board.close()
    raw = next(tmp_path.iterdir()).read_bytes()
    events = []
    while raw:
        length = int.from_bytes(raw[:8], "little")
        events.append(Event.FromString(raw[12 : 12 + length]))
        raw = raw[16 + length :]
    starts = [e.step for e in events if e.session_log.status == SessionLog.START]
    assert starts == [11]
    values = [(e.step, v.tag, v.simple_value) for e in events for v in e.summary.value]
    assert values == [(20, "eval/error/seed_3", 0.5)]


def test_without_tensorboardx_one_line_says_so(tmp_path, monkeypatch, capsys):
    really = builtins.__import__

    def refuse(name, *rest, **more):
        if name == "tensorboardX":
            raise ImportError(name)
        return really(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    board = Board(tmp_path, 0)
    board.write(records(1, "eval", "p", {"error": np.asarray([1.0])}, [0]))
    board.close()
    assert capsys.readouterr().err == (
        'TensorBoard files are not written: pip install "ncolab[metrics]"\n'
    )
    assert list(tmp_path.iterdir()) == []


def test_the_bar_shows_rate_and_headline(tmp_path, monkeypatch):
    screen = io.StringIO()
    screen.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", screen)
    progress = Progress(0, 100, "error", items=4, quiet=False)
    progress.advance(10, "warm")
    progress.advance(20, "warm")
    progress.evaluated(20, "warm", {}, {"error": 0.123456})
    progress.close()
    shown = screen.getvalue()
    assert "20/100" in shown
    assert "warm" in shown
    assert "items/s, error 0.123456" in shown


def test_compiling_is_no_part_of_the_time_left(monkeypatch):
    screen, now = io.StringIO(), [0.0]
    screen.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(metrics.time, "monotonic", lambda: now[0])
    progress = Progress(0, 1000, "error", items=1, quiet=False, first="compiling")
    now[0] = 60.0  # compiling
    progress.advance(10, "train")
    assert " left" not in progress._told()
    now[0] = 61.0
    progress.advance(20, "train")
    now[0] = 91.0  # the first evaluation
    progress.evaluated(20, "train", {}, {"error": 1.0}, seconds=30.0)
    assert "0:01:38 left" in progress._told()
    progress.close()
    assert "compiling:   0%" in screen.getvalue()
    assert "train:   2%" in screen.getvalue()
    assert "0:01:38 left" in screen.getvalue()


def test_records_are_plain_json(tmp_path):
    made = records(1, "eval", "p", {"error": np.asarray([1 / 3], np.float64)}, [0])
    assert json.dumps(made[0]) == (
        '{"step": 1, "kind": "eval", "phase": "p", "error": 0.3333333333333333}'
    )
