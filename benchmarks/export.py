"""How long `crypto export` takes for a day of trades, in each format that holds them.

    python -m benchmarks.export                   # a million trades of one of two symbols
    python -m benchmarks.export --trades 3000000

It starts a MinIO of its own and lays tables into it as Hudi does, a file an hour, compacted; Spark has no part in it.
Each time is that of a whole process, with the start of Python and all imports. Beside them stand DuckDB's COPY and
Polars, from the same rows in a plain Parquet file on the disk.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer
from numpy.typing import NDArray

from crypto_pipeline import contracts
from crypto_pipeline.reader import arrow_schema
from deployment.paths import child_environment
from shared.tables import Table
from tests.servers import MinioServer

DAY = datetime(2026, 11, 20, tzinfo=UTC)
ASSETS = ("BTC", "ETH")
COMMIT = "20261121000000000"
PROPERTIES = """hoodie.table.name={name}
hoodie.table.type=MERGE_ON_READ
hoodie.table.version=6
hoodie.timeline.layout.version=1
hoodie.table.base.file.format=PARQUET
hoodie.table.recordkey.fields={key}
hoodie.table.partition.fields={partitions}
hoodie.datasource.write.hive_style_partitioning=true
hoodie.datasource.write.drop.partition.columns=false
hoodie.populate.meta.fields=true
"""


def laid(folder: Path, table: Table, parts: Mapping[str, pa.Table]) -> None:
    """A table with one commit, a base file a partition (`date=2026-11-20/hour=08`)."""
    root = folder / table.folder
    (root / ".hoodie").mkdir(parents=True)
    text = PROPERTIES.format(name=table.name, key=",".join(table.key), partitions=",".join(table.partitions))
    (root / ".hoodie" / "hoodie.properties").write_text(text)
    stats = {}
    for number, (partition, rows) in enumerate(parts.items()):
        name = f"00000000-0000-0000-0000-{number:012}-0"
        file = root / partition / f"{name}_0-0-0_{COMMIT}.parquet"
        file.parent.mkdir(parents=True)
        pq.write_table(rows.append_column("_hoodie_commit_time", pa.repeat(COMMIT, rows.num_rows)), file)
        stats[partition] = [{"fileId": name, "path": f"{partition}/{file.name}", "numWrites": rows.num_rows}]
    commit = {"partitionToWriteStats": stats, "extraMetadata": {}, "operationType": "UPSERT"}
    (root / ".hoodie" / f"{COMMIT}.deltacommit").write_text(json.dumps(commit))


def filled(table: Table, rows: int, columns: Mapping[str, Any]) -> pa.Table:
    """Rows of a table; columns that are not given are null, and a single value stands in each row."""
    arrays = []
    for field in arrow_schema(table):
        value = columns.get(field.name)
        values = value if isinstance(value, pa.Array) else pa.repeat(value, rows)
        arrays.append(values.cast(field.type))
    return pa.table(arrays, schema=arrow_schema(table))


def decimals(values: NDArray[np.int64], places: int) -> pa.Array:
    """Whole numbers as decimals of so many places."""
    words = np.zeros((len(values), 2), np.int64)
    words[:, 0] = values
    return pa.Array.from_buffers(pa.decimal128(18, places), len(values), [None, pa.py_buffer(words)])


def times(micros: NDArray[np.int64]) -> pa.Array:
    """Microseconds as times."""
    return pa.array(micros).cast(pa.timestamp("us", "UTC"))


def trades_of(hour: int, count: int) -> pa.Table:
    """So many trades of each symbol in an hour."""
    random = np.random.default_rng(hour)
    start = int((DAY + timedelta(hours=hour)).timestamp()) * 1_000_000
    symbols = []
    for base in ASSETS:
        at = start + np.sort(random.integers(0, 3_600_000_000, count))
        price, quantity = random.integers(6_000_000, 7_000_000, count), random.integers(1, 90_000, count)
        columns = {
            **named(base),
            "event_time": times(at),
            "published_at": times(at + 900),
            "received_at": times(at + 40_000),
            "ingested_at": times(at + 5_000_000),
            "source": "websocket",
            "connection_id": "binance-1",
            "ordering": 1,
            "trade_id": pa.array(np.arange(count) + hour * count),
            "is_buyer_maker": pa.array(at % 2 == 0),
            "price": decimals(price, 2),
            "quantity": decimals(quantity, 5),
            "quote_quantity": decimals(price * quantity, 7),
            "date": f"{DAY:%Y-%m-%d}",
            "hour": f"{hour:02}",
        }
        symbols.append(filled(contracts.tables()["bronze.trades"], count, columns))
    return pa.concat_tables(symbols)


def candles() -> pa.Table:
    """The candle of the day of each symbol, by which a client knows what there is."""
    table = contracts.tables()["silver.ohlcv"]
    start = int(DAY.timestamp()) * 1_000_000
    span = {"interval_start": times(np.array([start])), "interval_end": times(np.array([start + 86_400_000_000]))}
    kind = {"interval": "1d", "status": "complete", "month": f"{DAY:%Y-%m}"}
    return pa.concat_tables([filled(table, 1, {**named(base), **span, **kind}) for base in ASSETS])


def named(base: str) -> Mapping[str, str]:
    """The columns that name a pair."""
    return {"exchange": "binance", "symbol": f"{base}USDT", "base_asset": base, "quote_asset": "USDT"}


def seconds(command: list[str], environment: Mapping[str, str]) -> float:
    """How long a process takes."""
    start = time.perf_counter()
    subprocess.run(command, check=True, env=child_environment(**environment), stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main(
    trades: Annotated[int, typer.Option(help="Of the symbol that is exported, in a day.")] = 1_000_000,
    times: Annotated[int, typer.Option(help="How often each is run.")] = 3,
) -> None:
    """Print what was measured."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        tables = contracts.tables()
        hours = {f"date={DAY:%Y-%m-%d}/hour={hour:02}": trades_of(hour, trades // 24) for hour in range(24)}
        laid(folder / "lake", tables["bronze.trades"], hours)
        laid(folder / "lake", tables["silver.ohlcv"], {f"interval=1d/month={DAY:%Y-%m}": candles()})
        server = MinioServer(folder / "minio")
        server.start()
        try:
            for file in (path for path in (folder / "lake").rglob("*") if path.is_file()):
                server.client.upload_file(str(file), server.settings.bucket, str(file.relative_to(folder / "lake")))
            measure(folder, server, times)
        finally:
            server.stop()


def measure(folder: Path, server: MinioServer, times: int) -> None:
    """Each format and each peer, `times` over."""
    environment = {
        "S3_ENDPOINT": server.settings.s3_url,
        "S3_BUCKET": server.settings.bucket,
        "S3_ACCESS_KEY": server.settings.s3_access_key,
        "S3_SECRET_KEY": server.settings.s3_secret_key.get_secret_value(),
    }
    out = folder / "out"
    given = ["--symbol", "BTCUSDT", "--from", f"{DAY:%Y-%m-%d}", "--to", f"{DAY + timedelta(days=1):%Y-%m-%d}"]
    crypto = [
        sys.executable,
        "-c",
        "from crypto_pipeline.cli import app; app()",
        "export",
        "--overwrite",
        "--out",
        str(out),
    ]
    runs = {
        f"crypto export --format {name}": [*crypto, *given, "--format", name, "--data", "trades"]
        for name in ("parquet", "csv", "freqtrade", "nautilus")
    }
    subprocess.run(runs["crypto export --format parquet"], check=True, env=child_environment(**environment))
    plain = next(out.glob("*.parquet")).rename(folder / "plain.parquet")
    rows = f"FROM '{plain}' ORDER BY event_time, trade_id"
    duckdb = f"import duckdb; duckdb.sql(\"COPY ({rows}) TO '{out}/peer.{{0}}' ({{1}})\")"
    in_time = f"polars.scan_parquet('{plain}').sort('event_time', 'trade_id')"
    polars = f"import polars; {in_time}.sink_{{0}}('{out}/peer.{{0}}')"
    for name, script in (
        ("DuckDB COPY to Parquet", duckdb.format("parquet", "FORMAT parquet, COMPRESSION zstd")),
        ("DuckDB COPY to CSV", duckdb.format("csv", "FORMAT csv")),
        ("Polars to Parquet", polars.format("parquet")),
    ):
        runs[name] = [sys.executable, "-c", script]
    count = pq.read_metadata(plain).num_rows
    typer.echo(f"{count:,} trades; seconds, the median and the worst of {times}")
    for name, command in runs.items():
        taken = [seconds(command, environment) for _ in range(times)]
        typer.echo(f"{name:<36} {statistics.median(taken):6.2f} {max(taken):6.2f}")


if __name__ == "__main__":
    typer.run(main)
