"""How each market stands: prices, changes, volumes, volatility and liquidity at its exchange's latest whole minute.

All symbols of an exchange are seen at one moment, `as_of`: the end of the latest closed minute in which any of them
traded. So what is ranked is of the same hours. `last_minute` says when the symbol itself traded last.

**Windows** are `[as_of - length, as_of)` for 1 h, 24 h and 7 d, and the UTC day of the last minute so far.

- `change_*`: the simple return `last_price / open - 1`, where open is the price of the window's first trade, as the
  exchange's own ticker has it. It is given where that trade is known to be the first: between the window's start and it
  lies nothing but minutes in which proven nothing traded. Without any trade in the window, all proven, it is 0.
- Highs, lows, volumes and trades are of the minutes with a candle. `minutes_missing_24h` of 1440 are neither that nor
  proven quiet: before the symbol's first minute, in an outage, or not proven yet.
- `quote_volume_24h_usdt`: each minute's quote volume times the close of that minute, or the last within 60 minutes, of
  the quote asset in USDT on the same exchange (`BTCUSDT` for `ETHBTC`; the inverse of `USDTTRY` for a pair in TRY).
- `volatility_24h`: realised volatility, `sqrt(1440 / n * sum(r^2))` of the n known one-minute log returns r of close
  between adjacent minutes (Andersen et al., Econometrica 71, 2003); a proven quiet minute is a return of 0, an outage
  has none. It needs 720 of them.

**Book**: `spread_bps` is the time-weighted mean of the latest minute of `silver.order_book_1m` at most an hour old,
else what the last ticker quotes (`spread_source`), and `imbalance` that over all levels of the book. Each has its own
time beside.

**Ranks** are among the exchange's symbols: 1 for the greatest, of the spread for the narrowest; equals share a rank.
The movers are those with the first and the last ranks by change.

**Reconciliation** with the 24 hours of the exchange's own ticker (`silver.ticker_1m`, at most 15 minutes old). These
end between two minutes, so our candles give two bounds: the minutes wholly inside the ticker's 24 hours (but for its
last second, in which the exchange may not have counted a trade), and those and the ones at its edges. A `difference_*`
is 0 where the ticker's figure lies between the bounds, else our nearer bound less the ticker's figure. Quote volumes
may differ by 0.00002, because an exchange rounds each minute's to eight places. `reconciliation` is `agrees`;
`missing_minutes` where we have less than the ticker and minutes of its 24 hours are missing or unproven
(`ticker_minutes_missing`), which explains it; or `differs`, which nothing explains.

`reason` names each figure that is null and why, and the time (UTC) from which on it is known, where the history is too
short. A symbol without a candle in the 24 hours keeps its row, without figures and ranks.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import reduce

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.frames import added, differing, framed, to_pandas
from crypto_pipeline.gold import _overview
from crypto_pipeline.gold._prices import SERIES
from crypto_pipeline.silver import completeness, ohlcv_1m, order_book_1m, ticker_1m
from shared.tables import DECIMAL, Column, Table

_TICKER = {
    "open": "price of the first trade of the 24 hours",
    "high": "highest price",
    "low": "lowest price",
    "volume": "traded, in the base asset",
    "quote_volume": "traded, in the quote asset",
    "trade_count": "trades",
}
"""What is compared with the exchange's ticker."""


def _type(name: str) -> str:
    return "bigint" if name == "trade_count" else DECIMAL


TABLE = Table(
    layer="gold",
    name="market_overview",
    grain="One row per exchange and symbol: how it stands at the exchange's latest whole minute",
    columns=(
        Column("exchange", "string", "the market"),
        Column("symbol", "string", "canonical"),
        Column("base_asset", "string", "what is traded"),
        Column("quote_asset", "string", "what it is priced in"),
        Column("as_of", "timestamp", "end of the exchange's latest whole minute with a trade: all windows end there"),
        Column("last_minute", "timestamp", "start of the symbol's own latest minute with a trade"),
        Column("last_price", DECIMAL, "close of that minute, in the quote asset"),
        Column("change_1h_percent", "double", "simple return over the last hour, in percent"),
        Column("change_24h", DECIMAL, "last_price - open_24h, in the quote asset"),
        Column("change_24h_percent", "double", "simple return over the 24 hours, in percent"),
        Column("change_day_percent", "double", "simple return since 00:00 UTC, in percent"),
        Column("change_7d_percent", "double", "simple return over 7 days, in percent"),
        Column("open_24h", DECIMAL, "open of the first minute of the 24 hours, in the quote asset"),
        Column("high_24h", DECIMAL, "highest price in 24 hours"),
        Column("low_24h", DECIMAL, "lowest price in 24 hours"),
        Column("volume_24h", DECIMAL, "in the base asset"),
        Column("quote_volume_24h", DECIMAL, "in the quote asset"),
        Column("quote_volume_24h_usdt", "double", "the same in USDT, each minute's converted at that minute"),
        Column("trade_count_24h", "bigint", "trades"),
        Column("high_day", DECIMAL, "highest price since 00:00 UTC"),
        Column("low_day", DECIMAL, "lowest price since 00:00 UTC"),
        Column("volume_day", DECIMAL, "since 00:00 UTC, in the base asset"),
        Column("quote_volume_day", DECIMAL, "since 00:00 UTC, in the quote asset"),
        Column("trade_count_day", "bigint", "trades since 00:00 UTC"),
        Column(
            "volatility_24h",
            "double",
            "realised volatility of the 24 hours from one-minute log returns; a fraction, not annualised",
        ),
        Column("observations", "bigint", "returns that the volatility rests on, of 1440"),
        Column("minutes_24h", "bigint", "minutes of the 24 hours with a candle"),
        Column("minutes_quiet_24h", "bigint", "minutes of the 24 hours in which proven nothing traded"),
        Column("minutes_missing_24h", "bigint", "the other minutes of the 24 hours"),
        Column("spread_bps", "double", "(ask - bid) / mid, in basis points"),
        Column("spread_source", "string", "order_book or ticker"),
        Column("spread_as_of", "timestamp", "end of the minute of the book, or time of the ticker, that it is of"),
        Column("imbalance", "double", "(bid quantity - ask quantity) / their sum over all levels of the book, -1 to 1"),
        Column("imbalance_as_of", "timestamp", "end of the minute that it is of"),
        Column("volume_rank", "int", "1 for the greatest quote_volume_24h_usdt"),
        Column("trade_count_rank", "int", "1 for the greatest trade_count_24h"),
        Column("change_rank", "int", "1 for the greatest change_24h_percent"),
        Column("change_1h_rank", "int", "1 for the greatest change_1h_percent"),
        Column("change_day_rank", "int", "1 for the greatest change_day_percent"),
        Column("change_7d_rank", "int", "1 for the greatest change_7d_percent"),
        Column("volatility_rank", "int", "1 for the greatest volatility_24h"),
        Column("spread_rank", "int", "1 for the narrowest spread_bps"),
        Column("imbalance_rank", "int", "1 for the greatest imbalance: most bid for"),
        Column("ticker_as_of", "timestamp", "event time of the exchange's ticker; its 24 hours end there"),
        *(Column(f"ticker_{name}_24h", _type(name), f"the ticker's: {text}") for name, text in _TICKER.items()),
        *(
            Column(f"difference_{name}_24h", _type(name), "0 where our candles agree, else ours less the ticker's")
            for name in _TICKER
        ),
        Column("ticker_minutes_missing", "bigint", "minutes of the ticker's 24 hours that are missing or unproven"),
        Column("reconciliation", "string", "agrees, missing_minutes or differs; null: there is no ticker"),
        Column("reason", "string", "which figures are null and why, and from when on they are known; null: none is"),
        Column("ingestion_ts", "timestamp", "when the row was written"),
    ),
    key=("exchange", "symbol"),
    buckets=1,
    rules={
        "last_price_lies_in_the_range": "last_price is null or last_price between low_24h and high_24h",
        "volume_is_positive": "quote_volume_24h is null or quote_volume_24h > 0",
        "minutes_are_of_a_day": "last_price is null or minutes_24h + minutes_quiet_24h + minutes_missing_24h = 1440",
        "imbalance_lies_between_minus_1_and_1": "imbalance is null or imbalance between -1 and 1",
        "what_is_null_has_a_reason": "reason is not null or (change_7d_percent is not null and spread_bps is not null "
        "and change_24h_percent is not null and volatility_24h is not null and reconciliation is not null)",
    },
)
SOURCES = (ohlcv_1m.TABLE, completeness.TABLE, order_book_1m.TABLE, ticker_1m.TABLE)
JOB = "analytics"

_NAMES = (*SERIES, "base_asset", "quote_asset")
_DAY = timedelta(days=1)
_WEEK = timedelta(days=7)
_MINUTE = timedelta(minutes=1)
_HOUR = timedelta(hours=1)
_REACH = {order_book_1m.TABLE.full_name: _HOUR, ticker_1m.TABLE.full_name: timedelta(minutes=15)}
"""How far before `as_of` the latest book and the latest ticker may lie."""
_RECENT = ((-_DAY - _HOUR, timedelta(0)), (-_WEEK, _HOUR - _WEEK))
"""Between which times, seen from `as_of`, minutes are looked at: the day, with an hour before, and the week's first."""
_SPANS = [
    *((source.TABLE.full_name, *span) for source in (ohlcv_1m, completeness) for span in _RECENT),
    *((name, -reach, timedelta(0)) for name, reach in _REACH.items()),
]
_ROUNDING = "0.00002"
"""What 1440 quote volumes may add up to that an exchange rounds to eight places, and a little."""


def touched(changes: Mapping[str, DataFrame], current: DataFrame, _now: datetime) -> DataFrame:
    """Every series of an exchange of which something is new, with the exchange's `as_of`: ranks depend on each other.

    Those that the table knows already are among them, so that one that trades no more stays.
    """
    latest = changes["silver.ohlcv_1m"].filter("is_closed").groupBy(*_NAMES).agg(F.max("interval_end").alias("latest"))
    known = current.select(*_NAMES, F.col("as_of").alias("latest"))
    series = latest.unionByName(known).groupBy(*_NAMES).agg(F.max("latest").alias("latest"))
    of_exchange = Window.partitionBy("exchange")
    news = reduce(lambda left, right: left.unionByName(right), [each.select("exchange") for each in changes.values()])
    seen = added(series.join(news.distinct(), on="exchange", how="left_semi"), as_of=F.max("latest").over(of_exchange))
    return seen.select(*_NAMES, "as_of")


def needs(keys: DataFrame, _now: datetime) -> DataFrame:
    """The recent minutes and what is proven of them, and the latest books and tickers."""
    spans = [
        F.struct(
            F.lit(name).alias("source"),
            F.lit(None).cast("string").alias("interval"),
            (F.col("as_of") + F.lit(start)).alias("start"),
            (F.col("as_of") + F.lit(end)).alias("end"),
        )
        for name, start, end in _SPANS
    ]
    return keys.select("as_of").distinct().select(F.inline(F.array(*spans)))


def build(keys: DataFrame, sources: Mapping[str, DataFrame], current: DataFrame, _now: datetime) -> DataFrame:
    """The overview of every series in `keys`, as far as it differs from the current one."""
    series = to_pandas(keys)
    of_exchange = series.groupby("exchange")["as_of"].max()
    ends = {str(name): end.to_pydatetime().replace(tzinfo=UTC) for name, end in of_exchange.items()}
    recent = {name: [(as_of + start, as_of + end) for start, end in _RECENT] for name, as_of in ends.items()}
    minutes = _within(sources["silver.ohlcv_1m"].filter("is_closed"), recent)
    tickers = _latest(sources["silver.ticker_1m"].filter("is_closed"), ends, _REACH["silver.ticker_1m"])
    books = _latest(
        sources["silver.order_book_1m"].filter("is_closed and spread_bps is not null"),
        ends,
        _REACH["silver.order_book_1m"],
    )
    sums = _sums(minutes, ends, _told(tickers)).join(F.broadcast(_booked(books)), on=SERIES, how="left")
    closes = _within(minutes, {name: [(end - _DAY - _MINUTE, end)] for name, end in ends.items()}).select(
        *_NAMES, "interval_start", *[F.col(name).cast("double").alias(name) for name in ("close", "quote_volume")]
    )
    is_quiet = F.expr("reason = 'no_trades' and proof != 'none'")
    proven = (
        _within(sources["silver.completeness"], recent)
        .groupBy(*SERIES)
        .agg(
            F.max_by("first_minute", "interval_start").alias("first_minute"),
            F.collect_list(F.when(is_quiet, F.unix_seconds("interval_start"))).alias("quiet"),
        )
    )
    made = _overview.overview(series, to_pandas(sums), to_pandas(closes), to_pandas(proven))
    written = [column for column in TABLE.columns if column.name != "ingestion_ts"]
    rows = framed(keys.sparkSession, made, written)
    return differing(rows, current, TABLE)


def _within(rows: DataFrame, spans: Mapping[str, list[tuple[datetime, datetime]]]) -> DataFrame:
    """The rows of each exchange whose minute lies in one of its spans."""
    wanted = [
        (F.col("exchange") == name) & (F.col("interval_start") >= F.lit(start)) & (F.col("interval_start") < F.lit(end))
        for name, parts in spans.items()
        for start, end in parts
    ]
    return rows.filter(reduce(lambda left, right: left | right, wanted))


def _latest(rows: DataFrame, ends: Mapping[str, datetime], reach: timedelta) -> DataFrame:
    """The last row of each series that lies at most `reach` before the exchange's end."""
    recent = _within(rows, {name: [(end - reach, end)] for name, end in ends.items()})
    says = F.struct(*[name for name in rows.columns if name not in SERIES])
    return recent.groupBy(*SERIES).agg(F.max_by(says, "interval_start").alias("row")).select(*SERIES, "row.*")


def _told(tickers: DataFrame) -> DataFrame:
    """What the tickers say, by the names that it has here."""
    says = [F.col(f"{name}_24h").alias(f"ticker_{name}_24h") for name in _TICKER]
    return tickers.select(
        *SERIES, F.col("as_of").alias("ticker_as_of"), F.col("spread_bps").alias("ticker_spread"), *says
    )


def _booked(books: DataFrame) -> DataFrame:
    """What the books say, by the names that it has here."""
    end = (F.col("interval_start") + F.lit(_MINUTE)).alias("book_as_of")
    return books.select(*SERIES, F.col("spread_bps").alias("book_spread"), "imbalance", end)


def _sums(minutes: DataFrame, ends: Mapping[str, datetime], tickers: DataFrame) -> DataFrame:
    """What each series' minutes add up to, exact, with the ticker that it is compared with."""
    as_of = F.coalesce(*[F.when(F.col("exchange") == name, F.lit(end)) for name, end in ends.items()])
    start, until = F.col("interval_start"), F.col("interval_end")
    opened = F.col("ticker_as_of") - F.lit(_DAY)
    placed = added(
        minutes.join(F.broadcast(tickers), on=SERIES, how="left"),
        is_24h=start >= as_of - F.lit(_DAY),
        is_1h=start >= as_of - F.lit(_HOUR),
        is_day=start >= F.date_trunc("day", as_of - F.lit(_MINUTE)),
        is_7d=F.lit(True),
        is_inner=(start >= opened) & (until <= F.col("ticker_as_of") - F.expr("interval 1 second")),
        is_outer=(until > opened) & (start < F.col("ticker_as_of")),
        is_first_edge=(start < opened) & (until > opened),
    )

    def of(condition: str, value: str) -> Expression:
        return F.when(F.col(condition), F.col(value))

    windows = [
        each
        for name in ("1h", "24h", "day", "7d")
        for each in (
            F.min(of(f"is_{name}", "interval_start")).alias(f"first_{name}"),
            F.min_by("open", of(f"is_{name}", "interval_start")).alias(f"open_{name}"),
        )
    ]
    amounts = [
        each
        for name in ("24h", "day")
        for each in (
            F.max(of(f"is_{name}", "high")).alias(f"high_{name}"),
            F.min(of(f"is_{name}", "low")).alias(f"low_{name}"),
            *[
                F.sum(of(f"is_{name}", amount)).alias(f"{amount}_{name}")
                for amount in ("volume", "quote_volume", "trade_count")
            ],
        )
    ]
    bounds = [
        each
        for side in ("inner", "outer")
        for each in (
            F.max(of(f"is_{side}", "high")).alias(f"high_{side}"),
            F.min(of(f"is_{side}", "low")).alias(f"low_{side}"),
            *[
                F.coalesce(F.sum(of(f"is_{side}", amount)), F.lit(0)).alias(f"{amount}_{side}")
                for amount in ("volume", "quote_volume", "trade_count")
            ],
        )
    ]
    told = [name for name in tickers.columns if name not in SERIES]
    summed = placed.groupBy(*SERIES, *told).agg(
        F.max(of("is_24h", "interval_start")).alias("last_minute"),
        F.max_by("close", of("is_24h", "interval_start")).alias("last_price"),
        F.count_if("is_24h").alias("minutes_24h"),
        *windows,
        *amounts,
        *bounds,
        F.min_by("open", of("is_inner", "interval_start")).alias("open_inner"),
        F.max(of("is_first_edge", "high")).alias("edge_high"),
        F.min(of("is_first_edge", "low")).alias("edge_low"),
        F.count_if("is_outer").alias("outer_minutes"),
        F.count_if(F.col("is_outer") & F.col("status").isin("partial", "pending")).alias("outer_unproven"),
    )
    # A sum grows with the minutes, as does the high; the low falls. The open is of the first edge or the minute after.
    ranges = {
        "open": (F.least("edge_low", "open_inner"), F.greatest("edge_high", "open_inner")),
        "high": (F.col("high_inner"), F.col("high_outer")),
        "low": (F.col("low_outer"), F.col("low_inner")),
        **{name: (F.col(f"{name}_inner"), F.col(f"{name}_outer")) for name in ("volume", "trade_count")},
        "quote_volume": (
            (F.col("quote_volume_inner") - F.lit(_ROUNDING).cast(DECIMAL)).cast(DECIMAL),
            (F.col("quote_volume_outer") + F.lit(_ROUNDING).cast(DECIMAL)).cast(DECIMAL),
        ),
    }
    differences = {
        f"difference_{name}_24h": _outside(F.col(f"ticker_{name}_24h"), *ranges[name]).cast(_type(name))
        for name in _TICKER
    }
    change = (F.col("last_price") - F.col("open_24h")).cast(DECIMAL)
    return added(summed, change_24h=change, **differences)


def _outside(value: Expression, lower: Expression, upper: Expression) -> Expression:
    """The nearer bound less the value; 0 between the bounds; null where there is none."""
    return F.when(value < lower, lower - value).when(value > upper, upper - value).when(value.isNotNull(), F.lit(0))
