"""Baselines, teachers and students of images: the contract, and what each learns from."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from mpl import baselines, objectives, optimizers, teaching
from mpl.meta import meta_pseudo_labels
from mpl.models import network, perceptron, wide_resnet
from mpl.models.convolution import conv_general_dilated
from nco.policy_gradient import moving_average
from tests.contract import check_learner

CLASSES = 3
NET = network.network(perceptron.Perceptron((6,), CLASSES), (4,))


class _Normalized(nn.Module):
    """The parts of a WideResNet, one of each."""

    @nn.compact
    def __call__(self, images, *, train):
        x = nn.Conv(2, (3, 3), conv_general_dilated=conv_general_dilated)(images)
        x = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.99)(x))
        x = nn.Dropout(0.3, deterministic=not train)(jnp.mean(x, axis=(1, 2)))
        return nn.Dense(CLASSES)(x)


@jax.jit
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
    state, batch = jax.jit(learner.init)(jax.random.key(0)), _batch()
    after, metrics = jax.jit(learner.update)(state, batch)

    @jax.jit
    @jax.value_and_grad
    def loss(params):
        logits = {
            view: NET.apply(params, {}, batch[view], train=True)[0]
            for view in ("labelled", "weak", "strong")
        }
        return OBJECTIVES["uda"].loss(logits, batch, state.step)[0]

    value, grads = loss(state.params)
    wanted = jax.tree.map(lambda p, g: np.asarray(p) - 0.1 * np.asarray(g), state.params, grads)
    for got, want in zip(*map(jax.tree.leaves, (after.params, wanted)), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(metrics["loss"], value, rtol=1e-5)
    assert baselines.evaluated(after)[0] is after.params


def test_average_of_the_parameters_is_what_is_evaluated():
    learner = baselines.learner(NET, SUPERVISED, optax.sgd(0.5), average_decay=0.75)
    state, update = jax.jit(learner.init)(jax.random.key(0)), jax.jit(learner.update)
    one, _ = update(state, _batch())
    two, _ = update(one, _batch())
    trees = jax.device_get((state.params, one.params, two.params, baselines.evaluated(two)[0]))
    for first, second, third, mean in zip(*map(jax.tree.leaves, trees), strict=True):
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


@pytest.mark.parametrize(
    "net",
    [
        network.network(_Normalized(), (8, 8, 1)),
        pytest.param(
            wide_resnet.wide_resnet((8, 8, 1), CLASSES, depth=10, width=1, base=4, dropout=0.3),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["parts", "wide_resnet"],
)
def test_contract_with_batch_normalization_and_dropout(net):
    batch = _batch()
    for view in ("labelled", "weak", "strong"):
        batch[view] = np.tile(np.asarray(batch[view])[:, :, None, None], (1, 2, 8, 1))
    state, _ = check_learner(_pair(OBJECTIVES["uda"], net=net), batch, tolerance=2e-3)
    assert jax.tree.leaves(state.student.stats)


class _InNnx(nnx.Module):
    """As `_Normalized`, of vectors, with layers in a list."""

    def __init__(self, rngs):
        self.first, self.norm = nnx.Linear(4, 6, rngs=rngs), nnx.BatchNorm(6, rngs=rngs)
        self.drop, self.rest = nnx.Dropout(0.3, rngs=rngs), nnx.List([nnx.Linear(6, 3, rngs=rngs)])

    def __call__(self, inputs):
        return self.rest[0](self.drop(nnx.relu(self.norm(self.first(inputs)))))


def test_contract_with_a_module_of_nnx():
    net = network.from_nnx(_InNnx)
    state, _ = check_learner(_pair(OBJECTIVES["uda"], net=net), _batch(), tolerance=2e-3)
    params, stats = jax.device_get((state.student.params, state.student.stats))
    assert set(stats) == {"norm.mean", "norm.var"}
    assert params["rest.0.kernel"].shape == (6, 3)

    @jax.jit
    def run(params, stats, inputs):
        train = [
            net.apply(params, stats, inputs, key=jax.random.key(i), train=True) for i in (0, 1)
        ]
        return train, net.apply(params, stats, inputs, train=False)

    ((one, moved), (other, _)), (still, same) = run(params, stats, _batch()["weak"])
    assert np.any(one != other)  # dropout, by the key alone
    assert not _same(moved, stats)
    assert _same(same, stats)
    x = np.asarray(_batch()["weak"]) @ params["first.kernel"] + params["first.bias"]
    x = (x - stats["norm.mean"]) / np.sqrt(stats["norm.var"] + 1e-5)
    x = np.maximum(x * params["norm.scale"] + params["norm.bias"], 0.0)
    wanted = x @ params["rest.0.kernel"] + params["rest.0.bias"]
    np.testing.assert_allclose(still, wanted, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="key: expected one in training"):
        net.apply(params, stats, _batch()["weak"], train=True)


def _same(one, other):
    return jax.tree.all(jax.tree.map(np.array_equal, one, other))


def test_student_never_learns_from_labelled_inputs():
    """Other labelled inputs change the teacher alone."""
    learner = _pair(OBJECTIVES["supervised"])
    state, batch = jax.jit(learner.init)(jax.random.key(0)), _batch()
    other = batch | {"labelled": batch["labelled"] + 1.0}
    update = jax.jit(learner.update)
    one, _ = update(state, batch)
    two, _ = update(state, other)
    assert _same(one.student.params, two.student.params)
    assert not _same(one.teacher.params, two.teacher.params)


def test_teacher_labels_the_weak_view_and_the_student_sees_its_own():
    state, batch = jax.jit(_pair(None).init)(jax.random.key(0)), _batch()
    for view in ("weak", "strong"):
        update = jax.jit(_pair(None, view=view).update)
        one, _ = update(state, batch)
        two, _ = update(state, batch | {"strong": batch["strong"] * 2.0})
        assert _same(one.student.params, two.student.params) == (view == "weak")


def test_reduced_teacher_starts_near_its_input_and_learns():
    net = perceptron.reduced_teacher(CLASSES, 16)
    teacher = teaching.reduced_teacher(net, identity=1.0)
    batch = _batch()

    @jax.jit
    def distribution():
        params, stats = teacher.init(jax.random.key(0))
        logits, _ = teacher.forward(params, stats, batch, jax.random.key(1))
        return jax.nn.softmax(logits)

    assert np.abs(np.asarray(distribution()) - np.asarray(batch["targets"])).max() < 0.25
    assert teaching.reduced_teacher(net).auxiliary is None
    learner = meta_pseudo_labels(
        teacher, teaching.student(NET), optax.sgd(0.1), optax.sgd(0.1), feedback="cosine"
    )
    check_learner(learner, batch)


def test_optimizers_of_the_thesis():
    schedule = optimizers.cosine_schedule(0.4, 100, warmup=10)
    values = jax.jit(lambda: [schedule(step) for step in (0, 5, 10, 55, 100)])()
    np.testing.assert_allclose(values, [0.0, 0.2, 0.4, 0.2, 0.0], atol=1e-6)
    with pytest.raises(ValueError, match="warmup"):
        optimizers.cosine_schedule(0.4, 100, warmup=100)
    params = {"kernel": np.full((2, 2), 2.0, np.float32), "bias": np.full((2,), 2.0, np.float32)}
    zero = jax.tree.map(np.zeros_like, params)
    transforms = {
        "nesterov": optimizers.nesterov(0.1, weight_decay=0.01),
        "rmsprop": optimizers.rmsprop(0.1, weight_decay=0.01),
        "lars": optimizers.lars(0.1, weight_decay=0.01),
    }

    @jax.jit
    def first_updates(grads, params):
        return {
            name: tx.update(grads, tx.init(params), params)[0] for name, tx in transforms.items()
        }

    updates = jax.device_get(first_updates(zero, params))
    assert set(updates) == set(transforms)
    for name, update in updates.items():
        assert not np.any(update["bias"]), name  # biases do not decay
        assert np.all(update["kernel"] < 0), name
    # Nesterov's first step: (1 + momentum) times the decayed gradient.
    np.testing.assert_allclose(updates["nesterov"]["kernel"], -0.1 * 1.9 * 0.01 * 2.0, rtol=1e-5)
    fast = optimizers.rmsprop(optimizers.staircase_schedule(0.5, decay_steps=2, warmup=2))
    ones = jax.tree.map(np.ones_like, params)
    first, _ = jax.jit(lambda: fast.update(ones, fast.init(params), params))()
    assert not np.any(first["kernel"])  # the warm-up starts at 0
