"""What test_real_lake.py runs in a process of its own: Spark with Hudi's jars, on a real object store.

Prints what was seen of a lake of three days of books, with retention applied, killed and applied again.
"""

import json
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from crypto_pipeline import lakehouse
from crypto_pipeline.bronze import depth, expired
from crypto_pipeline.connect_server import spark_properties
from crypto_pipeline.expired import expired as record_of
from crypto_pipeline.lakehouse import BEGINNING, Lakehouse
from crypto_pipeline.reader import open_table
from crypto_pipeline.refresh import refresh
from crypto_pipeline.retention.apply import Retention
from crypto_pipeline.retention.decision import Decision, Unit
from crypto_pipeline.silver import completeness, order_book_1m
from crypto_pipeline.verify import rebuilt
from deployment import jars
from shared.retention import load_rules
from shared.tables import OFFSETS
from tests.crypto_pipeline.hudi_tables import put
from tests.servers import MinioServer

DAYS = [date(2026, 8, number) for number in (1, 2, 3)]
NOW = datetime(2026, 8, 4, 0, 30, tzinfo=UTC) + timedelta(days=89)
"""The first two days are old enough."""
OTHER = "raw/exchange=binance/symbol=_other/date=2026-08-01/hour=01/010000-0.jsonl.zst"
UNKNOWN = "raw/exchange=binance/symbol=BTCUSDT/date=2026-08-01/hour=01/010000-0.jsonl.zst"


def spark_on(server: MinioServer) -> SparkSession:
    """As the Connect server has it, in this process."""
    config = server.settings.model_copy(update={"spark_jars": jars.folder("spark")})
    wanted = dict(spark_properties(config)) | {
        "spark.master": "local[2]",
        "spark.driver.memory": "1792m",  # driver and executor are one
        "spark.ui.enabled": "false",
        "spark.sql.shuffle.partitions": "2",
    }
    builder: Any = SparkSession.builder
    for name, value in wanted.items():
        if value and "metrics" not in name and "connect.grpc" not in name:
            builder = builder.config(name, value)
    spark: SparkSession = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    return spark


def books(lake: Lakehouse, moments: Sequence[datetime]) -> None:
    """A snapshot of BTCUSDT's book at each of these moments."""
    side = [(Decimal(1), Decimal(2))]
    rows = [
        {
            "exchange": "binance", "symbol": "BTCUSDT", "base_asset": "BTC", "quote_asset": "USDT", "received_at": at,
            "source": "websocket", "connection_id": "a", "update_id": int(at.timestamp()), "levels": 5, "bids": side,
            "asks": [(Decimal(3), Decimal(1))], "ordering": 3, "date": f"{at:%Y-%m-%d}", "hour": f"{at:%H}",
        }
        for at in moments
    ]  # fmt: skip
    schema = ", ".join(f"`{column.name}` {column.type}" for column in depth.TABLE.columns)
    values = [tuple(row.get(name) for name in depth.TABLE.column_names) for row in rows]
    lake.write(depth.TABLE, lake.spark.createDataFrame(values, schema), {OFFSETS: "here"})


def seen_of(decision: Decision) -> dict[str, Any]:
    def named(unit: Unit) -> str:
        return " ".join(filter(None, (unit.what, unit.symbol, str(unit.day))))

    return {
        "goes": [named(unit) for unit in decision.goes],
        "stays": {named(unit): why for unit, why in decision.stays.items()},
    }


def is_there(server: MinioServer, key: str) -> bool:
    return server.keys(key) == [key]


def minutes(lake: Lakehouse) -> list[str]:
    return sorted(str(row.interval_start)[:16] for row in lake.read(order_book_1m.TABLE).collect())


def days_there(server: MinioServer) -> list[str]:
    return sorted({one["date"] for one in open_table(depth.TABLE, server.settings).partitions()})


def main(server: MinioServer) -> dict[str, Any]:
    """One life of a small lake."""
    lake = Lakehouse(spark_on(server), server.settings, 1)
    for table in (depth.TABLE, order_book_1m.TABLE, completeness.TABLE, expired.TABLE):
        lake.create_database(table.layer)
        lake.create(table)
    midnights = [datetime(day.year, day.month, day.day, tzinfo=UTC) for day in DAYS]
    # one holds into the next day, and one lies in its first hour
    books(lake, [one + timedelta(seconds=s) for one in midnights for s in (5, 3600, 86_399)])
    later = NOW - timedelta(days=2)
    refresh(lake, order_book_1m, later)
    mark = lake.changes(depth.TABLE, BEGINNING).until
    put(server, OTHER, b"frames")
    put(server, UNKNOWN, b"frames")
    mine = Retention(server.settings, lake, load_rules(server.settings))
    seen: dict[str, Any] = {"first_minutes": minutes(lake), "too_early": seen_of(mine.decision(later))}

    # what silver has not followed yet is not verified
    books(lake, [midnights[1] + timedelta(hours=7)])
    seen["not_followed"] = seen_of(mine.decision(NOW))
    refresh(lake, order_book_1m, later)

    whole = mine.decision(NOW)
    seen["whole"] = seen_of(whole)
    mine.record(whole, NOW)  # and is killed
    seen["recorded_and_not_removed"] = [days_there(server), is_there(server, OTHER), str(sorted(record(server)))]
    again = mine.decision(NOW)
    seen["after_the_kill"] = seen_of(again)
    mine.apply(again, NOW + timedelta(hours=1), lambda _line: None)
    seen["left"] = [days_there(server), is_there(server, OTHER), is_there(server, UNKNOWN)]
    seen["recorded_at"] = sorted({str(row.expired_at) for row in lake.read(expired.TABLE).collect()})
    seen["rows_recorded"] = lake.read(expired.TABLE).count()

    third = mine.decision(NOW)
    seen["nothing_more"] = seen_of(third)
    mine.apply(third, NOW, lambda _line: None)
    seen["note"] = lake.note(depth.TABLE, OFFSETS)
    followed = lake.changes(depth.TABLE, mark)
    seen["followed"] = sorted({row.date for row in followed.rows.collect()})
    refresh(lake, order_book_1m, later)
    seen["minutes_after"] = minutes(lake)

    # the day after one that is gone goes too, although its first hour can no more be made again
    seen["next_day"] = seen_of(mine.decision(NOW + timedelta(days=1)))
    hours = [midnights[2] + timedelta(hours=n) for n in range(24)]
    made = rebuilt.compared(lake, order_book_1m, hours, (), lambda: later, 5)
    seen["first_hour_made_again_differs"] = made.differing
    since = record_of(server.settings).since([depth.TABLE.full_name])
    seen["since"] = str(since)
    late = [hour for hour in hours if since and hour >= since]
    seen["from_then_on"] = rebuilt.compared(lake, order_book_1m, late, (), lambda: later, 5).differing

    lakehouse._FILES_OF_COMMITS = 1  # forty take half a minute
    for number in range(3):
        books(lake, [midnights[2] + timedelta(hours=20, seconds=number)])
    lake.clean(depth.TABLE)
    of_days = [name for name in server.keys("bronze/depth/date=2026-08-0") if "date=2026-08-03" not in name]
    seen["files_after_cleaning"] = [name for name in of_days if not name.endswith("/")]
    return seen


def record(server: MinioServer) -> set[str]:
    return {str(day) for day in record_of(server.settings).of_table(depth.TABLE.full_name)}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        store = MinioServer(Path(folder))
        store.start()
        try:
            print(json.dumps(main(store), default=str))
        finally:
            store.stop()
            sys.stdout.flush()
