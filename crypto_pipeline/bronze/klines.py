"""The exchange's own candles of one minute, each in its latest state, unfinished ones too."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.bronze.common import EVENT_COLUMNS, MONTH, events_of, exact, moment, shaped
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
        Column("first_trade_id", "bigint", "id of the first trade; -1 where none traded"),
        Column("last_trade_id", "bigint", "id of the last trade; -1 where none traded"),
        Column("is_closed", "boolean", "the exchange says that the candle is final"),
        Column(
            "ordering", "bigint", "of two rows of one key the greater stays: closed before open, then the later sent"
        ),
        MONTH,
    ),
    key=("exchange", "symbol", "interval", "open_time", "source"),
    partitions=("month",),
    time="open_time",
    ordering="ordering",
    rules={
        "high_is_highest": "high >= greatest(open, close, low)",
        "low_is_lowest": "low <= least(open, close, high)",
    },
)

_CLOSED_FIRST = 10**18


def build(messages: DataFrame) -> DataFrame:
    """The klines among Kafka messages."""
    strings = ", ".join(f"{name} string" for name in _DECIMALS)
    rows = events_of(
        messages,
        "kline_1m",
        f"interval string, open_time bigint, close_time bigint, {strings}, trade_count bigint, first_trade_id bigint, "
        "last_trade_id bigint, is_closed boolean",
    )
    rows = rows.withColumns({name: exact(name) for name in _DECIMALS})
    rows = rows.withColumns({name: moment(name) for name in ("open_time", "close_time")})
    is_closed_first = F.col("is_closed").cast("bigint") * F.lit(_CLOSED_FIRST)
    sent = F.coalesce(F.unix_micros("published_at"), F.unix_micros("received_at"), F.lit(0))
    return (
        rows.withColumn("ordering", is_closed_first + sent)
        .withColumn("month", F.date_format("open_time", "yyyy-MM"))
        .transform(shaped, TABLE)
    )
