"""Pictures: what is drawn, where names stand, and that files are whole and the same every time."""

import sys

import numpy as np
import pytest

from experiments.nco import tours as pictures

SQUARE = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
ROUND, CROSSED = np.array([0, 1, 2, 3]), np.array([0, 2, 1, 3])


@pytest.fixture
def figures(monkeypatch):
    """The figures that were drawn, instead of files."""
    drawn = []
    monkeypatch.setattr(pictures, "_save", lambda figure, path: drawn.append(figure))
    return drawn


def draw(path, coords, tours, lengths=None, *, title="", **options):
    steps = {name: coords[tour] - coords[np.roll(tour, -1)] for name, tour in tours.items()}
    lengths = lengths or {name: float(np.hypot(*each.T).sum()) for name, each in steps.items()}
    panels = pictures.side_by_side(coords, tours, lengths, **options)
    pictures.draw_panels(path, panels, title=title)


def panels_of(figure):
    return [axes for axes in figure.axes if axes.get_title()]


def test_every_tour_is_drawn_closed_with_its_length(figures, tmp_path):
    draw(tmp_path / "a.png", SQUARE, {"crossed": CROSSED, "round": ROUND})
    crossed, best = panels_of(figures[0])
    assert [axes.get_title() for axes in (crossed, best)] == ["crossed", "round"]
    assert best.get_xlabel() == "length 4"
    assert crossed.get_xlabel() == "length 4.828 (+20.7%)"
    segments = np.array(best.collections[0].get_segments())
    np.testing.assert_array_equal(segments[:, 0], SQUARE[ROUND])
    np.testing.assert_array_equal(segments[:, 1], SQUARE[np.roll(ROUND, -1)])


def test_edges_that_the_best_tour_lacks_stand_out(figures, tmp_path):
    draw(tmp_path / "a.png", SQUARE, {"crossed": CROSSED, "round": ROUND})
    crossed, best = panels_of(figures[0])
    # 0-2 and 1-3 cross; 2-1 and 3-0 are sides of the square.
    colours = [tuple(colour) for colour in crossed.collections[0].get_colors()]
    assert colours[0] == colours[2] != colours[1] == colours[3]
    assert {tuple(colour) for colour in best.collections[0].get_colors()} == {colours[1]}
    assert "orange" in figures[0].get_supxlabel()


def test_given_lengths_and_units_are_written(figures, tmp_path):
    lengths = {"one": 12345.6, "two": 13000.0}
    tours = {"one": ROUND, "two": ROUND}
    draw(tmp_path / "a.png", SQUARE, tours, lengths, unit="km", title="T")
    one, two = panels_of(figures[0])
    assert one.get_xlabel() == "length 12,346 km"
    assert two.get_xlabel() == "length 13,000 km (+5.3%)"
    assert figures[0].get_suptitle() == "T"
    assert figures[0].get_supxlabel() == ""  # no edge differs


def test_one_scale_for_both_axes(figures, tmp_path):
    draw(tmp_path / "a.png", SQUARE * [10, 1], {"a": ROUND})
    (axes,) = panels_of(figures[0])
    assert axes.get_aspect() == 1.0
    assert axes.get_xlim()[0] < 0 < 10 < axes.get_xlim()[1]


@pytest.mark.parametrize(("count", "places"), [(1, 1), (5, 5), (6, 6), (7, 8), (9, 10)])
def test_many_panels_fill_rows(figures, tmp_path, count, places):
    panels = [pictures.Panel(str(index), SQUARE, ROUND) for index in range(count)]
    pictures.draw_panels(tmp_path / "a.png", panels)
    assert len(figures[0].axes) == places
    assert len(panels_of(figures[0])) == count


def test_a_map_names_every_city_without_overlap(figures, tmp_path):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    # Pairs of cities so close that their names collide unless they are placed apart.
    corners = np.array([[x, y] for x in range(4) for y in range(3)], float)
    points = np.concatenate([corners, corners + np.array([0.03, 0.01])])
    names = [f"Somewhere {index}" for index in range(24)]
    tour = np.random.default_rng(0).permutation(24)
    draw(tmp_path / "a.png", points, {"map": tour}, labels=names)
    figure = figures[0]
    (axes,) = panels_of(figure)
    assert [text.get_text() for text in axes.texts] == names
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [text.get_window_extent(renderer) for text in axes.texts]
    frame = axes.get_window_extent(renderer)
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 for box in boxes)
    collisions = sum(boxes[i].overlaps(boxes[j]) for i in range(24) for j in range(i))
    assert collisions == 0
    for text, box, point in zip(axes.texts, boxes, axes.transData.transform(points), strict=True):
        gap = np.maximum(np.array(box.extents[:2]) - point, point - np.array(box.extents[2:]))
        assert gap.max() < 12, text.get_text()  # pixels: a name stands at its city


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_the_same_arguments_give_the_same_file(tmp_path, suffix):
    points = np.random.default_rng(1).uniform(size=(5, 2))
    names = ["Ålesund", "Łódź", "a", "b", ""]
    files = [tmp_path / f"{name}{suffix}" for name in ("one", "two")]
    for path in files:
        draw(path, points, {"a": np.arange(5)}, labels=names, title="t")
    assert files[0].read_bytes() == files[1].read_bytes()
    assert sorted(tmp_path.iterdir()) == files  # and no temporary file is left


@pytest.mark.parametrize("cities", [1, 2, 500])
def test_sizes(tmp_path, cities):
    points = np.random.default_rng(2).uniform(size=(cities, 2))
    draw(tmp_path / "a.png", points, {"a": np.arange(cities)})
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_coincident_cities(tmp_path):
    draw(tmp_path / "a.png", np.zeros((3, 2)), {"a": np.arange(3)}, labels="abc")
    assert (tmp_path / "a.png").exists()


def test_a_failure_leaves_the_older_file(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    path = tmp_path / "a.png"
    path.write_bytes(b"older")

    def fail(figure, target, **options):
        target.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        draw(path, SQUARE, {"a": ROUND})
    assert path.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "coords", "tours", "options", "message"),
    [
        ("a.gif", SQUARE, {"a": ROUND}, {}, "path: expected .*png"),
        ("a.png", SQUARE, {}, {}, "at least one"),
        ("a.png", SQUARE, {"a": ROUND[:3]}, {"lengths": {"a": 1}}, "tour: expected a permutation"),
        ("a.png", SQUARE[:, :1], {"a": ROUND}, {"lengths": {"a": 1}}, "coords: expected shape"),
        ("a.png", SQUARE, {"a": ROUND}, {"labels": ["x"]}, "labels: expected 4, got 1"),
    ],
)
def test_bad_arguments_are_named(tmp_path, name, coords, tours, options, message):
    with pytest.raises(ValueError, match=message):
        draw(tmp_path / name, coords, tours, **options)


def test_a_missing_library_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r'pip install "ncolab\[demo\]"'):
        draw(tmp_path / "a.png", SQUARE, {"a": ROUND})
