"""What was exported as Parquet comes back: trades and books as they were, candles as klines."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crypto_pipeline import contracts
from crypto_pipeline.bronze import depth, klines, quarantine, trades
from crypto_pipeline.history.archives import ArchiveError
from crypto_pipeline.history.exports import checked_export
from crypto_pipeline.history.importing import Done, import_archives
from crypto_pipeline.history.layouts import Kind
from crypto_pipeline.reader import arrow_schema
from shared.tables import Table
from tests.crypto_pipeline.export.conftest import book, half_hourly, trade
from tests.crypto_pipeline.history.conftest import BTC, LocalStaging, MemoryLake

Rows = list[dict[str, Any]]
MINUTES = [half_hourly(n, "1m") for n in range(3)]


def exported(folder: Path, table: str, rows: Sequence[dict[str, Any]]) -> Path:
    """A file as `crypto export --format parquet` writes it, in two row groups."""
    contract = contracts.tables()[table]
    hidden = {"ordering", "superseded", "date", "hour", "month"}
    names = [name for name in contract.column_names if name not in hidden]
    path = folder / "BTCUSDT-some-2026-08-06.parquet"
    values = pa.Table.from_pylist(
        [{name: row.get(name) for name in names} for row in rows], arrow_schema(contract, names)
    )
    pq.write_table(values, path, row_group_size=max(1, len(rows) - 1))
    return path


def imported(lake: MemoryLake, staging: LocalStaging, path: Path, kind: Kind) -> Done:
    return import_archives(lake, staging, [checked_export(path, kind, "binance", BTC)])  # type: ignore[arg-type]


def stored(lake: MemoryLake, table: Table) -> Rows:
    rows: Rows = pa.Table.from_batches(lake.read(table)._collect_as_arrow()).sort_by(str(table.time)).to_pylist()
    return rows


def test_trades_come_back_as_they_were_and_once(lake: MemoryLake, staging: LocalStaging, tmp_path: Path) -> None:
    given = [trade(n) for n in range(4)] + [trade(4, source="rest", received_at=None, published_at=None)]
    path = exported(tmp_path, "bronze.trades", given)
    assert imported(lake, staging, path, "trades").new == 5
    kept = [name for name in trades.TABLE.column_names if name not in ("ingested_at", "ordering")]
    assert [{name: row[name] for name in kept} for row in stored(lake, trades.TABLE)] == [
        {name: row[name] for name in kept} for row in given
    ]
    again = imported(lake, staging, path, "trades")
    assert (again.new, again.there, again.differing) == (0, 5, 0)


def test_books_come_back_as_they_were_and_once(lake: MemoryLake, staging: LocalStaging, tmp_path: Path) -> None:
    pair = {"base_asset": "BTC", "quote_asset": "USDT", "source": "websocket", "connection_id": "one"}
    timed = book(3, event_time=book(3)["received_at"] - timedelta(hours=1), hour="08", **pair)
    given = [*(book(n, **pair) for n in range(3)), timed]
    path = exported(tmp_path, "bronze.depth", given)
    assert imported(lake, staging, path, "depth").new == 4
    kept = [name for name in depth.TABLE.column_names if name not in ("ingested_at", "ordering", "broken_rules")]
    rows = pa.Table.from_batches(lake.read(depth.TABLE)._collect_as_arrow()).sort_by("update_id").to_pylist()
    assert [{name: row[name] for name in kept} for row in rows] == [
        {name: row.get(name) for name in kept} for row in given
    ]
    again = imported(lake, staging, path, "depth")
    assert (again.new, again.there, again.differing) == (0, 4, 0)
    other = imported(lake, staging, exported(tmp_path, "bronze.depth", [book(1, "63000.13", **pair)]), "depth")
    assert (other.new, other.there, other.differing) == (0, 0, 1)
    refused = lake.read(quarantine.TABLE).collect()
    assert [(row.table_name, row.date) for row in refused] == [("bronze.depth", "2026-08-06")]


def test_candles_come_back_as_klines_of_an_archive(lake: MemoryLake, staging: LocalStaging, tmp_path: Path) -> None:
    path = exported(tmp_path, "silver.ohlcv_1m", MINUTES)
    assert imported(lake, staging, path, "klines").new == 3
    rows = stored(lake, klines.TABLE)
    same = ("open", "high", "low", "close", "volume", "quote_volume", "taker_buy_volume", "trade_count", "is_closed")
    assert [[row[name] for name in same] for row in rows] == [[row[name] for name in same] for row in MINUTES]
    assert [row["open_time"] for row in rows] == [row["interval_start"] for row in MINUTES]
    assert [row["close_time"] for row in rows] == [row["interval_end"] - timedelta(microseconds=1) for row in MINUTES]
    assert {(row["source"], row["connection_id"], row["month"]) for row in rows} == {
        ("archive", f"archive:{path.name}", "2026-08")
    }


@pytest.mark.parametrize(
    ("kind", "table", "rows", "reason"),
    [
        ("trades", "bronze.trades", [trade(0, symbol="ETHUSDT")], "rows of the symbol ETHUSDT, and not only BTCUSDT: "),
        ("trades", "bronze.trades", [trade(0, exchange="other")], "rows of the exchange other, and not only binance: "),
        ("klines", "silver.ohlcv", [half_hourly(0)], "rows of the interval 5m, and not only 1m: "),
        (
            "klines",
            "silver.ohlcv_1m",
            [{**MINUTES[0], "status": "partial"}],
            "rows of the status partial, and not only ",
        ),
        ("klines", "bronze.trades", [trade(0)], "has no interval as silver.ohlcv_1m has it: it is no export of klines"),
        ("agg-trades", "bronze.trades", [trade(0)], "agg-trades are not exported as Parquet"),
        ("depth", "bronze.trades", [trade(0)], "has no update_id as bronze.depth has it: it is no export of depth"),
    ],
)
def test_what_it_is_not_is_refused_in_one_sentence(
    tmp_path: Path, kind: Kind, table: str, rows: Rows, reason: str
) -> None:
    with pytest.raises(ArchiveError, match=reason):
        checked_export(exported(tmp_path, table, rows), kind, "binance", BTC)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = exported(tmp_path, "bronze.trades", [trade(n) for n in range(4)])
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ArchiveError, match=r"cannot be read \(.+\): export it again\.$"):
        checked_export(path, "trades", "binance", BTC)
