"""How risky markets and portfolios are: volatility, value at risk and its back-test, drawdown, ratios, beta, liquidity.

A row is one metric of one window that ends at `as_of`; nothing later goes into it. Hourly returns give a row at the end
of each hour, daily ones (UTC) at the end of each day, if a candle ends there. A return is one between adjacent closed
candles. An interval without a candle is quiet, a return of 0, where the trade ids on its two sides follow each other or
the exchange's klines say so (`silver.quiet_intervals`); else it is missing, and so is the return after it. Returns r
are simple, but volatility rests on logarithmic ones. P is the number of intervals in a year of 365 days. A loss is
positive; the riskless rate is 0. A portfolio (`subject_kind`) has the daily metrics of its closed days' time-weighted
returns, all but liquidity.

- `realised_volatility`: √(P × mean of squared log returns), close to close
- `parkinson_volatility`: √(P × mean of ln(high / low)² / (4 ln 2)), of complete candles (Parkinson 1980)
- `garman_klass_volatility`: √(P × mean of ½ ln(high / low)² - (2 ln 2 - 1) ln(close / open)²), of complete candles
  (Garman and Klass 1980)
- `ewma_volatility`: √(P × weighted mean of squared log returns), each return's weight 0.94 of the next one's, over the
  latest 74, which have 99 % of the weight (RiskMetrics 1996)
- `historical_var`: minus the quantile of the returns, linear between neighbours; `historical_cvar`: minus the mean of
  the ⌊(n - 1) (1 - confidence)⌋ + 1 lowest. Of the next hour by at least 720 hourly returns, of the next day by at
  least 250 daily ones; nothing is scaled from one to the other
- `parametric_var`: -(mean + z × standard deviation), as if returns were normal, z their quantile; `parametric_cvar`:
  -mean + standard deviation × φ(z) / (1 - confidence)
- `max_drawdown`: the deepest fall from a peak, by closes; `max_drawdown_duration_days`: from the last time at that peak
  until it was reached again, or to `as_of`
- `sharpe`: √365 × mean / standard deviation; `sortino`: √365 × mean / √(mean of min(r, 0)²); `calmar`: growth per year
  / `max_drawdown`. Of daily returns
- `beta_to_btc`, `correlation_to_btc`: with Bitcoin's returns on the same exchange in the same quote asset (of a
  portfolio in USDT)
- `amihud_illiquidity`: mean of |r| / quote volume, for a million of the quote asset (Amihud 2002); quiet intervals are
  left out

`standard_error`: of means √(s² / n), of what follows from them by the delta method; of `sharpe` after Mertens (2002),
of `calmar` that of the growth alone. Of `parametric_var` and `parametric_cvar` if returns are normal. Null for
historical value at risk and drawdown, of which it cannot be told without supposing a distribution.

A window is measured if it lies wholly in the market's history and nine tenths (volatility) or two thirds of its returns
are there; value at risk as soon as there are as many returns as said. Else `value` is null, and `reason` says why:
`too_little_history` (`fills_at`: when it will be enough, if none is missing), `missing_returns`, `no_reference` (no
Bitcoin in that quote asset), `no_variation`, `no_losses`, `no_drawdown` (nothing stands below the line), `retracted`
(the portfolio has that day no more).

The back-test compares each value at risk of the latest 750 intervals, made of what was known then, with the return that
followed. `kupiec_p_value`: how likely at least as odd a number of exceptions is if the confidence is right (Kupiec
1995); `independence_p_value`: if exceptions do not come together; `conditional_coverage_p_value`: if both hold
(Christoffersen 1998). Below 0.05 the forecast is not to be trusted. Null before 250 forecasts (at 99 %: 500).

A late candle changes the rows up to 60 days and 750 hours after it (hourly returns), or 365 and 750 days (daily): the
window of value at risk and its back-test. One of Bitcoin those of all markets in its quote asset. Hourly rows are made
for the hours of the latest seven days, so that old history does not give thousands of rows a day, and of the time
before for midnight alone; what was made stays, and late candles change it too.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.frames import added, differing, framed, to_pandas
from crypto_pipeline.gold import _risk, portfolio_performance
from crypto_pipeline.gold._prices import SERIES, candles, grid, simple_returns
from crypto_pipeline.gold._risk import Flags
from crypto_pipeline.gold._risk_rows import CADENCES, Series, measured
from crypto_pipeline.gold._valuation import RETRACTED, TOTAL
from crypto_pipeline.silver import ohlcv, quiet_intervals
from shared.tables import Column, Table

TABLE = Table(
    layer="gold",
    name="risk_metrics",
    grain="One row per exchange, subject, as_of, metric, return interval, horizon, window and confidence",
    columns=(
        Column("exchange", "string", "the market; of a portfolio that whose prices count"),
        Column("subject_kind", "string", "symbol or portfolio"),
        Column("subject", "string", "canonical symbol, or the portfolio's name"),
        Column("as_of", "timestamp", "end of the window, UTC: of an hour, or of a day where returns are daily"),
        Column("metric", "string", "what is measured, as the table's description lists it"),
        Column("return_interval", "string", "of the returns or candles that it rests on: 1h or 1d"),
        Column(
            "horizon",
            "string",
            "of what time it speaks: 1y where it is annualised, of value at risk the next 1h or 1d, of a drawdown the "
            "window, else one return_interval",
        ),
        Column("window_length", "string", "of the returns that it rests on: 24h, 74h, 7d, 30d, 60d, 74d, 90d or 365d"),
        Column("confidence", "int", "of value at risk, in percent: 95 or 99; 0 for all else"),
        Column(
            "value",
            "double",
            "volatility, value at risk and drawdown as a fraction (0.05: 5 %), durations in days, illiquidity per "
            "million of the quote asset, all else a plain number",
        ),
        Column("standard_error", "double", "of value, in its unit; null where none can be told"),
        Column("observations", "bigint", "returns (of ranges: complete candles) in the window"),
        Column("observations_needed", "int", "so many there must be"),
        Column(
            "reason",
            "string",
            "why value is null: too_little_history, missing_returns, no_reference, no_variation, no_losses, "
            "no_drawdown, retracted",
        ),
        Column("fills_at", "timestamp", "when there will be enough history, if no candle is missing; null: not known"),
        Column("backtest_forecasts", "int", "of value at risk: forecasts out of sample that were compared"),
        Column("backtest_exceptions", "int", "losses among them that were greater than foretold"),
        Column("backtest_exceptions_expected", "double", "as many as the confidence says"),
        Column("kupiec_p_value", "double", "0 to 1, of the number of exceptions if the confidence is right"),
        Column("independence_p_value", "double", "0 to 1, of their coming together, if they are independent"),
        Column("conditional_coverage_p_value", "double", "0 to 1, of both (Christoffersen)"),
        Column("backtest_reason", "string", "why the p-values are null: too_few_forecasts, retracted"),
        Column("backtest_fills_at", "timestamp", "when there will be enough forecasts; null: not known"),
        Column("ingestion_ts", "timestamp", "when the row was written"),
        Column("month", "string", "partition: UTC month of as_of, yyyy-MM"),
    ),
    key=(
        "exchange",
        "subject_kind",
        "subject",
        "as_of",
        "metric",
        "return_interval",
        "horizon",
        "window_length",
        "confidence",
    ),
    partitions=("month",),
    time="as_of",
    bucket="subject",
    rules={
        "a_value_or_a_reason": "(value is null) = (reason is not null)",
        "values_are_numbers": "coalesce(not isnan(value) and abs(value) < double('infinity'), true)",
        "volatility_is_not_negative": "metric not like '%volatility' or coalesce(value >= 0, true)",
        "drawdown_is_a_fraction": "metric != 'max_drawdown' or coalesce(value between 0 and 1, true)",
        "correlation_lies_within_one": "metric != 'correlation_to_btc' or coalesce(value between -1 and 1, true)",
        "enough_observations": "value is null or observations >= observations_needed",
        "exceptions_are_forecasts": "coalesce(backtest_exceptions <= backtest_forecasts, true)",
    },
)
SOURCES = (ohlcv.TABLE, quiet_intervals.TABLE, portfolio_performance.TABLE)
JOB = "analytics"

_SUBJECT = ("exchange", "subject_kind", "subject")
_EACH_HOUR = timedelta(days=7)
_BITCOIN = "BTCUSDT"
_DAY = 86400
_ADDED_AT_LAST = ("ingestion_ts", "month")


def touched(changes: Mapping[str, DataFrame], _current: DataFrame, _now: datetime) -> DataFrame:
    """From the first to the last changed candle or quiet interval of each symbol and interval of returns.

    And from the first to the last changed day of each portfolio.
    """
    candles = changes["silver.ohlcv"].filter("is_closed").select(*SERIES, "interval", "interval_start")
    quiet = changes["silver.quiet_intervals"].select(*SERIES, "interval", "interval_start")
    of_returns = candles.unionByName(quiet).filter(F.col("interval").isin(list(CADENCES)))
    days = _closed_days(changes["gold.portfolio_performance"])
    of_portfolios = days.select(
        "exchange",
        F.lit("portfolio").alias("subject_kind"),
        F.col("portfolio").alias("subject"),
        F.lit("1d").alias("return_interval"),
        F.col("day").alias("interval_start"),
    )
    of_symbols = of_returns.select(
        "exchange",
        F.lit("symbol").alias("subject_kind"),
        F.col("symbol").alias("subject"),
        F.col("interval").alias("return_interval"),
        "interval_start",
    )
    return (
        of_symbols.unionByName(of_portfolios)
        .groupBy(*_SUBJECT, "return_interval")
        .agg(F.min("interval_start").alias("first_changed"), F.max("interval_start").alias("last_changed"))
    )


def needs(keys: DataFrame, now: datetime) -> DataFrame:
    """What the rows rest on that rest on changed candles or days, and those rows."""
    step, reach = _of_interval("seconds"), _of_interval("reach")
    end = F.least(F.timestamp_seconds(F.unix_seconds("last_changed") + step * (reach + 1)), F.lit(now)).alias("end")
    before = F.timestamp_seconds(F.unix_seconds("first_changed") - step * (reach + 2)).alias("start")
    interval, every = F.col("return_interval").alias("interval"), F.lit(None).cast("string").alias("interval")
    of_candles = F.explode(F.array(F.lit(ohlcv.TABLE.full_name), F.lit(quiet_intervals.TABLE.full_name)))
    of_days = F.lit(portfolio_performance.TABLE.full_name)
    first = F.col("first_changed").alias("start")
    return (
        keys.select(of_candles.alias("source"), interval, before, end)
        .unionByName(keys.filter("return_interval = '1d'").select(of_days.alias("source"), every, before, end))
        .unionByName(keys.select(F.lit(TABLE.full_name).alias("source"), every, first, end))
        .distinct()
    )


def _closed_days(portfolios: DataFrame) -> DataFrame:
    return portfolios.filter((F.col("asset") == TOTAL) & F.col("is_closed"))


def _of_interval(name: str) -> Expression:
    """What is said of each interval of returns."""
    said = " ".join(f"WHEN '{interval}' THEN {getattr(cadence, name)}" for interval, cadence in CADENCES.items())
    return F.expr(f"CASE return_interval {said} END")


def build(keys: DataFrame, sources: Mapping[str, DataFrame], current: DataFrame, now: datetime) -> DataFrame:
    """The rows that rest on changed candles or days, as far as they differ from the current ones."""
    changed = to_pandas(keys)
    naive = pd.Timestamp(now.astimezone(UTC).replace(tzinfo=None))
    each_hour_from = naive.floor("h") - _EACH_HOUR
    made = None
    if (changed["first_changed"] < each_hour_from).any():
        hourly = current.filter("return_interval = '1h'").select(*_SUBJECT, "as_of").distinct()
        made = to_pandas(hourly)
    parts = []
    for interval in sorted(set(changed["return_interval"])):
        of_interval = changed[changed["return_interval"] == interval]
        closed = candles(sources, interval, _CANDLE_COLUMNS)
        of_quiet = sources["silver.quiet_intervals"].filter(F.col("interval") == interval)
        quiet = to_pandas(of_quiet.select(*SERIES, "interval_start"))
        parts.append(of_symbols(closed, quiet, of_interval, interval, each_hour_from, made))
        if interval == "1d":
            days = to_pandas(_closed_days(sources["gold.portfolio_performance"]).select(*_DAY_COLUMNS))
            parts.append(of_portfolios(days, closed, quiet, of_interval))
    fields = [c for c in TABLE.columns if c.name not in _ADDED_AT_LAST]
    parts = [part for part in parts if len(part)] or parts[:1]
    rows = pd.concat(parts, ignore_index=True)[[c.name for c in fields]]
    counts = ("backtest_forecasts", "backtest_exceptions")
    rows = rows.astype(dict.fromkeys(counts, "Int32"))
    dated = added(
        framed(keys.sparkSession, rows, fields),
        ingestion_ts=F.current_timestamp(),
        month=F.date_format("as_of", "yyyy-MM"),
    )
    return differing(dated, current, TABLE)


_DAY_COLUMNS = ("exchange", "portfolio", "day", "return_day", "growth", "reason")
_CANDLE_COLUMNS = (
    "base_asset",
    "quote_asset",
    "open",
    "high",
    "low",
    "close",
    "quote_volume",
    "first_trade_id",
    "last_trade_id",
    "status",
)


def of_symbols(
    candles: pd.DataFrame,
    quiet: pd.DataFrame,
    changed: pd.DataFrame,
    interval: str,
    each_hour_from: pd.Timestamp,
    made: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """The rows of every symbol that rest on its changed candles, or on those of Bitcoin in the same quote asset.

    `candles`: closed ones of one interval, in order of time. `quiet`: where the exchange says that nothing traded
    (SERIES, `interval_start`). `changed`: exchange, subject, `first_changed`, `last_changed`. Hourly rows before
    `each_hour_from` are made for midnight, and where there is one already (`made`: exchange, subject_kind, subject,
    `as_of`).
    """
    spans, parts = _Spans(changed, interval), []
    for (exchange, symbol), bitcoin, series, has_candle in _series(candles, quiet, interval):
        is_wanted = has_candle & spans.reach(series.starts, (exchange, "symbol", symbol), (exchange, "symbol", bitcoin))
        if interval == "1h":
            is_wanted &= _kept(series.starts, each_hour_from, made, (exchange, "symbol", symbol))
        if not is_wanted.any():
            continue
        rows = measured(series, np.flatnonzero(is_wanted), interval)
        parts.append(rows.assign(exchange=exchange, subject_kind="symbol", subject=symbol))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=_NAMES)


def of_portfolios(
    days: pd.DataFrame, candles: pd.DataFrame, quiet: pd.DataFrame, changed: pd.DataFrame
) -> pd.DataFrame:
    """The rows of every portfolio that rest on its changed days, or on changed candles of BTCUSDT.

    `days`: exchange, portfolio, day, return_day, growth and reason of closed ones; `candles` and `quiet` of a day each,
    and `changed`, as `of_symbols` has them.
    """
    spans, parts = _Spans(changed, "1d"), []
    of_bitcoin = candles[candles["symbol"] == _BITCOIN]
    bitcoins = grid(of_bitcoin, _known_quiet(of_bitcoin, quiet, _DAY), _DAY)
    for exchange, portfolio in days[["exchange", "portfolio"]].drop_duplicates().to_numpy():
        own = days[(days["exchange"] == exchange) & (days["portfolio"] == portfolio)]
        first = own["day"].min() - pd.Timedelta(days=1)
        on = own.set_index("day").reindex(pd.date_range(first, own["day"].max()))
        levels, returns = on["growth"].to_numpy(float), on["return_day"].to_numpy(float)
        levels[0] = levels[1] / (1 + returns[1])
        starts = pd.DatetimeIndex(on.index)
        bitcoin = (exchange, _BITCOIN)
        reference = bitcoins[bitcoin].reindex(starts).to_numpy(float) if bitcoin in bitcoins.columns else None
        series = Series(starts=starts, levels=levels, returns=returns, reference=reference)
        is_reached = spans.reach(starts, (exchange, "portfolio", portfolio), (exchange, "symbol", _BITCOIN))
        is_wanted = on["portfolio"].notna().to_numpy() & is_reached
        if not is_wanted.any():
            continue
        rows = measured(series, np.flatnonzero(is_wanted), "1d")
        gone = starts[on["reason"] == RETRACTED] + pd.Timedelta(days=1)
        _retract(rows, rows["as_of"].isin(gone))
        parts.append(rows.assign(exchange=exchange, subject_kind="portfolio", subject=portfolio))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=_NAMES)


def _retract(rows: pd.DataFrame, where: pd.Series) -> None:
    """Take back what these rows say."""
    p_values = ["kupiec_p_value", "independence_p_value", "conditional_coverage_p_value"]
    rows.loc[where, ["value", "standard_error", *p_values]] = np.nan
    rows.loc[where, ["fills_at", "backtest_fills_at"]] = pd.NaT
    rows.loc[where, "reason"] = RETRACTED
    rows.loc[where & rows["backtest_forecasts"].notna(), "backtest_reason"] = RETRACTED


class _Spans:
    """What changed, by subject, and how far that reaches."""

    def __init__(self, changed: pd.DataFrame, interval: str) -> None:
        cadence = CADENCES[interval]
        self._reach = pd.Timedelta(seconds=cadence.reach * cadence.seconds)
        columns = [*_SUBJECT, "first_changed", "last_changed"]
        self._spans = {tuple(subject): (first, last) for *subject, first, last in changed[columns].to_numpy()}

    def reach(self, starts: pd.DatetimeIndex, *subjects: tuple[Any, ...]) -> Flags:
        """Which of the starts rest on what changed of any of the subjects."""
        is_reached: Flags = np.zeros(len(starts), dtype=bool)
        for first, last in (self._spans[subject] for subject in subjects if subject in self._spans):
            # Each by itself: of what lies between two, nobody asked for what it rests on.
            is_reached |= (starts >= first) & (starts <= last + self._reach)
        return is_reached


def _kept(
    starts: pd.DatetimeIndex, each_hour_from: pd.Timestamp, made: pd.DataFrame | None, subject: tuple[str, str, str]
) -> Flags:
    """Which hours have rows: late ones, the last of a day, and those that have them already."""
    as_of = starts + pd.Timedelta(hours=1)
    is_kept: Flags = (as_of > each_hour_from) | (as_of == as_of.normalize())
    if made is not None:
        is_mine = (made[list(_SUBJECT)] == subject).all(axis=1)
        is_kept |= as_of.isin(made.loc[is_mine, "as_of"])
    return is_kept


def _series(
    candles: pd.DataFrame, quiet: pd.DataFrame, interval: str
) -> Iterator[tuple[tuple[str, str], str | None, Series, Flags]]:
    """Each market, the symbol of Bitcoin in its quote asset, its series, and where it has a candle."""
    seconds = CADENCES[interval].seconds
    prices = grid(candles, _known_quiet(candles, quiet, seconds), seconds)
    returns = simple_returns(prices)
    values = {name: _on(prices, candles, name) for name in ("open", "high", "low", "close", "quote_volume")}
    completeness = _on(prices, candles.assign(complete=candles["status"].isin(("complete", "repaired"))), "complete")
    markets = candles.drop_duplicates(list(SERIES))[[*SERIES, "base_asset", "quote_asset"]].to_numpy()
    bitcoins = {(exchange, quote): symbol for exchange, symbol, base, quote in markets if base == "BTC"}
    starts = pd.DatetimeIndex(prices.index)
    for exchange, symbol, _, quote in markets:
        market, bitcoin = (exchange, symbol), bitcoins.get((exchange, quote))
        level, simple = prices[market].to_numpy(float), returns[market].to_numpy(float)
        own = {name: frame[market].to_numpy(float) for name, frame in values.items()}
        has_candle = np.isfinite(own["close"])
        is_complete = completeness[market].eq(True).to_numpy()
        when_quiet = np.where(np.isfinite(level) & ~has_candle, 0.0, np.nan)
        ranges = _risk.parkinson(own["high"], own["low"])
        bodies = _risk.garman_klass(own["open"], own["high"], own["low"], own["close"])
        series = Series(
            starts=starts,
            levels=level,
            returns=simple,
            reference=None if bitcoin is None else prices[exchange, bitcoin].to_numpy(float),
            parkinson=np.where(is_complete, ranges, when_quiet),
            garman_klass=np.where(is_complete, bodies, when_quiet),
            illiquidity=np.abs(simple) / own["quote_volume"],
        )
        yield market, bitcoin, series, has_candle


def _known_quiet(candles: pd.DataFrame, quiet: pd.DataFrame, seconds: int) -> pd.DataFrame:
    """Where nothing traded, as the klines say (`quiet`) or the ids of the trades around it."""
    said = [rows for rows in (quiet, between_ids(candles, seconds)) if len(rows)]
    return pd.concat(said) if said else quiet


def between_ids(candles: pd.DataFrame, seconds: int) -> pd.DataFrame:
    """The intervals between two candles of which the trade ids prove that nothing traded: SERIES, `interval_start`."""
    step = pd.Timedelta(seconds=seconds)
    of_series = candles.groupby(list(SERIES))
    after = of_series["interval_start"].shift(-1)
    is_proven = candles["last_trade_id"] + 1 == of_series["first_trade_id"].shift(-1)
    holes = candles[is_proven & (after - candles["interval_start"] > step)]
    within = [
        pd.date_range(start + step, end - step, freq=step)
        for start, end in zip(holes["interval_start"], after[holes.index], strict=True)
    ]
    every = holes[list(SERIES)].assign(interval_start=pd.Series(within, index=holes.index, dtype=object))
    return every.explode("interval_start", ignore_index=True).astype({"interval_start": "datetime64[ns]"})


def _on(prices: pd.DataFrame, candles: pd.DataFrame, name: str) -> pd.DataFrame:
    """A column of the candles on the grid of prices."""
    wide = candles.pivot_table(index="interval_start", columns=SERIES, values=name, aggfunc="last", observed=False)
    return wide.reindex(index=prices.index, columns=prices.columns)


_NAMES = [c.name for c in TABLE.columns if c.name not in _ADDED_AT_LAST]
