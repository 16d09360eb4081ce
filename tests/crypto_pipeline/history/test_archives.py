"""Files of the public archive: what is believed, what is refused, and that no digit is lost."""

import zipfile
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from itertools import product
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_pipeline.history import archives
from crypto_pipeline.history.archives import Archive, ArchiveError, checked
from crypto_pipeline.history.layouts import Kind
from shared.events import exact_product
from tests.crypto_pipeline.history.conftest import BTC, Maker, kline_line, micros

DAY = micros("2026-11-20")
TRADE = f"7,61837.63000000,0.02000000,1236.75260000,{DAY + 5},True,True"


def opened(path: Path, kind: Kind = "trades") -> Archive:
    return checked(path, kind, "binance", BTC, "BTCUSDT")


def rows_of(path: Path, kind: Kind = "trades") -> pa.Table:
    return pa.concat_tables([part.rows for part in opened(path, kind).parts()])


def test_a_trade_is_read_exactly(archive_file: Maker) -> None:
    (row,) = rows_of(archive_file("BTCUSDT-trades-2026-11-20.zip", TRADE)).to_pylist()
    assert row == {
        "exchange": "binance",
        "symbol": "BTCUSDT",
        "base_asset": "BTC",
        "quote_asset": "USDT",
        "event_time": datetime(2026, 11, 20, 0, 0, 0, 5, tzinfo=UTC),
        "source": "archive",
        "connection_id": "archive:BTCUSDT-trades-2026-11-20.zip",
        "trade_id": 7,
        "price": Decimal("61837.63"),
        "quantity": Decimal("0.02"),
        "quote_quantity": Decimal("1236.7526"),
        "said_quote_quantity": Decimal("1236.7526"),
        "is_buyer_maker": True,
    }


def test_merged_fills_have_the_ids_of_their_trades(archive_file: Maker) -> None:
    path = archive_file("BTCUSDT-aggTrades-2026-11-20.zip", f"3,2.5,4.0,10,12,{DAY},False,True")
    (row,) = rows_of(path, "agg-trades").to_pylist()
    assert (row["agg_trade_id"], row["first_trade_id"], row["last_trade_id"]) == (3, 10, 12)
    assert row["quote_quantity"] == Decimal(10)


def test_a_plain_csv_with_a_header_is_read_like_a_zip(tmp_path: Path) -> None:
    path = tmp_path / "BTCUSDT-trades-2026-11-20.csv"
    path.write_text(f"id,price,qty,quoteQty,time,isBuyerMaker,isBestMatch\n{TRADE}\n")
    assert rows_of(path)["trade_id"].to_pylist() == [7]


@settings(deadline=None, max_examples=30)
@given(micros_of_day=st.integers(0, 86_399_999_999), in_milliseconds=st.booleans())
def test_milliseconds_and_microseconds_are_told_apart(
    tmp_path_factory: pytest.TempPathFactory, micros_of_day: int, in_milliseconds: bool
) -> None:
    at = DAY + micros_of_day
    written = at // 1000 if in_milliseconds else at
    path = tmp_path_factory.mktemp("made") / "BTCUSDT-trades-2026-11-20.csv"
    path.write_text(f"1,1,1,1,{written},True,True\n")
    expected = at // 1000 * 1000 if in_milliseconds else at
    assert rows_of(path)["event_time"].cast(pa.int64()).to_pylist() == [expected]


@settings(deadline=None, max_examples=30)
@given(
    price=st.decimals("0.00000001", "999999999", places=8),
    quantity=st.decimals("0.00000001", "9999999", places=8),
)
def test_the_product_is_exact(tmp_path_factory: pytest.TempPathFactory, price: Decimal, quantity: Decimal) -> None:
    product = exact_product(price, quantity)
    said = round(product, 8)
    path = tmp_path_factory.mktemp("made") / "mine.csv"
    path.write_text(f"1,{price:f},{quantity:f},{said:f},{DAY},True,True\n")
    assert rows_of(path)["quote_quantity"].to_pylist() == [product]


def test_a_file_that_mixes_units_is_refused(archive_file: Maker) -> None:
    path = archive_file("BTCUSDT-trades-2026-11-20.zip", TRADE, f"8,1,1,1,{DAY // 1000},True,True")
    with pytest.raises(ArchiveError, match="mixes milliseconds and microseconds"):
        rows_of(path)


def test_repeated_equal_rows_count_once(archive_file: Maker) -> None:
    (part,) = opened(archive_file("BTCUSDT-trades-2026-11-20.zip", TRADE, TRADE, TRADE)).parts()
    assert (part.rows.num_rows, part.repeated) == (1, 2)


def test_two_different_rows_of_one_id_are_an_error_that_names_it(archive_file: Maker) -> None:
    path = archive_file("BTCUSDT-trades-2026-11-20.zip", TRADE, f"7,1,1,1,{DAY},True,True")
    with pytest.raises(ArchiveError, match=r"different things of one trade_id \(7\)"):
        rows_of(path)


def test_a_file_whose_products_are_all_others_is_no_file_of_trades(archive_file: Maker) -> None:
    path = archive_file("BTCUSDT-trades-2026-11-20.zip", f"8,2,2,5,{DAY},True,True", f"9,2,2,5,{DAY},True,True")
    with pytest.raises(ArchiveError, match="no row keeps the rule quote_quantity_is_price_times_quantity"):
        rows_of(path)


def test_a_wrong_checksum_refuses_the_file(archive_file: Maker) -> None:
    path = archive_file("BTCUSDT-trades-2026-11-20.zip", TRADE, checksum="00ff")
    with pytest.raises(ArchiveError, match=r"is not what BTCUSDT-trades-2026-11-20.zip.CHECKSUM says"):
        opened(path)


def test_a_missing_checksum_only_warns(archive_file: Maker) -> None:
    path = archive_file("BTCUSDT-trades-2026-11-20.zip", TRADE, checksum=None)
    assert "CHECKSUM is missing" in opened(path).warnings[0]
    assert rows_of(path).num_rows == 1


@pytest.mark.parametrize("keep", [10, 120])
def test_a_corrupt_zip_is_refused(archive_file: Maker, keep: int) -> None:
    path = archive_file("BTCUSDT-trades-2026-11-20.zip", *[TRADE] * 50, checksum=None)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ArchiveError, match="is damaged"):
        opened(path)


def test_a_zip_with_a_changed_byte_is_refused(archive_file: Maker) -> None:
    path = archive_file("BTCUSDT-trades-2026-11-20.zip", TRADE, checksum=None)
    data = bytearray(path.read_bytes())
    data[70] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(ArchiveError, match="is damaged"):
        opened(path)


def test_a_zip_whose_rows_are_not_those_of_its_crc_is_refused_before_any_is_read(tmp_path: Path) -> None:
    path = tmp_path / "BTCUSDT-trades-2026-11-20.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        file.writestr("mine.csv", f"{TRADE}\n")
    path.write_bytes(path.read_bytes().replace(b"7,61837", b"9,61837"))
    with pytest.raises(ArchiveError, match=r"Bad CRC-32 for file 'mine.csv'"):
        opened(path)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_whatever_bit_of_a_zip_is_changed_its_rows_are_the_true_ones_or_it_is_refused(
    tmp_path: Path, compression: int
) -> None:
    path = tmp_path / "BTCUSDT-trades-2026-11-20.zip"
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("mine.csv", f"{TRADE}\n")
    whole, true = path.read_bytes(), rows_of(path)
    for place, bit in product(range(len(whole)), range(8)):
        changed = bytearray(whole)
        changed[place] ^= 1 << bit
        path.write_bytes(changed)
        with suppress(ArchiveError):
            assert rows_of(path).equals(true), f"bit {bit} of byte {place}"


def test_a_line_without_an_end_is_refused_before_it_fills_the_memory(archive_file: Maker) -> None:
    path = archive_file("mine.zip", "7" * 100_000)
    with pytest.raises(ArchiveError, match="a line of more than 4096 bytes"):
        list(opened(path).parts(block=8192))


@pytest.mark.parametrize(
    ("name", "kind", "reason"),
    [
        ("ETHUSDT-trades-2026-11-20.zip", "trades", "is a file of ETHUSDT, not of BTCUSDT"),
        ("BTCUSDT-aggTrades-2026-11-20.zip", "trades", "holds aggTrades, not trades"),
        ("BTCUSDT-1h-2026-11-20.zip", "klines", "holds 1h candles, not klines of 1m"),
    ],
)
def test_a_file_of_another_symbol_or_kind_is_refused(archive_file: Maker, name: str, kind: Kind, reason: str) -> None:
    with pytest.raises(ArchiveError, match=reason):
        opened(archive_file(name, TRADE), kind)


def test_a_file_of_another_kind_under_its_own_name_is_refused_by_its_columns(archive_file: Maker) -> None:
    with pytest.raises(ArchiveError, match="has 7 columns, a file of klines 12"):
        rows_of(archive_file("mine.zip", TRADE), "klines")


def test_rows_of_another_day_than_the_name_says_refuse_the_file(archive_file: Maker) -> None:
    with pytest.raises(ArchiveError, match="holds rows of 2026-11-20 to 2026-11-20, which its name does not say"):
        rows_of(archive_file("BTCUSDT-trades-2026-11-19.zip", TRADE))


@pytest.mark.parametrize("text", ["abc", "", "1.0000000000000000001", "123456789012345678901"])
def test_a_number_that_the_table_cannot_hold_refuses_the_file(archive_file: Maker, text: str) -> None:
    with pytest.raises(ArchiveError):
        rows_of(archive_file("BTCUSDT-trades-2026-11-20.zip", f"7,{text},1,1,{DAY},True,True"))


@pytest.mark.parametrize("unit", [1, 1000])
def test_a_kline_is_closed_and_ends_with_the_last_microsecond(archive_file: Maker, unit: int) -> None:
    (row,) = rows_of(archive_file("BTCUSDT-1m-2026-11-20.zip", kline_line(DAY, unit=unit)), "klines").to_pylist()
    assert row["is_closed"]
    assert row["close_time"] == row["event_time"] == datetime(2026, 11, 20, 0, 0, 59, 999_999, tzinfo=UTC)


def test_klines_off_the_grid_are_set_aside_and_the_others_go_on(archive_file: Maker) -> None:
    off = kline_line(DAY + 60_000_000 + 1_000)
    (part,) = opened(archive_file("BTCUSDT-1m-2026-11.zip", kline_line(DAY), off), "klines").parts()
    assert part.rows.num_rows == 1
    assert part.refused["rule"].to_pylist() == ["opens_and_ends_on_its_minute"]


def test_longer_candles_under_another_name_are_refused_by_their_grid(archive_file: Maker) -> None:
    with pytest.raises(ArchiveError, match="no row keeps the rule opens_and_ends_on_its_minute"):
        rows_of(archive_file("mine.zip", f"{DAY},1,2,0.5,1.5,10,{DAY + 3_599_999_999},15,3,1,1.5,0"), "klines")


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 10**6), unique=True, min_size=1), st.integers(20, 400))
def test_however_it_is_cut_into_blocks_the_rows_are_the_same(
    tmp_path_factory: pytest.TempPathFactory, ids: list[int], block: int
) -> None:
    path = tmp_path_factory.mktemp("made") / "mine.csv"
    path.write_text("".join(f"{number},2,3,6,{DAY},True,True\n" for number in ids))
    found = [one for part in opened(path).parts(block) for one in part.rows["trade_id"].to_pylist()]
    assert sorted(found) == sorted(ids)


def test_paths_are_those_of_the_archive() -> None:
    assert (
        archives.remote_path("trades", "BTCUSDT", "2026-11-20")
        == "/data/spot/daily/trades/BTCUSDT/BTCUSDT-trades-2026-11-20.zip"
    )
    assert (
        archives.remote_path("klines", "BTCUSDT", "2026-11")
        == "/data/spot/monthly/klines/BTCUSDT/1m/BTCUSDT-1m-2026-11.zip"
    )
