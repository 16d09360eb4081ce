"""Portfolios on the lake: followed, made again, changed in their file, and refused."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import Row, SparkSession

from crypto_pipeline.gold import portfolio_performance
from crypto_pipeline.gold.portfolio_performance import TABLE
from crypto_pipeline.refresh import refresh
from crypto_pipeline.silver import ohlcv, ohlcv_1m
from shared.settings import Settings, settings
from tests.crypto_pipeline.memory_lake import MemoryLake

FIRST = datetime(2026, 11, 1)  # noqa: DTZ001 (as Spark gives times: in UTC, without a zone)
HOUR, MINUTE, DAY = timedelta(hours=1), timedelta(minutes=1), timedelta(days=1)
SYMBOLS = """
tiers:
  all:
    - {symbol: BTCUSDT, name: Bitcoin}
    - {symbol: ETHUSDT, name: Ether}
    - {symbol: SOLUSDT, name: Solana}
"""
HALVES = """
  halves: {start: earliest, cash: 1000, weights: {BTC: 0.5, ETH: 0.5}, rebalance: monthly, fee_bps: 10}
"""
HELD = """
  held: {start: 2026-11-03, units: {BTC: 1}, cash: 5}
"""
TRADED = """
  traded: {start: 2026-11-02, transactions: t.csv}
"""
TRANSACTIONS = """time,type,symbol,quantity,price,fee,fee_asset
2026-11-02 10:00,deposit,USDT,100,,,
2026-11-02 11:00:30,buy,ETHUSDT,2,,1,USDT
2026-11-03 12:00,deposit,USDT,50,,,
2026-11-04 12:30,sell,ETHUSDT,1,20,,
"""


class Lake:
    """A lake with candles, and a file of portfolios."""

    def __init__(self, spark: SparkSession, folder: Path) -> None:
        self.lake = MemoryLake(spark)
        self.folder = folder
        (folder / "symbols.yaml").write_text(SYMBOLS)
        (folder / "t.csv").write_text(TRANSACTIONS)
        self.define(HALVES, HELD, TRADED)

    def define(self, *portfolios: str) -> None:
        (self.folder / "portfolio.yaml").write_text("portfolios:" + "".join(portfolios))

    def close(self, table: Any, symbol: str, start: datetime, close: str) -> None:
        interval, length = ("1h", HOUR) if table is ohlcv else ("1m", MINUTE)
        candle = {
            "exchange": "binance", "symbol": symbol, "interval": interval, "interval_start": start,
            "interval_end": start + length, "close": Decimal(close), "is_closed": True, "month": f"{start:%Y-%m}",
        }  # fmt: skip
        self.lake.put(table.TABLE, [candle])

    def run(self, now: datetime, **options: bool) -> dict[tuple[str, str, str], Row]:
        """The rows that a run writes, by portfolio, day and asset."""
        now = now.replace(tzinfo=UTC)
        self.lake.set_clock(now)
        before = len(self.lake.written)
        done = refresh(self.lake, portfolio_performance, now, **options)
        assert done.is_sound, done
        return {_key(row): row for _, rows in self.lake.written[before:] for row in rows}

    def rows(self) -> dict[tuple[str, str, str], Row]:
        return {_key(row): row for row in self.lake.rows(TABLE)}

    def said(self) -> list[dict[str, Any]]:
        return [{n: v for n, v in row.asDict().items() if n != "ingestion_ts"} for row in self.lake.rows(TABLE)]


def _key(row: Row) -> tuple[str, str, str]:
    return row.portfolio, f"{row.day:%d}", row.asset


@pytest.fixture
def there(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lake]:
    monkeypatch.setenv("CRYPTO_HOME", str(tmp_path))
    monkeypatch.setenv("SYMBOLS_FILE", str(tmp_path / "symbols.yaml"))
    monkeypatch.setenv("PORTFOLIO_FILE", str(tmp_path / "portfolio.yaml"))
    settings.cache_clear()
    assert Settings.load().portfolio_file == tmp_path / "portfolio.yaml"
    lake = Lake(spark, tmp_path)
    for day, btc, eth in ((1, "100", "10"), (2, "110", "10"), (3, "121", "12"), (4, "121", "15")):
        for symbol, close in (("BTCUSDT", btc), ("ETHUSDT", eth)):
            lake.close(ohlcv, symbol, FIRST + (day - 1) * DAY + 23 * HOUR, close)
    lake.close(ohlcv_1m, "ETHUSDT", FIRST + DAY + 11 * HOUR, "20")
    lake.close(ohlcv_1m, "BTCUSDT", FIRST + 4 * DAY + 9 * HOUR, "130")
    lake.close(ohlcv_1m, "ETHUSDT", FIRST + 4 * DAY + 9 * HOUR, "18")
    yield lake
    settings.cache_clear()


NOW = FIRST + 4 * DAY + 9 * HOUR + 2 * MINUTE


def test_portfolios_are_followed(there: Lake) -> None:
    made = there.run(NOW)
    assert {key[0:2] for key in made} == {
        *(("halves", day) for day in ("02", "03", "04", "05")),
        *(("held", day) for day in ("03", "04", "05")),
        *(("traded", day) for day in ("02", "03", "04", "05")),
    }
    today = made["held", "05", "TOTAL"]
    assert (today.value, today.profit, today.is_closed, today.as_of) == (135, 20, False, NOW - MINUTE)
    assert made["held", "03", "BTC"].price == 121
    assert today.growth == pytest.approx(135 / 115)
    assert today.benchmark_growth == pytest.approx(130 / 110)
    bought = made["traded", "02", "ETH"]
    assert (bought.units, bought.cost, bought.value) == (2, 41, 20), "at the close of its minute, with the fee"
    assert made["traded", "05", "ETH"].realised_profit == Decimal("-0.5")

    assert there.run(NOW) == {}, "nothing is new"
    assert there.run(NOW, from_scratch=True) == {}, "nor when all is made again"

    there.close(ohlcv_1m, "BTCUSDT", FIRST + 4 * DAY + 9 * HOUR + MINUTE, "140")
    again = there.run(NOW + MINUTE)
    assert {key[1] for key in again} == {"05"}, "a minute changes the present day"
    assert again["held", "05", "TOTAL"].value == 145

    there.close(ohlcv, "ETHUSDT", FIRST + 2 * DAY + 23 * HOUR, "11")
    late = there.run(NOW + 2 * MINUTE)
    assert {key[:2] for key in late} <= {(name, day) for name in ("halves", "traded") for day in ("03", "04", "05")}
    assert late["traded", "03", "ETH"].value == 22

    anew = MemoryLake(there.lake.spark)
    anew.like(there.lake, (ohlcv.TABLE, ohlcv_1m.TABLE))
    was, there.lake = there.said(), anew
    there.run(NOW + 2 * MINUTE)
    assert there.said() == was, "made in steps it is what is made at once"


def test_the_present_day_closes_when_it_is_over(there: Lake) -> None:
    there.run(NOW)
    there.close(ohlcv, "BTCUSDT", FIRST + 4 * DAY + 20 * HOUR, "150")
    there.close(ohlcv_1m, "ETHUSDT", FIRST + 5 * DAY, "19")
    made = there.run(FIRST + 5 * DAY + 2 * MINUTE)
    closed, today = made["held", "05", "TOTAL"], made["held", "06", "TOTAL"]
    assert (closed.is_closed, closed.value, closed.as_of) == (True, 155, FIRST + 5 * DAY)
    assert (closed.is_stale, made["held", "05", "BTC"].priced_at) == (True, FIRST + 4 * DAY + 21 * HOUR)
    assert (today.is_closed, today.value, today.is_stale) == (False, 155, True), "by the last price, which is old"
    assert made["halves", "06", "ETH"].price == 19


def test_a_changed_definition_is_valued_anew_and_what_it_gives_no_more_is_retracted(there: Lake) -> None:
    there.run(NOW)
    there.define(HALVES, HELD.replace("2026-11-03", "2026-11-04").replace("BTC", "ETH"))
    made = there.run(NOW)
    assert {key[0] for key in made} == {"held", "traded"}
    gone = {key for key, row in made.items() if row.reason == "retracted"}
    days = [("03", "BTC"), ("03", "TOTAL"), ("03", "USDT"), ("04", "BTC"), ("05", "BTC")]
    assert {key[1:] for key in gone if key[0] == "held"} == set(days)
    assert {key for key in gone if key[0] == "traded"} == {key for key in there.rows() if key[0] == "traded"}
    assert {made[key].value for key in gone} == {None}
    assert made["held", "04", "TOTAL"].value == 20
    there.define(HALVES, HELD, TRADED)
    assert {key for key in there.run(NOW) if key[0] != "halves"} == {key for key in there.rows() if key[0] != "halves"}


def test_older_history_makes_the_earliest_start_earlier_and_no_other(there: Lake) -> None:
    there.run(NOW)
    for symbol in ("BTCUSDT", "ETHUSDT"):
        there.close(ohlcv, symbol, FIRST - DAY + 23 * HOUR, "50")
    made = there.run(NOW + MINUTE)
    assert {key[0] for key in made} == {"halves"}
    assert min(key[1] for key in made) == "01"
    assert made["halves", "05", "TOTAL"].started_on == FIRST


def test_a_refused_portfolio_keeps_its_rows_and_the_others_go_on(there: Lake) -> None:
    there.run(NOW)
    now = NOW.replace(tzinfo=UTC)
    assert portfolio_performance.refusals(there.lake, now) == []
    (there.folder / "t.csv").write_text(TRANSACTIONS.replace("ETHUSDT,1,20", "ETHUSDT,3,20"))
    there.define(HALVES.replace("0.5}", "0.4}"), HELD.replace("2026-11-03", "2026-10-03"), TRADED)
    there.close(ohlcv_1m, "BTCUSDT", FIRST + 4 * DAY + 9 * HOUR + MINUTE, "140")
    assert there.run(NOW + MINUTE) == {}
    file, lines = there.folder / "portfolio.yaml", there.folder / "t.csv"
    [weights, start, sale] = portfolio_performance.refusals(there.lake, now)
    assert weights.startswith(f"{file}:2: halves: weights sum to 0.9, not 1: change them")
    assert start.startswith(f"{file}:4: held: its start, 2026-10-03, is before the data: BTCUSDT had no price")
    assert "Set start to 2026-11-02 or later" in start
    assert sale.startswith(f"{lines}:5: traded: sell 3 ETH: there is too little for it")
    assert "what is held then is 109 USDT, 2 ETH." in sale
    there.define(HALVES.replace("0.5}", "0.4}"), HELD)
    there.close(ohlcv_1m, "BTCUSDT", FIRST + 4 * DAY + 9 * HOUR + 2 * MINUTE, "150")
    assert there.run(NOW + 2 * MINUTE)["held", "05", "TOTAL"].value == 155, "mended, it goes on with the next minute"

    (there.folder / "portfolio.yaml").unlink()
    assert there.run(NOW + 2 * MINUTE) == {}, "without a file nothing is touched"
    [why] = portfolio_performance.refusals(there.lake, now)
    assert "cannot be read" in why


def test_a_candle_that_came_late_while_a_portfolio_was_refused_counts_once_it_is_mended(there: Lake) -> None:
    there.run(NOW)
    there.define(HALVES, HELD.replace("cash: 5", "cash: -5"), TRADED)
    there.close(ohlcv, "BTCUSDT", FIRST + 2 * DAY + 23 * HOUR, "125")
    there.close(ohlcv_1m, "BTCUSDT", NOW - MINUTE, "140")
    assert {key[0] for key in there.run(NOW + MINUTE)} == {"halves", "traded"}
    there.define(HALVES, HELD, TRADED)
    assert there.run(NOW + MINUTE) == {}, "nothing is new yet"
    there.close(ohlcv_1m, "BTCUSDT", NOW, "150")
    made = there.run(NOW + 2 * MINUTE)
    assert made["held", "03", "TOTAL"].value == 130
    assert made["held", "05", "TOTAL"].value == 155
    there.close(ohlcv_1m, "BTCUSDT", NOW + MINUTE, "151")
    assert {key[1] for key in there.run(NOW + 3 * MINUTE)} == {"05"}, "and goes on from then"
    assert there.run(NOW + 3 * MINUTE, from_scratch=True) == {}
