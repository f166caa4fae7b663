"""The Gaussian process against scikit-learn's, and its programs against growing data."""

import numpy as np
import pytest

from search import gp


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    points = rng.random((37, 3))
    return points, np.sin(6.0 * points[:, 0]) + points[:, 1] ** 2 + 0.05 * rng.standard_normal(37)


@pytest.fixture
def hyper():
    return gp.Hyper(np.array([0.3, 0.7, 1.5]), np.float64(1.7), np.float64(0.01))


@pytest.fixture
def oracle(data, hyper):
    gaussian = pytest.importorskip("sklearn.gaussian_process")
    kernels = gaussian.kernels
    kernel = kernels.ConstantKernel(1.7) * kernels.Matern(hyper.length_scales, nu=2.5)
    # The observations' noise goes into alpha, so that predictions are of the function.
    points, values = data
    standard = (values - values.mean()) / values.std()
    process = gaussian.GaussianProcessRegressor(kernel, alpha=0.01 + 1e-6, optimizer=None)
    return process.fit(points, standard), standard


def test_the_likelihood_is_scikit_learns(data, hyper, oracle):
    process, standard = oracle
    found = gp.log_likelihood(data[0], standard, hyper)
    np.testing.assert_allclose(found, process.log_marginal_likelihood(), rtol=1e-9)


def test_predictions_are_scikit_learns(data, hyper, oracle):
    process, _ = oracle
    points, values = data
    at = np.random.default_rng(1).random((120, 3))
    posterior = gp.fit(points, values, steps=0, start=hyper)
    mean, deviation = gp.predict(posterior, at)
    expected, spread = process.predict(at, return_std=True)
    np.testing.assert_allclose(mean, values.mean() + values.std() * expected, rtol=1e-7)
    np.testing.assert_allclose(deviation, values.std() * spread, rtol=1e-5)


def test_draws_have_the_posteriors_mean_and_covariance(data, hyper, oracle):
    process, _ = oracle
    points, values = data
    at = np.random.default_rng(2).random((5, 3))
    posterior = gp.fit(points, values, steps=0, start=hyper)
    normals = np.random.default_rng(3).standard_normal((40_000, 5))
    draws = (gp.sample(posterior, at, normals) - values.mean()) / values.std()
    mean, covariance = process.predict(at, return_cov=True)
    np.testing.assert_allclose(draws.mean(0), mean, atol=0.02)
    np.testing.assert_allclose(np.cov(draws.T), covariance, atol=0.02 * covariance.max())


def test_a_fit_raises_the_likelihood_and_keeps_the_bounds(data):
    points, values = data
    standard = (values - values.mean()) / values.std()
    before = gp.log_likelihood(points, standard, gp.initial(3))
    hyper = gp.fit(points, values).hyper
    after = gp.log_likelihood(points, standard, hyper)
    assert after > before + 5.0
    for part, low, high in zip(hyper, gp.LOW, gp.HIGH, strict=True):
        assert (part >= low).all()
        assert (part <= high).all()
    # The third input does nothing; a long length scale says so.
    assert hyper.length_scales[2] > 2 * hyper.length_scales[0]


def test_padding_changes_nothing(data, hyper):
    points, values = data
    at = np.random.default_rng(4).random((7, 3))
    few, _ = gp.predict(gp.fit(points[:10], values[:10], steps=2), at)
    longer = gp.PAD
    gp.PAD = 200
    try:
        wide, _ = gp.predict(gp.fit(points[:10], values[:10], steps=2), at)
    finally:
        gp.PAD = longer
    np.testing.assert_allclose(few, wide, rtol=1e-9)


def test_growing_data_compile_nothing_new(data):
    points, values = data
    at = np.random.default_rng(4).random((90, 3))
    gp.sample(gp.fit(points[:5], values[:5], steps=2), at, np.zeros((1, 90)))
    sizes = gp._fit._cache_size(), gp._sample._cache_size()
    for count in range(6, 37, 6):
        posterior = gp.fit(points[:count], values[:count], steps=2)
        gp.sample(posterior, at[: 40 + count], np.zeros((1, 40 + count)))
    assert (gp._fit._cache_size(), gp._sample._cache_size()) == sizes


def test_equal_values_and_equal_points_are_fitted():
    points = np.full((4, 3), 0.5)
    at = np.array([[0.5, 0.5, 0.5], [0.0, 1.0, 0.5]])
    for values in (np.zeros(4), np.array([1.0, 2.0, 3.0, 4.0])):
        mean, deviation = gp.predict(gp.fit(points, values), at)
        assert np.isfinite(mean).all()
        assert (deviation > 0).all()
        np.testing.assert_allclose(mean[0], values.mean(), atol=0.1)


@pytest.mark.parametrize("values", [[], [1.0, np.nan]])
def test_bad_data_are_refused(values):
    with pytest.raises(ValueError, match="as many finite values as points"):
        gp.fit(np.zeros((len(values), 2)), np.array(values))


def test_a_surrogate_is_fitted_to_what_it_is_given(data):
    points, values = data
    predict = gp.surrogate(steps=0)(points, values, np.random.default_rng(0))
    expected = gp.predict(gp.fit(points, values, steps=0), points[:5])
    for found, wanted in zip(predict(points[:5]), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)
