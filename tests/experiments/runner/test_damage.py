"""Damage to a checkpoint, of whatever kind: it is never believed, and never in the way."""

import json
import shutil
import warnings

import numpy as np
import orbax.checkpoint as ocp
import pytest

from experiments.runner.checkpoint import (
    CheckpointError,
    restore_state,
)
from experiments.runner.workdir import saved_steps
from tests.experiments.runner.states import folder, manifest_file, same, save, state_at


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


def view_as_integers(workdir, step):
    """The same bytes, another dtype: no checksum sees it."""

    def view(leaves):
        leaves["params.dense.kernel"] = leaves["params.dense.kernel"].view(np.int32)

    rewrite(workdir, step, view)


def reshape_a_leaf(workdir, step):
    """The same bytes, another shape."""

    def reshape(leaves):
        leaves["params.dense.kernel"] = leaves["params.dense.kernel"].reshape(20, 50)

    rewrite(workdir, step, reshape)


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
    view_as_integers,
    reshape_a_leaf,
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
