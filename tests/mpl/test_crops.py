"""The crops of training and evaluation: squares from photographs of any size."""

import numpy as np
import pytest

from mpl.crops import center_crop, random_crop

pytest.importorskip("PIL")


def gradient(height, width):
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows, columns, 0 * rows], axis=-1).astype(np.uint8)


def test_the_middle_is_seven_eighths_of_the_shorter_side():
    found = center_crop(gradient(80, 160), 70)
    assert found.shape == (70, 70, 3)
    # Rows 5 to 74 of 80, columns 45 to 114 of 160, as they are.
    np.testing.assert_array_equal(found, gradient(80, 160)[5:75, 45:115])


def test_random_crops_are_squares_from_inside_and_repeat_with_their_key():
    image = gradient(160, 160)
    crops = [random_crop(image, 32, np.random.default_rng(seed)) for seed in range(200)]
    assert all(crop.shape == (32, 32, 3) and crop.dtype == np.uint8 for crop in crops)
    spans = [
        (int(crop[..., 0].max()) - int(crop[..., 0].min()) + 1)
        * (abs(int(crop[0, -1, 1]) - int(crop[0, 0, 1])) + 1)
        for crop in crops
    ]
    parts = np.array(spans) / (160 * 160)
    assert 0.05 < parts.min() < 0.15
    assert 0.8 < parts.max() <= 1.0
    mirrored = np.mean([crop[0, 0, 1] > crop[0, -1, 1] for crop in crops])
    assert 0.35 < mirrored < 0.65
    again = random_crop(image, 32, np.random.default_rng(7))
    np.testing.assert_array_equal(again, crops[7])


def test_a_narrow_image_gives_its_middle():
    image = gradient(3, 250)
    found = random_crop(image, 8, np.random.default_rng(0))
    assert found.shape == (8, 8, 3)
    assert 100 < found[..., 1].mean() < 150
