"""One thread for BLAS and OpenMP, where many small matrices are factored.

The matrices of a Gaussian process of some hundred points are so small that threads cost more than
they give, and the more so the busier the cores are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Holds BLAS and OpenMP to one thread, where threadpoolctl is there to do it."""
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        yield
        return
    # Only libraries that are loaded already are limited: LAPACK, which jax takes from SciPy's, and
    # the OpenMP of k-means and support vector machines, whose threads would wait for each other.
    import scipy.linalg  # noqa: F401

    with contextlib.suppress(ImportError):
        import sklearn.cluster
        import sklearn.svm  # noqa: F401

    with threadpool_limits(1):
        yield
