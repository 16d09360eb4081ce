"""What test_late_data.py runs in a process of its own: Spark Connect and Spark itself cannot share one.

Bronze of one symbol, the silver that follows it, and a late trade, in tables beside the deployed ones, where nothing is
streamed: so a commit's own statistics tell what was written for that trade.
"""

import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from pyspark.sql import SparkSession

from crypto_pipeline.bronze import klines, trades
from crypto_pipeline.lakehouse import Lakehouse
from crypto_pipeline.reader import open_table
from crypto_pipeline.refresh import refresh
from crypto_pipeline.silver import indicators, ohlcv, ohlcv_1m, quiet_intervals
from shared.events import Trade, encode
from shared.settings import settings
from shared.tables import Table
from tests.crypto_pipeline.conftest import MESSAGE_COLUMNS, MINUTE, trade

BESIDE = "late_"
"""Before the name of a layer."""
SILVER = (ohlcv_1m, quiet_intervals, ohlcv, indicators)
BEGAN = int(time.time()) // 86_400 * 86_400_000_000 - 4 * 86_400_000_000
"""The midnight that began the day four days ago."""
MINUTES = 150
"""In each of them a trade, of the first day; two days later there are as many. All are behind a hole in the ids."""


class Beside(Lakehouse):
    """The same tables in folders beside."""

    def path(self, table: Table) -> str:
        return f"s3a://{self.bucket}/{BESIDE}{table.folder}"


def written(table: Table) -> int:
    """The rows of the table's last commit, by its own statistics."""
    timeline = open_table(beside(table), settings())._hudi.get_timeline()
    metadata = json.loads(timeline.get_instant_metadata_in_json(timeline.get_completed_deltacommits(desc=True)[0]))
    stats = metadata["partitionToWriteStats"] or {}
    return sum(int(one["numWrites"]) for files in stats.values() for one in files)


def beside(table: Table) -> Table:
    return replace(table, layer=f"{BESIDE}{table.layer}")


def main() -> None:
    """Follow some trades, then one that comes days late, and print the rows of each table's commits."""
    config = settings()
    spark = SparkSession.builder.remote(config.spark_connect_url).getOrCreate()
    plain = Lakehouse(spark, config.bucket, config.lake_buckets)
    lake = Beside(spark, config.bucket, config.lake_buckets)
    for layer in ("bronze", "silver"):
        plain.create_database(f"{BESIDE}{layer}")
    for module in (trades, klines, *SILVER):
        plain.create(beside(module.TABLE))

    def come(*tape: Trade) -> None:
        rows = [
            (encode(one).decode(), "trade", "late", 0, number, datetime.now(UTC)) for number, one in enumerate(tape)
        ]
        made = trades.build(spark.createDataFrame(rows, MESSAGE_COLUMNS))
        lake.write(trades.TABLE, made.select(*trades.TABLE.column_names), {})

    def follow() -> dict[str, int]:
        now = datetime.now(UTC) + timedelta(seconds=1)
        wrote = {}
        for module in SILVER:
            assert refresh(lake, module, now).is_sound
            wrote[module.TABLE.full_name] = written(module.TABLE)
        return wrote

    starts = [BEGAN + day * 2 * 1440 * MINUTE + minute * MINUTE for day in (0, 1) for minute in range(MINUTES)]
    come(*(trade(2 * number, at, "2", "1") for number, at in enumerate(starts, start=1)))
    first = follow()
    again = follow()
    late = starts[MINUTES - 10]
    come(trade(2 * (MINUTES - 9) + 1, late + 1, "9", "1", source="rest", received_at=None))
    seen = {"first": first, "nothing new": again, "late": follow()}
    lake.end_leftovers()
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
