"""What test_sorted_lake.py runs in a process of its own: closed months of a table of Hudi's own, sorted.

Prints what Spark, who follows the table, and the reader without Spark saw before and after.
"""

import json
import sys
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from pyspark.sql import Column
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline import lakehouse, sorting
from crypto_pipeline.bronze import expired
from crypto_pipeline.lakehouse import Lakehouse
from crypto_pipeline.reader import object_store, open_table
from crypto_pipeline.silver import ohlcv_1m
from tests.crypto_pipeline.retention.real_lake import spark_on
from tests.servers import MinioServer

TABLE = ohlcv_1m.TABLE
OLD, NOW = datetime(2026, 9, 30, 23, tzinfo=UTC), datetime(2026, 11, 20, 12, tzinfo=UTC)
SYMBOLS = ("SOLUSDT", "BTCUSDT", "ETHUSDT")
MINUTES = 200
MARKS = {"marks": "here"}


def candles(
    lake: Lakehouse, first: datetime, minutes: int, close: str = "1.5", symbols: tuple[str, ...] = SYMBOLS
) -> None:
    """Candles of so many minutes, those of all symbols mixed, in one commit."""
    rows: list[Mapping[str, Any]] = [
        {
            "exchange": "binance", "symbol": symbol, "interval_start": first + timedelta(minutes=minute),
            "close": Decimal(close), "is_closed": True, "revision": 1, "ordering": 1,
            "month": f"{first + timedelta(minutes=minute):%Y-%m}",
        }
        for minute in range(minutes) for symbol in symbols
    ]  # fmt: skip
    schema = ", ".join(f"`{column.name}` {column.type}" for column in TABLE.columns)
    values = [tuple(row.get(name) for name in TABLE.column_names) for row in rows]
    lake.write(TABLE, lake.spark.createDataFrame(values, schema), MARKS)


def by_spark(lake: Lakehouse) -> list[str]:
    return sorted(str(tuple(row)) for row in lake.read(TABLE).collect())


def without_spark(server: MinioServer) -> list[str]:
    found = open_table(TABLE, server.settings).read(["symbol", "interval_start", "close"])
    return sorted(str(tuple(row.values())) for row in found.to_pylist())


def are_hudis(lake: Lakehouse) -> bool:
    """Whether the commits that we find are those that Hudi's own procedure tells of."""
    told = lake.spark.sql(f"CALL show_commits(table => '{TABLE.full_name}', limit => 1000)").collect()
    return sorted(lake.commits(TABLE)) == sorted(
        (one.commit_time, one.state_transition_time, one.action) for one in told
    )


def files(server: MinioServer, month: str) -> list[str]:
    """The kinds of files that lie in a month."""
    names = [name for name in server.keys(f"{TABLE.folder}/month={month}/") if ".log." in name or ".parquet" in name]
    return sorted("log" if ".log." in name else "sorted" if "_sorted_" in name else "base" for name in names)


def footer_keys(server: MinioServer) -> list[str]:
    """What the base files note in their footers beside rows."""
    bucket, names = server.settings.bucket, [name for name in server.keys(TABLE.folder) if name.endswith(".parquet")]
    store = object_store(server.settings)
    footers = [pq.read_metadata(f"{bucket}/{name}", filesystem=store).metadata or {} for name in names]
    return sorted({key.decode() for footer in footers for key in footer})


def descents(lake: Lakehouse, server: MinioServer, first: datetime, *, into_empty: bool) -> int:
    """How often the base file of a month goes back in time, whose history came at once and in disorder."""
    # In place of ten times as many rows: what is merged in memory comes out in no order, and the rest as it came.
    lakehouse._GUARDS["hoodie.memory.compaction.max.size"] = "1"
    if not into_empty:
        candles(lake, first, 3)
    number = F.col("id")
    known: dict[str, Column] = {
        "exchange": F.lit("binance"),
        "symbol": F.element_at(F.array(*map(F.lit, SYMBOLS)), (number % len(SYMBOLS) + 1).cast("int")),
        "interval_start": F.timestamp_seconds(F.lit(int(first.timestamp())) + F.floor(number / len(SYMBOLS)) * 60),
        "month": F.lit(f"{first:%Y-%m}"),
    }
    columns = [known.get(one.name, F.lit(None)).cast(one.type).alias(one.name) for one in TABLE.columns]
    history = lake.spark.range(lakehouse._BULK).select(*columns).orderBy(F.rand(1))
    lake.write(TABLE, history, MARKS, is_unique=True, into_empty=into_empty, count=lakehouse._BULK)
    lake.compact_after_bulk(TABLE, lakehouse._BULK, NOW)
    bases = [name for name in server.keys(f"{TABLE.folder}/month={first:%Y-%m}/") if name.endswith(".parquet")]
    newest = max(bases, key=lambda name: name.rpartition("_")[2])
    file = pq.ParquetFile(f"{server.settings.bucket}/{newest}", filesystem=object_store(server.settings))
    starts = file.read(["interval_start"])["interval_start"].to_pylist()
    assert len(starts) == lakehouse._BULK
    return sum(before > after for before, after in pairwise(starts))


def loaded_views(lake: Lakehouse) -> list[str]:
    return [one.name for one in lake.spark.catalog.listTables() if one.name.startswith("loaded_")]


def kept(lake: Lakehouse, hours: int) -> None:
    """Some minutes' writes and their maintenance, so many hours after now."""
    for minute in range(4):
        candles(lake, NOW + timedelta(hours=hours, minutes=minute), 1)
    lake.compact(TABLE, NOW + timedelta(hours=hours), everywhere=True)
    lake.clean(TABLE)


def main(server: MinioServer) -> dict[str, Any]:
    """The months of one table, from the first row to late ones in what was sorted."""
    # In place of what takes two hours of a minute's commits.
    lakehouse._FILES_OF_COMMITS, lakehouse._COMMITS_KEPT, lakehouse._COMMITS_AT_MOST, sorting.WORTH = 1, 2, 3, 1
    lake = Lakehouse(spark_on(server), server.settings, 1)
    for layer in (expired.TABLE.layer, TABLE.layer):
        lake.create_database(layer)
    lake.create(TABLE)
    lake.create(expired.TABLE)
    seen: dict[str, Any] = {"never_written": lake.commits(TABLE)}
    seen["of_no_time"] = lake.compact(expired.TABLE, NOW, everywhere=True)
    candles(lake, OLD, MINUTES)
    candles(lake, OLD + timedelta(minutes=5), 3, "2.5")
    seen["rows_written"] = lake.rows_written(TABLE, lake.commits(TABLE))
    seen["at_first"] = [files(server, "2026-09"), files(server, "2026-10")]
    seen["too_early"] = sorting.sort_closed(TABLE, server.settings, NOW)
    kept(lake, 0)
    kept(lake, 1)
    kept(lake, 2)
    seen["merged"] = [files(server, "2026-09"), files(server, "2026-10")]
    seen["footer_keys"] = footer_keys(server)
    before, read = by_spark(lake), without_spark(server)
    mark = lake.commits(TABLE)[0].completed

    seen["done"] = sorting.sort_closed(TABLE, server.settings, NOW)
    seen["sorted"] = [files(server, "2026-09"), files(server, "2026-10"), files(server, "2026-11")]
    seen["same_to_spark"] = by_spark(lake) == before
    seen["same_without"] = without_spark(server) == read
    seen["nothing_to_follow"] = lake.changes(TABLE, mark).commits

    # late rows come into a sorted month
    with lake.loaded() as as_it_is:
        as_it_is.read(TABLE).count()
        candles(lake, OLD + timedelta(minutes=7), 1, "9.5", ("BTCUSDT",))
        seen["as_it_was"] = by_spark(as_it_is) == before
        seen["views"] = [len(loaded_views(lake))]
    seen["views"].append(len(loaded_views(lake)))
    changed = lake.changes(TABLE, mark)
    seen["followed"] = [(row.symbol, str(row.close)[:3]) for row in changed.rows.collect()]
    seen["latest"] = [
        [(row.symbol, str(row.close)[:3]) for row in lake.latest(TABLE, [hour]).collect()] for hour in (OLD, NOW)
    ]
    seen["late"] = files(server, "2026-09")
    seen["late_to_spark"] = sum("9.5" in row for row in by_spark(lake)), len(by_spark(lake)) - len(before)
    seen["late_without"] = sum("9.5" in row for row in without_spark(server)), len(without_spark(server)) - len(read)
    seen["not_due"] = sorting.sort_closed(TABLE, server.settings, NOW)
    kept(lake, 3)
    kept(lake, 4)
    kept(lake, 5)
    after = by_spark(lake)
    later = datetime.now(UTC) + timedelta(hours=2)
    seen["again"] = sorting.sort_closed(TABLE, server.settings, later)
    seen["the_copied_go"] = sorting.sort_closed(TABLE, server.settings, later + timedelta(hours=2))
    kept(lake, 6)
    seen["at_last"] = [files(server, "2026-09"), files(server, "2026-10")]
    seen["same_again"] = [row for row in by_spark(lake) if "2026, 11" not in row] == [
        row for row in after if "2026, 11" not in row
    ]
    seen["are_hudis"] = [are_hudis(lake)]
    lake.drop(TABLE, ["month=2026-09"])
    seen["are_hudis"].append(are_hudis(lake))
    seen["descents"] = [
        descents(lake, server, datetime(2026, month, 1, tzinfo=UTC), into_empty=month == 8) for month in (7, 8)
    ]
    candles(lake, datetime(2026, 8, 1, tzinfo=UTC), 3, "7.5")
    again = lake.read(TABLE).filter("month = '2026-08'")
    seen["came_again"] = [again.count() - lakehouse._BULK, again.filter("close = 7.5").count()]
    seen["actions"] = sorted({commit.action for commit in lake.commits(TABLE)})
    return seen


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        store = MinioServer(Path(folder))
        store.start()
        try:
            print(json.dumps(main(store), default=str))
        finally:
            store.stop()
            sys.stdout.flush()
