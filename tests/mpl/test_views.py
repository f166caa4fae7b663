"""The views of a batch: which images are drawn, how each view is augmented, what is left out."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mpl import augment, views

IMAGES = np.arange(6 * 4 * 4, dtype=np.uint8).reshape(6, 4, 4, 1)
DATA = {
    "labelled": jnp.asarray(IMAGES[:4]),
    "labels": jnp.arange(4, dtype=jnp.int32),
    "unlabelled": jnp.asarray(IMAGES),
}


def inverted(key, images):
    """A strong augmentation that is easily seen."""
    return augment.invert(images)


def drawn(**options):
    options = {"labelled": 8, "unlabelled": 16, "strongly": inverted, "pad": 0} | options
    made = jax.jit(functools.partial(views.drawn, **{"flip": False} | options))
    return made(DATA, jax.random.key(5))


@pytest.mark.parametrize("kind", ["none", "weak", "strong"])
def test_images_are_drawn_with_their_labels_and_rows(kind):
    batch = drawn(kind=kind)
    images = DATA["labelled"][batch["labels"]]
    expected = augment.invert(images) if kind == "strong" else images
    np.testing.assert_array_equal(batch["labelled"], augment.scaled(expected))
    rows = DATA["unlabelled"][batch["rows"]]
    np.testing.assert_array_equal(batch["weak"], augment.scaled(rows))
    np.testing.assert_array_equal(batch["strong"], augment.scaled(augment.invert(rows)))
    assert len(set(batch["rows"].tolist())) > 3


def test_views_are_shifted_apart_and_none_is_bare():
    batch, bare = drawn(flip=True, pad=1), drawn()
    assert batch["rows"].tolist() == bare["rows"].tolist()
    assert not np.array_equal(batch["labelled"], bare["labelled"])
    assert not np.array_equal(batch["weak"], bare["weak"])
    # The strong view is another shift of the same image.
    assert not np.allclose(batch["strong"], -batch["weak"], atol=1e-5)
    np.testing.assert_array_equal(
        drawn(flip=True, pad=1, kind="none")["labelled"], bare["labelled"]
    )


def test_mixup_makes_distributions():
    batch = drawn(mixed=4)
    assert batch["labels"].shape == (8, 4)
    np.testing.assert_allclose(batch["labels"].sum(axis=1), 1.0, rtol=1e-6)
    assert not np.array_equal(batch["labelled"], drawn()["labelled"])


def test_crops_are_views_of_what_a_batch_has():
    crops, key = {"unlabelled": DATA["unlabelled"]}, jax.random.key(0)
    found = views.of_crops(crops, key, strongly=inverted)
    assert set(found) == {"weak", "strong"}
    np.testing.assert_array_equal(found["weak"], augment.scaled(crops["unlabelled"]))
    np.testing.assert_allclose(found["strong"], -found["weak"], atol=1e-6)
    given = {"labelled": DATA["labelled"], "labels": DATA["labels"]}
    given["targets"] = jnp.ones((6, 2), jnp.float16)
    plain = views.of_crops(given, key, strongly=inverted)
    strong = views.of_crops(given, key, strongly=inverted, kind="strong")
    np.testing.assert_allclose(strong["labelled"], -plain["labelled"], atol=1e-6)
    assert plain["labels"].tolist() == [0, 1, 2, 3]
    assert plain["targets"].dtype == jnp.float32
