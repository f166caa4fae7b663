"""The sphere: distances on it, and pictures of it on a plane."""

import math

import numpy as np
from jaxtyping import Float

EARTH_RADIUS_KM = 6371.0


def great_circle(
    start: Float[np.ndarray, "*n 2"], end: Float[np.ndarray, "*m 2"]
) -> Float[np.ndarray, "*k"]:
    """Haversine distances in kilometres between (latitude, longitude) in degrees."""
    start, end = np.radians(start), np.radians(end)
    half = np.sin((end - start) / 2) ** 2
    cosines = np.cos(start[..., 0]) * np.cos(end[..., 0])
    angle = 2 * np.arcsin(np.sqrt(np.clip(half[..., 0] + cosines * half[..., 1], 0.0, 1.0)))
    return EARTH_RADIUS_KM * angle


def local_map(degrees: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
    """Kilometres east and north on an equal-area map around the places' mean direction.

    Args:
      degrees: latitude north and longitude east.
    """
    latitude, longitude = np.radians(degrees).T
    x = float((np.cos(latitude) * np.cos(longitude)).mean())
    y = float((np.cos(latitude) * np.sin(longitude)).mean())
    z = float(np.sin(latitude).mean())
    centre = math.degrees(math.atan2(z, math.hypot(x, y))), math.degrees(math.atan2(y, x))
    return equal_area_map(degrees[:, 0], degrees[:, 1], centre)


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
