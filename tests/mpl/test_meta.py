"""The meta gradient against finite differences, enumeration, and autodiff of plain formulas."""

import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mpl import meta
from mpl.meta import Student, Teacher, meta_pseudo_labels
from nco.policy_gradient import moving_average
from tests.contract import check_learner

ETA = 1e-2
CLASSES, UNLABELLED = 3, 3
LABELINGS = np.eye(CLASSES)[list(itertools.product(range(CLASSES), repeat=UNLABELLED))]


def _linear(params, inputs):
    return jnp.tanh(inputs @ params["w"]) @ params["v"]


def _cross_entropy(target, logits):
    return -jnp.sum(target * jax.nn.log_softmax(logits), axis=-1)


def _init(key):
    k_w, k_v = jax.random.split(key)
    return {"w": jax.random.normal(k_w, (2, 4)), "v": jax.random.normal(k_v, (4, CLASSES))}, ()


def _teacher(soft=False, auxiliary=None):
    """Its labels are drawn, or are the batch's own `forced` ones."""

    def forward(params, stats, batch, key):
        return {"logits": _linear(params, batch["x_u"]), "forced": batch["forced"]}, stats

    def propose(key, outputs):
        logits = outputs["logits"]
        if soft:
            return jax.nn.softmax(logits)
        drawn = jax.nn.one_hot(jax.random.categorical(key, logits), CLASSES, dtype=logits.dtype)
        return jnp.where(jnp.any(outputs["forced"] > 0), outputs["forced"], drawn)

    def nll(outputs, labels):
        return _cross_entropy(labels, outputs["logits"])

    return Teacher(_init, forward, propose, nll, auxiliary)


def _student():
    def losses(params, stats, batch, labels, key):
        return _cross_entropy(labels, _linear(params, batch["x_u"])), stats, {}

    def labelled_loss(params, stats, batch, key):
        return jnp.mean(_cross_entropy(batch["y_l"], _linear(params, batch["x_l"])))

    return Student(_init, losses, labelled_loss)


def _batch(forced=None):
    k_u, k_l, k_y = jax.random.split(jax.random.key(5), 3)
    return {
        "x_u": jax.random.normal(k_u, (UNLABELLED, 2)),
        "x_l": jax.random.normal(k_l, (5, 2)),
        "y_l": jax.nn.one_hot(jax.random.randint(k_y, (5,), 0, CLASSES), CLASSES, dtype=float),
        "forced": jnp.asarray(np.zeros((UNLABELLED, CLASSES)) if forced is None else forced),
    }


def _learner(feedback, student_tx=None, soft=False, **options):
    tx = optax.sgd(ETA) if student_tx is None else student_tx
    # The teacher's step is its gradient.
    return meta_pseudo_labels(
        _teacher(soft), _student(), optax.sgd(1.0), tx, feedback=feedback, **options
    )


def _gradient(learner, state, batch):
    after, metrics = learner.update(state, batch)
    return jax.tree.map(jnp.subtract, state.teacher.params, after.teacher.params), metrics


def _flat(tree):
    return np.concatenate([np.asarray(leaf).ravel() for leaf in jax.tree.leaves(tree)])


def _objective(student_params, batch, tx, opt_state):
    """L_l(theta_S') as a function of theta_T, in plain formulas (eq. 5.3)."""

    def of_teacher(params):
        labels = jax.nn.softmax(_linear(params, batch["x_u"]))

        def pseudo(p):
            return jnp.mean(_cross_entropy(labels, _linear(p, batch["x_u"])))

        updates, _ = tx.update(jax.grad(pseudo)(student_params), opt_state, student_params)
        moved = optax.apply_updates(student_params, updates)
        return _student().labelled_loss(moved, (), batch, None)

    return of_teacher


def test_two_parameters_against_finite_differences_of_the_bilevel_objective(x64):
    """One parameter each: T gives class 1 to x with sigmoid(theta_T x), S likewise."""
    x_u, x_l, y_l = jnp.array([0.7, -1.2, 2.0]), jnp.array([1.5, -0.3]), jnp.array([1.0, 0.0])

    def bce(target, logit):
        return jnp.logaddexp(0.0, logit) - target * logit

    def forward(params, stats, batch, key):
        return params * x_u, stats

    teacher = Teacher(
        lambda key: (jnp.array(0.4), ()), forward, lambda key, out: jax.nn.sigmoid(out), bce
    )
    student = Student(
        lambda key: (jnp.array(-0.6), ()),
        lambda params, stats, batch, labels, key: (bce(labels, params * x_u), stats, {}),
        lambda params, stats, batch, key: jnp.mean(bce(y_l, params * x_l)),
    )
    eta = 0.5  # not small: the gradient is that of one whole step
    learner = meta_pseudo_labels(teacher, student, optax.sgd(1.0), optax.sgd(eta), feedback="exact")
    state = learner.init(jax.random.key(0))
    got, _ = _gradient(learner, state, {})

    def bilevel(theta_t):
        """NumPy, step by step."""
        labels = 1.0 / (1.0 + np.exp(-theta_t * np.asarray(x_u)))
        s = 1.0 / (1.0 + np.exp(0.6 * np.asarray(x_u)))
        moved = -0.6 - eta * np.mean((s - labels) * np.asarray(x_u))
        logit = moved * np.asarray(x_l)
        return np.mean(np.logaddexp(0.0, logit) - np.asarray(y_l) * logit)

    step = 1e-5
    wanted = (bilevel(0.4 + step) - bilevel(0.4 - step)) / (2 * step)
    np.testing.assert_allclose(float(got), wanted, rtol=1e-8)


@pytest.mark.parametrize(
    "tx",
    [
        optax.sgd(0.3),
        optax.sgd(0.3, 0.9, nesterov=True),
        optax.adam(0.05),
        optax.chain(optax.add_decayed_weights(0.1), optax.sgd(0.3)),
    ],
    ids=["sgd", "nesterov", "adam", "weight_decay"],
)
def test_exact_feedback_is_autodiff_through_the_students_step(x64, tx):
    learner = _learner("exact", tx, soft=True)
    state = learner.init(jax.random.key(1))
    state, _ = learner.update(state, _batch())  # so that momenta are not zero
    got, _ = _gradient(learner, state, _batch())
    objective = _objective(state.student.params, _batch(), tx, state.student.opt_state)
    wanted = jax.grad(objective)(state.teacher.params)
    np.testing.assert_allclose(_flat(got), _flat(wanted), rtol=1e-9, atol=1e-12)


class _Labelings(NamedTuple):
    """All labelings of the batch, in NumPy."""

    probability: np.ndarray
    gradients: Any  # the teacher's, of each labeling
    metrics: dict[str, np.ndarray]  # of each
    mean: Any  # of the gradients
    exact: Any  # the gradient of eq. 5.3


FORMS = {
    "dot": {"feedback": "dot"},
    "update": {"feedback": "dot", "along": "update"},
    "difference": {"feedback": "difference"},
    "cosine": {"feedback": "cosine"},
    "per_label": {"feedback": "per_label"},
}


@pytest.fixture(scope="module")
def labelings():
    """By form of h: all forms in one program, since their student's step is one."""
    learners = {name: _learner(learning_rate=ETA, **form) for name, form in FORMS.items()}

    @jax.jit
    def run(labelings):
        state, batch = learners["dot"].init(jax.random.key(1)), _batch()

        def one(forced):
            taught = {
                name: _gradient(learner, state, batch | {"forced": forced})
                for name, learner in learners.items()
            }
            log_prob = jax.nn.log_softmax(_linear(state.teacher.params, batch["x_u"]))
            return jnp.exp(jnp.sum(forced * log_prob)), taught

        student = state.student
        exact = jax.grad(_objective(student.params, batch, optax.sgd(ETA), student.opt_state))
        return *jax.vmap(one)(labelings), exact(state.teacher.params)

    with jax.enable_x64(True):
        probability, taught, exact = jax.device_get(run(jnp.asarray(LABELINGS)))
    found = {}
    for name, (gradients, metrics) in taught.items():
        mean = jax.tree.map(lambda leaf: np.tensordot(probability, leaf, 1), gradients)
        found[name] = _Labelings(probability, gradients, metrics, mean, exact)
    return found


def test_mean_of_the_estimator_over_draws_is_its_expectation_over_labelings(x64, labelings):
    probability, gradients, _, wanted, _ = labelings["dot"]
    np.testing.assert_allclose(probability.sum(), 1.0, rtol=1e-5)
    learner = _learner("dot", learning_rate=ETA)
    draws = 20_000

    @jax.jit
    def draw(seeds):
        state, batch = learner.init(jax.random.key(1)), _batch()

        def one(seed):
            another = state.replace(key=jax.random.key(seed))
            return _gradient(learner, another, batch)[0]

        return jax.vmap(one)(seeds)

    drawn = jax.device_get(draw(np.arange(draws)))
    for got, each, mean in zip(*map(jax.tree.leaves, (drawn, gradients, wanted)), strict=True):
        second = np.tensordot(probability, np.square(each), 1)
        error = np.sqrt(np.maximum(second - np.square(mean), 0.0) / draws)
        assert np.all(np.abs(got.mean(0) - mean) < 4.5 * error + 1e-7)


def test_dot_product_is_the_gradient_up_to_the_number_of_labels(labelings):
    """B times 5.12 and "per_label" have the gradient of 5.3 as mean, up to the order of eta^2."""
    dot, exact = labelings["dot"][-2:]
    scale = np.linalg.norm(_flat(exact))
    assert np.linalg.norm(UNLABELLED * _flat(dot) - _flat(exact)) < 0.02 * scale
    assert np.linalg.norm(_flat(dot) - _flat(exact)) > 0.5 * scale  # the factor is needed
    each, exact = labelings["per_label"][-2:]
    assert np.linalg.norm(_flat(each) - _flat(exact)) < 0.02 * scale


def test_each_labels_own_feedback_varies_less(labelings):
    spread = {}
    for feedback, factor in (("dot", UNLABELLED), ("per_label", 1)):
        probability, gradients, _, mean, _ = labelings[feedback]
        spread[feedback] = sum(
            np.tensordot(probability, np.square(factor * (each - middle[None])), 1).sum()
            for each, middle in zip(*map(jax.tree.leaves, (gradients, mean)), strict=True)
        )
    assert spread["per_label"] < 0.9 * spread["dot"]


def _cosine_by_hand(index):
    """In NumPy, from gradients at theta_S and theta_S'."""

    @jax.jit
    def gradients(labels):
        before = _learner("dot", learning_rate=ETA).init(jax.random.key(1)).student.params

        def pseudo(params):
            return jnp.mean(_cross_entropy(labels, _linear(params, _batch()["x_u"])))

        gradient = jax.grad(pseudo)(before)
        after = jax.tree.map(lambda p, g: p - ETA * g, before, gradient)
        return gradient, jax.grad(_student().labelled_loss)(after, (), _batch(), None)

    gradient, slope = map(_flat, gradients(jnp.asarray(LABELINGS[index])))
    return slope @ gradient / np.linalg.norm(slope) / np.linalg.norm(gradient)


def test_forms_of_h_agree_where_they_should(x64, labelings):
    """Signs, factors, and the order of the loss difference's error."""
    forms = ("dot", "update", "difference", "cosine")
    dot, update, difference, cosine = (labelings[form].metrics for form in forms)
    np.testing.assert_allclose(update["h"], dot["h"], rtol=1e-9)  # SGD: its step is eta g_u
    for index in (0, 11):
        np.testing.assert_allclose(cosine["h"][index], _cosine_by_hand(index), rtol=1e-9)
    assert np.all(np.sign(cosine["h"]) == np.sign(dot["h"]))
    assert np.abs(cosine["h"]).max() <= 1
    assert np.ptp(dot["h"] / cosine["h"]) > 1e-4  # the norms differ: no constant factor
    largest = np.abs(dot["h"]).max()
    assert np.abs(difference["h"] - dot["h"]).max() < 0.05 * largest
    assert np.abs(difference["h"] - dot["h"]).max() > 1e-9 * largest
    lowered = difference["h"] > 0
    assert 0 < lowered.sum() < len(lowered)  # both signs were seen


def test_error_of_the_loss_difference_falls_with_the_square_of_the_rate(x64):
    errors = []
    for eta in (1e-2, 1e-3):
        found = {}
        for feedback in ("dot", "difference"):
            learner = _learner(feedback, optax.sgd(eta), learning_rate=eta)
            state = learner.init(jax.random.key(1))
            found[feedback] = learner.update(state, _batch(LABELINGS[5]))[1]["h"]
        errors.append(abs(float(found["dot"] - found["difference"])))
    assert 80 < errors[0] / errors[1] < 125


def test_a_positive_h_raises_the_probability_of_the_labels():
    learner = _learner("dot", learning_rate=1.0)

    @jax.jit
    def learn(forced):
        state, batch = learner.init(jax.random.key(1)), _batch(forced)
        after, metrics = learner.update(state, batch)
        before, later = (
            -jnp.sum(_cross_entropy(forced, _linear(side.params, batch["x_u"])))
            for side in (state.teacher, after.teacher)
        )
        return later - before, metrics["h"]

    for forced in LABELINGS[::5].astype(np.float32):
        gain, h = learn(forced)
        assert np.sign(gain) == np.sign(h)


def test_dot_reads_a_schedule_and_the_weight_of_the_feedback_is_a_factor():
    fixed = _learner("dot", learning_rate=0.25, feedback_weight=3.0)
    falling = _learner("dot", learning_rate=lambda step: 0.25 / (1.0 + step))

    @jax.jit
    def run(batch):
        state = fixed.init(jax.random.key(1))
        later = state.replace(step=state.step + 1)
        pairs = ((falling, state), (fixed, state), (falling, later))
        return [_gradient(*pair, batch) for pair in pairs]

    (one, said), (three, _), (_, later) = run(_batch(LABELINGS[4].astype(np.float32)))
    np.testing.assert_allclose(_flat(three), 3.0 * _flat(one), rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(later["h"], said["h"] / 2.0, rtol=1e-5)


def test_along_the_update_of_another_optimizer(x64):
    """6.18: the optimiser's step stands for the gradient, whatever it is."""
    tx = optax.adam(0.05)
    learner = _learner("dot", tx, along="update")
    state, _ = learner.update(learner.init(jax.random.key(1)), _batch())
    after, metrics = learner.update(state, _batch(LABELINGS[7]))
    step = jax.tree.map(jnp.subtract, state.student.params, after.student.params)
    slope = jax.grad(_student().labelled_loss)(after.student.params, (), _batch(), None)
    np.testing.assert_allclose(metrics["h"], _flat(slope) @ _flat(step), rtol=1e-9)


def test_baseline_is_subtracted_and_the_teachers_own_losses_are_added():
    def auxiliary(outputs, batch, step):
        loss = jnp.mean(jnp.square(outputs["logits"]))
        return loss, {"own": loss}

    def learner(**own):
        rates, options = (1.0, ETA), {"feedback": "cosine", "baseline": moving_average(0.5)}
        return meta_pseudo_labels(_teacher(**own), _student(), *map(optax.sgd, rates), **options)

    plain, both = learner(), learner(auxiliary=auxiliary)
    batch, forced = (_batch(LABELINGS[i].astype(np.float32)) for i in (3, 8))
    state, first = jax.jit(lambda: plain.update(plain.init(jax.random.key(1)), batch))()

    @jax.jit
    def run(state):
        def nll(params):
            return jnp.mean(_cross_entropy(forced["forced"], _linear(params, forced["x_u"])))

        def square(params):
            return jnp.mean(jnp.square(_linear(params, forced["x_u"])))

        by_hand = (jax.grad(loss)(state.teacher.params) for loss in (nll, square))
        return _gradient(plain, state, forced), _gradient(both, state, forced), *by_hand

    (feedback, metrics), (total, said), of_nll, own = run(state)
    assert float(metrics["h"]) != float(first["h"])
    advantage = metrics["h"] - first["h"]  # the average before this update
    wanted = np.asarray(advantage) * _flat(of_nll)
    np.testing.assert_allclose(_flat(feedback), wanted, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(_flat(total), wanted + _flat(own), rtol=1e-4, atol=1e-6)
    assert float(said["own"]) > 0


@pytest.mark.parametrize("feedback", meta.FEEDBACKS)
def test_contract(feedback):
    exact = feedback == "exact"
    options = {"soft": exact, "baseline": None if exact else moving_average(0.9)}
    options["learning_rate"] = lambda step: 0.1 / (1.0 + step)
    check_learner(_learner(feedback, optax.sgd(0.1, 0.9), **options), _batch())


def test_bad_arguments():
    with pytest.raises(ValueError, match="feedback: expected one of cosine"):
        _learner("cosin")
    with pytest.raises(ValueError, match="along"):
        _learner("dot", along="step")
    with pytest.raises(ValueError, match="baseline"):
        _learner("exact", baseline=moving_average())
    with pytest.raises(ValueError, match="learning_rate"):
        _learner("dot")
