"""Trades as ClickHouse has them, and how far they were read from Kafka."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import NamedTuple

import msgspec
import pyarrow as pa
from clickhouse_connect.driver.client import Client

from crypto_pipeline import contracts
from serving.clickhouse.schema import BETTER_SOURCE_THEN_EARLIER_RECEIPT, OFFSETS, Shape, create
from shared.events import TRADE_BEGINS, Trade, decode
from shared.tables import DECIMAL

NAME = "bronze.trades"
_BRONZE_ALONE = ("kafka_time", "ordering", "date", "hour", "broken_rules")
"""Columns of the lake that say how bronze came by its rows, keeps and judges them."""
_TYPES = {
    "string": pa.string(),
    "boolean": pa.bool_(),
    "bigint": pa.int64(),
    "timestamp": pa.timestamp("us", "UTC"),
    DECIMAL: pa.decimal128(38, 18),
}
_FIVE_MINUTES = 300_000_000


class Place(NamedTuple):
    """How far a partition was read, and of which topic of its name."""

    topic_id: str
    next_offset: int


Places = Mapping[tuple[str, int], Place]
"""By topic and partition."""


@lru_cache(maxsize=1)
def shape() -> Shape:
    """The table: by month, and of two rows of one trade that of the better source stays, else the earlier received."""
    table = contracts.tables()[NAME]
    columns = tuple(column for column in table.columns if column.name not in _BRONZE_ALONE)
    return Shape(NAME, table.grain, columns, table.key, BETTER_SOURCE_THEN_EARLIER_RECEIPT, "event_time")


def prepare(client: Client) -> None:
    """Make the table where it is not there."""
    client.command(create(shape(), NAME))


def trades_of(messages: Iterable[bytes | None], now: int) -> list[Trade]:
    """The trades among Kafka messages, but for those that bronze would not let on either. `now`: microseconds."""
    found = []
    for message in messages:
        if message and message.startswith(TRADE_BEGINS):
            with suppress(msgspec.ValidationError):  # of another version; bronze keeps it in quarantine and says why
                event = decode(message)
                if isinstance(event, Trade) and _may_go_on(event, now):
                    found.append(event)
    return found


def _may_go_on(trade: Trade, now: int) -> bool:
    """The rules of the contract, which states them in Spark's SQL."""
    is_timely = 0 <= trade.event_time <= max(now, trade.received_at or 0) + _FIVE_MINUTES
    return trade.price > 0 and trade.quantity > 0 and is_timely


def rows(trades: Sequence[Trade], now: int) -> pa.Table:
    """The rows of trades, written `now` (microseconds); without one whose numbers no column can hold."""
    try:
        return _rows(trades, now)
    except (pa.ArrowInvalid, OverflowError):
        return _rows([trade for trade in trades if _fits(trade, now)], now)


def _rows(trades: Sequence[Trade], now: int) -> pa.Table:
    values = {name: [getattr(trade, name) for trade in trades] for name in Trade.__struct_fields__}
    values["ingested_at"] = [now] * len(trades)
    return pa.table({column.name: pa.array(values[column.name], _TYPES[column.type]) for column in shape().columns})


def _fits(trade: Trade, now: int) -> bool:
    try:
        _rows([trade], now)
    except (pa.ArrowInvalid, OverflowError):
        return False
    return True


def places(client: Client) -> Places:
    """How far Kafka was read; empty at the first start."""
    asked = f"SELECT topic, partition, topic_id, next_offset FROM {OFFSETS} FINAL"  # noqa: S608 (our own name)
    noted = client.query(asked).result_rows
    return {(topic, partition): Place(topic_id, offset) for topic, partition, topic_id, offset in noted}


def note(client: Client, reached: Places) -> None:
    """Keep how far Kafka was read; what was inserted before is not read again."""
    rows = [[topic, partition, place.topic_id, place.next_offset] for (topic, partition), place in reached.items()]
    client.insert(OFFSETS, rows, ["topic", "partition", "topic_id", "next_offset"])
