"""The models of the next hour: fitted to plain numbers that JSON holds, and asked from these alone.

A document holds the models of one series. Nothing of it is code: a stored model is read as numbers and cannot run
anything, and another version of a library reads it the same.

scikit-learn and `scipy.stats` are imported where they are used, here and in the modules beside: they take 1.4 s of CPU,
which each run of a job would pay, and only a few of them fit or test anything.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from threadpoolctl import threadpool_limits

from crypto_pipeline.gold._forecast_features import FEATURES
from crypto_pipeline.gold._losses import LOSSES, Comparison, compared

Values = npt.NDArray[np.float64]
Fitted = Mapping[str, Any]
"""A fitted model, as JSON has it."""

HORIZON = "1h"
MODELS = {
    "volatility": ("last_hour", "har", "boosting"),
    "direction": ("base_rate", "logistic", "boosting"),
}
"""The models of each target; the first is the baseline."""
FOLDS = 4
"""The later half of the examples is forecast in so many parts, each by models fitted to all before it."""

_HAR = ("log_variance_1h", "log_variance_24h", "log_variance_168h")
_PENALTY = 0.01
"""Inverse strength of the logistic regression's ridge penalty: its features say little, and must not say much."""
_BOOSTING = {
    "max_iter": 50,
    "learning_rate": 0.03,
    "max_leaf_nodes": 6,
    "min_samples_leaf": 40,
    "l2_regularization": 1.0,
    "early_stopping": False,
    "random_state": 0,
}


@dataclass(frozen=True)
class Model:
    """`fit` makes plain numbers of examples; `forecast` gives a variance, or the probability of a rise, for each."""

    features: Sequence[str]
    fit: Callable[[pd.DataFrame], Fitted]
    forecast: Callable[[Fitted, pd.DataFrame], Values]


def _last_hour(_fitted: Fitted, rows: pd.DataFrame) -> Values:
    return np.asarray(np.exp(rows["log_variance_1h"].to_numpy(float)))


def fit_har(rows: pd.DataFrame) -> Fitted:
    """Least squares of ln(variance) on the logs of its means over an hour, a day and a week (Corsi 2009)."""
    truth = np.log(rows["variance"].to_numpy(float))
    given = np.column_stack([np.ones(len(rows)), rows[list(_HAR)].to_numpy(float)])
    solution = np.linalg.lstsq(given, truth, rcond=None)[0]
    residuals = truth - given @ solution
    return {
        "intercept": float(solution[0]),
        "coefficients": solution[1:].tolist(),
        "residual_variance": float(residuals @ residuals) / max(len(rows) - given.shape[1], 1),
        "lowest": float(rows["variance"].min()),
        "highest": float(rows["variance"].max()),
    }


def _har(fitted: Fitted, rows: pd.DataFrame) -> Values:
    """The mean of the lognormal, kept within what was seen when it was fitted (Swanson and White's insanity filter)."""
    logs = _linear(rows[list(_HAR)].to_numpy(float), fitted) + fitted["residual_variance"] / 2
    return np.asarray(np.clip(np.exp(np.minimum(logs, 700)), fitted["lowest"], fitted["highest"]))


def _fit_boosted_variance(rows: pd.DataFrame) -> Fitted:
    """Trees of variance over its mean of 24 hours; the gamma deviance that they lower is twice QLIKE."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    scale = np.exp(rows["log_variance_24h"].to_numpy(float))
    regressor = HistGradientBoostingRegressor(loss="gamma", **_BOOSTING)
    return as_numbers(regressor.fit(_given(rows), rows["variance"].to_numpy(float) / scale))


def _boosted_variance(fitted: Fitted, rows: pd.DataFrame) -> Values:
    return np.asarray(np.exp(summed_trees(fitted, _given(rows)) + rows["log_variance_24h"].to_numpy(float)))


def _fit_base_rate(rows: pd.DataFrame) -> Fitted:
    """Laplace's rule of succession: (rises + 1) / (hours + 2)."""
    return {"rate": (float(rows["went_up"].sum()) + 1) / (len(rows) + 2)}


def _base_rate(fitted: Fitted, rows: pd.DataFrame) -> Values:
    return np.full(len(rows), float(fitted["rate"]))


def _fit_logistic(rows: pd.DataFrame) -> Fitted:
    """Logistic regression with a ridge penalty on standardised features; the base rate where all went one way."""
    if rows["went_up"].nunique() < 2:
        return _fit_base_rate(rows)
    from sklearn.linear_model import LogisticRegression

    given = _given(rows)
    mean, scale = given.mean(axis=0), given.std(axis=0)
    scale[scale < 1e-12] = 1.0
    regression = LogisticRegression(C=_PENALTY, max_iter=1000).fit((given - mean) / scale, rows["went_up"].astype(int))
    coefficients = regression.coef_[0] / scale
    return {
        "intercept": float(regression.intercept_[0] - coefficients @ mean),
        "coefficients": coefficients.tolist(),
    }


def _logistic(fitted: Fitted, rows: pd.DataFrame) -> Values:
    return _base_rate(fitted, rows) if "rate" in fitted else _sigmoid(_linear(_given(rows), fitted))


def _fit_boosted_direction(rows: pd.DataFrame) -> Fitted:
    if rows["went_up"].nunique() < 2:
        return _fit_base_rate(rows)
    from sklearn.ensemble import HistGradientBoostingClassifier

    return as_numbers(HistGradientBoostingClassifier(**_BOOSTING).fit(_given(rows), rows["went_up"].astype(int)))


def _boosted_direction(fitted: Fitted, rows: pd.DataFrame) -> Values:
    return _base_rate(fitted, rows) if "rate" in fitted else _sigmoid(summed_trees(fitted, _given(rows)))


_ALL = tuple(FEATURES)
ZOO = {
    ("volatility", "last_hour"): Model(("log_variance_1h",), lambda _rows: {}, _last_hour),
    ("volatility", "har"): Model(_HAR, fit_har, _har),
    ("volatility", "boosting"): Model(_ALL, _fit_boosted_variance, _boosted_variance),
    ("direction", "base_rate"): Model((), _fit_base_rate, _base_rate),
    ("direction", "logistic"): Model(_ALL, _fit_logistic, _logistic),
    ("direction", "boosting"): Model(_ALL, _fit_boosted_direction, _boosted_direction),
}
"""Every model by target and name."""


def fitted(rows: pd.DataFrame) -> dict[str, dict[str, Fitted]]:
    """Every model, fitted to examples whose features and truth are known, by target and name."""
    with threadpool_limits(limits=1):  # on a thousand rows more threads only wait for each other
        return {target: {name: ZOO[target, name].fit(rows) for name in names} for target, names in MODELS.items()}


def forecast(models: Mapping[str, Mapping[str, Fitted]], rows: pd.DataFrame) -> pd.DataFrame:
    """What the models say of each of `rows`, whose features are known: a column per target and name.

    Of volatility it is the variance, of direction the probability that the hour closes higher.
    """
    said = {
        (target, name): ZOO[target, name].forecast(models[target][name], rows)
        for target, names in MODELS.items()
        for name in names
    }
    return pd.DataFrame(said, index=rows.index)


def walk_forward(rows: pd.DataFrame) -> pd.DataFrame:
    """What each model says of the later half of `rows`, in order of time, when fitted only to what ended before.

    The half is cut into FOLDS parts. An example is kept from the fit of a part if its forecast hour has not ended when
    the part's first one begins (purged at the horizon).
    """
    starts = pd.DatetimeIndex(rows["interval_start"])
    parts = np.array_split(np.arange(len(rows) // 2, len(rows)), FOLDS)
    said = []
    for part in parts:
        models = fitted(rows[starts + pd.Timedelta(HORIZON) <= starts[part[0]]])
        said.append(forecast(models, rows[part[0] : part[-1] + 1]))
    return pd.concat(said)


def validated(rows: pd.DataFrame, said: pd.DataFrame) -> dict[tuple[str, str, str], Comparison]:
    """The losses of each model beside the baseline's, by target, model and loss, of what it `said` of some `rows`."""
    truth = rows.loc[said.index]
    found = {}
    for target, names in MODELS.items():
        came = truth["variance" if target == "volatility" else "went_up"].to_numpy(float)
        for loss, measure in LOSSES[target].items():
            losses = {name: measure(said[target, name].to_numpy(float), came) for name in names}
            for name in names:
                comparison = compared(losses[name], losses[names[0]])
                if comparison:
                    found[target, name, loss] = comparison
    return found


def as_numbers(model: Any) -> Fitted:
    """The trees of one of scikit-learn's boosting models: for each node the feature, bound, children and value.

    A leaf leads to itself. scikit-learn keeps them under private names; a test compares what comes of these numbers
    with what its own `predict` says.
    """
    trees = [step[0].nodes for step in model._predictors]
    return {
        "start": float(np.ravel(model._baseline_prediction)[0]),
        "trees": [
            {
                "feature": np.where(nodes["is_leaf"], 0, nodes["feature_idx"]).tolist(),
                "bound": np.where(nodes["is_leaf"], 0.0, nodes["num_threshold"]).tolist(),
                "left": np.where(nodes["is_leaf"], np.arange(len(nodes)), nodes["left"]).tolist(),
                "right": np.where(nodes["is_leaf"], np.arange(len(nodes)), nodes["right"]).tolist(),
                "value": nodes["value"].tolist(),
            }
            for nodes in trees
        ],
    }


def summed_trees(numbers: Fitted, given: Values) -> Values:
    """The sum of what all trees say of each row of `given`, which knows every feature."""
    trees = numbers["trees"]
    size = max(len(tree["value"]) for tree in trees)

    def padded(name: str, kind: type) -> npt.NDArray[Any]:
        return np.array([[*tree[name], *[0] * (size - len(tree[name]))] for tree in trees], dtype=kind)

    feature, left, right = (padded(name, int) for name in ("feature", "left", "right"))
    bound, value = padded("bound", float), padded("value", float)
    each, row = np.arange(len(trees)), np.arange(len(given))[:, None]
    node = np.zeros((len(given), len(trees)), dtype=int)
    for _ in range(size):
        goes_left = given[row, feature[each, node]] <= bound[each, node]
        after = np.where(goes_left, left[each, node], right[each, node])
        if (after == node).all():
            break
        node = after
    return np.asarray(numbers["start"] + _added_in_order(value[each, node]))


def _given(rows: pd.DataFrame) -> Values:
    return rows[list(FEATURES)].to_numpy(float)


def _linear(given: Values, numbers: Fitted) -> Values:
    return np.asarray(numbers["intercept"] + _added_in_order(given * np.array(numbers["coefficients"])))


def _added_in_order(terms: Values) -> Values:
    """The sum of each row from left to right: a product of matrices adds in an order that depends on their size."""
    return np.asarray(np.cumsum(terms, axis=1)[:, -1])


def _sigmoid(score: Values) -> Values:
    return np.asarray(1 / (1 + np.exp(-np.clip(score, -700, 700))))
