"""TSPLIB's files: what is read, what lengths come out, and what a broken file is told."""

import math
from pathlib import Path

import numpy as np
import pytest

from experiments.data import instances as reader
from experiments.data.tsplib import InstanceError

IN_ORDER = np.array([[0, 1, 2, 3]])
HEADER = "NAME: four\nTYPE: TSP\nDIMENSION: 4\nEDGE_WEIGHT_TYPE: {}\n"
# Sides of 1.5, 2.5, 1.5 and 2.5.
RECTANGLE = "NODE_COORD_SECTION\n1 0 0\n2 1.5 0\n3 1.5 2.5\n4 0 2.5\nEOF\n"


def write(folder, text, name="file.tsp", encoding="utf-8"):
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def explicit(form, numbers):
    head = HEADER.format("EXPLICIT") + f"EDGE_WEIGHT_FORMAT: {form}\n"
    return head + f"EDGE_WEIGHT_SECTION\n{numbers}\nEOF\n"


@pytest.mark.parametrize(
    ("weight_type", "expected"),
    [
        ("EUC_2D", 2 * (2 + 3)),  # x.5 rounds up
        ("CEIL_2D", 2 * (2 + 3)),
        ("MAN_2D", 2 * (2 + 3)),
        ("MAX_2D", 2 * (2 + 3)),
        ("ATT", 4 * 1),  # sqrt(0.225) = 0.47 and sqrt(0.625) = 0.79, both up to 1
    ],
)
def test_lengths_of_a_rectangle(tmp_path, weight_type, expected):
    instances = reader.read(write(tmp_path, HEADER.format(weight_type) + RECTANGLE))
    assert reader.lengths(instances, IN_ORDER).tolist() == [expected]
    assert reader.euclidean_lengths(instances, IN_ORDER) == pytest.approx([8.0])
    assert (instances.names, instances.metric, instances.cities) == (("four",), weight_type, 4)


@pytest.mark.parametrize(
    ("weight_type", "diagonal"),
    [("EUC_2D", 1), ("CEIL_2D", 2), ("MAN_2D", 2), ("MAX_2D", 1), ("ATT", 1)],
)
def test_rounding_of_a_unit_diagonal(tmp_path, weight_type, diagonal):
    text = HEADER.format(weight_type).replace("4", "2") + "NODE_COORD_SECTION\n1 0 0\n2 1 1\n"
    instances = reader.read(write(tmp_path, text))
    assert reader.matrix(instances, 0).tolist() == [[0, diagonal], [diagonal, 0]]


def test_geographical_distances_in_degrees_and_minutes(tmp_path):
    # Half a degree of a meridian, given as 0.30 (30 minutes) to 1.00: 6378.388 km * pi / 360.
    text = HEADER.format("GEO").replace("4", "2") + "NODE_COORD_SECTION\n1 0.30 10\n2 1.00 10\n"
    instances = reader.read(write(tmp_path, text))
    assert reader.matrix(instances, 0)[0, 1] == int(6378.388 * math.pi / 360 + 1) == 56
    assert instances.unit == "km"
    assert reader.euclidean_lengths(instances, np.array([[0, 1]])) == pytest.approx(
        [2 * 6371.0 * math.pi / 360], rel=1e-4
    )


def test_lengths_in_space_have_no_plane(tmp_path):
    cube = "NODE_COORD_SECTION\n1 0 0 0\n2 1 0 0\n3 1 2 0\n4 1 2 2\nEOF\n"
    instances = reader.read(write(tmp_path, HEADER.format("EUC_3D") + cube))
    assert reader.lengths(instances, IN_ORDER).tolist() == [1 + 2 + 2 + 3]
    assert reader.euclidean_lengths(instances, IN_ORDER) is None
    with pytest.raises(InstanceError, match=r"not planar \(EUC_3D\).*points of the plane"):
        reader.unit_square(instances)


@pytest.mark.parametrize(("weight_type", "expected"), [("MAN_3D", 10), ("MAX_3D", 7)])
def test_lengths_in_space_by_other_metrics(tmp_path, weight_type, expected):
    cube = "NODE_COORD_SECTION\n1 0 0 0\n2 1 0 0\n3 1 2 0\n4 1 2 2\nEOF\n"
    instances = reader.read(write(tmp_path, HEADER.format(weight_type) + cube))
    assert reader.lengths(instances, IN_ORDER).tolist() == [expected]  # 1 + 2 + 2, and 5 or 2


OPTIMAL_TOURS = {  # with TSPLIB's published lengths; burma14 (GEO) is in test_data_geography
    "gr17": (2085, "1 4 13 7 8 6 17 14 15 3 11 10 2 5 9 12 16"),
    "att48": (
        10_628,
        "1 8 38 31 44 18 7 28 6 37 19 27 17 43 30 36 46 33 20 47 21 32 39 48 5 42 24 10 45 35 4 26 "
        "2 29 34 41 16 22 3 23 14 25 13 11 12 15 40 9",
    ),
    "eil51": (
        426,
        "1 22 8 26 31 28 3 36 35 20 2 29 21 16 50 34 30 9 49 10 39 33 45 15 44 42 40 19 41 13 25 "
        "14 24 43 7 23 48 6 27 51 46 12 47 18 4 17 37 5 38 11 32",
    ),
}


@pytest.mark.parametrize("name", OPTIMAL_TOURS)
def test_optimal_tours_of_tsplib_have_the_published_length(name):
    """An explicit matrix, ATT and EUC_2D, from TSPLIB's own files."""
    published, cities = OPTIMAL_TOURS[name]
    instances = reader.read(Path(__file__).with_name("tsplib") / f"{name}.tsp")
    tour = np.array([[int(city) - 1 for city in cities.split()]])
    assert sorted(tour[0].tolist()) == list(range(instances.cities))
    assert reader.lengths(instances, tour).tolist() == [published]


@pytest.mark.parametrize(
    ("form", "numbers"),
    [
        ("FULL_MATRIX", "0 1 2 3\n1 0 4 5\n2 4 0 6\n3 5 6 0"),
        ("UPPER_ROW", "1 2 3\n4 5\n6"),
        ("LOWER_ROW", "1\n2 4\n3 5 6"),
        ("UPPER_DIAG_ROW", "0 1 2 3 0 4 5 0 6 0"),
        ("LOWER_DIAG_ROW", "0 1 0 2 4\n0 3 5 6 0"),
        ("UPPER_COL", "1 2 4 3 5 6"),
        ("LOWER_COL", "1 2 3 4 5 6"),
        ("UPPER_DIAG_COL", "0 1 0 2 4 0 3 5 6 0"),
        ("LOWER_DIAG_COL", "0 1 2 3 0 4 5 0 6 0"),
    ],
)
def test_every_form_of_an_explicit_matrix(tmp_path, form, numbers):
    instances = reader.read(write(tmp_path, explicit(form, numbers)))
    expected = [[0, 1, 2, 3], [1, 0, 4, 5], [2, 4, 0, 6], [3, 5, 6, 0]]
    assert reader.matrix(instances, 0).tolist() == expected
    assert reader.lengths(instances, IN_ORDER).tolist() == [1 + 4 + 6 + 3]
    assert reader.lengths(instances, np.array([[0, 2, 1, 3]])).tolist() == [2 + 4 + 5 + 3]
    with pytest.raises(InstanceError, match=r"matrix of weights and no coordinates.*near_optimal"):
        reader.unit_square(instances)


def test_explicit_with_a_picture_is_still_refused_by_the_network(tmp_path):
    text = explicit("UPPER_ROW", "1 2 3 4 5 6").replace("EOF", "DISPLAY_DATA_SECTION") + (
        "1 0 0\n2 1 0\n3 1 1\n4 0 1\n"
    )
    instances = reader.read(write(tmp_path, text))
    assert instances.display.tolist() == [[[0, 0], [1, 0], [1, 1], [0, 1]]]
    assert reader.lengths(instances, IN_ORDER).tolist() == [1 + 4 + 6 + 3]
    with pytest.raises(InstanceError, match="matrix of weights"):
        reader.unit_square(instances)


def test_asymmetric_weights_follow_the_direction(tmp_path):
    text = explicit("FULL_MATRIX", "9999 1 2 3 4 9999 5 6 7 8 9999 9 10 11 12 9999")
    instances = reader.read(write(tmp_path, text.replace("TYPE: TSP", "TYPE: ATSP"), "a.atsp"))
    assert reader.lengths(instances, IN_ORDER).tolist() == [1 + 5 + 9 + 10]
    assert reader.lengths(instances, IN_ORDER[:, ::-1]).tolist() == [12 + 8 + 4 + 3]


def test_what_other_writers_of_the_format_do(tmp_path):
    text = (
        "NAME : odd  \r\nCOMMENT : TYPE: not a type, NAME: not a name\r\nTYPE : TSP (M.~Hofmeister)"
        "\r\nDIMENSION : 3\r\nBEST_KNOWN : 12\r\nEDGE_WEIGHT_TYPE : EUC_2D\r\n"
        "NODE_COORD_SECTION :\r\n 30 3.0e+00 0\r\n 10 0 0\r\n\r\n 20 0 -4.0 \r\n EOF"
    )
    instances = reader.read(write(tmp_path, text))
    assert instances.points.tolist() == [[[0, 0], [0, -4], [3, 0]]]  # by the cities' numbers
    assert reader.lengths(instances, np.array([[0, 1, 2]])).tolist() == [4 + 5 + 3]
    assert instances.names == ("odd",)


PLANAR = HEADER.format("EUC_2D") + "NODE_COORD_SECTION\n1 0 0\n2 3 0\n3 3 4\n4 0 4\nEOF\n"


@pytest.mark.parametrize(
    "text",
    [
        PLANAR.lower(),
        PLANAR.replace("EUC_2D", "euc_2d").replace(": TSP", ": tsp"),
        "\ufeff" + PLANAR,
        PLANAR.replace("1 0 0", "-7 0 0").replace("4 0 4", "999999999999 0 4"),
        PLANAR.replace("\n1 0", "\n  +1\t0.").replace("3 4", "3e0 .4E+1"),
        PLANAR.replace("NAME: four", "NAME: DIMENSION: 7 EOF").replace("EOF\n", "eof\n"),
        PLANAR.replace("NAME: four", "NAME: TYPE\nCOMMENT: EOF\nComment: NODE_COORD_SECTION"),
    ],
)
def test_either_case_any_numbers_and_names_like_keywords(tmp_path, text):
    instances = reader.read(write(tmp_path, text))
    assert instances.points.tolist() == [[[0, 0], [3, 0], [3, 4], [0, 4]]]
    assert instances.metric == "EUC_2D"
    assert reader.lengths(instances, IN_ORDER).tolist() == [14]


def test_a_matrix_keeps_all_its_cities_beside_a_few_coordinates(tmp_path):
    text = explicit("FULL_MATRIX", "0 3 5 4\n3 0 4 5\n5 4 0 3\n4 5 3 0")
    some = text.replace("EOF", "NODE_COORD_SECTION\n1 0 0\n2 3 0\n3 3 4\nEOF")
    instances = reader.read(write(tmp_path, some))
    assert instances.cities == 4
    assert reader.lengths(instances, IN_ORDER).tolist() == [14]
    gaps = text.replace("EOF", "DISPLAY_DATA_SECTION\n40 0 4\n10 0 0\n20 3 0\n30 3 4\nEOF")
    instances = reader.read(write(tmp_path, gaps))
    assert instances.display.tolist() == [[[0, 0], [3, 0], [3, 4], [0, 4]]]
    fewer = gaps.replace("10 0 0\n", "")
    with pytest.raises(InstanceError, match=r"tsp:14: DISPLAY_DATA_SECTION ends after 3 of 4"):
        reader.read(write(tmp_path, fewer))


@pytest.mark.parametrize("form", ["FULL_MATRIX", "UPPER_DIAG_ROW", "LOWER_DIAG_COL"])
def test_the_diagonal_of_a_matrix_counts_for_nothing(tmp_path, form):
    numbers = {
        "FULL_MATRIX": "-1 3 4\n3 9999 5\n4 5 0",
        "UPPER_DIAG_ROW": "-1 3 4 9999 5 0",
        "LOWER_DIAG_COL": "-1 3 4\n9999 5\n0",
    }[form]
    text = explicit(form, numbers).replace("DIMENSION: 4", "DIMENSION: 3")
    instances = reader.read(write(tmp_path, text))
    assert reader.matrix(instances, 0).tolist() == [[0, 3, 4], [3, 0, 5], [4, 5, 0]]
    with pytest.raises(InstanceError, match=r"file\.tsp:7: expected weights of at least 0, got -5"):
        reader.read(write(tmp_path, text.replace("SECTION\n-1 3 4", "SECTION\n-1 3 -5")))


def test_geographical_distances_round_by_tsplibs_own_pi(tmp_path):
    text = HEADER.format("GEO").replace("4", "2") + TWO
    text = text.replace("1 0 0", "1 0.19 32.25").replace("2 1 1", "2 12.07 15.03")
    assert reader.matrix(reader.read(write(tmp_path, text)), 0)[0, 1] == 2325  # 2324 by math.pi


@pytest.mark.parametrize(("weight_type", "expected"), [("XRAY1", 1600), ("XRAY2", 1391)])
def test_crystallographic_distances(tmp_path, weight_type, expected):
    text = HEADER.format(weight_type).replace("4", "2")
    text += "NODE_COORD_SECTION\n1 350 0 0\n2 2 3 -16\n"  # 12 round the circle, 3, 16
    assert reader.matrix(reader.read(write(tmp_path, text)), 0)[0, 1] == expected


TWO = "NODE_COORD_SECTION\n1 0 0\n2 1 1\n"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", None, "DIMENSION is missing"),
        ("hello\n", 1, "expected 'KEYWORD : value'"),
        (HEADER.format("EUC_2D") + TWO, 7, "ends after 2 of 4 cities"),
        (HEADER.format("EUC_2D") + TWO + "2 3 3\n", 8, "city 2 is there twice"),
        (HEADER.format("EUC_2D") + TWO + "3 1\n", 8, "a city's number and 2 coordinates.*'3 1'"),
        (HEADER.format("EUC_2D") + TWO + "3 1 1 1\n", 8, "2 coordinates"),
        (HEADER.format("EUC_2D") + TWO + "3 one 1\n", 8, "expected a number, got 'one'"),
        (HEADER.format("EUC_2D") + TWO + "3 nan 1\n", 8, "expected a number, got 'nan'"),
        (HEADER.format("EUC_2D") + TWO + "3 0 0\n4 0 0\n5 0 0\n", 10, "more cities than DIMENSION"),
        (HEADER.format("EUC_2D"), None, "NODE_COORD_SECTION is missing"),
        (HEADER.format("EUC_3D") + RECTANGLE, 6, "3 coordinates"),
        (HEADER.format("SPECIAL") + RECTANGLE, 4, "EDGE_WEIGHT_TYPE.*'SPECIAL'"),
        ("TYPE: CVRP\n" + RECTANGLE, 1, "TYPE: expected one of TSP, ATSP, got 'CVRP'"),
        ("TYPE: TSP\nDIMENSION: four\n", 2, "DIMENSION.*'four'"),
        ("TYPE: TSP\nDIMENSION: 0\n", 2, "DIMENSION.*'0'"),
        ("DIMENSION: 4\n" + RECTANGLE, None, "EDGE_WEIGHT_TYPE is missing"),
        (explicit("UPPER_ROW", "1 2 3\n4 5"), 8, "ends after 5 of 6 weights"),
        (explicit("UPPER_ROW", "1 2 3\n4 5\n6 7"), 9, "more weights than UPPER_ROW has"),
        (explicit("UPPER_ROW", "1 2 3\n4 x"), 8, "expected a number, got 'x'"),
        (explicit("UPPER_ROW", "1 2 3\n4 -5 6"), 8, "at least 0, got -5"),
        (explicit("SPIRAL", "1 2 3\n4 5 6"), 5, "EDGE_WEIGHT_FORMAT.*'SPIRAL'"),
        (HEADER.format("EUC_2D") + TWO + "--1 3 3\n", 8, "a city's number and 2 .*'--1 3 3'"),
        (HEADER.format("EUC_2D") + TWO + "1_0 3 3\n", 8, "a city's number and 2 .*'1_0 3 3'"),
        (HEADER.format("EUC_2D") + TWO + "9" * 5000 + " 3 3\n", 8, "a city's number and 2"),
        (HEADER.format("EUC_2D") + TWO + "3 1_0 3\n", 8, "expected a number, got '1_0'"),
        (HEADER.format("EUC_2D") + TWO + "3 1e999 3\n", 8, "expected a number, got '1e999'"),
        (HEADER.format("EUC_2D") + RECTANGLE[:-4] + TWO, 10, "NODE_COORD_SECTION is there twice"),
        ("DIMENSION: 4\nDimension: 5\n" + RECTANGLE, 2, "Dimension is there twice"),
        ("DIMENSION: 1_0\n", 1, "DIMENSION.*'1_0'"),
        (HEADER.format("EUC_2D") + "FIXED_EDGES_SECTION\n1 2\n-1\n" + RECTANGLE, 5, "fixed edges"),
    ],
)
def test_a_broken_tsplib_file_names_the_line(tmp_path, text, line, message):
    path = write(tmp_path, text)
    with pytest.raises(InstanceError, match=message) as caught:
        reader.read(path)
    assert str(caught.value).startswith(f"{path}: " if line is None else f"{path}:{line}: ")
