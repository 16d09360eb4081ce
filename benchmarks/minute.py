"""What a minute costs the warm Spark server, from Kafka to signals, with nothing beside it.

    python -m benchmarks.minute               # 20 symbols after two days of candles
    python -m benchmarks.minute --days 30     # after a month of them

It starts a Kafka, a MinIO, and Spark's master, worker and Connect server with their deployment's memory. The history
comes as closed klines, many at once, as an import brings it, and maintenance goes over it once, which it does each
quarter of an hour. Then each table that a minute writes gets as many commits as its timeline keeps, and minutes come
one by one, in order, as the pipeline takes them in.

"Spark" is the time in which at least one of its jobs was at work, as its UI has it; the rest is planning, what Hudi
does in the driver, and the object store. The medians are of the second half of the minutes: the first warm the JVMs.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Annotated

import typer

from benchmarks.month import BASES, DAY, MINUTE, Market, Month, say, told
from benchmarks.pipeline import covered, cpu_seconds, jobs, moment
from benchmarks.spark_servers import connected, settings_of
from crypto_pipeline.catalog import tables
from crypto_pipeline.ingest import sources
from crypto_pipeline.lakehouse import Lakehouse
from shared.tables import BUCKETS
from tests.servers import KafkaServer, MinioServer

MORE = ("ADA", "DOGE", "TRX", "LINK", "AVAX", "XLM", "LTC", "DOT", "UNI", "ATOM", "ETC", "FIL", "APT", "NEAR", "ARB")
STEP = 288_000
"""Klines that come at once: ten days of twenty symbols."""


def lengthened(lake: Lakehouse, modules: Sequence[ModuleType], commits: int) -> None:
    """The tables of these modules have so many commits more, which bring no rows."""

    def lengthen(module: ModuleType) -> None:
        table = module.TABLE
        notes = lake.notes(table, BUCKETS)
        for _ in range(commits if notes else 0):
            lake.write(table, lake.no_rows(table), notes.values if notes else {}, is_unique=True)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lengthen, modules))


def main(
    symbols: Annotated[int, typer.Option(max=len(BASES) + len(MORE))] = 20,
    days: Annotated[int, typer.Option(help="Of candles that are there before.")] = 2,
    minutes: Annotated[int, typer.Option(help="That come one by one.", min=2)] = 10,
    trades: Annotated[int, typer.Option(help="Of a minute of a symbol.")] = 60,
    commits: Annotated[int, typer.Option(help="That the timelines get before.")] = 60,
) -> None:
    """Time it, and print a line a minute."""
    bases = [*BASES, *MORE][:symbols]
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    start = now - days * DAY - minutes * MINUTE
    with tempfile.TemporaryDirectory() as name, ExitStack() as ends:
        place = Path(name)
        kafka, minio = KafkaServer(place / "kafka"), MinioServer(place / "minio")
        for one in (kafka, minio):
            one.start()
            ends.callback(one.stop)
        os.environ["CRYPTO_HOME"] = name  # noqa: TID251 (settings know their folder from nowhere else)
        lake, config = ends.enter_context(connected(place, settings_of(minio, kafka)))
        say("Spark is there")
        month = Month(lake, minio, config.retention_file, kafka.settings.broker, Market(bases, start, days, trades))
        reached = 0
        while reached < days * 1440:
            count = min(STEP // symbols, days * 1440 - reached)
            month.klines_came(bases, reached, count)
            reached += count
            seconds = month.minute(start + reached * MINUTE)
            say(f"{reached / 1440:.1f} days: {sum(seconds.values()):.0f} s")
        for table in tables().values():
            lake.compact(table, now)
            lake.clean(table)
        lengthened(lake, [*sources(), *month.each_minute], commits)
        say("the timelines are as long as an hour's")
        walls, works = [], []
        for number in range(reached, reached + minutes):
            month.came(bases, number, 1, start)
            began, used = time.time(), cpu_seconds()
            seconds = month.minute(start + (number + 1) * MINUTE + timedelta(seconds=5))
            walls.append(sum(seconds.values()))
            mine = [one for one in jobs(config.spark_ui_port) if moment(one["submissionTime"]) >= began]
            works.append(covered(mine))
            cpu = ", ".join(f"{one} {after - used[one]:.1f} s" for one, after in cpu_seconds().items())
            say(f"{walls[-1]:.1f} s, Spark {works[-1]:.1f} s, CPU of {cpu}: {told(seconds)}")
    half = minutes // 2
    typer.echo(
        f"{symbols} symbols after {days} days: a minute {statistics.median(walls[half:]):.1f} s, "
        f"of which Spark was at work for {statistics.median(works[half:]):.1f} s; "
        f"load {os.getloadavg()[0]:.1f}"
    )


if __name__ == "__main__":
    typer.run(main)
