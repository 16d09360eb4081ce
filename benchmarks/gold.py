"""What each table of gold costs: of all history at once, the same on the warm server, and of one minute more.

    python -m benchmarks.gold                          # 50 symbols, 30 days
    python -m benchmarks.gold --symbols 5 --days 3     # quick, to compare two states of the code

It starts a MinIO of its own, and Spark's master, worker and Connect server with their deployment's memory. Klines as an
archive has them go through bronze and all of silver; each table of gold but the models is then made by the pipeline's
own `refresh`: from nothing, once more from nothing, and after each of some minutes that came since, of which the median
is told. There are no books, tickers and single trades: a history has none.
"""

import os
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer

from benchmarks.export import decimals, filled, named, times
from benchmarks.spark_servers import connected, settings_of
from crypto_pipeline.bronze import klines
from crypto_pipeline.catalog import derived
from crypto_pipeline.lakehouse import Lakehouse
from crypto_pipeline.refresh import refresh
from tests.servers import MinioServer

KNOWN = {"BTC": 60_000, "ETH": 3_000, "SOL": 150, "XRP": 2, "BNB": 600}
"""Those of the portfolios in config/, and about what one costs: what cannot be paid for is refused in each run."""
OTHERS_COST = 100
NOISE = 4e-4
"""Standard deviation of a minute's log return, of the common part and of each symbol's own."""
MINUTE = timedelta(minutes=1)


def klines_of(bases: list[str], first: datetime, count: int, seed: int, source: str) -> pa.Table:
    """So many minutes of each symbol, whose returns have a common part."""
    random = np.random.default_rng(seed)
    at = int(first.timestamp()) * 1_000_000 + np.arange(count) * 60_000_000
    common = random.normal(0, NOISE, count)
    pieces = []
    for base in bases:
        steps = common + random.normal(0, NOISE, count)
        close = (KNOWN.get(base, OTHERS_COST) * 10_000 * np.exp(np.cumsum(steps))).round().astype(np.int64)
        spread = random.integers(1, 100, count)
        traded = random.integers(1, 3000, count)
        volume = random.integers(10, 9_000_000, count)
        ids = np.cumsum(traded) + seed * 10**9
        columns = {
            **named(base),
            "event_time": times(at + 60_000_000),
            "received_at": times(at + 60_100_000) if source == "websocket" else None,
            "ingested_at": times(at + 61_000_000),
            "source": source,
            "interval": "1m",
            "open_time": times(at),
            "close_time": times(at + 59_999_999),
            "open": decimals(close, 4),
            "high": decimals(close + spread, 4),
            "low": decimals(close - spread, 4),
            "close": decimals(close, 4),
            "volume": decimals(volume, 5),
            "quote_volume": decimals(volume * close, 9),
            "taker_buy_volume": decimals(volume // 2, 5),
            "taker_buy_quote_volume": decimals(volume // 2 * close, 9),
            "trade_count": pa.array(traded),
            "first_trade_id": pa.array(ids - traded),
            "last_trade_id": pa.array(ids - 1),
            "is_closed": True,
            "ordering": pa.array(10**18 + at),
            "month": pa.array(at.astype("datetime64[us]").astype("datetime64[M]").astype(str)),
        }
        pieces.append(filled(klines.TABLE, count, columns))
    return pa.concat_tables(pieces)


class Bench:
    """A lake, and the seconds that its tables took."""

    def __init__(self, lake: Lakehouse, folder: Path) -> None:
        self._lake = lake
        self._folder = folder

    def came(self, rows: pa.Table, *, into_empty: bool = False) -> None:
        """Klines lie in bronze."""
        file = self._folder / f"{time.time_ns()}.parquet"
        pq.write_table(rows, file)
        frame = self._lake.spark.read.parquet(str(file)).select(*klines.TABLE.column_names)
        self._lake.write(klines.TABLE, frame, {}, is_unique=True, into_empty=into_empty)
        if into_empty:
            self._lake.compact_after_bulk(klines.TABLE, rows.num_rows, datetime.now(UTC))
        file.unlink()

    def made(self, modules: list[ModuleType], now: datetime, *, from_scratch: bool = False) -> dict[str, float]:
        """Bring these tables up to date, and give the seconds of each."""
        taken = {}
        for module in modules:
            done = refresh(self._lake, module, now, from_scratch=from_scratch, memory=self._folder / "memory")
            if not done.is_sound:
                raise SystemExit(f"{module.TABLE.full_name}: {done}")
            taken[module.TABLE.full_name] = done.seconds
            sys.stderr.write(f"{module.TABLE.full_name:<32} {done.rows:>10,} rows {done.seconds:7.1f} s\n")
        return taken


def main(
    symbols: Annotated[int, typer.Option(help="With a kline each minute.")] = 50,
    days: Annotated[int, typer.Option(help="Of history.")] = 30,
    minutes: Annotated[int, typer.Option(help="That come one by one afterwards.", min=1)] = 6,
) -> None:
    """Print the seconds of each table."""
    bases = [*KNOWN, *(f"B{number:02}" for number in range(symbols))][:symbols]
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    with tempfile.TemporaryDirectory() as place, ExitStack() as ends:
        server = MinioServer(Path(place) / "minio")
        server.start()
        ends.callback(server.stop)
        os.environ["CRYPTO_HOME"] = place  # noqa: TID251 (settings know their folder from nowhere else)
        lake, _ = ends.enter_context(connected(Path(place), settings_of(server)))
        measured(Bench(lake, Path(place)), bases, now, days, minutes)


def measured(bench: Bench, bases: list[str], now: datetime, days: int, minutes: int) -> None:
    """Print what each part took."""
    silver = derived("silver")
    gold = [module for module in derived("gold") if getattr(module, "JOB", None) != "training"]
    count = days * 1440
    bench.came(klines_of(bases, now - count * MINUTE, count, 1, "archive"), into_empty=True)
    bench.made(silver, now)
    first = bench.made(gold, now)
    again = bench.made(gold, now, from_scratch=True)
    each: list[dict[str, float]] = []
    for number in range(minutes):
        bench.came(klines_of(bases, now + number * MINUTE, 1, 2 + number, "websocket"))
        then = now + (number + 1) * MINUTE + timedelta(seconds=5)
        bench.made(silver, then)
        each.append(bench.made(gold, then))
    minute = {name: statistics.median(one[name] for one in each) for name in first}
    typer.echo(f"{len(bases)} symbols, {days} days; seconds: at first, once more from nothing, of a minute")
    for name in first:
        typer.echo(f"{name:<32} {first[name]:7.1f} {again[name]:7.1f} {minute[name]:7.1f}")
    sums = (sum(first.values()), sum(again.values()), statistics.median(sum(one.values()) for one in each))
    typer.echo(f"{'all':<32} {' '.join(f'{total:7.1f}' for total in sums)}; load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    typer.run(main)
