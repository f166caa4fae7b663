"""What the runner's tests share: the toy's config, and a launcher of short runs."""

import atexit
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import pytest
from ml_collections import ConfigDict

from experiments.runner import config as configs
from tests.experiments.runner.launcher import Launcher

# Dozens of short runs compile the same few programs: keep even the quick ones. Set here, because
# jax looks at the folder when it compiles for the first time.
if jax.config.jax_compilation_cache_dir is None:
    _compiled = tempfile.mkdtemp(prefix="compiled")
    jax.config.update("jax_compilation_cache_dir", _compiled)
    atexit.register(shutil.rmtree, _compiled, ignore_errors=True)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)

TOY = str(Path(__file__).parent / "runner" / "configs" / "toy.py")


@pytest.fixture
def toy() -> Callable[..., ConfigDict]:
    """Makes the toy's config: `toy("cycle", steps=20, **{"model.size": 4})`."""

    def make(task: str = "resident", **overrides: Any) -> ConfigDict:
        pairs = [(key, str(value)) for key, value in overrides.items()]
        return configs.load(f"{TOY}:{task}", pairs)

    return make


@pytest.fixture(scope="session")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    """Starts runs in processes of their own, which share compiled programs."""
    launcher = Launcher(tmp_path_factory.mktemp("compiled"))
    yield launcher
    launcher.close()


def command(workdir: Path, task: str = "resident", **overrides: Any) -> list[str]:
    """Returns the arguments of a run of the toy."""
    words = [f"--config={TOY}:{task}", f"--workdir={workdir}", "--quiet"]
    return words + [f"--config.{key}={value}" for key, value in overrides.items()]
