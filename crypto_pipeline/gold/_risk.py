"""Measures of risk over windows of returns, in numpy.

A window is a row of a matrix: values in order of time, NaN where one is not known. What is given back has a value for
each row, NaN where the row does not define it. Sums run along contiguous rows, so that a window gives the same figure
to the last bit, whichever others are computed with it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import chdtrc, ndtri, xlogy

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

LAMBDA = 0.94
"""What is left of a squared return's weight when the next one comes: RiskMetrics, Technical Document (1996), 5.3."""
_NOTHING = 1e-12
"""A spread of returns below this is that of rounding: the returns are all the same."""
_AT_ONCE = 4096
"""Windows that are in memory together."""


class Estimate(NamedTuple):
    """A figure of each window, and its standard error; NaN where none is known."""

    value: Floats
    standard_error: Floats


class Tail(NamedTuple):
    """What may be lost, as a fraction; a loss is positive."""

    value_at_risk: Estimate
    expected_shortfall: Estimate


class Drawdown(NamedTuple):
    """The deepest fall from a peak, as a positive fraction, and how many steps until that peak was reached again."""

    depth: Floats
    duration: Floats


class Backtest(NamedTuple):
    """How often losses were greater than foretold, and how likely as much is if the forecasts are right."""

    forecasts: Integers
    exceptions: Integers
    kupiec_p_value: Floats
    independence_p_value: Floats
    conditional_coverage_p_value: Floats


def windows(values: Floats, ends: Integers, length: int) -> Floats:
    """The `length` values up to each of `ends` (places in `values`), NaN before the first: a row for each end."""
    padded = np.concatenate([np.full(length - 1, np.nan), values])
    return np.lib.stride_tricks.sliding_window_view(padded, length)[ends]


def counted(values: Floats) -> Integers:
    """How many values of each window are known."""
    count: Integers = np.isfinite(values).sum(axis=1)
    return count


def mean(values: Floats) -> Estimate:
    """The mean of each window's values, with the standard error s / √n."""
    average, deviation, n = _moments(values)
    return Estimate(average, _over(deviation, np.sqrt(n)))


def volatility(variances: Floats, per_year: int, weights: Floats | None = None) -> Estimate:
    """√(per_year × weighted mean of `variances`): what one year's standard deviation would be.

    `variances` are estimates of one step's variance each: squared log returns for close to close (zero mean, as
    realised volatility is), `parkinson` or `garman_klass`. Without `weights` they count alike. Standard error by the
    delta method from the spread of the estimates themselves, so that fat tails widen it.
    """
    known = np.isfinite(variances)
    weight = np.where(known, 1.0 if weights is None else weights, 0.0)
    share = _over(weight, weight.sum(axis=1, keepdims=True))
    each = np.where(known, variances, 0.0)
    variance = (share * each).sum(axis=1)
    spread = np.sqrt((share**2 * (each - variance[:, None]) ** 2).sum(axis=1))
    value = np.where(known.any(axis=1), np.sqrt(per_year * variance), np.nan)
    error = np.where(variance > 0, np.sqrt(per_year) * _over(spread, 2 * np.sqrt(variance)), 0.0)
    return Estimate(value, np.where(np.isfinite(value), error, np.nan))


def decaying(length: int) -> Floats:
    """The weights of the exponentially weighted moving average, oldest first: λ^age, not yet normalised."""
    return LAMBDA ** np.arange(length - 1, -1, -1, dtype=float)


def parkinson(high: Floats, low: Floats) -> Floats:
    """ln(high / low)² / (4 ln 2): one candle's variance by its range (Parkinson 1980, J. Business 53)."""
    variance: Floats = np.log(high / low) ** 2 / (4 * np.log(2))
    return variance


def garman_klass(opening: Floats, high: Floats, low: Floats, close: Floats) -> Floats:
    """½ ln(high / low)² - (2 ln 2 - 1) ln(close / open)²: one candle's variance (Garman and Klass 1980, ibid.)."""
    variance: Floats = 0.5 * np.log(high / low) ** 2 - (2 * np.log(2) - 1) * np.log(close / opening) ** 2
    return variance


def historical(returns: Floats, confidences: Sequence[int]) -> dict[int, Tail]:
    """Value at risk and expected shortfall by the returns that were; confidence in percent.

    Value at risk is minus the empirical quantile, linear between neighbours; expected shortfall is minus the mean of
    the ⌊(n - 1) tail⌋ + 1 lowest returns, so never the smaller of the two. No standard error.
    """
    width = returns.shape[1]
    most = min(width - 1, (width - 1) * (100 - min(confidences)) // 100 + 1)
    lowest = np.sort(np.partition(returns, most, axis=1)[:, : most + 1], axis=1)
    sums = np.cumsum(lowest, axis=1)
    n, rows = counted(returns), np.arange(len(returns))
    none = np.full(len(returns), np.nan)
    tails = {}
    for confidence in confidences:
        hundredths = np.maximum(n - 1, 0) * (100 - confidence)
        place, rest = hundredths // 100, hundredths % 100 / 100
        here, there = lowest[rows, place], lowest[rows, np.minimum(place + 1, most)]
        quantile = np.where(rest > 0, here + (there - here) * rest, here)
        shortfall = sums[rows, place] / (place + 1)
        tails[confidence] = Tail(Estimate(-quantile, none), Estimate(-shortfall, none))
    return tails


def parametric(returns: Floats, confidences: Sequence[int]) -> dict[int, Tail]:
    """Value at risk and expected shortfall if returns are normal, with mean and standard deviation of the window.

    -(μ + z σ) and -μ + σ φ(z) / tail, with z the normal quantile of the tail; standard errors by the delta method,
    under normality: σ √((1 + c² / 2) / n), c the factor of σ (Jorion, Value at Risk, 5.3).
    """
    average, deviation, n = _moments(returns)
    tails = {}
    for confidence in confidences:
        tail = (100 - confidence) / 100
        z = ndtri(tail)
        factors = (-z, np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) / tail)
        var, shortfall = (
            Estimate(-average + factor * deviation, deviation * np.sqrt(_over(1 + factor**2 / 2, n)))
            for factor in factors
        )
        tails[confidence] = Tail(var, shortfall)
    return tails


def drawdown(levels: Floats) -> Drawdown:
    """The deepest fall of each window of prices or values, and its duration in steps.

    The duration runs from the peak before the deepest point until that peak is reached again, or to the window's end
    where it is not. A window that never falls has 0 and 0.
    """
    steps = np.arange(levels.shape[1])
    peaks = np.fmax.accumulate(levels, axis=1)
    falls = np.where(np.isfinite(levels), 1 - levels / peaks, -1.0)
    trough = falls.argmax(axis=1)
    rows = np.arange(len(levels))
    depth = falls[rows, trough]
    peak = peaks[rows, trough][:, None]
    is_before, is_at_peak = steps <= trough[:, None], levels >= peak
    begin = levels.shape[1] - 1 - (is_before & is_at_peak)[:, ::-1].argmax(axis=1)
    regained = ~is_before & is_at_peak
    end = np.where(regained.any(axis=1), regained.argmax(axis=1), levels.shape[1] - 1)
    is_known = np.isfinite(levels).any(axis=1)
    duration = np.where(depth > 0, end - begin, 0)
    return Drawdown(np.where(is_known, depth, np.nan), np.where(is_known, duration, np.nan))


def sharpe(returns: Floats, per_year: int) -> Estimate:
    """√per_year × mean / standard deviation, riskless rate 0.

    Standard error √((1 + S²/2 - skewness S + (kurtosis - 3) S²/4) / n) of one step's ratio S (Mertens 2002; Lo 2002,
    Financial Analysts Journal 58, where returns are normal).
    """
    average, deviation, n = _moments(returns)
    is_flat = deviation <= _NOTHING
    ratio = np.where(is_flat, np.nan, _over(average, deviation))
    apart = np.where(np.isfinite(returns), returns - average[:, None], 0.0)
    spread = np.sqrt((apart**2).sum(axis=1) / np.maximum(n, 1))
    skewness = _over((apart**3).sum(axis=1), n * spread**3)
    kurtosis = _over((apart**4).sum(axis=1), n * spread**4)
    variance = 1 + ratio**2 / 2 - skewness * ratio + (kurtosis - 3) * ratio**2 / 4
    return Estimate(np.sqrt(per_year) * ratio, np.sqrt(per_year * _over(np.maximum(variance, 0), n)))


def sortino(returns: Floats, per_year: int) -> Estimate:
    """√per_year × mean / √(mean of min(return, 0)²), target 0; standard error by the delta method."""
    known = np.isfinite(returns)
    each = np.where(known, returns, 0.0)
    n = counted(returns)
    average = _over(each.sum(axis=1), n)
    losses = np.minimum(each, 0) ** 2
    semivariance = _over(losses.sum(axis=1), n)
    below = np.where(semivariance > _NOTHING**2, np.sqrt(semivariance), np.nan)
    influence = (each - average[:, None]) / below[:, None] - (average / (2 * below**3))[:, None] * (
        losses - semivariance[:, None]
    )
    variance = _over(np.where(known, influence**2, 0.0).sum(axis=1), n * np.maximum(n - 1, 1))
    return Estimate(np.sqrt(per_year) * average / below, np.sqrt(per_year * variance))


def calmar(levels: Floats, returns: Floats, per_year: int) -> Estimate:
    """Growth per year over the window's maximum drawdown.

    Growth is (last / first)^(per_year / steps between them) - 1. The standard error is that of the growth alone, by the
    delta method from the log returns; the drawdown is taken as given.
    """
    rows, width = np.arange(len(levels)), levels.shape[1]
    known = np.isfinite(levels)
    first, last = known.argmax(axis=1), width - 1 - known[:, ::-1].argmax(axis=1)
    years = np.where(last > first, (last - first) / per_year, np.nan)
    growth = (levels[rows, last] / levels[rows, first]) ** (1 / years) - 1
    depth = drawdown(levels).depth
    fall = np.where(depth > _NOTHING, depth, np.nan)
    _, deviation, n = _moments(np.log1p(returns))
    return Estimate(growth / fall, (1 + growth) * per_year * _over(deviation, np.sqrt(n)) / fall)


def beta(returns: Floats, reference: Floats) -> Estimate:
    """The slope of the least-squares line of the returns on the reference's, over what is known of both; its error."""
    own, other, both, n = _together(returns, reference)
    slope = _ratio(both, other)
    residual = np.maximum(own - slope * both, 0)
    return Estimate(slope, np.sqrt(_over(residual, np.maximum(n - 2, 0) * other)))


def correlation(returns: Floats, reference: Floats) -> Estimate:
    """Pearson's coefficient over what is known of both; its standard error is (1 - r²) / √(n - 1)."""
    own, other, both, n = _together(returns, reference)
    value = np.clip(_ratio(both, np.sqrt(own * other)), -1, 1)
    value = np.where((own > n * _NOTHING**2) & (other > n * _NOTHING**2), value, np.nan)
    return Estimate(value, (1 - value**2) / np.sqrt(np.maximum(n - 1, 1)))


def forecasts(
    returns: Floats, places: Integers, length: int, needed: int, confidences: Sequence[int]
) -> dict[tuple[str, int], Floats]:
    """The value at risk at each of `places`, by method and confidence, from the `length` returns up to there.

    NaN where fewer than `needed` of these are known.
    """
    parts: dict[tuple[str, int], list[Floats]] = {}
    for begin in range(0, len(places), _AT_ONCE):
        values = windows(returns, places[begin : begin + _AT_ONCE], length)
        is_enough = counted(values) >= needed
        for name, method in (("historical", historical), ("parametric", parametric)):
            for confidence, tail in method(values, confidences).items():
                part = np.where(is_enough, tail.value_at_risk.value, np.nan)
                parts.setdefault((name, confidence), []).append(part)
    return {key: np.concatenate(part) for key, part in parts.items()}


def backtest(value_at_risk: Floats, returns: Floats, ends: Integers, span: int, confidence: int) -> Backtest:
    """How forecasts fared in the last `span` steps up to each of `ends`.

    `value_at_risk` at a place foretells the return at the next one, from what was known at that place: an exception is
    a loss that is greater. Kupiec (1995) asks whether there are as many exceptions as the confidence says,
    Christoffersen (1998) whether one makes another more likely (independence), and both at once (conditional coverage):
    likelihood ratios against χ² with 1, 1 and 2 degrees of freedom. NaN where there is no forecast.
    """
    foretold = np.concatenate([[np.nan], value_at_risk[:-1]])
    is_judged = np.isfinite(foretold) & np.isfinite(returns)
    is_hit = is_judged & (-returns > np.where(is_judged, foretold, np.inf))
    is_pair = np.concatenate([[False], is_judged[1:] & is_judged[:-1]])
    was_hit = np.concatenate([[False], is_hit[:-1]])

    def within(flags: Flags, steps: int) -> Integers:
        sums: Integers = np.concatenate([[0], np.cumsum(flags)])
        count: Integers = sums[ends + 1] - sums[np.maximum(ends + 1 - steps, 0)]
        return count

    n, x = within(is_judged, span), within(is_hit, span)
    calm_calm, calm_hit, hit_calm, hit_hit = (
        within(is_pair & (was_hit == before) & (is_hit == after), span - 1)
        for before in (False, True)
        for after in (False, True)
    )
    tail = (100 - confidence) / 100
    kupiec = 2 * (_likelihood(n - x, x) - xlogy(n - x, 1 - tail) - xlogy(x, tail))
    each = _likelihood(calm_calm, calm_hit) + _likelihood(hit_calm, hit_hit)
    independence = 2 * (each - _likelihood(calm_calm + hit_calm, calm_hit + hit_hit))
    p_values = ((kupiec, 1), (independence, 1), (kupiec + independence, 2))
    return Backtest(
        n, x, *(np.where(n > 0, chdtrc(freedom, np.maximum(ratio, 0)), np.nan) for ratio, freedom in p_values)
    )


def _likelihood(misses: Integers, hits: Integers) -> Floats:
    """The logarithm of how likely these counts are, at the frequency that they have themselves."""
    total = np.maximum(misses + hits, 1)
    chances: Floats = xlogy(misses, misses / total) + xlogy(hits, hits / total)
    return chances


def _moments(values: Floats) -> tuple[Floats, Floats, Integers]:
    """Mean, standard deviation (of the sample) and number of each window's values."""
    known, n = np.isfinite(values), counted(values)
    average = _over(np.where(known, values, 0.0).sum(axis=1), n)
    squares = np.where(known, values - average[:, None], 0.0) ** 2
    return average, np.sqrt(_over(squares.sum(axis=1), n - 1)), n


def _together(returns: Floats, reference: Floats) -> tuple[Floats, Floats, Floats, Integers]:
    """Sums of squares of both, and of their products, about their means, over what is known of both; and how many."""
    known = np.isfinite(returns) & np.isfinite(reference)
    n = known.sum(axis=1)
    first, second = (
        np.where(known, values - _over(np.where(known, values, 0.0).sum(axis=1), n)[:, None], 0.0)
        for values in (returns, reference)
    )
    return (first**2).sum(axis=1), (second**2).sum(axis=1), (first * second).sum(axis=1), n


def _over(above: npt.ArrayLike, below: npt.ArrayLike) -> Floats:
    """A quotient, NaN where nothing stands below."""
    with np.errstate(divide="ignore", invalid="ignore"):
        quotient = np.divide(above, below, dtype=float)
    return np.where(np.asarray(below) > 0, quotient, np.nan)


def _ratio(above: Floats, below: Floats) -> Floats:
    """A quotient, NaN where what stands below is rounding."""
    return np.where(below > _NOTHING**2, _over(above, below), np.nan)
