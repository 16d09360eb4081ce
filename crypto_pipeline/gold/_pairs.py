"""Correlations of every pair of columns at once, with missing values left out pair by pair."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfc, ndtri

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_AT_ONCE = 32
"""Columns by columns that are ranked anew at once: what they need stays small."""
_CONSTANT = 1e-10
"""Of a column's own variance: one with less than this on what it shares with another does not move there."""


def observations(values: Floats) -> Ints:
    """In how many rows both of two columns are known, for each pair of the columns of `values` (rows by columns)."""
    known = (~np.isnan(values)).astype(np.float64)
    counts: Ints = np.rint(known.T @ known).astype(np.int64)
    return counts


def pearson(values: Floats) -> Floats:
    """Pearson's correlation of each pair of columns, over the rows in which both are known.

    NaN where one of the two does not move there. As `pandas.DataFrame.corr`, by products of matrices: with M the mask
    of what is known and X the values, the sums over a pair's common rows are X'M, (X^2)'M and X'X.
    """
    known, scaled = _scaled(values)
    count = known.T @ known
    sums, squares, products = scaled.T @ known, (scaled * scaled).T @ known, scaled.T @ scaled
    with np.errstate(divide="ignore", invalid="ignore"):
        covariance = products - sums * sums.T / count
        variance = squares - sums * sums / count
        variance = np.where(variance > _CONSTANT * count, variance, np.nan)
        found: Floats = np.clip(covariance / np.sqrt(variance * variance.T), -1.0, 1.0)
    return found


def spearman(values: Floats) -> Floats:
    """Spearman's correlation: Pearson's of the ranks, ties sharing their mean rank, among the rows that a pair shares.

    Where two columns miss the same rows, the ranks of each are those among all that it has, and one product of matrices
    does all such pairs. For any other pair both are ranked anew: each column is sorted once, and the rank of a value
    among the rows of another is then how many of these came before it, so that no pair is sorted by itself.
    """
    from scipy.stats import rankdata

    found = pearson(rankdata(values, axis=0, nan_policy="omit"))
    known = ~np.isnan(values)
    count = observations(values)
    own = np.diag(count)
    differ = (count < own[:, None]) | (count < own[None, :])
    blocks = [slice(start, start + _AT_ONCE) for start in range(0, values.shape[1], _AT_ONCE)]
    for number, one in enumerate(blocks):
        for other in blocks[number:]:
            if not differ[one, other].any():
                continue
            left, right = _ranks(values[:, one], known[:, other]), _ranks(values[:, other], known[:, one])
            moves = np.einsum("atb,atb->ab", left, left) * np.einsum("bta,bta->ab", right, right)
            with np.errstate(divide="ignore", invalid="ignore"):
                each = np.einsum("atb,abt->ab", left, right.transpose(2, 0, 1)) / np.sqrt(moves)
            exact = np.where(differ[one, other], np.clip(each, -1.0, 1.0), found[one, other])
            found[one, other], found[other, one] = exact, exact.T
    return found


def fisher_interval(
    correlation: Floats, count: Ints, confidence: float, *, of_ranks: bool = False
) -> tuple[Floats, Floats]:
    """The bounds of a correlation from so many independent observations (more than 3), by Fisher's z = atanh r.

    The error of z is sqrt(1 / (n - 3)); of a rank correlation sqrt((1 + r^2 / 2) / (n - 3)) (Bonett and Wright 2000,
    "Sample size requirements for estimating Pearson, Kendall and Spearman correlations").
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = (1.0 + correlation * correlation / 2.0) if of_ranks else 1.0
        reach = ndtri((1.0 + confidence) / 2.0) * np.sqrt(spread / np.where(count > 3, count - 3.0, np.nan))
        middle = np.arctanh(correlation)
        return np.tanh(middle - reach), np.tanh(middle + reach)


def whitened(values: Floats, order: int) -> Floats:
    """What each column is beyond what its own last `order` rows say, by an autoregression (Yule and Walker).

    NaN where the row or one of those before it is not known. Two series that move together and have a momentum of their
    own are correlated at every lag though neither leads: their cross-correlation says who leads only after this
    (Box and Jenkins, "Time Series Analysis", the chapter on transfer functions).
    """
    known, scaled = _scaled(values)
    rows = len(values)
    lagged = [(scaled[lag:] * scaled[: max(rows - lag, 0)]).sum(axis=0) for lag in range(order + 1)]
    covariances = np.array(lagged)
    distance = np.abs(np.subtract.outer(np.arange(order), np.arange(order)))
    system = np.moveaxis(covariances[distance], -1, 0) + np.eye(order) * (1e-9 * covariances[0] + 1e-300)[:, None, None]
    weights = np.linalg.solve(system, covariances[1:].T[:, :, None])[:, :, 0]
    seen = np.where(known > 0, scaled, np.nan)
    left = seen.copy()
    left[:order] = np.nan
    for lag in range(1, order + 1):
        left[order:] -= weights[:, lag - 1] * seen[order - lag : max(rows - lag, order - lag)]
    return left


@dataclass(frozen=True)
class LeadLags:
    """For each pair of columns (a by b, a < b) the lag at which they are most surely related."""

    lag: Ints
    """By how many rows a leads b; negative where b leads."""
    correlation: Floats
    """Of what both are beyond their own past, at that lag; NaN where nothing was tested."""
    adjusted_p: Floats
    """The share of false finds among all pairs that are at least as sure (Benjamini and Hochberg)."""
    tests: int
    """How many pairs and lags were tested together."""


def lead_lags(values: Floats, longest: int, order: int, fewest: int, may: NDArray[np.bool_]) -> LeadLags:
    """Who leads whom, over lags of 1 to `longest` rows in both directions, among the pairs that `may` be tested.

    The cross-correlation r(k) of `whitened` columns; its test does not take their variance to be the same at all times:
    z = sum(x y) / sqrt(sum(x^2 y^2)) is standard normal where x and the later y are unrelated (Taylor 1984, "Estimating
    the variances of autocorrelations calculated from financial time series"). A lag that rests on fewer than `fewest`
    observations is not tested.
    """
    rows = len(values)
    left = whitened(values, order)
    known, scaled = _scaled(left)
    squares = scaled * scaled
    pairs = np.triu(may, 1)
    correlations, surprises = [], []
    for lag in range(1, longest + 1):
        before, after = slice(0, max(rows - lag, 0)), slice(lag, None)
        count = known[before].T @ known[after]
        products = scaled[before].T @ scaled[after]
        with np.errstate(divide="ignore", invalid="ignore"):
            z = products / np.sqrt(squares[before].T @ squares[after])
            sizes = (squares[before].T @ known[after]) * (known[before].T @ squares[after])
            r = products / np.sqrt(sizes)
        p = np.where((count >= fewest) & np.isfinite(z), erfc(np.abs(z) / np.sqrt(2.0)), np.nan)
        correlations += [r, r.T]  # the row leads the column, and the other way round
        surprises += [np.where(pairs, p, np.nan), np.where(pairs, p.T, np.nan)]
    each, p = np.array(correlations), np.array(surprises)
    adjusted = benjamini_hochberg(p)
    best = np.argmin(np.where(np.isnan(p), np.inf, p), axis=0)
    is_tested = ~np.isnan(p).all(axis=0)

    def at_best(of: Floats) -> Floats:
        return np.where(is_tested, np.take_along_axis(of, best[None], axis=0)[0], np.nan)

    lags = np.array([sign * lag for lag in range(1, longest + 1) for sign in (1, -1)])
    return LeadLags(lags[best], at_best(each), at_best(adjusted), int(np.isfinite(p).sum()))


def benjamini_hochberg(p: Floats) -> Floats:
    """The adjusted p of each test: where it is at most q, the expected share of false finds among these is at most q.

    NaN is no test. Benjamini and Hochberg (1995), "Controlling the false discovery rate".
    """
    adjusted = np.full(p.shape, np.nan)
    tested = np.isfinite(p)
    order = np.argsort(p[tested], kind="stable")
    count = len(order)
    steps = p[tested][order] * count / np.arange(1, count + 1)
    smallest = np.empty(count)
    smallest[order] = np.minimum(np.minimum.accumulate(steps[::-1])[::-1], 1.0)
    adjusted[tested] = smallest
    return adjusted


def _scaled(values: Floats) -> tuple[Floats, Floats]:
    """The mask of what is known, and the values less their column's mean in its standard deviations, 0 for NaN."""
    is_known = ~np.isnan(values)
    known = is_known.astype(np.float64)
    count = np.maximum(known.sum(axis=0), 1.0)
    largest = np.max(np.abs(values), axis=0, initial=0.0, where=is_known)
    moved = np.where(is_known, values - np.where(is_known, values, 0.0).sum(axis=0) / count, 0.0)
    deviation = np.sqrt((moved * moved).sum(axis=0) / count)
    moves = deviation > 1e-12 * largest  # else it is what rounding left of a constant
    scaled = np.where(moves, moved / np.where(moves, deviation, 1.0), 0.0)
    return known, scaled


def _ranks(values: Floats, known: NDArray[np.bool_]) -> Floats:
    """The ranks of each column's values among the rows known of another, twice and less their mean; 0 elsewhere.

    Columns of `values` by rows by columns of `known`.
    """
    ranks = np.zeros((values.shape[1], *known.shape))
    for column, series in enumerate(values.T):
        order = np.argsort(series, kind="stable")[: np.count_nonzero(~np.isnan(series))]
        in_order = series[order]
        first, behind = np.searchsorted(in_order, in_order, "left"), np.searchsorted(in_order, in_order, "right")
        both = known[order]
        before = np.zeros((len(order) + 1, both.shape[1]), dtype=np.int32)
        np.cumsum(both, axis=0, out=before[1:])
        # Equal values share the mean of their ranks, before + 1 to behind; the mean of all n ranks is (n + 1) / 2.
        ranks[column, order] = (before[first] + before[behind] - before[-1]) * both
    return ranks
