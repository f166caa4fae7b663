"""The frame of every command line: parser, types of options, exit codes, errors in one line."""

from __future__ import annotations

import argparse
import contextlib
import errno
import functools
import math
import os
import shlex
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from experiments.runner.checks import UserError

FAILED, BAD_USAGE, INTERRUPTED = 1, 2, 130
_UNUSABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.EACCES)


class Parser(argparse.ArgumentParser):
    """Says in one line what was wrong, on exit code 2; options are given in full.

    Args:
      module: what follows `python -m`.
      description: shown by `--help` as it is written.
      hint: the line after an error.
    """

    def __init__(self, module: str, description: str | None, hint: str = "Try --help.") -> None:
        super().__init__(
            prog=f"python -m {module}",
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self.hint = hint

    def error(self, message: str) -> NoReturn:
        print(f"error: {message}\n{self.hint}", file=sys.stderr)
        raise SystemExit(BAD_USAGE)


def command(main: Callable[[Sequence[str]], int]) -> Callable[..., int]:
    """Makes a command of `main(words)`: without words it takes those of this process.

    A `UserError`, an extra that is not installed, a disk that is full or may not be used, and an
    interrupt are one line each, with exit codes 2, 2, 1 and 130. A reader that has gone (`| head`)
    ends it quietly.
    """

    @functools.wraps(main)
    def wrapped(arguments: Sequence[str] | None = None) -> int:
        try:
            try:
                return main(list(sys.argv[1:] if arguments is None else arguments))
            finally:  # also behind --help; at exit, nobody could catch what it raises
                sys.stdout.flush()
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            return BAD_USAGE
        except ImportError as error:
            if not is_missing_extra(error):
                raise
            print(f"error: {error}", file=sys.stderr)
            return BAD_USAGE
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return FAILED
        except OSError as error:
            if error.errno not in _UNUSABLE:
                raise
            # Threads that still write, and what flushes at exit, would say it again.
            sys.unraisablehook = lambda _: None
            threading.excepthook = lambda _: None
            where = f": {error.filename}" if error.filename else ""
            print(
                f"stopped: {error.strerror}{where}; what was saved before is kept", file=sys.stderr
            )
            return FAILED
        except KeyboardInterrupt:
            print("\nstopped; the same command goes on where something is kept", file=sys.stderr)
            return INTERRUPTED

    return wrapped


def bar(total: int, what: str, *, quiet: bool = False, leave: bool = False) -> Any:
    """A progress bar (tqdm's) on a terminal; nothing elsewhere, or when quiet."""
    from tqdm import tqdm

    look = {"unit": "", "dynamic_ncols": True, "disable": quiet or not sys.stderr.isatty()}
    return tqdm(total=total, desc=what, leave=leave, **look)


@contextlib.contextmanager
def stage(what: str, total: int = 0) -> Iterator[Callable[[int], Any]]:
    """Tells of work after the last step: a bar of `total` parts on a terminal, else one line.

    Yields:
      what to call with the number of parts that were just done.
    """
    with bar(total, what, quiet=not total, leave=True) as shown:
        if shown.disable:
            print(f"finish: {what}", flush=True)
        yield shown.update


def is_missing_extra(error: ImportError) -> bool:
    """Whether an error says what to install."""
    return "pip install " in str(error)


def command_line(module: str, words: Sequence[str]) -> str:
    """A command to be given again, as rows record it."""
    return shlex.join(["python", "-m", module, *words])


def take_overrides(
    arguments: Sequence[str], parser: Parser
) -> tuple[list[tuple[str, str]], list[str]]:
    """Splits words into the overrides of a config, `--config.x.y=value`, and the others."""
    overrides, rest, words = [], [], iter(arguments)
    for word in words:
        if not word.startswith("--config."):
            rest.append(word)
            continue
        key, equals, value = word.removeprefix("--config.").partition("=")
        if not equals:
            following = next(words, None)
            if following is None or following.startswith("--"):
                parser.error(f"--config.{key} has no value")
            value = following
        overrides.append((key, value))
    return overrides, rest


def a_path(text: str) -> Path:
    """The type of an option that is a file or a folder; `~` is the home folder."""
    if not text:  # an unset variable of the shell; the folder that one stands in is `.`
        raise argparse.ArgumentTypeError("expected a path, got ''")
    return Path(os.path.expanduser(text))


def whole(text: str) -> int:
    """The type of an option that is a whole number of at least 1."""
    return _integer(text, 1, None)


def natural(text: str) -> int:
    """The type of an option that is a whole number from 0 to 2^32 - 1, such as a seed."""
    return _integer(text, 0, 2**32 - 1)


def positive(text: str) -> float:
    """The type of an option that is a finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return value


def _integer(text: str, low: int, high: int | None) -> int:
    number: Any = int(text) if text.isdecimal() else None
    if number is None or number < low or (high is not None and number > high):
        wanted = f"of at least {low}" if high is None else f"from {low} to 2^32-1"
        raise argparse.ArgumentTypeError(f"expected a whole number {wanted}, got {text!r}")
    return number
