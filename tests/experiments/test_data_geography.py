"""Cities on a map, and TSPLIB's distances against the published optima."""

import itertools

import numpy as np
import pytest

from experiments import data
from experiments.data import geography

# TSPLIB's burma14 (GEO), with an optimal tour; its length is the published optimum.
BURMA14 = """NAME: burma14
TYPE: TSP
COMMENT: 14-Staedte in Burma (Zaw Win)
DIMENSION: 14
EDGE_WEIGHT_TYPE: GEO
EDGE_WEIGHT_FORMAT: FUNCTION
NODE_COORD_SECTION
1 16.47 96.10
2 16.47 94.44
3 20.09 92.54
4 22.39 93.37
5 25.23 97.24
6 22.00 96.05
7 20.47 97.02
8 17.20 96.29
9 16.30 97.38
10 14.05 98.12
11 16.53 97.38
12 21.52 95.59
13 19.41 97.13
14 20.09 94.55
EOF
"""


def instance(kind: str, body: str, size: int = 3, form: str = "") -> str:
    form = f"EDGE_WEIGHT_FORMAT : {form}\n" if form else ""
    head = f"NAME : t\nTYPE : TSP\nDIMENSION : {size}\nEDGE_WEIGHT_TYPE : {kind}\n{form}"
    return f"{head}{body}\nEOF\n"


def read(tmp_path, content: str):
    path = tmp_path / "t.tsp"
    path.write_text(content)
    return geography.read_tsplib(path)


def shortest(distances: np.ndarray) -> int:
    """Held and Karp's dynamic programme: exact."""
    size = len(distances)
    best = {(1 << (k - 1), k): distances[0, k] for k in range(1, size)}
    for length in range(2, size):
        for subset in itertools.combinations(range(1, size), length):
            bits = sum(1 << (k - 1) for k in subset)
            for last in subset:
                rest = bits & ~(1 << (last - 1))
                best[bits, last] = min(
                    best[rest, k] + distances[k, last] for k in subset if k != last
                )
    full = (1 << (size - 1)) - 1
    return int(min(best[full, k] + distances[k, 0] for k in range(1, size)))


def test_geographical_distances_give_the_published_optimum(tmp_path):
    loaded = read(tmp_path, BURMA14)
    assert loaded["name"] == "burma14"
    assert loaded["coords"].shape == (14, 2)
    assert loaded["distances"].dtype == np.int64
    tour = np.array([1, 2, 14, 3, 4, 5, 6, 12, 7, 13, 8, 11, 9, 10]) - 1
    length = loaded["distances"][tour, np.roll(tour, -1)].sum()
    assert length == geography.OPTIMA["burma14"] == 3323


@pytest.mark.slow
def test_no_tour_of_burma14_is_shorter(tmp_path):
    assert shortest(read(tmp_path, BURMA14)["distances"]) == 3323


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        # Distances 5, sqrt(2.5) = 1.58, sqrt(3.25) = 1.80 ... on a small triangle.
        ("EUC_2D", [5, 2, 4]),
        ("CEIL_2D", [5, 2, 4]),
        ("ATT", [2, 1, 2]),
    ],
)
def test_planar_distances_round_as_tsplib_says(kind, expected, tmp_path):
    body = "NODE_COORD_SECTION\n1 0 0\n2 3 4\n3 1.5 0.5"
    distances = read(tmp_path, instance(kind, body))["distances"]
    exact = np.array([5.0, np.hypot(1.5, 0.5), np.hypot(1.5, 3.5)])
    if kind == "EUC_2D":
        assert expected == np.floor(exact + 0.5).tolist()
    assert [distances[0, 1], distances[0, 2], distances[1, 2]] == expected
    np.testing.assert_array_equal(distances, distances.T)


@pytest.mark.parametrize(
    ("form", "weights"),
    [
        ("FULL_MATRIX", "0 1 2 3 1 0 4 5 2 4 0 6 3 5 6 0"),
        ("LOWER_DIAG_ROW", "0 1 0 2 4 0 3 5 6 0"),
        ("UPPER_DIAG_COL", "0 1 0 2 4 0 3 5 6 0"),
        ("UPPER_DIAG_ROW", "0 1 2 3 0 4 5 0 6 0"),
        ("LOWER_DIAG_COL", "0 1 2 3\n0 4 5\n0 6\n0"),
        ("UPPER_ROW", "1 2 3\n4 5\n6"),
        ("LOWER_COL", "1 2 3 4 5 6"),
        ("LOWER_ROW", "1 2 4 3 5 6"),
        ("UPPER_COL", "1 2 4 3 5 6"),
    ],
)
def test_every_matrix_format_gives_the_same_matrix(form, weights, tmp_path):
    body = f"EDGE_WEIGHT_SECTION\n{weights}"
    loaded = read(tmp_path, instance("EXPLICIT", body, 4, form))
    expected = [[0, 1, 2, 3], [1, 0, 4, 5], [2, 4, 0, 6], [3, 5, 6, 0]]
    np.testing.assert_array_equal(loaded["distances"], expected)
    assert loaded["coords"] is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (BURMA14.replace("GEO", "XRAY1"), "EDGE_WEIGHT_TYPE: expected one of .*got 'XRAY1'"),
        (BURMA14.replace(": TSP", ": ATSP"), "TYPE: expected TSP; got 'ATSP'"),
        (BURMA14.replace("DIMENSION: 14", "DIMENSION: 15"), "expected 15 coordinates; got 14"),
        (instance("EXPLICIT", "EDGE_WEIGHT_SECTION\n1", 2, "ODD"), "EDGE_WEIGHT_FORMAT.*'ODD'"),
        (instance("EXPLICIT", "EDGE_WEIGHT_SECTION\n1 2", 3, "UPPER_ROW"), "3 weights; got 2"),
        ("NAME: t\nTYPE: TSP\n", "DIMENSION"),
    ],
)
def test_files_that_are_not_read_say_why(content, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, content)


def test_a_folder_of_instances(tmp_path):
    (tmp_path / "burma14.tsp").write_text(BURMA14)
    (tmp_path / "mine.tsp").write_text(instance("EUC_2D", "NODE_COORD_SECTION\n1 0 0\n2 3 4", 2))
    loaded = geography.load_tsplib(tmp_path)
    assert [entry["optimum"] for entry in loaded.values()] == [3323, None]
    assert geography.load_tsplib(tmp_path, name="mine")["distances"].tolist() == [[0, 5], [5, 0]]
    with pytest.raises(FileNotFoundError, match="expected one of burma14, mine; got 'eil51'"):
        geography.load_tsplib(tmp_path, name="eil51")


def test_cities_are_a_map_of_one_scale():
    cities = data.load("cities")
    coords = cities["coords"].astype(np.float64)
    assert coords.shape == (50, 2)
    assert cities["coords"].dtype == np.float32
    assert coords.min() >= 0
    assert coords.max() <= 1
    assert len(set(cities["name"])) == 50
    place = {name: index for index, name in enumerate(cities["name"])}
    assert coords[place["Helsinki"], 1] > coords[place["Athens"], 1]
    assert coords[place["Lisbon"], 0] < coords[place["Kyiv"], 0]
    straight = np.hypot(*(coords[:, None] - coords[None]).transpose(2, 0, 1))
    great_circle = _great_circle(cities["latitude"], cities["longitude"])
    ratio = straight * cities["km_per_unit"] / np.where(great_circle, great_circle, np.nan)
    assert np.nanmin(ratio) > 0.97
    assert np.nanmax(ratio) < 1.03


def _great_circle(latitude, longitude):
    phi, theta = np.radians(latitude), np.radians(longitude)
    points = np.stack([np.cos(phi) * np.cos(theta), np.cos(phi) * np.sin(theta), np.sin(phi)], -1)
    chord = np.linalg.norm(points[:, None] - points[None], axis=-1)
    return 2 * geography.EARTH_RADIUS_KM * np.arcsin(chord / 2)


def test_known_distances_between_cities():
    cities = data.load("cities")
    place = {name: index for index, name in enumerate(cities["name"])}
    kilometres = _great_circle(cities["latitude"], cities["longitude"])
    # Well-known distances as the crow flies.
    for first, second, expected in (
        ("London", "Paris", 344),
        ("Berlin", "Warsaw", 517),
        ("Madrid", "Rome", 1365),
        ("Helsinki", "Tallinn", 82),
        ("Athens", "Sofia", 525),
    ):
        assert kilometres[place[first], place[second]] == pytest.approx(expected, rel=0.02)
