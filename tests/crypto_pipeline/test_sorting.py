"""Closed partitions are sorted by symbol, and nothing is lost by it."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.fs as pf
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.export import DAY, decimals, filled, named, times
from crypto_pipeline import contracts, sorting
from crypto_pipeline.hudi_files import TIMELINE, sorted_name
from crypto_pipeline.sorting import due, order_of, outlived, parts, row_groups, sort_closed, within, write_sorted
from crypto_pipeline.usage import Object
from tests.crypto_pipeline.hudi_tables import put
from tests.servers import MinioServer

TABLE = contracts.tables()["silver.ohlcv_1m"]
NOW = datetime(2026, 12, 3, tzinfo=UTC)
FILE = "00000000-66af-4732-9735-554e6f943fce-0"
BASE = f"month=2026-11/{FILE}_0-202-263_20261201120000999.parquet"
BEGINS = f"{TIMELINE}20261202120000000_20261202120001000.deltacommit"
BIG = sorting.WORTH


def files(*paths: str, at: datetime = NOW, size: int = BIG) -> list[Object]:
    return [Object(path, size, at) for path in paths]


def a_log(instant: str) -> str:
    return f"month=2026-11/.{FILE}_{instant}.log.1_0-86-140"


def test_a_file_is_due_when_its_month_is_over_for_a_day() -> None:
    assert list(due(files(BASE, BEGINS), NOW)) == [BASE]
    assert list(due(files(BASE, BEGINS), datetime(2026, 12, 1, 23, tzinfo=UTC))) == []


def test_a_file_that_log_files_lie_on_is_not_due() -> None:
    assert list(due(files(BASE, BEGINS, a_log("20261202130000000")), NOW)) == []


def test_a_file_whose_write_is_in_the_timeline_is_not_due() -> None:
    for begins in (f"{TIMELINE}20261201120000999_20261201120001999.commit", f"{TIMELINE}20261130000000000.clean"):
        assert list(due(files(BASE, begins), NOW)) == []
    assert list(due(files(BASE), NOW)) == [], "the timeline is not known"


def test_a_small_file_and_a_sorted_one_are_not_due() -> None:
    assert list(due(files(BASE, BEGINS, size=BIG - 1), NOW)) == []
    assert list(due(files(BASE, sorted_name(BASE), BEGINS), NOW)) == []


def test_a_sorted_file_that_late_rows_were_merged_into_is_due_again() -> None:
    merged = BASE.replace("20261201120000999", "20261201130000000")
    assert list(due(files(BASE, sorted_name(BASE), merged, BEGINS), NOW)) == [merged]


def test_a_sorted_version_is_a_millisecond_younger_also_at_the_end_of_a_minute() -> None:
    last = BASE.replace("120000999", "235959999")
    assert sorted_name(last) == f"month=2026-11/{FILE}_sorted_20261202000000000.parquet"
    with pytest.raises(ValueError, match="is no base file"):
        sorted_name(a_log("20261202130000000"))


def test_replaced_versions_go_when_no_reader_can_still_read_them() -> None:
    log = a_log("20261201110000000")  # Hudi's to clean: it may lie on another version
    merged = BASE.replace("120000999", "130000000")
    paths = (BASE, log, sorted_name(BASE), merged, BEGINS)
    assert list(outlived(files(*paths, at=NOW - timedelta(minutes=59)), NOW)) == []
    assert list(outlived(files(*paths, at=NOW - timedelta(minutes=60)), NOW)) == [BASE]
    unsorted = (BASE, BASE.replace("120000999", "130000000"))
    assert list(outlived(files(*unsorted, at=NOW - timedelta(days=9)), NOW)) == [], "these are Hudi's to clean"


def test_in_one_run_no_more_is_sorted_than_its_budget_and_one_file_at_least() -> None:
    sizes = {"a": 5, "b": 4, "c": 1}
    assert list(within(9, sizes, sizes)) == ["a", "b"]
    assert list(within(1, sizes, sizes)) == ["a"]


def test_a_log_file_that_was_done_after_the_base_file_was_asked_for_keeps_it_unsorted() -> None:
    assert list(due(files(BASE, BEGINS, a_log("20261201120000500")), NOW)) == []


@given(st.dictionaries(st.text(min_size=1), st.integers(1, 1_000_000)))
def test_each_symbol_is_in_one_part_and_no_part_of_several_is_too_large(counts: dict[str, int]) -> None:
    found = list(parts(counts))
    assert [symbol for part in found for symbol in part] == sorted(counts)
    assert all(len(part) == 1 or sum(counts[symbol] for symbol in part) <= sorting._ROWS for part in found)


@given(st.lists(st.integers(1, 50_000), min_size=1, max_size=8))
def test_row_groups_follow_each_other_and_no_symbol_lies_in_two(runs: list[int]) -> None:
    ends = [int(end) for end in np.cumsum(runs)]
    found = list(row_groups(ends))
    assert [start for start, _ in found] == [0, *(start + length for start, length in found[:-1])]
    assert {start + length for start, length in found} <= {*ends}
    assert sum(length for _, length in found) == ends[-1]
    assert all(length >= 20_000 for _, length in found[:-1])


def rows(symbols: int, minutes: int) -> pa.Table:
    """Candles of so many symbols, those of all mixed, with Hudi's own columns."""
    start = int(DAY.timestamp()) * 1_000_000
    each = []
    for number in range(symbols):
        at = start + np.arange(minutes) * 60_000_000
        price = np.arange(minutes) + 1000 * number
        columns = {**named(f"A{number:02}"), "interval": "1m", "interval_start": times(at), "month": "2026-11"}
        each.append(filled(TABLE, minutes, {**columns, "open": decimals(price, 2), "close": decimals(price, 2)}))
    whole = pa.concat_tables(each)
    order = list(range(whole.num_rows))
    random.Random(1).shuffle(order)
    whole = whole.take(order)
    for name in ("_hoodie_commit_time", "_hoodie_file_name"):
        whole = whole.append_column(name, pa.array([f"{name}{n % 3}" for n in range(whole.num_rows)]))
    return whole


def test_a_sorted_file_holds_the_same_rows_and_footer_by_symbol_and_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sorting, "_ROWS", 3_000)
    monkeypatch.setattr(sorting, "_GROUP", 1_000)
    whole, source, target = rows(7, 1_000), tmp_path / "base.parquet", tmp_path / "sorted.parquet"
    noted = {"parquet.avro.schema": "{}", "org.apache.hudi.bloomfilter": "AAAA", "hoodie_bloom_filter_type_code": "S"}
    pq.write_table(whole.replace_schema_metadata(noted), source)
    write_sorted(TABLE, str(source), pf.LocalFileSystem(), target, "its own name")
    found = pq.ParquetFile(target)
    expected = whole.sort_by([(name, "ascending") for name in order_of(TABLE)])
    same = [name for name in whole.column_names if name != "_hoodie_file_name"]
    assert found.read(same).equals(expected.select(same))
    assert set(found.read(["_hoodie_file_name"])["_hoodie_file_name"].to_pylist()) == {"its own name"}
    assert found.schema_arrow.equals(whole.schema)
    assert found.metadata.metadata == {b"parquet.avro.schema": b"{}"}, "without the filter, which nobody reads"
    column = found.schema_arrow.get_field_index("symbol")
    stated = [found.metadata.row_group(n).column(column).statistics for n in range(found.num_row_groups)]
    assert [(one.min, one.max) for one in stated] == [(f"A{n:02}USDT",) * 2 for n in range(7)]


def test_what_is_closed_is_sorted_once_and_the_version_before_goes_an_hour_later(
    minio_server: MinioServer, tmp_path: Path
) -> None:
    table = replace(TABLE, name="sorted_in_order")
    whole, source = rows(40, 1_000), tmp_path / "base.parquet"
    pq.write_table(whole, source, compression="none")
    put(minio_server, f"{table.folder}/{BASE}", source.read_bytes())
    put(minio_server, f"{table.folder}/{BEGINS}", b"{}")
    first = sort_closed(table, minio_server.settings, NOW)
    assert (first.sorted, first.removed) == (1, 0)
    later = datetime.now(UTC) + timedelta(hours=2)
    second = sort_closed(table, minio_server.settings, later)
    assert (second.sorted, second.removed) == (0, 1)
    listed = minio_server.client.list_objects_v2(Bucket=minio_server.settings.bucket, Prefix=f"{table.folder}/month")[
        "Contents"
    ]
    assert [one["Key"] for one in listed] == [f"{table.folder}/{sorted_name(BASE)}"]
    for key in (f"{table.folder}/{sorted_name(BASE)}", f"{table.folder}/{BEGINS}"):
        minio_server.client.delete_object(Bucket=minio_server.settings.bucket, Key=key)


def test_a_table_without_symbols_or_times_is_left_alone() -> None:
    tables = contracts.tables()
    assert order_of(tables["silver.ohlcv"])[:4] == ["symbol", "exchange", "interval", "interval_start"]
    assert order_of(tables["bronze.trades"]) == ["symbol", "exchange", "event_time", "trade_id"]
    assert order_of(tables["silver.instruments"]) == []
