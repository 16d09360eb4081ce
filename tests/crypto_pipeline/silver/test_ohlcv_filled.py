"""The series without gaps, as both engines give it."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from crypto_pipeline.silver import ohlcv, ohlcv_1m
from crypto_pipeline.silver.candles import INTERVALS
from crypto_pipeline.silver.ohlcv_filled import VIEW
from shared.tables import Column, Table
from tests.crypto_pipeline.engines import Engine, candle, minute

COMPLETENESS = Table(
    "silver",
    "completeness",
    "One row per exchange, symbol and minute",
    (
        Column("exchange", "string", "the market"),
        Column("symbol", "string", "canonical"),
        Column("interval_start", "timestamp", "the minute"),
        Column("status", "string", "complete or not"),
        Column("reason", "string", "why"),
    ),
    ("exchange", "symbol", "interval_start"),
)


def reasons(**minutes: Any) -> list[dict[str, Any]]:
    """Rows of completeness: the minutes of each reason; those of `none` have none."""
    return [
        {
            "exchange": "binance",
            "symbol": "BTCUSDT",
            "interval_start": minute(at),
            "reason": None if word == "none" else word,
        }
        for word, every in minutes.items()
        for at in every
    ]


def filled(engine: Engine, interval: str = "1m", columns: str = "*") -> list[dict[str, Any]]:
    sql = f"SELECT {columns} FROM silver.ohlcv_filled WHERE interval = '{interval}' ORDER BY symbol, interval_start"
    return engine.ask(sql, VIEW)


def test_from_its_first_candle_to_its_latest_a_series_has_no_gap(engine: Engine) -> None:
    engine.has(COMPLETENESS, [])
    engine.has(ohlcv_1m.TABLE, [candle(0, 3), candle(4, 5), candle(5, 6), candle(2, 9, symbol="ETHUSDT")])
    engine.has(ohlcv.TABLE, [candle(0, 7, "1h"), candle(180, 8, "1h")])
    rows = filled(engine)
    assert [(row["symbol"], row["interval_start"]) for row in rows] == [
        *(("BTCUSDT", minute(at)) for at in range(6)),
        ("ETHUSDT", minute(2)),
    ]
    hours = filled(engine, "1h")
    assert [row["interval_start"] for row in hours] == [minute(60 * hour) for hour in range(4)]
    for row in (*rows, *hours):
        assert row["interval_end"] - row["interval_start"] == timedelta(seconds=INTERVALS[row["interval"]])


def test_a_filled_interval_stands_at_the_close_before_it_with_nothing_traded(engine: Engine) -> None:
    engine.has(COMPLETENESS, [])
    engine.has(ohlcv_1m.TABLE, [candle(0, 3, high=Decimal(9)), candle(3, 5)])
    first, *between, last = filled(engine)
    assert [row["is_filled"] for row in (first, *between, last)] == [False, True, True, False]
    assert (first["high"], first["volume"], first["fill_reason"]) == (9, 3, None)
    for row in between:
        assert {row[name] for name in ("open", "high", "low", "close")} == {3}
        assert {row[name] for name in ("volume", "quote_volume", "trade_count", "taker_buy_volume")} == {0}
        assert (row["vwap"], row["is_closed"], row["base_asset"]) == (None, True, "BTC")


def test_ids_that_follow_each_other_prove_that_nothing_traded(engine: Engine) -> None:
    engine.has(COMPLETENESS, reasons(our_outage=[1]))
    ids = [{"first_trade_id": n, "last_trade_id": n} for n in (5, 6, 8)]
    engine.has(ohlcv_1m.TABLE, [candle(at, 3, **ids[n]) for n, at in enumerate((0, 2, 4))])
    assert [row["fill_reason"] for row in filled(engine)] == [None, "no_trades", None, "unknown", None]


def test_a_halt_is_told_although_the_ids_prove_that_nothing_traded(engine: Engine) -> None:
    engine.has(COMPLETENESS, reasons(halt=[1], not_listed=[2]))
    ids = [{"first_trade_id": n, "last_trade_id": n} for n in (5, 6)]
    engine.has(ohlcv_1m.TABLE, [candle(at, 3, **ids[n]) for n, at in enumerate((0, 3))])
    assert [row["fill_reason"] for row in filled(engine)] == [None, "halt", "not_listed", None]


def test_the_reason_of_a_minute_is_what_completeness_says(engine: Engine) -> None:
    engine.has(ohlcv_1m.TABLE, [candle(0, 3), candle(6, 3)])
    engine.has(COMPLETENESS, reasons(no_trades=[1], halt=[2], our_outage=[3], not_listed=[4], none=[5], other=[0]))
    expected = [None, "no_trades", "halt", "our_outage", "not_listed", "unknown", None]
    assert [row["fill_reason"] for row in filled(engine)] == expected


@pytest.mark.parametrize(
    ("minutes", "reason"),
    [
        ({"no_trades": range(5, 10)}, "no_trades"),
        ({"no_trades": range(5, 9)}, "unknown"),
        ({"no_trades": range(5, 9), "halt": [9]}, "halt"),
        ({"no_trades": range(6, 9), "our_outage": [5], "halt": [9]}, "our_outage"),
        ({"no_trades": range(5, 9), "none": [9]}, "unknown"),
        ({"no_trades": [*range(4), *range(10, 15)]}, "unknown"),
    ],
)
def test_a_longer_interval_has_the_worst_reason_of_its_minutes_and_all_must_have_one(
    engine: Engine, minutes: dict[str, Any], reason: str
) -> None:
    engine.has(ohlcv.TABLE, [candle(0, 3, "5m"), candle(10, 3, "5m")])
    engine.has(COMPLETENESS, reasons(**minutes))
    assert [row["fill_reason"] for row in filled(engine, "5m")] == [None, reason, None]
