"""What each format's file says, read as its readers read it, beside what the lake has."""

from collections.abc import Sequence
from datetime import UTC, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import csv as arrow_csv

from crypto_pipeline import contracts
from crypto_pipeline.export import csv, hftbacktest, nautilus
from crypto_pipeline.history.archives import checked
from crypto_pipeline.history.layouts import Kind
from crypto_pipeline.reader import arrow_schema, as_floats
from tests.crypto_pipeline.engines import minute
from tests.crypto_pipeline.export.conftest import Exporting, book, half_hourly, rows_of, trade
from tests.crypto_pipeline.history.conftest import BTC
from tests.crypto_pipeline.stored_tables import Tables

DAY = "2026-08-06"
DECIMAL = pa.decimal128(38, 18)
Row = dict[str, Any]
prices = st.decimals("0.000000000000000001", "99999999999999999999", places=18)


def as_stored(name: str, rows: Sequence[Row]) -> pa.Table:
    """Rows with the columns of their table."""
    table = contracts.tables()[name]
    return pa.Table.from_pylist(
        [{column: row.get(column) for column in table.column_names} for row in rows], arrow_schema(table)
    )


def imported(path: Path, kind: Kind) -> list[dict[str, Any]]:
    """What `crypto import` makes of a file, without a warning or a refused row."""
    file = checked(path, kind, "binance", BTC, "BTCUSDT")
    assert file.warnings == ()
    parts = list(file.parts())
    assert sum(part.refused.num_rows + part.repeated for part in parts) == 0
    rows: list[dict[str, Any]] = pa.concat_tables([part.rows for part in parts]).to_pylist()
    return rows


class TestParquet:
    @pytest.mark.parametrize(
        ("data", "table", "files"),
        [
            ("trades", "bronze.trades", ["trades-2026-08-06", "trades-2026-08-07"]),
            ("depth", "bronze.depth", ["depth-2026-08-06", "depth-2026-08-07"]),
            ("candles", "silver.ohlcv", ["5m-2026-08"]),
        ],
    )
    def test_the_rows_are_those_of_the_table_in_time_all_columns_exact(
        self, exporting: Exporting, market: Tables, tmp_path: Path, data: Any, table: str, files: list[str]
    ) -> None:
        exporting("parquet", data)
        rows = pa.concat_tables([pq.read_table(tmp_path / f"BTCUSDT-{name}.parquet") for name in files])
        contract = market.stored[table].table
        hidden = {"ordering", "superseded", "date", "hour", "month"}
        offered = [name for name in contract.column_names if name not in hidden]
        assert rows.column_names == offered
        assert rows.schema.remove_metadata() == arrow_schema(contract, offered)
        wanted = [{name: row.get(name) for name in offered} for row in rows_of(market, table)]
        assert rows.to_pylist() == wanted


class TestCsv:
    def test_trades_are_a_file_of_the_archive_and_exact(
        self, exporting: Exporting, market: Tables, tmp_path: Path
    ) -> None:
        exporting("csv", "trades")
        names = (
            "trade_id",
            "price",
            "quantity",
            "quote_quantity",
            "event_time",
            "is_buyer_maker",
            "symbol",
            "base_asset",
        )
        read = [
            row for day in (DAY, "2026-08-07") for row in imported(tmp_path / f"BTCUSDT-trades-{day}.csv", "trades")
        ]
        stored = rows_of(market, "bronze.trades")
        assert [[row[name] for name in names] for row in read] == [[row[name] for name in names] for row in stored]
        head, first, *_ = (tmp_path / f"BTCUSDT-trades-{DAY}.csv").read_text().splitlines()
        assert head.replace('"', "") == "trade_id,price,quantity,quote_quantity,event_time,is_buyer_maker,is_best_match"
        assert first == "900,63000.12000000,0.00512345,322.7779648140000000,1785974401234567,False,True"

    def test_candles_of_a_minute_are_klines_of_the_archive(
        self, exporting: Exporting, market: Tables, tmp_path: Path
    ) -> None:
        exporting("csv", interval="1m")
        read = imported(tmp_path / "BTCUSDT-1m-2026-08.csv", "klines")
        same = (
            "open",
            "high",
            "low",
            "close",
            "volume",
            "quote_volume",
            "taker_buy_volume",
            "trade_count",
            "is_closed",
        )
        stored = rows_of(market, "silver.ohlcv_1m")
        assert [[row[name] for name in same] for row in read] == [[row[name] for name in same] for row in stored]
        assert [row["open_time"] for row in read] == [row["interval_start"] for row in stored]
        assert [row["close_time"] for row in read] == [
            row["interval_end"] - timedelta(microseconds=1) for row in stored
        ]

    @settings(deadline=None, max_examples=30)
    @given(st.lists(st.tuples(prices, prices), min_size=1, max_size=5))
    def test_no_digit_is_lost(
        self, tmp_path_factory: pytest.TempPathFactory, values: list[tuple[Decimal, Decimal]]
    ) -> None:
        rows = [trade(0, trade_id=n, price=price, quote_quantity=other) for n, (price, other) in enumerate(values)]
        path = tmp_path_factory.mktemp("made") / "some.csv"
        csv.append(path, iter([csv.trades(as_stored("bronze.trades", rows))]))
        exact = arrow_csv.ConvertOptions(column_types={"price": DECIMAL, "quote_quantity": DECIMAL})
        read = arrow_csv.read_csv(path, convert_options=exact)
        assert list(zip(read["price"].to_pylist(), read["quote_quantity"].to_pylist(), strict=True)) == values

    def test_books_are_snapshots_of_five_levels_and_a_level_that_is_not_there_is_empty(
        self, exporting: Exporting, market: Tables, tmp_path: Path
    ) -> None:
        market.has("bronze.depth", [book(0), book(1, levels=2, event_time=minute(180))])
        exporting("csv", "depth")
        frame = pd.read_csv(tmp_path / f"BTCUSDT-book_snapshot_5-{DAY}.csv")
        assert list(frame.columns[:6]) == [
            *("exchange", "symbol", "timestamp", "local_timestamp", "asks[0].price", "asks[0].amount")
        ]
        assert frame["timestamp"].tolist() == [1785974401734567, 1785974400000000 + 180 * 60_000_000]
        assert frame["bids[0].price"].tolist() == [63000.12, 63000.12]
        assert frame["asks[1].price"].tolist() == [63001.13, 63001.13]
        assert frame["bids[4].amount"].isna().tolist() == [False, True]


class TestBacktestingPy:
    def test_pandas_reads_candles_by_their_start(self, exporting: Exporting, market: Tables, tmp_path: Path) -> None:
        exporting("backtesting.py")
        frame = pd.read_csv(tmp_path / "BTCUSDT-5m.csv", index_col="Date", parse_dates=True)
        stored = rows_of(market, "silver.ohlcv")
        assert list(frame.columns) == ["Open", "High", "Low", "Close", "Volume"]
        assert [at.tz_localize(UTC) for at in frame.index] == [row["interval_start"] for row in stored]
        for name in frame.columns:
            assert frame[name].tolist() == [float(row[name.lower()]) for row in stored]


class TestHftbacktest:
    def test_a_day_has_its_trades_and_books_with_the_times_of_both_sides(
        self, exporting: Exporting, market: Tables, tmp_path: Path
    ) -> None:
        exporting("hftbacktest", "depth")
        events = np.load(tmp_path / "BTCUSDT_20260806.npz")["data"]
        assert len(events) == 8 * (1 + 11)
        first, clear, *levels = events[:12]
        both, at = hftbacktest.EXCH | hftbacktest.LOCAL, 1785974401234567000
        assert (first["ev"], first["px"], first["qty"]) == (both | hftbacktest.BUY | 2, 63000.12, 0.00512345)
        assert (first["exch_ts"], first["local_ts"]) == (at, at + 40_000_000)
        assert clear["ev"] == both | 3
        assert [event["ev"] for event in levels] == [both | hftbacktest.BUY | 4] * 5 + [both | hftbacktest.SELL | 4] * 5
        assert [event["px"] for event in levels[:5]] == [63000.12, 63000.11, 63000.1, 63000.09, 63000.08]
        assert {event["exch_ts"] for event in levels} == {at + 500_000_000} == {event["local_ts"] for event in levels}

    def test_books_of_other_depths_lie_one_after_the_other(self) -> None:
        rows = [book(0, levels=3), book(1, levels=0), book(2, levels=1, asks=[])]
        events = hftbacktest.books(as_floats(as_stored("bronze.depth", rows)))
        kinds = [(int(event["ev"]) & 0xFF, int(event["ev"]) >> 28) for event in events]
        assert kinds == [(3, 0), *[(4, 2)] * 3, *[(4, 1)] * 3, (3, 0), (3, 0), (4, 2)]

    def test_what_was_not_received_live_is_known_when_it_happened(self) -> None:
        late = trade(0, received_at=None), trade(1, received_at=minute(0))
        events = hftbacktest.trades(as_floats(as_stored("bronze.trades", late)))
        assert events["local_ts"].tolist() == events["exch_ts"].tolist()

    @given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 9)), min_size=1, max_size=30))
    def test_each_side_has_every_event_once_in_its_own_order(self, times: list[tuple[int, int]]) -> None:
        events = np.zeros(len(times), hftbacktest.EVENT)
        events["exch_ts"] = [at for at, _ in times]
        events["local_ts"] = [at + later for at, later in times]
        events["order_id"] = range(len(times))
        made = hftbacktest.ordered(events)
        for flag, time in ((hftbacktest.EXCH, "exch_ts"), (hftbacktest.LOCAL, "local_ts")):
            mine = made[made["ev"] & np.uint64(flag) > 0]
            assert sorted(mine["order_id"]) == list(range(len(times)))
            assert (np.diff(mine[time]) >= 0).all()


class TestNautilus:
    @given(st.lists(st.decimals("-99999999999999999999", "99999999999999999999", places=16), min_size=1, max_size=9))
    def test_its_integers_are_the_decimals_times_ten_to_the_sixteenth(self, values: list[Decimal]) -> None:
        fixed = nautilus._fixed(pa.chunked_array([pa.array([Decimal(1), *values], DECIMAL).slice(1)]))
        read = [int.from_bytes(one, "little", signed=True) for one in fixed.to_pylist()]
        assert read == [int(f"{value:.16f}".replace(".", "")) for value in values]

    def test_the_places_are_those_of_the_steps_or_more_where_a_value_has_more(
        self, exporting: Exporting, market: Tables, tmp_path: Path
    ) -> None:
        exporting("nautilus", "trades")
        exporting("nautilus")
        found = {}
        for path in sorted((tmp_path / "data").rglob("*.parquet")):
            kept = pq.read_metadata(path).metadata
            found[path.parent.name] = (kept[b"price_precision"], kept[b"size_precision"])
        assert found == {"BTCUSDT.BINANCE": (b"2", b"8"), "BTCUSDT.BINANCE-5-MINUTE-LAST-EXTERNAL": (b"8", b"5")}

    def test_a_pair_of_which_the_lake_knows_no_steps_has_the_places_of_its_values(
        self, exporting: Exporting, market: Tables, tmp_path: Path
    ) -> None:
        market.has("silver.instruments", [])
        market.has("silver.ohlcv", [row for row in market.stored["silver.ohlcv"].rows if row["interval"] == "1d"])
        market.stored["silver.ohlcv"].rows = [*market.stored["silver.ohlcv"].rows, half_hourly(0)]
        exporting("nautilus")
        (path,) = (tmp_path / "data").rglob("*.parquet")
        assert pq.read_metadata(path).metadata[b"size_precision"] == b"5"
