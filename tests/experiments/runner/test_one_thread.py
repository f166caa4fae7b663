"""That the limit of threads reaches the libraries that a search loads."""

import subprocess
import sys

import pytest

# In a process of its own: the limit was once too early for a library that was loaded after it.
PROGRAM = """
from threadpoolctl import threadpool_info
from experiments.runner.one_thread import one_thread

with one_thread():
    import sklearn.cluster, sklearn.svm
    found = {pool["user_api"]: pool["num_threads"] for pool in threadpool_info()}
assert set(found) == {"blas", "openmp"} and set(found.values()) == {1}, found
"""


def test_k_means_and_blas_are_held_to_one_thread():
    pytest.importorskip("threadpoolctl")
    pytest.importorskip("sklearn")
    ran = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
