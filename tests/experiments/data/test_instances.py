"""Instances from files: what is read, what lengths come out, and what a broken file is told."""

import importlib
import math

import numpy as np
import pytest

from experiments.data import instances as reader
from experiments.data.tsplib import InstanceError


def write(folder, text, name="file.tsp", encoding="utf-8"):
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize(
    ("text", "points", "labels"),
    [
        ("0,1\n2,3\n", [[0, 1], [2, 3]], None),
        ("x,y\n0,1\n2,3\n", [[0, 1], [2, 3]], None),
        ("# made by hand\n\nY;X;City\n1;0;A\n3;2;B\n", [[0, 1], [2, 3]], ("A", "B")),
        ("y\tx\tother\n1\t0\t9\n", [[0, 1]], None),
        (" x , y \r\n 0 , 1 \r\n", [[0, 1]], None),
        ("\ufeffx,y\n0,1\n", [[0, 1]], None),
        ("0 1\n2   3 \n", [[0, 1], [2, 3]], None),
        ("City  y x\n\n A 1 0\n", [[0, 1]], ("A",)),
        ('name,x,y\n"Washington, D.C.",0,1\n', [[0, 1]], ("Washington, D.C.",)),
    ],
)
def test_points_of_the_plane(tmp_path, text, points, labels):
    instances = reader.read(write(tmp_path, text, "points.csv"))
    assert instances.points.tolist() == [points]
    assert instances.coords.tolist() == [points]
    assert instances.labels == labels
    assert (instances.metric, instances.unit, instances.names) == ("EUCLIDEAN", "", ("points",))


@pytest.mark.parametrize(
    "text",
    [
        "Paris,48.86,2.35\nBerlin,52.52,13.40\n",
        "name,lat,lon\nParis,48.86,2.35\nBerlin,52.52,13.40\n",
        "lng,country,latitude,city\n2.35,France,48.86,Paris\n13.40,Germany,52.52,Berlin\n",
    ],
)
def test_cities_of_the_globe(tmp_path, text):
    instances = reader.read(write(tmp_path, text, "cities.csv"))
    assert instances.labels == ("Paris", "Berlin")
    assert instances.points.tolist() == [[[48.86, 2.35], [52.52, 13.40]]]
    there_and_back = np.array([[0, 1]])
    assert reader.lengths(instances, there_and_back) == pytest.approx([2 * 878], rel=0.002)
    assert reader.euclidean_lengths(instances, there_and_back) == pytest.approx(
        reader.lengths(instances, there_and_back), rel=0.001
    )
    east_and_north = instances.coords[0, 1] - instances.coords[0, 0]
    assert (east_and_north > 0).all()


def test_the_globe_is_round(tmp_path):
    # Across the date line; on the 60th parallel a degree is half a degree of a meridian.
    text = "lat,lon\n60,179.5\n60,-179.5\n"
    instances = reader.read(write(tmp_path, text, "fiji.csv"))
    degree = 6371.0 * math.pi / 180
    assert reader.lengths(instances, np.array([[0, 1]])) == pytest.approx([degree], rel=1e-4)
    assert reader.matrix(instances, 0)[0, 1] == pytest.approx(degree / 2, rel=1e-4)
    planar = reader.euclidean_lengths(instances, np.array([[0, 1]]))
    assert planar == pytest.approx([degree], rel=1e-4)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", None, "holds no city"),
        ("# nothing\n", None, "holds no city"),
        ("x,y\n", 1, "a header and no city"),
        ("x,y\n0,1\n0,one\n", 3, "column 2: expected a number, got 'one'"),
        ("0,1\n\n0,inf\n", 3, "column 2: expected a number"),
        ("x,y\n0\n", 2, "expected 2 columns or more, got 1"),
        ("a,b\n0,1\n", 1, "expected columns x and y, or latitude and longitude.*'a,b'"),
        ("1,2,3\n", 1, "expected x,y or name,latitude,longitude, or a header.*'1,2,3'"),
        ("x,y\n0,1_0\n", 2, "column 2: expected a number, got '1_0'"),
        ("New York 40.7 -74\n", 1, "or a header; got 'New,York,40.7,-74'"),
        ("0,1\n0," + "1" * 200_000, 2, "field larger than"),
        ("A,100,2\n", 1, "latitude in .*100 and 2; a header name,x,y"),
    ],
)
def test_a_broken_csv_names_the_line(tmp_path, text, line, message):
    path = write(tmp_path, text, "points.csv")
    with pytest.raises(InstanceError, match=message) as caught:
        reader.read(path)
    assert str(caught.value).startswith(f"{path}: " if line is None else f"{path}:{line}: ")


def test_text_of_another_encoding_names_the_line(tmp_path):
    path = write(tmp_path, "Paris,48.86,2.35\nZürich,47.38,8.54\n", "a.csv", "latin-1")
    with pytest.raises(InstanceError, match=r"a\.csv:2: expected text in UTF-8"):
        reader.read(path)


def test_many_instances_of_an_array(tmp_path):
    array = np.random.default_rng(0).uniform(size=(3, 6, 2))
    np.save(tmp_path / "many.npy", array)
    instances = reader.read(tmp_path / "many.npy")
    assert instances.names == ("many[0]", "many[1]", "many[2]")
    tours = np.stack([np.random.default_rng(i).permutation(6) for i in range(3)])
    for index, (coords, tour) in enumerate(zip(array, tours, strict=True)):
        steps = coords[tour] - coords[np.roll(tour, -1)]
        expected = np.sqrt((steps**2).sum(axis=1)).sum()
        assert reader.lengths(instances, tours)[index] == pytest.approx(expected, abs=1e-12)
        distances = reader.matrix(instances, index)
        assert distances[tour, np.roll(tour, -1)].sum() == pytest.approx(expected)
    two = reader.first(instances, 2)
    assert two.names == instances.names[:2]
    assert reader.lengths(two, tours[:2]) == pytest.approx(reader.lengths(instances, tours)[:2])


def test_one_instance_of_an_array(tmp_path):
    np.save(tmp_path / "one.npy", np.arange(10).reshape(5, 2))
    instances = reader.read(tmp_path / "one.npy")
    assert instances.coords.shape == (1, 5, 2)
    assert instances.coords.dtype == np.float64
    assert instances.names == ("one",)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 3, 4)), r"expected shape \[instances, cities, 2\], got \[2, 3, 4\]"),
        (np.zeros((0, 3, 2)), "expected shape"),
        (np.zeros(4), "expected shape"),
        (np.zeros((1, 3, 2), complex), "real numbers, got complex128"),
        (np.array([[{}, {}]]), "not an array of numbers"),
    ],
)
def test_a_wrong_array_is_explained(tmp_path, array, message):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(InstanceError, match=message):
        reader.read(tmp_path / "a.npy")


def test_a_number_that_is_none_is_located(tmp_path):
    array = np.zeros((4, 5, 2))
    array[2, 3, 1] = np.nan
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(InstanceError, match="instance 2, city 3"):
        reader.read(tmp_path / "a.npy")


def test_a_torn_array_is_explained(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((4, 5, 2)))
    path = tmp_path / "a.npy"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(InstanceError, match="not an array of numbers"):
        reader.read(path)


def test_several_arrays_are_explained(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.zeros((4, 5, 2)))
    with pytest.raises(InstanceError, match=r"several in \.npz"):
        reader.read((tmp_path / "a.npz").rename(tmp_path / "a.npy"))


def test_no_file_a_folder_and_an_unknown_suffix(tmp_path):
    with pytest.raises(InstanceError, match="File name too long"):
        reader.read(tmp_path / f"{'a' * 300}.csv")
    with pytest.raises(InstanceError, match=r"none\.tsp: no such file"):
        reader.read(tmp_path / "none.tsp")
    with pytest.raises(InstanceError, match="is not a file"):
        reader.read(tmp_path)
    with pytest.raises(InstanceError, match=r"\.tsp, \.atsp, \.csv"):
        reader.read(write(tmp_path, "", "a.json"))


class TestUnitSquare:
    def of(self, folder, points):
        np.save(folder / "a.npy", np.asarray(points, float))
        return reader.unit_square(reader.read(folder / "a.npy"))

    def test_one_scale_for_both_axes_and_the_shorter_side_centred(self, tmp_path):
        square = self.of(tmp_path, [[100, 10], [300, 10], [200, 60]])
        assert square.dtype == np.float32
        np.testing.assert_allclose(square[0], [[0, 0.375], [1, 0.375], [0.5, 0.625]], atol=1e-7)

    def test_instances_of_the_unit_square_are_left_alone(self, tmp_path):
        points = np.random.default_rng(1).uniform(size=(5, 20, 2))
        np.testing.assert_array_equal(self.of(tmp_path, points), points.astype(np.float32))

    def test_a_cluster_within_the_unit_square_is_spread(self, tmp_path):
        square = self.of(tmp_path, [[0.10, 0.2], [0.12, 0.2], [0.11, 0.21]])
        assert np.ptp(square[0], axis=0) == pytest.approx([1.0, 0.5], abs=1e-5)

    def test_each_instance_for_itself(self, tmp_path):
        one, two = np.random.default_rng(2).uniform(size=(2, 4, 2))
        square = self.of(tmp_path, [one, 50 * two])
        np.testing.assert_array_equal(square[0], one.astype(np.float32))
        assert (square >= 0).all()
        assert (square <= 1).all()

    def test_coincident_cities(self, tmp_path):
        np.testing.assert_array_equal(self.of(tmp_path, np.full((3, 2), 7.0)), 0.5)


def test_bundled_cities():
    folder = importlib.import_module("experiments.data").__path__[0]
    instances = reader.read(f"{folder}/bundled/cities.csv")
    assert len(instances.labels) == instances.cities > 40
    assert instances.metric == "GREAT_CIRCLE"
    square = reader.unit_square(instances)[0]
    city = dict(zip(instances.labels, square, strict=True))
    assert city["Lisbon"][0] < city["Paris"][0] < city["Warsaw"][0]
    assert city["Athens"][1] < city["Paris"][1] < city["Stockholm"][1]
    tour = np.arange(instances.cities)[None]
    planar, round_ = reader.euclidean_lengths(instances, tour), reader.lengths(instances, tour)
    assert planar == pytest.approx(round_, rel=0.01)
