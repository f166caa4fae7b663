"""Several hosts: joining them, and the few things that they have to agree on."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from experiments.runner.checks import ConfigError

MOST_CPU_DEVICES = 4096
# Above 1 where SLURM or Open MPI started several processes for one run.
LAUNCHED = ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE")


def join(coordinator: str | None, process_id: int | None, num_processes: int | None) -> None:
    """Joins the other processes of this run, by flags or by the environment; does nothing for one.

    The environment is JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID, or that of
    SLURM or Open MPI with more than one process.

    Raises:
      ConfigError: some of the three flags are given and others not.
    """
    flags = {
        "--coordinator": coordinator,
        "--process_id": process_id,
        "--num_processes": num_processes,
    }
    missing = [name for name, value in flags.items() if value is None]
    if len(missing) == 3:
        launched = any(int(os.environ.get(name, 1)) > 1 for name in LAUNCHED)
        if launched or "JAX_COORDINATOR_ADDRESS" in os.environ:
            jax.distributed.initialize()
        return
    if missing:
        raise ConfigError(missing[0], "a value, as the other multi-host flags have one", None)
    assert process_id is not None
    assert num_processes is not None
    if not 0 <= process_id < num_processes:
        raise ConfigError("--process_id", f"from 0 to {num_processes - 1}", process_id)
    jax.distributed.initialize(coordinator, num_processes, process_id)


def leave() -> None:
    """Leaves the other processes, when all are done; does nothing for one.

    A process that ends without a word is taken for dead by the others, which then abort.
    """
    if jax.distributed.is_initialized():
        jax.distributed.shutdown()


def make_cpu_devices(number: int) -> None:
    """Makes this process's CPU `number` devices; jax must not have started.

    Raises:
      ConfigError: the number is out of range.
    """
    if not 1 <= number <= MOST_CPU_DEVICES:
        raise ConfigError("--cpu_devices", f"from 1 to {MOST_CPU_DEVICES}", number)
    if getattr(jax.config, "jax_num_cpu_devices", None) != number:  # a second time is no error
        jax.config.update("jax_num_cpu_devices", number)


def pick_devices(number: int | None) -> list[Any]:
    """Returns `number` devices of each process, or all of them.

    Raises:
      ConfigError: there are fewer.
    """
    local = jax.local_devices()
    if number is None:
        return jax.devices()
    if not 1 <= number <= len(local):
        raise ConfigError("--devices", f"from 1 to {len(local)} (this machine's)", number)
    by_process: dict[int, list[Any]] = {}
    for device in jax.devices():
        by_process.setdefault(device.process_index, []).append(device)
    return [device for devices in by_process.values() for device in devices[:number]]


def is_first() -> bool:
    """Whether this process is the one that writes."""
    return jax.process_index() == 0


@contextlib.contextmanager
def on_first(context: AbstractContextManager[None]) -> Iterator[None]:
    """Enters a context on the first process only; where that fails, it fails on all of them."""
    if jax.process_count() == 1:
        with context:
            yield
        return
    error: Exception | None = None
    with contextlib.ExitStack() as stack:
        if is_first():
            try:
                stack.enter_context(context)
            except Exception as caught:
                error = caught
        if any_process(error is not None):
            raise error or RuntimeError("the first process could not start; its message says why")
        yield


def any_process(flag: bool) -> bool:
    """Returns whether the flag is set on any process; waits for all of them."""
    if jax.process_count() == 1:
        return flag
    from jax.experimental import multihost_utils

    return bool(np.any(multihost_utils.process_allgather(np.asarray(flag))))


class Vote:
    """Lets all processes stop after the same dispatch, without a wait in the hot loop.

    With several processes the answer is that of the call before, which has arrived by now.
    """

    def __init__(self, mesh: Mesh) -> None:
        self._several = jax.process_count() > 1
        self._sharding = NamedSharding(mesh, PartitionSpec("data"))
        self._local = len(mesh.local_devices)
        self._sum = jax.jit(lambda x: x.sum(), out_shardings=NamedSharding(mesh, PartitionSpec()))
        self._cast: Any = None

    def decide(self, flag: bool) -> bool:
        if not self._several:
            return flag
        before = self._cast
        mine = np.full((self._local,), flag, np.int32)
        self._cast = self._sum(jax.make_array_from_process_local_data(self._sharding, mine))
        return before is not None and int(before) > 0
