"""The two rules of the architecture hold, and each check finds an offender."""

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.house import architecture
from tests.house.architecture import LIBRARY_ROOMS, REACH_OUTSIDE, ROOMS, TOP, Breach, Module

ROOT = Path(__file__).resolve().parents[2]
LONGEST = 400  # lines a file

# Files that may be longer, each with its reason.
LONG_FILES: dict[str, str] = {}

Check = Callable[[Module], Iterator[Breach]]


def modules(rooms: tuple[str, ...]) -> list[Module]:
    """Every Python file of some rooms, parsed."""
    paths = sorted(path for room in rooms for path in (ROOT / room).rglob("*.py"))
    assert len(paths) >= len(rooms), f"a room without a module: {rooms}"
    return [
        architecture.parse(path.relative_to(ROOT).as_posix(), path.read_text("utf-8"))
        for path in paths
    ]


def breaches(check: Check, rooms: tuple[str, ...], exempt: tuple[str, ...] = ()) -> list[str]:
    """What a check finds in some rooms, as lines to read."""
    return [str(b) for m in modules(rooms) if m.path not in exempt for b in check(m)]


def test_arrows_point_one_way():
    assert breaches(architecture.wrong_arrows, TOP) == []


def test_wings_of_experiments_are_layers():
    assert breaches(architecture.wrong_wings, ("experiments",)) == []


def test_no_files_import_each_other_in_a_circle():
    assert architecture.circles(modules(ROOMS)) == []


def test_names_are_taken_from_where_they_are_made():
    assert [str(breach) for breach in architecture.borrowed(modules(ROOMS))] == []


def lines(*folders: str) -> int:
    """Lines of Python in some folders."""
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    return sum(len(path.read_text("utf-8").splitlines()) for path in paths)


def test_glue_is_smaller_than_its_library():
    larger = {
        room: (lines(f"experiments/{room}"), lines(room))
        for room in LIBRARY_ROOMS
        if lines(f"experiments/{room}") > lines(room)
    }
    assert larger == {}
    assert lines("experiments") <= 1.3 * lines(*LIBRARY_ROOMS)


def test_a_group_is_run_by_the_shared_commands_alone():
    """No loop, store or command line of its own: a main block is a wing's, or at the top."""
    mains = [
        module.path
        for module in modules(("experiments",))
        if any(
            isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)
            for node in module.tree.body
        )
    ]
    assert mains == [
        "experiments/architecture.py",
        "experiments/bench/__main__.py",
        "experiments/bench/peers/rl4co_tsp.py",  # in an environment of its own
        "experiments/data/__main__.py",
        "experiments/report/__main__.py",
        "experiments/run.py",
        "experiments/runner/pretrained.py",
        "experiments/solve.py",
    ]


def test_folders_have_few_modules():
    folders = {path.parent for room in ROOMS for path in (ROOT / room).rglob("*.py")}
    counts = {
        folder.relative_to(ROOT).as_posix(): len(list(folder.glob("*.py"))) for folder in folders
    }
    crowded = {folder for folder, n in counts.items() if n > architecture.MOST_MODULES}
    assert crowded == {"search"}  # a list of methods, one a file, that stand on four of them


def test_library_rooms_do_no_input_or_output():
    assert breaches(architecture.outside, LIBRARY_ROOMS, REACH_OUTSIDE) == []


def test_library_rooms_keep_no_state():
    assert breaches(architecture.state, LIBRARY_ROOMS) == []


def test_library_rooms_import_what_is_heavy_only_where_it_is_used():
    assert breaches(architecture.heavy_imports, LIBRARY_ROOMS) == []


def test_public_names_of_library_rooms_are_documented():
    assert breaches(architecture.undocumented, LIBRARY_ROOMS) == []


def test_every_package_says_what_it_is():
    for module in modules(ROOMS):
        if module.path.endswith("__init__.py"):
            assert [b for b in architecture.undocumented(module) if b.line == 1] == []


def test_files_are_short():
    paths = [path for room in TOP for path in (ROOT / room).rglob("*.py")]
    lengths = {
        path.relative_to(ROOT).as_posix(): len(path.read_text("utf-8").splitlines())
        for path in paths
    }
    too_long = {path: n for path, n in lengths.items() if n > LONGEST and path not in LONG_FILES}
    assert too_long == {}
    assert [path for path in LONG_FILES if lengths.get(path, 0) <= LONGEST] == []


def test_modules_have_names():
    paths = [p.relative_to(ROOT).as_posix() for room in TOP for p in (ROOT / room).rglob("*.py")]
    assert [path for path in paths if architecture.nameless(path)] == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("nco/pointer.py", "import placement"),
        ("nco/pointer.py", "import experiments.runner.loop as loop"),
        ("nco/pointer.py", "from tests.house import architecture"),
        ("nco/problems/tsp.py", "from ...enas import controller"),
        ("enas/train.py", "from search.mcts import uct"),
        ("enas/train.py", "def f():\n    from parallel import jaxpr"),
        ("enas/train.py", "import importlib\nimportlib.import_module('mpl.meta')"),
        ("placement/graph.py", "from parallel import mesh"),
        ("placement/graph.py", "import parallel"),
        ("parallel/mesh.py", "from placement.graph import group"),
        ("experiments/run.py", "import tests.experiments.runner.toy"),
    ],
)
def test_a_wrong_arrow_is_found(path: str, source: str):
    assert list(architecture.wrong_arrows(architecture.parse(path, source)))


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("nco/pointer.py", "from . import critic\nfrom .problems import tsp\nimport jax"),
        ("nco/problems/tsp.py", "from ..policy_gradient import Sample"),
        ("placement/graph.py", "from parallel.jaxpr import cost\nfrom parallel import jaxpr"),
        ("search/mcts.py", "from nco.policy_gradient import reinforce_loss"),
        ("experiments/run.py", "import nco, search.mcts\nfrom experiments import loop"),
        ("tests/nco/test_tsp.py", "from nco.problems import tsp\nfrom tests.house import x"),
    ],
)
def test_a_right_arrow_is_let_through(path: str, source: str):
    assert list(architecture.wrong_arrows(architecture.parse(path, source))) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("experiments/runner/loop.py", "from experiments.report import rows"),
        ("experiments/runner/loop.py", "def f():\n    from nco import pointer"),
        ("experiments/data/text.py", "from experiments.runner import config"),
        ("experiments/report/rows.py", "import mpl.meta"),
        ("experiments/nco/tsp.py", "from experiments.mpl import images"),
        ("experiments/nco/tsp.py", "from search import lanas"),
        ("experiments/nco/tsp.py", "from experiments import nco"),
        ("experiments/configs/nco/tsp.py", "from experiments.nco import training"),
        ("experiments/configs/nco/tsp.py", "from experiments.mpl import config"),
        ("experiments/configs/search/contest.py", "from search import contest"),
    ],
)
def test_a_wrong_wing_is_found(path: str, source: str):
    assert list(architecture.wrong_wings(architecture.parse(path, source)))


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("experiments/run.py", "from experiments.nco import tsp\nfrom nco import pointer"),
        ("experiments/mpl/images.py", "from experiments import data\nfrom nco import critic"),
        ("experiments/mpl/images.py", "from experiments.mpl import splits\nfrom mpl import meta"),
        ("experiments/configs/mpl/uda.py", "from experiments.mpl import config as mpl_config"),
        ("experiments/runner/search_loop.py", "from search.interface import Trial"),
    ],
)
def test_a_right_wing_is_let_through(path: str, source: str):
    assert list(architecture.wrong_wings(architecture.parse(path, source))) == []


def test_circles_and_borrowed_names_are_found():
    files = {
        "nco/a.py": "from nco import b",
        "nco/b.py": "def f():\n    from nco.c import g",
        "nco/c.py": "import math\nfrom nco import a\ng = 1",
        "nco/d.py": "from nco.c import g, a\nfrom nco import c\nc.math.pi, c.g",
    }
    parsed = [architecture.parse(path, source) for path, source in files.items()]
    (circle,) = architecture.circles(parsed)
    assert circle == ["nco/a.py", "nco/b.py", "nco/c.py", "nco/a.py"]
    assert [str(breach) for breach in architecture.borrowed(parsed)] == [
        "nco/d.py:1: takes a from nco/c.py",
        "nco/d.py:3: reaches math through nco/c.py",
    ]


@pytest.mark.parametrize(
    "source",
    [
        "def f(path):\n    return open(path)",
        "def f(path):\n    return path.open()",
        "print('tour')",
        "def f():\n    import os\n    return os.environ['HOME']",
        "from os import environ",
        "import logging",
        "from absl import flags",
        "import subprocess",
        "import socket",
        "import urllib.request",
        "def f():\n    import requests",
        "from pathlib import Path",
        "import time",
        "import random",
        "def f(x):\n    np.save('x.npy', x)",
        "def f():\n    return np.random.rand(3)",
        "def f(x):\n    jax.debug.print('{}', x)",
        "import jax\njax.config.update('jax_enable_x64', True)",
        "def f(path):\n    path.write_text('x')",
        "from jax.experimental import io_callback",
        "import ml_collections",
    ],
)
def test_reaching_outside_is_found(source: str):
    assert list(architecture.outside(architecture.parse("nco/pointer.py", source)))


def test_pure_code_does_not_reach_outside():
    source = """
import functools, itertools, math, typing, warnings
import jax, jax.numpy as jnp, numpy as np
def f(key, seed, x):
    rng = np.random.default_rng(seed)
    state.update(x)
    return jax.eval_shape(jax.random.split, key), rng.permutation(3), jnp.load_balance(x)
"""
    assert list(architecture.outside(architecture.parse("nco/pointer.py", source))) == []


@pytest.mark.parametrize(
    "source",
    [
        "def f():\n    global best\n    best = 1",
        "CACHE = {}",
        "SEEN: set[int] = set()",
        "class A:\n    seen = []",
        "if True:\n    TABLE = dict(a=1)",
        "from collections import defaultdict\nD = defaultdict(int)",
        "import itertools\nIDS = itertools.count()",
        "SQUARES = [i * i for i in range(3)]",
        "CITIES = np.zeros((3, 2))",
        "ZERO = jnp.zeros(())",
        "KEY = jax.random.key(0)",
        "def f(x=jnp.zeros(3)):\n    return x",
        "import functools\n@functools.lru_cache(maxsize=None)\ndef f(n):\n    return n",
    ],
)
def test_state_is_found(source: str):
    assert list(architecture.state(architecture.parse("nco/pointer.py", source)))


def test_constants_and_local_values_are_not_state():
    source = """
__all__ = ["f"]
Metrics = dict[str, int]
NAMES = ("a", "b")
SMALL = np.float32(1e-9)
TABLE = types.MappingProxyType({"a": 1})
step = jax.jit(f, static_argnames=("n",))
class State(NamedTuple):
    data: object = None
def f(n):
    cache = {}
    return jnp.zeros(n), cache
"""
    assert list(architecture.state(architecture.parse("nco/pointer.py", source))) == []


@pytest.mark.parametrize(
    "source",
    ["import ortools", "from scipy import sparse", "try:\n    import ray\nexcept ImportError: ..."],
)
def test_a_heavy_import_is_found(source: str):
    assert list(architecture.heavy_imports(architecture.parse("nco/solvers.py", source)))


def test_a_heavy_import_inside_a_function_is_let_through():
    source = "import jax\nimport math\nfrom nco import x\ndef f():\n    import ortools\n"
    source += "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import networkx\n"
    assert list(architecture.heavy_imports(architecture.parse("nco/solvers.py", source))) == []


@pytest.mark.parametrize(
    "source", ["x = 1", '"""Doc."""\ndef f(): ...', '"""Doc."""\nclass A:\n    x: int']
)
def test_a_missing_docstring_is_found(source: str):
    assert list(architecture.undocumented(architecture.parse("nco/pointer.py", source)))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("nco/utils.py", True),
        ("nco/helpers/tours.py", True),
        ("nco/common.py", True),
        ("nco/pointer.py", False),
        ("nco/utility.py", False),
    ],
)
def test_a_name_that_says_nothing_is_found(path: str, expected: bool):
    assert architecture.nameless(path) is expected
