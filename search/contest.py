"""Hyperparameters of scikit-learn's classifiers, as in a contest of black-box optimisers.

The contest of NeurIPS 2020, in which entries built on LA-MCTS's partitions came third and eighth
(Wang 2022, section 9.6), gave an optimiser 16 batches of 8 evaluations to tune a model on a data
set. This is its protocol in small: a model's parameters (real or whole numbers, on a linear or a
logarithmic scale, and categories) are encoded in [0, 1]^dim, and a point's reward is the
cross-validated score of the model that it stands for. The spaces are of this project.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Float, Int, Real

from search import spaces
from search.partition import require
from search.spaces import Box

Metric = Literal["accuracy", "log_loss"]


class Parameter(NamedTuple):
    """One parameter and how the unit interval stands for it. Made by `real`, `whole`, `category`.

    Attributes:
        name: as the model has it.
        low: of a number.
        high: of a number; of a whole one, it is among the values.
        log: whether equal parts of the interval stand for equal ratios.
        is_whole: whether values are whole numbers; each has its share of the interval.
        choices: of a category: two share one coordinate, halved; of more, each has a coordinate,
            and the largest wins.
    """

    name: str
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    is_whole: bool = False
    choices: tuple[Any, ...] = ()

    @property
    def dim(self) -> int:
        """How many coordinates it has."""
        return len(self.choices) if len(self.choices) > 2 else 1

    def decode(self, units: Real[np.ndarray, " dim"]) -> Any:
        """The value that coordinates in [0, 1] stand for."""
        if self.choices:
            place = int(np.argmax(units)) if self.dim > 1 else int(units[0] >= 0.5)
            return self.choices[place]
        low, high = self.low, self.high + self.is_whole
        if self.log:
            low, high = math.log(low), math.log(high)
        value = low + float(np.clip(units[0], 0.0, 1.0)) * (high - low)
        if self.log:
            value = math.exp(value)
        value = min(max(value, self.low), self.high + self.is_whole)  # as rounding may leave them
        return min(math.floor(value), int(self.high)) if self.is_whole else value


def real(name: str, low: float, high: float, *, log: bool = False) -> Parameter:
    """A real number from `low` to `high`.

    Raises:
        ValueError: a range that is empty, or logarithmic and not above 0.
    """
    _check_range(name, low, high, log)
    return Parameter(name, float(low), float(high), log)


def whole(name: str, low: int, high: int, *, log: bool = False) -> Parameter:
    """A whole number from `low` to `high`, both among the values.

    Raises:
        ValueError: a range that is empty, or logarithmic and not above 0.

    >>> [whole("depth", 1, 4).decode(np.array([unit])) for unit in (0.0, 0.3, 0.99, 1.0)]
    [1, 2, 4, 4]
    """
    _check_range(name, low, high, log)
    return Parameter(name, low, high, log, True)


def category(name: str, *choices: Any) -> Parameter:
    """One of at least two choices, which have no order.

    Raises:
        ValueError: fewer than two.
    """
    if len(choices) < 2:
        raise ValueError(f"{name}: expected at least two choices, got {choices}")
    return Parameter(name, choices=choices)


def _check_range(name: str, low: float, high: float, log: bool) -> None:
    if not low < high or (log and low <= 0):
        words = "0 < low < high" if log else "low < high"
        raise ValueError(f"{name}: expected {words}, got {low} and {high}")


class Model(NamedTuple):
    """A family of classifiers.

    Attributes:
        parameters: in the order of their coordinates.
        make: their values by name -> an unfitted classifier.
        metrics: by which it can be scored.
    """

    parameters: tuple[Parameter, ...]
    make: Callable[[dict[str, Any]], Any]
    metrics: tuple[Metric, ...] = get_args(Metric)

    @property
    def box(self) -> Box:
        """[0, 1] for each coordinate."""
        return spaces.box(0.0, 1.0, sum(parameter.dim for parameter in self.parameters))

    def decode(self, point: Real[np.ndarray, " dim"]) -> dict[str, Any]:
        """The values that a point of the box stands for.

        Raises:
            ValueError: a point of another length.
        """
        if point.shape != (self.box.dim,):
            raise ValueError(f"point: expected [{self.box.dim}], got {list(point.shape)}")
        values, first = {}, 0
        for parameter in self.parameters:
            values[parameter.name] = parameter.decode(point[first : first + parameter.dim])
            first += parameter.dim
        return values


def _knn(values: dict[str, Any]) -> Any:
    return require("sklearn.neighbors").KNeighborsClassifier(**values)


def _svm(values: dict[str, Any]) -> Any:
    return require("sklearn.svm").SVC(max_iter=10_000, random_state=0, **values)


def _tree(values: dict[str, Any]) -> Any:
    return require("sklearn.tree").DecisionTreeClassifier(random_state=0, **values)


def _forest(values: dict[str, Any]) -> Any:
    return require("sklearn.ensemble").RandomForestClassifier(random_state=0, **values)


def _mlp(values: dict[str, Any]) -> Any:
    units = values.pop("units")
    return require("sklearn.neural_network").MLPClassifier(
        hidden_layer_sizes=(units,), max_iter=15, random_state=0, **values
    )


def _ada(values: dict[str, Any]) -> Any:
    stump = _tree({"max_depth": values.pop("max_depth")})
    return require("sklearn.ensemble").AdaBoostClassifier(stump, random_state=0, **values)


def _linear(values: dict[str, Any]) -> Any:
    return require("sklearn.linear_model").SGDClassifier(
        loss="log_loss", max_iter=30, random_state=0, **values
    )


_SPLITS = (
    category("criterion", "gini", "entropy"),
    whole("max_depth", 1, 15),
    real("min_samples_split", 0.01, 0.5, log=True),
    real("max_features", 0.05, 1.0),
)

MODELS: Mapping[str, Model] = MappingProxyType(
    {
        "knn": Model(
            (
                whole("n_neighbors", 1, 30, log=True),
                category("weights", "uniform", "distance"),
                real("p", 1.0, 4.0),
            ),
            _knn,
        ),
        "svm": Model(
            (
                category("kernel", "rbf", "poly", "sigmoid"),
                real("C", 1e-3, 1e3, log=True),
                real("gamma", 1e-4, 10.0, log=True),
                real("coef0", 0.0, 1.0),
            ),
            _svm,
            ("accuracy",),  # its probabilities would take a cross-validation of their own
        ),
        "tree": Model((*_SPLITS, real("min_samples_leaf", 0.005, 0.3, log=True)), _tree),
        "forest": Model((*_SPLITS, whole("n_estimators", 2, 12, log=True)), _forest),
        "mlp": Model(
            (
                category("activation", "relu", "tanh", "logistic"),
                whole("units", 4, 50, log=True),
                whole("batch_size", 32, 128, log=True),
                real("learning_rate_init", 1e-4, 0.3, log=True),
                real("alpha", 1e-5, 10.0, log=True),
                real("beta_1", 0.5, 0.99),
            ),
            _mlp,
        ),
        "ada": Model(
            (
                whole("n_estimators", 2, 20, log=True),
                real("learning_rate", 1e-3, 10.0, log=True),
                whole("max_depth", 1, 6),
            ),
            _ada,
        ),
        "linear": Model(
            (
                category("penalty", "l1", "l2", "elasticnet"),
                real("alpha", 1e-6, 1.0, log=True),
                real("l1_ratio", 0.0, 1.0),
                category("learning_rate", "constant", "optimal", "invscaling", "adaptive"),
                real("eta0", 1e-4, 1.0, log=True),
                category("average", False, True),
            ),
            _linear,
        ),
    }
)


def validated(
    model: str,
    features: Real[np.ndarray, "rows columns"],
    labels: Int[np.ndarray, " rows"],
    metric: Metric,
    point: Real[np.ndarray, " dim"],
    seed: int,
    *,
    folds: int = 3,
) -> float:
    """The objective: `functools.partial(validated, "knn", features, labels, "accuracy")`.

    Mean score over stratified folds, which are the same for all points; each column is scaled to
    mean 0 and deviation 1 of the rows that are trained on.

    Args:
        model: one of `MODELS`.
        features: a row a sample.
        labels: its class.
        metric: accuracy, or the negative of the mean log loss (nats).
        point: in the model's box.
        seed: ignored: the models' own randomness is fixed too.
        folds: how many.

    Raises:
        ImportError: scikit-learn is absent; says what to install.
        ValueError: an unknown model or metric, a point of another length, a class with fewer than
            `folds` samples, or parameters with which the model cannot be trained, which to a search
            is a failed evaluation.
    """
    chosen = known(model, metric)
    values = chosen.decode(np.asarray(point, np.float64))
    splits = require("sklearn.model_selection").StratifiedKFold(folds, shuffle=True, random_state=0)
    scores = []
    for train, test in splits.split(features, labels):
        deviation = features[train].std(0)
        scaled = (features - features[train].mean(0)) / np.where(deviation > 0, deviation, 1.0)
        classifier = chosen.make(dict(values))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that few epochs do not converge is known
            classifier.fit(scaled[train], labels[train])
        scores.append(_score(classifier, scaled[test], labels[test], metric))
    return float(np.mean(scores))


def _score(
    classifier: Any,
    features: Real[np.ndarray, "rows columns"],
    labels: Int[np.ndarray, " rows"],
    metric: Metric,
) -> float:
    if metric == "accuracy":
        return float(np.mean(classifier.predict(features) == labels))
    chances = classifier.predict_proba(features)
    chances = np.clip(chances, np.finfo(chances.dtype).eps, None)
    chances = chances / chances.sum(1, keepdims=True)
    columns = np.searchsorted(classifier.classes_, labels)  # each class is in every fold
    return float(np.log(chances[np.arange(len(labels)), columns]).mean())


def known(model: str, metric: str) -> Model:
    """The model of a name.

    Raises:
        ValueError: there is none, or it has no such metric.
    """
    if model not in MODELS:
        raise ValueError(f"model: expected one of {', '.join(MODELS)}, got {model!r}")
    if metric not in MODELS[model].metrics:
        expected = " or ".join(MODELS[model].metrics)
        raise ValueError(f"metric: expected {expected} for {model}, got {metric!r}")
    return MODELS[model]


def normalised(
    best: Float[np.ndarray, "*shape"] | float, *, typical: float, best_known: float
) -> Float[np.ndarray, "*shape"]:
    """Scores of a search on a task: 0 for a typical random point, 100 for the best that is known.

    Args:
        best: best rewards so far.
        typical: the median reward of random points.
        best_known: the largest reward that anything has found.

    Raises:
        ValueError: nothing is better than a typical point.
    """
    if not best_known > typical:
        raise ValueError(
            f"best_known: expected more than the typical reward {typical}, got {best_known}"
        )
    return np.asarray(100.0 * (np.asarray(best, np.float64) - typical) / (best_known - typical))
