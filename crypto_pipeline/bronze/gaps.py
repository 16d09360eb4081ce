"""What should have come and did not: each hole once, in its latest state, from open to repaired or lost."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.bronze.common import BROKEN_RULES, EVENT_COLUMNS, NOT_IN_THE_FUTURE, events_of, shaped
from shared.events import Gap
from shared.tables import Column, Table

EVENT = Gap
TABLE = Table(
    layer="bronze",
    name="gaps",
    grain="One row per exchange, symbol, stream and first missing id or time: the hole as it is now",
    columns=(
        *EVENT_COLUMNS,
        Column("gap_stream", "string", "what is missing: trade, ticker, kline_1m or depth5"),
        Column(
            "first_missing",
            "bigint",
            "trades: the first missing id; klines: the first missing open time; else the time when silence began "
            "(microseconds); of messages that Kafka dropped unread, the first missing offset",
        ),
        Column(
            "last_missing", "bigint", "inclusive, as first_missing; null while the hole grows or its end is unknown"
        ),
        Column("missing", "bigint", "how many are still missing; null where that cannot be known"),
        Column(
            "cause",
            "string",
            "disconnect, id_jump, silence, no_closed_kline, service_stopped, spool_damaged or offsets_expired",
        ),
        Column("status", "string", "open, repaired, lost (nobody can give it again) or venue_gap (was never issued)"),
        Column("repaired_from", "string", "what filled it: websocket, rest, archive or agg_trades; empty until then"),
        Column("detail", "string", "what happened, what was tried and what comes next"),
        Column("updated_at", "timestamp", "when it was last looked at; of two rows of one hole the later stays"),
        Column("date", "string", "partition: UTC day in which the hole begins, yyyy-MM-dd"),
        BROKEN_RULES,
    ),
    key=("exchange", "symbol", "gap_stream", "first_missing"),
    partitions=("date",),
    time="event_time",
    ordering="updated_at",
    buckets=1,
    rules=NOT_IN_THE_FUTURE,
    marks={"its_end_is_not_before_its_start": "last_missing >= first_missing"},
)


def build(messages: DataFrame) -> DataFrame:
    """The gaps among Kafka messages."""
    rows = events_of(messages, EVENT)
    return rows.withColumn("date", F.date_format("event_time", "yyyy-MM-dd")).transform(shaped, TABLE)
