from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow.fs import LocalFileSystem

from benchmarks.export import filled, laid
from crypto_pipeline import catalog, contracts, reader
from crypto_pipeline.reader import (
    LakeError,
    arrow_schema,
    arrow_type,
    as_floats,
    bucket_of,
    done_after,
    open_table,
    read,
)
from shared.settings import Settings
from shared.tables import DECIMAL, Column, Table
from tests.crypto_pipeline.hudi_tables import put
from tests.servers import MinioServer

PRICE = pa.decimal128(38, 18)
TABLE = Table(
    "silver", "prices", "One row", (Column("price", DECIMAL, ""), Column("symbol", "string", "")), ("symbol",)
)


def test_every_contract_has_an_arrow_schema() -> None:
    for table in catalog.tables().values():
        assert arrow_schema(table).names == table.column_names


def test_a_nested_type_keeps_its_decimals() -> None:
    levels = pa.list_(pa.struct([("price", PRICE), ("quantity", PRICE)]))
    assert arrow_type(f"array<struct<price:{DECIMAL},quantity:{DECIMAL}>>") == levels


def test_a_type_that_is_not_known_is_named() -> None:
    with pytest.raises(ValueError, match="blob"):
        arrow_type("blob")


def test_columns_come_in_the_order_in_which_they_were_asked_for() -> None:
    assert arrow_schema(TABLE, ["symbol", "price"]).names == ["symbol", "price"]


@given(
    st.sampled_from([0, 2, 8, 9, 18]).flatmap(
        lambda places: st.lists(
            st.none()
            | st.decimals(places=places, min_value=-(10**19), max_value=10**19)
            | st.decimals(places=places, min_value=-(10**8), max_value=10**8),
            max_size=20,
        )
    ),
    st.integers(0, 20),
)
def test_a_decimal_becomes_the_nearest_float(values: list[Decimal | None], start: int) -> None:
    plain = as_floats(pa.table({"price": pa.array(values, PRICE)}).slice(start))
    assert plain["price"].to_pylist() == [None if value is None else float(value) for value in values[start:]]


@pytest.mark.parametrize(
    ("value", "of_5", "of_16"),
    [("BTCUSDT", 4, 14), ("ETHUSDT", 4, 6), ("1000PEPEUSDT", 3, 6), ("币安人生USDT", 3, 10)],
)
def test_a_symbol_lies_in_the_bucket_that_javas_hash_gives(value: str, of_5: int, of_16: int) -> None:
    assert (bucket_of(value, 5), bucket_of(value, 16)) == (of_5, of_16)


def test_decimals_in_lists_become_floats_too() -> None:
    levels = pa.array([[{"price": Decimal("1.1")}], None], pa.list_(pa.struct([("price", PRICE)])))
    assert as_floats(pa.table({"bids": levels}))["bids"].to_pylist() == [[{"price": 1.1}], None]


def test_a_sum_of_counts_stays_a_whole_number() -> None:
    counts = pa.table({"n": pa.array([Decimal(3790)], pa.decimal128(38, 0))})
    assert as_floats(counts) == counts


def test_of_a_parquet_file_come_the_wanted_rows_and_columns_and_a_later_column_is_null(tmp_path: Path) -> None:
    level = pa.struct([("price", PRICE)])
    written = pa.table(
        {
            "_hoodie_commit_time": pa.array(["1", "1"]),
            "symbol": pa.array(["BTCUSDT", "ETHUSDT"]),
            "bids": pa.array([[{"price": Decimal(1)}], [{"price": Decimal(2)}]], pa.list_(pa.field("array", level))),
        }
    )
    pq.write_table(written, tmp_path / "base.parquet")
    wanted = pa.schema([("bids", pa.list_(level)), ("added", pa.float64()), ("symbol", pa.string())])
    file, where = tmp_path / "base.parquet", pc.field("symbol") == "ETHUSDT"
    read = reader._parquet(str(file), file.stat().st_size, LocalFileSystem(), wanted, where, ["symbol"], where)
    assert read.schema == wanted
    assert read.to_pylist() == [{"bids": [{"price": Decimal(2)}], "added": None, "symbol": "ETHUSDT"}]


PLACED = pa.schema(
    [("symbol", pa.string()), ("status", pa.string()), ("at", pa.timestamp("us", "UTC")), ("number", pa.int64())]
)
ROWS = st.tuples(
    st.sampled_from(["A", "A", "A", "B", None]),
    st.sampled_from(["complete", "complete", "repaired", "partial", None]),
    st.sampled_from([*range(12), None]),
)


@given(groups=st.lists(st.lists(ROWS, min_size=1, max_size=4), min_size=1, max_size=5))
def test_of_a_file_come_the_rows_for_which_the_condition_is_true_whatever_its_statistics_tell(
    groups: list[list[tuple[str | None, str | None, int | None]]],
) -> None:
    every = [row for group in groups for row in group]
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, PLACED) as writer:
        for group in groups:
            columns = zip(*group, strict=True)
            writer.write_table(pa.table([*columns, [every.index(row) for row in group]], schema=PLACED))
    where = (pc.field("symbol") == "A") & pc.field("status").isin(["complete", "repaired"])
    where &= (pc.field("at") >= datetime.fromtimestamp(0, UTC) + timedelta(microseconds=2)) & (
        pc.field("at") < datetime.fromtimestamp(0, UTC) + timedelta(microseconds=9)
    )
    wanted = [
        every.index(row)
        for row in every
        if row[0] == "A" and row[1] in ("complete", "repaired") and row[2] is not None and 2 <= row[2] < 9
    ]
    with TemporaryDirectory() as folder:
        file = Path(folder) / "base.parquet"
        file.write_bytes(sink.getvalue())
        number = pa.schema([PLACED.field("number")])
        on, of_a = ("symbol", "status", "at"), pc.field("symbol") == "A"
        read = reader._parquet(str(file), file.stat().st_size, LocalFileSystem(), number, where, on, of_a)
    assert read["number"].to_pylist() == wanted


def test_where_no_lake_answers_the_error_names_the_cure_and_no_secret() -> None:
    settings = Settings(S3_ENDPOINT="http://127.0.0.1:1", S3_ACCESS_KEY="me", S3_SECRET_KEY="hunter2hunter2")  # type: ignore[call-arg]
    with pytest.raises(LakeError, match=r"deploy\.sh") as raised:
        read(TABLE, settings)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("answered", "told"),
    [
        (
            "Generic S3 error: Error performing GET in 5.403123s, after 10 retries - HTTP error: error sending request",
            "deploy",
        ),
        (
            "Generic S3 error: Error performing GET in 1ms - Server returned non-2xx status code: 403 Forbidden",
            "refuses",
        ),
        ("The operation lacked the necessary privileges to complete", "refuses"),
        ('Could not connect to the endpoint URL: "http://127.0.0.1:1/lake?list-type=2"', "deploy"),
        ("An error occurred (InvalidAccessKeyId) when calling the ListObjectsV2 operation: ...", "refuses"),
        ("An error occurred (SignatureDoesNotMatch) when calling the ListObjectsV2 operation: ...", "refuses"),
    ],
)
def test_a_store_that_does_not_answer_is_told_from_one_that_refuses_us(answered: str, told: str) -> None:
    def asked() -> None:
        raise ValueError(answered)

    with pytest.raises(LakeError, match=told):
        reader._asked(asked, TABLE, Settings(S3_ENDPOINT="http://127.0.0.1:1"))  # type: ignore[call-arg]


def test_a_commit_is_done_when_its_file_says_so_not_when_it_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [
        "20261125100000000_20261125100009000.deltacommit",  # asked for first, done last
        "20261125100001000_20261125100002000.deltacommit",
        "20261125100003000.deltacommit.requested",
        "20261125100003000.deltacommit.inflight",
        "20261125100004000_20261125100010000.commit",  # a compaction: rows keep the commit that wrote them
        "history/manifest_1",
    ]

    def pages(Bucket: str, Prefix: str, Delimiter: str) -> list[dict[str, Any]]:  # noqa: N803 (boto3's names)
        assert Prefix == "silver/prices/.hoodie/timeline/"
        return [{"Contents": [{"Key": Prefix + name}]} for name in names] + [{}]

    client = SimpleNamespace(get_paginator=lambda _name: SimpleNamespace(paginate=pages))
    monkeypatch.setattr(reader, "_s3", lambda _settings: client)
    assert done_after(TABLE, "20261125100005000", Settings()) == ["20261125100000000"]
    assert done_after(TABLE, "20261125100002000", Settings()) == ["20261125100000000"]
    assert done_after(TABLE, "0", Settings()) == ["20261125100000000", "20261125100001000"]


def test_of_columns_that_only_tell_which_rows_are_wanted_none_comes_back(
    minio_server: MinioServer, tmp_path: Path
) -> None:
    table = replace(contracts.tables()["silver.ohlcv_1m"], name="read_by_columns")
    columns = {"symbol": pa.array(["BTCUSDT", "ETHUSDT"] * 3), "exchange": "binance", "month": "2026-11"}
    numbers = {"trade_count": pa.array(range(6)), "status": pa.array(["complete"] * 4 + ["partial"] * 2)}
    rows = filled(table, 6, {**columns, **numbers})
    for name in ("commit_seqno", "record_key", "partition_path", "file_name"):  # hudi-rs wants all of Hudi's own
        rows = rows.append_column(f"_hoodie_{name}", pa.array(["x"] * 6))
    laid(tmp_path, table, {"month=2026-11": rows})
    keys = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()]
    for key in keys:
        put(minio_server, key, (tmp_path / key).read_bytes())
    snapshot = open_table(table, minio_server.settings)
    where = (pc.field("symbol") == "BTCUSDT") & (pc.field("status") == "complete")
    for filters in ([], [("symbol", "IN", "BTCUSDT")]):
        found = snapshot.read(["trade_count"], filters, where, ("symbol", "status"))
        assert found.to_pydict() == {"trade_count": [0, 2]}
    for key in keys:
        minio_server.client.delete_object(Bucket=minio_server.settings.bucket, Key=key)
