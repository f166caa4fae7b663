"""Baselines, teachers and students of images: the contract, and what each learns from."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mpl import baselines, objectives, optimizers, teaching
from mpl.meta import meta_pseudo_labels
from mpl.models import network, perceptron, wide_resnet
from nco.policy_gradient import moving_average
from tests.contract import check_learner

CLASSES = 3
NET = network.network(perceptron.Perceptron((6,), CLASSES), (4,))


def _batch():
    keys = jax.random.split(jax.random.key(0), 5)
    return {
        "labelled": jax.random.normal(keys[0], (4, 4)),
        "labels": jax.random.randint(keys[1], (4,), 0, CLASSES),
        "weak": jax.random.normal(keys[2], (6, 4)),
        "strong": jax.random.normal(keys[3], (6, 4)),
        "targets": jax.nn.softmax(3 * jax.random.normal(keys[4], (6, CLASSES))),
    }


SUPERVISED = objectives.supervised()
OBJECTIVES = {
    "supervised": SUPERVISED,
    "uda": objectives.uda(SUPERVISED, factor=1.0, temperature=0.5),
    "fixmatch": objectives.fixmatch(SUPERVISED, threshold=0.3),
    "pseudo_labels": objectives.pseudo_labels(SUPERVISED),
    "noisy_student": objectives.pseudo_labels(SUPERVISED, hard=False),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_contract_of_baselines(name):
    learner = baselines.learner(NET, OBJECTIVES[name], optax.sgd(0.1, 0.9), average_decay=0.9)
    check_learner(learner, _batch())


def test_update_is_a_step_down_the_objective():
    learner = baselines.learner(NET, OBJECTIVES["uda"], optax.sgd(0.1))
    state, batch = learner.init(jax.random.key(0)), _batch()
    after, metrics = learner.update(state, batch)

    def loss(params):
        logits = {
            view: NET.apply(params, {}, batch[view], train=True)[0]
            for view in ("labelled", "weak", "strong")
        }
        return OBJECTIVES["uda"].loss(logits, batch, state.step)[0]

    wanted = jax.tree.map(lambda p, g: p - 0.1 * g, state.params, jax.grad(loss)(state.params))
    for got, want in zip(*map(jax.tree.leaves, (after.params, wanted)), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(metrics["loss"], loss(state.params), rtol=1e-5)
    assert baselines.evaluated(after)[0] is after.params


def test_average_of_the_parameters_is_what_is_evaluated():
    learner = baselines.learner(NET, SUPERVISED, optax.sgd(0.5), average_decay=0.75)
    state = learner.init(jax.random.key(0))
    one, _ = learner.update(state, _batch())
    two, _ = learner.update(one, _batch())
    for first, second, third, mean in zip(
        *map(jax.tree.leaves, (state.params, one.params, two.params, baselines.evaluated(two)[0])),
        strict=True,
    ):
        wanted = 0.75 * (0.75 * first + 0.25 * second) + 0.25 * third
        np.testing.assert_allclose(mean, wanted, rtol=1e-5, atol=1e-7)


def _pair(objective, feedback="cosine", net=NET, view="strong"):
    teacher = teaching.teacher(net, objective, soft=feedback == "exact")
    baseline = None if feedback == "exact" else moving_average(0.9)
    return meta_pseudo_labels(
        teacher,
        teaching.student(net, view=view, smoothing=0.1),
        optax.sgd(0.1, 0.9, nesterov=True),
        optax.sgd(0.1, 0.9, nesterov=True),
        feedback=feedback,
        baseline=baseline,
    )


@pytest.mark.parametrize("feedback", ["cosine", "difference", "per_label", "exact"])
def test_contract_of_teacher_and_student(feedback):
    _, metrics = check_learner(_pair(OBJECTIVES["uda"], feedback), _batch())
    assert {"teacher_uda_loss", "teacher_accuracy", "labelled_loss", "h"} <= set(metrics)


def test_contract_with_batch_normalization_and_dropout():
    net = wide_resnet.wide_resnet((8, 8, 1), CLASSES, depth=10, width=1, base=4, dropout=0.3)
    batch = _batch()
    for view in ("labelled", "weak", "strong"):
        batch[view] = jnp.tile(batch[view][:, :, None, None], (1, 2, 8, 1))
    state, _ = check_learner(_pair(OBJECTIVES["uda"], net=net), batch, tolerance=2e-3)
    assert jax.tree.leaves(state.student.stats)


def test_student_never_learns_from_labelled_inputs():
    """Other labelled inputs change the teacher alone."""
    learner = _pair(OBJECTIVES["supervised"])
    state, batch = learner.init(jax.random.key(0)), _batch()
    other = batch | {"labelled": batch["labelled"] + 1.0}
    one, _ = learner.update(state, batch)
    two, _ = learner.update(state, other)
    assert jax.tree.all(
        jax.tree.map(lambda a, b: bool(jnp.all(a == b)), one.student.params, two.student.params)
    )
    assert not jax.tree.all(
        jax.tree.map(lambda a, b: bool(jnp.all(a == b)), one.teacher.params, two.teacher.params)
    )


def test_teacher_labels_the_weak_view_and_the_student_sees_its_own():
    state, batch = _pair(None).init(jax.random.key(0)), _batch()
    for view in ("weak", "strong"):
        learner = _pair(None, view=view)
        one, _ = learner.update(state, batch)
        two, _ = learner.update(state, batch | {"strong": batch["strong"] * 2.0})
        same = jax.tree.map(
            lambda a, b: bool(jnp.all(a == b)), one.student.params, two.student.params
        )
        assert jax.tree.all(same) == (view == "weak")


def test_reduced_teacher_starts_near_its_input_and_learns():
    net = perceptron.reduced_teacher(CLASSES, 16)
    teacher = teaching.reduced_teacher(net, identity=1.0)
    params, stats = teacher.init(jax.random.key(0))
    batch = _batch()
    logits, _ = teacher.forward(params, stats, batch, jax.random.key(1))
    assert float(jnp.abs(jax.nn.softmax(logits) - batch["targets"]).max()) < 0.25
    assert teaching.reduced_teacher(net).auxiliary is None
    learner = meta_pseudo_labels(
        teacher, teaching.student(NET), optax.sgd(0.1), optax.sgd(0.1), feedback="cosine"
    )
    check_learner(learner, batch)


def test_optimizers_of_the_seed():
    schedule = optimizers.cosine_schedule(0.4, 100, warmup=10)
    values = [float(schedule(step)) for step in (0, 5, 10, 55, 100)]
    np.testing.assert_allclose(values, [0.0, 0.2, 0.4, 0.2, 0.0], atol=1e-6)
    with pytest.raises(ValueError, match="warmup"):
        optimizers.cosine_schedule(0.4, 100, warmup=100)
    params = {"kernel": jnp.full((2, 2), 2.0), "bias": jnp.full((2,), 2.0)}
    zero = jax.tree.map(jnp.zeros_like, params)
    transforms = {
        "nesterov": optimizers.nesterov(0.1, weight_decay=0.01),
        "rmsprop": optimizers.rmsprop(0.1, weight_decay=0.01),
        "lars": optimizers.lars(0.1, weight_decay=0.01),
    }
    for name, tx in transforms.items():
        updates, _ = tx.update(zero, tx.init(params), params)
        assert not jnp.any(updates["bias"]), name  # biases do not decay
        assert jnp.all(updates["kernel"] < 0), name
    # Nesterov's first step: (1 + momentum) times the decayed gradient.
    updates, _ = transforms["nesterov"].update(zero, transforms["nesterov"].init(params), params)
    np.testing.assert_allclose(updates["kernel"], -0.1 * 1.9 * 0.01 * 2.0, rtol=1e-5)
    fast = optimizers.rmsprop(optimizers.staircase_schedule(0.5, decay_steps=2, warmup=2))
    opt = fast.init(params)
    ones = jax.tree.map(jnp.ones_like, params)
    first, opt = fast.update(ones, opt, params)
    assert not jnp.any(first["kernel"])  # the warm-up starts at 0
