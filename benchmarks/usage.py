"""How long a new process of `crypto du` takes on a lake of thousands of objects, in a MinIO of its own.

    python -m benchmarks.usage
    python -m benchmarks.usage --days 90 --times 5

It has four tables with a file an hour and others with a file a month, each with rows of five symbols, and the raw
archive of these. Each time is that of a whole process, with the start of Python and all imports: the median and the
worst.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from crypto_pipeline import contracts
from deployment.paths import child_environment
from tests.crypto_pipeline.hudi_tables import base_file, put
from tests.servers import MinioServer

HOURLY = ("bronze/trades", "bronze/tickers", "bronze/depth", "bronze/agg_trades")
MONTHLY = tuple(
    table.folder for table in contracts.tables().values() if table.partitions == ("month",) and table.layer != "bronze"
)
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "BNBUSDT", "XRPUSDT")


def filled(server: MinioServer, days: int) -> int:
    """Makes the lake; gives the number of its objects."""
    now = datetime.now(UTC)
    hours = [now - timedelta(hours=hour) for hour in range(days * 24)]
    rows = dict.fromkeys(SYMBOLS, 40)

    def hour(at: datetime) -> None:
        place = f"date={at:%Y-%m-%d}/hour={at:%H}"
        for table in HOURLY:
            base_file(server, f"{table}/{place}", rows, at=at, time="event_time")
            put(server, f"{table}/{place}/.hoodie_partition_metadata", b"#partition metadata")
        for symbol in SYMBOLS:
            put(server, f"raw/exchange=binance/symbol={symbol}/{place}/1-2.jsonl.zst", b"x" * 2000)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(hour, hours))
    months = {f"{at:%Y-%m}": at for at in hours}
    for table in MONTHLY:
        for month, at in months.items():
            base_file(server, f"{table}/month={month}", rows, at=at, time="event_time")
    pages = server.client.get_paginator("list_objects_v2").paginate(Bucket=server.settings.bucket)
    return sum(page["KeyCount"] for page in pages)


def main(
    days: Annotated[int, typer.Option(help="How long the lake has been filled.")] = 30,
    times: Annotated[int, typer.Option(help="How often each is run.")] = 3,
) -> None:
    """Print what was measured."""
    with tempfile.TemporaryDirectory() as folder:
        server = MinioServer(Path(folder) / "minio")
        server.start()
        try:
            objects = filled(server, days)
            there = server.settings
            environment = child_environment(
                CRYPTO_HOME=folder,
                MINIO_PORT=str(there.minio_port),
                S3_BUCKET=there.bucket,
                S3_ACCESS_KEY=there.s3_access_key,
                S3_SECRET_KEY=there.s3_secret_key.get_secret_value(),
            )
            for arguments in ((), ("--by", "day"), ("--by", "symbol"), ("--by", "symbol", "--table", "bronze.trades")):
                command = [sys.executable, "-c", "from crypto_pipeline.cli import app; app()", "du", *arguments]
                taken = []
                for _ in range(times):
                    start = time.perf_counter()
                    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
                    taken.append(time.perf_counter() - start)
                name = " ".join(("crypto du", *arguments))
                typer.echo(f"{name}: {statistics.median(taken):.2f} s, at most {max(taken):.2f}; {objects:,} objects")
        finally:
            server.stop()


if __name__ == "__main__":
    typer.run(main)
