"""From Arrow into a bronze table, through Spark: what is new goes in, what is there stays, and differences are kept.

A row whose identity is there already is never written, whichever source it came from; where it says something else it
goes to `bronze.quarantine` under the rule `disagrees_with_what_is_stored`. So loading anything twice changes nothing.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import ModuleType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812
from tenacity import RetryCallState

from crypto_pipeline.bronze import agg_trades, depth, klines, quarantine, trades
from crypto_pipeline.bronze.common import FAULT, MESSAGE, OF_ITS_WAY, placed, preferred_source, shaped
from crypto_pipeline.conflicts import conflicts_retried
from crypto_pipeline.frames import added
from crypto_pipeline.history.layouts import SAID, Kind
from crypto_pipeline.history.staging import Staging
from crypto_pipeline.lakehouse import Lakehouse, hours_between
from shared.tables import DECIMAL, Table

MODULES: Mapping[Kind, ModuleType] = {
    "trades": trades,
    "agg-trades": agg_trades,
    "klines": klines,
    "depth": depth,
}
TIMES: Mapping[Kind, tuple[str, ...]] = {
    "trades": ("event_time",),
    "agg-trades": ("event_time",),
    "klines": ("open_time",),
    "depth": ("event_time", "received_at"),
}
"""The columns that place a row in time, of which the first that is not null does."""
DISAGREES = "disagrees_with_what_is_stored"
_CLOSED = 10**18
"""The ordering of a finished kline of which nobody says when it was sent."""
_IDENTITY: Mapping[Kind, tuple[str, ...]] = {
    "trades": trades.TABLE.key,
    "agg-trades": agg_trades.TABLE.key,
    "klines": ("exchange", "symbol", "interval", "open_time"),
    "depth": depth.TABLE.key,
}
_SAYS: Mapping[Kind, tuple[str, ...]] = {
    "trades": ("price", "quantity", "is_buyer_maker"),
    "agg-trades": ("price", "quantity", "is_buyer_maker", "first_trade_id", "last_trade_id"),
    "klines": (
        *("open", "high", "low", "close", "volume", "quote_volume", "trade_count"),
        *("taker_buy_volume", "taker_buy_quote_volume"),
    ),
    "depth": ("bids", "asks"),
}


@dataclass
class Loaded:
    """What became of the rows that were given."""

    new: int = 0
    there: int = 0
    differing: int = 0
    """Of an identity that is stored with other values. What is stored stayed."""
    quarantined: Counter[str] = field(default_factory=Counter)
    """By rule; those that differ are not among them."""

    def add(self, other: "Loaded") -> None:
        """Count the other's rows too."""
        self.new += other.new
        self.there += other.there
        self.differing += other.differing
        self.quarantined += other.quarantined


def load(
    lake: Lakehouse,
    staging: Staging,
    kind: Kind,
    rows: pa.Table,
    refused: pa.Table | None = None,
    *,
    on_conflict: Callable[[RetryCallState], None] = lambda _state: None,
) -> Loaded:
    """Bring rows (at least one) with the columns of an event into the table of their kind.

    `refused` has a `rule` beside: they only go to quarantine. Where another writer was quicker it is tried again.
    """
    table: Table = MODULES[kind].TABLE
    hours = _hours(moments(kind, rows))
    with staging.of(rows) as path:
        again = conflicts_retried(on_conflict)
        loaded = again(lambda: _load(lake, kind, lake.spark.read.parquet(path), rows.num_rows, hours))
    if refused is not None and refused.num_rows:
        loaded.quarantined += Counter(refused["rule"].to_pylist())
        with staging.of(refused.rename_columns({"rule": FAULT})) as path:
            frame = recorded(finished(lake.spark.read.parquet(path), kind), FAULT, table)
            conflicts_retried(on_conflict)(lambda: lake.write(quarantine.TABLE, frame, {}))
    return loaded


def _load(lake: Lakehouse, kind: Kind, rows: DataFrame, count: int, hours: list[datetime]) -> Loaded:
    table: Table = MODULES[kind].TABLE
    incoming = finished(rows, kind)
    kept = quarantine.kept(incoming, table)
    stored = _stored(lake, kind, rows, hours)
    loaded = Loaded()
    if stored.limit(1).count():
        verdict = F.when(F.col("stored").isNull(), F.lit("new")).when(_agrees(kind), F.lit("there"))
        judged = kept.join(stored, on=list(_IDENTITY[kind]), how="left")
        judged = judged.withColumn("rule", verdict.otherwise(F.lit(DISAGREES))).select(*table.column_names, "rule")
        with lake.pinned(judged) as pinned:
            found = _counted(pinned)
            loaded.new, loaded.there, loaded.differing = (found.get(name, 0) for name in ("new", "there", DISAGREES))
            if loaded.differing:
                lake.write(quarantine.TABLE, recorded(pinned.filter(F.col("rule") == DISAGREES), "rule", table), {})
            if loaded.new:
                lake.write(table, pinned.filter(F.col("rule") == "new").drop("rule"), {}, count=loaded.new)
    else:
        loaded.new = int(kept.count())
        lake.write(table, kept, {}, into_empty=lake.is_empty(table, hours), count=loaded.new)
    if loaded.new + loaded.there + loaded.differing < count:
        with lake.pinned(quarantine.build(incoming, table)) as broken:
            loaded.quarantined += Counter(_counted(broken))
            lake.write(quarantine.TABLE, broken, {})
    return loaded


def _stored(lake: Lakehouse, kind: Kind, rows: DataFrame, hours: list[datetime]) -> DataFrame:
    """What the table says of these series in these hours, one row an identity: `stored`, and `stored_at`.

    Of a kline that several sources gave, the best one's.
    """
    identity = list(_IDENTITY[kind])
    table: Table = MODULES[kind].TABLE
    series = F.broadcast(rows.select("exchange", "symbol").distinct())
    there = lake.read(table, hours).join(series, on=["exchange", "symbol"], how="left_semi")
    says = _said(kind)
    if kind == "klines":
        rank = F.when(F.col("source") == "websocket", 3).when(F.col("source") == "rest", 2).otherwise(1)
        best = there.filter("is_closed").groupBy(*identity).agg(F.max_by(says, rank).alias("stored"))
        return best.withColumn("stored_at", F.lit(None).cast("timestamp"))
    return there.select(*identity, says.alias("stored"), F.col("event_time").alias("stored_at"))


def _agrees(kind: Kind) -> Expression:
    """Equal in all that is said. A time in milliseconds is the same as one in microseconds."""
    same = F.col("stored") == _said(kind)
    if kind in ("klines", "depth"):
        return same
    return same & (F.unix_millis("event_time") == F.unix_millis("stored_at"))


def _said(kind: Kind) -> Expression:
    """What a row says, in 64 bits: comparing eight decimals each takes three times as long."""
    return F.xxhash64(*_SAYS[kind])


def moments(kind: Kind, rows: pa.Table) -> pa.ChunkedArray:
    """When each row happened."""
    return pc.coalesce(*(rows[name] for name in TIMES[kind]))


def finished(rows: DataFrame, kind: Kind) -> DataFrame:
    """Rows with the columns of an event, shaped as those of Kafka are before they are written or refused."""
    table: Table = MODULES[kind].TABLE
    time = F.coalesce(*TIMES[kind])
    later = {c.name: c.type for c in table.columns} | {
        "day_low": DECIMAL,
        "day_high": DECIMAL,
        SAID: DECIMAL,
        FAULT: "string",
    }
    made_below = {*rows.columns, "ingested_at", "ordering", *table.partitions}
    rows = added(
        rows,
        ingested_at=F.current_timestamp(),
        **{name: F.lit(None).cast(type_) for name, type_ in later.items() if name not in made_below},
        **{MESSAGE: F.struct(F.lit(None).cast("timestamp").alias("kafka_time"))},
    )
    if table.partitions == ("month",):
        rows = added(rows, month=F.date_format(time, "yyyy-MM"), ordering=F.lit(_CLOSED))
    else:
        rows = added(placed(rows, time), ordering=preferred_source())
    return shaped(rows, table)


def recorded(rows: DataFrame, rule: str, table: Table) -> DataFrame:
    """Rows whose column `rule` names what they break, as quarantine keeps them."""
    whole = F.to_json(F.struct(*[F.col(name) for name in table.column_names if name not in OF_ITS_WAY]))
    return (
        rows.withColumn("row", whole)
        .withColumn("table_name", F.lit(table.full_name))
        .withColumn("rule", F.col(rule))
        .withColumn("row_id", F.sha2("row", 256))
        .withColumn("quarantined_at", F.current_timestamp())
        .withColumn("date", F.date_format(F.coalesce("event_time", "received_at"), "yyyy-MM-dd"))
        .select(quarantine.TABLE.column_names)
    )


def _counted(rows: DataFrame) -> dict[str, int]:
    found: list[Any] = rows.groupBy("rule").count().collect()
    return {row.rule: int(row["count"]) for row in found}


def _hours(times: pa.ChunkedArray) -> list[datetime]:
    """Every hour from the first to the last."""
    found = pc.min_max(times).as_py()
    return list(hours_between(found["min"], found["max"]))
