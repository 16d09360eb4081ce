"""How long a new process takes to five years of one symbol's minutes among fifty, and to a day of its trades.

    python -m benchmarks.lake_years                             # 131 million candles, 3 million trades
    python -m benchmarks.lake_years --months 6 --as-they-came   # before the files were sorted, too

It starts a MinIO of its own and lays tables into it as Hudi does: candles in a file a month, trades of two symbols in a
file an hour, sorted by symbol as `crypto_pipeline.sorting` does. Spark has no part in it. Sorted, the other
symbols' candles are all alike, which makes the files in minutes, not hours: nobody reads them. Each time is that of a
whole process, with the start of Python and all imports; beside it stand its CPU seconds, and DuckDB on the rows of that
symbol alone in a plain Parquet file on the disk.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer

from benchmarks.export import COMMIT, DAY, PROPERTIES, candles, decimals, filled, named, times, trades_of
from crypto_pipeline import contracts
from deployment.paths import child_environment
from shared.tables import Table
from tests.servers import MinioServer

FIRST = 2021
FEW = ("interval_start", "open", "high", "low", "close", "volume")
"""What a back-test reads."""
TRADED = ("event_time", "price", "quantity", "is_buyer_maker")


def months(count: int) -> Iterator[datetime]:
    """The first moments of so many months."""
    for number in range(count):
        yield datetime(FIRST + number // 12, number % 12 + 1, 1, tzinfo=UTC)


def minutes_of(base: str, month: datetime, *, alike: bool = False) -> pa.Table:
    """A month of candles of a minute of one symbol, `alike` where nobody looks at them."""
    following = (month + timedelta(days=31)).replace(day=1)
    count = int((following - month) / timedelta(minutes=1))
    random = np.random.default_rng(month.month)
    at = int(month.timestamp()) * 1_000_000 + np.arange(count) * 60_000_000
    price = 6_000_000 + np.cumsum(random.integers(-300, 301, count))
    volume = random.integers(1, 9_000_000, count)
    traded = random.integers(1, 3000, count)
    ids = np.cumsum(traded)
    if alike:
        price, volume, traded, ids, at = price * 0 + 1, volume * 0 + 1, traded * 0 + 1, ids * 0 + 1, at * 0 + at[0]
    columns = {
        **named(base),
        "interval": "1m",
        "interval_seconds": 60,
        "interval_start": times(at),
        "interval_end": times(at + 60_000_000),
        "open": decimals(price, 2),
        "high": decimals(price + 200, 2),
        "low": decimals(price - 200, 2),
        "close": decimals(price + random.integers(-200, 201, count), 2),
        "volume": decimals(volume, 5),
        "quote_volume": decimals(volume * price, 7),
        "taker_buy_volume": decimals(volume // 2, 5),
        "taker_buy_quote_volume": decimals(volume // 2 * price, 7),
        "vwap": decimals(price + 1, 2),
        "trade_count": pa.array(traded),
        "first_trade_id": pa.array(ids - traded),
        "last_trade_id": pa.array(ids - 1),
        "is_closed": True,
        "status": "complete",
        "proof": "exchange_kline",
        "source": "archive",
        "minutes_present": 1,
        "minutes_expected": 1,
        "revision": 1,
        "known_at": times(at),
        "ingestion_ts": times(at),
        "month": f"{month:%Y-%m}",
    }
    return filled(contracts.tables()["silver.ohlcv_1m"], count, columns)


def others_of(bases: tuple[str, ...], month: datetime, *, alike: bool) -> list[pa.Table]:
    """Those of the other symbols."""
    return [minutes_of(base, month, alike=alike) for base in bases]


class Lake:
    """Tables in a MinIO, put there file by file: none is kept."""

    def __init__(self, server: MinioServer, folder: Path) -> None:
        self._server = server
        self._folder = folder

    def laid(self, table: Table, parts: Mapping[str, Callable[[], list[pa.Table]]], *, is_sorted: bool) -> None:
        """A table with one commit, a base file a partition. Sorted, each piece has row groups of its own; else all are
        mixed in one, by time."""
        text = PROPERTIES.format(name=table.name, key=",".join(table.key), partitions=",".join(table.partitions))
        self._put(f"{table.folder}/.hoodie/hoodie.properties", text.encode())
        stats = {}
        for number, (partition, pieces) in enumerate(parts.items()):
            name = f"00000000-0000-0000-0000-{number:012}-0"
            path = f"{partition}/{name}_0-0-0_{COMMIT}.parquet"
            stats[partition] = [
                {"fileId": name, "path": path, "numWrites": self._file(table, path, pieces(), is_sorted)}
            ]
        commit = {"partitionToWriteStats": stats, "extraMetadata": {}, "operationType": "UPSERT"}
        self._put(f"{table.folder}/.hoodie/{COMMIT}.deltacommit", json.dumps(commit).encode())

    def _file(self, table: Table, path: str, pieces: list[pa.Table], is_sorted: bool) -> int:
        if not is_sorted:
            pieces = [pa.concat_tables(pieces).sort_by(str(table.time))]
        file = self._folder / "made.parquet"
        of_hudi = pa.field("_hoodie_commit_time", pa.string())
        with pq.ParquetWriter(file, pieces[0].schema.append(of_hudi), compression="zstd", store_schema=False) as writer:
            for piece in pieces:
                writer.write_table(piece.append_column(of_hudi, pa.repeat(COMMIT, piece.num_rows)))
        self._server.client.upload_file(str(file), self._server.settings.bucket, f"{table.folder}/{path}")
        return sum(piece.num_rows for piece in pieces)

    def _put(self, key: str, body: bytes) -> None:
        self._server.client.put_object(Bucket=self._server.settings.bucket, Key=key, Body=body)


def cost(command: list[str], environment: Mapping[str, str]) -> tuple[float, float]:
    """How many seconds a process takes, and how many of CPU."""
    before, start = os.times(), time.perf_counter()
    subprocess.run(command, check=True, env=child_environment(**environment), stdout=subprocess.DEVNULL)
    took, after = time.perf_counter() - start, os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return took, cpu


def measure(what: str, scripts: Mapping[str, str], environment: Mapping[str, str], runs: int) -> None:
    """Print what each costs, one after the other, so many times over."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in scripts}
    for _ in range(runs + 1):
        for name, script in scripts.items():
            taken[name].append(cost([sys.executable, "-c", script], environment))
    typer.echo(f"{what}: seconds, the least and the median of {runs} after one that warms up; of CPU the least")
    for name, costs in taken.items():
        seconds, cpu = zip(*costs[1:], strict=True)
        typer.echo(f"  {name:<34} {min(seconds):6.2f} {statistics.median(seconds):6.2f} {min(cpu):6.2f}")


def scripts_of(asked: str, names: tuple[str, ...], plain: Path) -> Mapping[str, str]:
    """What is measured: the client, and its peer."""
    lake = "from crypto_pipeline import lake; lake."
    return {
        "lake, to pandas": f"{lake}{asked}, columns={names}).to_pandas()",
        "lake, to Polars": f"{lake}{asked}, columns={names}).to_polars()",
        "import alone": "from crypto_pipeline import lake",
        "DuckDB, plain Parquet, to pandas": (
            f"import duckdb; duckdb.read_parquet('{plain}').project("
            f"'{', '.join(f'{name}::double {name}' if name in _EXACT else name for name in names)}').df()"
        ),
    }


_EXACT = ("open", "high", "low", "close", "volume", "price", "quantity")


def main(
    symbols: Annotated[int, typer.Option(help="That lie in a month's file.")] = 50,
    months_: Annotated[int, typer.Option("--months", help="Of candles.")] = 60,
    trades: Annotated[int, typer.Option(help="Of the symbol in the day.")] = 3_000_000,
    runs: Annotated[int, typer.Option(help="How often each is run.")] = 5,
    as_they_came: Annotated[bool, typer.Option(help="Leave the rows of a file mixed.")] = False,
) -> None:
    """Print what was measured."""
    tables = contracts.tables()
    bases = ("BTC", *(f"B{number:02}" for number in range(1, symbols)))
    every = list(months(months_))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        server = MinioServer(folder / "minio")
        server.start()
        try:
            lake = Lake(server, folder)
            others = partial(others_of, bases[1:], alike=not as_they_came)
            of_month = {f"month={at:%Y-%m}": lambda at=at: [*others(at), minutes_of(bases[0], at)] for at in every}
            lake.laid(tables["silver.ohlcv_1m"], of_month, is_sorted=not as_they_came)
            of_hour = {
                f"date={DAY:%Y-%m-%d}/hour={hour:02}": lambda hour=hour: both(hour, trades // 24) for hour in range(24)
            }
            lake.laid(tables["bronze.trades"], of_hour, is_sorted=not as_they_came)
            lake.laid(tables["silver.ohlcv"], {f"interval=1d/month={DAY:%Y-%m}": lambda: [candles()]}, is_sorted=True)
            environment = {
                "S3_ENDPOINT": server.settings.s3_url,
                "S3_BUCKET": server.settings.bucket,
                "S3_ACCESS_KEY": server.settings.s3_access_key,
                "S3_SECRET_KEY": server.settings.s3_secret_key.get_secret_value(),
            }
            plain = folder / "plain.parquet"
            pq.write_table(pa.concat_tables([minutes_of("BTC", at) for at in every]), plain, compression="zstd")
            count, end = pq.read_metadata(plain).num_rows, (every[-1] + timedelta(days=31)).replace(day=1)
            asked = f"ohlcv('BTCUSDT', '1m', '{every[0]:%Y-%m-%d}', '{end:%Y-%m-%d}'"
            what = f"{count:,} minutes of one of {symbols} symbols, six columns"
            measure(what, scripts_of(asked, FEW, plain), environment, runs)
            pq.write_table(
                pa.concat_tables([both(hour, trades // 24)[0] for hour in range(24)]), plain, compression="zstd"
            )
            count = pq.read_metadata(plain).num_rows
            asked = f"trades('BTCUSDT', '{DAY:%Y-%m-%d}', '{DAY + timedelta(days=1):%Y-%m-%d}'"
            measure(
                f"{count:,} trades of one of 2 symbols, four columns",
                scripts_of(asked, TRADED, plain),
                environment,
                runs,
            )
        finally:
            server.stop()


def both(hour: int, count: int) -> list[pa.Table]:
    """The trades of each of two symbols in an hour."""
    mixed = trades_of(hour, count)
    return [mixed.slice(0, count), mixed.slice(count)]


if __name__ == "__main__":
    typer.run(main)
