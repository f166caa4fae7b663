"""Configs: found, overridden, checked, and every error names the key."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict, config_dict

from experiments.runner import checks
from experiments.runner import config as configs
from experiments.runner.checks import ConfigError
from experiments.runner.programs import Programs
from experiments.runner.schedule import check_phases
from experiments.runner.workdir import WorkdirError, check_identity, write_config
from parallel.data_parallel import make_mesh
from tests.experiments.conftest import TOY
from tests.experiments.runner import toy as toy_glue
from tests.experiments.runner.launcher import ROOT


def test_overrides_keep_the_type_that_is_there(toy):
    config = toy(
        steps=10, task="host", **{"model.rate": "1", "deterministic": "true", "phase_steps": "3,4"}
    )
    assert config.steps == 10
    assert config.task == "host"
    assert config.model.rate == 1.0
    assert isinstance(config.model.rate, float)
    assert config.deterministic is True
    assert config.phase_steps == (3, 4)


def test_placeholders_take_their_type():
    config = ConfigDict({"limit": config_dict.placeholder(int), "nothing": None})
    configs.override(config, "limit", "3")
    assert config.limit == 3
    with pytest.raises(ConfigError, match="limit: expected an integer, got 'x'"):
        configs.override(config, "limit", "x")
    with pytest.raises(ConfigError, match="nothing: expected no value from the command line"):
        configs.override(config, "nothing", "x")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("sede", "1", "did you mean 'seed'"),
        ("model.sise", "1", "did you mean 'model.size'"),
        ("sise", "1", "did you mean 'model.size'"),
        ("modle.size", "1", "did you mean 'model.size'"),
        ("seed.low", "1", "a key of this config"),
        ("model", "1", "choices: model.rate, model.size"),
        ("steps", "ten", "steps: expected an integer, got 'ten'"),
        ("steps", "1.5", "steps: expected an integer, got '1.5'"),
        ("steps", "0", "steps: expected an integer from 1 to"),
        ("num_seeds", "0", "num_seeds: expected an integer from 1 to 4096"),
        ("model.rate", "fast", "model.rate: expected a number, got 'fast'"),
        ("model.rate", "nan", "model.rate: expected a number, got 'nan'"),
        ("deterministic", "2", "deterministic: expected true or false, got '2'"),
        ("seed_axis", "pmap", "seed_axis: expected one of the choices below, got 'pmap'"),
        ("seed_axis", "vmpa", "did you mean 'vmap'"),
        ("eval_every", "7", "eval_every: expected a multiple of chunk = 5, got 7"),
        ("checkpoint_every", "25", "checkpoint_every: expected a multiple of eval_every = 10"),
        ("num_seeds", "0", "num_seeds: expected an integer from 1 to"),
        ("seed", "-1", "seed: expected an integer from 0 to"),
        ("keep_checkpoints", "0", "keep_checkpoints: expected an integer >= 1, got 0"),
        ("phase_steps", "a,b", "phase_steps: expected an integer, got 'a'"),
    ],
)
def test_a_bad_override_is_named(toy, key, value, words):
    with pytest.raises(ConfigError) as caught:
        toy(**{key: value})
    assert words in str(caught.value)
    assert key in str(caught.value)


SHAPES = """
import numpy as np
from ml_collections import ConfigDict
from tests.experiments.runner.configs import toy

def get_config():
    config = toy.get_config("")
    config.stages = ((1, 2), (3, 4))
    config.pairs = [(1, "a"), (2, "b")]
    config.layers = [{"units": 8, "act": "relu"}, {"units": 4, "act": "tanh", "rates": (0.5,)}]
    config.parts = (ConfigDict({"depth": 1}), ConfigDict({"depth": 2}))
    config.names = ("x", "y")
    config.word = "x"
    config.rate = np.float32(0.5)
    config.count = np.int64(3)
    config.table = np.eye(2)
    return config
"""
KEPT = [
    ("stages", "((5,6),(7,8))", ((5, 6), (7, 8))),
    ("stages", "(5,6),(7,8), (9,)", ((5, 6), (7, 8), (9,))),
    ("stages", "((5,6),)", ((5, 6),)),
    ("stages", "()", ()),
    ("pairs", "[(5, 'a, b'), (6, c)]", [(5, "a, b"), (6, "c")]),
    ("layers", "[{'units': 16, 'act': 'x'}]", [{"units": 16, "act": "x"}]),
    (
        "layers",
        "{'units': 1, 'rates': [1]}, {'act': '2'}",
        [{"units": 1, "rates": (1.0,)}, {"act": "2"}],
    ),
    ("parts", "({'depth': 7},)", (ConfigDict({"depth": 7}),)),
    ("names", "('a', \"b, c\", d)", ("a", "b, c", "d")),
    ("word", "'a b'", "a b"),
    ("word", "it's", "it's"),
    ("rate", "1", 1.0),
    ("count", "4", 4),
]


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    path = tmp_path_factory.mktemp("own") / "own.py"
    path.write_text(SHAPES)
    return str(path)


@pytest.mark.parametrize(("key", "text", "value"), KEPT)
def test_values_of_any_shape_are_overridden_saved_and_resumed(own, tmp_path, key, text, value):
    config = configs.load(own, [(key, text)])
    assert config[key] == value
    assert type(config[key]) is type(value)
    for got, wanted in zip(config[key], value, strict=True) if key == "stages" else ():
        assert type(got) is type(wanted)
    write_config(tmp_path, config)
    check_identity(tmp_path, configs.load(own, [(key, text)]))
    written = (tmp_path / "config.json").read_text()
    assert configs.digest(json.loads(written)["config"]) == configs.digest(config)
    with pytest.raises(WorkdirError, match=f"{key}.*: .* -> "):
        check_identity(tmp_path, configs.load(own))


@pytest.mark.parametrize(
    ("key", "text", "words"),
    [
        ("stages", "5,6", r"stages: expected sequences in brackets, such as \(1,2\),\(3,4\)"),
        ("stages", "((5,6),(7,8)", "stages: expected brackets and quotes that match"),
        ("stages", "(5,6]),(7,8)", "stages: expected brackets and quotes that match"),
        ("stages", "((5,x),)", "stages: expected an integer, got 'x'"),
        ("names", "('a, b)", "names: expected brackets and quotes that match"),
        ("layers", "[{'unitz': 16}]", "layers: expected a dict of 'units', 'act', 'rates', got"),
        ("layers", "[{'units': 'x'}]", "layers.units: expected an integer, got 'x'"),
        ("layers", "[16]", "layers: expected a dict"),
        ("layers", "[{[1]: 2}]", "layers: expected a dict"),
        ("stages", "{[1]: 2}", "stages: expected sequences in brackets"),
        ("table", "1", "table: expected no value from the command line"),
    ],
)
def test_a_bad_value_of_some_shape_is_named(own, key, text, words):
    with pytest.raises(ConfigError, match=words):
        configs.load(own, [(key, text)])


def test_a_config_without_argument_refuses_one_and_what_json_lacks_is_named(own, tmp_path):
    with pytest.raises(ConfigError, match=r"argument: expected none, as get_config\(\) .* 'large'"):
        configs.load(f"{own}:large")
    path = tmp_path / "odd.py"
    path.write_text(SHAPES.replace("np.eye(2)", "[{'act': print}]"))
    with pytest.raises(ConfigError, match=r"table: expected numbers, strings, .* of these, got"):
        configs.load(str(path))


def test_identities_of_configs_stay():
    """So that runs of earlier versions resume."""
    known = {
        TOY: "f5cf3e4ee8adb3a4",
        "nco/tsp:20,cpu": "1fcc5be05d8497fa",
        "search/synthetic": "fbaad406fa7a4586",
    }
    assert {name: configs.digest(configs.load(name)) for name in known} == known


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no/such", "a config or a path"),
        ("missing.py", "a config file that exists"),
        (f"{Path(__file__)}", "a file that defines get_config"),
    ],
)
def test_a_config_that_is_not_there(name, words):
    with pytest.raises(ConfigError, match=words):
        configs.load(name)


def test_a_misspelt_name_is_corrected(monkeypatch, tmp_path):
    (tmp_path / "nco").mkdir()
    (tmp_path / "nco" / "tsp.py").write_text('"""Tours."""\n')
    (tmp_path / "odd.py").write_text("no python at all !")
    monkeypatch.setattr(configs, "CONFIGS", tmp_path)
    assert configs.available() == {"nco/tsp": "Tours.", "odd": "(cannot be read as Python)"}
    with pytest.raises(ConfigError, match="did you mean 'nco/tsp'"):
        configs.load("nco/tps")


def test_a_config_whose_argument_is_unknown(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("def get_config(arg):\n    return {'a': 1}[arg]\n")
    with pytest.raises(ConfigError, match=r"config argument: .*KeyError"):
        configs.load(f"{path}:b")
    with pytest.raises(ConfigError, match="get_config to return a ConfigDict, got 'int'"):
        configs.load(f"{path}:a")


OWN = """
from experiments.configs.nco import tsp

def get_config(arg):
    config = tsp.get_config("20,smoke")
    {line}
    return config
"""


def test_a_misspelt_field_of_ones_own_config_is_refused(tmp_path):
    path = tmp_path / "mine.py"
    for line, key, near in (
        ("config.stepss = 7", "stepss", "steps"),
        ("config.model.hiden = 7", "model.hiden", "model.hidden"),
        ("config.finish.active_step = 7", "finish.active_step", "finish.active_steps"),
    ):
        path.write_text(OWN.format(line=line))
        with pytest.raises(ConfigError, match=rf"{key}: .*did you mean '{near}'"):
            configs.load(str(path))
    path.write_text(OWN.format(line="config.finish.active_steps = 7"))  # other presets have it
    assert configs.load(str(path)).finish.active_steps == 7


def test_a_near_miss_is_warned_of_where_the_experiment_is_ones_own(tmp_path, toy):
    path = tmp_path / "mine.py"
    fields = toy().to_dict()
    path.write_text(
        "from ml_collections import ConfigDict\n"
        f"def get_config(arg):\n    return ConfigDict({fields!r} | {{'stepss': 7, 'own': 1}})\n"
    )
    with pytest.warns(UserWarning, match="does not read 'stepss'; did you mean 'steps'") as told:
        configs.load(str(path))
    assert len(told) == 1


def test_split_arg_names_the_choices():
    assert checks.split_arg("100", sizes=(20, 100)) == ("100", "paper")
    with pytest.raises(ConfigError, match="choices: 20, 100"):
        checks.split_arg("30", sizes=(20, 100))
    with pytest.raises(ConfigError, match="did you mean 'smoke'"):
        checks.split_arg("20,smok", sizes=(20, 100))


def test_checks_name_key_and_range():
    config = ConfigDict({"a": {"b": 3, "c": 0.0, "flag": 1}})
    assert checks.check_int(config, "a.b", low=1, high=3) == 3
    with pytest.raises(ConfigError, match=r"a.b: expected an integer from 4 to 5, got 3"):
        checks.check_int(config, "a.b", low=4, high=5)
    with pytest.raises(ConfigError, match=r"a.c: expected a finite float > 0, got 0.0"):
        checks.check_float(config, "a.c", positive=True)
    with pytest.raises(ConfigError, match=r"a.c: expected a finite float >= 1.0, got 0.0"):
        checks.check_float(config, "a.c", low=1.0)
    with pytest.raises(ConfigError, match=r"a.flag: expected true or false, got 1"):
        checks.check_bool(config, "a.flag")
    with pytest.raises(ConfigError, match=r"a.d: expected a key of this config"):
        checks.check_int(config, "a.d")
    config.a.c = float("inf")
    with pytest.raises(ConfigError, match=r"a.c: expected a finite float"):
        checks.check_float(config, "a.c")


def test_a_missing_common_field_is_named(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from ml_collections import ConfigDict\n"
        "def get_config(arg):\n    return ConfigDict({'experiment': 'x', 'seed': 0})\n"
    )
    with pytest.raises(ConfigError, match="num_seeds: expected a key of this config"):
        configs.load(str(path))


def test_identity_leaves_out_where_and_how_long(toy):
    base = toy()
    assert configs.digest(base) == configs.digest(toy(steps=1000))
    assert configs.digest(base) != configs.digest(toy(seed=1))
    longer = {**base.to_dict(), "steps_in_schedule": True}
    assert configs.digest(longer) != configs.digest({**longer, "steps": 1000})
    assert configs.digest(base) == configs.digest({**base.to_dict(), "workdir": "x"})
    assert configs.digest(base) == configs.digest({**base.to_dict(), "logging": {"level": 3}})


def test_diff_shows_both_sides(toy):
    other = {**toy().to_dict(), "seed": 3, "new": 1}
    del other["rows"]
    assert configs.diff(toy(), other) == [
        "new: (absent) -> 1",
        "rows: 8 -> (absent)",
        "seed: 0 -> 3",
    ]
    assert configs.diff(toy(), toy()) == []


def test_the_last_seed_is_one_too():
    last = [("seed", str(2**32 - 1))]
    assert configs.load(TOY, last).num_seeds == 1
    with pytest.raises(ConfigError, match="num_seeds: expected an integer from 1 to 1, got 2"):
        configs.load(TOY, [*last, ("num_seeds", "2")])


FUZZ = {
    "seed": [0, 5, -3, "x"],
    "num_seeds": [1, 2, 0, 1.5],
    "seed_axis": ["map", "vmap", "none"],
    "steps": [5, 60, 0, -1, "many"],
    "chunk": [1, 5, 10, 0, 3],
    "eval_every": [10, 20, 0, 11],
    "checkpoint_every": [20, 40, 0, 30],
    "keep_checkpoints": [1, 3, 0],
    "deterministic": ["true", "false", "maybe"],
    "task": ["resident", "host", "traced", "cycle", "residnet"],
    "rows": [1, 8, 0, -1],
    "model.size": [1, 16, 0, 10**9],
    "model.rate": [0.01, 0.1, 0.0, -1.0, "inf", "nan"],
    "phase_steps": ["7,12", "0,3", "7", "1,2,3", "x"],
    "throttle": [0.0, -1.0],
    "nan_at": [-1, -2],
    "experiment": ["tests.experiments.runner.toy", "no_such_glue"],
}


def test_fuzzed_configs_build_or_fail_naming_the_field():
    from experiments.run import build

    random = np.random.default_rng(0)
    failed = 0
    for _ in range(200):
        keys = random.choice(list(FUZZ), size=random.integers(1, 4), replace=False)
        pairs = [(str(key), str(FUZZ[key][random.integers(len(FUZZ[key]))])) for key in keys]
        start, error = time.monotonic(), None
        try:
            config = configs.load(TOY, pairs)
            experiment = build(config)
            check_phases(experiment.phases, experiment.cycle, config.steps)
        except ConfigError as caught:
            error = caught
        if error is not None:
            failed += 1
            assert time.monotonic() - start < 1.0
            # A value can be impossible only beside another key's, so that one may be named.
            related = {*dict(pairs), "eval_every", "checkpoint_every", "phase 'weights'"}
            assert error.key in related, (pairs, error)
            continue
        mesh = make_mesh(toy_glue.jax.devices()[:1])
        Programs(experiment, mesh, config.num_seeds, config.seed_axis).check(config.seed)
    assert 50 < failed < 190


def test_an_error_comes_before_jax_is_imported(tmp_path):
    """So it takes well under a second on an idle machine."""
    code = (
        "import sys; from experiments.run import main\n"
        "code = main(sys.argv[1:])\n"
        "print('jax' in sys.modules, file=sys.stderr); raise SystemExit(code)"
    )
    workdir = tmp_path / "run"
    words = [f"--config={TOY}", f"--workdir={workdir}", "--config.stepz=3"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "did you mean 'steps'" in done.stderr
    assert done.stderr.endswith("False\n")
    assert not workdir.exists()
