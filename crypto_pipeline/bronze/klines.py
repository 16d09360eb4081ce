"""The exchange's own candles of one minute, each in its latest state, unfinished ones too."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.bronze.common import (
    BROKEN_RULES,
    EVENT_COLUMNS,
    MONTH,
    NOT_IN_THE_FUTURE,
    TIMELY,
    events_of,
    shaped,
    with_day,
)
from shared.events import Kline
from shared.tables import DECIMAL, Column, Table

_DECIMALS = {
    "open": "price of the first trade",
    "high": "highest price",
    "low": "lowest price",
    "close": "price of the last trade",
    "volume": "in the base asset",
    "quote_volume": "in the quote asset",
    "taker_buy_volume": "bought by takers, in the base asset",
    "taker_buy_quote_volume": "bought by takers, in the quote asset",
}

EVENT = Kline
TABLE = Table(
    layer="bronze",
    name="klines",
    grain="One row per exchange, symbol, interval, open time and source: its latest state",
    columns=(
        *EVENT_COLUMNS,
        Column("interval", "string", "1m"),
        Column("open_time", "timestamp", "start of the interval, inclusive"),
        Column("close_time", "timestamp", "end of the interval as the exchange writes it, inclusive"),
        *(Column(name, DECIMAL, comment) for name, comment in _DECIMALS.items()),
        Column("trade_count", "bigint", "trades in the interval"),
        Column("first_trade_id", "bigint", "id of the first trade; -1 where none traded, null where it is not said"),
        Column("last_trade_id", "bigint", "id of the last trade; -1 where none traded, null where it is not said"),
        Column("is_closed", "boolean", "the exchange says that the candle is final"),
        Column(
            "ordering", "bigint", "of two rows of one key the greater stays: closed before open, then the later sent"
        ),
        MONTH,
        BROKEN_RULES,
    ),
    key=("exchange", "symbol", "interval", "open_time", "source"),
    partitions=("month",),
    time="open_time",
    ordering="ordering",
    rules={
        "prices_are_positive": "trade_count = 0 or least(open, high, low, close) > 0",
        "it_has_begun": "open_time <= greatest(received_at, ingested_at) + interval 5 minutes",
    }
    | NOT_IN_THE_FUTURE,
    marks={
        "high_is_highest": "high >= greatest(open, close, low)",
        "low_is_lowest": "low <= least(open, close, high)",
        "volumes_are_not_negative": "least(volume, quote_volume, taker_buy_volume, taker_buy_quote_volume) >= 0",
        "takers_bought_no_more_than_was_traded": "taker_buy_volume <= volume",
        "ids_are_as_many_as_trades": "trade_count = 0 or last_trade_id - first_trade_id + 1 = trade_count",
        "price_is_within_the_day": "trade_count = 0 or (low >= day_low and high <= day_high)",
    }
    | TIMELY,
)

_CLOSED_FIRST = 10**18


def build(messages: DataFrame) -> DataFrame:
    """The klines among Kafka messages."""
    rows = with_day(events_of(messages, EVENT), messages, "open_time", "close_time")
    is_closed_first = F.col("is_closed").cast("bigint") * F.lit(_CLOSED_FIRST)
    sent = F.coalesce(F.unix_micros("published_at"), F.unix_micros("received_at"), F.lit(0))
    return (
        rows.withColumn("ordering", is_closed_first + sent)
        .withColumn("month", F.date_format("open_time", "yyyy-MM"))
        .transform(shaped, TABLE)
    )
