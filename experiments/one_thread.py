"""One thread for BLAS, where many small matrices are factored.

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
    # jax takes LAPACK from SciPy's library, which has to be loaded to be limited.
    import scipy.linalg  # noqa: F401

    with threadpool_limits(1):
        yield
