"""AlphaX whose objective trains networks and starts them from their parents' weights."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.search import transfer_search
from experiments.search.plain_cnn_training import load_images
from search import alphax, design_spaces, interface
from search.alphax import Job


def data():
    return jax.tree.map(jnp.asarray, load_images())


def job(number, parent, kernels, filters):
    code = np.zeros(11, np.int64)
    code[0] = len(kernels)
    code[1 : 1 + len(kernels)] = kernels
    code[6 : 6 + len(filters)] = filters
    return Job(code, number, parent)


def test_a_child_starts_from_the_layers_that_its_parent_has():
    objective = transfer_search.Trained(data(), epochs=1)
    objective(job(0, -1, [1, 2], [1, 1]), 5)
    same = transfer_search.Trained(data(), epochs=1)
    assert objective.copied == [0.0]
    objective(job(1, 0, [1, 2, 1], [1, 1, 1]), 6)  # both layers and the head
    assert objective.copied[-1] == 6 / 8
    objective(job(2, 0, [1, 1], [1, 1]), 6)  # another kernel in the second: first layer and head
    assert objective.copied[-1] == 4 / 6
    objective(job(3, 0, [1, 2], [2, 1]), 6)  # other filters in the first: what follows it differs
    assert objective.copied[-1] == 2 / 6
    assert same(job(0, -1, [1, 2], [1, 1]), 5) == transfer_search.Trained(data(), epochs=1)(
        job(7, -1, [1, 2], [1, 1]), 5
    )


def test_a_search_finds_the_weights_of_every_parent_it_names():
    searcher = alphax.searcher(design_spaces.plain_cnn("global"), c=0.2, transfer=True)
    objective = transfer_search.Trained(data(), epochs=1)
    run = interface.maximise(searcher, objective, budget=8, seed=0)
    assert np.isfinite(run.values).all()  # a parent without weights would be a failed trial
    assert [trial.point.number for trial in run.trials] == list(range(8))
    assert max(objective.copied) > 0
    fresh = transfer_search.Trained(data(), epochs=1, reuse=False)
    interface.maximise(searcher, fresh, budget=2, seed=0)
    assert fresh.copied == [0.0, 0.0]
