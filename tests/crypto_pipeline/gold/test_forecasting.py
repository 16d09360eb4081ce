"""The models as plain numbers, against the libraries that fitted them; validation never sees the future."""

import json

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression

from crypto_pipeline.gold import _forecasting
from crypto_pipeline.gold._forecast_features import FEATURES, VERSION, examples
from crypto_pipeline.gold._forecasting import (
    FOLDS,
    MODELS,
    ZOO,
    as_numbers,
    fit_har,
    fitted,
    forecast,
    summed_trees,
    validated,
    walk_forward,
)
from tests.crypto_pipeline.gold.forecasting import HOUR, market


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """Examples of a market whose features and truth are known."""
    every = examples(market(600))
    return every[every["reason"].isna() & every["variance"].notna()].reset_index(drop=True)


def given(rows: pd.DataFrame) -> np.ndarray:
    return rows[list(FEATURES)].to_numpy(float)


def test_har_is_statsmodels_least_squares_with_the_mean_of_the_lognormal(rows: pd.DataFrame) -> None:
    names = ["log_variance_1h", "log_variance_24h", "log_variance_168h"]
    reference = sm.OLS(np.log(rows["variance"]), sm.add_constant(rows[names])).fit()
    numbers = fit_har(rows)
    assert [numbers["intercept"], *numbers["coefficients"]] == pytest.approx(reference.params.tolist(), rel=1e-6)
    assert numbers["residual_variance"] == pytest.approx(reference.mse_resid)
    expected = np.exp(reference.predict() + reference.mse_resid / 2)
    said = ZOO["volatility", "har"].forecast(numbers, rows)
    np.testing.assert_allclose(said, np.clip(expected, rows["variance"].min(), rows["variance"].max()), rtol=1e-6)


def test_har_stays_within_what_was_seen_in_training(rows: pd.DataFrame) -> None:
    wild = rows.head(1).assign(log_variance_1h=500.0, log_variance_24h=500.0)
    assert ZOO["volatility", "har"].forecast(fit_har(rows), wild)[0] == rows["variance"].max()


@pytest.mark.parametrize("loss", ["gamma", "squared_error"])
def test_trees_as_numbers_say_what_scikit_learns_regressor_says(rows: pd.DataFrame, loss: str) -> None:
    model = HistGradientBoostingRegressor(loss=loss, max_iter=20, random_state=0)
    model.fit(given(rows), rows["variance"] * 1e5)
    raw = summed_trees(json.loads(json.dumps(as_numbers(model))), given(rows))
    expected = model.predict(given(rows))
    np.testing.assert_allclose(np.exp(raw) if loss == "gamma" else raw, expected, rtol=1e-12)


def test_trees_as_numbers_say_what_scikit_learns_classifier_says(rows: pd.DataFrame) -> None:
    model = HistGradientBoostingClassifier(max_iter=20, random_state=0).fit(given(rows), rows["went_up"])
    raw = summed_trees(as_numbers(model), given(rows))
    np.testing.assert_allclose(1 / (1 + np.exp(-raw)), model.predict_proba(given(rows))[:, 1], rtol=1e-12)


def test_logistic_says_what_scikit_learn_says_of_standardised_features(rows: pd.DataFrame) -> None:
    scaled = (given(rows) - given(rows).mean(axis=0)) / given(rows).std(axis=0)
    reference = LogisticRegression(C=_forecasting._PENALTY, max_iter=1000).fit(scaled, rows["went_up"])
    said = ZOO["direction", "logistic"].forecast(ZOO["direction", "logistic"].fit(rows), rows)
    np.testing.assert_allclose(said, reference.predict_proba(scaled)[:, 1], rtol=1e-9)


def test_the_baselines_are_the_last_hour_and_the_share_of_rises(rows: pd.DataFrame) -> None:
    said = forecast(fitted(rows), rows)
    np.testing.assert_allclose(said["volatility", "last_hour"].iloc[1:], rows["variance"].iloc[:-1])
    assert said["direction", "base_rate"].unique() == pytest.approx([(rows["went_up"].sum() + 1) / (len(rows) + 2)])


def test_models_fitted_twice_are_the_same_and_json_holds_them(rows: pd.DataFrame) -> None:
    first, again = (json.dumps(fitted(rows), allow_nan=False) for _ in range(2))
    assert first == again
    pd.testing.assert_frame_equal(forecast(json.loads(first), rows), forecast(fitted(rows), rows), check_exact=True)


def test_what_is_said_of_a_row_does_not_depend_on_the_others(rows: pd.DataFrame) -> None:
    models = fitted(rows)
    whole = forecast(models, rows)
    for place in (0, 17, len(rows) - 1):
        alone = forecast(models, rows.iloc[[place]])
        pd.testing.assert_frame_equal(alone, whole.iloc[[place]], check_exact=True)


def test_where_all_hours_fall_every_model_of_direction_says_so(rows: pd.DataFrame) -> None:
    fallen = rows.assign(went_up=0.0)
    said = forecast(fitted(fallen), fallen)["direction"]
    assert (said == 1 / (len(rows) + 2)).all().all()


def test_a_price_that_never_moved_is_forecast_to_stay() -> None:
    every = examples(market(500).assign(close=1.0, high=1.0, low=1.0, realised_variance=0.0))
    known = every[every["reason"].isna() & every["variance"].notna()]
    said = forecast(fitted(known), known)["volatility"]
    np.testing.assert_allclose(said.to_numpy(float), 1e-10, rtol=1e-6)


def test_validation_forecasts_the_later_half_once(rows: pd.DataFrame) -> None:
    said = walk_forward(rows)
    assert said.index.tolist() == list(range(len(rows) // 2, len(rows)))
    assert said.notna().all().all()


def test_cutting_off_the_last_part_leaves_what_was_said_of_those_before(rows: pd.DataFrame) -> None:
    whole = walk_forward(rows)
    last = np.array_split(whole.index, FOLDS)[-1][0]
    spoiled = rows.copy()
    spoiled.loc[last:, ["variance", "went_up"]] = [1.0, 1.0]
    before = whole.index < last
    pd.testing.assert_frame_equal(walk_forward(spoiled)[before], whole[before], check_exact=True)


def test_no_model_of_the_validation_was_fitted_to_an_hour_that_had_not_ended(
    rows: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[pd.Timestamp, pd.Timestamp]] = []
    latest: list[pd.Timestamp] = []

    def fit(part: pd.DataFrame) -> None:
        latest.append(part["interval_start"].max() + HOUR)

    def say(_models: None, part: pd.DataFrame) -> pd.DataFrame:
        seen.append((latest[-1], part["interval_start"].min()))
        return part

    monkeypatch.setattr(_forecasting, "fitted", fit)
    monkeypatch.setattr(_forecasting, "forecast", say)
    walk_forward(rows)
    assert len(seen) == FOLDS
    assert all(ended <= begins for ended, begins in seen)


def test_on_a_market_with_lasting_volatility_har_beats_the_last_hour_and_nothing_beats_a_coin() -> None:
    every = examples(market(1200, seed=3, persistence=0.6))
    known = every[every["reason"].isna() & every["variance"].notna()].reset_index(drop=True)
    found = validated(known, walk_forward(known))
    assert found["volatility", "har", "qlike"].beats
    assert found["volatility", "boosting", "qlike"].beats
    assert not found["direction", "logistic", "log_loss"].beats
    assert not found["direction", "boosting", "log_loss"].beats
    assert found["volatility", "last_hour", "qlike"].difference == 0
    assert set(found) == {(t, m, x) for t, ms in MODELS.items() for m in ms for x in _forecasting.LOSSES[t]}


def test_who_changes_what_features_or_models_say_counts_the_version_up(rows: pd.DataFrame) -> None:
    """Stored models are read by code of the same VERSION only; count it up, and write the new numbers here."""
    said = forecast(fitted(rows), rows.tail(1)).iloc[0]
    assert VERSION == "1"
    assert said.tolist() == pytest.approx([2.098114e-06, 2.811203e-06, 2.445325e-06, 0.48, 0.584604842, 0.499034655])
