"""Tables as Hudi leaves them in the bucket, without Spark: base files, log files, and the names of the timeline."""

import io
from collections.abc import Mapping
from datetime import datetime

import pyarrow as pa
import pyarrow.parquet as pq

from tests.servers import MinioServer

FILE = "00000000-66af-4732-9735-554e6f943fce-0"


def put(server: MinioServer, key: str, body: bytes) -> int:
    """An object; gives its bytes."""
    server.client.put_object(Bucket=server.settings.bucket, Key=key, Body=body)
    return len(body)


def base_file(
    server: MinioServer, partition: str, rows: Mapping[str, int], *, instant: int = 10, at: datetime, time: str
) -> int:
    """A base file with so many rows of each symbol, all of one time, and its finished commit; gives its bytes."""
    symbols = [symbol for symbol, count in rows.items() for _ in range(count)]
    values = {"symbol": symbols, time: pa.array([at] * len(symbols), pa.timestamp("us", "UTC"))}
    body = io.BytesIO()
    pq.write_table(pa.table(values), body, row_group_size=max(len(symbols) // 2, 1))
    table = "/".join(partition.split("/")[:2])
    put(server, f"{table}/.hoodie/timeline/{instant}_{instant + 1}.commit", b"{}")
    return put(server, f"{partition}/{FILE}_0-202-263_{instant}.parquet", body.getvalue())


def log_file(server: MinioServer, partition: str, size: int, *, instant: int) -> int:
    """A log file of so many bytes, and its finished commit."""
    table = "/".join(partition.split("/")[:2])
    put(server, f"{table}/.hoodie/timeline/{instant}_{instant + 1}.deltacommit", b"{}")
    return put(server, f"{partition}/.{FILE}_{instant}.log.1_0-86-140", b"x" * size)
