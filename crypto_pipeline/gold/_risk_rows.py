"""The rows of `gold.risk_metrics` that a series of prices or values gives."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from crypto_pipeline.gold import _risk
from crypto_pipeline.gold._risk import Backtest, Estimate, Flags, Floats, Integers

CONFIDENCES = (95, 99)
BACKTESTED = 750
"""Steps that a back-test looks back over."""
FORECASTS_NEEDED = {95: 250, 99: 500}
_MILLION = 1_000_000
_NEVER = np.datetime64("NaT", "ns")

Times = npt.NDArray[np.datetime64]


@dataclass(frozen=True)
class Cadence:
    """What is measured of the returns of one interval. Windows are numbers of returns, by what they are called."""

    seconds: int
    per_year: int
    volatilities: Mapping[str, int]
    decaying: tuple[str, int]
    tail: tuple[str, int, int]
    """The window of value at risk, and how many of its returns must be there."""
    spans: Mapping[str, int]
    """The windows of drawdown, beta, correlation and liquidity."""
    has_ratios: bool
    """Sharpe, Sortino and Calmar are of daily returns only."""
    has_ranges: bool

    @property
    def reach(self) -> int:
        """How many steps after a candle there is a row that rests on it: what its forecasts rest on, and their test."""
        return self.tail[1] + BACKTESTED


CADENCES = {
    "1h": Cadence(
        seconds=3600,
        per_year=24 * 365,
        volatilities={"24h": 24, "7d": 7 * 24, "30d": 30 * 24},
        decaying=("74h", 74),
        tail=("60d", 60 * 24, 720),
        spans={"30d": 30 * 24},
        has_ratios=False,
        has_ranges=True,
    ),
    "1d": Cadence(
        seconds=86400,
        per_year=365,
        volatilities={"90d": 90, "365d": 365},
        decaying=("74d", 74),
        tail=("365d", 365, 250),
        spans={"90d": 90, "365d": 365},
        has_ratios=True,
        has_ranges=False,
    ),
}


@dataclass(frozen=True)
class Series:
    """A market or a portfolio on an even grid of time: a value for each start of an interval, NaN where not known."""

    starts: pd.DatetimeIndex
    levels: Floats
    """Prices, or the value of one unit, at the end of each interval."""
    returns: Floats
    """Simple."""
    reference: Floats | None
    """Prices of Bitcoin; none where there is no such market."""
    parkinson: Floats | None = None
    garman_klass: Floats | None = None
    illiquidity: Floats | None = None
    """|return| by what traded in the interval, in the quote asset; a portfolio has none."""


def two_thirds(length: int) -> int:
    """How many of a window's returns must be there: 60 of 90 days."""
    return -(-2 * length // 3)


def nine_tenths(length: int) -> int:
    """How many must be there of the windows of volatility, of which the shortest has 24."""
    return -(-9 * length // 10)


def _first_since(known: Flags, ends: Integers, steps: int) -> Integers:
    """The first known place from so many steps before each end on; behind the last place where there is none."""
    places = np.append(np.flatnonzero(known), len(known))
    first: Integers = places[np.searchsorted(places, ends - steps)]
    return first


def measured(series: Series, ends: Integers, interval: str) -> pd.DataFrame:
    """Every metric of the interval at each of `ends` (places in the series), from what lies before its end alone.

    The columns are those of the table from `as_of` on, without its bookkeeping.
    """
    rows = _Rows(series.starts.to_numpy(), series.levels, ends, CADENCES[interval], interval)
    if len(ends):
        _volatilities(rows, series)
        _tails(rows, series)
        _drawdowns(rows, series)
        if rows.cadence.has_ratios:
            _ratios(rows, series)
        _relations(rows, series)
        if series.illiquidity is not None:
            for window, length in rows.cadence.spans.items():
                per_million = _risk.mean(rows.windows(series.illiquidity * _MILLION, length))
                rows.add("amihud_illiquidity", interval, window, length, per_million, series.illiquidity)
    return rows.frame()


def _volatilities(rows: "_Rows", series: Series) -> None:
    cadence = rows.cadence
    squares = np.square(np.log1p(series.returns))
    estimators = {"realised_volatility": squares}
    if cadence.has_ranges and series.parkinson is not None and series.garman_klass is not None:
        estimators |= {"parkinson_volatility": series.parkinson, "garman_klass_volatility": series.garman_klass}
    for metric, variances in estimators.items():
        for window, length in cadence.volatilities.items():
            estimate = _risk.volatility(rows.windows(variances, length), cadence.per_year)
            rows.add(metric, "1y", window, length, estimate, variances, needed=nine_tenths(length))
    window, length = cadence.decaying
    estimate = _risk.volatility(rows.windows(squares, length), cadence.per_year, _risk.decaying(length))
    rows.add("ewma_volatility", "1y", window, length, estimate, squares, needed=nine_tenths(length))


def _tails(rows: "_Rows", series: Series) -> None:
    window, length, needed = rows.cadence.tail
    last = int(rows.ends.max())
    tested = np.arange(max(int(rows.ends.min()) - BACKTESTED, 0), last + 1)
    foretold = _risk.forecasts(series.returns, tested, length, needed, CONFIDENCES)
    values = rows.windows(series.returns, length)
    for method, tails in (
        ("historical", _risk.historical(values, CONFIDENCES)),
        ("parametric", _risk.parametric(values, CONFIDENCES)),
    ):
        for confidence, tail in tails.items():
            forecasts = np.full(len(series.returns), np.nan)
            forecasts[tested] = foretold[method, confidence]
            test = _risk.backtest(forecasts, series.returns, rows.ends, BACKTESTED, confidence)
            for name, estimate in (("var", tail.value_at_risk), ("cvar", tail.expected_shortfall)):
                rows.add(
                    f"{method}_{name}",
                    rows.interval,
                    window,
                    length,
                    estimate,
                    series.returns,
                    needed=needed,
                    must_span=False,
                    confidence=confidence,
                    test=(test, forecasts) if name == "var" else None,
                )


def _drawdowns(rows: "_Rows", series: Series) -> None:
    none = np.full(len(rows.ends), np.nan)
    for window, length in rows.cadence.spans.items():
        fall = _risk.drawdown(rows.windows(series.levels, length + 1))
        days = fall.duration * (rows.cadence.seconds / 86400)
        rows.add("max_drawdown", window, window, length, Estimate(fall.depth, none), series.returns)
        rows.add("max_drawdown_duration_days", window, window, length, Estimate(days, none), series.returns)


def _ratios(rows: "_Rows", series: Series) -> None:
    per_year = rows.cadence.per_year
    for window, length in rows.cadence.spans.items():
        returns, levels = rows.windows(series.returns, length), rows.windows(series.levels, length + 1)
        for metric, estimate, undefined in (
            ("sharpe", _risk.sharpe(returns, per_year), "no_variation"),
            ("sortino", _risk.sortino(returns, per_year), "no_losses"),
            ("calmar", _risk.calmar(levels, returns, per_year), "no_drawdown"),
        ):
            rows.add(metric, "1y", window, length, estimate, series.returns, undefined=undefined)


def _relations(rows: "_Rows", series: Series) -> None:
    prices = np.full(len(series.returns), np.nan) if series.reference is None else series.reference
    is_lacking = _first_since(np.isfinite(prices), rows.ends, rows.cadence.reach) > rows.ends
    reference = np.append(np.nan, prices[1:] / prices[:-1] - 1)
    both = np.where(np.isfinite(reference), series.returns, np.nan)
    for window, length in rows.cadence.spans.items():
        of_both = rows.windows(both, length), rows.windows(reference, length)
        for metric, estimate in (
            ("beta_to_btc", _risk.beta(*of_both)),
            ("correlation_to_btc", _risk.correlation(*of_both)),
        ):
            rows.add(metric, rows.interval, window, length, estimate, both, is_lacking=is_lacking)


@dataclass
class _Rows:
    """Rows as they come together: for each metric one for each end."""

    starts: Times
    levels: Floats
    ends: Integers
    cadence: Cadence
    interval: str
    _parts: list[dict[str, Any]] = field(default_factory=list)

    def windows(self, values: Floats, length: int) -> Floats:
        return _risk.windows(values, self.ends, length)

    def add(
        self,
        metric: str,
        horizon: str,
        window: str,
        length: int,
        estimate: Estimate,
        rests_on: Floats,
        *,
        needed: int | None = None,
        must_span: bool = True,
        confidence: int = 0,
        undefined: str = "no_variation",
        is_lacking: Flags | None = None,
        test: tuple[Backtest, Floats] | None = None,
    ) -> None:
        """A metric of the windows of `length` of the values that it `rests_on`.

        There must be `needed` of these (two thirds), and with `must_span` the first as long ago as the window is.
        `undefined`: why there is no figure although there is enough. `is_lacking`: there is nothing to relate it to.
        """
        needed = two_thirds(length) if needed is None else needed
        is_lacking = np.zeros(len(self.ends), dtype=bool) if is_lacking is None else is_lacking
        known = np.isfinite(rests_on)
        sums = np.concatenate([[0], np.cumsum(known)])
        n = sums[self.ends + 1] - sums[np.maximum(self.ends + 1 - length, 0)]
        room = length - np.maximum(self.ends - self._begin(known) + 1, 0)
        is_short = (n < needed) | (must_span & (room > 0))
        steps = np.maximum(needed - n, room if must_span else 0)
        fills = self._after(steps, is_short & (room > 0) & (steps <= room) & ~is_lacking)
        is_defined = ~is_short & np.isfinite(estimate.value)
        reason = np.full(len(self.ends), undefined, dtype=object)
        reason[is_defined] = None
        reason[is_short & (room > 0)] = "too_little_history"
        reason[is_short & (room <= 0)] = "missing_returns"
        reason[is_lacking] = "no_reference"
        part = {
            "metric": metric,
            "horizon": horizon,
            "window_length": window,
            "confidence": confidence,
            "value": np.where(is_defined, estimate.value, np.nan),
            "standard_error": np.where(is_defined, estimate.standard_error, np.nan),
            "observations": n,
            "observations_needed": needed,
            "reason": reason,
            "fills_at": fills,
        }
        self._parts.append(part | (self._tested(*test, confidence, fills) if test else {}))

    def _begin(self, known: Flags) -> Integers:
        """Where the history of some values begins that a row looks back to: with the first, or the price before it.

        Where there is none, it is where prices begin. It is looked for no further back than candles have to be read.
        """
        reach = self.cadence.reach
        prices = _first_since(np.isfinite(self.levels), self.ends, reach)
        first = _first_since(known, self.ends, reach)
        is_after_price = np.isfinite(self.levels[np.maximum(first - 1, 0)]) & (first > 0)
        return np.where(first <= self.ends, first - is_after_price, prices)

    def _tested(self, test: Backtest, forecasts: Floats, confidence: int, fills: Times) -> dict[str, Any]:
        needed = FORECASTS_NEEDED[confidence]
        is_short = test.forecasts < needed
        known = np.isfinite(forecasts)
        room = BACKTESTED - np.maximum(self.ends - _first_since(known, self.ends, BACKTESTED), 0)
        steps = needed - test.forecasts
        later = fills + needed * self.step
        now_known = known[self.ends] | (test.forecasts > 0)
        soon = self._after(steps, is_short & now_known & (steps <= room))
        enough = ~is_short
        return {
            "backtest_forecasts": test.forecasts,
            "backtest_exceptions": test.exceptions,
            "backtest_exceptions_expected": test.forecasts * (100 - confidence) / 100,
            "kupiec_p_value": np.where(enough, test.kupiec_p_value, np.nan),
            "independence_p_value": np.where(enough, test.independence_p_value, np.nan),
            "conditional_coverage_p_value": np.where(enough, test.conditional_coverage_p_value, np.nan),
            "backtest_reason": np.array([None, "too_few_forecasts"], dtype=object)[is_short.astype(int)],
            "backtest_fills_at": np.where(now_known, soon, later),
        }

    def _after(self, steps: Integers, where: Any) -> Times:
        """The time so many steps after each end; NaT where it is not known."""
        return np.where(where, self.as_of + steps * self.step, _NEVER)

    @property
    def as_of(self) -> Times:
        return self.starts[self.ends] + self.step

    @property
    def step(self) -> np.timedelta64:
        return np.timedelta64(self.cadence.seconds * 1_000_000_000, "ns")

    def frame(self) -> pd.DataFrame:
        """All of them."""
        count = len(self.ends)
        columns: dict[str, Any] = {
            "as_of": np.tile(self.as_of, len(self._parts)),
            "return_interval": self.interval,
        }
        for name, missing in _VALUES.items():
            parts = [np.asarray(part.get(name, missing)) for part in self._parts]
            whole = [np.broadcast_to(part, count) if part.ndim == 0 else part for part in parts]
            columns[name] = np.concatenate(whole) if whole else []
        return pd.DataFrame(columns)


_VALUES: Mapping[str, Any] = {
    "metric": None,
    "horizon": None,
    "window_length": None,
    "confidence": 0,
    "value": np.nan,
    "standard_error": np.nan,
    "observations": 0,
    "observations_needed": 0,
    "reason": None,
    "fills_at": _NEVER,
    "backtest_forecasts": np.nan,
    "backtest_exceptions": np.nan,
    "backtest_exceptions_expected": np.nan,
    "kupiec_p_value": np.nan,
    "independence_p_value": np.nan,
    "conditional_coverage_p_value": np.nan,
    "backtest_reason": None,
    "backtest_fills_at": _NEVER,
}
"""The columns that a metric fills, and what stands in those that it does not."""
