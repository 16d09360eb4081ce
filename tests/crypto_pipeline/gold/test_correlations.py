"""What moves together: of which candles a row is made, what the simulator planted, and what a run makes again."""

import math
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import Row, SparkSession
from scipy import stats

from crypto_pipeline.gold import correlations
from crypto_pipeline.gold._pairs import Floats
from crypto_pipeline.gold.correlations import TABLE, WINDOWS, Window, of_candles, of_returns
from crypto_pipeline.refresh import refresh
from crypto_pipeline.silver import completeness, ohlcv, ohlcv_1m
from streaming.simulator import planted
from streaming.simulator.candles import minute_candles
from streaming.simulator.market import MINUTE, Market
from tests.crypto_pipeline.memory_lake import MemoryLake

MINUTES, HOURS, DAYS = WINDOWS
MIDNIGHT = pd.Timestamp("2026-11-20")
SYMBOLS = ("BNBUSDT", "BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT")


def walk(rows: int, symbols: Iterable[str] = ("BTCUSDT", "ETHUSDT"), seed: int = 1) -> dict[str, Floats]:
    """Closes that move together."""
    random = np.random.default_rng(seed)
    common = random.normal(size=rows)
    return {name: 100 * np.exp(np.cumsum(common + random.normal(size=rows)) * 1e-3) for name in symbols}


def candles(
    closes: dict[str, Floats], window: Window, end: pd.Timestamp = MIDNIGHT, quote: str = "USDT"
) -> pd.DataFrame:
    """Candles of which the last one ends at `end`."""
    return pd.concat(
        pd.DataFrame(
            {
                "exchange": "binance",
                "symbol": symbol,
                "quote_asset": quote,
                "interval_start": [end - window.interval * back for back in range(len(series), 0, -1)],
                "close": series,
            }
        )
        for symbol, series in closes.items()
    )


def only(rows: pd.DataFrame) -> Any:
    assert len(rows) == 1
    return rows.iloc[0]


@pytest.mark.parametrize("window", WINDOWS)
def test_a_row_is_what_scipy_says_of_the_window_s_returns_and_of_no_others(window: Window) -> None:
    closes = walk(window.returns + 20)
    row = only(of_candles(candles(closes, window), None, window, [MIDNIGHT]))
    x, y = (np.diff(np.log(series[-window.returns - 1 :])) for series in closes.values())
    linear, ranked = stats.pearsonr(x, y), stats.spearmanr(x, y)
    assert row["observations"] == window.returns
    assert row["pearson"] == pytest.approx(linear.statistic)
    assert row["spearman"] == pytest.approx(ranked.statistic)
    assert (row["pearson_low"], row["pearson_high"]) == pytest.approx(tuple(linear.confidence_interval()))
    assert row["spearman_low"] < row["spearman"] < row["spearman_high"]
    assert (row["return_interval"], row["window_length"]) == (window.return_interval, window.name)
    assert row["as_of"] == MIDNIGHT
    assert pd.isna(row["reason"])
    assert pd.isna(row["fills_at"])


def test_a_missing_minute_costs_its_two_returns_of_its_own_pairs_alone() -> None:
    closes = walk(1441, ("BTCUSDT", "ETHUSDT", "SOLUSDT"))
    closes["ETHUSDT"][700] = np.nan
    rows = of_candles(candles(closes, MINUTES).dropna(), None, MINUTES, [MIDNIGHT])
    assert rows["observations"].tolist() == [1438, 1440, 1438]


def test_a_proven_quiet_minute_is_a_return_of_nothing() -> None:
    closes = walk(1441)
    closes["ETHUSDT"][700] = np.nan
    every = candles(closes, MINUTES)
    quiet = every[every["close"].isna()][["exchange", "symbol", "interval_start"]]
    row = only(of_candles(every.dropna(), quiet, MINUTES, [MIDNIGHT]))
    filled = {**closes, "ETHUSDT": pd.Series(closes["ETHUSDT"]).ffill().to_numpy()}
    assert row["observations"] == 1440
    assert row["pearson"] == only(of_candles(candles(filled, MINUTES), None, MINUTES, [MIDNIGHT]))["pearson"]


def test_what_lies_outside_a_window_does_not_change_its_row() -> None:
    """Neither the future, nor a close that quiet minutes would carry in from before, nor other moments."""
    closes = walk(1441 + 60 * 5)
    closes["ETHUSDT"][58:63] = np.nan  # the first ones of the window that ends four hours before the end
    every = candles(closes, MINUTES)
    quiet = every[every["close"].isna()][["exchange", "symbol", "interval_start"]]
    as_ofs = [MIDNIGHT - pd.Timedelta(hours=back) for back in (5, 4, 3, 0)]
    whole = of_candles(every.dropna(), quiet, MINUTES, as_ofs)
    for as_of in as_ofs:
        first, last = MINUTES.starts(as_of)
        mine = every[(every["interval_start"] >= first) & (every["interval_start"] <= last)].dropna()
        alone = of_candles(mine, quiet, MINUTES, [as_of])
        pd.testing.assert_frame_equal(alone, whole[whole["as_of"] == as_of].reset_index(drop=True))


def test_too_little_history_has_no_figure_but_the_day_on_which_there_will_be_enough() -> None:
    row = only(of_candles(candles(walk(31), DAYS), None, DAYS, [MIDNIGHT]))
    assert row["observations"] == 30
    assert row[["pearson", "pearson_low", "spearman_high", "lead_lag_seconds", "lead_lag_p"]].isna().all()
    assert (row["reason"], row["lead_lag_reason"]) == ("too_few_observations", "too_few_observations")
    assert row["fills_at"] == MIDNIGHT + pd.Timedelta(days=15)
    enough = only(of_candles(candles(walk(46), DAYS), None, DAYS, [MIDNIGHT]))
    assert enough["pearson"] > 0
    minutes = only(of_candles(candles(walk(700), MINUTES), None, MINUTES, [MIDNIGHT]))
    assert minutes["fills_at"] == MIDNIGHT + pd.Timedelta(hours=1)


def test_a_price_that_never_moves_is_constant_with_all_others() -> None:
    closes = walk(1441) | {"SOLUSDT": np.full(1441, 0.1)}
    rows = of_candles(candles(closes, MINUTES), None, MINUTES, [MIDNIGHT])
    assert rows["reason"].fillna("").tolist() == ["", "constant", "constant"]
    assert rows["lead_lag_reason"].tolist() == ["not_significant", "constant", "constant"]


def test_only_pairs_of_one_exchange_and_quote_asset_are_compared() -> None:
    dollars = candles(walk(1441), MINUTES)
    euros = candles(walk(1441, ("BTCEUR", "ETHEUR"), seed=2), MINUTES, quote="EUR")
    perpetual = dollars.assign(exchange="binance_usdm")
    rows = of_candles(pd.concat([dollars, euros, perpetual]), None, MINUTES, [MIDNIGHT])
    assert rows[["exchange", "symbol_a", "symbol_b", "quote_asset"]].to_numpy().tolist() == [
        ["binance", "BTCEUR", "ETHEUR", "EUR"],
        ["binance", "BTCUSDT", "ETHUSDT", "USDT"],
        ["binance_usdm", "BTCUSDT", "ETHUSDT", "USDT"],
    ]
    assert set(rows["lead_lag_tests"]) == {10}


def test_of_no_candles_and_of_one_symbol_there_is_no_row() -> None:
    none = candles(walk(5), MINUTES).head(0)
    assert of_candles(none, None, MINUTES, [MIDNIGHT]).empty
    one = of_candles(candles(walk(1441, ["BTCUSDT"]), MINUTES), None, MINUTES, [MIDNIGHT])
    assert one.empty
    assert list(one.columns) == TABLE.column_names[:-2]


# --- what the simulator planted


def simulated(days: int, rate: float, seed: int, end: pd.Timestamp = MIDNIGHT) -> pd.DataFrame:
    """The minutes' candles of a planted market, those without a trade left out."""
    opening = (end - pd.Timedelta(days=days)).value // 1000
    market = Market(seed, opening, rate, is_planted=True)
    made = []
    for symbol in SYMBOLS:
        tape = market.tape(symbol)
        assert tape is not None
        found = minute_candles(tape, 0, days * 1440)
        has_traded = found.values[:, 8] > 0
        starts = pd.to_datetime(opening + found.minute[has_traded] * MINUTE, unit="us")
        closes = found.values[has_traded, 3] / 10.0**tape.instrument.price_decimals
        made.append(candles({symbol: closes}, MINUTES).assign(interval_start=starts))
    return pd.concat(made)


def test_the_planted_lead_is_found_with_its_lag_and_sign_and_is_the_surest_by_far() -> None:
    rows = of_candles(simulated(1, 0.5, seed=7), None, MINUTES, [MIDNIGHT]).set_index(["symbol_a", "symbol_b"])
    lead = planted.LEAD_LAG
    row: Any = rows.loc[(lead.follower, lead.leader)]
    assert row["lead_lag_seconds"] == -60 * lead.minutes  # symbol_b, the leader, is first
    made = planted.correlation(lead.leader, lead.follower, 60, lag=60 * lead.minutes)
    assert row["lead_lag_correlation"] == pytest.approx(made, abs=0.06)
    assert row["lead_lag_p"] < 1e-5
    assert rows["lead_lag_p"].drop((lead.follower, lead.leader)).min() > 1e-3
    assert row["lead_lag_tests"] == 10 * 10


def test_the_planted_correlations_lie_in_their_intervals() -> None:
    """Of one seed, by the candles; that it is no chance says the test of half a year in `test_planted.py`."""
    minutes = simulated(31, 0.05, seed=2)
    hours = minutes.assign(interval_start=minutes["interval_start"].dt.floor("h"))
    hours = hours.groupby(["exchange", "symbol", "quote_asset", "interval_start"], as_index=False).last()
    rows = of_candles(hours, None, HOURS, [MIDNIGHT])
    assert len(rows) == 10
    assert (rows["observations"] >= 700).all()
    made = np.array([planted.correlation(a, b, 3600) for a, b in zip(rows["symbol_a"], rows["symbol_b"], strict=True)])
    held = (rows["pearson_low"] <= made) & (made <= rows["pearson_high"])
    assert held.sum() >= 9  # an interval holds 95 of 100
    assert rows["spearman"].to_numpy() == pytest.approx(made, abs=0.1)


# --- what a run makes again

NOW = datetime(2026, 11, 20, 0, 5, tzinfo=UTC)
START = datetime(2026, 11, 19, tzinfo=UTC)
TRIO = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
LATE = 23 * 60 + 30


def stored(closes: dict[str, Floats], seconds: int, **values: Any) -> list[dict[str, Any]]:
    return [
        {
            "exchange": "binance",
            "symbol": symbol,
            "quote_asset": "USDT",
            "interval": "1m",
            "interval_start": START.replace(tzinfo=None) + timedelta(seconds=seconds * number),
            "close": Decimal(f"{close:.18f}"),
            "is_closed": True,
            "month": "2026-11",
            **values,
        }
        for symbol, series in closes.items()
        for number, close in enumerate(series)
        if not math.isnan(close)
    ]


def says(rows: Iterable[Row]) -> list[dict[str, Any]]:
    return [{name: row[name] for name in row.asDict() if name != "ingestion_ts"} for row in rows]


def test_a_run_makes_what_changed_candles_touch_and_from_scratch_it_is_the_same(spark: SparkSession) -> None:
    lake = MemoryLake(spark)
    lake.set_clock(NOW)
    closes = walk(1440, TRIO)
    whole, closes["ETHUSDT"] = closes["ETHUSDT"], closes["ETHUSDT"].copy()
    closes["ETHUSDT"][[LATE, 600]] = math.nan
    lake.put(ohlcv_1m.TABLE, stored(closes, 60))
    lake.put(ohlcv.TABLE, stored({name: series[59::60] for name, series in closes.items()}, 3600, interval="1h"))
    first = refresh(lake, correlations, NOW)
    assert first.is_sound
    rows = lake.rows(TABLE)
    assert {(row.symbol_a, row.symbol_b) for row in rows} == set(combinations(TRIO, 2))
    minutes = {row.as_of: row for row in rows if row.return_interval == "1m" and row.symbol_b == "ETHUSDT"}
    last, midday = datetime(2026, 11, 20), datetime(2026, 11, 19, 12)  # noqa: DTZ001 (as Spark gives them)
    assert min(minutes) == datetime(2026, 11, 19, 1)  # noqa: DTZ001
    assert (max(minutes), len(minutes)) == (last, 24)
    assert (minutes[last].observations, minutes[last].reason) == (1435, None)
    assert (minutes[midday].reason, minutes[midday].fills_at) == ("too_few_observations", datetime(2026, 11, 19, 13))  # noqa: DTZ001
    hourly = [row for row in rows if row.return_interval == "1h"]
    assert [(row.as_of, row.observations, row.reason) for row in hourly] == [(last, 23, "too_few_observations")] * 3

    assert refresh(lake, correlations, NOW + timedelta(minutes=5)).rows == 0
    assert len(lake.written) == 1

    missed = np.full(1440, math.nan)
    missed[LATE] = whole[LATE]
    lake.put(ohlcv_1m.TABLE, stored({"ETHUSDT": missed}, 60))
    refresh(lake, correlations, NOW + timedelta(minutes=10))
    written = lake.written[-1][1]
    assert {(row.return_interval, row.as_of) for row in written} == {("1m", last)}
    assert max(row.observations for row in written if row.symbol_b == "ETHUSDT") == 1437

    quiet = {"exchange": "binance", "symbol": "ETHUSDT", "reason": "no_trades", "proof": "trade_ids"}
    minute = START.replace(tzinfo=None) + timedelta(minutes=600)
    lake.put(completeness.TABLE, [{**quiet, "interval_start": minute, "month": "2026-11"}])
    refresh(lake, correlations, NOW + timedelta(minutes=15))
    written = lake.written[-1][1]
    assert min(row.as_of for row in written) == datetime(2026, 11, 19, 11)  # noqa: DTZ001
    assert {row.observations for row in written if row.as_of == last and row.symbol_b == "ETHUSDT"} == {1439}

    anew = MemoryLake(spark)
    anew.like(lake, correlations.SOURCES)
    refresh(anew, correlations, NOW + timedelta(minutes=15))
    assert says(anew.rows(TABLE)) == says(lake.rows(TABLE))


def test_a_moment_that_a_run_could_not_make_yet_is_made_by_the_next(spark: SparkSession) -> None:
    """The day's last minute closed while the run that took a time before it for now was at work."""
    lake = MemoryLake(spark)
    before = datetime(2026, 11, 19, 23, 59, 58, tzinfo=UTC)
    lake.set_clock(before)
    lake.put(ohlcv_1m.TABLE, stored(walk(1440, TRIO[:2]), 60))
    refresh(lake, correlations, before)
    last = datetime(2026, 11, 20)  # noqa: DTZ001
    assert last not in {row.as_of for row in lake.rows(TABLE)}
    lake.set_clock(NOW)
    lake.put(ohlcv_1m.TABLE, stored({"BTCUSDT": np.array([100.0])}, 60, interval_start=datetime(2026, 11, 20)))  # noqa: DTZ001
    refresh(lake, correlations, NOW)
    assert last in {row.as_of for row in lake.rows(TABLE)}


def test_an_empty_lake_gives_an_empty_table(spark: SparkSession) -> None:
    lake = MemoryLake(spark)
    assert refresh(lake, correlations, NOW).rows == 0
    assert lake.rows(TABLE) == []


def test_a_run_costs_what_is_new_of_500_symbols() -> None:
    """A tenth of the aim, for a tenth of the pairs; `benchmarks/correlations.py` measures all."""
    returns = np.random.default_rng(1).normal(size=(720, 160))
    rows = of_returns(returns, [f"S{number:03}USDT" for number in range(160)], HOURS)
    assert len(rows) == 160 * 159 // 2
    assert rows["lead_lag_tests"].iloc[0] == len(rows) * 10
    assert (rows["lead_lag_seconds"].notna()).mean() < 0.01
