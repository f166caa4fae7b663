"""Objectives against NumPy formulas, on logits made by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mpl import objectives

RNG = np.random.default_rng(0)
LABELS = np.array([0, 2, 1, 2])


def _logits():
    return {
        view: RNG.normal(size=(count, 3)).astype(np.float32) * 2
        for view, count in (("labelled", 4), ("weak", 6), ("strong", 6))
    }


LOGITS = _logits()
BATCH = {"labels": jnp.asarray(LABELS, jnp.int32)}


def _softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def _ce(target, logits):
    return -(target * np.log(_softmax(logits))).sum(-1)


def _loss(objective, batch=BATCH, step=0, logits=LOGITS):
    logits = {view: jnp.asarray(logits[view]) for view in objective.views}
    value, metrics = objective.loss(logits, batch, jnp.asarray(step))
    return float(value), metrics


def test_supervised_with_label_smoothing():
    plain = _ce(np.eye(3)[LABELS], LOGITS["labelled"]).mean()
    np.testing.assert_allclose(_loss(objectives.supervised())[0], plain, rtol=1e-5)
    smooth = 0.9 * np.eye(3)[LABELS] + 0.1 / 3
    wanted = _ce(smooth, LOGITS["labelled"]).mean()
    value, metrics = _loss(objectives.supervised(smoothing=0.1))
    np.testing.assert_allclose(value, wanted, rtol=1e-5)
    right = (LOGITS["labelled"].argmax(-1) == LABELS).mean()
    np.testing.assert_allclose(metrics["accuracy"], right)
    soft = {"labels": jnp.asarray(np.eye(3)[LABELS], jnp.float32)}  # as Mixup gives them
    np.testing.assert_allclose(_loss(objectives.supervised(), soft)[0], plain, rtol=1e-5)


def test_confident_labelled_examples_are_left_out():
    given = _softmax(LOGITS["labelled"])[np.arange(4), LABELS]
    cut = float(np.sort(given)[2]) - 1e-6  # two stay
    losses = _ce(np.eye(3)[LABELS], LOGITS["labelled"])
    objective = objectives.supervised(keep=lambda step: cut)
    value, metrics = _loss(objective)
    np.testing.assert_allclose(value, losses[given < cut].mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics["kept"], 0.5)
    assert _loss(objectives.supervised(keep=lambda step: 0.0))[0] == 0.0


@pytest.mark.parametrize("schedule", ["linear", "log", "exp"])
def test_annealing_goes_from_chance_to_one(schedule):
    keep = objectives.annealed(schedule, 100, 10)
    values = [float(keep(jnp.asarray(step))) for step in (0, 50, 100, 200)]
    start, middle, end, after = values
    np.testing.assert_allclose([end, after], 1.0, atol=0.007)
    np.testing.assert_allclose(start, 0.1, atol=0.007)
    order = {"linear": 0.55, "log": 0.1 + 0.9 * (1 - np.exp(-2.5)), "exp": 0.1 + 0.9 * np.exp(-2.5)}
    np.testing.assert_allclose(middle, order[schedule], rtol=1e-5)
    assert objectives.annealed("none", 100, 10) is None
    with pytest.raises(ValueError, match="schedule"):
        objectives.annealed("cubic", 100, 10)


def test_uda_sharpens_masks_and_holds_its_target_constant():
    weak, strong = LOGITS["weak"], LOGITS["strong"]
    threshold = float(np.median(_softmax(weak).max(-1)))
    mask = _softmax(weak).max(-1) > threshold
    losses = _ce(_softmax(weak / 0.5), strong) * mask
    objective = objectives.uda(
        objectives.supervised(), factor=2.5, temperature=0.5, threshold=threshold, warmup=10
    )
    wanted = _ce(np.eye(3)[LABELS], LOGITS["labelled"]).mean() + 2.5 * 0.4 * losses.mean()
    value, metrics = _loss(objective, step=4)
    np.testing.assert_allclose(value, wanted, rtol=1e-5)
    np.testing.assert_allclose(metrics["confident"], mask.mean())
    logits = {view: jnp.asarray(each) for view, each in LOGITS.items()}
    grads = jax.grad(lambda x: objective.loss(x, BATCH, jnp.asarray(4))[0])(logits)
    assert not jnp.any(grads["weak"])
    assert jnp.all(jnp.any(grads["strong"] != 0, axis=-1) == mask)


def test_fixmatch_takes_hard_labels_of_confident_inputs():
    weak, strong = LOGITS["weak"], LOGITS["strong"]
    threshold = float(np.sort(_softmax(weak).max(-1))[3])
    mask = _softmax(weak).max(-1) >= threshold
    losses = _ce(np.eye(3)[weak.argmax(-1)], strong) * mask
    objective = objectives.fixmatch(objectives.supervised(), factor=0.7, threshold=threshold)
    wanted = _ce(np.eye(3)[LABELS], LOGITS["labelled"]).mean() + 0.7 * losses.mean()
    np.testing.assert_allclose(_loss(objective)[0], wanted, rtol=1e-5)
    assert mask.sum() == 3


@pytest.mark.parametrize("hard", [True, False])
def test_pseudo_labels_of_a_fixed_teacher(hard):
    targets = _softmax(RNG.normal(size=(6, 3)) * 2)
    threshold = float(np.sort(targets.max(-1))[2])
    mask = targets.max(-1) >= threshold
    taught = np.eye(3)[targets.argmax(-1)] if hard else targets
    wanted = _ce(taught, LOGITS["strong"])[mask].mean()
    batch = BATCH | {"targets": jnp.asarray(targets, jnp.float32)}
    alone = objectives.pseudo_labels(None, threshold=threshold, hard=hard)
    np.testing.assert_allclose(_loss(alone, batch)[0], wanted, rtol=1e-5)
    both = objectives.pseudo_labels(objectives.supervised(), threshold=threshold, hard=hard)
    labelled = _ce(np.eye(3)[LABELS], LOGITS["labelled"]).mean()
    np.testing.assert_allclose(_loss(both, batch)[0], labelled + wanted, rtol=1e-5)
    none = objectives.pseudo_labels(None, threshold=2.0)
    assert _loss(none, batch)[0] == 0.0
