"""A month of a small market on a shortened clock: does the lake stay as large, as tidy and as quick as was foretold?

    python -m benchmarks.month              # 30 days, about a quarter of an hour on a quiet machine
    python -m benchmarks.month --days 12

It starts a MinIO of its own, and Spark with Hudi's jars in this process, set as the Connect server is. Each day's
trades, books and klines come in one write, and go on to candles, indicators, completeness, minutes of books and the
market overview. On the first, middle and last three days some more minutes come one by one, and are timed. Every third
day the lake is maintained as it is each hour: merged, cleaned, sorted; and retention is applied, by which books go
after ten days. A day has some four writes here, not 1440: so cleaning keeps the files of four, and the timeline eight
to ten.

When two thirds are over `crypto du`'s own reckoning says what the lake will hold at the end. It ends with 1 where that
is wrong by more than 10 %, where a partition has more files at the end than in the middle, or where a minute costs more
than 1.3 times what it did in the middle. (At the beginning the JVM is cold, and a window of a week is not full.)
"""

import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Annotated, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer

from benchmarks.export import decimals, filled, named, times
from benchmarks.gold import klines_of
from crypto_pipeline import lakehouse, refresh, usage
from crypto_pipeline.bronze import depth, expired, klines, trades
from crypto_pipeline.catalog import derived, tables
from crypto_pipeline.lakehouse import Lakehouse, hours_between
from crypto_pipeline.retention.apply import Retention
from crypto_pipeline.sorting import sort_closed
from shared.retention import load_rules
from shared.settings import Settings
from shared.tables import Table
from tests.crypto_pipeline.retention.real_lake import spark_on
from tests.servers import MinioServer

BASES = ("BTC", "ETH", "SOL")
MADE = ("ohlcv_1m", "ohlcv", "indicators", "completeness", "order_book_1m", "market_overview")
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
MINUTES = 3
"""So many come one by one, at the end of a day."""
TRADES_A_MINUTE = 3
BOUND, ERROR = 1.3, 0.1
RULES = """
kafka: {keep: 48h, megabytes: 128}
raw: {keep: 30d, tiers: {}}
bronze: {trade: forever, kline_1m: forever, ticker: forever, depth5: 10d}
dagster: {runs: 14d}
"""


class Day(NamedTuple):
    """How the lake was in the end of a day."""

    number: int
    bytes: int
    files: float
    """For each partition."""
    minute: float
    """Seconds of the quickest minute; 0 where none was timed."""


def placed(at: np.ndarray) -> dict[str, pa.Array]:
    """The partition of each moment."""
    hours = at.astype("datetime64[us]").astype("datetime64[h]").astype(str)
    return {"date": pa.array([hour[:10] for hour in hours]), "hour": pa.array([hour[11:13] for hour in hours])}


def received(at: np.ndarray) -> dict[str, object]:
    """What says where and when a row came from."""
    came = {"received_at": times(at + 40_000), "ingested_at": times(at + 5_000_000)}
    return {**came, "source": "websocket", "connection_id": "binance-1"}


def trades_of(first: datetime, minutes: int) -> pa.Table:
    """Some trades of each symbol in each minute."""
    count = minutes * TRADES_A_MINUTE
    at = int(first.timestamp()) * 1_000_000 + np.arange(count) * (60_000_000 // TRADES_A_MINUTE)
    random = np.random.default_rng(int(first.timestamp()))
    pieces = []
    for base in BASES:
        price, quantity = random.integers(6_000_000, 7_000_000, count), random.integers(1, 90_000, count)
        columns = {
            **named(base), **received(at), **placed(at), "event_time": times(at), "published_at": times(at + 900),
            "ordering": 1, "trade_id": pa.array(at // 20_000_000), "is_buyer_maker": pa.array(at % 2 == 0),
            "price": decimals(price, 2), "quantity": decimals(quantity, 5),
            "quote_quantity": decimals(price * quantity, 7),
        }  # fmt: skip
        pieces.append(filled(trades.TABLE, count, columns))
    return pa.concat_tables(pieces)


def books_of(first: datetime, minutes: int) -> pa.Table:
    """A snapshot of each symbol's book in each minute."""
    at = int(first.timestamp()) * 1_000_000 + np.arange(minutes) * 60_000_000
    random = np.random.default_rng(int(first.timestamp()))
    pieces = []
    for base in BASES:
        sides = {}
        for name, sign in (("bids", -1), ("asks", 1)):
            prices = np.repeat(random.integers(6_000_000, 7_000_000, minutes), 5) + sign * np.tile(
                np.arange(1, 6), minutes
            )
            if name == "asks":
                prices += 2_000_000
            levels = pa.StructArray.from_arrays(
                [decimals(prices, 2), decimals(random.integers(1, 90_000, minutes * 5), 5)], ["price", "quantity"]
            )
            sides[name] = pa.ListArray.from_arrays(np.arange(0, minutes * 5 + 1, 5, dtype=np.int32), levels)
        columns = {
            **named(base), **received(at), **placed(at), **sides, "update_id": pa.array(at // 1000), "levels": 5,
            "ordering": 3,
        }  # fmt: skip
        pieces.append(filled(depth.TABLE, minutes, columns))
    return pa.concat_tables(pieces)


class Market:
    """A lake, what comes into it, and a clock of its own."""

    def __init__(self, server: MinioServer, folder: Path) -> None:
        rules = folder / "retention.yaml"
        rules.write_text(RULES)
        self._settings: Settings = server.settings.model_copy(update={"retention_file": rules})
        self._lake = Lakehouse(spark_on(server), server.settings.bucket, 1)
        self._folder = folder
        for table in tables().values():
            self._lake.create_database(table.layer)
            self._lake.create(table)
        self._modules = [module for module in derived() if module.TABLE.name in MADE]
        self._used = [*(one.TABLE for one in (trades, depth, klines, expired)), *(one.TABLE for one in self._modules)]

    def came(self, first: datetime, minutes: int) -> float:
        """So many minutes are in bronze, and in all that is made of it; gives the seconds."""
        began = time.monotonic()
        seed = int(first.timestamp()) // 60
        self._written(trades.TABLE, trades_of(first, minutes))
        self._written(depth.TABLE, books_of(first, minutes))
        self._written(klines.TABLE, klines_of(list(BASES), first, minutes, seed, "websocket"))
        now = first + minutes * MINUTE + timedelta(seconds=5)
        for module in self._modules:
            self._made(module, now)
        return time.monotonic() - began

    def _written(self, table: Table, rows: pa.Table) -> None:
        file = self._folder / f"{time.time_ns()}.parquet"
        pq.write_table(rows, file)
        frame = self._lake.spark.read.parquet(str(file)).select(*table.column_names)
        self._lake.write(table, frame, {"offsets": "{}"}, is_unique=True)
        file.unlink()

    def _made(self, module: ModuleType, now: datetime) -> None:
        done = refresh.refresh(self._lake, module, now)
        if not done.is_sound:
            raise SystemExit(f"{module.TABLE.full_name}: {done}")

    def maintained(self, now: datetime) -> None:
        """As the job of that name does it each hour, and the one of retention each night."""
        mine = Retention(self._settings, self._lake, load_rules(self._settings))
        mine.apply(mine.decision(now), now, lambda _line: None)
        for table in self._used:
            self._lake.compact(table, now, everywhere=True)
            self._lake.clean(table)
            sort_closed(table, self._settings, now)

    def usage(self, now: datetime) -> usage.Usage:
        """As `crypto du` sees it."""
        return usage.collect(self._settings, now=now)


def files_a_partition(folders: Iterable[usage.Folder]) -> float:
    """How many files with rows a partition has, of all that lie by time."""
    counts = Counter(
        (folder.name, one.path.rpartition("/")[0])
        for folder in folders
        for one in folder.objects
        if usage.span_of(one.path) and (one.path.endswith(".parquet") or ".log." in one.path)
    )
    return sum(counts.values()) / len(counts)


def main(days: Annotated[int, typer.Option(min=9, help="That pass.")] = 30) -> None:
    """Print how the lake was day by day, and what was foretold."""
    # As much of Hudi's history as is kept of a minute's writes.
    lakehouse._FILES_OF_COMMITS, lakehouse._COMMITS_KEPT, lakehouse._COMMITS_AT_MOST = 4, 8, 10
    # Hudi's marks are of the machine's clock, and where open candles may lie is reckoned from them.
    refresh.recent = lambda _since, now: hours_between(now - DAY, now + DAY)
    first = (datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0) + timedelta(days=62)).replace(
        day=1
    )
    timed = {*range(3), *range(days // 2 - 1, days // 2 + 2), *range(days - 3, days)}
    told = days * 2 // 3 // 3 * 3
    foretold, found = 0.0, list[Day]()
    with tempfile.TemporaryDirectory() as place:
        server = MinioServer(Path(place) / "minio")
        server.start()
        try:
            market = Market(server, Path(place))
            for number in range(days):
                start = first + number * DAY
                minutes = MINUTES if number in timed else 0
                market.came(start, 1440 - minutes)
                seconds = [market.came(start + (1440 - left) * MINUTE, 1) for left in range(minutes, 0, -1)]
                now = start + DAY
                if (number + 1) % 3 == 0:
                    market.maintained(now)
                held = market.usage(now)
                size = sum(folder.bytes for folder in held.folders)
                found.append(Day(number + 1, size, files_a_partition(held.folders), min(seconds, default=0.0)))
                typer.echo(f"day {number + 1:>2}: {size / 1e6:7.1f} MB, {found[-1].files:5.2f} files a partition"
                           + (f", a minute {found[-1].minute:5.1f} s" if seconds else ""))  # fmt: skip
                if number + 1 == told:
                    left = days - told
                    grown = [folder.growth for folder in held.folders if folder.growth]
                    foretold = size + sum(
                        one.bytes_a_day * (left if one.for_days is None else min(left, one.for_days)) for one in grown
                    )
        finally:
            server.stop()
    sys.exit(judged(found, foretold, days, told))


def judged(found: list[Day], foretold: float, days: int, told: int) -> int:
    """Print how it ended, and give the exit status."""
    end = found[-1].bytes
    error = foretold / end - 1
    middle, last = ([day for day in found if day.minute][start : start + 3] for start in (3, 6))
    quick, quick_at_last = (statistics.median(day.minute for day in some) for some in (middle, last))
    files, files_at_last = (max(day.files for day in found[at : at + 3]) for at in (days // 2 - 1, days - 3))
    typer.echo(f"foretold on day {told}: {foretold / 1e6:.1f} MB, came {end / 1e6:.1f} MB: {error:+.1%}")
    typer.echo(
        f"a minute: {quick:.1f} s in the middle, {quick_at_last:.1f} s at the end: {quick_at_last / quick:.2f} times"
    )
    typer.echo(f"files a partition: at most {files:.2f} in the middle, {files_at_last:.2f} at the end")
    return int(abs(error) > ERROR or quick_at_last > BOUND * quick or files_at_last > files * 1.05)


if __name__ == "__main__":
    typer.run(main)
