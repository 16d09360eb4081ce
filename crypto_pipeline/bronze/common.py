"""What the bronze tables share: how a Kafka message becomes a row, and what is noted about rows that look wrong."""

from decimal import Decimal
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812 (the name that all PySpark code gives it)

from crypto_pipeline.frames import added
from shared.tables import DECIMAL, Column, Table

EVENT_COLUMNS = (
    Column("exchange", "string", "the market: binance is Binance spot"),
    Column("symbol", "string", "canonical: base and quote in upper case, joined"),
    Column("base_asset", "string", "what is traded"),
    Column("quote_asset", "string", "what it is priced in"),
    Column("event_time", "timestamp", "when it happened by the exchange's clock; null where it gives none"),
    Column("published_at", "timestamp", "when the exchange sent it, where it says so"),
    Column("received_at", "timestamp", "when we had it; null for archive and REST"),
    Column(
        "kafka_time",
        "timestamp",
        "when Kafka had it; null where it came another way, or before this was kept",
    ),
    Column("ingested_at", "timestamp", "when the row was written"),
    Column("source", "string", "websocket, rest or archive"),
    Column("connection_id", "string", "the connection that brought it"),
)
OF_ITS_WAY = ("kafka_time", "ingested_at")
"""The columns that say when a row came by here, not what it is: brought again it has others."""
BROKEN_RULES = Column(
    "broken_rules", "array<string>", "names of the marks that this row breaks; null where it was not checked"
)
ORDERING = Column("ordering", "bigint", "of two rows of one key the greater stays: better source, then earlier receipt")
DATE = Column("date", "string", "partition: UTC day of the event, yyyy-MM-dd")
HOUR = Column("hour", "string", "partition: UTC hour of the event, 00 to 23")
MONTH = Column("month", "string", "partition: UTC month, yyyy-MM")

NOT_IN_THE_FUTURE = {
    "time_is_not_in_the_future": (
        "coalesce(event_time, received_at) <= greatest(received_at, ingested_at) + interval 5 minutes"
    )
}
"""A rule of every event: further ahead of our clock it would lie in hours that are yet to come. What was received under
a clock that was behind keeps it once it is replayed under a right one."""
TIMELY = {
    "clocks_agree": "received_at + interval 1 second >= coalesce(published_at, event_time)",
    "is_not_late": "received_at - coalesce(published_at, event_time) <= interval 10 seconds",
}
"""Marks of every event: it came before it was sent, so a clock is wrong; it was under way for long."""

FAULT = "fault"
MESSAGE = "message"
"""What rows bear until they are written or refused: why they are no event, and the Kafka message, whole."""
CANNOT_BE_PARSED = "cannot_be_parsed"
_CORRUPT = "_corrupt"

_RANK_STEP = 10**18
_LATEST = 10**17
"""Microseconds far beyond any date (year 5138), so that ranks and times never mix."""
_TYPES = {int: "bigint", str: "string", bool: "boolean", Decimal: "string"}
_LEVELS = tuple[tuple[Decimal, Decimal], ...]
_PLAIN = r"^-?[0-9]{1,20}([.][0-9]{1,18})?$"


def events_of(messages: DataFrame, event: type[msgspec.Struct]) -> DataFrame:
    """The messages of one kind of event, a column for each of its fields, typed, `kafka_time` and `ingested_at`.

    `messages` has `value` (JSON), `stream`, and where it came from. A message that is no such event (not JSON, a field
    missing or of another type, a number that `decimal(38, 18)` cannot hold exactly) is a row with a `fault`.
    """
    fields = get_type_hints(event)
    wanted = [field.name for field in msgspec.structs.fields(event)]
    ddl = ", ".join(f"`{name}` {_json_type(fields[name])}" for name in wanted)
    options = {"mode": "PERMISSIVE", "columnNameOfCorruptRecord": _CORRUPT}
    parsed = F.from_json("value", f"{ddl}, {_CORRUPT} string", options)
    whole = F.struct(*[name for name in messages.columns if name != "stream"]).alias(MESSAGE)
    # `inline` keeps the planner from copying the parser into every expression that uses a field.
    mine = messages.filter(F.col("stream") == F.lit(event.__struct_config__.tag))
    rows = mine.select(whole, "kafka_time", F.inline(F.array(parsed)))
    is_fault = F.col(_CORRUPT).isNotNull()
    for name in wanted:
        is_fault = is_fault | _is_wrong(F.col(name), name, fields[name])
    return rows.select(
        F.when(is_fault, F.lit(CANNOT_BE_PARSED)).alias(FAULT),
        MESSAGE,
        "kafka_time",
        *[_typed(F.col(name), name, fields[name]).alias(name) for name in wanted],
        F.current_timestamp().alias("ingested_at"),
    )


def preferred_source() -> Expression:
    """The ordering of events of one identity: websocket before REST before archive, then the earlier receipt."""
    rank = F.when(F.col("source") == "websocket", 3).when(F.col("source") == "rest", 2).otherwise(1)
    received = F.coalesce(F.unix_micros("received_at"), F.lit(0))
    return rank * F.lit(_RANK_STEP) + F.lit(_LATEST) - received


def placed(rows: DataFrame, time: Expression) -> DataFrame:
    """With the partition columns `date` and `hour` of a time."""
    return added(rows, date=F.date_format(time, "yyyy-MM-dd"), hour=F.date_format(time, "HH"))


def with_day(rows: DataFrame, messages: DataFrame, start: str, end: str) -> DataFrame:
    """With `day_low` and `day_high`: the range of the newest ticker among the messages that covers the row.

    The exchange's 24 hours must begin before the row's column `start` and end a second or more after its `end`, in
    which the exchange may not have counted it yet. Both are null where no ticker does.
    """
    fields = "exchange string, symbol string, event_time bigint, open_time bigint, low_price string, high_price string"
    tickers = messages.filter(F.col("stream") == "ticker").select(F.from_json("value", fields).alias("t")).select("t.*")
    values = F.struct("event_time", "open_time", "low_price", "high_price")
    newest = tickers.groupBy("exchange", "symbol").agg(F.max_by(values, "event_time").alias("day"))
    begins = F.unix_micros(F.col(start)) >= F.col("day.open_time")
    covers = begins & (F.unix_micros(F.col(end)) + 1_000_000 <= F.col("day.event_time"))
    return added(
        rows.join(F.broadcast(newest), on=["exchange", "symbol"], how="left"),
        **{f"day_{side}": F.when(covers, F.col(f"day.{side}_price").cast(DECIMAL)) for side in ("low", "high")},
    )


def shaped(rows: DataFrame, table: Table) -> DataFrame:
    """The columns that the table promises, in its order and types; with `fault` and `message` until it is written.

    `broken_rules` names the table's marks that are false; one that cannot be decided is not broken.
    """
    typed = rows.withColumns(
        {c.name: F.col(c.name).cast(c.type).alias(c.name) for c in table.columns if c != BROKEN_RULES}
    )
    broken = [F.when(~F.expr(sql), F.lit(name)) for name, sql in table.marks.items()]
    if broken:
        typed = typed.withColumn(BROKEN_RULES.name, F.array_compact(F.array(*broken)))
    return typed.select(*table.column_names, FAULT, MESSAGE)


def _plain(kind: Any) -> tuple[Any, bool]:
    """The type without `None`, and whether it may be that."""
    parts = get_args(kind)
    if get_origin(kind) in (Union, type(int | None)) and type(None) in parts:
        return next(part for part in parts if part is not type(None)), True
    return kind, False


def _is_time(name: str) -> bool:
    return name.endswith(("_time", "_at"))


def _json_type(kind: Any) -> str:
    kind, _ = _plain(kind)
    if kind == _LEVELS:
        return "array<array<string>>"
    return "string" if get_origin(kind) is Literal else _TYPES[kind]


def _typed(value: Expression, name: str, kind: Any) -> Expression:
    kind, _ = _plain(kind)
    if kind is Decimal:
        return value.cast(DECIMAL)
    if kind is int and _is_time(name):
        return F.timestamp_micros(value)
    if kind == _LEVELS:
        return F.transform(
            value,
            lambda level: F.struct(level[0].cast(DECIMAL).alias("price"), level[1].cast(DECIMAL).alias("quantity")),
        )
    return value


def _is_wrong(value: Expression, name: str, kind: Any) -> Expression:
    """True or false, never null: there is no value where one must be, or it is none of this type."""
    kind, may_be_absent = _plain(kind)
    if kind is Decimal:
        wrong = _does_not_fit(value)
    elif kind is int and _is_time(name):
        wrong = ~value.between(0, _LATEST)
    elif get_origin(kind) is Literal:
        wrong = ~value.isin(*get_args(kind))
    elif kind == _LEVELS:
        wrong = F.exists(
            value,
            lambda level: F.coalesce(
                (F.size(level) != 2) | _does_not_fit(level[0]) | _does_not_fit(level[1]), F.lit(True)
            ),
        )
    else:
        wrong = F.lit(False)
    return F.when(value.isNull(), F.lit(not may_be_absent)).otherwise(F.coalesce(wrong, F.lit(True)))


def _does_not_fit(text: Expression) -> Expression:
    """Is it no number, too great, or of more places than the type holds? Python writes some as `1.5E-7`, `0E-8`."""
    exact = text.cast(DECIMAL)
    is_exact = F.coalesce(exact == text.cast("decimal(38,30)"), F.lit(True))
    return ~(text.rlike(_PLAIN) | (text.rlike("[eE]") & exact.isNotNull() & is_exact))
