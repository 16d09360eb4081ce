"""The tables in ClickHouse, and how their types follow from the contracts. It knows no Spark."""

import re
from dataclasses import dataclass

from crypto_pipeline.catalog import LAYERS
from shared.tables import Column

BOOKKEEPING = "serving"
"""The database of what is noted about the tables, and of those that are being filled."""
DATABASES = (*LAYERS, BOOKKEEPING)
MARKS = f"{BOOKKEEPING}.marks"
"""How far each served table has followed the lake."""
OFFSETS = f"{BOOKKEEPING}.offsets"
"""How far the trades were read from Kafka."""
VERSION = "served_version"
"""The column by which of two rows of one key the later stays; `select *` leaves it out."""

_NOTES = (
    f"CREATE TABLE IF NOT EXISTS {MARKS} (table_name String, source String, mark String, "
    "written_at DateTime64(6, 'UTC') DEFAULT now64(6)) ENGINE = ReplacingMergeTree ORDER BY (table_name, source)",
    f"CREATE TABLE IF NOT EXISTS {OFFSETS} (topic String, partition Int32, topic_id String, next_offset Int64, "
    "written_at DateTime64(6, 'UTC') DEFAULT now64(6)) ENGINE = ReplacingMergeTree ORDER BY (topic, partition)",
)
_TYPES = {
    "string": "String",
    "boolean": "Bool",
    "int": "Int32",
    "bigint": "Int64",
    "double": "Float64",
    "date": "Date32",
    "timestamp": "DateTime64(6, 'UTC')",
}
_SOURCE = "bitShiftLeft(toUInt64(indexOf(['archive', 'rest', 'websocket'], ifNull(source, ''))), 62)"
"""The best source first: the two highest bits of a version."""
BETTER_SOURCE_THEN_ORDERING = f"{_SOURCE} + toUInt64(ifNull(ordering, 0))"
BETTER_SOURCE_THEN_EARLIER_RECEIPT = (
    f"{_SOURCE} + {2**62 - 1} - toUInt64(ifNull(toUnixTimestamp64Micro(received_at), 0))"
)


@dataclass(frozen=True)
class Shape:
    """A table in ClickHouse. Columns may be null, but for those of the key and the one that places a row."""

    full_name: str
    grain: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    version: str
    """The SQL expression that gives a row its version when it is inserted."""
    month_of: str | None = None
    """The column by whose month it is partitioned."""

    def described(self) -> list[tuple[str, str, int]]:
        """As `system.columns` tells it: each column's name, its type, and whether it is of the key."""
        described = [(name, kind, int(name in self.key)) for name, kind in self.types()]
        return [*described, (VERSION, "UInt64", 0)]

    def types(self) -> list[tuple[str, str]]:
        """Each column's name and its type."""
        never_null = (*self.key, self.month_of)
        types = [(column.name, column_type(column.type)) for column in self.columns]
        return [(name, kind if name in never_null else f"Nullable({kind})") for name, kind in types]


def column_type(spark_type: str) -> str:
    """ClickHouse's type for a contract's, as it spells it itself. What is nested is its JSON.

    A decimal gets 76 digits: of 38, the product or quotient of two prices would overflow, and ClickHouse not say so.
    Raises `ValueError` for a type that no contract has had yet.
    """
    if found := _TYPES.get(spark_type):
        return found
    if decimal := re.fullmatch(r"decimal\(\d+, *(\d+)\)", spark_type):
        return f"Decimal(76, {decimal[1]})"
    if spark_type.startswith(("array<", "struct<", "map<")):
        return _TYPES["string"]
    raise ValueError(f"no ClickHouse type is known for {spark_type}")


def create(shape: Shape, name: str) -> str:
    """The statement that makes a table of this shape under a name, where there is none."""
    comments = {column.name: column.comment for column in shape.columns}
    columns = [f"`{name}` {kind} COMMENT {_text(comments[name])}" for name, kind in shape.types()]
    columns.append(
        f"`{VERSION}` UInt64 MATERIALIZED {shape.version} COMMENT 'of two rows of one key the greater stays'"
    )
    by_month = f" PARTITION BY toYYYYMM(`{shape.month_of}`)" if shape.month_of else ""
    key = ", ".join(f"`{name}`" for name in shape.key)
    return (
        f"CREATE TABLE IF NOT EXISTS {name} ({', '.join(columns)}) ENGINE = ReplacingMergeTree(`{VERSION}`)"
        f"{by_month} ORDER BY ({key}) COMMENT {_text(shape.grain)}"
    )


def prepare(mode: str) -> list[str]:
    """The statements that make the databases and the notes, where they are not there; they are those of a mode."""
    databases = [f"CREATE DATABASE IF NOT EXISTS {name} COMMENT {_text(mode)}" for name in DATABASES]
    return [*databases, *_NOTES]


def _text(words: str) -> str:
    return "'" + words.replace("\\", "\\\\").replace("'", "\\'") + "'"
