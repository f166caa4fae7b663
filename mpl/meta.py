"""The meta update: a teacher learns from what its labels do to a student (Pham 2021, ch. 5).

One update, for any pair of models (images, points, sentences):

1. the teacher T sees the batch once and proposes labels y_u for the unlabelled inputs x_u;
2. the student S takes one step on them: theta_S' = theta_S - eta_S g_u,
   g_u = grad CE(y_u, S(x_u; theta_S));
3. the student's loss on labelled data at theta_S' tells how good these labels were: h;
4. the teacher's gradient is h grad CE(y_u, T(x_u)) (eq. 5.12) plus that of its own losses, all
   from the one pass of step 1.

Decisions where the thesis contradicts itself, is silent, or is wrong:

- Equations 5.10 to 5.12 write S(x_u; theta_T) for the teacher's prediction, and its last equation
  announces the gradient of L_u: both are slips. It is T(x_u; theta_T), and the gradient of L_l.
- Algorithm 3 multiplies by eta_S twice, in h and again in g_T; the derivation does it once, and so
  does `feedback`. The "reused" student update of section 5.2 has no eta_S; it is there in step 2.
  Equations 5.4 to 5.7 write the student's gradient as if it were one in eta_S; it is in theta_S.
- CE is the average over a batch, so grad log P(y_u) in 5.10 is -B grad CE for B labels drawn
  together. Equation 5.12 leaves the factor B out: with `feedback="dot"` the teacher's gradient is,
  in expectation and up to the order of eta_S^2, 1/B of the gradient of 5.3. The factor is constant,
  so only the teacher's learning rate would tell. "per_label" needs no such factor.
- Algorithm 3 trains UDA on x_l, the text ("additionally train the teacher on unlabeled data") on
  x_u; `Teacher.auxiliary` is given all outputs, and `mpl.objectives.uda` follows the text.
- "Cosine distance" (section 5.7.6) is the cosine *similarity*, in [-1, 1] and of the dot product's
  sign, as the section says. Equation 5.12 would keep eta_S before it, Algorithm 3 has eta_S inside
  h: here the cosine stands for the whole h, without eta_S, which would let the feedback fade with
  the student's schedule, beside losses of the teacher that do not.
- Weight decay is the optimiser's own (`optax.add_decayed_weights`): g_u is of the cross-entropy
  alone, as 5.12 has it. The thesis's h depended on its decay (section 5.7.6). What follows the
  whole step (`along="update"`, "difference", "per_label", "exact") follows its decay too.

The baseline b (section 5.7.6) and the loss (REINFORCE, eq. 5.10) are `nco.policy_gradient`'s.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from nco.policy_gradient import Baseline, Learner, Metrics, reinforce_loss

PyTree = Any
FEEDBACKS = ("cosine", "dot", "difference", "per_label", "exact")


class Teacher(NamedTuple):
    """A model that proposes labels, as pure functions.

    Attributes:
        init: `(key) -> (params, stats)`; `stats` is what changes without a gradient, such as the
            averages of batch normalization, or `()`.
        forward: `(params, stats, batch, key) -> (outputs, stats)`: one pass over all that it needs
            to see of a batch; all outputs are floats. Every loss below is a function of its
            outputs, so that the pass is done once, and differentiated once.
        propose: `(key, outputs) -> labels`, a pytree with one label an unlabelled input. With
            feedback "exact" it has to be differentiable in the outputs: the whole distribution, as
            a label that is drawn has no gradient.
        nll: `(outputs, labels) -> [B]`: -log P(label | input), nats, one for each object; a soft
            label gives its cross-entropy.
        auxiliary: `(outputs, batch, step) -> (loss, Metrics)`: the teacher's other losses,
            supervised and UDA; `None` for none.
    """

    init: Callable[[Array], tuple[PyTree, PyTree]]
    forward: Callable[..., tuple[PyTree, PyTree]]
    propose: Callable[..., PyTree]
    nll: Callable[..., Array]
    auxiliary: Callable[..., tuple[Array, Metrics]] | None = None


class Student(NamedTuple):
    """A model that learns from a teacher's labels, as pure functions.

    Attributes:
        init: `(key) -> (params, stats)`, as `Teacher.init`.
        losses: `(params, stats, batch, labels, key) -> ([B], stats, Metrics)`: CE(label, S(input))
            of each unlabelled input, nats, and what else is to be recorded.
        labelled_loss: `(params, stats, batch, key) -> scalar`: L_l, the mean CE on labelled data.
    """

    init: Callable[[Array], tuple[PyTree, PyTree]]
    losses: Callable[..., tuple[Array, PyTree, Metrics]]
    labelled_loss: Callable[..., Array]


@flax.struct.dataclass
class Side:
    """One of the two models: parameters, statistics without a gradient, its optimiser's state."""

    params: PyTree
    stats: PyTree
    opt_state: PyTree


@flax.struct.dataclass
class State:
    """All that a run needs to go on; `baseline` is b's state, the rest as in `nco`."""

    step: Array
    key: Array
    teacher: Side
    student: Side
    baseline: PyTree


def cosine(left: PyTree, right: PyTree) -> Float[Array, ""]:
    """Cosine similarity of two gradients, in [-1, 1]; 0 where one of them vanishes."""
    norms = optax.tree.norm(left) * optax.tree.norm(right)
    return optax.tree.vdot(left, right) / jnp.maximum(norms, float(jnp.finfo(jnp.float32).tiny))


def meta_pseudo_labels(
    teacher: Teacher,
    student: Student,
    teacher_tx: optax.GradientTransformation,
    student_tx: optax.GradientTransformation,
    *,
    feedback: str = "cosine",
    along: str = "gradient",
    learning_rate: Callable[[Array], Array] | float | None = None,
    baseline: Baseline | None = None,
    feedback_weight: float = 1.0,
) -> Learner:
    """A `Learner` whose update is one iteration of Algorithm 3.

    `init(key)` makes the state, `update(state, batch)` the next one and its metrics: h, its
    advantage h - b, the losses, the cosine, and what teacher and student report.

    A batch is what the two models read; the update itself looks at none of it. For the classifiers
    of `mpl.teaching` it is a dict of L labelled and U unlabelled inputs of any one shape:

    - "labelled": float32 `[L, ...]`;
    - "labels": int32 `[L]`, classes from 0, or float32 `[L, K]`, distributions;
    - "weak": float32 `[U, ...]`, the unlabelled inputs as the teacher sees and labels them;
    - "strong": float32 `[U, ...]`, the same inputs under stronger augmentation, for the student and
      for UDA; not needed with `view="weak"` for the student and a teacher without UDA;
    - "targets": float32 `[U, K]`, a fixed teacher's distributions, for `reduced_teacher` and the
      objective `pseudo_labels`.

    The feedback h, one number for all labels of a batch unless said otherwise:

    - "cosine": cos(grad L_l(theta_S'), g_u), the thesis's choice (section 5.7.6);
    - "dot": eta_S <grad L_l(theta_S'), g_u>, eq. 5.12;
    - "difference": L_l(theta_S) - L_l(theta_S'): by Taylor's theorem equal to "dot" up to the order
      of eta_S^2 (with SGD); no gradient on labelled data, but one more forward pass;
    - "per_label": each label has its own h_i = eta_S <grad L_l(theta_S'), g_i>, so that no label
      is praised or blamed for what others did; one more forward pass (`jax.jvp`). The teacher's
      gradient is mean_i h_i grad CE_i: the expectation of B times "dot", as a rule with less
      variance. With an optimiser other than SGD, its Jacobian stands for eta_S;
    - "exact": labels are the teacher's whole distribution and the gradient of 5.3 is followed
      through the student's step, optimiser included. Nothing is drawn; no baseline is used.

    Args:
        teacher: proposes labels (`mpl.teaching.teacher` makes one of a network).
        student: learns from them (`mpl.teaching.student`).
        teacher_tx: the teacher's optimiser.
        student_tx: the student's.
        feedback: one of `FEEDBACKS`.
        along: what stands for the student's step in "cosine" and "dot": "gradient" (g_u, as
            printed) or "update", the optimiser's whole step theta_S - theta_S', which 6.18 puts in
            its place for optimisers other than SGD (with SGD they agree).
        learning_rate: eta_S, a number or a function of the step (as float32); read by "dot" along
            "gradient".
        baseline: b, subtracted from h (`nco.policy_gradient.moving_average`); `None` for none.
        feedback_weight: weight of the feedback's gradient beside the teacher's own losses (1 in the
            thesis); 0 is the control, whose teacher hears nothing of its student.

    Raises:
        ValueError: an unknown `feedback` or `along`, a baseline with "exact", or no
            `learning_rate` for "dot" along "gradient".
    """
    if feedback not in FEEDBACKS:
        raise ValueError(f"feedback: expected one of {', '.join(FEEDBACKS)}; got {feedback!r}")
    if along not in ("gradient", "update"):
        raise ValueError(f"along: expected gradient or update; got {along!r}")
    if feedback == "exact" and baseline is not None:
        raise ValueError("baseline: expected none with feedback='exact', which draws no labels")

    def init(key: Array) -> State:
        k_teacher, k_student = jax.random.split(jax.random.fold_in(key, 2))
        return State(
            step=jnp.zeros((), jnp.int32),
            key=key,
            teacher=_side(teacher.init(k_teacher), teacher_tx),
            student=_side(student.init(k_student), student_tx),
            baseline=() if baseline is None else baseline.init(key, None, None),
        )

    if feedback == "dot" and along == "gradient" and learning_rate is None:
        raise ValueError("learning_rate: expected eta_S with feedback='dot', got None")

    def rate(step: Array) -> Array | float:
        if feedback != "dot" or learning_rate is None:
            return 1.0  # not read
        return learning_rate(step.astype(jnp.float32)) if callable(learning_rate) else learning_rate

    def update(state: State, batch: PyTree) -> tuple[State, Metrics]:
        key = jax.random.fold_in(jax.random.fold_in(state.key, 1), state.step)
        k_forward, k_label, k_student, k_labelled = jax.random.split(key, 4)

        def forward(params: PyTree) -> tuple[PyTree, PyTree]:
            return teacher.forward(params, state.teacher.stats, batch, k_forward)

        outputs, pull, stats = jax.vjp(forward, state.teacher.params, has_aux=True)
        labels = jax.lax.stop_gradient(teacher.propose(k_label, outputs))
        taught = _teach(student, student_tx, state.student, batch, labels, k_student)

        def labelled_loss(params: PyTree) -> Array:
            return student.labelled_loss(params, taught.side.stats, batch, k_labelled)

        judged = _judge(taught, labelled_loss, labels, feedback, along, rate(state.step))
        metrics = judged.metrics | taught.said | {"student_loss": taught.loss}
        advantage, baseline_state = judged.signal, state.baseline
        if baseline is not None:
            rewards = jnp.reshape(judged.signal, (1, -1))
            advantage, baseline_state, _ = baseline.update(state.baseline, rewards, None)
            metrics["h_advantage"] = jnp.mean(advantage)

        def objective(outputs: PyTree) -> tuple[Array, Metrics]:
            if feedback == "exact":
                # Only its gradient means something: that of the labelled loss, by the labels.
                loss = optax.tree.vdot(judged.of_labels, teacher.propose(k_label, outputs))
            else:
                log_prob = -teacher.nll(outputs, labels)[None]
                each = jnp.reshape(advantage, (1, -1))
                loss = reinforce_loss(log_prob, jnp.broadcast_to(each, log_prob.shape))
            loss = feedback_weight * loss
            if teacher.auxiliary is None:
                return loss, {}
            own, said = teacher.auxiliary(outputs, batch, state.step)
            return loss + own, said

        cotangent, said = jax.grad(objective, has_aux=True)(outputs)
        (g_t,) = pull(cotangent)
        updates, opt_state = teacher_tx.update(g_t, state.teacher.opt_state, state.teacher.params)
        params = optax.apply_updates(state.teacher.params, updates)
        state = dataclasses.replace(
            state,
            step=state.step + 1,
            teacher=Side(params, stats, opt_state),
            student=taught.side,
            baseline=baseline_state,
        )
        return state, metrics | said | {"teacher_grad_norm": optax.tree.norm(g_t)}

    return Learner(init, update)


class _Taught(NamedTuple):
    """A student's step: where it began and ended, and the functions that led there."""

    before: PyTree  # theta_S
    side: Side  # theta_S' and all else
    loss: Array
    gradient: PyTree  # g_u
    said: Metrics
    moved: Callable[[PyTree], PyTree]  # theta_S' as a function of g_u
    losses: Callable[[PyTree, PyTree], Array]  # of each label, of theta_S and the labels


def _teach(
    student: Student,
    tx: optax.GradientTransformation,
    old: Side,
    batch: PyTree,
    labels: PyTree,
    key: Array,
) -> _Taught:
    def losses(params: PyTree, labels: PyTree) -> tuple[Array, PyTree, Metrics]:
        return student.losses(params, old.stats, batch, labels, key)

    def loss_fn(params: PyTree) -> tuple[Array, tuple[PyTree, Metrics]]:
        each, stats, said = losses(params, labels)
        return jnp.mean(each), (stats, said)

    def step(grads: PyTree) -> tuple[PyTree, PyTree]:
        updates, opt_state = tx.update(grads, old.opt_state, old.params)
        return optax.apply_updates(old.params, updates), opt_state

    (loss, (stats, said)), gradient = jax.value_and_grad(loss_fn, has_aux=True)(old.params)
    params, opt_state = step(gradient)
    return _Taught(
        before=old.params,
        side=Side(params, stats, opt_state),
        loss=loss,
        gradient=gradient,
        said=said,
        moved=lambda grads: step(grads)[0],
        losses=lambda params, labels: losses(params, labels)[0],
    )


class _Judged(NamedTuple):
    """What the labelled loss says of a student's step."""

    signal: Array  # h, a scalar or one for each label
    metrics: Metrics
    of_labels: PyTree  # the gradient of L_l(theta_S') in the labels, for "exact"


def _judge(
    taught: _Taught,
    labelled_loss: Callable[[PyTree], Array],
    labels: PyTree,
    feedback: str,
    along: str,
    rate: Array | float,
) -> _Judged:
    after = taught.side.params
    if feedback == "difference":
        loss = labelled_loss(after)
        signal = labelled_loss(taught.before) - loss
        return _Judged(signal, {"h": signal, "labelled_loss": loss}, None)
    loss, slope = jax.value_and_grad(labelled_loss)(after)
    metrics = {"labelled_loss": loss, "cosine": cosine(slope, taught.gradient)}
    of_labels = None
    if feedback in ("cosine", "dot"):
        by_gradient = along == "gradient"
        step = taught.gradient if by_gradient else optax.tree.sub(taught.before, after)
        if feedback == "cosine":
            signal = cosine(slope, step)
        else:
            signal = optax.tree.vdot(slope, step) * (rate if by_gradient else 1.0)
    else:
        # How the labelled loss answers to g_u through the optimiser: -eta_S slope with SGD.
        (back,) = jax.vjp(taught.moved, taught.gradient)[1](slope)

        def along_back(labels: PyTree) -> Array:
            return jax.jvp(lambda p: taught.losses(p, labels), (taught.before,), (back,))[1]

        if feedback == "per_label":
            signal = -along_back(labels)
        else:
            of_labels = jax.grad(lambda labels: jnp.mean(along_back(labels)))(labels)
            signal = jnp.zeros(())
    return _Judged(signal, metrics | {"h": jnp.mean(signal)}, of_labels)


def _side(made: tuple[PyTree, PyTree], tx: optax.GradientTransformation) -> Side:
    params, stats = made
    return Side(params, stats, tx.init(params))
