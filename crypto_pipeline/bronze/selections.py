"""What the selectors of `symbols.yaml`, such as `top: 50`, chose, and when: else a backtest sees survivors alone."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.bronze.common import (
    BROKEN_RULES,
    EVENT_COLUMNS,
    MONTH,
    NOT_IN_THE_FUTURE,
    ORDERING,
    events_of,
    preferred_source,
    shaped,
)
from shared.events import Selection
from shared.symbol_manager import REFERENCE
from shared.tables import DECIMAL, Column, Table

EVENT = Selection
TOPIC = REFERENCE
TABLE = Table(
    layer="bronze",
    name="selections",
    grain="One row per exchange, symbol, selector and time of its choice",
    columns=(
        *EVENT_COLUMNS,
        Column("selector", "string", "as it reads: quote=USDT top=50"),
        Column("rank", "int", "1 for the greatest quote_volume"),
        Column("quote_volume", DECIMAL, "of the 24 hours before, in the quote asset"),
        ORDERING,
        MONTH,
        BROKEN_RULES,
    ),
    key=("exchange", "symbol", "selector", "event_time"),
    partitions=("month",),
    time="event_time",
    ordering="ordering",
    buckets=1,
    rules=NOT_IN_THE_FUTURE,
    marks={"rank_is_positive": "rank > 0"},
)


def build(messages: DataFrame) -> DataFrame:
    """The selections among Kafka messages."""
    rows = events_of(messages, EVENT).withColumn("month", F.date_format("event_time", "yyyy-MM"))
    return rows.withColumn("ordering", preferred_source()).transform(shaped, TABLE)
