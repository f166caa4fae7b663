"""Settings of every test: JAX at its strictest, annotations checked, and 64 bits where asked.

- Shapes of different rank never broadcast silently, and dtypes never mix silently: the library
  says what it means. Optax mixes them by design (`1 - decay**count`), so its transformations run
  under the usual promotion; `standard_promotion` does the same for another library in a test.
- Programs are compiled in XLA's cheapest way, which takes a quarter of the time: without LLVM's
  optimisations, by the older emitters, in one piece. Runs in processes of their own, as those that
  must end alike bit by bit, are compiled as for users.
- Python looks for cycles of garbage less often, and never among what was imported: tracing makes
  millions of small objects, and a sixth of its time went there.
- Where beartype is installed, every annotation in a library room is checked at each call.
"""

import ctypes
import functools
import gc
import importlib
import importlib.util
import mmap
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jaxtyping
import optax
import pytest
from jax.extend.backend import get_backend

CHEAP = {
    "xla_backend_optimization_level": "0",
    "xla_cpu_use_fusion_emitters": "false",
    "xla_cpu_parallel_codegen_split_count": "1",
}


@functools.cache
def cheap_flags() -> str:
    """Those of `CHEAP` that this jaxlib has, as XLA_FLAGS: an unknown one would end the process."""
    spec = importlib.util.find_spec("jaxlib")
    assert spec is not None
    assert spec.origin is not None
    known = set()
    for library in Path(spec.origin).parent.glob("*.so"):
        with (
            library.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text,
        ):
            known |= {name for name in CHEAP if text.find(name.encode()) >= 0}
    return " ".join(f"--{name}={value}" for name, value in CHEAP.items() if name in known)


# Read when jax starts, which no import above does.
os.environ.setdefault("XLA_FLAGS", cheap_flags())

# The threads of k-means wait for each other where several workers test at once.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Imported under jaxtyping's hook, these would be compiled anew: they come before it.
for _module in ("chex", "flax.linen", "flax.struct"):
    importlib.import_module(_module)

# As many compiled programs may a test leave to the next: 0.8 GB at most.
LIVE_PROGRAMS = 400

# glibc alone has it, and keeps freed memory without.
_give_back = getattr(ctypes.CDLL(None), "malloc_trim", lambda pad: 0)

LIBRARY_ROOMS = ("nco", "placement", "enas", "mpl", "search", "parallel")

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

if importlib.util.find_spec("beartype") is not None:
    importlib.import_module("tests.typecheck")
    jaxtyping.install_import_hook(LIBRARY_ROOMS, "tests.typecheck.check_functions")


def _with_standard_promotion(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def relaxed(*args: Any, **kwargs: Any) -> Any:
        with jax.numpy_dtype_promotion("standard"):
            return function(*args, **kwargs)

    return relaxed


def _relax_optax() -> None:
    """Make every gradient transformation that is built from now on promote as usual."""
    make = optax.GradientTransformation.__new__

    def relaxed(cls: type, init: Callable[..., Any], update: Callable[..., Any]) -> Any:
        return make(cls, _with_standard_promotion(init), _with_standard_promotion(update))

    optax.GradientTransformation.__new__ = relaxed  # type: ignore[method-assign]


_relax_optax()


gc.set_threshold(50_000, 20, 50)


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()


@pytest.fixture
def x64() -> Iterator[None]:
    """64-bit types for one test, where its oracle needs them."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def standard_promotion() -> Iterator[None]:
    """NumPy's usual dtype promotion for one test, where it drives a library that needs it."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(autouse=True)
def _forget_programs() -> Iterator[None]:
    yield
    forget_programs(LIVE_PROGRAMS)


def forget_programs(most: int) -> None:
    """Frees all compiled programs where there are more than `most`.

    They are what a worker's memory goes to: each keeps 1.5 to 2 MB on the heap, be it of one
    addition, and 7 memory mappings, and jax's caches keep one for every operation on every shape.
    Tests that compute outside `jit` leave hundreds each; over a thousand tests, one worker reached
    5 GB, and would reach the system's limit on mappings (Linux's 65,530), which ends the process.
    What is freed stays with the process until `malloc_trim` gives it back to the system. Programs
    that are needed again come from the cache on disk, if they took long to compile.
    """
    if len(get_backend().live_executables()) > most:
        jax.clear_caches()
        gc.collect()
        _give_back(0)
