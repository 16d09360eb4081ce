"""What becomes of rows that are brought into bronze: new ones go in, what is stored stays."""

from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from crypto_pipeline import conflicts
from crypto_pipeline.bronze import klines, quarantine, trades
from crypto_pipeline.history.archives import Part, checked
from crypto_pipeline.history.fetch import as_rows
from crypto_pipeline.history.importing import import_parts
from crypto_pipeline.history.load import DISAGREES, load
from streaming.exchanges.binance import Binance
from tests.crypto_pipeline.history.conftest import BTC, LocalStaging, Maker, MemoryLake, kline_line, micros

DAY = micros("2026-11-20")


def traded(archive_file: Maker, *lines: str, name: str = "BTCUSDT-trades-2026-11-20.zip") -> pa.Table:
    archive = checked(archive_file(name, *lines), "trades", "binance", BTC, "BTCUSDT")
    return pa.concat_tables([part.rows for part in archive.parts()])


def line(trade_id: int, price: str = "2", at: int = DAY) -> str:
    return f"{trade_id},{price},3,{Decimal(price) * 3},{at},True,True"


def stored(lake: MemoryLake) -> list[Any]:
    return sorted(lake.read(trades.TABLE).collect(), key=lambda row: row.trade_id)


def test_loading_a_file_twice_changes_nothing(lake: MemoryLake, staging: LocalStaging, archive_file: Maker) -> None:
    rows = traded(archive_file, line(1), line(2))
    first, again = (load(lake, staging, "trades", rows) for _ in range(2))  # type: ignore[arg-type]
    assert (first.new, first.there) == (2, 0)
    assert (again.new, again.there, again.differing) == (0, 2, 0)
    assert [row.trade_id for row in stored(lake)] == [1, 2]
    assert {row.date + row.hour for row in stored(lake)} == {"2026-11-2000"}
    assert {row.quote_quantity for row in stored(lake)} == {Decimal(6)}


def test_a_row_that_disagrees_is_recorded_and_what_is_stored_stays(
    lake: MemoryLake, staging: LocalStaging, archive_file: Maker
) -> None:
    load(lake, staging, "trades", traded(archive_file, line(1)))  # type: ignore[arg-type]
    done = load(lake, staging, "trades", traded(archive_file, line(1, "9"), line(2)))  # type: ignore[arg-type]
    assert (done.new, done.there, done.differing) == (1, 0, 1)
    assert [row.price for row in stored(lake)] == [Decimal(2), Decimal(2)]
    (kept,) = lake.read(quarantine.TABLE).collect()
    assert (kept.rule, kept.table_name, kept.date) == (DISAGREES, "bronze.trades", "2026-11-20")
    assert '"price":9.000000000000000000' in kept.row


def test_a_time_in_milliseconds_is_the_same_as_one_in_microseconds(
    lake: MemoryLake, staging: LocalStaging, archive_file: Maker
) -> None:
    load(lake, staging, "trades", traded(archive_file, line(1, at=DAY + 1_234)))  # type: ignore[arg-type]
    done = load(lake, staging, "trades", traded(archive_file, line(1, at=(DAY + 1_234) // 1000)))  # type: ignore[arg-type]
    assert (done.there, done.differing) == (1, 0)


def test_a_row_that_breaks_a_rule_of_the_table_goes_to_quarantine(
    lake: MemoryLake, staging: LocalStaging, archive_file: Maker
) -> None:
    done = load(lake, staging, "trades", traded(archive_file, line(1), line(2, "0")))  # type: ignore[arg-type]
    assert done.new == 1
    assert done.quarantined == {"price_is_positive": 1}
    assert [row.rule for row in lake.read(quarantine.TABLE).collect()] == ["price_is_positive"]


def test_a_trade_whose_product_is_not_what_its_file_says_goes_on_and_is_marked(
    lake: MemoryLake, staging: LocalStaging, archive_file: Maker
) -> None:
    path = archive_file("BTCUSDT-trades-2026-11-20.zip", f"7,2,2,4,{DAY},True,True", f"8,2,2,5,{DAY},True,True")
    (part,) = checked(path, "trades", "binance", BTC, "BTCUSDT").parts()
    done = load(lake, staging, "trades", part.rows, part.refused)  # type: ignore[arg-type]
    assert (done.new, done.quarantined) == (2, {})
    broken = {row.trade_id: row.broken_rules for row in lake.read(trades.TABLE).collect()}
    assert broken == {7: [], 8: ["quote_quantity_is_price_times_quantity"]}


def test_what_a_file_alone_shows_to_be_wrong_is_in_quarantine_by_its_rule(
    lake: MemoryLake, staging: LocalStaging, archive_file: Maker
) -> None:
    path = archive_file("BTCUSDT-1m-2026-11-20.zip", kline_line(DAY), kline_line(DAY + 60_001_000))
    (part,) = checked(path, "klines", "binance", BTC, "BTCUSDT").parts()
    done = load(lake, staging, "klines", part.rows, part.refused)  # type: ignore[arg-type]
    assert (done.new, dict(done.quarantined)) == (1, {"opens_and_ends_on_its_minute": 1})
    (row,) = lake.read(klines.TABLE).collect()
    assert (row.month, row.source, row.is_closed, row.first_trade_id) == ("2026-11", "archive", True, None)
    assert row.ordering == 10**18


def test_another_writer_that_was_quicker_is_waited_for(
    lake: MemoryLake, staging: LocalStaging, archive_file: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conflicts, "wait_random_exponential", lambda **_options: lambda _state: 0)
    lake.refusals.append(RuntimeError("org.apache.hudi.exception.HoodieWriteConflictException: too late"))
    waited: list[object] = []
    done = load(lake, staging, "trades", traded(archive_file, line(1)), on_conflict=waited.append)  # type: ignore[arg-type]
    assert (done.new, len(waited)) == (1, 1)
    lake.refusals.append(RuntimeError("another fault"))
    with pytest.raises(RuntimeError, match="another fault"):
        load(lake, staging, "trades", traded(archive_file, line(2)))  # type: ignore[arg-type]


def test_rows_of_files_and_of_rest_go_in_together(lake: MemoryLake, staging: LocalStaging, archive_file: Maker) -> None:
    path = archive_file("BTCUSDT-1m-2026-11-20.zip", kline_line(DAY))
    of_file = checked(path, "klines", "binance", BTC, "BTCUSDT").parts()
    reply = f'[[{DAY + 60_000_000},"1","2","0.5","1.5","10",{DAY + 119_999_999},"15",3,"4","6","0"]]'
    of_rest = Part(as_rows(Binance().klines(reply.encode(), BTC, DAY * 2), "klines"), pa.table({}), 0)
    done = import_parts(lake, staging, "klines", [*of_file, of_rest])  # type: ignore[arg-type]
    assert done.new == 2
    assert sorted(row.source for row in lake.read(klines.TABLE).collect()) == ["archive", "rest"]
