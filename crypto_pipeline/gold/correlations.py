"""What moves together, and what leads what: the correlation of each pair's returns over rolling windows.

Of each exchange, all pairs of symbols with the same quote asset. Three windows, each up to its `as_of`: one-minute
returns over 24 hours (each full hour), hourly ones over 30 days and daily ones over 90 days (each midnight, UTC).

A return is ln(close / close before) between adjacent closed candles. A minute in which proven nothing traded has a
return of 0; across any other absence there is none. A pair's figures rest on the returns that both have: what one
misses is left out of this pair alone, and nothing is filled.

- `pearson`: sum((x - mean x)(y - mean y)) / sqrt(sum((x - mean x)^2) sum((y - mean y)^2)). It is that of the returns
  as they are: one jump of one of the two weighs much. `spearman` is the same of the ranks among the pair's common
  returns, equal returns sharing their mean rank, and hardly feels it: look at both.
- Their bounds are Fisher's: tanh(atanh r +- z sqrt(1 / (n - 3))), for Spearman sqrt((1 + r^2 / 2) / (n - 3)) (Bonett
  and Wright 2000). They take returns to be independent in time: where volatility comes in clusters they are too narrow.
- Fewer than half of the window's returns are too few: the figures are null, `reason` is `too_few_observations`, and
  `fills_at` is the `as_of` at which there will be enough, if nothing is missing until then. Where one of the two never
  moved, `reason` is `constant`.

The lead-lag: which of the two moves first. Each symbol's returns are freed of what its own last five say of them
(otherwise any two that move together and have momentum seem to lead each other), then a's are correlated with b's one
to five intervals later, and the other way round. The test of each, z = sum(x y) / sqrt(sum(x^2 y^2)), holds also where
volatility changes. Over all pairs and lags of one exchange, quote asset, window and `as_of` (`lead_lag_tests`), the p
are adjusted by Benjamini and Hochberg; a pair has a lead-lag where the adjusted p of its surest lag is 0.05 or less.
Symbols that trade seldom seem to follow: their last trade is older than the minute's end.

An `as_of` is made anew when a candle that it rests on comes late: the last 24 of the hourly ones, the last 7 of the
daily ones. Older ones stay as they were known. A pair is written once, `symbol_a` before `symbol_b` in the alphabet.
An hour or day in which nothing traded has no candle, and so two returns less.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.frames import added, differing, framed
from crypto_pipeline.gold._pairs import Floats, fisher_interval, lead_lags, observations, pearson, spearman
from crypto_pipeline.gold._prices import SERIES, candles, grid, log_returns, quiet_minutes
from crypto_pipeline.silver import completeness, ohlcv, ohlcv_1m
from crypto_pipeline.silver.candles import INTERVALS
from shared.tables import Column, Table

TABLE = Table(
    layer="gold",
    name="correlations",
    grain="One row per exchange, pair of symbols with the same quote asset, window of returns and as_of",
    columns=(
        Column("exchange", "string", "the market"),
        Column("symbol_a", "string", "canonical, before symbol_b in the alphabet"),
        Column("symbol_b", "string", "canonical"),
        Column("quote_asset", "string", "what both are priced in"),
        Column("return_interval", "string", "of which candles the returns are: 1m, 1h, 1d"),
        Column("window_length", "string", "what they reach back over: 24h, 30d, 90d"),
        Column("confidence", "double", "with which the bounds hold the correlation"),
        Column("as_of", "timestamp", "end of the window, UTC, exclusive: a full hour, of the longer ones midnight"),
        Column("observations", "bigint", "returns that both have; what pearson and spearman rest on"),
        Column("pearson", "double", "correlation of the log returns, -1 to 1"),
        Column("pearson_low", "double", "its lower bound"),
        Column("pearson_high", "double", "its upper bound"),
        Column("spearman", "double", "correlation of their ranks, -1 to 1"),
        Column("spearman_low", "double", "its lower bound"),
        Column("spearman_high", "double", "its upper bound"),
        Column("reason", "string", "why pearson and spearman are null: too_few_observations or constant"),
        Column("fills_at", "timestamp", "the as_of at which there will be enough, if nothing is missing until then"),
        Column("lead_lag_seconds", "bigint", "by how much symbol_a leads symbol_b; negative where symbol_b leads"),
        Column("lead_lag_correlation", "double", "of both at that lag, beyond what each one's own past says"),
        Column("lead_lag_p", "double", "adjusted p of the pair's surest lag (Benjamini-Hochberg), also of no lead-lag"),
        Column("lead_lag_tests", "bigint", "pairs and lags tested together, over which p is adjusted"),
        Column(
            "lead_lag_reason",
            "string",
            "why there is none: not_significant, too_few_observations or constant",
        ),
        Column("ingestion_ts", "timestamp", "when the row was written"),
        Column("month", "string", "partition: UTC month of as_of, yyyy-MM"),
    ),
    key=("exchange", "symbol_a", "symbol_b", "return_interval", "window_length", "confidence", "as_of"),
    partitions=("month",),
    time="as_of",
    bucket="symbol_a",
    rules={
        "a_pair_stands_once": "symbol_a < symbol_b",
        "a_correlation_lies_in_its_bounds": "pearson is null or pearson between pearson_low and pearson_high",
        "a_rank_correlation_lies_in_its_bounds": "spearman is null or spearman between spearman_low and spearman_high",
        "nothing_is_null_without_a_reason": "(pearson is null) = (reason is not null) "
        "and (lead_lag_seconds is null) = (lead_lag_reason is not null)",
    },
)
SOURCES = (ohlcv_1m.TABLE, ohlcv.TABLE, completeness.TABLE)
JOB = "analytics"

CONFIDENCE = 0.95
_LONGEST_LAG = 5
_OWN_PAST = 5
"""Returns before each that it is freed of."""
_FALSE_FINDS = 0.05
_FEWEST_TESTED = 30
_PLACES = 12
"""To which figures are rounded, so that a sum taken in another order gives the same row."""
_FIGURES = TABLE.column_names[: TABLE.column_names.index("ingestion_ts")]


class Window(NamedTuple):
    """Returns of one interval over one window."""

    return_interval: str
    name: str
    returns: int
    """How many there are where nothing is missing."""
    every: timedelta
    """Between one `as_of` and the next."""
    kept: int
    """How many of them are made anew when something they rest on changes."""

    @property
    def interval(self) -> timedelta:
        return timedelta(seconds=INTERVALS[self.return_interval])

    @property
    def fewest(self) -> int:
        return self.returns // 2

    def starts(self, as_of: datetime) -> tuple[datetime, datetime]:
        """The starts of the first and the last candle that an `as_of` rests on."""
        return as_of - self.interval * (self.returns + 1), as_of - self.interval

    def current(self, now: datetime) -> list[datetime]:
        """The moments that are kept up to date, the last one first."""
        epoch = datetime(1970, 1, 1, tzinfo=UTC)
        last = epoch + (now - epoch) // self.every * self.every
        return [last - self.every * back for back in range(self.kept)]


WINDOWS = (
    Window("1m", "24h", 1_440, timedelta(hours=1), kept=24),
    Window("1h", "30d", 720, timedelta(days=1), kept=7),
    Window("1d", "90d", 90, timedelta(days=1), kept=7),
)


def touched(changes: Mapping[str, DataFrame], current: DataFrame, now: datetime) -> DataFrame:
    """Each window's moments (`as_of`) of which a candle changed, and the latest where it is not there yet."""
    closed = [
        changes["silver.ohlcv_1m"].filter("is_closed").select(F.lit("1m").alias("return_interval"), "interval_start"),
        changes["silver.ohlcv"]
        .filter(F.col("is_closed") & F.col("interval").isin([window.return_interval for window in WINDOWS]))
        .select(F.col("interval").alias("return_interval"), "interval_start"),
        changes["silver.completeness"]
        .filter("reason = 'no_trades' and proof != 'none'")
        .select(F.lit("1m").alias("return_interval"), "interval_start"),
    ]
    hours = (
        closed[0].unionByName(closed[1]).unionByName(closed[2])
        .groupBy("return_interval", F.date_trunc("hour", "interval_start"))
        .agg(F.min("interval_start").alias("first_changed"), F.max("interval_start").alias("last_changed"))
    )  # fmt: skip
    moments = current.sparkSession.createDataFrame(
        [
            (window.return_interval, as_of, *window.starts(as_of), place == 0)
            for window in WINDOWS
            for place, as_of in enumerate(window.current(now))
        ],
        "return_interval string, as_of timestamp, first timestamp, last timestamp, is_latest boolean",
    )
    there = current.select("return_interval", "as_of", F.lit(True).alias("is_there")).distinct()
    rests_on_it = (F.col("last_changed") >= F.col("first")) & (F.col("first_changed") <= F.col("last"))
    is_due = F.col("is_latest") & F.col("is_there").isNull()
    # A run may see a candle that closed after the moment which it takes for now: the next one then makes that as_of.
    return (
        moments.join(there, on=["return_interval", "as_of"], how="left")
        .join(F.broadcast(hours), on="return_interval", how="inner")
        .filter(rests_on_it | is_due)
        .select("return_interval", "as_of")
        .distinct()
    )


def needs(keys: DataFrame, _now: datetime) -> DataFrame:
    """The candles of each touched window, the quiet minutes beside the minutes, and the table's own rows."""
    spans = []
    for window in WINDOWS:
        mine = keys.filter(F.col("return_interval") == window.return_interval)
        seconds = F.unix_seconds("as_of")
        length = int(window.interval.total_seconds())
        first = F.timestamp_seconds(seconds - length * (window.returns + 1))
        sources = [(ohlcv_1m, None), (completeness, None)] if window.return_interval == "1m" else [
            (ohlcv, window.return_interval)
        ]  # fmt: skip
        spans += [
            mine.select(
                F.lit(module.TABLE.full_name).alias("source"),
                F.lit(interval).cast("string").alias("interval"),
                first.alias("start"),
                F.timestamp_seconds(seconds - length).alias("end"),
            )
            for module, interval in sources
        ]
        spans.append(
            mine.select(
                F.lit(TABLE.full_name).alias("source"),
                F.lit(None).cast("string").alias("interval"),
                F.col("as_of").alias("start"),
                F.col("as_of").alias("end"),
            )
        )
    every = spans[0]
    for more in spans[1:]:
        every = every.unionByName(more)
    return every.groupBy("source", "interval").agg(F.min("start").alias("start"), F.max("end").alias("end"))


def build(keys: DataFrame, sources: Mapping[str, DataFrame], current: DataFrame, _now: datetime) -> DataFrame:
    """The correlations of the touched windows that are not there already."""
    asked: dict[str, list[pd.Timestamp]] = {}
    for row in keys.collect():
        asked.setdefault(row.return_interval, []).append(pd.Timestamp(row.as_of))
    made = [
        of_candles(
            candles(sources, window.return_interval, ("quote_asset", "close")),
            quiet_minutes(sources) if window.return_interval == "1m" else None,
            window,
            sorted(asked[window.return_interval]),
        )
        for window in WINDOWS
        if window.return_interval in asked
    ]
    figures = [rows for rows in made if len(rows)]
    every = pd.concat(figures, ignore_index=True) if figures else pd.DataFrame(columns=_FIGURES)
    rows = framed(keys.sparkSession, every, [c for c in TABLE.columns if c.name in _FIGURES])
    return differing(added(rows, month=F.date_format("as_of", "yyyy-MM")), current, TABLE)


def of_candles(
    closes: pd.DataFrame, quiet: pd.DataFrame | None, window: Window, as_ofs: Sequence[pd.Timestamp]
) -> pd.DataFrame:
    """The rows of some moments, from closed candles (SERIES, quote_asset, interval_start, close) and quiet minutes.

    Candles that do not lie in a moment's window do not show in its rows.
    """
    quotes = closes.drop_duplicates(SERIES).set_index(SERIES)["quote_asset"]
    seconds = int(window.interval.total_seconds())
    prices, traded = grid(closes, quiet, seconds), grid(closes, None, seconds).notna()
    made = []
    for as_of in as_ofs:
        starts = pd.date_range(*window.starts(as_of), freq=window.interval)
        has_traded = traded.reindex(starts, fill_value=False)
        # A close from before the window is not carried into it: the window alone says what is in its rows.
        inside = prices.reindex(starts).where(has_traded.cummax())
        inside = inside.loc[:, has_traded.any()]
        returns = log_returns(inside).iloc[1:]
        alike: dict[tuple[str, str], list[tuple[str, str]]] = {}
        for exchange, symbol in sorted(zip(*map(inside.columns.get_level_values, SERIES), strict=True)):
            alike.setdefault((exchange, quotes[exchange, symbol]), []).append((exchange, symbol))
        for (exchange, quote), chosen in alike.items():
            rows = of_returns(returns[chosen].to_numpy(), [symbol for _, symbol in chosen], window)
            missing = (window.fewest - rows["observations"]).clip(lower=0) * window.interval
            enough_at = as_of + -(-missing // window.every) * window.every
            is_few = rows["reason"] == "too_few_observations"
            named = rows.assign(exchange=exchange, quote_asset=quote, as_of=as_of, fills_at=enough_at.where(is_few))
            made.append(named)
    if not made:
        return pd.DataFrame(columns=_FIGURES)
    return pd.concat(made, ignore_index=True)[_FIGURES]


def of_returns(returns: Floats, symbols: Sequence[str], window: Window) -> pd.DataFrame:
    """The figures of each pair of columns (symbols in the order of the alphabet; NaN where there is no return)."""
    a, b = np.triu_indices(len(symbols), 1)
    count = observations(returns)
    is_enough = count >= window.fewest
    linear, ranked = (np.where(is_enough, of(returns), np.nan) for of in (pearson, spearman))
    led = lead_lags(returns, _LONGEST_LAG, _OWN_PAST, _FEWEST_TESTED, is_enough & ~np.isnan(linear))
    bounds = [*fisher_interval(linear, count, CONFIDENCE), *fisher_interval(ranked, count, CONFIDENCE, of_ranks=True)]
    leads = led.adjusted_p <= _FALSE_FINDS
    reason = np.full(count.shape, None, dtype=object)
    reason[np.isnan(linear)] = "constant"
    reason[~is_enough] = "too_few_observations"
    lead_lag_reason = np.full(count.shape, "not_significant", dtype=object)
    lead_lag_reason[np.isnan(led.adjusted_p)] = "too_few_observations"
    lead_lag_reason[np.isnan(linear)] = reason[np.isnan(linear)]
    lead_lag_reason[leads] = None
    seconds = np.where(leads, led.lag * window.interval.total_seconds(), np.nan)
    names = np.array(symbols, dtype=object)
    figures = {
        "pearson": linear,
        "pearson_low": bounds[0],
        "pearson_high": bounds[1],
        "spearman": ranked,
        "spearman_low": bounds[2],
        "spearman_high": bounds[3],
        "lead_lag_correlation": np.where(leads, led.correlation, np.nan),
        "lead_lag_p": led.adjusted_p,
    }
    return pd.DataFrame(
        {
            "symbol_a": names[a],
            "symbol_b": names[b],
            "return_interval": window.return_interval,
            "window_length": window.name,
            "confidence": CONFIDENCE,
            "observations": count[a, b],
            **{name: np.round(figure[a, b], _PLACES) for name, figure in figures.items()},
            "reason": reason[a, b],
            "lead_lag_seconds": pd.array(seconds[a, b], dtype="Int64"),
            "lead_lag_tests": led.tests,
            "lead_lag_reason": lead_lag_reason[a, b],
        }
    )
