"""Every trade, once."""

from decimal import Decimal

from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.bronze.common import (
    BROKEN_RULES,
    DATE,
    EVENT_COLUMNS,
    HOUR,
    NOT_IN_THE_FUTURE,
    ORDERING,
    TIMELY,
    events_of,
    placed,
    preferred_source,
    shaped,
    with_day,
)
from crypto_pipeline.frames import added
from crypto_pipeline.history.layouts import SAID
from shared.events import Trade
from shared.tables import DECIMAL, Column, Table

EVENT = Trade
ROUNDING = Decimal("0.00000001")
TABLE = Table(
    layer="bronze",
    name="trades",
    grain="One row per exchange, symbol and trade id",
    columns=(
        *EVENT_COLUMNS,
        Column("trade_id", "bigint", "the exchange's id; contiguous per symbol where the exchange's are"),
        Column("price", DECIMAL, "in the quote asset"),
        Column("quantity", DECIMAL, "in the base asset"),
        Column("quote_quantity", DECIMAL, "price * quantity, exact, in the quote asset"),
        Column("is_buyer_maker", "boolean", "the buyer's order was resting, so the taker sold"),
        ORDERING,
        DATE,
        HOUR,
        BROKEN_RULES,
    ),
    key=("exchange", "symbol", "trade_id"),
    partitions=("date", "hour"),
    time="event_time",
    ordering="ordering",
    rules={"price_is_positive": "price > 0", "quantity_is_positive": "quantity > 0"} | NOT_IN_THE_FUTURE,
    marks={
        "price_is_within_the_day": "price between day_low and day_high",
        "quote_quantity_is_price_times_quantity": f"abs({SAID} - quote_quantity) < {ROUNDING:f}",
    }
    | TIMELY,
)


def build(messages: DataFrame) -> DataFrame:
    """The trades among Kafka messages; which of two of one id stays is decided when they are written."""
    rows = with_day(events_of(messages, EVENT), messages, "event_time", "event_time")
    rows = added(placed(rows, F.col("event_time")), ordering=preferred_source(), **{SAID: F.lit(None).cast(DECIMAL)})
    return shaped(rows, TABLE)
