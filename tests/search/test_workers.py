"""Workers that die and objectives that hang: every trial of a search is accounted for.

LaNAS looks for the largest of 60 numbers, four trials open at a time, on two workers of a pool of
processes and of a Ray cluster. Of the points, some end their worker whenever they are evaluated,
some only the first time, some hang, some raise and one returns NaN. AlphaX then searches on workers
that die, and ends with the state that it has in one process. The tests take minutes for the two
points that hang: a time limit has to be long enough for a worker to start.
"""

import collections
import functools

import pytest

from search import alphax, design_spaces, evaluate, lanas, meta_dnn, ray_cluster
from search.interface import Outcome
from search.spaces import choices
from tests.search import hazards
from tests.search.contract import _equal

OPEN, WORKERS = 4, 2


@pytest.fixture(params=["pool", "ray"])
def connect(request):
    """Makes workers of a kind."""
    if request.param == "pool":
        yield functools.partial(evaluate.pool, workers=WORKERS)
        return
    ray = pytest.importorskip("ray")
    yield functools.partial(ray_cluster.connect, workers=WORKERS)
    ray.shutdown()


def asynchronous(searcher, evaluator):
    """A search with some trials always open: the trials by number, and all reports."""
    trials, reports, state = {}, [], searcher.init(0)
    while len(reports) < hazards.POINTS:
        wanted = min(OPEN - (len(trials) - len(reports)), hazards.POINTS - len(trials))
        if wanted > 0:
            state, asked = searcher.ask(state, wanted)
            for trial in asked:
                trials[trial.id] = trial
                evaluator.submit(trial)
        heard = evaluator.collect(wait_s=1.0)
        reports += heard
        state = searcher.tell(state, [report.outcome for report in heard])
    return trials, reports


@pytest.mark.slow
def test_every_trial_is_accounted_for(connect, tmp_path):
    searcher = lanas.searcher(
        choices([hazards.POINTS, 2]), height=3, num_init=20, select_every=10
    )  # fmt: skip
    work = functools.partial(hazards.many, str(tmp_path))
    with connect(work, timeout_s=10.0, retries=1) as evaluator:
        trials, reports = asynchronous(searcher, evaluator)
    times = collections.Counter(report.outcome.id for report in reports)
    assert times == dict.fromkeys(trials, 1)
    for report in reports:
        number = int(trials[report.outcome.id].point[0])
        assert report.outcome.status == hazards.expected(number), number


@pytest.mark.slow  # on Ray: test_ray.py
def test_alphax_is_the_same_to_the_last_bit(tmp_path):
    tool = alphax.searcher(
        design_spaces.choices_in_order(choices([4, 3, 3])), c=0.1, predictor=meta_dnn.mlp((8,)),
        num_init=4, refit_every=4, rollouts=3,
    )  # fmt: skip
    state, alone = tool.init(0), tool.init(0)
    work = functools.partial(hazards.restless, str(tmp_path))
    with evaluate.pool(work, workers=WORKERS, timeout_s=60.0, retries=3) as evaluator:
        for _ in range(6):
            state, trials = tool.ask(state, OPEN)
            alone, same = tool.ask(alone, OPEN)
            for trial in trials:
                evaluator.submit(trial)
            heard = []
            while len(heard) < len(trials):
                heard += evaluator.collect(wait_s=1.0)
            state = tool.tell(state, [report.outcome for report in heard])
            for trial in same:
                value = float(sum(trial.point)) / len(trial.point)
                alone = tool.tell(alone, [Outcome(trial.id, value, "ok")])
    assert len(list(tmp_path.iterdir())) == 4  # workers died
    assert _equal(state, alone)


def test_points_do_what_is_expected_of_them(tmp_path):
    statuses = [hazards.expected(number) for number in range(hazards.POINTS)]
    assert statuses.count("timeout") == 2
    assert statuses.count("failed") == 4
    for number in (0, 59):
        assert hazards.many(str(tmp_path), [number], 0) == number
    (tmp_path / "3").touch()  # seen before
    assert hazards.many(str(tmp_path), [3], 0) == 3
    with pytest.raises(ValueError, match="out of range"):
        hazards.many(str(tmp_path), [23], 0)
