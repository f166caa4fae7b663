"""The frame of the search tables' commands: bad input is a line, trials leave results/ alone."""

import importlib
from pathlib import Path

import pytest

from experiments import run
from experiments.configs.search import synthetic as configs
from experiments.report import table as results_table
from experiments.search import contest as search_contest
from experiments.search import nasbench201 as search_nasbench201
from experiments.search import partition as search_partition
from experiments.search import plain_cnn as search_plain_cnn
from experiments.search import regions as search_regions
from experiments.search import samplers as search_samplers
from experiments.search import synthetic as search_synthetic
from experiments.search import tables as search_tables
from experiments.search import tree as tree_options

ROOT = Path(__file__).resolve().parents[3]


def synthetic(folder, *words):
    return search_synthetic.main([
        "--functions", "levy3", "--methods", "random", "--workdir", str(folder), *words,
    ])  # fmt: skip


def test_a_trial_writes_its_table_into_its_workdir(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(results_table, "RESULTS", tmp_path / "results")
    assert synthetic(tmp_path / "w", "--seeds", "2", "--budget", "20") == 0
    printed = capsys.readouterr().out
    assert f"wrote {tmp_path / 'w' / 'table.json'}" in printed
    assert "| levy3-random |" in printed
    assert not (tmp_path / "results").exists()
    assert synthetic(tmp_path / "w", "--seeds", "2", "--budget", "20", "--record") == 0
    found = results_table.read_table(tmp_path / "results" / "search" / "synthetic.json")
    assert {row["name"] for row in found.rows} == {"levy3-random"}


def test_rows_of_another_budget_do_not_stay_under_a_name(tmp_path):
    for budget in ("120", "20"):
        assert synthetic(tmp_path, "--seeds", "1", "--budget", budget) == 0
    rows = results_table.read_table(tmp_path / "table.json").rows
    assert {row["metric"] for row in rows} == {"best_value"}


@pytest.mark.parametrize(
    ("main", "words", "expected"),
    [
        (search_synthetic, ["--functions", "sphere20"], "function: expected a name"),
        (search_synthetic, ["--budget", "-20"], "--budget: expected a whole number of at least 1"),
        (search_synthetic, ["--seeds", "0"], "--seeds: expected a whole number of at least 1"),
        (search_synthetic, ["--c", "-1"], "tree.c: expected"),
        (search_synthetic, ["--leaf_size", "0"], "tree.leaf_size: expected"),
        (search_nasbench201, ["--seeds", "0"], "--seeds: expected a whole number of at least 1"),
        (search_contest, ["--rows", "5"], "rows: expected"),
        (search_synthetic, ["--record", "--table", "t.json"], "--table: expected a file or"),
    ],
)
def test_bad_input_is_one_line_before_any_work(main, words, expected, tmp_path, capsys):
    try:
        code = main.main([*words, "--workdir", str(tmp_path / "w")])
    except SystemExit as error:
        code = error.code
    assert code == 2
    assert expected in capsys.readouterr().err
    assert not (tmp_path / "w").exists()


def test_a_kernel_that_there_is_not_is_refused(tmp_path, capsys):
    words = ["--config=search/synthetic:ackley20,smoke", f"--workdir={tmp_path / 'w'}"]
    assert run.main([*words, "--config.tree.kernel=cubic"]) == 2
    assert "tree.kernel" in capsys.readouterr().err
    assert run.main([*words, "--config.evaluate.timeout_s=5"]) == 2
    assert "evaluate.timeout_s" in capsys.readouterr().err


def test_a_folder_of_the_runner_is_refused(tmp_path, capsys):
    (tmp_path / "config.json").write_text("{}")
    assert synthetic(tmp_path) == 2
    assert "holds a run of experiments.run" in capsys.readouterr().err


def test_a_missing_extra_is_a_line_and_other_imports_are_not(capsys):
    def absent(name):
        raise ImportError(name)

    wrapped = search_tables.command(absent)
    assert wrapped('cma is needed here: pip install "ncolab[search]"') == 2
    assert "ncolab[search]" in capsys.readouterr().err
    with pytest.raises(ImportError, match="of our own"):
        wrapped("a mistake of our own")


def test_an_interrupt_says_that_the_same_command_goes_on(capsys):
    def interrupted():
        raise KeyboardInterrupt

    assert search_tables.command(interrupted)() == 130
    assert "the same command goes on" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("main", "words"),
    [
        (search_plain_cnn, []),
        (search_samplers, []),
        (search_partition, []),
        (search_regions, ["sine"]),
    ],
)
def test_recorded_rows_are_not_replaced_by_those_of_fewer_seeds(main, words, capsys):
    with pytest.raises(SystemExit):
        main.main([*words, "--seeds", "1"])
    assert "name another file by --out" in capsys.readouterr().err


def test_the_trees_options_are_in_the_words_of_a_row():
    parser = search_tables.parser("x", None, "runs/x")
    tree_options.add(parser)
    tree = configs.get_config("ackley20,cpu").tree
    tree_options.override(tree, parser.parse_args([]))
    usual = "c=1 theta=20 rbf form=algorithm round_init=30 reuse"
    assert tree_options.words("lamcts_turbo", tree) == usual.split()
    given = "--c 0.1 --leaf_size 10 --kernel poly --form equation --scale_values --no_reuse"
    tree_options.override(tree, parser.parse_args([*given.split(), "--round_most", "50"]))
    changed = "c=0.1 theta=10 poly form=equation round_init=30 no_reuse scaled round_most=50"
    assert tree_options.words("lamcts_turbo", tree) == changed.split()
    assert tree_options.words("turbo", tree) == []


def test_recorded_commands_are_still_there(capsys):
    """Every module and option that a row's command names; the command itself is not run."""
    commands = {
        row["command"]
        for path in sorted((ROOT / "experiments" / "results" / "search").glob("*.json"))
        for row in results_table.read_table(path).rows
    }
    assert len(commands) > 20
    shown: dict[str, str] = {}
    for text in sorted(commands):
        words = text.split()
        assert words[:2] == ["python", "-m"], text
        module = words[2]
        if module not in shown:
            with pytest.raises(SystemExit):
                importlib.import_module(module).main(["--help"])
            shown[module] = capsys.readouterr().out
        for word in words[3:]:
            if word.startswith("--"):
                assert word.partition("=")[0] in shown[module], text
        if len(words) > 3 and not words[3].startswith("-"):
            assert words[3] in shown[module], text
