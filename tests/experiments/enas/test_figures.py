"""What a picture of an architecture shows, and that it can be read."""

import json
import sys

import numpy as np
import pytest

from enas.supernet import Graph
from experiments.enas import figures
from experiments.report import curves
from tests.experiments.enas.graphs import cell, network, recurrent

pytest.importorskip("matplotlib")
patches = pytest.importorskip("matplotlib.patches")


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """`drawn(graphs)`: the axis of the picture, which has been written."""
    plt = figures.figures.pyplot()
    kept = []
    monkeypatch.setattr(plt, "close", kept.append)

    def draw(graphs):
        path = figures.draw_graphs(graphs, tmp_path / "picture.png")
        assert path.read_bytes().startswith(b"\x89PNG")
        return kept[-1].axes[0]

    yield draw
    monkeypatch.undo()
    for figure in kept:
        plt.close(figure)


def boxes(axis):
    return [each for each in axis.patches if isinstance(each, patches.FancyBboxPatch)]


def arrows(axis):
    return [each for each in axis.patches if isinstance(each, patches.FancyArrowPatch)]


def points(arrow):
    """Points of an arrow's curve, which is of cubic pieces."""
    vertices = arrow._path_original.vertices
    t = np.linspace(0, 1, 20)[:, None]
    pieces = [vertices[at : at + 4] for at in range(0, len(vertices) - 1, 3)]
    weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3)
    return np.concatenate([sum(w * v for w, v in zip(weights, p, strict=True)) for p in pieces])


def extent(box):
    left, top, width, height = box.get_x(), box.get_y(), box.get_width(), box.get_height()
    return left, left + width, top, top + height


SHAPES = [
    {"network": network(1)},
    {"network": network(3, skips=0.9)},
    {"cell": recurrent(5)},
    {"normal": cell(2), "reduce": cell(3)},
]


@pytest.mark.parametrize("graphs", SHAPES)
def test_no_edge_runs_over_a_node_that_is_not_its_own(drawn, graphs):
    axis = drawn(graphs)
    every = [extent(box) for box in boxes(axis)]
    assert len(every) == sum(len(graph.nodes) for graph in graphs.values())
    assert len(arrows(axis)) == sum(len(graph.edges) for graph in graphs.values())
    for arrow in arrows(axis):
        way = points(arrow)
        ends = {tuple(way[0].round(9)), tuple(way[-1].round(9))}
        touched = 0
        for left, right, top, bottom in every:
            middle = (left + right) / 2
            borders = {tuple(np.round((middle, y), 9)) for y in (top, bottom)}
            if borders & ends:
                touched += 1
                continue
            inside = (left < way[:, 0]) & (way[:, 0] < right)
            assert not (inside & (top < way[:, 1]) & (way[:, 1] < bottom)).any()
        assert touched == 2


@pytest.mark.parametrize("graphs", SHAPES)
def test_words_fit_into_their_boxes_and_the_picture(drawn, graphs):
    axis = drawn(graphs)
    renderer = axis.figure.canvas.get_renderer()
    whole = axis.get_window_extent(renderer)
    texts = [(text, text.get_window_extent(renderer)) for text in axis.texts]
    for box in boxes(axis):
        room = box.get_window_extent(renderer)
        (said,) = (words for _, words in texts if room.contains(*words.get_points().mean(0)))
        assert room.x0 <= said.x0 <= said.x1 <= room.x1
        assert room.y0 <= said.y0 <= said.y1 <= room.y1
    for box in (words for _, words in texts):
        assert whole.x0 <= box.x0 <= box.x1 <= whole.x1
        assert whole.y0 <= box.y0 <= box.y1 <= whole.y1
    ordered = sorted((words for _, words in texts), key=lambda words: words.x0)
    for at, one in enumerate(ordered):
        assert not any(one.overlaps(other) for other in ordered[at + 1 :])


def test_titles_labels_and_operations_are_all_there(drawn):
    graphs = {"normal": cell(2), "reduce": cell(3)}
    said = [text.get_text() for text in drawn(graphs).texts]
    wanted = [
        *graphs,
        *(label for graph in graphs.values() for label in graph.nodes.values()),
        *(label for graph in graphs.values() for _, _, label in graph.edges if label),
    ]
    assert sorted(said) == sorted(wanted)


@pytest.mark.parametrize("second", ["tanh", "2: tanh"])
def test_numbered_nodes_say_their_number_and_subscripts_are_set_so(drawn, second):
    nodes = {"h": "h_{t-1}", "1": "tanh", "2": second, "3": "relu", "4": "4"}
    axis = drawn({"cell": Graph(nodes, (("h", "1", ""),))})
    said = [text.get_text() for text in axis.texts]
    assert said == ["$h_{t-1}$", "1: tanh", "2: tanh", "3: relu", "4"]
    plain, first, second, third, none = (box.get_facecolor() for box in boxes(axis))
    assert first == second
    assert plain == none
    assert len({plain, first, third}) == 3


def test_without_matplotlib_a_run_ends_without_a_picture(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    path = tmp_path / "picture.png"
    assert figures.draw_graphs({"cell": cell(2)}, path) is None
    assert not path.exists()


def write_run(folder, seed, names):
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"config": {"seed": seed, "steps": 40}}))
    lines = [{"step": 10, "kind": "train", "phase": "weights", "loss": 1.0}]
    for step in (20, 40):
        said = dict.fromkeys(names, 0.1 * step + seed)
        lines.append({"step": step, "kind": "train", "phase": "controller", **said})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return curves.read_run(folder)


def test_the_search_curve_has_reward_and_entropy_over_steps(tmp_path, monkeypatch):
    runs = [write_run(tmp_path / str(seed), seed, ("reward", "entropy")) for seed in (0, 1)]
    seen = {}
    monkeypatch.setattr(
        figures.figures, "learning_curves", lambda path, panels, **rest: seen.update(panels)
    )
    path = tmp_path / "search.png"
    assert figures.search_curve(path, curves.group_runs(runs)) == path
    assert list(seen) == ["reward", "entropy"]
    (curve,) = seen["reward"].values()
    assert curve.step.tolist() == [20, 40]
    np.testing.assert_allclose(curve.mean, [2.5, 4.5])
    assert curve.seeds == 2


def test_a_run_without_a_controller_has_no_search_curve(tmp_path):
    group = curves.group_runs([write_run(tmp_path / "fixed", 0, ("accuracy",))])
    with pytest.raises(curves.ReportError, match="fixed: expected one of reward, entropy"):
        figures.search_curve(tmp_path / "search.png", group)


def test_a_search_curve_is_drawn(tmp_path):
    group = curves.group_runs([write_run(tmp_path / "search", 0, ("reward",))])
    path = figures.search_curve(tmp_path / "search.png", group)
    assert path.read_bytes().startswith(b"\x89PNG")
