"""Squares cut from photographs of any size, on the host.

Cropping changes shapes, so it is not for a compiled step; all that keeps shapes (`mpl.augment`) is.
The thesis gives no crops for ImageNet: these are those that its networks were published with, a
random part of 8 to 100% of the area (Szegedy et al. 2015) in training, and the middle for
evaluation.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import UInt8

Box = tuple[float, float, float, float]  # left, upper, right, lower, pixels
_TRIES = 10
_SMALLEST = 0.08  # of the area
_RATIO = 4.0 / 3.0  # of width to height, or its inverse, at most
_MIDDLE = 0.875  # of the shorter side


def random_crop(
    image: UInt8[np.ndarray, "height width 3"], side: int, generator: np.random.Generator
) -> UInt8[np.ndarray, "side side 3"]:
    """A random part of an image, scaled to a square, and mirrored half of the time.

    Args:
        image: of any size.
        side: pixels.
        generator: draws area, shape, place and mirror image.
    """
    height, width = image.shape[:2]
    box = _middle(height, width, 1.0)
    for _ in range(_TRIES):
        area = generator.uniform(_SMALLEST, 1.0) * height * width
        ratio = math.exp(generator.uniform(-math.log(_RATIO), math.log(_RATIO)))
        wide, high = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < wide <= width and 0 < high <= height:
            left = int(generator.integers(0, width - wide + 1))
            upper = int(generator.integers(0, height - high + 1))
            box = (left, upper, left + wide, upper + high)
            break
    pixels = _scaled(image, box, side)
    return np.ascontiguousarray(pixels[:, ::-1]) if generator.random() < 0.5 else pixels


def center_crop(
    image: UInt8[np.ndarray, "height width 3"], side: int
) -> UInt8[np.ndarray, "side side 3"]:
    """The middle square of an image, 7/8 of its shorter side, scaled to `side` pixels."""
    return _scaled(image, _middle(image.shape[0], image.shape[1], _MIDDLE), side)


def _middle(height: int, width: int, part: float) -> Box:
    half = part * min(height, width) / 2.0
    return (width / 2.0 - half, height / 2.0 - half, width / 2.0 + half, height / 2.0 + half)


def _scaled(image: np.ndarray, box: Box, side: int) -> np.ndarray:
    from PIL import Image

    whole = Image.fromarray(np.ascontiguousarray(image))
    return np.asarray(whole.resize((side, side), Image.Resampling.BILINEAR, box=box))
