"""How wrong forecasts were, against hand calculations and statsmodels."""

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss
from sklearn.metrics import log_loss as reference_log_loss

from crypto_pipeline.gold._losses import brier, compared, log_loss, qlike, squared_error, standard_error


def test_qlike_of_a_forecast_of_half_and_of_twice_the_variance_is_as_by_hand() -> None:
    both = qlike(np.array([0.5, 2.0]), np.array([1.0, 1.0]))
    assert both == pytest.approx([2 - np.log(2) - 1, 0.5 - np.log(0.5) - 1])
    assert both[0] > both[1], "too low costs more"


@given(st.floats(1e-9, 1e3), st.floats(1e-9, 1e3))
def test_no_loss_is_below_0_and_the_right_forecast_has_none(forecast: float, truth: float) -> None:
    said, came = np.array([forecast, truth]), np.array([truth, truth])
    for loss in (qlike, squared_error):
        wrong, right = loss(said, came)
        assert wrong >= 0
        assert right == 0


def test_squared_error_is_of_returns_in_percent() -> None:
    assert squared_error(np.array([1e-4]), np.array([3e-4])) == pytest.approx([(1 - 3) ** 2])


def test_losses_of_probabilities_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    said, came = rng.random(50), (rng.random(50) > 0.4).astype(float)
    assert log_loss(said, came).mean() == pytest.approx(reference_log_loss(came, said))
    assert brier(said, came).mean() == pytest.approx(brier_score_loss(came, said))


def test_a_certainty_that_fails_costs_much_but_not_infinitely() -> None:
    assert log_loss(np.array([0.0, 1.0]), np.array([1.0, 1.0])) == pytest.approx([-np.log(1e-9), 0], abs=1e-8)


@pytest.mark.parametrize("count", [5, 168, 720])
def test_the_standard_error_is_that_of_statsmodels_with_bartlett_weights(count: int) -> None:
    noise = np.random.default_rng(2).normal(size=count + 1)
    values = noise[1:] + 0.7 * noise[:-1]
    lags = int(np.floor(count ** (1 / 3)))
    reference = sm.OLS(values, np.ones(count)).fit(
        cov_type="HAC", cov_kwds={"maxlags": lags, "kernel": "bartlett", "use_correction": False}
    )
    assert standard_error(values) == pytest.approx(reference.bse[0])


def test_the_comparison_is_statsmodels_regression_on_a_constant_with_students_t() -> None:
    rng = np.random.default_rng(3)
    ours, theirs = rng.gamma(2, 1, 200), rng.gamma(2.3, 1, 200)
    reference = sm.OLS(ours - theirs, np.ones(200)).fit(
        cov_type="HAC", cov_kwds={"maxlags": 5, "kernel": "bartlett", "use_correction": False}, use_t=True
    )
    found = compared(ours, theirs)
    assert found
    assert found.difference == pytest.approx(reference.params[0])
    assert found.p_value == pytest.approx(reference.pvalues[0])
    assert (found.low, found.high) == pytest.approx(tuple(reference.conf_int()[0]))


def test_a_model_beats_the_baseline_only_where_the_whole_interval_lies_below_0() -> None:
    rng = np.random.default_rng(4)
    theirs = rng.gamma(2, 1, 300)
    noise = rng.normal(size=300)
    better, same, worse = (compared(theirs + noise + shift, theirs) for shift in (-1, 0, 1))
    assert better
    assert same
    assert worse
    assert (better.beats, same.beats, worse.beats) == (True, False, False)
    assert "har beats last_hour" in better.sentence("har", "last_hour", "qlike")
    assert "har does not beat last_hour" in same.sentence("har", "last_hour", "qlike")
    assert "har is worse than last_hour" in worse.sentence("har", "last_hour", "qlike")


def test_of_equal_losses_there_is_no_interval_and_nobody_wins() -> None:
    found = compared(np.ones(10), np.ones(10))
    assert found
    assert (found.difference, found.low, found.p_value, found.beats) == (0, None, None, False)


def test_only_hours_of_which_both_losses_are_known_are_compared() -> None:
    found = compared(np.array([1, np.nan, 3, 4.0]), np.array([2, 2, np.nan, 4.0]))
    assert found
    assert (found.observations, found.loss, found.baseline_loss) == (2, 2.5, 3)
    assert compared(np.array([1.0]), np.array([2.0])) is None
