"""The sphere on a plane."""

import numpy as np
from jaxtyping import Float

EARTH_RADIUS_KM = 6371.0


def equal_area_map(
    latitude: Float[np.ndarray, "n"], longitude: Float[np.ndarray, "n"], centre: tuple[float, float]
) -> Float[np.ndarray, "n 2"]:
    """Lambert's azimuthal equal-area projection of a sphere, in kilometres from `centre`.

    Args:
      latitude: degrees north.
      longitude: degrees east.
      centre: (latitude, longitude) of the point of tangency, degrees.

    Source: J. P. Snyder, "Map projections: a working manual", 1987, eq. 24-2 to 24-4.
    """
    phi, centre_phi = np.radians(latitude), np.radians(centre[0])
    delta = np.radians(longitude - centre[1])
    cosine = np.sin(centre_phi) * np.sin(phi) + np.cos(centre_phi) * np.cos(phi) * np.cos(delta)
    scale = EARTH_RADIUS_KM * np.sqrt(2 / (1 + cosine))
    east = np.cos(phi) * np.sin(delta)
    north = np.cos(centre_phi) * np.sin(phi) - np.sin(centre_phi) * np.cos(phi) * np.cos(delta)
    return np.stack([scale * east, scale * north], axis=-1)
