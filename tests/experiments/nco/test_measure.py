"""Methods of chapter 2 on a few instances: what they reach, what is refused, what resumes."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.data.registry import MissingDataset
from experiments.nco import decoding, measure, methods
from experiments.nco.problems import PROBLEMS, gap_percent, public_instances
from experiments.runner import config as configs
from experiments.runner import pretrained
from experiments.runner.checks import UserError
from experiments.runner.search_loop import train
from nco import pointer, solvers
from nco.many import Found

SETTINGS = {"hidden": 8, "embed": 8, "scale": 0.0, "glimpses": 1, "clip": 10.0, "forget_bias": 1.0}
TSP = {"experiment": "nco_tsp", "cities": 6}
KNAPSACK = {"experiment": "nco_knapsack", "num_items": 7, "capacity": 1.5, "stop_rule": False}
QUICK = {"samples": 4, "steps_each": 2, "time_limit": 0.05}


def save(path, seed=0, meta=None, **config):
    params = jax.tree.map(np.asarray, pointer.init(jax.random.key(seed), embed=8, hidden=8))
    return str(pretrained.save(path, params, {"model": SETTINGS} | config, meta or {}))


def load(size, /, **changes):
    """The config of a size such as "tsp20-greedy", changed where it has the key."""
    known = configs.load(f"nco/measure:{size},cpu")
    given = {key: value for key, value in (QUICK | changes).items() if key in known}
    return configs.load(f"nco/measure:{size},cpu", [(k, str(v)) for k, v in given.items()])


def run(workdir, size, /, **changes):
    """Runs a method to its end; returns what it reached and its rows."""
    config = load(size, **changes)
    work = measure.build(config)
    (searched,) = train(work, config, workdir).states
    rows = {(row["name"], row["metric"]): row for row in work.finish(searched, workdir)}
    return measure.reached(workdir), rows


@pytest.fixture(scope="module")
def tours(tmp_path_factory):
    """Every method on three instances of six cities, by its name."""
    folder = tmp_path_factory.mktemp("tours")
    models = [save(folder / f"{seed}.npz", seed, **TSP) for seed in range(2)]
    found = {}
    for name in methods.METHODS:
        if "tsp" in methods.METHODS[name].problems:
            both = ",".join(models if name == "ensemble" else models[:1])
            options = {"models": both, "size": 6, "instances": 3, "learning_rate": 1e-3}
            found[name] = run(folder / name, f"tsp20-{name}", **options)
    return found


def test_every_method_finds_tours_and_none_beats_the_optimum(tours):
    assert set(tours) == {
        "greedy", "ensemble", "sample", "perturbed", "active", "active_scratch", "random",
        "optimal", "christofides", "or_tools", "proven",
        *(f"or_tools_{name}" for name in methods.METAHEURISTICS),
    }  # fmt: skip
    best = tours["optimal"][0]
    for name, (found, rows) in tours.items():
        length = rows[f"tsp6-{name}", "tour_length"]
        assert (length["n"], found.values.shape) == (3, (3,))
        assert rows[f"tsp6-{name}", "instance_seconds"]["value"] > 0
        assert gap_percent(PROBLEMS["tsp"], found.values, best.values).min() >= -1e-3
        for place, tour in zip(found.points, found.first, strict=True):
            coords = public_instances(6, 3)[place[0]]
            measured = solvers.tour_length(solvers.distances(coords), np.array(tour))
            assert measured == pytest.approx(found.values[place[0]])
    assert (tours["ensemble"][0].values <= tours["greedy"][0].values).all()
    np.testing.assert_allclose(tours["proven"][0].values, best.values, rtol=1e-5)


def test_what_is_measured_part_by_part_is_what_is_measured_at_once(tours, tmp_path):
    """A point of the journal is some instances: greedy decoding of each is its own."""
    model = save(tmp_path / "model.npz", **TSP)
    parts, _ = run(tmp_path / "run", "tsp20-greedy", models=model, size=6, instances=3, part=2)
    assert parts.points == [[0, 2], [2, 1]]
    np.testing.assert_allclose(parts.values, tours["greedy"][0].values, rtol=1e-6)


def test_a_run_goes_on_at_the_part_where_it_stopped(tmp_path):
    model = save(tmp_path / "model.npz", **TSP)
    config = load("tsp20-sample", models=model, size=6, instances=3, part=1, temperature=1.0)
    whole, solved = measure.build(config), []
    train(whole, config, tmp_path / "whole")

    def counted(point, seed):
        solved.append(point)
        return whole.objective(point, seed)

    broken = whole._replace(objective=counted)
    assert train(broken, config, tmp_path / "run", stop=lambda: len(solved) == 2).stopped
    train(broken, config, tmp_path / "run")
    assert solved == [[0, 1], [1, 1], [2, 1]]
    for field in ("points", "values", "first"):
        one, other = (getattr(measure.reached(tmp_path / w), field) for w in ("whole", "run"))
        np.testing.assert_array_equal(one, other)


@pytest.fixture(scope="module")
def knapsacks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("knapsacks")
    model = save(folder / "model.npz", **KNAPSACK)
    options = {"models": model, "size": 7, "capacity": 1.5, "instances": 4}
    return {
        name: run(folder / name, f"knap50-{name}", **options)
        for name in ("optimal", "greedy", "skip_greedy", "stop_greedy", "dynamic_programming",
                     "random", "active")
    }  # fmt: skip


def test_knapsacks(knapsacks):
    best = knapsacks["optimal"]
    assert best[1]["knap7-optimal", "value"]["n"] == 4
    gaps = {
        name: gap_percent(PROBLEMS["knapsack"], found.values, best[0].values)
        for name, (found, _) in knapsacks.items()
    }
    assert all(gap.mean() >= -1e-3 for gap in gaps.values())
    assert abs(gaps["dynamic_programming"].mean()) < 0.05
    assert (gaps["skip_greedy"] <= gaps["stop_greedy"]).all()


def test_a_knapsack_that_takes_nothing_has_no_gap(tmp_path):
    config = KNAPSACK | {"num_items": 3, "capacity": 1e-9}
    model = save(tmp_path / "model.npz", **config)
    options = {"models": model, "size": 3, "capacity": 1e-9, "instances": 4}
    found, best = (run(tmp_path / n, f"knap50-{n}", **options)[0] for n in ("greedy", "optimal"))
    assert gap_percent(PROBLEMS["knapsack"], found.values, best.values).mean() == 0


def test_the_stop_rule_leaves_the_last_item_out():
    items = np.array([[[0.5, 1.0], [0.5, 2.0], [0.25, 3.0]]])
    config = {"capacity": 1.0, "stop_rule": True}
    kind = PROBLEMS["knapsack"]
    actions = np.array([[2, 0, 1]], np.int32)  # 0.25, 0.5, and another 0.5 does not fit
    problem = kind.problem(config)
    reward = problem.reward(jnp.asarray(items, jnp.float32), jnp.asarray(actions[None]))
    found = kind.score(items, actions, config)
    np.testing.assert_allclose(found, np.asarray(reward)[0], rtol=1e-6)
    assert found == 4.0
    assert kind.score(items, actions, config | {"stop_rule": False}) == 6.0


@pytest.fixture
def watched(monkeypatch):
    """What searches are told, instead of the searches."""
    seen = []

    def watch(name):
        def search(model, inputs, **options):
            seen.append(options)
            tours = np.tile(np.arange(inputs.shape[1], dtype=np.int32), (len(inputs), 1))
            return Found(tours, np.ones(len(inputs)), 0.0)

        monkeypatch.setattr(decoding, name, search)

    watch("best_of_samples")
    watch("active_search")
    return seen


def told(seen, size, /, **changes):
    work = measure.build(load(size, instances=2, **changes))
    work.objective([0, 2], 0)
    return seen.pop()


def test_unsaid_settings_are_the_models(tmp_path, watched):
    finish = {"search_rate": 1e-6}
    model = save(tmp_path / "model.npz", **TSP, finish=finish)
    options = {"models": model, "size": 6}
    assert told(watched, "tsp20-active", **options)["learning_rate"] == 1e-6
    scratch = told(watched, "tsp20-active_scratch", **options)
    assert scratch["learning_rate"] == pytest.approx(1e-4)  # training's first rate, in the thesis
    assert told(watched, "tsp20-active", learning_rate=0.5, **options)["learning_rate"] == 0.5
    assert told(watched, "tsp20-sample", **options)["temperature"] == 1.0
    assert told(watched, "tsp20-sample", temperature=3.0, **options)["temperature"] == 3.0


def test_a_temperature_is_the_models_own(tmp_path, watched):
    described = [
        {"meta": {"temperature": 1.5}, "finish": {"temperature": 1.25}},
        {"finish": {"temperature": 2.0}},
        {},
    ]
    known, other, bare = (
        save(tmp_path / f"{place}.npz", experiment="nco_tsp", cities=5, **fields)
        for place, fields in enumerate(described)
    )
    cases = [(known, 5, 1.5), (other, 5, 2), (bare, 5, 1)]
    # No T* was sought for more cities than in training, where networks are unsure by themselves.
    cases += [(known, 4, 1.5), (known, 6, 1)]
    for model, size, temperature in cases:
        options = told(watched, "tsp20-sample", models=model, size=size)
        assert options["temperature"] == temperature


def test_the_thesis_budgets_are_a_preset():
    def paper(size):
        return configs.load(f"nco/measure:{size},paper")

    assert paper("tsp100-sample").samples == 1_280_000
    assert paper("tsp100-perturbed").samples == 1_280_000
    assert paper("tsp100-active").steps_each == 10_000
    assert paper("tsp20-active_scratch").steps_each == 100_000
    assert paper("tsp100-active_scratch").steps_each == 200_000
    assert paper("tsp100-random").samples == 25_600_000
    assert paper("knap50-active_scratch").steps_each == 5000
    assert paper("knap50-random").samples == 640_000
    for name in ("tsp:20", "tsp:100"):  # of what a training run of the same preset ends with
        task = name.replace(":", "")
        finish = configs.load(f"nco/{name},paper").finish
        assert paper(f"{task}-sample").samples == finish.samples
        assert paper(f"{task}-active").steps_each == finish.active_steps
        assert paper(f"{task}-active_scratch").steps_each == finish.scratch_steps


def test_a_method_that_fails_says_why_and_has_no_rows(tmp_path, monkeypatch):
    def slow(*args, **kwargs):
        raise TimeoutError("no proof in time")

    monkeypatch.setattr(methods.solver_pool, "solve_many", slow)
    with pytest.raises(
        UserError, match=r"trials all failed\ntrial 0 failed: TimeoutError: no proof in time"
    ):
        run(tmp_path, "tsp20-proven", size=5, instances=2)


def test_seconds_have_an_interval_over_rounds():
    def seconds(values, together):
        each = np.array(values)
        return measure.seconds(each, each[::together])

    shared = seconds([0.1] * 6 + [0.2] * 3, together=6)
    assert shared.n == 2
    assert shared.value == pytest.approx(0.4 / 3)
    each = seconds([0.1, 0.2, 0.3], together=1)
    assert (each.n, each.low) == (3, 0.0)
    assert seconds([0.1, 0.1, 0.3, 0.3], together=1).n == 4  # a clock's ticks make no round
    assert seconds([0.1] * 4 + [0.1], together=4).n == 2


def test_rows_tell_rounds_from_instances(tours):
    units = {name: rows[f"tsp6-{name}", "instance_seconds"]["unit"] for name, (_, rows) in
             tours.items()}  # fmt: skip
    assert (units["greedy"], units["sample"]) == ("round", "round")
    assert (units["active"], units["christofides"]) == ("instance", "instance")


@pytest.mark.parametrize(
    ("size", "changes", "message"),
    [
        ("tsp20-sample", {"instances": 0}, "instances: expected an integer from 1 to 10000"),
        ("tsp20-sample", {"samples": 0}, "samples: expected an integer >= 1"),
        ("tsp20-sample", {"temperature": 0.0}, "temperature: expected a finite float > 0"),
        ("tsp20-sample", {"size": 1}, "size: expected an integer from 2"),
        ("tsp20-sample", {"curve": "0"}, "curve: expected numbers of solutions"),
        ("tsp20-active", {"part": -1}, "part: expected an integer from 0"),
        ("tsp20-greedy", {"models": "nco/none"}, "models: model 'nco/none'"),
        ("tsp20-greedy", {"models": "nco/knap50"}, "models: expected models of nco_tsp"),
        ("tsp20-greedy", {"models": "nco/tsp20,nco/tsp50"}, "models: expected one model"),
        ("tsp20-ensemble", {"models": "nco/tsp20,WIDER"}, "models with the same settings"),
        ("knap50-greedy", {"size": 60}, "size: expected 50, as in training"),
        ("knap50-greedy", {"capacity": 1.0}, "capacity: expected 12.5, as in training"),
        ("tsp20-optimal", {"method": "skip_greedy"}, "problem: expected one of"),
    ],
)
def test_refused(tmp_path, size, changes, message):
    wider = save(tmp_path / "wider.npz", **TSP)
    changes = {
        key: value.replace("WIDER", wider) if key == "models" else value
        for key, value in changes.items()
    }
    with pytest.raises(UserError, match=re.escape(message)):
        measure.build(load(size, **changes))


SQUARE = """NAME: square
TYPE: TSP
DIMENSION: 4
EDGE_WEIGHT_TYPE: EUC_2D
NODE_COORD_SECTION
1 0 0
2 10 10
3 10 0
4 0 10
EOF
"""
MATRIX = """NAME: matrix
TYPE: TSP
DIMENSION: 3
EDGE_WEIGHT_TYPE: EXPLICIT
EDGE_WEIGHT_FORMAT: FULL_MATRIX
EDGE_WEIGHT_SECTION
0 1 2
1 0 3
2 3 0
EOF
"""


def test_tsplib_files(tmp_path, monkeypatch):
    monkeypatch.setitem(measure.geography.OPTIMA, "square", 40)
    (tmp_path / "square.tsp").write_text(SQUARE)
    (tmp_path / "matrix.tsp").write_text(MATRIX)
    model = save(tmp_path / "model.npz", experiment="nco_tsp", cities=4)
    rows = {}
    for name in ("optimal", "greedy", "active"):
        size = f"tsplib-{name}"
        rows |= run(tmp_path / name, size, folder=tmp_path, models=model, learning_rate=1e-3)[1]
    assert rows["tsplib-square-optimal", "tour_length"]["value"] == 40
    active = rows["tsplib-square-active", "tour_length"]
    assert (active["value"], active["reference"]) == (40, 40)
    assert rows["tsplib-square-greedy", "gap_percent"]["value"] >= 0
    # A file without coordinates is nothing that a pointer network reads.
    assert rows["tsplib-matrix-optimal", "tour_length"]["value"] == 6
    assert ("tsplib-matrix-active", "tour_length") not in rows
    with pytest.raises(MissingDataset, match=r"folder: expected one with TSPLIB's \.tsp files"):
        measure.build(load("tsplib-greedy", folder=tmp_path / "nowhere"))


def test_each_file_is_for_the_model_of_the_nearest_size(tmp_path, watched):
    models = [save(tmp_path / f"{n}.npz", experiment="nco_tsp", cities=n,
                   finish={"search_rate": n * 1e-3}) for n in (4, 40)]  # fmt: skip
    (tmp_path / "square.tsp").write_text(SQUARE)
    config = load("tsplib-active", folder=tmp_path, models=",".join(models))
    measure.build(config).objective("square", 0)
    assert watched.pop()["learning_rate"] == pytest.approx(4e-3)


@pytest.mark.parametrize("name", ["sample", "active"])
def test_a_curve_is_what_a_search_of_that_length_finds(tmp_path, name):
    model = save(tmp_path / "model.npz", **TSP)
    options = {"models": model, "size": 6, "instances": 2, "temperature": 1.0}
    long, short, most = {"samples": 2560}, {"samples": 1280}, 2560
    if name == "active":
        long, short, most = {"steps_each": 12}, {"steps_each": 10}, 12 * 128
    size = f"tsp20-{name}"
    curve = f"{1280},{most},{10 * most}"
    whole, _ = run(tmp_path / "long", size, curve=curve, **long, **options)
    part, _ = run(tmp_path / "short", size, **short, **options)
    assert set(whole.curves) == {1280, most}  # no further than the search went
    values, share = whole.curves[1280]
    assert share == pytest.approx(1280 / most)
    np.testing.assert_allclose(values, part.values, rtol=1e-5)
    np.testing.assert_allclose(whole.curves[most][0], whole.values, rtol=1e-5)
    assert (whole.values <= values + 1e-6).all()
