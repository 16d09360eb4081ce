"""What the best levels of the order book were over each minute: spread, prices, imbalance and depth.

A snapshot holds until the next one, but for 10 seconds at most; after that the book is unknown. One that is crossed,
that has no bid or no ask, or no quantity at its best, is not valid: it ends what held before it, and holds for nothing
itself. The last snapshot before a minute holds into it.

Time-weighted means: the sum over the minute's snapshots of value times the time for which each held in the minute,
divided by the time for which any did. Time in which the book is unknown does not count. These measures are float64. The
closing values are the exact decimals of the last valid book that came, or held, in the minute; `closing_at` is when it
came.

The exchange's time places a snapshot; where it gives none (Binance's depth5), the time of its receipt.
"""

from collections.abc import Callable, Mapping
from datetime import datetime

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.bronze import depth
from crypto_pipeline.frames import added, differing
from crypto_pipeline.silver import coverage
from shared.tables import DECIMAL, Column, Table

_MEASURES = {
    "spread_bps": "(ask - bid) / mid, in basis points; time-weighted",
    "mid_price": "(bid + ask) / 2, in the quote asset; time-weighted",
    "micro_price": (
        "(bid * ask quantity + ask * bid quantity) / (bid quantity + ask quantity) of the best level, in the quote "
        "asset; time-weighted"
    ),
    "imbalance_best": "(bid quantity - ask quantity) / their sum at the best level, -1 to 1; time-weighted",
    "imbalance": "the same over all levels of the snapshot; time-weighted",
    "bid_depth_10bp": "bid within 10 bp of mid, as far as the levels reach, in the base asset; time-weighted",
    "bid_quote_depth_10bp": "the same in the quote asset",
    "ask_depth_10bp": "asked within 10 bp of mid, as far as the levels reach, in the base asset; time-weighted",
    "ask_quote_depth_10bp": "the same in the quote asset",
}
_CLOSING = {
    "closing_bid_price": "best bid of the closing book",
    "closing_bid_quantity": "quantity at the best bid of it",
    "closing_ask_price": "best ask of it",
    "closing_ask_quantity": "quantity at the best ask of it",
    "closing_mid_price": "(bid + ask) / 2 of it; 18 places, half up",
}

TABLE = Table(
    layer="silver",
    name="order_book_1m",
    grain="One row per exchange, symbol and minute in which a snapshot came, or into which one from before could hold",
    columns=(
        Column("exchange", "string", "the market: binance is Binance spot"),
        Column("symbol", "string", "canonical: base and quote in upper case, joined"),
        Column("base_asset", "string", "what is traded"),
        Column("quote_asset", "string", "what it is priced in"),
        Column("interval_start", "timestamp", "the minute, UTC, inclusive"),
        *(Column(name, "double", comment) for name, comment in _MEASURES.items()),
        *(Column(name, DECIMAL, comment) for name, comment in _CLOSING.items()),
        Column("closing_at", "timestamp", "when the closing book came; null, as all of it, where none was valid"),
        Column("snapshots", "int", "that came in the minute, valid or not"),
        Column("snapshots_invalid", "int", "of these: crossed, without a bid or an ask, or without a best quantity"),
        *coverage.COLUMNS,
        Column("ingestion_ts", "timestamp", "when the row was written"),
        Column("date", "string", "partition: UTC day of interval_start, yyyy-MM-dd"),
    ),
    key=coverage.KEY,
    partitions=("date",),
    time="interval_start",
    rules=coverage.RULES
    | {
        "closing_book_is_not_crossed": "closing_at is null or closing_bid_price < closing_ask_price",
        "spread_is_positive": "spread_bps is null or spread_bps > 0",
        "imbalance_lies_between_minus_1_and_1": (
            "imbalance is null or (imbalance between -1 and 1 and imbalance_best between -1 and 1)"
        ),
        "no_more_are_invalid_than_came": "snapshots_invalid between 0 and snapshots",
    },
)
SOURCES = (depth.TABLE,)
JOB = "evidence"
"""No candle rests on it."""

_TIES = ("update_id", "levels")
"""What comes first of two snapshots of one time."""
_BASIS_POINTS = 10_000
_NEAR = 1_000
"""10 bp are one thousandth."""


def touched(changes: Mapping[str, DataFrame], current: DataFrame, now: datetime) -> DataFrame:
    """The minutes that new snapshots lie in or hold into, and those that ended since they were made."""
    return coverage.touched(timed(changes["bronze.depth"]), current, now)


def needs(keys: DataFrame, _now: datetime) -> DataFrame:
    """The hours of snapshots that the minutes `keys` rest on."""
    return coverage.needs(keys, SOURCES)


def build(keys: DataFrame, sources: Mapping[str, DataFrame], current: DataFrame, now: datetime) -> DataFrame:
    """The minutes `keys`, made anew from their snapshots, as far as they differ from the current ones."""
    snapshots = coverage.in_minutes(timed(sources["bronze.depth"])).join(keys, on=list(TABLE.key), how="left_semi")
    in_time = coverage.in_time(*_TIES)
    books = coverage.held(measured(snapshots), in_time)
    # Summed in the order of time: any other would give other last digits, and so rows that seem new.
    so_far = in_time.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    sums = [F.sum(F.col(name) * F.col("held")).over(so_far).alias(name) for name in _MEASURES]
    place = F.struct("time", *_TIES)
    last_there = F.when(F.col("seconds").isNotNull(), place)
    of_symbol = ["base_asset", "quote_asset"]
    marks = ["time", *_TIES, "is_valid", "came", "held", "seconds", "silence"]
    minutes = (
        books.select(*TABLE.key, *of_symbol, *marks, *_CLOSING, *sums)
        .groupBy(*TABLE.key)
        .agg(
            F.max_by(F.struct(*of_symbol, *_MEASURES), place).alias("whole"),
            F.sum("held").alias("held"),
            F.max_by(F.struct(*_CLOSING, F.col("time").alias("closing_at")), last_there).alias("closing"),
            F.count_if("came").cast("int").alias("snapshots"),
            F.count_if(F.col("came") & ~F.col("is_valid")).cast("int").alias("snapshots_invalid"),
            *coverage.covered(),
        )
    )
    built = minutes.select(
        *TABLE.key,
        *[f"whole.{name}" for name in of_symbol],
        *[(F.col(f"whole.{name}") / F.col("held")).alias(name) for name in _MEASURES],
        "closing.*",
        "snapshots",
        "snapshots_invalid",
        "seconds_covered",
        "longest_silence_ms",
        coverage.is_over(now).alias("is_closed"),
        F.date_format("interval_start", "yyyy-MM-dd").alias("date"),
    )
    return differing(built, current, TABLE)


def timed(snapshots: DataFrame) -> DataFrame:
    """With `time`, which places a snapshot."""
    return added(snapshots, time=F.coalesce("event_time", "received_at"))


def measured(snapshots: DataFrame) -> DataFrame:
    """With `is_valid`, the measures, and what a closing book says: all null where it is not valid."""
    bid, ask = F.get("bids", F.lit(0)), F.get("asks", F.lit(0))
    is_valid = (bid["price"] < ask["price"]) & (bid["quantity"] > 0) & (ask["quantity"] > 0)
    kept = added(snapshots, is_valid=F.coalesce(is_valid, F.lit(False)))
    whole = F.col("is_valid")
    best = added(
        kept,
        valid_bids=F.when(whole, F.col("bids")),
        valid_asks=F.when(whole, F.col("asks")),
        closing_bid_price=F.when(whole, bid["price"]),
        closing_bid_quantity=F.when(whole, bid["quantity"]),
        closing_ask_price=F.when(whole, ask["price"]),
        closing_ask_quantity=F.when(whole, ask["quantity"]),
    )
    bid_price, ask_price = F.col("closing_bid_price"), F.col("closing_ask_price")
    # From the bid on: the sum of two prices may be too great for the type.
    middle = added(best, closing_mid_price=(bid_price + ((ask_price - bid_price) / 2).cast(DECIMAL)).cast(DECIMAL))
    mid = F.col("closing_mid_price")
    reach = (mid / _NEAR).cast(DECIMAL)
    near = added(
        middle,
        near_bids=F.filter("valid_bids", lambda level: level["price"] >= mid - reach),
        near_asks=F.filter("valid_asks", lambda level: level["price"] <= mid + reach),
    )
    spread = (ask_price - bid_price).cast("double")
    bid_size, ask_size = (F.col(f"closing_{side}_quantity").cast("double") for side in ("bid", "ask"))
    bids, asks = total("valid_bids", quantity), total("valid_asks", quantity)
    return added(
        near,
        spread_bps=spread / mid.cast("double") * _BASIS_POINTS,
        mid_price=mid.cast("double"),
        micro_price=bid_price.cast("double") + spread * (bid_size / (bid_size + ask_size)),
        imbalance_best=(bid_size - ask_size) / (bid_size + ask_size),
        imbalance=(bids - asks) / (bids + asks),
        bid_depth_10bp=total("near_bids", quantity),
        bid_quote_depth_10bp=total("near_bids", worth),
        ask_depth_10bp=total("near_asks", quantity),
        ask_quote_depth_10bp=total("near_asks", worth),
    )


def total(levels: str, of_level: Callable[[Expression], Expression]) -> Expression:
    """The sum of something over the levels of a side, as float64."""
    return F.aggregate(levels, F.lit(0.0), lambda so_far, level: so_far + of_level(level))


def quantity(level: Expression) -> Expression:
    """What is bid or asked, in the base asset."""
    return level["quantity"].cast("double")


def worth(level: Expression) -> Expression:
    """The same in the quote asset."""
    return level["price"].cast("double") * level["quantity"].cast("double")
