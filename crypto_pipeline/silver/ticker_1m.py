"""What the exchange's ticker said by the end of each minute, and how well tickers cover it.

All values are those of one ticker, the last by the minute's end, exact as the exchange sent them; `as_of` is its time.
It is one of the minute before where none came in the minute but that one still holds into it: for 10 seconds.
"""

from collections.abc import Mapping
from datetime import datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.bronze import tickers
from crypto_pipeline.frames import added, differing
from crypto_pipeline.silver import coverage
from shared.tables import DECIMAL, Column, Table

_BEST = {
    "last_price": "price of the last trade",
    "last_quantity": "quantity of the last trade",
    "bid_price": "best bid",
    "bid_quantity": "quantity at the best bid",
    "ask_price": "best ask",
    "ask_quantity": "quantity at the best ask",
}
_ROLLING = {
    "open_24h": ("open_price", "price 24 hours before"),
    "high_24h": ("high_price", "highest price of the 24 hours"),
    "low_24h": ("low_price", "lowest price of the 24 hours"),
    "change_24h": ("price_change", "last_price - open_24h"),
    "change_24h_percent": ("price_change_percent", "change_24h in percent of open_24h, as the exchange rounds it"),
    "vwap_24h": ("weighted_average_price", "quote_volume_24h / volume_24h, as the exchange rounds it"),
    "volume_24h": ("volume", "traded in 24 hours, in the base asset"),
    "quote_volume_24h": ("quote_volume", "traded in 24 hours, in the quote asset"),
}
_COUNTS = {
    "trade_count_24h": ("trade_count", "trades in the 24 hours"),
    "first_trade_id_24h": ("first_trade_id", "first trade of the 24 hours"),
    "last_trade_id_24h": ("last_trade_id", "last trade of the 24 hours"),
}

TABLE = Table(
    layer="silver",
    name="ticker_1m",
    grain="One row per exchange, symbol and minute in which a ticker came, or into which one from before holds",
    columns=(
        Column("exchange", "string", "the market: binance is Binance spot"),
        Column("symbol", "string", "canonical: base and quote in upper case, joined"),
        Column("base_asset", "string", "what is traded"),
        Column("quote_asset", "string", "what it is priced in"),
        Column("interval_start", "timestamp", "the minute, UTC, inclusive"),
        Column("as_of", "timestamp", "event time of the ticker that the values are of"),
        *(Column(name, DECIMAL, comment) for name, comment in _BEST.items()),
        Column(
            "spread_bps", "double", "(ask - bid) / mid, in basis points; null where a side is empty or they are crossed"
        ),
        *(Column(name, DECIMAL, comment) for name, (_, comment) in _ROLLING.items()),
        *(Column(name, "bigint", comment) for name, (_, comment) in _COUNTS.items()),
        Column("tickers", "int", "that came in the minute"),
        *coverage.COLUMNS,
        Column("ingestion_ts", "timestamp", "when the row was written"),
        Column("month", "string", "partition: UTC month of interval_start, yyyy-MM"),
    ),
    key=coverage.KEY,
    partitions=("month",),
    time="interval_start",
    rules=coverage.RULES | {"it_is_of_the_minute": "unix_micros(as_of) < unix_micros(interval_start) + 60000000"},
)
SOURCES = (tickers.TABLE,)
JOB = "evidence"
"""No candle rests on it."""

_BASIS_POINTS = 10_000


def touched(changes: Mapping[str, DataFrame], current: DataFrame, now: datetime) -> DataFrame:
    """The minutes that new tickers lie in or hold into, and those that ended since they were made."""
    return coverage.touched(timed(changes["bronze.tickers"]), current, now)


def needs(keys: DataFrame, _now: datetime) -> DataFrame:
    """The hours of tickers that the minutes `keys` rest on."""
    return coverage.needs(keys, SOURCES)


def build(keys: DataFrame, sources: Mapping[str, DataFrame], current: DataFrame, now: datetime) -> DataFrame:
    """The minutes `keys`, made anew from their tickers, as far as they differ from the current ones."""
    mine = coverage.in_minutes(timed(sources["bronze.tickers"])).join(keys, on=list(TABLE.key), how="left_semi")
    spans = coverage.held(added(mine, is_valid=F.lit(True)), coverage.in_time())
    renamed = [F.col(source).alias(name) for name, (source, _) in (_ROLLING | _COUNTS).items()]
    values = F.struct("base_asset", "quote_asset", F.col("time").alias("as_of"), *_BEST, *renamed)
    minutes = spans.groupBy(*TABLE.key).agg(
        F.max_by(values, "time").alias("last"), F.count_if("came").cast("int").alias("tickers"), *coverage.covered()
    )
    flat = minutes.select(*TABLE.key, "last.*", "tickers", "seconds_covered", "longest_silence_ms")
    bid, ask = F.col("bid_price").cast("double"), F.col("ask_price").cast("double")
    is_quoted = (F.col("bid_price") > 0) & (F.col("bid_price") < F.col("ask_price"))
    spread = (F.col("ask_price") - F.col("bid_price")).cast("double") / ((bid + ask) / 2)
    built = added(
        flat,
        spread_bps=F.when(is_quoted, spread * _BASIS_POINTS),
        is_closed=coverage.is_over(now),
        month=F.date_format("interval_start", "yyyy-MM"),
    )
    return differing(built, current, TABLE)


def timed(rows: DataFrame) -> DataFrame:
    """With `time`, which places a ticker: the exchange's."""
    return added(rows, time=F.col("event_time"))
