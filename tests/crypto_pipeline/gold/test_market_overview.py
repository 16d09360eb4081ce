"""How each market stands: the arithmetic by hand, and the table as it is followed."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import Row, SparkSession

from crypto_pipeline.gold import _overview, market_overview
from crypto_pipeline.refresh import refresh
from crypto_pipeline.silver import completeness, ohlcv_1m, order_book_1m, ticker_1m
from tests.crypto_pipeline.memory_lake import MemoryLake

END = datetime(2026, 11, 20, 12, 0)  # noqa: DTZ001 (Spark gives naive times of the session, UTC)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
BTC = {"exchange": "binance", "symbol": "BTCUSDT", "base_asset": "BTC", "quote_asset": "USDT"}
ETH = {"exchange": "binance", "symbol": "ETHBTC", "base_asset": "ETH", "quote_asset": "BTC"}


def closes(values: Iterable[float | None], end: datetime = END, **of: Any) -> pd.DataFrame:
    """The minutes that end at `end`, a close each; none where it is null."""
    listed = list(values)
    start = end - len(listed) * MINUTE
    rows = [
        {**BTC, "interval_start": start + place * MINUTE, "close": close, "quote_volume": 10.0, **of}
        for place, close in enumerate(listed)
        if close is not None
    ]
    return pd.DataFrame(rows)


def quiet(minutes: Iterable[datetime], symbol: str = "BTCUSDT") -> pd.DataFrame:
    times = pd.to_datetime(list(minutes))
    return pd.DataFrame({"exchange": "binance", "symbol": symbol, "interval_start": times})


def series(*names: Mapping[str, str]) -> pd.DataFrame:
    return pd.DataFrame([{**name, "as_of": END} for name in names or [BTC]])


def volatility(values: Iterable[float | None], still: Iterable[datetime] = ()) -> tuple[float, int]:
    row = _overview.volatilities(series(), closes(values), quiet(still)).iloc[0]
    return row["volatility_24h"], row["observations"]


class TestVolatility:
    def test_it_is_the_root_of_the_sum_of_squares_of_a_series_that_alternates(self) -> None:
        value, count = volatility([100 if place % 2 else 101 for place in range(1441)])
        assert count == 1440
        assert value == pytest.approx(np.sqrt(1440) * np.log(101 / 100))

    def test_a_constant_series_has_none(self) -> None:
        assert volatility([100] * 1441) == (0, 1440)

    def test_one_jump_is_all_of_it(self) -> None:
        assert volatility([100] * 700 + [110] * 741)[0] == pytest.approx(np.log(1.1))

    def test_a_quiet_minute_is_a_return_of_0_and_an_outage_none(self) -> None:
        hole = [100.0] * 700 + [None] + [110.0] * 740
        at = END - 741 * MINUTE
        value, count = volatility(hole, [at])
        assert (value, count) == (pytest.approx(np.log(1.1)), 1440)
        value, count = volatility(hole)
        assert (value, count) == (0, 1438)

    def test_what_is_missing_is_scaled_for_and_too_little_is_null(self) -> None:
        alternating = [100 if place % 2 else 101 for place in range(721)]
        assert volatility(alternating) == (pytest.approx(np.sqrt(1440) * np.log(1.01)), 720)
        assert np.isnan(volatility(alternating[1:])[0])
        assert volatility([100.0])[1] == 0

    def test_of_no_series_there_is_none(self) -> None:
        assert _overview.volatilities(series(), closes([1]).iloc[:0], quiet([])).empty


class TestChange:
    def row(self, **values: Any) -> pd.DataFrame:
        given = {"first_1h": END - 60 * MINUTE, "open_1h": 100.0, "last_price": 110.0}
        return series().assign(**{**given, **values})

    def test_it_is_the_simple_return_from_the_windows_first_trade(self) -> None:
        assert _overview.changes(self.row(), quiet([]), "1h").tolist() == pytest.approx([10])

    def test_between_start_and_first_trade_every_minute_is_proven_quiet(self) -> None:
        late = self.row(first_1h=END - 58 * MINUTE)
        both = [END - 60 * MINUTE, END - 59 * MINUTE]
        assert _overview.changes(late, quiet(both), "1h").tolist() == pytest.approx([10])
        assert _overview.changes(late, quiet(both[:1]), "1h").isna().all()
        assert _overview.changes(late, quiet(both, "ETHUSDT"), "1h").isna().all()

    def test_a_window_that_is_quiet_throughout_has_a_change_of_0(self) -> None:
        still = self.row(first_1h=pd.NaT, open_1h=None)
        hour = [END - n * MINUTE for n in range(1, 61)]
        assert _overview.changes(still, quiet(hour), "1h").tolist() == [0]
        assert _overview.changes(still, quiet(hour[1:]), "1h").isna().all()

    def test_the_day_that_ends_at_midnight_is_the_one_before(self) -> None:
        ends = pd.Series(pd.to_datetime(["2026-11-20 00:00", "2026-11-20 00:01"]))
        assert _overview.starts(ends, "day").tolist() == list(pd.to_datetime(["2026-11-19", "2026-11-20"]))


class TestInUsdt:
    def volumes(self, minutes: pd.DataFrame, *of: Mapping[str, str]) -> dict[str, float]:
        done = _overview.in_usdt(minutes, series(*of))
        return dict(zip(done["symbol"], done["quote_volume_24h_usdt"], strict=True))

    def test_each_minute_is_converted_at_its_own_price(self) -> None:
        minutes = pd.concat([closes([50_000, 60_000, None]), closes([0.05, 0.06, 0.07], **ETH)])
        made = self.volumes(minutes, BTC, ETH)
        assert made == {"BTCUSDT": 20, "ETHBTC": pytest.approx(10 * 50_000 + 2 * 10 * 60_000)}

    def test_a_pair_priced_in_what_usdt_is_priced_in_is_converted_by_the_inverse(self) -> None:
        lira = {"symbol": "BTCTRY", "base_asset": "BTC", "quote_asset": "TRY"}
        rate = {"symbol": "USDTTRY", "base_asset": "USDT", "quote_asset": "TRY"}
        minutes = pd.concat([closes([3_000_000], **lira), closes([40], **rate)])
        made = self.volumes(minutes, {**BTC, **lira}, {**BTC, **rate})
        assert made == {"BTCTRY": pytest.approx(0.25), "USDTTRY": pytest.approx(0.25)}

    def test_without_a_price_of_the_hour_it_is_not_known(self) -> None:
        minutes = pd.concat([closes([50_000] + [None] * 61), closes([0.05], **ETH)])
        assert np.isnan(self.volumes(minutes, BTC, ETH)["ETHBTC"])


class TestReconciliation:
    def verdict(self, missing: int = 0, ticker_as_of: datetime | None = END, **differences: float) -> tuple[Any, Any]:
        names = ("open", "low", "high", "volume", "quote_volume", "trade_count")
        rows = series().assign(
            ticker_as_of=pd.to_datetime([ticker_as_of]),
            last_price=1.0,
            outer_minutes=1440 - missing,
            outer_unproven=0,
            **{f"difference_{name}_24h": differences.get(name, 0) for name in names},
        )
        _overview.reconcile(rows, quiet([]))
        return rows["reconciliation"][0], rows["ticker_minutes_missing"][0]

    def test_it_agrees_where_nothing_differs(self) -> None:
        assert self.verdict() == ("agrees", 0)
        assert self.verdict(missing=7) == ("agrees", 7)

    @pytest.mark.parametrize("less", [{"volume": -1}, {"trade_count": -1}, {"high": -1}, {"low": 1}])
    def test_what_we_lack_is_explained_by_missing_minutes_and_by_nothing_else(self, less: dict[str, float]) -> None:
        assert self.verdict(missing=1, **less) == ("missing_minutes", 1)
        assert self.verdict(**less) == ("differs", 0)

    @pytest.mark.parametrize("more", [{"volume": 1}, {"trade_count": 1}, {"high": 1}, {"low": -1}])
    def test_what_we_have_too_much_of_no_missing_minute_explains(self, more: dict[str, float]) -> None:
        assert self.verdict(missing=1, **more)[0] == "differs"

    def test_a_ticker_between_two_minutes_is_of_1441_and_without_one_there_is_no_verdict(self) -> None:
        assert self.verdict(ticker_as_of=END - timedelta(seconds=3))[1] == 1
        verdict, missing = self.verdict(ticker_as_of=None)
        assert verdict is None
        assert np.isnan(missing)


def candle(start: datetime, close: float, of: Mapping[str, str] = BTC, **changes: Any) -> dict[str, Any]:
    price = Decimal(str(close))
    values = {
        **dict.fromkeys(("open", "high", "low", "close"), price),
        "interval": "1m",
        "interval_seconds": 60,
        "interval_start": start,
        "interval_end": start + MINUTE,
        "volume": Decimal(2),
        "quote_volume": 2 * price,
        "trade_count": 3,
        "is_closed": True,
        "status": "complete",
        "month": f"{start:%Y-%m}",
    }
    return {**of, **values, **changes}


def proof(start: datetime, of: Mapping[str, str] = BTC, **changes: Any) -> dict[str, Any]:
    said = {"interval_start": start, "status": "complete", "proof": "trade_ids", "first_minute": END - 8 * DAY}
    return {**of, **said, "month": f"{start:%Y-%m}", **changes}


def ticker(as_of: datetime, minutes: Iterable[Mapping[str, Any]], **changes: Any) -> dict[str, Any]:
    """What the exchange would say of the minutes at `as_of`, where each trades in its first moment."""
    day = [row for row in minutes if as_of - DAY <= row["interval_start"] < as_of]
    start = as_of.replace(second=0, microsecond=0)
    start = start if start < as_of else start - MINUTE
    says = {
        "interval_start": start,
        "as_of": as_of,
        "is_closed": True,
        "month": f"{as_of:%Y-%m}",
        "spread_bps": 4.0,
        "open_24h": day[0]["open"],
        "high_24h": max(row["high"] for row in day),
        "low_24h": min(row["low"] for row in day),
        **{f"{name}_24h": sum(row[name] for row in day) for name in ("volume", "quote_volume", "trade_count")},
    }
    return {**BTC, **says, **changes}


def book(start: datetime, spread: float | None = 2.0) -> dict[str, Any]:
    return {
        **BTC, "interval_start": start, "spread_bps": spread, "imbalance": 0.25, "is_closed": True,
        "date": f"{start:%Y-%m-%d}",
    }  # fmt: skip


def minutes_until(end: datetime, count: int, of: Mapping[str, str] = BTC, price: float = 100.0) -> list[dict[str, Any]]:
    return [candle(end - n * MINUTE, price + n % 7, of) for n in range(count, 0, -1)]


def follow(lake: MemoryLake, now: datetime, *, from_scratch: bool = False) -> list[Row]:
    """The rows that a run writes."""
    before = len(lake.written)
    done = refresh(lake, market_overview, now.replace(tzinfo=UTC), from_scratch=from_scratch)
    assert done.is_sound, done
    return [row for _, rows in lake.written[before:] for row in rows]


def says(lake: MemoryLake) -> list[dict[str, Any]]:
    rows = [row.asDict() for row in lake.rows(market_overview.TABLE)]
    return [{name: value for name, value in row.items() if name != "ingestion_ts"} for row in rows]


@pytest.fixture(scope="module")
def tape() -> list[dict[str, Any]]:
    """A day and some minutes of both markets, and where BTCUSDT stood a week ago."""
    day = minutes_until(END, 1445)
    day[99] |= {"volume": Decimal(20), "trade_count": 30}
    return [*day, candle(END - 7 * DAY, 80), *minutes_until(END, 1445, ETH, 0.05)]


def test_a_row_says_how_the_market_stands_and_late_data_mends_it(
    spark: SparkSession, tape: list[dict[str, Any]]
) -> None:
    lake = MemoryLake(spark)
    late = tape[99]
    lake.put(ohlcv_1m.TABLE, [row for row in tape if row is not late])
    lake.put(completeness.TABLE, [proof(END - 7 * DAY), proof(END - 7 * DAY, ETH, first_minute=END - 2 * DAY)])
    lake.put(order_book_1m.TABLE, [book(END - 3 * MINUTE), book(END - 2 * MINUTE, None)])
    btc = [row for row in tape if row["symbol"] == "BTCUSDT"]
    lake.put(ticker_1m.TABLE, [ticker(END - timedelta(seconds=1), btc)])
    assert len(follow(lake, END)) == 2

    first, second = lake.rows(market_overview.TABLE)
    assert (first.as_of, first.last_minute, first.last_price) == (END, END - MINUTE, Decimal(101))
    assert first.open_24h == Decimal(100 + 1440 % 7)
    assert first.change_24h == Decimal(101 - 105)
    assert first.change_24h_percent == pytest.approx((101 / 105 - 1) * 100)
    assert first.change_1h_percent == pytest.approx((101 / (100 + 60 % 7) - 1) * 100)
    assert first.change_day_percent == pytest.approx((101 / (100 + 720 % 7) - 1) * 100)
    assert first.change_7d_percent == pytest.approx((101 / 80 - 1) * 100)
    assert (first.high_24h, first.low_24h, first.volume_24h) == (Decimal(106), Decimal(100), Decimal(2 * 1439))
    assert (first.trade_count_24h, first.trade_count_day, first.volume_day) == (3 * 1439, 3 * 720, Decimal(1440))
    assert (first.minutes_24h, first.minutes_quiet_24h, first.minutes_missing_24h) == (1439, 0, 1)
    assert (first.spread_bps, first.spread_source, first.spread_as_of) == (2.0, "order_book", END - 2 * MINUTE)
    assert (first.imbalance, first.imbalance_as_of, first.observations) == (0.25, END - 2 * MINUTE, 1438)
    assert (first.reconciliation, first.ticker_minutes_missing) == ("missing_minutes", 1)
    # The edges have room for a minute of 3 trades and a volume of 2.
    assert (first.difference_trade_count_24h, first.difference_volume_24h) == (3 - 30, Decimal(2 - 20))
    assert first.difference_high_24h == first.difference_low_24h == first.difference_open_24h == 0
    assert first.reason is None
    assert (first.volume_rank, second.volume_rank, first.spread_rank, second.spread_rank) == (2, 1, 1, None)
    assert second.change_7d_percent is None
    assert second.reason == (
        "change_7d: too_little_history until 2026-11-25 12:00; spread_bps: no_order_book_and_no_ticker; "
        "imbalance: no_order_book; reconciliation: no_ticker"
    )

    assert follow(lake, END + MINUTE) == []
    lake.put(ohlcv_1m.TABLE, [late])
    # The price at which the other's volume was converted in that minute is another now.
    assert sorted(row.symbol for row in follow(lake, END + 2 * MINUTE)) == ["BTCUSDT", "ETHBTC"]
    mended = lake.rows(market_overview.TABLE)[0]
    assert (mended.minutes_missing_24h, mended.observations) == (0, 1440)
    assert (mended.reconciliation, mended.difference_trade_count_24h) == ("agrees", 0)

    anew = MemoryLake(spark)
    anew.like(lake, market_overview.SOURCES)
    follow(anew, END + 3 * MINUTE, from_scratch=True)
    assert says(anew) == says(lake)


def test_what_is_to_come_changes_nothing_and_what_ended_long_ago_keeps_its_row_without_figures(
    spark: SparkSession,
) -> None:
    lake = MemoryLake(spark)
    gone = {"exchange": "binance", "symbol": "LUNAUSDT", "base_asset": "LUNA", "quote_asset": "USDT"}
    lake.put(ohlcv_1m.TABLE, [*minutes_until(END, 30), *minutes_until(END - 2 * DAY, 5, gone)])
    lake.put(ohlcv_1m.TABLE, [candle(END, 500, is_closed=False)])
    lake.put(ticker_1m.TABLE, [ticker(END + timedelta(seconds=30), [candle(END, 500)])])
    assert sorted(row.symbol for row in follow(lake, END)) == ["BTCUSDT", "LUNAUSDT"]
    alive, ended = lake.rows(market_overview.TABLE)
    assert (alive.as_of, alive.last_price, alive.high_24h, alive.ticker_as_of) == (
        END,
        Decimal(101),
        Decimal(106),
        None,
    )
    assert (alive.volume_rank, alive.minutes_24h, alive.volatility_24h) == (1, 30, None)
    assert "change_1h: the_price_then_is_missing" in str(alive.reason)
    assert (ended.as_of, ended.last_price, ended.volume_rank) == (END, None, None)
    assert (ended.reason, ended.observations) == ("all: no_candle_in_24h", 0)

    lake.put(ohlcv_1m.TABLE, [candle(END, 101)])
    follow(lake, END + MINUTE)
    alive, ended = lake.rows(market_overview.TABLE)
    assert (alive.as_of, ended.as_of, alive.ticker_as_of) == (END + MINUTE, END + MINUTE, END + timedelta(seconds=30))
    anew = MemoryLake(spark)
    anew.like(lake, market_overview.SOURCES)
    follow(anew, END + MINUTE)
    assert says(anew) == says(lake)


def test_without_any_minute_nothing_is_written(spark: SparkSession) -> None:
    lake = MemoryLake(spark)
    lake.put(order_book_1m.TABLE, [book(END)])
    assert follow(lake, END) == []


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.001, 1000))
def test_volatility_knows_no_unit_and_is_never_negative(seed: int, unit: float) -> None:
    prices = np.exp(np.random.default_rng(seed).normal(0, 0.1, 800)).tolist()
    value, count = volatility(prices)
    assert count == 799
    assert value >= 0
    assert volatility([price * unit for price in prices])[0] == pytest.approx(value)
