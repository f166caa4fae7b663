"""Cities on a map, and TSPLIB's distances against the published optima."""

import itertools

import numpy as np
import pytest

from experiments import data
from experiments.data import geography
from experiments.data.maps import EARTH_RADIUS_KM

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


PLANAR = """NAME : t
TYPE : TSP
DIMENSION : 3
EDGE_WEIGHT_TYPE : KIND
NODE_COORD_SECTION
1 0 0
2 3 4
3 1.5 0.5
EOF
"""


def write(tmp_path, name: str, content: str):
    (tmp_path / f"{name}.tsp").write_text(content)
    return geography.load_tsplib(tmp_path, name=name)


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
    loaded = write(tmp_path, "burma14", BURMA14)
    assert loaded["coords"].shape == (14, 2)
    assert loaded["distances"].dtype == np.int64
    np.testing.assert_array_equal(loaded["distances"], loaded["distances"].T)
    tour = np.array([1, 2, 14, 3, 4, 5, 6, 12, 7, 13, 8, 11, 9, 10]) - 1
    length = loaded["distances"][tour, np.roll(tour, -1)].sum()
    assert length == loaded["optimum"] == 3323


def test_no_tour_of_burma14_is_shorter(tmp_path):
    assert shortest(write(tmp_path, "burma14", BURMA14)["distances"]) == 3323


def test_planar_distances_round_as_tsplib_says(tmp_path):
    # 5, sqrt(2.5) = 1.58, sqrt(14.5) = 3.81; ATT divides the square by 10 and rounds up.
    for kind, expected in (("EUC_2D", [5, 2, 4]), ("CEIL_2D", [5, 2, 4]), ("ATT", [2, 1, 2])):
        distances = write(tmp_path, kind, PLANAR.replace("KIND", kind))["distances"]
        assert [distances[0, 1], distances[0, 2], distances[1, 2]] == expected


def test_a_matrix_without_coordinates(tmp_path):
    head = PLANAR.partition("NODE")[0].replace("KIND", "EXPLICIT\nEDGE_WEIGHT_FORMAT : FULL_MATRIX")
    loaded = write(tmp_path, "m", f"{head}EDGE_WEIGHT_SECTION\n9999 1 2\n1 9999 3\n2 3 9999\nEOF\n")
    np.testing.assert_array_equal(loaded["distances"], [[0, 1, 2], [1, 0, 3], [2, 3, 0]])
    assert loaded["coords"] is None
    assert loaded["optimum"] is None


def test_a_folder_of_instances(tmp_path):
    write(tmp_path, "burma14", BURMA14)
    write(tmp_path, "mine", PLANAR.replace("KIND", "EUC_2D"))
    loaded = geography.load_tsplib(tmp_path)
    assert {name: fields["optimum"] for name, fields in loaded.items()} == {
        "burma14": 3323,
        "mine": None,
    }
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
    return 2 * EARTH_RADIUS_KM * np.arcsin(chord / 2)


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
