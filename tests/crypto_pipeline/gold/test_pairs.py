"""Correlations of every pair at once are what the libraries say of each pair by itself."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from statsmodels.regression.linear_model import yule_walker
from statsmodels.stats.multitest import fdrcorrection

from crypto_pipeline.gold import _pairs
from crypto_pipeline.gold._pairs import (
    Floats,
    benjamini_hochberg,
    fisher_interval,
    lead_lags,
    observations,
    pearson,
    spearman,
    whitened,
)

METHODS = {"pearson": pearson, "spearman": spearman}
EVERY = np.ones((9, 9), dtype=np.bool_)


def drawn(rows: int = 200, columns: int = 6, seed: int = 1) -> Floats:
    random = np.random.default_rng(seed)
    return random.normal(size=(rows, 1)) + random.normal(size=(rows, columns))


def with_holes(values: Floats, share: float, seed: int = 2) -> Floats:
    return np.where(np.random.default_rng(seed).random(values.shape) < share, np.nan, values)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("share", [0.0, 0.05, 0.6])
def test_a_correlation_is_that_of_pandas_also_where_ties_and_holes_are(method: str, share: float) -> None:
    values = with_holes(drawn(columns=70).round(1), share)
    expected = pd.DataFrame(values).corr(method=method).to_numpy()  # type: ignore[arg-type]
    assert METHODS[method](values) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_a_correlation_is_that_of_scipy_for_the_rows_that_a_pair_shares(method: str) -> None:
    values = with_holes(drawn(columns=3), 0.3)
    of = {"pearson": stats.pearsonr, "spearman": stats.spearmanr}[method]
    found = METHODS[method](values)
    for a, b in ((0, 1), (0, 2), (1, 2)):
        shared = ~np.isnan(values[:, a]) & ~np.isnan(values[:, b])
        assert found[a, b] == pytest.approx(of(values[shared, a], values[shared, b])[0])
        assert observations(values)[a, b] == shared.sum()


@pytest.mark.parametrize("method", METHODS)
def test_known_series_have_known_correlations(method: str) -> None:
    line = np.arange(10.0)
    alternating = np.array([1.0, -1.0] * 5)
    jump = np.array([0.0] * 9 + [100.0])
    found = METHODS[method](np.column_stack([line, 3 * line - 7, -line, alternating, jump, np.full(10, 0.3)]))
    assert found[0, 1] == pytest.approx(1)
    assert found[0, 2] == pytest.approx(-1)
    assert found[0, 3] == pytest.approx(-5 / math.sqrt(82.5 * 10))
    assert found[0, 4] == pytest.approx(45 / math.sqrt(82.5 * 90))
    assert np.isnan(found[5]).all()


@pytest.mark.parametrize("method", METHODS)
def test_a_column_that_stands_still_where_the_other_is_known_has_no_correlation(method: str) -> None:
    moving = drawn(50, 1)[:, 0]
    other = np.where(np.arange(50) < 25, 0.1, moving)
    mine = np.where(np.arange(50) < 25, moving, np.nan)
    found = METHODS[method](np.column_stack([mine, other]))
    assert np.isnan(found[0, 1])


@pytest.mark.parametrize("method", METHODS)
def test_of_nothing_there_is_no_correlation(method: str) -> None:
    assert METHODS[method](np.empty((5, 0))).shape == (0, 0)
    assert np.isnan(METHODS[method](np.full((5, 2), np.nan))).all()
    assert np.isnan(METHODS[method](np.array([[1.0, 2.0]]))).all()


cells = st.one_of(st.just(np.nan), st.integers(-3, 3).map(float))


@settings(max_examples=60, deadline=None)
@given(arrays(np.float64, st.tuples(st.integers(1, 12), st.integers(1, 5)), elements=cells))
def test_whatever_the_values_it_is_that_of_pandas_symmetric_and_within_one(values: Floats) -> None:
    for method, function in METHODS.items():
        found = function(values)
        expected = pd.DataFrame(values).corr(method=method, min_periods=1).to_numpy()  # type: ignore[arg-type]
        off = ~np.eye(len(found), dtype=np.bool_)
        assert np.array_equal(found, found.T, equal_nan=True)
        assert (np.abs(found[~np.isnan(found)]) <= 1).all()
        assert found[off] == pytest.approx(expected[off], abs=1e-9, nan_ok=True)


def test_an_interval_is_that_of_scipy_and_for_ranks_bonett_and_wright_s() -> None:
    values = drawn(40, 2)
    result = stats.pearsonr(values[:, 0], values[:, 1])
    expected = result.confidence_interval(0.95)
    low, high = fisher_interval(np.array([result.statistic]), np.array([40]), 0.95)
    assert (low[0], high[0]) == pytest.approx((expected.low, expected.high))
    low, high = fisher_interval(np.array([0.5]), np.array([103]), 0.95, of_ranks=True)
    reach = 1.959964 * math.sqrt(1.125 / 100)
    assert (low[0], high[0]) == pytest.approx(
        (math.tanh(math.atanh(0.5) - reach), math.tanh(math.atanh(0.5) + reach)), abs=1e-7
    )
    assert [bound[0] for bound in fisher_interval(np.array([1.0]), np.array([10]), 0.95)] == [1, 1]
    assert np.isnan(fisher_interval(np.array([0.5]), np.array([3]), 0.95)).all()


def test_an_interval_holds_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(3)
    truth, hits = 0.6, []
    for _ in range(400):
        x = random.normal(size=(100, 2))
        x[:, 1] = truth * x[:, 0] + math.sqrt(1 - truth**2) * x[:, 1]
        low, high = fisher_interval(pearson(x), observations(x), 0.95)
        hits.append(low[0, 1] <= truth <= high[0, 1])
    assert 0.92 <= np.mean(hits) <= 0.98


def test_what_is_freed_of_its_past_is_as_statsmodels_says() -> None:
    x = drawn(500, 1)
    for row in range(1, 500):
        x[row] += 0.5 * x[row - 1]
    weights = yule_walker(x[:, 0] - x.mean(), order=2, method="mle", demean=False, result_object=True).rho
    z = (x[:, 0] - x.mean()) / x.std()
    expected = z[2:] - weights[0] * z[1:-1] - weights[1] * z[:-2]
    assert whitened(x, 2)[2:, 0] == pytest.approx(expected, abs=1e-6)
    assert np.isnan(whitened(x, 2)[:2]).all()
    x[100] = np.nan
    assert np.flatnonzero(np.isnan(whitened(x, 2)[2:, 0])).tolist() == [98, 99, 100]


def led(lag: int, weight: float = 0.4, seed: int = 4) -> Floats:
    """Three columns, of which the second follows the first by `lag` rows."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(1000, 3))
    x[lag:, 1] += weight * x[:-lag, 0]
    return x


@pytest.mark.parametrize("lag", [1, 3, 5])
def test_a_lead_is_found_with_its_lag_and_sign_and_no_other(lag: int) -> None:
    found = lead_lags(led(lag), 5, 5, 30, EVERY[:3, :3])
    assert found.lag[0, 1] == lag
    assert found.correlation[0, 1] == pytest.approx(0.4 / math.sqrt(1.16), abs=0.08)
    assert found.tests == 3 * 10
    sure = found.adjusted_p <= 0.05
    assert np.argwhere(sure).tolist() == [[0, 1]]
    swapped = lead_lags(led(lag)[:, [1, 0, 2]], 5, 5, 30, EVERY[:3, :3])
    assert swapped.lag[0, 1] == -lag


def test_momentum_that_two_share_is_no_lead() -> None:
    x = drawn(1500, 2, seed=8)
    for row in range(1, 1500):
        x[row] += 0.5 * x[row - 1]
    raw = np.corrcoef(x[1:, 0], x[:-1, 1])[0, 1]
    assert raw > 0.15
    assert lead_lags(x, 5, 5, 30, EVERY[:2, :2]).adjusted_p[0, 1] > 0.05


def test_volatility_that_two_share_is_no_lead_more_often_than_promised() -> None:
    random, finds = np.random.default_rng(9), 0
    for _ in range(100):
        volatility = np.exp(np.repeat(random.normal(size=(100, 1)), 10, axis=0))  # in clusters of ten
        x = random.normal(size=(1000, 2)) * volatility
        finds += int(lead_lags(x, 5, 5, 30, EVERY[:2, :2]).adjusted_p[0, 1] <= 0.05)
    assert finds <= 12


def test_a_lag_with_few_observations_and_a_pair_that_may_not_are_not_tested() -> None:
    x = led(1)
    x[:-40, 2] = np.nan
    assert lead_lags(x, 5, 5, 36, EVERY[:3, :3]).tests == 10
    assert lead_lags(x, 5, 5, 1, EVERY[:3, :3] & False).tests == 0
    assert np.isnan(lead_lags(x[:3], 5, 5, 1, EVERY[:3, :3]).adjusted_p).all()


@given(st.lists(st.one_of(st.just(math.nan), st.floats(0, 1)), min_size=1, max_size=30))
def test_the_adjusted_p_are_those_of_statsmodels(p: list[float]) -> None:
    values = np.array(p)
    tested = ~np.isnan(values)
    found = benjamini_hochberg(values)
    assert np.isnan(found[~tested]).all()
    if tested.any():
        assert found[tested] == pytest.approx(fdrcorrection(values[tested])[1])


def test_ranks_in_blocks_are_those_of_one_block(monkeypatch: pytest.MonkeyPatch) -> None:
    values = with_holes(drawn(60, 11).round(1), 0.2)
    whole = spearman(values)
    monkeypatch.setattr(_pairs, "_AT_ONCE", 3)
    assert spearman(values) == pytest.approx(whole, abs=1e-12)
