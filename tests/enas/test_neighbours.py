"""Architectures near another: what changes, and what does not."""

import numpy as np
import pytest

from enas import neighbours
from enas.decisions import Decision

ACTS = ("tanh", "relu", "identity", "sigmoid")
CELL = [Decision("1", ACTS), Decision("2", ("1",)), Decision("2", ACTS), Decision("3", ("1", "2"))]
CELL += [Decision("3", ACTS), Decision("4", ("1", "2", "3")), Decision("4", ACTS)]
GIVEN = np.array([0, 0, 1, 0, 1, 2, 2])


def test_relabelling_switches_only_what_it_is_told():
    swap = {"tanh": ["relu"], "relu": ["tanh"]}
    every = neighbours.relabelled(CELL, GIVEN, swap, np.random.default_rng(0))
    assert every.tolist() == [1, 0, 0, 0, 0, 2, 2]
    for seed in range(20):
        one = neighbours.relabelled(CELL, GIVEN, swap, np.random.default_rng(seed), count=1)
        (place,) = np.flatnonzero(one != GIVEN)
        assert place in (0, 2, 4)
    bad = {"tanh": ["identity", "sigmoid"], "relu": ["identity", "sigmoid"]}
    seen = {
        int(c)
        for seed in range(20)
        for c in neighbours.relabelled(CELL, GIVEN, bad, np.random.default_rng(seed))[[0, 2, 4]]
    }
    assert seen == {2, 3}
    with pytest.raises(ValueError, match="sep3"):
        neighbours.relabelled(CELL, GIVEN, {"sep3": ["conv3"]}, np.random.default_rng(0))


def test_rewiring_keeps_operations():
    for seed in range(20):
        one = neighbours.rewired(CELL, GIVEN, np.random.default_rng(seed), kept=ACTS, count=2)
        assert set(np.flatnonzero(one != GIVEN)) == {3, 5}
        single = neighbours.rewired(CELL, GIVEN, np.random.default_rng(seed), kept=ACTS, count=1)
        assert len(np.flatnonzero(single != GIVEN)) == 1
    with pytest.raises(ValueError, match="could be another"):
        neighbours.rewired(CELL[:2], GIVEN[:2], np.random.default_rng(0), kept=ACTS, count=1)
