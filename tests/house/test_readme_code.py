"""What the README files say: their Python runs, their commands are read, their numbers stand."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from experiments import run, solve
from experiments.bench import __main__ as bench
from experiments.data import __main__ as data
from experiments.report import __main__ as report
from experiments.report import sweep
from experiments.report.markdown import readmes
from experiments.report.rows import Row
from experiments.report.table import read_table
from experiments.runner import config as configs
from experiments.runner.checks import UserError

ROOT = Path(__file__).resolve().parents[2]
ALL = [path.relative_to(ROOT).as_posix() for path in readmes(ROOT)]
PYTHON = (
    "README.md",
    "experiments/README.md",
    "nco/README.md",
    "mpl/README.md",
    "search/README.md",
    "enas/README.md",
)
LENGTHS = {"README.md": 120} | {
    f"{room}/README.md": 150 for room in ("nco", "mpl", "search", "enas")
}

# Fewer samples than a reader would take: ten chunks, one.
SAMPLES, FEWER = "num_samples=1280", "num_samples=128"

CODE = re.compile(r"^```.*?^```$|^(?: {4}\S.*\n)+", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`([^`\n]+)`")
MADE = re.compile(r"<!-- table: .*?<!-- /table -->", re.DOTALL)  # by the command that is checked


@pytest.mark.parametrize("name", PYTHON)
def test_python_in_a_readme_runs(name):
    text = (ROOT / name).read_text()
    assert name != "README.md" or SAMPLES in text
    blocks = re.findall(
        r"^```python\n(.*?)^```", text.replace(SAMPLES, FEWER), re.DOTALL | re.MULTILINE
    )
    assert len(blocks) == text.count("```python")
    for block in blocks:
        exec(compile(block, name, "exec"), {})


@pytest.mark.parametrize("name", sorted(LENGTHS))
def test_a_page_is_short(name):
    assert len((ROOT / name).read_text().splitlines()) <= LENGTHS[name]


# --- commands ---

OF_THE_READER = re.compile(r"my_|mine|\.\.\.|\b[A-Z]{4,}\b")  # in place of which he puts another


def commands(text: str) -> Iterator[list[str]]:
    """The commands of a page, as words; those in blocks of code may go on over a backslash."""
    blocks = [found[0].replace("\\\n", " ") for found in CODE.finditer(text)]
    lines = [line for block in blocks for line in block.splitlines()]
    lines += [found[1] for found in INLINE.finditer(CODE.sub("", text))]
    for line in lines:
        words = line.partition("  #")[0].strip().removeprefix("$ ")
        if words.startswith(("python -m experiments.", "make ")):
            yield shlex.split(words.replace(r"\|", "|"))


def read(words: list[str], folder: Path) -> None:
    """Reads a command as the program would, before any work."""
    if words[0] == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert words[1] in targets
        return
    module, rest = words[2].removeprefix("experiments."), words[3:]
    if not rest:  # a command in general: `test_repository.py` sees that there is one
        return
    if module == "run":
        flags, overrides = run.parse(rest)
        if flags.config is not None:
            configs.load(flags.config, overrides)
    elif module == "report":
        options = report.parse(rest)
        if options.fill:
            sweep.plan(sweep.find(options.fill), options.only, options.overrides, folder)
    elif module == "solve":
        file = solve.parse(rest).file
        assert "/" not in str(file) or (ROOT / file).exists()
    elif module == "bench":
        bench.parse(rest)
    elif module == "data":
        data._parser().parse_args(rest)
    else:
        assert (module, len(rest)) == ("runner.pretrained", 2)


@pytest.mark.parametrize("name", ALL)
def test_every_command_is_one_that_is_read(name, tmp_path):
    for words in commands((ROOT / name).read_text()):
        if "--help" in words or any(map(OF_THE_READER.search, words)):
            continue
        try:
            read(words, tmp_path)
        except (Exception, SystemExit) as error:
            raise AssertionError(f"{name}: {shlex.join(words)}: {error}") from error


def test_a_command_that_is_wrong_is_found(tmp_path):
    text = "`make dmeo`, `python -m experiments.run --config=nco/tsp:21,cpu --workdir=a`\n"
    text += "\n    python -m experiments.report --fill nco/tsp \\\n        --only tsp21\n"
    found = list(commands(text))
    assert len(found) == 3
    for words in found:
        with pytest.raises((AssertionError, UserError)):
            read(words, tmp_path)


# --- numbers ---

# Numbers of pages that stand in no results file, and where they are from.
ELSEWHERE = {
    "README.md": {"1.8%", "0%", "4.23%"},  # the thesis: tables 2.2 (over its optima), 4.2
    "nco/README.md": {
        *("1.8%", "0%", "4.8%", "6.8%"),  # the same
    },
    "mpl/README.md": {
        "0.34%",  # one of 297 images
        *("40%", "80%", "99%"),  # shares of labels; the definition of a success
    },
    "experiments/results/mpl/README.md": {"99%"},  # the same
    "experiments/results/nco/README.md": {
        *("1.8%", "4.8%", "6.8%", "0.4%", "1.4%"),  # the same
        *("1.0%", "0.57%", "0.61%"),  # the same of table 2.4
        *("0.01%", "95%"),  # definitions: of what counts as optimal, of an interval
    },
    "search/README.md": set(),
    "experiments/results/search/README.md": set(),
    "enas/README.md": {"4.23%", "3.54%", "2.89%"},  # the thesis: table 4.2
}
CITED = re.compile(r"\b(?:tables?|figures?|equations?|eqs?\.|sections?)\s+[\d.]+", re.IGNORECASE)
PERCENT = re.compile(r"(?<![\w.])(\d[\d,]*(?:\.\d+)?)%")
MINUTES = re.compile(r"(?<![\w.])(\d[\d,]*(?:\.\d+)?) min(?:utes)?\b")
PRECISE = re.compile(r"(?<![\w.-])(\d+\.\d{2,})(?![\w%.])")


def recorded(room: str) -> tuple[list[float], list[float], list[float]]:
    """What is recorded of a room ("*": of all) in percent, in minutes, and in all."""
    rows = [row for path in ROOT.glob(f"experiments/results/{room}/*.json") for row in _rows(path)]
    metas = [
        json.loads(path.read_text())["meta"] for path in ROOT.glob("experiments/pretrained/*/*")
        if path.suffix == ".json"
    ]  # fmt: skip
    minutes = [each["seconds"] / 60 for each in (*rows, *metas)]
    every = [each for row in rows for each in _numbers(row)]
    every += [value for meta in metas for value in meta["results"].values()]
    shares = [each for row in rows if _is_share(row["metric"]) for each in _numbers(row)]
    parts = [each for row in rows if _is_fraction(row["metric"]) for each in _numbers(row)]
    shares += [100 * share for each in parts for share in (each, 1 - each)]  # and of those left
    return shares, minutes, every


def _rows(path: Path) -> list[Row]:
    return read_table(path).rows


def _is_share(metric: str) -> bool:
    return "percent" in metric or metric == "accuracy"


def _is_fraction(metric: str) -> bool:
    return metric.endswith(("fraction", "rate"))


def _numbers(row: Row) -> list[float]:
    return [row["value"]] + [row["reference"]] * (row["reference"] is not None)


def stands(text: str, known: list[float]) -> bool:
    """Whether a printed number is one of these, rounded as it is printed."""
    decimals, value = len(text.partition(".")[2]), float(text.replace(",", ""))
    return any(abs(each - value) <= 0.5 * 10.0**-decimals + 1e-9 for each in known)


def missing(name: str, text: str) -> list[str]:
    """The numbers of a page's prose that stand nowhere."""
    plain = CITED.sub("", INLINE.sub("", CODE.sub("", MADE.sub("", text))))
    if name.startswith("experiments/results"):  # whose tables are made
        plain = re.sub(r"^\|.*$|^[\d,]+ minutes in all.*$", "", plain, flags=re.MULTILINE)
    rooms = [room for room in ("nco", "mpl", "search", "enas") if room in name.split("/")]
    percents, minutes, every = recorded(*rooms or "*")
    found = [
        match[0]
        for pattern, known in ((PERCENT, percents), (MINUTES, minutes), (PRECISE, every))
        for match in pattern.finditer(plain)
        if not stands(match[1], known)
    ]
    return [each for each in found if each not in ELSEWHERE.get(name, set())]


@pytest.mark.parametrize("name", sorted(ELSEWHERE))
def test_numbers_in_prose_are_recorded(name):
    assert missing(name, (ROOT / name).read_text()) == []


def test_a_number_that_is_not_recorded_is_found():
    text = "In 41.7 minutes it is 99.97% and 123.456 long (table 9.99)"
    text += "; `1.2345` and\n\n    7.777\n\nare code."
    assert missing("", text) == ["99.97%", "41.7 minutes", "123.456"]
