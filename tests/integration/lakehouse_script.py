"""What test_lakehouse.py runs in a process of its own: Spark Connect and Spark itself cannot share one."""

import json
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from unittest.mock import patch

import pyarrow as pa
from pyspark.sql import SparkSession

from crypto_pipeline import lakehouse
from crypto_pipeline.conflicts import is_conflict
from crypto_pipeline.lakehouse import BEGINNING, Lakehouse, NeedsUpgradeError, NewerLakeError
from crypto_pipeline.memory import Written
from crypto_pipeline.reader import arrow_schema
from shared.settings import settings
from shared.tables import DECIMAL, Column, Table

TABLE = Table(
    layer="gold",
    name="probe",
    grain="One row per symbol and number",
    columns=(
        Column("symbol", "string", "a symbol"),
        Column("number", "bigint", 'a number; it\'s "quoted"'),
        Column("ordering", "bigint", "the greater stays"),
    ),
    key=("symbol", "number"),
    ordering="ordering",
    buckets=2,
)

MONTHLY = replace(
    TABLE,
    name="monthly_probe",
    columns=(*TABLE.columns, Column("month", "string", "partition: a month, yyyy-MM")),
    key=("symbol", "number"),
    partitions=("month",),
)
HOURLY = replace(
    TABLE,
    name="hourly_probe",
    columns=(
        *TABLE.columns,
        Column("date", "string", "partition: a day"),
        Column("hour", "string", "partition: an hour"),
    ),
    partitions=("date", "hour"),
)
NEWER = replace(TABLE, name="newer_probe")
KNOWN = replace(
    TABLE,
    name="known_probe",
    columns=(
        *TABLE.columns[:2],
        Column("at", "timestamp", "a time"),
        Column("price", DECIMAL, "exact"),
        Column("levels", f"array<struct<price:{DECIMAL}>>", "prices"),
        Column("nothing", "double", "never known"),
    ),
    ordering=None,
)
JANUARY, FEBRUARY = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)


def views(lake: Lakehouse) -> list[str]:
    """What the session's temporary views are for."""
    return sorted(row.viewName.partition("_")[0] for row in lake.spark.sql("SHOW VIEWS").collect() if row.isTemporary)


def filled(lake: Lakehouse) -> dict[str, object]:
    """What becomes of empty months that are filled, by one writer and by two at once."""
    lake.create(MONTHLY)

    def fill(month: str, numbers: range, ordering: int, *, into_empty: bool = True) -> str:
        rows = [(f"S{number % 7}", number, ordering, month) for number in numbers]
        columns = "symbol string, number bigint, ordering bigint, month string"
        try:
            lake.write(MONTHLY, lake.spark.createDataFrame(rows, columns), {}, into_empty=into_empty)
        except Exception as error:
            if not is_conflict(error):
                raise
            return "refused"
        return "written"

    seen: dict[str, object] = {"is_empty": lake.is_empty(MONTHLY, [JANUARY])}
    fill("2026-01", range(100), 1)
    fill("2026-01", range(50, 150), 2, into_empty=False)
    lake.compact(MONTHLY, datetime.now(UTC), everywhere=True, log_bytes=1)
    fill("2026-01", range(100, 120), 3, into_empty=False)
    seen["is_empty_after"] = lake.is_empty(MONTHLY, [JANUARY])
    seen["another_is_empty"] = lake.is_empty(MONTHLY, [FEBRUARY])
    with ThreadPoolExecutor(2) as pool:
        both = pool.map(lambda ordering: fill("2026-02", range(200, 400), ordering), (1, 2))
        seen["two_at_once"] = sorted(both)
    fill("2026-02", range(300, 410), 3, into_empty=False)
    kept = lake.read(MONTHLY).groupBy("month", "ordering").count().orderBy("month", "ordering").collect()
    seen["filled"] = [[row.month, row.ordering, row["count"]] for row in kept]
    seen["filled_twice"] = lake.read(MONTHLY).groupBy("symbol", "number").count().filter("count > 1").count()
    return seen


def compacted(lake: Lakehouse) -> dict[str, object]:
    """How many files are merged of an hour that is over and of the one that is open, and again after a late row."""
    lake.create(HOURLY)
    now = datetime(2026, 11, 21, 13, 5, tzinfo=UTC)

    def write(hour: str, ordering: int) -> None:
        columns = "symbol string, number bigint, ordering bigint, date string, hour string"
        rows = [("BTCUSDT", 1, ordering, "2026-11-21", hour)]
        lake.write(HOURLY, lake.spark.createDataFrame(rows, columns), {})

    for ordering in (1, 2):
        for hour in ("12", "13"):
            write(hour, ordering)
    files = [lake.compact(HOURLY, now), lake.compact(HOURLY, now)]
    write("12", 3)
    files.append(lake.compact(HOURLY, now))
    write("14", 4)  # Hudi looks for work only where something was written since it last did some
    files.append(lake.compact(HOURLY, now + timedelta(hours=1), everywhere=True))
    rows = sorted((row.hour, row.ordering) for row in lake.read(HOURLY).collect())
    return {"hourly_files": files, "hourly_rows": rows}


def repeated(lake: Lakehouse) -> dict[str, object]:
    """What stays of keys that come several times in one write: to new files, to log files, and to base files."""
    table = replace(TABLE, name="repeated_probe")
    lake.create(table)

    def write(*rows: tuple[int, int], is_unique: bool = False) -> None:
        columns = "symbol string, number bigint, ordering bigint"
        frame = lake.spark.createDataFrame([("BTCUSDT", *row) for row in rows], columns)
        lake.write(table, frame.repartition(2, "ordering"), {}, is_unique=is_unique)

    def read() -> list[tuple[int, int]]:
        return sorted((row.number, row.ordering) for row in lake.read(table).collect())

    write((1, 1), (1, 3), (1, 2), (2, 5), (2, 4), (3, 1))
    seen: dict[str, object] = {"repeated_in_new_files": read()}
    mark = lake.changes(table, BEGINNING).until
    write((1, 4), (1, 2), (2, 1), (2, 2), (3, 1), (3, 1), (4, 2), (4, 1))
    write((2, 3), (4, 3), is_unique=True)
    seen["repeated_in_log_files"] = read()
    rows = lake.changes(table, mark).rows.collect()
    seen["repeated_and_followed"] = sorted((row.number, row.ordering) for row in rows)
    lake.compact(table, datetime.now(UTC), everywhere=True, log_bytes=1)
    seen["repeated_and_merged"] = read()
    write((1, 5), (1, 6), (5, 2), (5, 1))
    seen["repeated_over_base_files"] = read()
    lake.compact(table, datetime.now(UTC), everywhere=True, log_bytes=1)
    seen["repeated_and_merged_again"] = read()
    return seen


def known(lake: Lakehouse) -> dict[str, object]:
    """What becomes of rows of this process, of all kinds of columns, that are written and kept for who follows."""
    lake.create(KNOWN)
    schema, at = arrow_schema(KNOWN), datetime(2026, 11, 30, 6, 0, 0, 1, tzinfo=UTC)

    def rows(*numbers: int, price: str) -> pa.Table:
        parts = [
            [
                {
                    "symbol": "币安USDT",
                    "number": number,
                    "at": at,
                    "price": Decimal(price),
                    "levels": [{"price": Decimal(1)}],
                }
            ]
            for number in numbers
        ]
        # An empty piece comes before them: the server takes it for the end.
        pieces = [schema.empty_table(), *(pa.Table.from_pylist(part, schema) for part in parts), schema.empty_table()]
        return pa.concat_tables(pieces)

    def sorted_by_number(table: pa.Table) -> pa.Table:
        return table.sort_by("number").combine_chunks()

    with tempfile.TemporaryDirectory() as folder:
        keeping = replace(lake, kept=Written(Path(folder)))
        keeping.write_known(KNOWN, rows(1, 2, 3, price="0.000000000000000001"), {"place": "first"})
        mark = lake.changes(KNOWN, BEGINNING).until
        keeping.write_known(KNOWN, rows(2, price="2"), {"place": "second"})
        keeping.write_known(KNOWN, rows(3, 4, price="3"), {"place": "third"})
        lies = lake.collected(KNOWN, lake.read(KNOWN), 9)
        followed = [one.collected(KNOWN, one.changes(KNOWN, mark).rows, 9) for one in (lake, keeping)]
        files = len(list(Path(folder).rglob("*.arrow")))
        lake.write(KNOWN, lake.local(KNOWN, rows(5, price="5")), {"place": "by another"})
        seen = keeping.collected(KNOWN, keeping.changes(KNOWN, mark).rows, 9)
    return {
        "known_rows": [
            [row["number"], f"{row['price']:f}", row["at"].isoformat()] for row in lies.sort_by("number").to_pylist()
        ],
        "known_is_followed_the_same": sorted_by_number(followed[0]) == sorted_by_number(followed[1]),
        "known_and_followed": sorted(followed[1]["number"].to_pylist()),
        "known_files": files,
        "known_with_a_commit_of_another": sorted(seen["number"].to_pylist()),
    }


def main() -> None:
    """Write, follow, compact and widen a table, and print what was seen."""
    config = settings()
    spark = SparkSession.builder.remote(config.spark_connect_url).getOrCreate()
    lake = Lakehouse(spark, config, config.lake_buckets)
    lake.create(TABLE)
    seen: dict[str, object] = {"note_of_an_unwritten_table": lake.note(TABLE, "place")}

    def write(numbers: range, ordering: int, place: str) -> None:
        rows = [("BTCUSDT", number, ordering) for number in numbers]
        frame = lake.spark.createDataFrame(rows, "symbol string, number bigint, ordering bigint")
        lake.write(TABLE, frame, {"place": place})

    def numbers(since: str) -> list[int]:
        return sorted(row.number for row in lake.changes(TABLE, since).rows.collect())

    write(range(10), 2, "first")
    mark = lake.changes(TABLE, BEGINNING).until
    write(range(5, 15), 1, "second")
    write(range(20, 22), 1, "third")
    seen["followed"] = numbers(mark)
    seen["files_compacted"] = lake.compact(TABLE, datetime.now(UTC), log_files=1)
    seen["followed_across_a_compaction"] = numbers(mark)
    seen["note_across_a_compaction"] = lake.note(TABLE, "place")
    seen["rows"] = sorted((row.number, row.ordering) for row in lake.read(TABLE).collect())
    write(range(0), 1, "empty")
    seen["note_of_an_empty_commit"] = lake.note(TABLE, "place")
    until = lake.changes(TABLE, BEGINNING).until
    seen["nothing_new"] = numbers(until)

    with lake.pinned(lake.read(TABLE)) as pinned:
        before = pinned.count()
        write(range(100, 103), 1, "more")
        seen["pinned_rows_stay"] = before == pinned.count()
    seen["files_compacted_for_nothing"] = lake.compact(TABLE, datetime.now(UTC), everywhere=True)
    seen["files_compacted_for_their_bytes"] = lake.compact(TABLE, datetime.now(UTC), everywhere=True, log_bytes=1)
    try:
        lake.create(replace(TABLE, buckets=4))
    except NeedsUpgradeError as error:
        seen["other_buckets"] = str(error)
    lake.create(NEWER)
    lake.write(NEWER, lake.no_rows(NEWER), {})
    with patch.object(lakehouse, "is_newer", lambda version: version == lakehouse.VERSION):  # this code is older
        try:
            lake.create(NEWER)
        except NewerLakeError as error:
            seen["newer"] = str(error)
    seen["files_removed"] = lake.clean(TABLE)
    seen["rows_after_cleaning"] = lake.read(TABLE).count()
    wider = replace(TABLE, columns=(TABLE.columns[0], Column("added", "double", "a later thought"), *TABLE.columns[1:]))
    spark.sql(f"DROP TABLE {TABLE.full_name}")  # its name alone, as on a server that was started anew
    lake.create(wider)
    seen["rows_by_its_name"] = spark.table(TABLE.full_name).count()
    seen["added_column"] = sorted({row.added for row in lake.read(wider).collect()}, key=str)
    kept = lake.spark.createDataFrame(
        [("BTCUSDT", 1.0, 500, 2), ("BTCUSDT", 1.0, 501, 2)],
        "symbol string, added double, number bigint, ordering bigint",
    )
    lake.write(wider, kept, {"place": "wider"})
    lake.create(TABLE)
    write(range(501, 503), 3, "narrower")
    seen["given_up_column"] = {row.number: row.added for row in lake.read(wider).filter("number >= 500").collect()}
    seen["rows_after_giving_up_a_column"] = sorted(numbers(BEGINNING))[-3:]
    seen |= filled(lake)
    seen |= compacted(lake)
    seen |= repeated(lake)
    seen |= known(lake)
    lake.compact(wider, datetime.now(UTC), everywhere=True, log_bytes=1)
    lake.write(wider, lake.read(wider).limit(0), {})
    seen["note_after_an_import_after_a_compaction"] = lake.note(wider, "place")
    unwritten = replace(TABLE, name="unwritten_probe")
    lake.create(unwritten)
    lake.create(replace(unwritten, columns=wider.columns))
    seen["note_of_an_unwritten_wider_table"] = lake.note(unwritten, "place")
    with lake.pinned(lake.read(wider)), lake.loaded() as as_it_is:
        as_it_is.read(wider)
        held = views(lake)
        lake.end_leftovers()
        seen["held_before_and_after"] = [held, views(lake)]
    print(json.dumps(seen, default=lambda number: number.item()))  # counts come as numpy's


if __name__ == "__main__":
    main()
