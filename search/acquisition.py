"""What a candidate is worth to Bayesian optimisation, when rewards are maximised.

Source: Wang 2022, section 2.2.2, with the sign of the printed last line put right.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


def expected_improvement(
    mean: Float[np.ndarray, " n"],
    deviation: Float[np.ndarray, " n"],
    best: float,
    margin: float = 0.0,
) -> Float[np.ndarray, " n"]:
    """Expected gain over `best` of a normal value: (m - y - xi) Phi(z) + s phi(z).

    Args:
        mean: of the posterior, in any unit.
        deviation: its standard deviation, at least 0.
        best: the highest value so far, y.
        margin: xi, by which an improvement has to be larger.

    Raises:
        ValueError: a negative deviation.
    """
    from scipy.special import ndtr

    mean, deviation = np.asarray(mean, np.float64), np.asarray(deviation, np.float64)
    if (deviation < 0).any():
        raise ValueError(f"deviation: expected at least 0, got {deviation.min()}")
    gain = mean - best - margin
    z = gain / np.maximum(deviation, 1e-12)
    density = np.exp(-0.5 * z**2) / np.sqrt(2.0 * np.pi)
    return np.where(deviation > 0, gain * ndtr(z) + deviation * density, np.maximum(gain, 0.0))
