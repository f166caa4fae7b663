"""One architecture trained alone, and the tasks that it shares with searches."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from enas import decisions, fixed, tasks
from enas.decisions import Decision
from enas.spaces import rnn
from enas.supernet import Supernet
from tests.contract import check_learner

CELL = "1: tanh | 2: 1 relu"
TOKENS = jnp.array([[0, 1, 2, 3], [3, 2, 1, 0]], jnp.int32)


def words(starts, **options):
    batch = {"tokens": TOKENS[:, :3], "targets": TOKENS[:, 1:], "starts": jnp.array(starts)}
    supernet = rnn.supernet(vocabulary=4, nodes=2, hidden=3, scale=0.5, **options)
    return tasks.language(supernet, batch_size=2, hidden=3, constant=80.0), batch


def linear(auxiliary=False):
    """Two classes from four pixels; the second node may stay out."""
    space = (Decision("1", ("sum", "none")),)

    def apply(weights, choices, inputs, *, train, key=None, averages=None):
        flat = inputs.reshape(len(inputs), -1)
        logits = jnp.where(jnp.asarray(choices[0]) == 0, flat @ weights["w"], 0.0 * flat[:, :2])
        return ((logits, -logits) if auxiliary else logits), averages

    init = lambda key: {"w": jax.random.normal(key, (4, 2))}  # noqa: E731
    return Supernet(space, init, apply, lambda weights, choices: weights, lambda choices: {})


IMAGES = {
    "images": jnp.arange(12.0).reshape(3, 2, 2, 1) / 6,
    "labels": jnp.array([0, 1, 1], jnp.int32),
}


def test_training_one_architecture_keeps_the_contract():
    task, batch = words(False)
    choices = decisions.parse(task.supernet.decisions, CELL)
    state, _ = check_learner(fixed.fixed(task, choices, optax.sgd(0.1)), batch)
    (mean, var), *_ = state.averages.values()
    assert np.any(mean != 0)
    assert np.any(var != 1)
    assert np.any(state.carry != 0)


def test_an_update_is_a_step_down_the_gradient_of_its_own_weights():
    task, batch = words(False, normalize=False)
    choices = decisions.parse(task.supernet.decisions, CELL)
    learner = fixed.fixed(task, choices, optax.sgd(0.1))
    state = learner.init(jax.random.key(0))
    whole = task.supernet.init(jax.random.fold_in(state.key, 2))
    assert sum(x.size for x in jax.tree.leaves(state.weights)) <= sum(
        x.size for x in jax.tree.leaves(whole)
    )

    def loss(weights):
        return task.judge(weights, choices, state.carry, batch, train=True).loss

    wanted = jax.tree.map(lambda w, g: w - 0.1 * g, state.weights, jax.grad(loss)(state.weights))
    after, said = jax.jit(learner.update)(state, batch)
    for got, want in zip(jax.tree.leaves(after.weights), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-6)
    assert float(said["loss"]) == pytest.approx(float(loss(state.weights)), abs=1e-6)


def test_text_goes_on_where_it_stopped_and_starts_again_where_it_must():
    task, batch = words(False, normalize=False)
    choices = decisions.parse(task.supernet.decisions, CELL)
    weights = task.supernet.init(jax.random.key(0))
    carry = jnp.ones((2, 3))
    on = task.judge(weights, choices, carry, batch, train=False)
    again = task.judge(weights, choices, carry, words(True)[1], train=False)
    empty = task.judge(weights, choices, jnp.zeros((2, 3)), batch, train=False)
    assert float(again.loss) == float(empty.loss)
    assert float(on.loss) != float(empty.loss)
    none = task.judge(weights, choices, None, batch, train=False)
    assert float(none.loss) == float(empty.loss)
    slope = jax.grad(lambda c: jnp.sum(task.judge(weights, choices, c, batch, train=True).carry))
    assert not np.any(slope(carry))  # truncated


def test_rewards_are_accuracy_and_c_over_perplexity():
    task, batch = words(True)
    weights = task.supernet.init(jax.random.key(0))
    choices = jnp.asarray(decisions.parse(task.supernet.decisions, CELL))
    loss = task.judge(weights, choices, None, batch, train=False).loss
    reward = tasks.child(task).reward(weights, choices, batch)
    np.testing.assert_allclose(reward, 80.0 / np.exp(loss), rtol=1e-6)
    image_task = tasks.images(linear())
    weights = {"w": jnp.zeros((4, 2)).at[:, 1].set(1.0)}  # always class 1, but where all are 0
    chosen = jnp.zeros(1, jnp.int32)
    assert float(tasks.child(image_task).reward(weights, chosen, IMAGES)) == pytest.approx(2 / 3)


def test_smoothing_and_the_auxiliary_head_are_of_training_alone():
    weights = linear().init(jax.random.key(0))
    choices = np.zeros(1, np.int32)

    def loss(task, train):
        return float(task.judge(weights, choices, (), IMAGES, train=train).loss)

    plain, smooth = tasks.images(linear()), tasks.images(linear(), smoothing=0.2)
    aside = tasks.images(linear(auxiliary=True), auxiliary_weight=0.4)
    assert loss(plain, True) == loss(plain, False) == loss(smooth, False) == loss(aside, False)
    logits = IMAGES["images"].reshape(3, 4) @ weights["w"]
    targets = 0.8 * jax.nn.one_hot(IMAGES["labels"], 2) + 0.1
    wanted = float(jnp.mean(optax.softmax_cross_entropy(logits, targets)))
    assert loss(smooth, True) == pytest.approx(wanted, rel=1e-5)
    other = float(
        jnp.mean(optax.softmax_cross_entropy_with_integer_labels(-logits, IMAGES["labels"]))
    )
    assert loss(aside, True) == pytest.approx(loss(plain, True) + 0.4 * other, rel=1e-5)
