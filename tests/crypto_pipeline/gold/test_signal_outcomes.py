"""What followed a signal: the entry with its costs, and the returns."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import Row, SparkSession

from crypto_pipeline.gold import signal_outcomes, signal_performance, signals
from crypto_pipeline.gold._rules import ALWAYS_LONG, Costs
from crypto_pipeline.gold.signal_outcomes import CARRIED, HORIZONS, Minutes, always_long, followed
from crypto_pipeline.refresh import refresh
from crypto_pipeline.silver import completeness, ohlcv_1m, order_book_1m
from tests.crypto_pipeline.memory_lake import MemoryLake

FIRST = pd.Timestamp("2026-08-01")
COSTS = Costs(fee_bps=10, spread_bps=4)
LONGEST = 1440


def minutes(closes: dict[int, float], symbol: str = "BTCUSDT") -> pd.DataFrame:
    """Minutes by their number; each opens a half below its close."""
    return pd.DataFrame(
        {
            "exchange": "binance",
            "symbol": symbol,
            "interval_start": FIRST + pd.to_timedelta(list(closes), unit="min"),
            "open": [close - 0.5 for close in closes.values()],
            "close": list(closes.values()),
        }
    ).astype({"open": float, "close": float})


def quiet(*numbers: int) -> pd.DataFrame:
    return minutes(dict.fromkeys(numbers, 1.0))[["exchange", "symbol", "interval_start"]]


def spread(number: int, bps: float) -> pd.DataFrame:
    return quiet(number).assign(spread_bps=bps)


def acted(minute: int = 0, side: str = "buy", **more: object) -> pd.DataFrame:
    end = FIRST + pd.Timedelta(minutes=minute)
    of = {"exchange": "binance", "symbol": "BTCUSDT", "interval": "1h", "interval_start": end - pd.Timedelta(hours=1)}
    row = {"interval_end": end, "rule": "cross", "side": side, "is_retracted": False, "bridged": False}
    return pd.DataFrame([of | row | more])


def outcome(
    signal: pd.DataFrame, prices: pd.DataFrame, silent: pd.DataFrame | None = None, **spreads: pd.DataFrame
) -> dict[str, Any]:
    [row] = followed(signal, prices, quiet() if silent is None else silent, spreads, COSTS).to_dict("records")
    return row


RISING = {n: 100.0 + n for n in range(LONGEST + 10)}


def test_one_gets_in_at_the_next_open_and_pays_half_the_spread_and_the_fee() -> None:
    row = outcome(acted(5), minutes(RISING))
    assert row["entered_at"] == FIRST + pd.Timedelta(minutes=5)
    assert row["entry_open"] == 104.5
    assert row["entry_price"] == pytest.approx(104.5 * 1.0002 * 1.001)
    assert (row["spread_bps"], row["spread_source"], row["fee_bps"]) == (4, "configured", 10)
    assert (row["observations"], row["reason"]) == (4, None)
    for name, length in HORIZONS.items():
        close = 100 + 5 + length - 1  # of the minute that ends so long after the entry
        assert row[f"return_{name}"] == pytest.approx(close / row["entry_price"] - 1)


def test_a_seller_gets_less_and_gains_where_the_price_falls() -> None:
    row = outcome(acted(side="sell"), minutes({n: 200.0 - n * 0.1 for n in range(LONGEST)}))
    assert row["entry_price"] == pytest.approx(199.5 * 0.9998 * 0.999)
    assert row["return_15m"] == pytest.approx(1 - 198.6 / row["entry_price"])
    assert 0 < row["return_15m"] < row["return_1h"] < row["return_1d"]


def test_at_a_constant_price_one_loses_what_the_entry_costs() -> None:
    constant = minutes(dict.fromkeys(range(LONGEST), 100.0)).assign(open=100.0)
    for side in ("buy", "sell"):
        row = outcome(acted(side=side), constant)
        assert row["return_1d"] == pytest.approx(-0.0012, abs=1e-5)


def test_the_spread_is_that_of_the_minute_from_the_book_else_the_ticker_else_the_file() -> None:
    prices = minutes(RISING)
    book, ticker = spread(5, 1.0), spread(5, 3.0)
    row = outcome(acted(5), prices, order_book_1m=book, ticker_1m=ticker)
    assert (row["spread_bps"], row["spread_source"]) == (1, "order_book_1m")
    row = outcome(acted(5), prices, order_book_1m=spread(4, 1.0), ticker_1m=ticker)
    assert (row["spread_bps"], row["spread_source"]) == (3, "ticker_1m")
    row = outcome(acted(5), prices, order_book_1m=book.iloc[:0], ticker_1m=spread(6, 3.0))
    assert (row["spread_bps"], row["spread_source"]) == (4, "configured")


def test_where_proven_nothing_traded_one_waits_and_the_last_price_holds() -> None:
    prices = {n: RISING[n] for n in RISING if n not in (0, 1, 16, 15)}
    row = outcome(acted(0), minutes(prices), quiet(0, 1, 15, 16))
    assert row["entered_at"] == FIRST + pd.Timedelta(minutes=2)
    assert row["return_15m"] == pytest.approx(114 / row["entry_price"] - 1), "the close of minute 14 holds until 17"


def test_across_an_absence_nothing_is_known() -> None:
    prices = {n: RISING[n] for n in RISING if n not in (0, 1)}
    row = outcome(acted(0), minutes(prices), quiet(0))
    assert (row["reason"], row["observations"]) == ("no_entry", 0)
    assert pd.isna(row["entered_at"])
    assert pd.isna(row["entry_price"])
    assert pd.isna(row["spread_bps"])
    row = outcome(acted(0), minutes({n: RISING[n] for n in RISING if n != 14}))
    assert (row["reason"], row["observations"]) == ("price_not_known", 3)
    assert np.isnan(row["return_15m"])


@pytest.mark.parametrize(("length", "is_known"), [(CARRIED, True), (CARRIED + 1, False)])
def test_a_price_holds_for_an_hour_and_for_as_long_one_waits(length: int, is_known: bool) -> None:
    after = {length: 101.0}
    row = outcome(acted(0), minutes(after), quiet(*range(length)))
    assert pd.notna(row["entered_at"]) == is_known
    last = 59 - length  # then nothing trades until the minute that ends after an hour, and in it
    row = outcome(acted(-100), minutes({-100: 100.0, last - 100: 101.0}), quiet(*range(last - 99, -39)))
    assert pd.notna(row["return_1h"]) == (is_known and last >= 0)


def test_what_is_not_yet_over_is_not_known_and_what_comes_later_changes_nothing_that_is() -> None:
    early = outcome(acted(0), minutes({n: RISING[n] for n in range(61)}))
    late = outcome(acted(0), minutes(RISING))
    assert (early["observations"], early["reason"]) == (2, "price_not_known")
    assert [early[name] for name in ("return_15m", "return_1h")] == [late["return_15m"], late["return_1h"]]
    assert outcome(acted(0), minutes({}))["reason"] == "no_entry"


def test_always_long_buys_at_each_full_hour_that_one_can_buy_in() -> None:
    hours = pd.DataFrame(
        {"exchange": "binance", "symbol": "BTCUSDT", "hour": FIRST + pd.to_timedelta(range(30), unit="h")}
    )
    found = followed(always_long(hours), minutes(RISING), quiet(), {}, COSTS)
    assert len(found) == 25, "no row where there is no price"
    assert (found["rule"] == ALWAYS_LONG).all()
    assert (found["entered_at"] == found["interval_end"]).all()
    assert found["return_1h"].notna().sum() == 24


def test_a_retracted_signal_says_so() -> None:
    assert outcome(acted(is_retracted=True), minutes(RISING))["is_retracted"]


def test_series_do_not_show_in_each_other() -> None:
    both = pd.concat([minutes(RISING), minutes({0: 7.0}, "ETHUSDT")], ignore_index=True)
    found = followed(pd.concat([acted(0), acted(0, symbol="ETHUSDT")]), both, quiet(), {}, COSTS)
    assert found.set_index("symbol")["entry_open"].to_dict() == {"BTCUSDT": 99.5, "ETHUSDT": 6.5}


kinds = st.lists(st.sampled_from(["trade", "quiet", "absent"]), min_size=1, max_size=150)


@given(kinds, st.integers(0, 149))
def test_an_entry_and_a_price_are_what_a_plain_walk_finds(each: list[str], wanted: int) -> None:
    traded = np.array([n for n, kind in enumerate(each) if kind == "trade"], dtype=np.int64)
    silent = np.array([n for n, kind in enumerate(each) if kind == "quiet"], dtype=np.int64)
    known = Minutes(traded, traded.astype(float), traded.astype(float), silent)

    def walked(step: int) -> int:
        at = wanted
        while 0 <= at < len(each) and each[at] == "quiet":
            at += step
        is_found = 0 <= at < len(each) and each[at] == "trade" and abs(at - wanted) <= CARRIED
        return int(np.searchsorted(traded, at)) if is_found else -1

    assert known.entered(np.array([wanted])).tolist() == [walked(1)]
    assert known.last(np.array([wanted])).tolist() == [walked(-1)]


def put_minutes(lake: MemoryLake, numbers: range, step: str = "0.01", symbol: str = "BTCUSDT") -> None:
    """Minutes that open at 100 and rise by a step each."""
    rows = [
        {
            "exchange": "binance",
            "symbol": symbol,
            "interval_start": (FIRST + pd.Timedelta(minutes=n)).to_pydatetime(),
            "open": 100 + n * Decimal(step),
            "close": 100 + (n + 1) * Decimal(step),
            "is_closed": True,
            "month": "2026-08",
        }
        for n in numbers
    ]
    lake.put(ohlcv_1m.TABLE, rows)


def put_signal(lake: MemoryLake, hour: int, revision: int = 1, symbol: str = "BTCUSDT", **more: object) -> None:
    end = (FIRST + pd.Timedelta(hours=hour)).to_pydatetime()
    of = {"exchange": "binance", "symbol": symbol, "interval": "1h", "interval_start": end - timedelta(hours=1)}
    said = {"interval_end": end, "rule": "cross", "revision": revision, "is_retraction": False, "side": "buy"}
    lake.put(signals.TABLE, [of | said | {"bridged": False, "month": "2026-08"} | more])


def test_runs_follow_signals_and_prices_and_from_scratch_it_is_the_same(spark: SparkSession) -> None:
    lake, day = MemoryLake(spark), FIRST.to_pydatetime().replace(tzinfo=UTC)

    def run(module: ModuleType, at: datetime, *, from_scratch: bool = False, of: MemoryLake = lake) -> list[Row]:
        of.set_clock(at)
        before = len(of.written)
        assert refresh(of, module, at, from_scratch=from_scratch).is_sound
        return [row for _, rows in of.written[before:] for row in rows]

    def followed_at(at: datetime) -> dict[tuple[str, int], Row]:
        """The rows that a run writes, by rule and hour."""
        hours = {(row.rule, (row.interval_end - FIRST) // timedelta(hours=1)): row for row in run(signal_outcomes, at)}
        return hours if all(row.symbol == "BTCUSDT" for row in hours.values()) else {}

    now = day + timedelta(hours=3)
    assert run(signal_outcomes, now) == []
    put_minutes(lake, range(180))
    put_signal(lake, 1)
    put_signal(lake, 2)
    first = followed_at(now)
    assert first.keys() == {("always_long", 0), ("always_long", 1), ("always_long", 2), ("cross", 1), ("cross", 2)}
    assert {row.observations for row in first.values()} == {2}
    assert first["cross", 1].return_1h == pytest.approx(101.2 / (100.6 * 1.0001 * 1.001) - 1)
    assert followed_at(now) == {}, "nothing is new"

    judged = run(signal_performance, now)
    assert {(row.rule, row.reason) for row in judged} >= {("cross", "too_few_signals"), ("golden_cross", "no_signals")}
    assert run(signal_performance, now) == []

    now += timedelta(minutes=15)
    put_minutes(lake, range(180, 195))
    assert followed_at(now).keys() == {("always_long", 3)}, "one more hour, and its first quarter"
    now += timedelta(days=2)
    put_minutes(lake, range(195, 3000))
    over = followed_at(now)
    assert over["cross", 2].observations == 4
    assert over["cross", 2].reason is None

    put_signal(lake, 2, revision=2, is_retraction=True)
    market = {"exchange": "binance", "symbol": "BTCUSDT", "date": "2026-08-01"}
    lake.put(order_book_1m.TABLE, [market | {"interval_start": over["cross", 1].entered_at, "spread_bps": 8.0}])
    said = followed_at(now + timedelta(minutes=1))
    assert said.keys() == {("cross", 1), ("cross", 2), ("always_long", 1)}
    assert said["cross", 2].is_retracted
    assert (said["cross", 1].spread_bps, said["cross", 1].spread_source) == (8, "order_book_1m")

    put_minutes(lake, range(299, 300), step="0.02")
    late = followed_at(now + timedelta(minutes=2))
    assert late.keys() == {("cross", 1), ("always_long", 1), ("always_long", 4)}, "4 hours and one before"
    [changed] = [row for row in run(signal_performance, now) if row.horizon == "4h" and row.rule == "cross"]
    assert (changed.signals, changed.retracted, changed.observations) == (1, 1, 1)

    silent = {"interval_start": FIRST.to_pydatetime() + timedelta(minutes=3000), "reason": "no_trades"}
    lake.put(completeness.TABLE, [market | silent | {"proof": "trade_ids", "date": "2026-08-03", "month": "2026-08"}])
    put_minutes(lake, range(3001, 3002))
    put_signal(lake, 50)
    assert followed_at(now + timedelta(minutes=3))["cross", 50].entry_open == pytest.approx(130.01)

    again = MemoryLake(spark)
    again.like(lake, signal_outcomes.SOURCES)
    run(signal_outcomes, now, of=again)
    run(signal_performance, now, of=again)
    run(signal_performance, now)
    for table in (signal_outcomes.TABLE, signal_performance.TABLE):
        names = [name for name in table.column_names if name != "ingestion_ts"]
        assert [[row[name] for name in names] for row in again.rows(table)] == [
            [row[name] for name in names] for row in lake.rows(table)
        ]
