"""Checkpoints: what is restored is what was saved, or it is not restored."""

import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from experiments.runner import checkpoint
from experiments.runner.checkpoint import (
    CheckpointError,
    StateMismatch,
    best_step,
    restore_state,
)
from experiments.runner.workdir import saved_steps
from tests.experiments.runner.states import (
    HEADLINE,
    State,
    folder,
    manifest_file,
    same,
    save,
    state_at,
)


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
