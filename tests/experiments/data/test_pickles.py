"""A pickle is refused before it runs anything; the NAS table is read once and kept as arrays."""

import io
import itertools
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from experiments.data import nasbench201, pickles


class Calls:
    """Unpickles as a call of `function(*arguments)`."""

    def __init__(self, function, *arguments) -> None:
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def touch(path: Path) -> Calls:
    return Calls(os.system, f"touch {path}")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_malicious_pickle_is_refused_before_it_runs(protocol, tmp_path):
    witness = tmp_path / "witness"
    content = pickle.dumps({"a": [touch(witness)]}, protocol)
    with pytest.raises(pickles.ForbiddenPickle, match=r"refused (posix|nt)\.system"):
        pickles.load(io.BytesIO(content))
    assert not witness.exists()
    pickle.loads(content)  # the same bytes do run where nothing restricts them
    assert witness.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"cos\nsystem\n(S'true'\ntR.",
        b"\x80\x04\x8c\x08builtins\x8c\x04exec\x93.",
        b"cnumpy\nload\n(S'x'\ntR.",
        b"cnumpy\nndarray.tofile\n.",
        b"Pname\n.",
    ],
)
def test_every_way_to_a_forbidden_name_is_closed(content):
    with pytest.raises(pickles.ForbiddenPickle, match="refused"):
        pickles.load(io.BytesIO(content))


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_plain_values_come_back(protocol):
    value = {"y": [2.0, "a", None, (1, 2.5)]}
    assert pickles.load(io.BytesIO(pickle.dumps(value, protocol))) == value


def test_even_arrays_are_refused():
    with pytest.raises(pickles.ForbiddenPickle, match="numpy"):
        pickles.load(io.BytesIO(pickle.dumps(np.zeros(2))))


def table(task: int) -> dict[str, dict[str, list[float]]]:
    """A table of the source's form, in another order; every seventh cell has two seeds."""
    keys = ["".join(digits) for digits in itertools.product("01234", repeat=6)]
    return {
        key: {
            "val_acc": [task + place / 1000.0] * (2 if place % 7 == 0 else 3),
            "train_time": [place, place + 2.0],
            "latency": [0.5],
            "model_size": [0.25],
        }
        for place, key in reversed(list(enumerate(keys)))
    }


def write_tables(folder: Path, replace: dict[str, object] | None = None) -> None:
    for place, task in enumerate(nasbench201.TASKS):
        content = (replace or {}).get(task) or table(place)
        (folder / f"{task}.pkl").write_bytes(pickle.dumps(content))


def test_nasbench201_becomes_sorted_arrays(tmp_path):
    write_tables(tmp_path)
    nasbench201.convert_nasbench201(tmp_path, tmp_path)
    loaded = nasbench201.load_nasbench201(tmp_path)
    assert loaded["cells"].shape == (15_625, 6)
    assert loaded["cells"].dtype == np.int8
    row = int("310204", base=5)
    np.testing.assert_array_equal(loaded["cells"][row], [3, 1, 0, 2, 0, 4])
    for place, task in enumerate(nasbench201.TASKS):
        accuracy = loaded[f"{task}_val_acc"]
        np.testing.assert_allclose(accuracy[row], place + row / 1000.0, rtol=1e-6)
        assert np.isnan(accuracy[7]).tolist() == [False, False, True]
        assert loaded[f"{task}_train_time"][row] == row + 1.0
    assert loaded["operations"][3] == "nor_conv_3x3"


def test_a_poisoned_table_runs_nothing_and_leaves_nothing(tmp_path):
    witness, target = tmp_path / "witness", tmp_path / "target"
    target.mkdir()
    write_tables(tmp_path, {"cifar100": {"000000": touch(witness)}})
    with pytest.raises(pickles.ForbiddenPickle):
        nasbench201.convert_nasbench201(tmp_path, target)
    assert not witness.exists()
    assert list(target.iterdir()) == []


def test_an_incomplete_table_is_refused(tmp_path):
    short = table(0)
    del short["012340"]
    write_tables(tmp_path, {"cifar10": short})
    with pytest.raises(ValueError, match=r"cifar10: expected all 15625 cells.*got 15624"):
        nasbench201.convert_nasbench201(tmp_path, tmp_path)
