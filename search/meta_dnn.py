"""AlphaX's Meta-DNN: from the encoding of a network to the reward that it may reach.

A `Predictor` is two functions, so that any other model can stand in:

    params = predictor.fit(encodings, values, seed)      # from nothing, whenever samples arrived
    predictor.predict(params, encodings)                 # [n]

Three are compared in Wang 2022, section 3.3.2: an MLP, an LSTM over the digits of the encoding, and
the one that the thesis chose, several MLPs, each for one interval of rewards, with another one that
says which of them to ask. Training data are padded to powers of two, so that a growing search
compiles a program for each of a few sizes and not for each sample.

The thesis gives widths and no training recipe; the defaults (Adam, squared error, batches of 128)
are ours. Predictions stay within the values that the model was fitted to.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key, Real

PyTree = Any
THESIS_WIDTHS = (512, 2048, 2048, 512)
SMALLEST = 16  # rows that data are padded to at least


class Predictor(NamedTuple):
    """A model of rewards.

    Attributes:
        fit: `(encodings [n, hot], values [n], seed) -> params`, from scratch; deterministic.
        predict: `(params, encodings [n, hot]) -> float64 [n]`.
    """

    fit: Callable[[Real[np.ndarray, "n hot"], Float[np.ndarray, " n"], int], PyTree]
    predict: Callable[[PyTree, Real[np.ndarray, "n hot"]], Float[np.ndarray, " n"]]


class Training(NamedTuple):
    """How a network is trained.

    Attributes:
        epochs: passes over the samples, drawn with replacement.
        batch: samples an update.
        learning_rate: of Adam.
        min_steps: updates at least, for the first few samples.
    """

    epochs: int = 20
    batch: int = 128
    learning_rate: float = 1e-3
    min_steps: int = 100


class Mlp(nn.Module):
    """Fully connected layers of ReLU and a linear end; `[batch, hot] -> [batch, outputs]`."""

    widths: Sequence[int]
    outputs: int = 1

    @nn.compact
    def __call__(self, x: Float[Array, "batch hot"]) -> Float[Array, "batch outputs"]:
        """Applies the layers."""
        for width in self.widths:
            x = nn.relu(nn.Dense(width)(x))
        return nn.Dense(self.outputs)(x)


class Lstm(nn.Module):
    """An embedding, an LSTM, and a linear layer after its last state; `[batch, digits]`."""

    vocabulary: int
    hidden: int = 100
    embedding: int = 100

    @nn.compact
    def __call__(self, x: Float[Array, "batch digits"]) -> Float[Array, "batch 1"]:
        """Reads the digits from the first to the last."""
        tokens = nn.Embed(self.vocabulary, self.embedding)(x.astype(jnp.int32))
        states: Any = nn.RNN(nn.OptimizedLSTMCell(self.hidden))(tokens)
        return nn.Dense(1)(states[:, -1])


def mlp(widths: Sequence[int] = (128, 128), training: Training | None = None) -> Predictor:
    """One MLP; the thesis's widths are `THESIS_WIDTHS`.

    Raises:
        ValueError: a width or a number of the training below 1.
    """
    _check_widths(widths)
    return _regressor(Mlp(tuple(widths)), _checked(training))


def lstm(
    vocabulary: int, hidden: int = 100, embedding: int = 100, training: Training | None = None
) -> Predictor:
    """An LSTM that reads the encoding's digits as tokens: they are whole numbers, not one-hot.

    Args:
        vocabulary: one more than the largest digit.
        hidden: size of its state.
        embedding: size of a token's vector.
        training: how it is trained.

    Raises:
        ValueError: a size or a number of the training below 1; in `fit` and `predict`, encodings
            that are not whole numbers from 0 to `vocabulary` - 1.
    """
    _check_widths((vocabulary, hidden, embedding))
    inner = _regressor(Lstm(vocabulary, hidden, embedding), _checked(training))

    def digits(encodings: Any) -> Any:
        rounded = np.asarray(encodings)
        if not ((rounded == np.round(rounded)) & (rounded >= 0) & (rounded < vocabulary)).all():
            raise ValueError(f"encodings: expected whole numbers from 0 to {vocabulary - 1}")
        return rounded

    return Predictor(
        lambda encodings, values, seed: inner.fit(digits(encodings), values, seed),
        lambda params, encodings: inner.predict(params, digits(encodings)),
    )


def multi_stage(
    widths: Sequence[int] = (128, 128),
    *,
    edges: Sequence[float] | None = None,
    stages: int = 4,
    training: Training | None = None,
) -> Predictor:
    """The thesis's choice: an MLP for each interval of rewards, and one that picks among them.

    Args:
        widths: of each MLP's hidden layers.
        edges: between one interval and the next, ascending, in the unit of the rewards; the thesis
            names [0, 25 %) as one. By default they divide the samples into `stages` equal parts.
        stages: see `edges`; ignored where those are given.
        training: how each is trained.

    Raises:
        ValueError: edges that do not ascend, fewer than two stages, or a number out of range.
    """
    _check_widths(widths)
    if edges is not None and (len(edges) < 1 or not (np.diff(edges) > 0).all()):
        raise ValueError(f"edges: expected ascending numbers, got {list(edges)}")
    count = stages if edges is None else len(edges) + 1
    if count < 2:
        raise ValueError(f"stages: expected at least 2, got {stages}")
    model, gate = Mlp(tuple(widths)), Mlp(tuple(widths), count)
    chosen = _checked(training)

    def fit(encodings: Any, values: Any, seed: int) -> PyTree:
        _check_data(encodings, values)
        order = np.argsort(values, kind="stable")  # a stage's samples lie together
        ordered = np.asarray(values, np.float64)[order]
        if edges is None:
            inner = np.linspace(0, len(order), count + 1).astype(int)[1:-1]
        else:
            inner = np.searchsorted(ordered, edges)
        starts = np.concatenate([[0], inner, [len(order)]])
        sizes = np.diff(starts)
        present = np.flatnonzero(sizes)
        moments = np.zeros((count, 2))  # each expert sees its own interval in its own units
        moments[present] = [_moments(ordered[starts[s] : starts[s + 1]]) for s in present]
        stages_of = np.repeat(np.arange(count), sizes)
        center, scale = moments[stages_of].T
        x, y = _padded(np.asarray(encodings)[order], (ordered - center) / scale)
        stage = np.zeros(len(x), np.int32)
        stage[: len(order)] = stages_of
        keys = jax.random.split(jax.random.key(seed), count + 1)
        # One stage after the other: each runs as many updates as it has samples for.
        experts = [
            _train(model, chosen, keys[s], x, y, int(starts[s]), int(sizes[s])) for s in present
        ]
        gated = _train(gate, chosen, keys[count], x, stage, 0, len(order))
        stacked = jax.tree.map(lambda *leaves: np.stack([np.asarray(v) for v in leaves]), *experts)
        return {
            "experts": stacked,
            "gate": jax.tree.map(np.asarray, gated),
            "present": present,
            "moments": moments[present].astype(np.float32),
            "range": np.array([0.0, 1.0, ordered[0], ordered[-1]]),
        }

    def predict(params: PyTree, encodings: Any) -> Any:
        x, n = _pad_rows(encodings), len(encodings)
        args = (params["experts"], params["gate"], params["present"], params["moments"], x)
        return _unscaled(np.asarray(_apply_stages(model, gate, *args))[:n], params["range"])

    return Predictor(fit, predict)


@partial(jax.jit, static_argnums=(0, 1))
def _apply_stages(
    model: Mlp,
    gate: Mlp,
    experts: PyTree,
    gated: PyTree,
    present: Int[Array, " present"],
    moments: Float[Array, "present 2"],
    x: Float[Array, "n hot"],
) -> Float[Array, " n"]:
    each = jax.vmap(lambda params: _outputs(model, params, x)[:, 0])(experts)  # [present, n]
    each = moments[:, :1] + moments[:, 1:] * each
    # A stage without samples has no expert.
    pick = jnp.argmax(_outputs(gate, gated, x)[:, present], axis=1)
    return jnp.take_along_axis(each, pick[None], axis=0)[0]


def _outputs(model: Any, params: PyTree, x: Float[Array, "n hot"]) -> Float[Array, "n outputs"]:
    return model.apply(params, x)


def _regressor(model: nn.Module, training: Training) -> Predictor:
    def fit(encodings: Any, values: Any, seed: int) -> PyTree:
        _check_data(encodings, values)
        values = np.asarray(values, np.float64)
        center, scale = _moments(values)
        x, y = _padded(np.asarray(encodings), (values - center) / scale)
        params = _train(model, training, jax.random.key(seed), x, y, 0, len(values))
        return {
            "model": jax.tree.map(np.asarray, params),
            "range": np.array([center, scale, values.min(), values.max()]),
        }

    def predict(params: PyTree, encodings: Any) -> Any:
        found = _apply(model, params["model"], _pad_rows(encodings))
        return _unscaled(np.asarray(found)[: len(encodings)], params["range"])

    return Predictor(fit, predict)


@partial(jax.jit, static_argnums=0)
def _apply(model: Any, params: PyTree, x: Float[Array, "n hot"]) -> Float[Array, " n"]:
    return _outputs(model, params, x)[:, 0]


@partial(jax.jit, static_argnums=(0, 1))
def _train(
    model: Any,
    training: Training,
    key: Key[Array, ""],
    x: Float[Array, "padded hot"],
    y: Real[Array, " padded"],
    start: Int[Array, ""] | int,
    count: Int[Array, ""] | int,
) -> PyTree:
    """Fits rows `start` to `start + count` - 1: squared error, or cross-entropy to whole numbers.

    Start and count are traced: only the padded size makes a new program.
    """
    tx = optax.adam(training.learning_rate)
    params = model.init(jax.random.fold_in(key, 0), x[:1])
    steps = jnp.maximum(-(-count * training.epochs // training.batch), training.min_steps)

    def loss(params: PyTree, rows: Array) -> Array:
        out = model.apply(params, x[rows])
        if jnp.issubdtype(y.dtype, jnp.integer):
            return optax.softmax_cross_entropy_with_integer_labels(out, y[rows]).mean()
        return jnp.mean((out[:, 0] - y[rows]) ** 2)

    def update(step: Array, carry: PyTree) -> PyTree:
        params, opt = carry
        drawn = jax.random.randint(jax.random.fold_in(key, 1 + step), (training.batch,), 0, count)
        grads = jax.grad(loss)(params, start + drawn)
        updates, opt = tx.update(grads, opt, params)
        return optax.apply_updates(params, updates), opt

    return jax.lax.fori_loop(0, steps, update, (params, tx.init(params)))[0]


def correlation(predicted: Float[np.ndarray, " n"], true: Float[np.ndarray, " n"]) -> float:
    """Pearson's correlation, by which the thesis compares predictors; 0 where one is constant."""
    if np.ptp(predicted) == 0 or np.ptp(true) == 0:
        return 0.0
    return float(np.corrcoef(predicted, true)[0, 1])


def _moments(values: Any) -> tuple[float, float]:
    return float(np.mean(values)), float(np.std(values)) or 1.0


def _unscaled(scaled: Any, limits: Any) -> Any:
    center, scale, low, high = (float(number) for number in limits)
    return np.clip(center + scale * scaled.astype(np.float64), low, high)


def _padded(x: Any, y: Any) -> tuple[Any, Any]:
    """Rows up to the next power of two, which are never drawn."""
    padded = _pad_rows(x)
    values = np.zeros(len(padded), np.float32)
    values[: len(y)] = y
    return padded, values


def _pad_rows(x: Any) -> Any:
    rows = np.asarray(x, np.float32)
    size = max(SMALLEST, 1 << math.ceil(math.log2(max(len(rows), 1))))
    return np.concatenate([rows, np.zeros((size - len(rows), *rows.shape[1:]), np.float32)])


def _check_data(encodings: Any, values: Any) -> None:
    if len(encodings) != len(values) or len(values) == 0:
        got = (len(encodings), len(values))
        raise ValueError(f"encodings, values: expected equally many, at least one, got {got}")
    if not np.isfinite(values).all():
        raise ValueError("values: expected finite numbers")


def _check_widths(widths: Sequence[int]) -> None:
    if min(widths, default=1) < 1:
        raise ValueError(f"widths: expected at least 1, got {list(widths)}")


def _checked(training: Training | None) -> Training:
    training = training or Training()
    if min(training.epochs, training.batch, training.min_steps) < 1:
        raise ValueError(f"training: expected numbers of at least 1, got {training}")
    if not training.learning_rate > 0:
        raise ValueError(f"training: expected a learning rate above 0, got {training}")
    return training
