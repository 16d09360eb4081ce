"""Measures of risk, each against its library, a plain loop, or what is known of a simple series."""

from itertools import pairwise

import empyrical
import numpy as np
import pytest
from arch.univariate import EWMAVariance
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from crypto_pipeline.gold import _risk
from crypto_pipeline.gold._risk import Floats

RETURNS = np.random.default_rng(7).standard_t(4, (6, 120)) * 0.01
DAYS = 365


def row(*values: float) -> Floats:
    return np.array([values], dtype=float)


def levels_of(returns: Floats) -> Floats:
    return np.concatenate([np.ones((len(returns), 1)), np.cumprod(1 + returns, axis=1)], axis=1)


def test_a_window_holds_the_values_up_to_its_end_and_nothing_before_the_first() -> None:
    made = _risk.windows(np.array([1.0, 2, 3, 4]), np.array([0, 3]), 3)
    np.testing.assert_array_equal(made, [[np.nan, np.nan, 1], [2, 3, 4]])


def test_volatility_is_that_of_a_plain_loop_and_of_numpy_s_moments() -> None:
    logs = np.log1p(RETURNS)
    estimate = _risk.volatility(logs**2, DAYS)
    for value, window in zip(estimate.value, logs, strict=True):
        assert value == pytest.approx(np.sqrt(DAYS * sum(r * r for r in window) / len(window)), rel=1e-12)
        assert value == pytest.approx(np.sqrt(DAYS * (window.var() + window.mean() ** 2)), rel=1e-12)


def test_volatility_s_standard_error_is_how_far_estimates_lie_from_each_other() -> None:
    draws = np.random.default_rng(1).normal(0, 0.02, (4000, 200))
    estimate = _risk.volatility(draws**2, DAYS)
    assert estimate.standard_error.mean() == pytest.approx(estimate.value.std(), rel=0.05)


def test_decaying_volatility_is_the_riskmetrics_recursion_of_arch() -> None:
    logs = np.random.default_rng(2).normal(0, 0.02, 74)
    # Its recursion begins with a variance; what is left of that after 74 steps is 0.94^74, 1 %.
    recursion = EWMAVariance(0.94)
    variances = np.zeros(75)
    recursion.compute_variance(np.empty(0), np.append(logs, 0.0), variances, 0.0, np.tile([0.0, np.inf], (75, 1)))
    ours = _risk.volatility(row(*logs) ** 2, 1, _risk.decaying(74)).value[0] ** 2
    assert ours == pytest.approx(variances[-1] / (1 - 0.94**74), rel=1e-9)


def test_range_estimators_by_hand() -> None:
    high, low, opening, close = np.array([[110.0], [95.0], [100.0], [104.0]])
    # ln(110 / 95) = 0.1466035 and ln(104 / 100) = 0.0392207; 4 ln 2 = 2.7725887 and 2 ln 2 - 1 = 0.3862944
    assert _risk.parkinson(high, low)[0] == pytest.approx(0.1466035**2 / 2.7725887, rel=1e-6)
    by_hand = 0.5 * 0.1466035**2 - 0.3862944 * 0.0392207**2
    assert _risk.garman_klass(opening, high, low, close)[0] == pytest.approx(by_hand, rel=1e-6)


def test_range_estimators_agree_with_the_volatility_of_a_walk() -> None:
    walk = np.random.default_rng(3).normal(0, 0.01 / np.sqrt(2000), (3000, 2000)).cumsum(axis=1)
    prices = np.exp(np.concatenate([np.zeros((3000, 1)), walk], axis=1))
    opening, high, low, close = prices[:, 0], prices.max(axis=1), prices.min(axis=1), prices[:, -1]
    for variances in (_risk.parkinson(high, low), _risk.garman_klass(opening, high, low, close)):
        assert _risk.volatility(variances[None, :], 1).value[0] == pytest.approx(0.01, rel=0.05)


@given(st.floats(0.5, 2), st.floats(0, 1), st.floats(0, 1), st.floats(1, 3))
def test_a_candle_s_variance_by_its_range_is_never_negative(low: float, a: float, b: float, height: float) -> None:
    high = low * height
    opening, close = low + a * (high - low), low + b * (high - low)
    args = [np.array([one]) for one in (opening, high, low, close)]
    assert _risk.garman_klass(*args)[0] >= -1e-15


@pytest.mark.parametrize("length", [20, 21, 100, 101, 119, 120])
@pytest.mark.parametrize("confidence", [95, 99])
def test_historical_value_at_risk_is_that_of_empyrical(length: int, confidence: int) -> None:
    tail = _risk.historical(RETURNS[:, :length], (95, 99))[confidence]
    for n, window in enumerate(RETURNS[:, :length]):
        cutoff = (100 - confidence) / 100
        assert tail.value_at_risk.value[n] == pytest.approx(-empyrical.value_at_risk(window, cutoff), rel=1e-12)
        assert tail.expected_shortfall.value[n] == pytest.approx(
            -empyrical.conditional_value_at_risk(window, cutoff), rel=1e-12
        )


def test_what_is_missing_has_no_part_in_value_at_risk() -> None:
    holes = np.where(np.random.default_rng(4).random(RETURNS.shape) < 0.3, np.nan, RETURNS)
    for method in (_risk.historical, _risk.parametric):
        for n, window in enumerate(holes):
            alone = method(window[np.isfinite(window)][None, :], (95,))[95]
            among = method(holes, (95,))[95]
            assert among.value_at_risk.value[n] == pytest.approx(alone.value_at_risk.value[0], rel=1e-12)
            assert among.expected_shortfall.value[n] == pytest.approx(alone.expected_shortfall.value[0], rel=1e-12)


@pytest.mark.parametrize("confidence", [95, 99])
def test_parametric_value_at_risk_is_that_of_the_normal_distribution(confidence: int) -> None:
    tail = _risk.parametric(RETURNS, (confidence,))[confidence]
    for n, window in enumerate(RETURNS):
        normal = stats.norm(window.mean(), window.std(ddof=1))
        quantile = normal.ppf(1 - confidence / 100)
        assert tail.value_at_risk.value[n] == pytest.approx(-quantile, rel=1e-9)
        below = normal.expect(ub=quantile, conditional=True)
        assert tail.expected_shortfall.value[n] == pytest.approx(-below, rel=1e-6)


def test_parametric_standard_errors_are_how_far_estimates_lie_from_each_other() -> None:
    draws = np.random.default_rng(5).normal(0.001, 0.02, (4000, 250))
    for estimate in _risk.parametric(draws, (99,))[99]:
        assert estimate.standard_error.mean() == pytest.approx(estimate.value.std(), rel=0.05)


@given(st.lists(st.floats(-0.5, 0.5), min_size=2, max_size=150))
def test_the_shortfall_is_at_least_the_value_at_risk_and_99_at_least_95(returns: list[float]) -> None:
    tails = _risk.historical(row(*returns), (95, 99))
    var, worse = (tails[c].value_at_risk.value[0] for c in (95, 99))
    assert tails[95].expected_shortfall.value[0] >= var - 1e-12
    assert tails[99].expected_shortfall.value[0] >= worse - 1e-12
    assert worse >= var - 1e-12


def test_drawdown_is_that_of_empyrical() -> None:
    fall = _risk.drawdown(levels_of(RETURNS))
    for depth, window in zip(fall.depth, RETURNS, strict=True):
        assert depth == pytest.approx(-empyrical.max_drawdown(window), rel=1e-12)


@pytest.mark.parametrize(
    ("levels", "depth", "duration"),
    [
        ([5, 5, 5], 0, 0),
        ([1, 2, 3], 0, 0),
        ([10, 8, 10, 11], 0.2, 2),
        ([10, 8, 9, 9], 0.2, 3),
        ([10, 10, 8, 10], 0.2, 2),
        ([10, 9, 12, 6, 11, 12, 10], 0.5, 3),
        ([10, np.nan, 8, np.nan, 10], 0.2, 4),
        ([np.nan, 10, 5, 5], 0.5, 2),
    ],
)
def test_a_drawdown_lasts_from_its_peak_until_that_is_reached_again(
    levels: list[float], depth: float, duration: float
) -> None:
    fall = _risk.drawdown(row(*levels))
    assert (fall.depth[0], fall.duration[0]) == (pytest.approx(depth), duration)


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=30))
def test_a_drawdown_is_what_a_plain_loop_over_all_pairs_finds(levels: list[float]) -> None:
    falls = [1 - levels[j] / levels[i] for i in range(len(levels)) for j in range(i, len(levels))]
    assert _risk.drawdown(row(*levels)).depth[0] == pytest.approx(max(falls), abs=1e-12)


def test_ratios_are_those_of_empyrical() -> None:
    levels = levels_of(RETURNS)
    sharpe, sortino = _risk.sharpe(RETURNS, DAYS), _risk.sortino(RETURNS, DAYS)
    calmar = _risk.calmar(levels, RETURNS, DAYS)
    for n, window in enumerate(RETURNS):
        assert sharpe.value[n] == pytest.approx(empyrical.sharpe_ratio(window, annualization=DAYS), rel=1e-9)
        assert sortino.value[n] == pytest.approx(empyrical.sortino_ratio(window, annualization=DAYS), rel=1e-9)
        assert calmar.value[n] == pytest.approx(empyrical.calmar_ratio(window, annualization=DAYS), rel=1e-9)


def test_standard_errors_of_ratios_are_how_far_estimates_lie_from_each_other() -> None:
    draws = np.random.default_rng(6).gamma(4, 0.01, (4000, 365)) - 0.039
    for ratio in (_risk.sharpe, _risk.sortino):
        estimate = ratio(draws, DAYS)
        assert estimate.standard_error.mean() == pytest.approx(estimate.value.std(), rel=0.05)


def test_a_ratio_without_what_it_divides_by_is_not_defined() -> None:
    steady = row(*[0.01] * 60)
    assert np.isnan(_risk.sharpe(np.diff(1.01 ** np.arange(61.0)) / 1.01 ** np.arange(60.0)[None, :], DAYS).value[0])
    assert np.isnan(_risk.sortino(steady, DAYS).value[0])
    assert np.isnan(_risk.calmar(levels_of(steady), steady, DAYS).value[0])


def test_alternating_returns_have_the_known_ratios() -> None:
    returns = row(*[0.02, -0.01] * 40)
    assert _risk.sharpe(returns, DAYS).value[0] == pytest.approx(np.sqrt(DAYS) * 0.005 / (0.015 * np.sqrt(80 / 79)))
    assert _risk.sortino(returns, DAYS).value[0] == pytest.approx(np.sqrt(DAYS) * 0.005 / (0.01 / np.sqrt(2)))


def test_beta_and_correlation_are_those_of_a_regression() -> None:
    market = np.random.default_rng(8).normal(0, 0.02, RETURNS.shape)
    own = 1.5 * market + RETURNS
    beta, correlation = _risk.beta(own, market), _risk.correlation(own, market)
    for n in range(len(own)):
        line = stats.linregress(market[n], own[n])
        assert beta.value[n] == pytest.approx(line.slope, rel=1e-9)
        assert beta.value[n] == pytest.approx(empyrical.beta(own[n], market[n]), rel=1e-9)
        assert beta.standard_error[n] == pytest.approx(line.stderr, rel=1e-9)
        assert correlation.value[n] == pytest.approx(line.rvalue, rel=1e-9)


def test_a_market_has_a_beta_and_a_correlation_of_one_with_itself() -> None:
    for estimate in (_risk.beta(RETURNS, RETURNS), _risk.correlation(RETURNS, RETURNS)):
        assert estimate.value == pytest.approx(1)
        assert estimate.standard_error == pytest.approx(0, abs=1e-7)


def test_beside_a_market_that_stands_still_neither_is_defined() -> None:
    still = np.zeros_like(RETURNS)
    assert np.isnan(_risk.beta(RETURNS, still).value).all()
    assert np.isnan(_risk.correlation(RETURNS, still).value).all()
    assert np.isnan(_risk.correlation(still, RETURNS).value).all()
    assert (_risk.beta(still, RETURNS).value == 0).all()


def test_a_mean_has_the_standard_error_of_scipy() -> None:
    estimate = _risk.mean(RETURNS)
    np.testing.assert_allclose(estimate.value, RETURNS.mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(estimate.standard_error, stats.sem(RETURNS, axis=1), rtol=1e-12)


def judged(hits: list[bool], confidence: int = 95) -> _risk.Backtest:
    """The test of forecasts of a loss of 10 %, of which those of `hits` were exceeded."""
    returns = np.array([0.0, *(-0.2 if hit else 0.0 for hit in hits)])
    return _risk.backtest(np.full(len(returns), 0.1), returns, np.array([len(hits)]), len(hits), confidence)


def test_kupiec_s_test_is_that_of_a_plain_likelihood_ratio() -> None:
    """Jorion, Value at Risk, table 6.2: 255 days at 99 %, 7 exceptions or more are refused, 6 are not."""
    for exceptions, is_refused in ((6, False), (7, True)):
        test = judged([False] * (255 - exceptions) + [True] * exceptions, 99)
        assert bool(test.kupiec_p_value[0] < 0.05) is is_refused
    n, x, p = 500, 30, 0.05
    ratio = 2 * (stats.binom.logpmf(x, n, x / n) - stats.binom.logpmf(x, n, p))
    test = judged([True] * 30 + [False] * 470)
    assert (test.forecasts[0], test.exceptions[0]) == (500, 30)
    assert test.kupiec_p_value[0] == pytest.approx(stats.chi2.sf(ratio, 1), rel=1e-9)


def test_christoffersen_s_tests_are_those_of_a_plain_loop() -> None:
    hits = (np.random.default_rng(9).random(400) < 0.07).tolist()
    counts = np.zeros((2, 2))
    for before, after in pairwise(hits):
        counts[int(before), int(after)] += 1
    chances = counts / counts.sum(axis=1, keepdims=True)
    overall = counts[:, 1].sum() / counts.sum()
    alternative = sum(counts[i, j] * np.log(chances[i, j]) for i in (0, 1) for j in (0, 1) if counts[i, j])
    null = counts[:, 0].sum() * np.log(1 - overall) + counts[:, 1].sum() * np.log(overall)
    test = judged(hits)
    independence = 2 * (alternative - null)
    assert test.independence_p_value[0] == pytest.approx(stats.chi2.sf(independence, 1), rel=1e-9)
    kupiec = stats.chi2.isf(test.kupiec_p_value[0], 1)
    assert test.conditional_coverage_p_value[0] == pytest.approx(stats.chi2.sf(independence + kupiec, 2), rel=1e-6)


def test_exceptions_that_come_together_are_refused_and_scattered_ones_are_not() -> None:
    together = judged([False] * 237 + [True] * 13)
    scattered = judged(([False] * 19 + [True]) * 13)
    assert together.kupiec_p_value[0] > 0.5
    assert together.independence_p_value[0] < 1e-6
    assert scattered.independence_p_value[0] > 0.05


def test_a_right_forecast_is_refused_as_often_as_its_p_value_says() -> None:
    random = np.random.default_rng(10)
    returns = random.normal(0, 1, 40_001)
    ends = np.arange(500, 40_001, 500)
    test = _risk.backtest(np.full(len(returns), -stats.norm.ppf(0.05)), returns, ends, 500, 95)
    assert (test.forecasts == 500).all()
    assert (test.kupiec_p_value < 0.05).mean() < 0.15


def test_a_forecast_is_judged_by_the_next_return_alone_and_no_return_by_none() -> None:
    returns = np.array([0.0, -0.2, np.nan, -0.2, 0.0])
    foretold = np.array([0.1, 0.3, 0.1, np.nan, 0.1])
    test = _risk.backtest(foretold, returns, np.array([1, 2, 3, 4]), 10, 95)
    assert test.forecasts.tolist() == [1, 1, 2, 2]
    assert test.exceptions.tolist() == [1, 1, 2, 2]


def test_forecasts_are_what_each_window_alone_gives() -> None:
    returns = np.where(np.arange(300) % 17 == 0, np.nan, np.random.default_rng(11).normal(0, 0.02, 300))
    places = np.arange(300)
    made = _risk.forecasts(returns, places, 100, 80, (95, 99))
    for place in (50, 84, 85, 120, 299):
        window = returns[max(place - 99, 0) : place + 1]
        window = window[np.isfinite(window)]
        for confidence in (95, 99):
            expected = -np.percentile(window, 100 - confidence) if len(window) >= 80 else np.nan
            assert made["historical", confidence][place] == pytest.approx(expected, nan_ok=True, rel=1e-12)


def test_a_window_s_figures_do_not_depend_on_the_others_to_the_last_bit() -> None:
    series = np.random.default_rng(12).normal(0, 0.01, 500)
    ends = np.arange(200, 500)
    many, one = _risk.windows(series, ends, 150), _risk.windows(series, ends[37:38], 150)
    for measure in (
        lambda w: _risk.volatility(w**2, DAYS, _risk.decaying(150)),
        lambda w: _risk.parametric(w, (99,))[99].expected_shortfall,
        lambda w: _risk.historical(w, (99,))[99].expected_shortfall,
        lambda w: _risk.sharpe(w, DAYS),
        lambda w: _risk.sortino(w, DAYS),
        lambda w: _risk.beta(w, w**2),
        lambda w: _risk.correlation(w, w**2),
    ):
        for whole, alone in zip(measure(many), measure(one), strict=True):
            np.testing.assert_array_equal(whole[37:38], alone)


def test_of_no_window_there_is_nothing() -> None:
    none = np.empty((0, 10))
    assert len(_risk.historical(none, (95,))[95].value_at_risk.value) == 0
    assert len(_risk.drawdown(none).depth) == 0
    assert len(_risk.sharpe(none, DAYS).value) == 0
