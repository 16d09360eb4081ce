"""The client in Python, over tables in memory: which rows it gives, which files it asks for, and what it says."""

import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_pipeline import lake
from crypto_pipeline.lake_part import Span, _ordered, partitions_of
from crypto_pipeline.lake_sql import SqlError
from shared.settings import PROJECT, Settings
from tests.crypto_pipeline.engines import candle, minute, version
from tests.crypto_pipeline.stored_tables import Tables

DAY = ("2026-08-06", "2026-08-07")
PRICE = Decimal("63000.12")


def trade(at: int, trade_id: int, **changes: Any) -> dict[str, Any]:
    time = minute(at)
    row = {"exchange": "binance", "symbol": "BTCUSDT", "event_time": time, "trade_id": trade_id, "price": PRICE}
    return row | {"date": f"{time:%Y-%m-%d}", "hour": f"{time:%H}"} | changes


def minutes_of(rows: lake.Rows) -> list[int]:
    starts = rows.to_arrow()["interval_start"].to_pylist()
    return [(start - minute(0)) // timedelta(minutes=1) for start in starts]


@given(st.lists(st.tuples(st.integers(0, 3) | st.none(), st.sampled_from("xyz")), max_size=6))
def test_rows_are_in_order_whether_or_not_they_were(values: list[tuple[int | None, str]]) -> None:
    schema = pa.schema([("at", pa.int64()), ("id", pa.string())])
    rows = pa.Table.from_pylist([{"at": at, "id": name} for at, name in values], schema)
    found = [(row["at"], row["id"]) for row in _ordered(rows, ("at", "id")).to_pylist()]
    assert found == sorted(values, key=lambda each: (each[0] is None, each[0] or 0, each[1]))


class TestWhichRows:
    def test_they_are_those_of_symbol_exchange_interval_and_range_in_time(self, tables: Tables) -> None:
        others = [candle(1, 9, symbol="ETHUSDT"), candle(1, 9, exchange="other")]
        tables.has("silver.ohlcv_1m", [candle(3, 3), *others, candle(0, 0), candle(2, 2), candle(1, 1)])
        rows = lake.ohlcv("BTCUSDT", "1m", minute(1), minute(3)).to_arrow()
        assert rows["interval_start"].to_pylist() == [minute(1), minute(2)]
        assert rows["close"].to_pylist() == [1.0, 2.0]

    def test_candles_have_the_columns_of_fact_ohlcv(self, tables: Tables) -> None:
        tables.has("silver.ohlcv_1m", [candle(0, 1)])
        asked = lake.query("from silver.fact_ohlcv limit 0", Settings())
        for interval, rows in (("1m", lake.ohlcv("BTCUSDT", "1m", *DAY)), ("1d", lake.ohlcv("BTCUSDT", "1d", *DAY))):
            assert rows.to_arrow().column_names == asked.column_names, interval

    def test_trades_of_one_moment_are_in_the_order_of_their_ids(self, tables: Tables) -> None:
        tables.has("bronze.trades", [trade(1, 12), trade(0, 10), trade(1, 11), trade(2, 13)])
        assert lake.trades("BTCUSDT", minute(0), minute(2)).to_arrow()["trade_id"].to_pylist() == [10, 11, 12]

    def test_a_book_without_the_exchanges_time_lies_where_it_was_received(self, tables: Tables) -> None:
        book = {"exchange": "binance", "symbol": "BTCUSDT", "levels": 5, "date": "2026-08-06", "hour": "00"}
        rows = [book | {"update_id": n, "received_at": minute(n), "bids": [], "asks": []} for n in (2, 1, 0)]
        tables.has("bronze.depth", rows)
        assert lake.depth("BTCUSDT", minute(1), minute(3)).to_arrow()["update_id"].to_pylist() == [1, 2]

    def test_of_a_range_that_has_expired_in_part_a_sentence_says_what_is_still_there(self, tables: Tables) -> None:
        day = {"what": "bronze.depth", "exchange": "", "symbol": "", "day": "2026-08-05"}
        tables.has("bronze.expired", [day])
        rows = lake.depth("BTCUSDT", "2026-08-05T12:00", "2026-08-06T00:05")
        with pytest.raises(lake.NotStoredError) as refused:
            rows.to_arrow()
        assert str(refused.value) == (
            "Of bronze.depth, 2026-08-05T12:00:00Z to 2026-08-06T00:00:00Z has expired by config/retention.yaml; of "
            "what was asked for, 2026-08-06T00:00:00Z to 2026-08-06T00:05:00Z is still kept."
        )
        whole = lake.depth("BTCUSDT", "2026-08-05T12:00", "2026-08-05T13:00")
        with pytest.raises(lake.NotStoredError, match="what is kept begins at 2026-08-06T00:00:00Z"):
            whole.to_arrow()

    def test_a_quiet_range_within_what_is_stored_has_no_rows(self, tables: Tables) -> None:
        tables.has("silver.ohlcv_1m", [candle(0, 1), candle(9, 1)])
        assert lake.ohlcv("BTCUSDT", "1m", minute(3), minute(6)).to_arrow().num_rows == 0

    def test_a_pair_has_either_symbol_and_a_risk_is_of_its_subject(self, tables: Tables) -> None:
        pairs = [("BTCUSDT", "ETHUSDT"), ("BNBUSDT", "BTCUSDT"), ("BNBUSDT", "ETHUSDT")]
        tables.has("gold.correlations", [{"symbol_a": one, "symbol_b": other} for one, other in pairs])
        found = lake.gold("correlations", symbol="BTCUSDT").to_arrow().select(["symbol_a", "symbol_b"]).to_pylist()
        assert [tuple(row.values()) for row in found] == [pairs[1], pairs[0]]
        tables.has("gold.risk_metrics", [{"subject": "core"}, {"subject": "BTCUSDT"}])
        assert lake.gold("risk_metrics", symbol="core").to_arrow()["subject"].to_pylist() == ["core"]

    def test_a_table_of_gold_without_a_choice_is_given_whole(self, tables: Tables) -> None:
        tables.has("gold.market_overview", [{"symbol": "ETHUSDT"}, {"symbol": "BTCUSDT"}])
        assert lake.gold("gold.market_overview").to_arrow()["symbol"].to_pylist() == ["BTCUSDT", "ETHUSDT"]

    @pytest.mark.parametrize(
        ("min_status", "kept"),
        [("complete", [0]), ("repaired", [0, 1]), ("pending", [0, 1, 2]), ("partial", [*range(4)])],
    )
    def test_candles_worse_than_min_status_are_left_out(
        self, tables: Tables, min_status: lake.Status, kept: list[int]
    ) -> None:
        statuses = ("complete", "repaired", "pending", "partial")
        tables.has("silver.ohlcv_1m", [candle(at, 1, status=status) for at, status in enumerate(statuses)])
        assert minutes_of(lake.ohlcv("BTCUSDT", "1m", *DAY, min_status=min_status)) == kept
        only = lake.ohlcv("BTCUSDT", "1m", *DAY, min_status=min_status, columns=["close"]).to_arrow()
        assert (only.num_rows, only.column_names) == (len(kept), ["close"])

    def test_without_a_word_about_it_they_are_proven(self, tables: Tables) -> None:
        tables.has("silver.ohlcv_1m", [candle(0, 1, status="repaired"), candle(1, 1, status="pending")])
        assert minutes_of(lake.ohlcv("BTCUSDT", "1m", *DAY)) == [0]


class TestAsOf:
    @pytest.fixture(autouse=True)
    def _revised(self, tables: Tables) -> None:
        versions = [version(1, 1, 2, 5), version(2, 2, 5, 9)]
        tables.has("silver.ohlcv_1m", [candle(0, 3, known_at=9, superseded=versions), candle(6, 6, known_at=7)])

    @pytest.mark.parametrize(("at", "closes"), [(2, [1.0]), (5, [2.0]), (7, [2.0, 6.0]), (9, [3.0, 6.0])])
    def test_candles_are_what_was_known_then(self, at: int, closes: list[float]) -> None:
        assert lake.ohlcv("BTCUSDT", "1m", *DAY, as_of=minute(at)).to_arrow()["close"].to_pylist() == closes

    def test_the_first_version_can_count_as_known_from_the_end_of_its_interval(self) -> None:
        live = lake.ohlcv("BTCUSDT", "1m", *DAY, as_of=minute(1), assume_live=True, columns=["close"])
        assert live.to_arrow().to_pylist() == [{"close": 1.0}]

    def test_where_nothing_was_known_it_says_so(self) -> None:
        with pytest.raises(lake.NotStoredError, match=r"nothing was known at 2026-08-06T00:01:00Z: .*assume_live=True"):
            lake.ohlcv("BTCUSDT", "1m", *DAY, as_of=minute(1)).to_arrow()

    def test_sql_is_answered_as_of_then(self) -> None:
        rows = lake.sql("select close from silver.ohlcv_1m order by close", as_of=minute(7)).to_arrow()
        assert rows["close"].to_pylist() == [2.0, 6.0]
        with pytest.raises(SqlError, match="As of a time there is no table"):
            lake.sql("from bronze.trades", as_of=minute(7)).to_arrow()


class TestWhichFiles:
    def test_only_the_months_of_the_range_and_the_files_of_the_symbol_are_asked_for(self, tables: Tables) -> None:
        stored = tables.has("silver.ohlcv", [candle(0, 1, "1h"), candle(0, 1, "1d")])
        lake.ohlcv("BTCUSDT", "1h", "2026-07-31T23:00", "2026-09-01").to_arrow()
        [(_, filters)] = stored.reads
        assert sorted(filters) == [
            ("interval", "IN", "1h"),
            ("month", "IN", "2026-07,2026-08"),
            ("symbol", "IN", "BTCUSDT"),
        ]

    def test_only_the_needed_columns_are_read(self, tables: Tables) -> None:
        stored = tables.has("silver.ohlcv_1m", [candle(0, 1)])
        frame = lake.ohlcv("BTCUSDT", "1m", *DAY, min_status="partial").lazy()
        assert stored.reads == []
        assert frame.select((pl.col("high") - pl.col("low")).alias("range")).collect()["range"].to_list() == [0.0]
        [(columns, _)] = stored.reads
        assert columns == {"high", "low", "exchange", "symbol", "interval", "interval_start"}

    def test_an_hour_over_midnight_is_read_from_two_files(self, tables: Tables) -> None:
        stored = tables.has("bronze.trades", [trade(5, 1)])
        lake.trades("BTCUSDT", "2026-08-05T23:30", "2026-08-06T00:30").to_arrow()
        asked = [{name: values for name, _, values in filters if name != "symbol"} for _, filters in stored.reads]
        assert asked == [{"date": "2026-08-05", "hour": "23"}, {"date": "2026-08-06", "hour": "00"}]

    @given(
        st.timedeltas(timedelta(), timedelta(days=20)).map(lambda after: datetime(2024, 2, 20, tzinfo=UTC) + after),
        st.timedeltas(timedelta(microseconds=1), timedelta(days=12)),
    )
    def test_the_hours_asked_for_are_those_of_the_range_each_once(self, start: datetime, length: timedelta) -> None:
        asked = []
        for filters in partitions_of(("date", "hour"), Span(start, start + length)):
            values = {name: one.split(",") for name, _, one in filters}
            asked += [f"{day}T{hour}" for day in values["date"] for hour in values["hour"]]
        hour = start.replace(minute=0, second=0, microsecond=0)
        wanted = []
        while hour < start + length:
            wanted.append(f"{hour:%Y-%m-%dT%H}")
            hour += timedelta(hours=1)
        assert sorted(asked) == wanted


class TestForms:
    @pytest.fixture(autouse=True)
    def _candles(self, tables: Tables) -> None:
        tables.has("silver.ohlcv_1m", [candle(at, 1, close=PRICE + at) for at in range(3)])

    @pytest.fixture
    def rows(self) -> lake.Rows:
        return lake.ohlcv("BTCUSDT", "1m", *DAY, columns=["interval_start", "close"])

    def test_pandas(self, rows: lake.Rows) -> None:
        frame = rows.to_pandas()
        assert frame["close"].tolist() == [63000.12, 63001.12, 63002.12]
        assert frame["interval_start"].tolist() == [pd.Timestamp(minute(at)) for at in range(3)]
        assert frame.dtypes.map(str).to_dict() == {"interval_start": "datetime64[us, UTC]", "close": "float64"}

    def test_polars(self, rows: lake.Rows) -> None:
        frame = rows.to_polars()
        assert frame.schema == {"interval_start": pl.Datetime("us", "UTC"), "close": pl.Float64()}
        assert pl.DataFrame(rows).equals(frame)

    def test_a_lazy_frame_is_the_same(self, rows: lake.Rows) -> None:
        frame = rows.lazy()
        assert frame.collect().equals(rows.to_polars())
        assert frame.filter(pl.col("close") > 63001).head(1).collect()["close"].to_list() == [63001.12]
        assert frame.select(pl.len()).collect().item() == 3

    def test_exact_decimals_are_those_of_the_table(self) -> None:
        rows = lake.ohlcv("BTCUSDT", "1m", *DAY, columns=["close"], exact=True)
        assert rows.to_pandas()["close"].tolist() == [PRICE, PRICE + 1, PRICE + 2]
        assert rows.to_polars()["close"].to_list() == [PRICE, PRICE + 1, PRICE + 2]
        assert rows.lazy().collect().schema == {"close": pl.Decimal(38, 18)}

    def test_an_answer_to_sql_has_them_too(self) -> None:
        rows = lake.sql("select close, symbol from silver.fact_ohlcv where interval = '1m' order by 1;")
        assert rows.to_pandas()["close"].tolist() == [63000.12, 63001.12, 63002.12]
        assert rows.lazy().select("symbol").unique().collect()["symbol"].to_list() == ["BTCUSDT"]
        exact = lake.sql("select max(close) as top from silver.ohlcv_1m", exact=True)
        assert exact.to_arrow().to_pylist() == [{"top": PRICE + 2}]


class TestTimes:
    @pytest.mark.parametrize(
        ("start", "end"),
        [
            (date(2026, 8, 6), date(2026, 8, 7)),
            ("2026-08-06", "2026-08-06T00:03Z"),
            ("2026-08-06T02:00+02:00", " 2026-08-06 00:03 "),
            (datetime(2026, 8, 6, 2, tzinfo=timezone(timedelta(hours=2))), minute(3)),
            (pd.Timestamp("2026-08-06", tz="UTC"), pd.Timestamp("2026-08-06 00:03", tz="UTC")),
        ],
    )
    def test_a_time_may_be_written_in_many_ways(self, tables: Tables, start: lake.Time, end: lake.Time) -> None:
        tables.has("silver.ohlcv_1m", [candle(at, 1) for at in range(3)])
        assert minutes_of(lake.ohlcv("BTCUSDT", "1m", start, end)) == [0, 1, 2]

    @pytest.mark.parametrize(
        ("start", "end", "sentence"),
        [
            ("2026-08-07", "2026-08-06", r"^start 2026-08-07T00:00:00Z is not before end 2026-08-06T00:00:00Z: "),
            ("2026-08-07", "2026-08-07", r"a range is \[start, end\)\.$"),
            ("yesterday", "2026-08-06", r"^start 'yesterday' is no time: write '2026-11-21T10:00', in UTC\.$"),
            ("2026-08-06", datetime(2026, 8, 7), r"^end 2026-08-07 00:00:00 is in no zone: "),  # noqa: DTZ001
        ],
    )
    def test_a_range_that_is_none_is_refused_at_once(self, start: lake.Time, end: lake.Time, sentence: str) -> None:
        with pytest.raises(ValueError, match=sentence):
            lake.trades("BTCUSDT", start, end)


class TestErrors:
    @pytest.mark.parametrize(
        ("asked", "sentence"),
        [
            (lambda: lake.ohlcv("BTCUSDT", "7m", *DAY), r"no interval '7m'\. There are: 1m, 5m, 15m, 1h, 4h, 1d\."),
            (lambda: lake.indicators("BTCUSDT", "1s", *DAY), "no interval '1s'"),
            (
                lambda: lake.ohlcv("BTCUSDT", "1m", *DAY, min_status="good"),
                "There are: complete, repaired, ",
            ),
            (lambda: lake.gold("risk_metric"), r"no table gold\.risk_metric\. There are: gold\.risk_metrics, "),
            (lambda: lake.gold("market_overview", start="2026-08-06"), "are of no time: leave it out"),
            (lambda: lake.gold("portfolio_performance", symbol="BTCUSDT"), "are of no symbol: leave it out"),
            (lambda: lake.trades("BTCUSDT", *DAY, columns=["prize"]), r"no column 'prize'\. It has: price, "),
            (lambda: lake.ohlcv("BTCUSDT", "1m", *DAY, assume_live=True), "give both"),
        ],
    )
    def test_an_argument_that_cannot_be_right_is_refused_at_once(self, asked: Any, sentence: str) -> None:
        with pytest.raises(ValueError, match=sentence):
            asked()

    def test_an_unknown_symbol_is_answered_with_those_there_are_the_likeliest_first(self, tables: Tables) -> None:
        rows = lake.trades("ethusdt", *DAY)
        with pytest.raises(
            lake.NotStoredError, match=r"^The lake has no symbol 'ethusdt'\. It has: ETHUSDT, BTCUSDT\.$"
        ):
            rows.to_pandas()
        with pytest.raises(lake.NotStoredError, match="no symbol 'ETH'"):
            lake.gold("correlations", symbol="ETH").to_arrow()

    def test_of_many_symbols_it_names_some(self, tables: Tables) -> None:
        tables.has("silver.ohlcv", [candle(0, 1, "1d", symbol=f"S{n:03}USDT") for n in range(300)])
        with pytest.raises(lake.NotStoredError, match=r"It has: S041USDT, (S\d+USDT, ){18}S\d+USDT and 280 more\.$"):
            lake.trades("S41USDT", *DAY).to_arrow()

    def test_an_unknown_exchange_is_answered_with_those_there_are(self, tables: Tables) -> None:
        with pytest.raises(lake.NotStoredError, match=r"no exchange 'kraken'\. It has: binance\.$"):
            lake.ohlcv("BTCUSDT", "1m", *DAY, exchange="kraken").to_arrow()

    def test_a_range_that_is_not_there_names_the_one_that_is(self, tables: Tables) -> None:
        tables.has("silver.ohlcv_1m", [candle(0, 1), candle(9, 1)])
        reaches = r"from 2026-08-06T00:00:00Z to 2026-08-06T00:09:00Z\.$"
        for span in (("2025-01-01", "2025-01-02"), ("2026-08-06T00:09:01", "2026-09-02")):
            with pytest.raises(lake.NotStoredError, match=reaches):
                lake.ohlcv("BTCUSDT", "1m", *span).to_arrow()

    def test_of_trades_it_names_the_hours_there_are(self, tables: Tables) -> None:
        tables.has("bronze.trades", [trade(5, 1), trade(185, 2)])
        with pytest.raises(lake.NotStoredError, match=r"from 2026-08-06T00:00:00Z to 2026-08-06T04:00:00Z\.$"):
            lake.trades("BTCUSDT", "2025-01-01", "2025-01-02").to_arrow()

    def test_a_table_without_rows_of_the_symbol_says_so(self, tables: Tables) -> None:
        for rows in (lake.indicators("BTCUSDT", "1h", *DAY), lake.tickers("BTCUSDT", *DAY)):
            with pytest.raises(lake.NotStoredError, match=r"^There is nothing of BTCUSDT in \w+\.\w+ yet\.$"):
                rows.to_arrow()

    def test_a_lake_without_candles_says_when_they_come(self, tables: Tables) -> None:
        tables.has("silver.ohlcv", [])
        with pytest.raises(lake.NotStoredError, match="no candles yet: the first come about two minutes after"):
            lake.ohlcv("BTCUSDT", "1m", *DAY).to_arrow()

    def test_where_all_candles_are_worse_than_min_status_it_counts_them_and_names_the_cure(
        self, tables: Tables
    ) -> None:
        tables.has(
            "silver.ohlcv_1m", [candle(at, 1, status=s) for at, s in enumerate(("partial", "pending", "pending"))]
        )
        with pytest.raises(lake.NotStoredError, match=r"2 pending, 1 partial\. Ask for min_status='partial'\.$"):
            lake.ohlcv("BTCUSDT", "1m", *DAY).to_arrow()

    def test_wrong_sql_is_answered_with_the_tables_there_are(self, tables: Tables) -> None:
        with pytest.raises(SqlError, match=r"There is no table ohlcv_1m\. There are: silver\.ohlcv_1m, "):
            lake.sql("from ohlcv_1m").to_arrow()


class TestInAProcessOfItsOwn:
    """As a researcher's: what is imported, and what is said where no lake answers."""

    HEAVY = ("pyspark", "py4j", "dagster", "boto3", "talib", "sklearn")
    LATER = ("pandas", "polars", "duckdb")

    def run(self, script: str) -> str:
        environment = os.environ | {"S3_ENDPOINT": "http://127.0.0.1:1", "S3_ACCESS_KEY": "me", "S3_SECRET_KEY": "it"}
        command = [sys.executable, "-c", "import sys\nfrom crypto_pipeline import lake\n" + script]
        done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def test_to_import_it_imports_neither_spark_nor_what_a_form_needs(self) -> None:
        loaded = f"print([name for name in {(*self.HEAVY, *self.LATER)} if name in sys.modules])"
        assert self.run(loaded) == "[]"

    def test_to_ask_imports_no_spark_either_and_says_that_no_lake_answers(self) -> None:
        printed = self.run(
            "print(lake.sql('select 1 as n', as_of='2026-11-02').to_pandas().n[0])\n"
            "try:\n"
            "    lake.indicators('BTCUSDT', '5m', '2026-11-01', '2026-11-02').to_pandas()\n"
            "except lake.LakeError as error:\n"
            "    print(error)\n"
            f"print([name for name in {self.HEAVY} if name in sys.modules])"
        )
        answer, error, loaded = printed.splitlines()
        assert (answer, loaded) == ("1", "[]")
        assert error.startswith("The lake is not running: nothing answers at http://127.0.0.1:1.")
