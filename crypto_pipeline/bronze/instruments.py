"""What an exchange says of each pair, whenever it says something new; `silver.instruments` makes spans of it."""

from pyspark.sql import DataFrame

from crypto_pipeline.bronze.common import (
    BROKEN_RULES,
    EVENT_COLUMNS,
    NOT_IN_THE_FUTURE,
    ORDERING,
    events_of,
    preferred_source,
    shaped,
)
from shared.events import Instrument
from shared.symbol_manager import REFERENCE
from shared.tables import DECIMAL, Column, Table

EVENT = Instrument
TOPIC = REFERENCE
TABLE = Table(
    layer="bronze",
    name="instruments",
    grain="One row per exchange, symbol and time at which the exchange said it",
    columns=(
        *EVENT_COLUMNS,
        Column("status", "string", "the exchange's word (TRADING, HALT, BREAK), or DELISTED where it lists it no more"),
        Column("tick_size", DECIMAL, "the step of prices, in the quote asset"),
        Column("step_size", DECIMAL, "the step of quantities, in the base asset"),
        Column("min_notional", DECIMAL, "the least value of an order, in the quote asset"),
        ORDERING,
        BROKEN_RULES,
    ),
    key=("exchange", "symbol", "event_time"),
    ordering="ordering",
    buckets=1,
    rules=NOT_IN_THE_FUTURE,
    marks={"steps_are_positive": "least(tick_size, step_size) > 0"},
)


def build(messages: DataFrame) -> DataFrame:
    """The instruments among Kafka messages."""
    return events_of(messages, EVENT).withColumn("ordering", preferred_source()).transform(shaped, TABLE)
