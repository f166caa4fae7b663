"""Glue of TwoMoon (Pham 2021, section 5.3.1): which methods find the moons from 6 labels?

Each seed has a data set of its own, which it draws at its start: 2,000 points, 1,000 a moon, of
which 3 at random in each are labelled. A run succeeds if its network puts at least 99% of the
unlabelled points in the right moon.

The thesis's: two hidden layers of 8 sigmoids, SGD at 0.1, parameters from U[-0.1, 0.1], no
regularisation. What it leaves open, and what is chosen here: how the moons lie (`mpl.moons`);
Gaussian noise 0.13; batches of 16 unlabelled points beside all 6 labelled ones; 20,000 updates (of
Pseudo Labels twice as many: its teacher's, then those of a new network); the teacher learns from
the labelled points too (`mpl`) or from the feedback alone (`mpl_pure`); labels are drawn, h is the
cosine, its baseline decays by 0.99. `mpl_likeliest` proposes the likeliest class instead, without a
baseline. `all_labels` sees every label; `laplacian_svm` is no network, and its run a search of one
point.

How much feedback helps depends on the rest: noise, batch and separation here are those, of a dozen
tried on 200 data sets, at which the methods differ most there; rows "fresh" are of 200 others.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from experiments.mpl import outcome
from experiments.report import curves
from experiments.report.interval import mean_interval
from experiments.runner import pretrained, search_journal
from experiments.runner.checks import ConfigError, check_choice, check_float, check_int
from experiments.runner.experiment import Experiment, Search
from mpl import baselines, moons, objectives, teaching
from mpl import stages as sequence
from mpl.models import perceptron
from mpl.models.network import Network, predictor
from mpl.stages import Stage, State
from search import listed

PyTree = Any
SVM = "laplacian_svm"
RIGHT = 0.99  # of the unlabelled points


def build(config: ConfigDict) -> Experiment | Search:
    """Checks the config and makes the experiment: one a method, with a data set a seed.

    Raises:
        ConfigError: names the key.
    """
    check(config)
    if config.method == SVM:
        return Search(
            searcher=listed.searcher([SVM]),
            objective=functools.partial(svm_accuracy, config, config.seed),
            of_seed=lambda seed: functools.partial(svm_accuracy, config, seed),
            headline=("accuracy", "max"),
            budget=1,
            finish=lambda searched, workdir: result_rows(SVM, searched.best[1]),
        )
    net, method, first = perceptron.two_moon(config.scale), config.method, config.stages.teacher
    view = functools.partial(seen, method, net)
    options = {key: config[key] for key in ("learning_rate", "feedback_weight")}
    main = moons.learner(method, net, **options)
    stages = [Stage(method, main, config.steps - first, batches(config), view=view)]
    if first:
        tx = optax.sgd(config.learning_rate)
        supervised = baselines.learner(net, objectives.supervised(), tx)
        stages.insert(0, Stage("teacher", supervised, first, batches(config), view=view))
    predict = predictor(net, at_once=2 * config.each)

    def evaluate(state: State, step: int) -> dict[str, float]:
        side = teaching.learned(state.stages[sequence.active(stages, step)])
        given = np.argmax(predict(*side, np.asarray(state.targets.points)), axis=-1)
        return {"accuracy": moons.accuracy(given, state.targets)}

    def finish(state: State, workdir: Path) -> list[dict[str, Any]]:
        params, _ = teaching.learned(state.stages[-1])
        pretrained.save(workdir / "model.npz", params, config.to_dict(), {})
        return result_rows(method, evaluate(state, config.steps)["accuracy"])

    return Experiment(
        init=functools.partial(sequence.init, stages, functools.partial(data_set, config)),
        phases=outcome.phases(stages, ()),
        cycle=False,
        evaluate=evaluate,
        headline=("accuracy", "max"),
        finish=finish,
    )


def check(config: ConfigDict) -> None:
    """Checks all fields of the config."""
    check_choice(config, "method", (*moons.METHODS, SVM))
    for key, low in (("batch_size", 1), ("shown", 1), ("each", config.shown)):
        check_int(config, key, low=low)
    for key in ("noise", "separation"):
        check_float(config, key, low=0.0)
    for key in ("learning_rate", "scale", "feedback_weight"):
        check_float(config, key, positive=True)
    first, two = check_int(config, "stages.teacher", low=0), config.method == "pseudo_labels"
    if two != (first > 0) or first >= config.steps:
        wanted = "fewer than steps, for a student" if two else f"0 with method {config.method}"
        raise ConfigError("stages.teacher", wanted, first)


def data_set(config: ConfigDict, key: Array) -> moons.Moons:
    """The data set of a run's key, on its stream 3: 0 to 2 are the runner's and the learners'."""
    keys = ("each", "shown", "noise", "separation")
    return moons.moons(jax.random.fold_in(key, 3), **{name: config[name] for name in keys})


def batches(config: ConfigDict) -> Any:
    """`(data, key, step) -> rows` of the seed's points, traced."""

    def batch(data: PyTree, key: Array, step: Array) -> dict[str, Array]:
        del data, step
        return {"rows": jax.random.randint(key, (config.batch_size,), 0, 2 * config.each)}

    return batch


def seen(method: str, net: Network, state: State, batch: dict[str, Array]) -> dict[str, Array]:
    """What a learner reads: all labelled points and the batch's, with its teacher's labels."""

    def label(points: Array) -> Array:
        side = teaching.learned(state.stages[0])
        return jax.nn.softmax(net.apply(*side, points, train=False)[0])

    fixed = label if method == "pseudo_labels" else None
    rows = batch["rows"]
    return moons.views(state.targets, rows, all_labels=method == "all_labels", label=fixed)


def svm_accuracy(config: ConfigDict, seed: int, point: Any, trial: int) -> float:
    """That of the Laplacian SVM on the data set of a seed."""
    del point, trial
    made = data_set(config, jax.random.key(seed))
    return moons.accuracy(moons.svm(made)(np.asarray(made.points)), made)


def result_rows(name: str, found: float) -> list[dict[str, Any]]:
    """The rows of a seed."""
    values = {"success_rate": float(found >= RIGHT), "accuracy": 100.0 * found}
    return [
        {"name": name, "metric": metric, "unit": "seed", **mean_interval([value])._asdict()}
        for metric, value in values.items()
    ]


def accuracies(workdir: Path) -> Float[np.ndarray, " seeds"]:
    """The last accuracy of each seed of a run, in the order of the seeds, from its folder."""
    if list(workdir.rglob(search_journal.JOURNAL)):
        return np.array([each.best[-1] for each in search_journal.recorded(workdir)])
    records = [each for each in curves.read_run(workdir).records if each["kind"] == "eval"]
    last = max(each["step"] for each in records)
    found = {each["seed"]: each["accuracy"] for each in records if each["step"] == last}
    return np.array([found[seed] for seed in sorted(found)])
