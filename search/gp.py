"""Gaussian processes with a Matérn 5/2 kernel, one length scale a dimension, compiled by JAX.

It takes and gives NumPy arrays and computes in float64. Data are padded to a multiple of `PAD`
points and candidates to a multiple of `PAD_CANDIDATES`, so a search whose data grow compiles only a
handful of programs. BoTorch and GPyTorch would bring a second array library; scikit-learn's process
is not compiled, and serves the tests as an oracle.

Source: Wang 2022, section 2.2.2; the kernel, bounds and steps of TuRBO (Eriksson et al. 2019).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float

PAD, PAD_CANDIDATES = 50, 100
# Of length scales, output scale and noise (a variance), with inputs in the unit cube and values
# standardised; the fit starts at `START`.
LOW, HIGH, START = (0.005, 0.05, 5e-4), (2.0, 20.0, 0.2), (0.5, 1.0, 0.005)
_JITTER = 1e-6


class Hyper(NamedTuple):
    """Hyperparameters, in units of the cube and of standardised values.

    Attributes:
        length_scales: `[dim]`.
        output_scale: variance of the function.
        noise: variance of the observations.
    """

    length_scales: Float[Any, " dim"]
    output_scale: Float[Any, ""]
    noise: Float[Any, ""]


class Posterior(NamedTuple):
    """A fitted process.

    Attributes:
        points: `[padded, dim]`.
        known: which of them are data.
        factor: lower Cholesky factor of the data's covariance, `[padded, padded]`.
        weights: inverse covariance times standardised values, `[padded]`.
        hyper: fitted.
        mean: of the values, which were standardised by it and
        scale: their standard deviation.
    """

    points: Float[Any, "padded dim"]
    known: Bool[Any, " padded"]
    factor: Float[Any, "padded padded"]
    weights: Float[Any, " padded"]
    hyper: Hyper
    mean: float
    scale: float


def initial(dim: int) -> Hyper:
    """Where a fit starts."""
    return Hyper(np.full(dim, START[0]), np.float64(START[1]), np.float64(START[2]))


def fit(
    points: Float[np.ndarray, "n dim"],
    values: Float[np.ndarray, " n"],
    *,
    steps: int = 50,
    learning_rate: float = 0.1,
    start: Hyper | None = None,
) -> Posterior:
    """Maximises the marginal likelihood by Adam and conditions on the data.

    Args:
        points: in the unit cube.
        values: in any unit, finite.
        steps: of Adam; 0 takes `start` as it is.
        learning_rate: of the parameters' logits between their bounds.
        start: the hyperparameters to begin with; `initial` by default.

    Raises:
        ValueError: no data, or values that are not finite.
    """
    if len(points) == 0 or len(points) != len(values) or not np.isfinite(values).all():
        raise ValueError(
            f"points, values: expected as many finite values as points, at least one, got "
            f"{len(points)} points and {np.isfinite(values).sum()} finite values"
        )
    mean, scale = float(values.mean()), float(values.std())
    scale = scale if scale > 1e-12 * max(1.0, abs(mean)) else 1.0
    padded = -(-len(points) // PAD) * PAD
    known = np.arange(padded) < len(points)
    rows = np.zeros((padded, points.shape[1]))
    rows[: len(points)] = points
    targets = np.zeros(padded)
    targets[: len(points)] = (values - mean) / scale
    first = start or initial(points.shape[1])
    with jax.enable_x64(True):
        found = _fit(rows, targets, known, first, learning_rate, steps=steps)
        factor, weights, hyper = jax.device_get(found)
    return Posterior(rows, known, factor, weights, hyper, mean, scale)


def log_likelihood(
    points: Float[np.ndarray, "n dim"], values: Float[np.ndarray, " n"], hyper: Hyper
) -> float:
    """Log marginal likelihood of standardised values."""
    with jax.enable_x64(True):
        known = jnp.ones(len(points), bool)
        return float(_log_likelihood(hyper, jnp.asarray(points), jnp.asarray(values), known))


def predict(
    posterior: Posterior, at: Float[np.ndarray, "m dim"]
) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """Mean and standard deviation of the function (without noise), in the unit of the values."""
    with jax.enable_x64(True):
        mean, variance = jax.device_get(_predict(posterior, _padded(at)))
    mean, variance = mean[: len(at)], variance[: len(at)]
    return posterior.mean + posterior.scale * mean, posterior.scale * np.sqrt(variance)


def surrogate(steps: int = 50) -> Callable[[Any, Any, np.random.Generator], Callable[..., Any]]:
    """A process of all samples, as `lanas.searcher` takes a surrogate.

    Args:
        steps: of each fit, as `fit`.

    Returns:
        `(encodings [n, hot], values [n], random numbers) -> predict`, where
        `predict(encodings [m, hot])` is mean and standard deviation, float64 `[m]` each.
    """

    def fitted(encodings: Any, values: Any, rng: np.random.Generator) -> Callable[..., Any]:
        del rng
        return partial(predict, fit(encodings, values, steps=steps))

    return fitted


def sample(
    posterior: Posterior, at: Float[np.ndarray, "m dim"], normals: Float[np.ndarray, "draw m"]
) -> Float[np.ndarray, "draw m"]:
    """Draws of the function at some points together, in the unit of the values.

    Args:
        posterior: of the function.
        at: where.
        normals: standard normal numbers, one row a draw.
    """
    rows = _padded(at)
    noise = np.zeros((len(normals), len(rows)))
    noise[:, : len(at)] = normals
    with jax.enable_x64(True):
        draws = np.asarray(_sample(posterior, rows, noise))
    return posterior.mean + posterior.scale * draws[:, : len(at)]


def _padded(at: Float[np.ndarray, "m dim"]) -> Float[np.ndarray, "padded dim"]:
    """Candidates with rows behind them that are far from everything, and so from each other."""
    missing = -len(at) % PAD_CANDIDATES
    far = 1e3 * (2.0 + np.arange(missing))
    return np.concatenate([at, np.repeat(far[:, None], at.shape[1], 1)])


def _kernel(
    hyper: Hyper, left: Float[Array, "n dim"], right: Float[Array, "m dim"]
) -> Float[Array, "n m"]:
    left, right = left / hyper.length_scales[None], right / hyper.length_scales[None]
    squares = (left**2).sum(1)[:, None] + (right**2).sum(1)[None] - 2.0 * left @ right.T
    root = jnp.sqrt(5.0 * jnp.maximum(squares, 0.0) + 1e-12)  # a slope at 0 that is finite
    return hyper.output_scale * (1.0 + root + root**2 / 3.0) * jnp.exp(-root)


def _covariance(
    hyper: Hyper, points: Float[Array, "n dim"], known: Bool[Array, " n"]
) -> Float[Array, "n n"]:
    """Of the observations; rows of padding are those of the identity."""
    both = known[:, None] & known[None]
    full = jnp.where(both, _kernel(hyper, points, points), 0.0)
    return full + jnp.diag(jnp.where(known, hyper.noise + _JITTER, 1.0))


def _log_likelihood(
    hyper: Hyper,
    points: Float[Array, "n dim"],
    values: Float[Array, " n"],
    known: Bool[Array, " n"],
) -> Float[Array, ""]:
    factor = jnp.linalg.cholesky(_covariance(hyper, points, known))
    white = jax.scipy.linalg.solve_triangular(factor, values, lower=True)
    count = known.sum().astype(values.dtype)
    logs = jnp.log(jnp.diag(factor)).sum()
    return -0.5 * (white @ white) - logs - 0.5 * count * jnp.log(2.0 * jnp.pi)


def _between(logits: Hyper) -> Hyper:
    parts = zip(logits, LOW, HIGH, strict=True)
    return Hyper(*(low + (high - low) * jax.nn.sigmoid(logit) for logit, low, high in parts))


def _logits(hyper: Hyper) -> Hyper:
    shares = [
        jnp.clip((jnp.asarray(value) - low) / (high - low), 1e-6, 1.0 - 1e-6)
        for value, low, high in zip(hyper, LOW, HIGH, strict=True)
    ]
    return Hyper(*(jnp.log(share) - jnp.log1p(-share) for share in shares))


@partial(jax.jit, static_argnames="steps")
def _fit(
    points: Float[Array, "n dim"],
    values: Float[Array, " n"],
    known: Bool[Array, " n"],
    start: Hyper,
    learning_rate: Float[Array, ""] | float,
    *,
    steps: int,
) -> tuple[Float[Array, "n n"], Float[Array, " n"], Hyper]:
    adam = optax.adam(learning_rate)
    count = known.sum().astype(values.dtype)

    def loss(logits: Hyper) -> Float[Array, ""]:
        return -_log_likelihood(_between(logits), points, values, known) / count

    def step(carry: Any, _: None) -> tuple[Any, None]:
        logits, state = carry
        updates, state = adam.update(jax.grad(loss)(logits), state)
        return (optax.apply_updates(logits, updates), state), None

    logits = _logits(start)
    (logits, _), _ = jax.lax.scan(step, (logits, adam.init(logits)), length=steps)
    hyper = _between(logits) if steps else start
    factor = jnp.linalg.cholesky(_covariance(hyper, points, known))
    return factor, jax.scipy.linalg.cho_solve((factor, True), values), hyper


def _cross(
    posterior: Posterior, at: Float[Array, "m dim"]
) -> tuple[Float[Array, " m"], Float[Array, "padded m"]]:
    """The mean at the candidates, and what the data explain of their covariance, factored."""
    cross = _kernel(posterior.hyper, posterior.points, at)
    cross = jnp.where(posterior.known[:, None], cross, 0.0)
    explained = jax.scipy.linalg.solve_triangular(posterior.factor, cross, lower=True)
    return posterior.weights @ cross, explained


@jax.jit
def _predict(
    posterior: Posterior, at: Float[Array, "m dim"]
) -> tuple[Float[Array, " m"], Float[Array, " m"]]:
    mean, explained = _cross(posterior, at)
    prior = posterior.hyper.output_scale
    return mean, jnp.maximum(prior - (explained**2).sum(0), 0.0)


@jax.jit
def _sample(
    posterior: Posterior, at: Float[Array, "m dim"], normals: Float[Array, "draw m"]
) -> Float[Array, "draw m"]:
    mean, explained = _cross(posterior, at)
    covariance = _kernel(posterior.hyper, at, at) - explained.T @ explained
    # Candidates that nearly coincide: as much as the data's own jitter, relative to the scale.
    jitter = _JITTER * posterior.hyper.output_scale * jnp.eye(at.shape[0])
    factor = jnp.linalg.cholesky(covariance + jitter)
    return mean[None] + normals @ factor.T
