"""Checkpoints: what is restored is what was saved, or it is not restored."""

import json
import shutil
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from experiments import checkpoint
from experiments.checkpoint import (
    CheckpointError,
    Checkpoints,
    StateMismatch,
    best_step,
    restore_state,
    to_host,
)
from experiments.workdir import saved_steps

HEADLINE = ("error", "min")


class State(NamedTuple):
    params: Any
    step: Any
    key: Any


def state_at(step):
    """A state of many dtypes, some of whose paths and shapes are awkward."""
    values = np.arange(1000, dtype=np.float32) * (step + 1)
    params = {
        "dense": {"kernel": jnp.asarray(values.reshape(10, 100)), "a/b.c": jnp.zeros((3,))},
        "half": jnp.asarray(values[:5], jnp.bfloat16),
        "list": [jnp.asarray([True, False]), jnp.asarray(3, jnp.uint8), np.float32(step)],
        "none": jnp.zeros((0, 4)),
        "eight": jnp.ones((2,), jnp.float8_e4m3fn),
        "keys": jax.random.split(jax.random.key(1, impl="rbg"), 3),
    }
    return State(params, jnp.asarray(step, jnp.int32), jax.random.key(7))


def folder(workdir, keep=2, digest="d", headline=HEADLINE):
    return Checkpoints(workdir, headline, keep, digest)


def save(workdir, errors, **options):
    """Saves steps 10, 20, ... with these errors (None: not evaluated)."""
    made = folder(workdir, **options)
    for index, error in enumerate(errors):
        step = 10 * (index + 1)
        metrics = None if error is None else {"error": error}
        made.save(state_at(step), step, metrics, {"phase": "p", "phase_step": step})
    made.close()


def same(one, other):
    left, right = to_host(one), to_host(other)
    assert left.keys() == right.keys()
    for name in left:
        assert left[name].dtype == right[name].dtype, name
        assert left[name].tobytes() == right[name].tobytes(), name


def test_every_dtype_comes_back_bit_for_bit(tmp_path):
    save(tmp_path, [0.5])
    target = jax.eval_shape(lambda: state_at(0))
    found, manifest = folder(tmp_path).restore(target)
    same(found, state_at(10))
    assert jax.tree.structure(found) == jax.tree.structure(state_at(10))
    assert jax.random.key_impl(found.params["keys"]) == jax.random.key_impl(
        state_at(10).params["keys"]
    )
    assert manifest["step"] == 10
    assert manifest["metrics"] == {"error": 0.5}
    assert manifest["leaves"]["params.half"]["dtype"] == "bfloat16"
    assert manifest["leaves"]["key"]["dtype"] == "key<fry>"
    assert manifest["jax"] == jax.__version__
    assert manifest["device_count"] == jax.device_count()


def test_nothing_saved(tmp_path):
    assert folder(tmp_path).restore(state_at(0)) is None
    with pytest.raises(CheckpointError, match="no good checkpoint"):
        restore_state(tmp_path, state_at(0))


def test_the_latest_and_the_earliest_best_are_kept(tmp_path):
    save(tmp_path, [3.0, 1.0, 2.0, 1.0, 5.0, 4.0])
    assert saved_steps(tmp_path) == [20, 50, 60]
    assert best_step(tmp_path, HEADLINE) == 20
    found, _ = restore_state(tmp_path, state_at(0), "best", HEADLINE)
    same(found, state_at(20))
    found, _ = restore_state(tmp_path, state_at(0), 50)
    same(found, state_at(50))
    found, _ = restore_state(tmp_path, state_at(0))
    same(found, state_at(60))


def test_the_best_may_be_the_highest(tmp_path):
    save(tmp_path, [3.0, 5.0, 2.0, 5.0, 1.0], headline=("error", "max"), keep=1)
    assert saved_steps(tmp_path) == [20, 50]
    assert best_step(tmp_path, ("error", "max")) == 20


def test_best_is_found_anew_after_a_restart(tmp_path):
    save(tmp_path, [3.0, 1.0, 2.0], keep=1)
    made = folder(tmp_path, keep=1)
    for step, error in ((40, 1.0), (50, 0.5), (60, 7.0)):
        made.save(state_at(step), step, {"error": error}, {})
        made.wait()
    made.close()
    assert saved_steps(tmp_path) == [50, 60]


def test_a_save_between_evaluations_is_kept_only_as_the_latest(tmp_path):
    save(tmp_path, [3.0, None, 2.0, None], keep=1)
    assert saved_steps(tmp_path) == [30, 40]
    assert best_step(tmp_path, HEADLINE) == 30


def test_best_needs_a_headline(tmp_path):
    save(tmp_path, [3.0])
    with pytest.raises(ValueError, match="headline: expected"):
        restore_state(tmp_path, state_at(0), "best")


# --- Damage ---------------------------------------------------------------------------------------


def array_file(workdir, step):
    """The file that holds the largest arrays."""
    files = (workdir / "checkpoints" / str(step) / "state").rglob("*")
    return max((file for file in files if file.is_file()), key=lambda file: file.stat().st_size)


def flip_a_bit(workdir, step):
    """In the middle of the array data, where nothing but the values changes."""
    path = array_file(workdir, step)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def change_a_value(workdir, step):
    """A checkpoint whose every file is intact, but not of the values that the manifest knows."""
    rewrite(workdir, step, lambda leaves: leaves["params.dense.kernel"].__setitem__((0, 0), 99.0))


def change_a_dtype(workdir, step):
    def cast(leaves):
        leaves["params.dense.kernel"] = leaves["params.dense.kernel"].astype(np.float64)

    rewrite(workdir, step, cast)


def drop_a_leaf(workdir, step):
    rewrite(workdir, step, lambda leaves: leaves.pop("params.dense.kernel"))


def add_a_leaf(workdir, step):
    rewrite(workdir, step, lambda leaves: leaves.update(extra=np.zeros(3)))


def rewrite(workdir, step, change):
    place = workdir / "checkpoints" / str(step) / "state"
    with ocp.StandardCheckpointer() as io:
        leaves = {name: np.array(value) for name, value in io.restore(place).items()}
        change(leaves)
        shutil.rmtree(place)
        io.save(place, leaves)
        io.wait_until_finished()


def truncate(workdir, step):
    path = array_file(workdir, step)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(workdir, step):
    array_file(workdir, step).write_bytes(b"")


def remove_arrays(workdir, step):
    array_file(workdir, step).unlink()


def remove_state(workdir, step):
    shutil.rmtree(workdir / "checkpoints" / str(step) / "state")


def remove_everything(workdir, step):
    place = workdir / "checkpoints" / str(step)
    shutil.rmtree(place)
    place.mkdir()


def remove_structure(workdir, step):
    (workdir / "checkpoints" / str(step) / "state" / "_METADATA").unlink()


def spoil_structure(workdir, step):
    (workdir / "checkpoints" / str(step) / "state" / "_METADATA").write_text('{"tree": [')


def remove_manifest(workdir, step):
    shutil.rmtree(workdir / "checkpoints" / str(step) / "manifest")


def manifest_file(workdir, step):
    return workdir / "checkpoints" / str(step) / "manifest" / "metadata"


def tear_manifest(workdir, step):
    path = manifest_file(workdir, step)
    path.write_text(path.read_text()[:-20])


def edit_manifest(workdir, step):
    path = manifest_file(workdir, step)
    manifest = json.loads(path.read_text())
    manifest["leaves"]["params.half"]["crc32"] ^= 1
    path.write_text(json.dumps(manifest))


def edit_metrics(workdir, step):
    path = manifest_file(workdir, step)
    path.write_text(path.read_text().replace("3.0", "0.1"))


def swap_manifests(workdir, step):
    other = manifest_file(workdir, step - 10)
    manifest_file(workdir, step).write_text(other.read_text())


DAMAGE = [
    flip_a_bit,
    change_a_value,
    change_a_dtype,
    drop_a_leaf,
    add_a_leaf,
    truncate,
    empty,
    remove_arrays,
    remove_state,
    remove_everything,
    remove_structure,
    spoil_structure,
    remove_manifest,
    tear_manifest,
    edit_manifest,
    edit_metrics,
    swap_manifests,
]


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_falls_back_to_the_one_before(tmp_path, damage):
    save(tmp_path, [1.0, 2.0, 3.0])
    damage(tmp_path, 30)
    made = folder(tmp_path)
    with pytest.warns(UserWarning, match="checkpoint 30 is damaged"):
        found, manifest = made.restore(state_at(0))
    same(found, state_at(20))
    assert manifest["step"] == 20
    assert saved_steps(tmp_path) == [10, 20]
    assert [entry.name for entry in (tmp_path / "corrupt").iterdir()] == ["30"]

    # The trap: a manager that has seen step 30 declines to save it again, silently.
    made.save(state_at(30), 30, {"error": 3.0}, {})
    made.close()
    found, manifest = folder(tmp_path).restore(state_at(0))
    assert manifest["step"] == 30
    same(found, state_at(30))


def test_damage_to_any_file_is_survived(tmp_path):
    """Each file of a checkpoint in turn, bookkeeping included: flipped, cut short, gone."""
    whole = tmp_path / "whole"
    save(whole, [1.0, 2.0])
    files = sorted(p for p in (whole / "checkpoints" / "20").rglob("*") if p.is_file())
    assert len(files) > 8
    target, fell_back = state_at(0), 0
    for number, path in enumerate(files):
        for change in ("flip", "cut", "remove"):
            run = tmp_path / f"{number}_{change}"
            shutil.copytree(whole, run)
            file, data = run / path.relative_to(whole), bytearray(path.read_bytes())
            if change == "remove":
                file.unlink()
            elif data:
                data[len(data) // 2] ^= 4
                file.write_bytes(data if change == "flip" else data[: len(data) // 2])
            made = folder(run)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found, manifest = made.restore(target)
            same(found, state_at(manifest["step"]))
            fell_back += manifest["step"] == 10
            made.save(state_at(30), 30, {"error": 3.0}, {})
            made.close()
            assert 30 in saved_steps(run), (path, change)
            shutil.rmtree(run)
    assert fell_back > 8


def test_several_damaged_ones_are_skipped_and_kept_apart(tmp_path):
    save(tmp_path, [1.0, 2.0, 3.0, 4.0], keep=4)
    for step in (20, 30, 40):
        truncate(tmp_path, step)
    with pytest.warns(UserWarning, match="is damaged"):
        _, manifest = folder(tmp_path).restore(state_at(0))
    assert manifest["step"] == 10
    save_again = folder(tmp_path)
    save_again.save(state_at(20), 20, None, {})
    save_again.close()
    truncate(tmp_path, 20)
    with pytest.warns(UserWarning, match="20-2"):
        folder(tmp_path).restore(state_at(0))
    names = sorted(entry.name for entry in (tmp_path / "corrupt").iterdir())
    assert names == ["20", "20-2", "30", "40"]


def test_reading_a_damaged_run_changes_nothing(tmp_path):
    save(tmp_path, [1.0, 2.0])
    truncate(tmp_path, 20)
    before = sorted(tmp_path.rglob("*"))
    with pytest.warns(UserWarning, match="checkpoint 20 is damaged"):
        _, manifest = restore_state(tmp_path, state_at(0))
    assert manifest["step"] == 10
    with (
        pytest.warns(UserWarning, match="checkpoint 20 is damaged"),
        pytest.raises(CheckpointError, match=r"of step 20 .* there are steps \[10, 20\]"),
    ):
        restore_state(tmp_path, state_at(0), 20)
    assert sorted(tmp_path.rglob("*")) == before


def test_another_config_of_the_same_folder_is_damage(tmp_path):
    save(tmp_path, [1.0], digest="one")
    with pytest.warns(UserWarning, match="written under another config"):
        assert folder(tmp_path, digest="two").restore(state_at(0)) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda s: s._replace(step=jnp.asarray(1.0)),
            "leaf step: .* holds int32.*asked for float32",
        ),
        (
            lambda s: s._replace(params={**s.params, "half": jnp.zeros((5,), jnp.float16)}),
            "leaf params.half: .* holds bfloat16",
        ),
        (
            lambda s: s._replace(params={**s.params, "half": jnp.zeros((6,), jnp.bfloat16)}),
            r"leaf params.half: .* bfloat16\[5\], asked for bfloat16\[6\]",
        ),
        (
            lambda s: s._replace(params={**s.params, "none": jnp.zeros((0, 5))}),
            r"leaf params.none: .* float32\[0, 4\], asked for float32\[0, 5\]",
        ),
        (
            lambda s: s._replace(params={**s.params, "new": jnp.zeros(3)}),
            "leaf params.new is only in the state asked for",
        ),
        (
            lambda s: s._replace(params={k: v for k, v in s.params.items() if k != "half"}),
            "leaf params.half is only in the checkpoint",
        ),
        (
            lambda s: s._replace(key=jax.random.key_data(s.key)),
            "leaf key: .* holds key<fry>",
        ),
        (
            lambda s: s._replace(key=jax.random.key(0, impl="rbg")),
            "leaf key: .* holds key<fry>.*asked for key<rbg>",
        ),
    ],
)
def test_another_state_is_refused_not_cast(tmp_path, change, words):
    save(tmp_path, [1.0])
    with pytest.raises(StateMismatch, match=words):
        folder(tmp_path).restore(change(state_at(0)))
    assert saved_steps(tmp_path) == [10]  # a good checkpoint is not set aside for it


def test_saving_a_step_that_is_there_is_an_error(tmp_path):
    save(tmp_path, [1.0, 2.0])
    made = folder(tmp_path)
    with pytest.raises((CheckpointError, ocp.checkpoint_manager.StepAlreadyExistsError)):
        made.save(state_at(20), 20, None, {})
    with pytest.raises(CheckpointError, match="declined to save step 15"):
        made.save(state_at(15), 15, None, {})
    made.close()


def test_an_unfinished_save_is_ignored(tmp_path):
    save(tmp_path, [1.0])
    torn = tmp_path / "checkpoints" / "20.orbax-checkpoint-tmp-3"
    shutil.copytree(tmp_path / "checkpoints" / "10", torn)
    assert saved_steps(tmp_path) == [10]
    made = folder(tmp_path)
    assert made.restore(state_at(0))[1]["step"] == 10
    made.save(state_at(20), 20, {"error": 1.0}, {})
    made.close()
    assert saved_steps(tmp_path) == [10, 20]
    assert not torn.exists()


def test_a_save_holds_the_values_of_its_moment(tmp_path):
    """Donating the state right after an asynchronous save must not change what is saved."""
    bump = jax.jit(
        lambda s: s._replace(params=jax.tree.map(lambda x: x + 1, s.params)), donate_argnums=0
    )
    state = State({"w": jnp.zeros((1000, 100))}, jnp.asarray(0), jax.random.key(0))
    made = folder(tmp_path)
    made.save(state, 1, None, {})
    for _ in range(5):
        state = bump(state)
    made.close()
    found, _ = restore_state(tmp_path, jax.eval_shape(lambda: state))
    assert not np.any(found.params["w"])


def test_checksums_are_of_bytes():
    """-0.0 and 0.0 are equal, and so might NaNs be; their checksums are not."""
    crcs = {checkpoint._crc(np.asarray(value, np.float32)) for value in (0.0, -0.0, np.nan)}
    assert len(crcs) == 3


def test_paths_of_leaves_are_kept_on_disk(tmp_path: Path):
    save(tmp_path, [1.0])
    manifest = json.loads(manifest_file(tmp_path, 10).read_text())
    assert "params.dense.a/b.c" in manifest["leaves"]
    assert manifest["leaves"]["params.none"]["shape"] == [0, 4]
