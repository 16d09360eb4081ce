"""What the served tables cost: the first load of candles, and a minute of 50 symbols.

    python -m benchmarks.serving              # a tenth of the load
    python -m benchmarks.serving --candles 5000000
    python -m benchmarks.serving --engine clickhouse

It starts a PostgreSQL of its own, as it is deployed, and makes the rows; Spark has no part in it. ClickHouse runs
within this process. Measured are the time from the first piece of Arrow to the commit, and the greatest memory of this
process above what it has before.
"""

import resource
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from tempfile import TemporaryDirectory
from typing import Annotated, Literal

import numpy as np
import pyarrow as pa
import typer

from crypto_pipeline.reader import arrow_type
from crypto_pipeline.silver.candles import INTERVALS
from serving.migrate import migrate
from serving.tables import Served, served
from serving.writer import Written, connected, write
from shared.settings import Settings
from tests.servers import PostgresServer

PIECE = 10_000
"""Rows that Spark Connect sends together, about."""
SYMBOLS = 50
START = datetime(2025, 10, 1, tzinfo=UTC)


def pieces(table: Served, rows: int) -> Iterator[pa.Table]:
    """Minutes of some symbols, as many rows at a time as Spark sends."""
    for first in range(0, rows, PIECE):
        numbers = np.arange(first, min(first + PIECE, rows))
        yield made(table, numbers % SYMBOLS, START, numbers // SYMBOLS * 60, "1m")


def made(table: Served, symbols: np.ndarray, start: datetime, seconds: np.ndarray, interval: str) -> pa.Table:
    """Rows whose numbers have as many digits as a market's."""
    random = np.random.default_rng(len(symbols))
    begin = np.datetime64(start.replace(tzinfo=None), "us") + seconds.astype("timedelta64[s]")
    columns = {}
    for column in table.columns:
        kind = arrow_type(column.type)
        if column.name == "symbol":
            values = pa.array([f"S{number:03}USDT" for number in range(SYMBOLS)]).take(pa.array(symbols))
        elif column.name == "interval":
            values = pa.array([interval] * len(symbols))
        elif pa.types.is_timestamp(kind):
            values = pa.array(begin).cast(pa.timestamp("us")).cast(kind)
        elif pa.types.is_decimal(kind):
            cents = random.integers(1_000_000, 10_000_000_000, len(symbols))
            values = pa.array(cents).cast(pa.decimal128(20, 0)).cast(kind)
        elif pa.types.is_boolean(kind):
            values = pa.array(np.ones(len(symbols), dtype=bool))
        elif pa.types.is_string(kind):
            values = pa.array(["complete"] * len(symbols))
        else:
            values = pa.array(random.integers(1, 10_000_000, len(symbols)) / 7).cast(pa.float64())
            values = values if pa.types.is_floating(kind) else values.cast(kind, safe=False)
        columns[column.name] = values.cast(kind)
    return pa.table(columns)


def minute(table: Served, at: datetime) -> list[pa.Table]:
    """What a minute brings: the candle of each symbol and interval, or its indicators."""
    symbols = np.arange(SYMBOLS)
    return [made(table, symbols, at, symbols * 0, interval) for interval in INTERVALS]


Write = Callable[[Served, Iterable[pa.Table], Mapping[str, str]], Written]


@contextmanager
def in_postgres() -> Iterator[Write]:
    """A PostgreSQL of its own, as it is deployed."""
    server = PostgresServer()
    server.start()
    try:
        migrate(server.settings)
        with connected(server.settings) as database:
            yield partial(write, database)
    finally:
        server.remove()


@contextmanager
def in_clickhouse() -> Iterator[Write]:
    """ClickHouse within this process, as the tests have it."""
    from serving.clickhouse import server, writer

    with TemporaryDirectory() as folder, server.connected(Settings(clickhouse_url=f"chdb://{folder}")) as client:

        def written(table: Served, pieces: Iterable[pa.Table], followed: Mapping[str, str]) -> Written:
            return writer.write(client, table, pieces, followed, whole=not writer.marks(client, table))

        yield written


ENGINES = {"postgres": in_postgres, "clickhouse": in_clickhouse}


def main(
    candles: Annotated[int, typer.Option(help="Rows of the first load.")] = 500_000,
    minutes: Annotated[int, typer.Option(help="Batches of a minute after it.")] = 20,
    engine: Annotated[Literal["postgres", "clickhouse"], typer.Option(help="What they are written into.")] = "postgres",
) -> None:
    """Print what was measured."""
    fact, indicators = served()["silver.fact_ohlcv"], served()["silver.indicators"]
    with ENGINES[engine]() as written:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began = time.perf_counter()
        done = written(fact, pieces(fact, candles), {"silver.ohlcv_1m": "1"})
        seconds = time.perf_counter() - began
        more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        print(f"first load: {done.changed:,} candles in {seconds:.1f} s, {done.changed / seconds:,.0f} a second")
        print(f"memory: {more:.0f} MB more than before")
        written(indicators, minute(indicators, START), {"source": "1"})
        times = []
        for number in range(minutes):
            at = START + timedelta(days=400, minutes=number)
            batches = [(table, minute(table, at)) for table in (fact, indicators)]
            began = time.perf_counter()
            rows = sum(written(table, batch, {"source": str(number + 2)}).changed for table, batch in batches)
            times.append(time.perf_counter() - began)
        print(
            f"a minute of {SYMBOLS} symbols: {rows:,} rows in {statistics.median(times) * 1000:.0f} ms, "
            f"at most {max(times) * 1000:.0f} ms, of {minutes}"
        )


if __name__ == "__main__":
    typer.run(main)
