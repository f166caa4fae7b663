"""Expected improvement: how much better than the best so far a candidate may be.

Source: Wang 2022, section 2.2.2. The sign in its last printed line is corrected here.
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
    """Expected gain of a normally distributed value over `best`: (m - y - xi) Phi(z) + s phi(z).

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
