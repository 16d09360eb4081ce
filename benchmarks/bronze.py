"""How quickly bronze takes in what is in Kafka, and whether it stays so over a day of minutes.

    python benchmarks/bronze.py [--rows 20000] [--runs 5] [--batches 300] [--rows-a-batch 2000]

It runs on a deployment that may be thrown away, with `streaming` and the sensor `every_minute` stopped: its rows go
into the bronze tables, by a Kafka topic of its own. First `--runs` batches of `--rows` mixed messages (trades, tickers,
books and klines of 20 symbols) are timed. Then comes a day on a shortened clock: `--batches` minutes, one after the
other, with the maintenance after each fifteen of them, and what each cost: seconds to write, seconds to read the minute
back, files, and the connections to the object store that are open. It ends with 1 where a later minute cost more than
1.3 times the tenth to write, or those of a later hour more than 1.3 times those of the first to read. (A read merges
what was written in its hour since the last maintenance: it costs more in an hour's last minute than in its tenth.)
"""

import argparse
import os
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import boto3
import msgspec
import psutil
from botocore.config import Config
from kafka import KafkaAdminClient, KafkaProducer
from pyspark.sql import SparkSession
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline import catalog
from crypto_pipeline.bronze import trades
from crypto_pipeline.ingest import Ingested, ingest, sources
from crypto_pipeline.lakehouse import Lakehouse
from crypto_pipeline.spark import session_url
from shared.events import AnyEvent, DepthSnapshot, Kline, Ticker, Trade, encode, exact_product
from shared.settings import settings

SYMBOLS = [f"BENCH{number}USDT" for number in range(20)]
MINUTE = timedelta(minutes=1)
MAINTAINED_EVERY = 15
BOUND = 1.3
"""A later minute may cost so many times the tenth."""


class Cost(NamedTuple):
    """Of one minute."""

    write: float
    cpu: float
    """Seconds of all cores, which the machine's load does not alter."""
    read: float
    files: int
    connections: int


def decimals(event: type[msgspec.Struct]) -> list[str]:
    """The fields of an event that are decimals."""
    return [field.name for field in msgspec.structs.fields(event) if field.type is Decimal]


def events(count: int, minute: datetime, first_id: int) -> Iterator[AnyEvent]:
    """Mixed events of a minute: 11 trades to 4 tickers, 4 books and a kline."""
    start = int(minute.timestamp()) * 1_000_000
    for number in range(count):
        symbol = SYMBOLS[number % len(SYMBOLS)]
        at = start + number * 60_000_000 // count
        price, size = Decimal(63_000) + Decimal(number % 997) / 100, Decimal(1 + number % 77) / 10_000
        common: dict[str, Any] = {
            "exchange": "binance",
            "symbol": symbol,
            "base_asset": symbol.removesuffix("USDT"),
            "quote_asset": "USDT",
            "published_at": at + 500,
            "received_at": at + 1500,
            "source": "websocket",
            "connection_id": "bench",
        }
        ids = {"first_trade_id": 1, "last_trade_id": first_id + number, "trade_count": first_id + number}
        kind = number // len(SYMBOLS) % 20
        if kind < 11:
            yield Trade(
                **common,
                event_time=at,
                trade_id=first_id + number,
                price=price,
                quantity=size,
                quote_quantity=exact_product(price, size),
                is_buyer_maker=number % 2 == 0,
            )
        elif kind < 15:
            range_of_day = {"low_price": Decimal(60_000), "high_price": Decimal(70_000)}
            values = dict.fromkeys(decimals(Ticker), price) | range_of_day | {"ask_price": price + 1}
            day = {"open_time": at - 86_400_000_000, "close_time": at}
            yield Ticker(**common, event_time=at, **values, **day, **ids)  # type: ignore[arg-type]
        elif kind < 19:
            bids, asks = (tuple((price + side * level, size) for level in range(1, 6)) for side in (-1, 1))
            update = first_id + number
            yield DepthSnapshot(**common, event_time=None, update_id=update, levels=5, bids=bids, asks=asks)
        else:
            span = {"open_time": start, "close_time": start + 59_999_999, "interval": "1m", "is_closed": False}
            values = dict.fromkeys(decimals(Kline), price)
            yield Kline(**common, event_time=at, **values, **span, **ids)  # type: ignore[arg-type]


class Bench:
    """A lakehouse, a topic of its own, and a clock of its own."""

    def __init__(self) -> None:
        self._config = settings()
        self.lake = Lakehouse(
            SparkSession.builder.remote(session_url(self._config.spark_connect_url, "bench")).getOrCreate(),
            self._config,
            self._config.lake_buckets,
        )
        self._topic = f"bench_bronze_{os.getpid()}"
        with closing(KafkaAdminClient(bootstrap_servers=self._config.kafka)) as admin:
            one = {"num_partitions": 1, "replication_factor": 1}
            admin.create_topics({self._topic: one}, wait_for_metadata=True)
        self._producer = KafkaProducer(bootstrap_servers=self._config.kafka, linger_ms=20)
        self._next_id = time.time_ns()
        self._spark: list[psutil.Process] = []
        self._s3 = boto3.client(
            "s3",
            endpoint_url=self._config.s3_url,
            region_name=self._config.s3_region,
            aws_access_key_id=self._config.s3_access_key,
            aws_secret_access_key=self._config.s3_secret_key.get_secret_value(),
            config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
        )

    def batch(self, count: int, minute: datetime) -> tuple[float, float]:
        """Seconds, and Spark's CPU seconds, from messages in Kafka to rows in the tables."""
        for event in events(count, minute, self._next_id):
            self._producer.send(self._topic, encode(event), key=event.symbol.encode())
        self._producer.flush()
        self._next_id += count
        began, used = time.monotonic(), self._cpu()
        done = self.bring()
        seconds, used = time.monotonic() - began, self._cpu() - used
        taken = sum(one.rows for one in done.values())
        if taken != count:
            raise SystemExit(f"{taken} rows came of {count}: {done}")
        return seconds, used

    def bring(self) -> dict[str, Ingested]:
        """What the topic holds, and what the streaming service left in those that are not of symbols."""
        return ingest(self.lake, sources(), self._config.broker, self._topic)

    def read(self, minute: datetime) -> float:
        """Seconds to read a minute of trades back."""
        began = time.monotonic()
        in_minute = (F.col("event_time") >= F.lit(minute)) & (F.col("event_time") < F.lit(minute + MINUTE))
        self.lake.read(trades.TABLE, [minute]).filter(in_minute).agg(F.sum("quote_quantity")).collect()
        return time.monotonic() - began

    def maintain(self, now: datetime) -> float:
        """Seconds of a maintenance of all bronze tables, as the Dagster job does it."""
        began = time.monotonic()
        for table in catalog.tables("bronze").values():
            self.lake.compact(table, now)
            self.lake.clean(table)
        return time.monotonic() - began

    def files(self) -> int:
        """How many objects lie under bronze."""
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._config.bucket, Prefix="bronze/")
        return sum(page["KeyCount"] for page in pages)

    def connections(self) -> Counter[str]:
        """The connections of Spark's processes to the object store, by state."""
        return sum((self._to_store(process) for process in self._spark), Counter())

    def find_spark(self) -> None:
        """Remember the driver and the executor: the Java processes that are connected to the object store."""
        found = [process for process in psutil.process_iter(["name"]) if process.info["name"] == "java"]
        self._spark = [process for process in found if self._to_store(process)]

    def _to_store(self, process: psutil.Process) -> Counter[str]:
        port = urlsplit(self._config.s3_url).port
        return Counter(c.status for c in process.net_connections("tcp") if c.raddr and c.raddr.port == port)

    def _cpu(self) -> float:
        return sum(times.user + times.system for times in (process.cpu_times() for process in self._spark))


def median(costs: list[Cost], around: int) -> Cost:
    """The median of the five minutes around one; of reads that of its hour."""
    near = costs[max(around - 3, 0) : around + 2]
    middle = Cost(*(statistics.median(values) for values in zip(*near, strict=True)))  # type: ignore[arg-type]
    hour = (around - 1) // 60 * 60
    return middle._replace(read=statistics.median(cost.read for cost in costs[hour : hour + 60]))


def main() -> None:
    """Measure, and print what was found."""
    parser = argparse.ArgumentParser(description="What bronze costs, and whether it stays so.")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--batches", type=int, default=0)
    parser.add_argument("--rows-a-batch", type=int, default=2_000)
    asked = parser.parse_args()
    bench = Bench()
    minute = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=2)
    bench.bring()
    bench.batch(400, minute)  # of every kind
    bench.find_spark()
    times = [bench.batch(asked.rows, minute + n * MINUTE) for n in range(1, asked.runs + 1)]
    if times:
        wall, cpu = (statistics.median(values) for values in zip(*times, strict=True))
        print(f"{asked.rows} mixed rows from Kafka: median {wall:.2f} s, {cpu:.2f} s of CPU, of {len(times)} runs")
    minute += timedelta(hours=1)
    costs: list[Cost] = []
    maintenance: list[float] = []
    for number in range(1, asked.batches + 1):
        minute += MINUTE
        write, cpu = bench.batch(asked.rows_a_batch, minute)
        read = bench.read(minute)
        open_now = bench.connections()
        costs.append(Cost(write, cpu, read, bench.files(), sum(open_now.values())))
        if number % 10 == 0:
            now = costs[-1]
            print(
                f"{number:4}: write {write:.2f} s, read {read:.2f} s, {now.files} files, {dict(open_now)}", flush=True
            )
        if number % MAINTAINED_EVERY == 0:
            maintenance.append(bench.maintain(minute))
            print(f"      maintenance {maintenance[-1]:.1f} s", flush=True)
    grew = False
    for number in (10, 100, 200, 300):
        if number <= len(costs):
            cost, tenth = median(costs, number), median(costs, 10)
            ratios = [getattr(cost, name) / getattr(tenth, name) for name in ("write", "cpu", "read")]
            grew = grew or max(ratios[0], ratios[2]) > BOUND
            print(
                f"around the {number}th: write {cost.write:.2f} s ({ratios[0]:.2f} of the 10th; CPU {ratios[1]:.2f}), "
                f"read {cost.read:.2f} s ({ratios[2]:.2f}), {cost.files:.0f} files, "
                f"{cost.connections:.0f} connections to the object store"
            )
    print(f"load of the machine: {os.getloadavg()[0]:.1f}")
    if grew:
        raise SystemExit(f"a later minute cost more than {BOUND} times the tenth")


if __name__ == "__main__":
    main()
