"""Checkpoints that are verified: what is restored is, bit for bit, what was saved.

A run's checkpoints lie in `WORKDIR/checkpoints/<step>`, written by orbax: `state` (one array a
leaf) and `manifest` (each leaf's path, shape, dtype and crc32; the config's digest; versions and
devices; the evaluated metrics). A checkpoint that cannot be read, or that reads as something else
than its manifest says, is moved to `WORKDIR/corrupt/` with a warning, and the one before is tried.
The last few and the best are kept; the best is the earliest with the best headline metric, found
anew from the manifests each time.
"""

from __future__ import annotations

import json
import logging
import warnings
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from experiments.runner.workdir import CHECKPOINTS, CORRUPT, saved_steps
from parallel.trees import leaf_names

PyTree = Any
Manifest = dict[str, Any]


class CheckpointError(RuntimeError):
    """A checkpoint that could not be written, or none to be had where one was asked for."""


class StateMismatch(CheckpointError):
    """A good checkpoint that holds another state than the one asked for; names the leaf."""


class _Corrupt(Exception):
    """Why a checkpoint was not believed."""


class Checkpoints:
    """Saves the checkpoints of one run.

    Args:
      workdir: the run's folder.
      headline: the metric that ranks checkpoints, and "max" or "min".
      keep: how many of the latest to keep, besides the best.
      digest: of the config, written into each manifest and demanded on restore.
    """

    def __init__(self, workdir: Path, headline: tuple[str, str], keep: int, digest: str) -> None:
        self.workdir, self.headline, self.keep, self.digest = workdir, headline, keep, digest
        self._manager: ocp.CheckpointManager | None = None

    def restore(self, target: PyTree) -> tuple[PyTree, Manifest] | None:
        """Returns the newest good state, of NumPy arrays and keys, and its manifest; or None.

        Moves checkpoints that fail verification to `corrupt/`, with a warning each.

        Raises:
          StateMismatch: the checkpoint is good but not of the target's leaves, shapes and dtypes.
        """
        for step in reversed(saved_steps(self.workdir)):
            try:
                manifest, leaves = _read(self.workdir, step, self.digest)
            except _Corrupt as reason:
                self._set_aside(step, reason)
                continue
            return _assemble(target, leaves, manifest), manifest
        return None

    def save(
        self,
        state: PyTree,
        step: int,
        metrics: Mapping[str, float] | None,
        position: Mapping[str, Any],
    ) -> None:
        """Copies the state to the host and writes it in the background, atomically.

        Args:
          state: arrays; fully replicated if there are several processes.
          step: updates done.
          metrics: evaluated here, or None where nothing was evaluated.
          position: phase and step in it; checked when a run with other `steps` resumes.

        Raises:
          CheckpointError: orbax declined to save.
        """
        leaves = to_host(state)
        manifest = make_manifest(state, leaves, step, self.digest, metrics, position)
        saved = self._open().save(
            step,
            args=ocp.args.Composite(
                # orbax cannot store arrays without elements; the manifest holds all there is to
                # know.
                state=ocp.args.StandardSave({k: v for k, v in leaves.items() if v.size}),
                manifest=ocp.args.JsonSave(manifest),
            ),
            metrics=None if metrics is None else {**metrics, "_step": step},
        )
        if not saved:
            raise CheckpointError(
                f"orbax declined to save step {step} in {self.workdir / CHECKPOINTS}"
            )

    def wait(self) -> None:
        """Waits until what was saved is on disk."""
        if self._manager is not None:
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits and lets go of the folder."""
        if self._manager is not None:
            self._manager.wait_until_finished()
            self._manager.close()
            self._manager = None

    def _open(self) -> ocp.CheckpointManager:
        # Opened at the first save: by then bad steps are out of the way. A manager that had seen
        # them would silently decline to save at or below them.
        if self._manager is None:
            name, mode = self.headline
            sign = 1.0 if mode == "max" else -1.0
            best = checkpoint_managers.BestN(
                get_metric_fn=lambda metrics: (sign * metrics[name], -metrics["_step"]),
                n=1,
                keep_checkpoints_without_metrics=False,
            )
            latest = checkpoint_managers.LatestN(self.keep)
            # What fails in its threads is logged with a traceback, and raised here besides.
            logging.getLogger("absl").setLevel(logging.CRITICAL)
            options = ocp.CheckpointManagerOptions(
                # `max_to_keep` with `best_fn` would delete the latest checkpoint.
                preservation_policy=checkpoint_managers.AnyPreservationPolicy([latest, best]),
                cleanup_tmp_directories=True,
            )
            self._manager = ocp.CheckpointManager(
                (self.workdir / CHECKPOINTS).absolute(), options=options
            )
        return self._manager

    def _set_aside(self, step: int, reason: _Corrupt) -> None:
        folder = self.workdir / CORRUPT
        place = folder / str(step)
        if jax.process_index() == 0:
            folder.mkdir(exist_ok=True)
            number = 1
            while place.exists():
                number += 1
                place = folder / f"{step}-{number}"
            (self.workdir / CHECKPOINTS / str(step)).rename(place)
        if jax.process_count() > 1:
            from jax.experimental import multihost_utils

            multihost_utils.sync_global_devices(f"set aside {step}")
        warnings.warn(
            f"checkpoint {step} is damaged ({reason}); moved to {place}, trying the one before",
            stacklevel=3,
        )


def best_step(workdir: Path, headline: tuple[str, str]) -> int | None:
    """Returns the earliest kept step with the best headline metric, None if none was evaluated."""
    ranked = []
    for step in saved_steps(workdir):
        try:
            metrics = _read_manifest(workdir, step)["metrics"]
        except _Corrupt:
            continue
        if metrics is not None and headline[0] in metrics:
            value = metrics[headline[0]]
            ranked.append((-value if headline[1] == "max" else value, step))
    return min(ranked)[1] if ranked else None


def restore_state(
    workdir: Path | str,
    target: PyTree,
    step: int | Literal["best"] | None = None,
    headline: tuple[str, str] | None = None,
) -> tuple[PyTree, Manifest]:
    """Reads a state from a run's folder, without changing the folder.

    Args:
      workdir: the run's folder.
      target: a state, or its shapes and dtypes (`jax.eval_shape(experiment.init, key)`); of a run
        with several seeds every leaf has a leading seed axis (`Programs.abstract_states`).
      step: updates done; None for the latest that is good; "best" for the best by `headline`.
      headline: the experiment's `headline`, needed for "best".

    Returns:
      The state, of NumPy arrays and keys, and its manifest.

    Raises:
      CheckpointError: no such checkpoint, or it is damaged.
      StateMismatch: it holds other leaves, shapes or dtypes than the target.
    """
    workdir = Path(workdir)
    if step == "best":
        if headline is None:
            raise ValueError(
                'headline: expected (metric, "max" or "min") for step="best", got None'
            )
        step = best_step(workdir, headline)
    candidates = list(reversed(saved_steps(workdir))) if step is None else [step]
    for candidate in candidates:
        try:
            manifest, leaves = _read(workdir, candidate, None)
        except _Corrupt as reason:
            warnings.warn(f"checkpoint {candidate} is damaged: {reason}", stacklevel=2)
            continue
        return _assemble(target, leaves, manifest), manifest
    wanted = "good checkpoint" if step is None else f"good checkpoint of step {step}"
    there = saved_steps(workdir)
    raise CheckpointError(f"no {wanted} in {workdir / CHECKPOINTS}; there are steps {there}")


def to_host(state: PyTree) -> dict[str, np.ndarray]:
    """Returns each leaf's path and a host copy of its value, typed keys as their key data."""
    arrays = [jax.random.key_data(x) if _is_key(x) else x for x in jax.tree.leaves(state)]
    copies = [np.array(array, copy=True) for array in jax.device_get(arrays)]
    return dict(zip(leaf_names(state), copies, strict=True))


def make_manifest(
    state: PyTree,
    leaves: Mapping[str, np.ndarray],
    step: int,
    digest: str,
    metrics: Mapping[str, float] | None,
    position: Mapping[str, Any],
) -> Manifest:
    """Returns what a checkpoint says about itself, with its own checksum."""
    described = {
        name: {
            "shape": list(value.shape),
            "dtype": str(leaf.dtype) if _is_key(leaf) else str(value.dtype),
            "crc32": _crc(value),
        }
        for (name, value), leaf in zip(leaves.items(), jax.tree.leaves(state), strict=True)
    }
    manifest = {
        "step": step,
        "position": dict(position),
        "metrics": None if metrics is None else dict(metrics),
        "config_digest": digest,
        "jax": jax.__version__,
        "device": jax.devices()[0].device_kind,
        "device_count": jax.device_count(),
        "leaves": described,
    }
    return {**manifest, "crc32": _text_crc(manifest)}


def _read_manifest(workdir: Path, step: int) -> Manifest:
    try:
        with ocp.Checkpointer(ocp.JsonCheckpointHandler()) as reader:
            manifest = reader.restore((workdir / CHECKPOINTS / str(step) / "manifest").absolute())
        claimed = manifest.pop("crc32")
    except Exception as error:  # orbax raises whatever its many layers raise
        raise _Corrupt(f"its manifest cannot be read: {_short(error)}") from error
    if claimed != _text_crc(manifest):
        raise _Corrupt("its manifest does not match its own checksum")
    if manifest["step"] != step:
        raise _Corrupt(f"its manifest says step {manifest['step']}")
    return manifest


def _read(workdir: Path, step: int, digest: str | None) -> tuple[Manifest, dict[str, np.ndarray]]:
    manifest = _read_manifest(workdir, step)
    if digest is not None and manifest["config_digest"] != digest:
        raise _Corrupt("it was written under another config")
    try:
        with ocp.StandardCheckpointer() as reader:
            # No target: orbax would silently cast to the target's dtypes.
            found = reader.restore((workdir / CHECKPOINTS / str(step) / "state").absolute())
    except Exception as error:
        raise _Corrupt(f"its state cannot be read: {_short(error)}") from error
    leaves = {}
    for name, described in manifest["leaves"].items():
        shape = tuple(described["shape"])
        if 0 in shape:
            leaves[name] = np.zeros(shape, _array_dtype(described["dtype"]))
            continue
        if name not in found:
            raise _Corrupt(f"leaf {name} is missing")
        value = np.asarray(found.pop(name))
        if value.shape != shape or value.dtype != _array_dtype(described["dtype"]):
            raise _Corrupt(
                f"leaf {name} is {value.dtype}{list(value.shape)}, its manifest says "
                f"{described['dtype']}{list(shape)}"
            )
        if _crc(value) != described["crc32"]:
            raise _Corrupt(f"leaf {name} does not match its checksum")
        leaves[name] = value
    if found:
        raise _Corrupt(f"it holds leaves that its manifest does not: {sorted(found)}")
    return manifest, leaves


def _assemble(target: PyTree, leaves: Mapping[str, np.ndarray], manifest: Manifest) -> PyTree:
    wanted = dict(zip(leaf_names(target), jax.tree.leaves(target), strict=True))
    for name in [*wanted, *leaves]:
        if name not in leaves or name not in wanted:
            where = "state asked for" if name in wanted else "checkpoint"
            raise StateMismatch(f"leaf {name} is only in the {where} (step {manifest['step']})")
    values = []
    for name, leaf in wanted.items():
        dtype = manifest["leaves"][name]["dtype"]
        value: Any = leaves[name]
        if str(leaf.dtype) == dtype and _is_key(leaf):
            value = jax.random.wrap_key_data(value, impl=_key_impl(leaf))
        if str(leaf.dtype) != dtype or tuple(leaf.shape) != tuple(value.shape):
            raise StateMismatch(
                f"leaf {name}: the checkpoint of step {manifest['step']} holds "
                f"{dtype}{list(value.shape)}, asked for {leaf.dtype}{list(leaf.shape)}"
            )
        values.append(value)
    return jax.tree.unflatten(jax.tree.structure(target), values)


def _is_key(leaf: Any) -> bool:
    return jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _key_impl(leaf: Any) -> Any:
    found: list[Any] = []  # jax tells it of arrays and tracers, not of abstract arrays
    jax.eval_shape(lambda key: found.append(jax.random.key_impl(key)), leaf)
    return found[0]


def _array_dtype(name: str) -> np.dtype:
    return np.dtype(np.uint32) if name.startswith("key<") else np.dtype(jax.numpy.dtype(name))


def _crc(value: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)


def _text_crc(manifest: Manifest) -> int:
    return zlib.crc32(json.dumps(manifest, sort_keys=True).encode())


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}"
