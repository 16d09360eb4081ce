"""Which rows of risk there are, what they rest on, and what a late candle changes of them."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import empyrical
import numpy as np
import pandas as pd
import pytest
from pyspark.sql import SparkSession

from crypto_pipeline.gold import portfolio_performance, risk_metrics
from crypto_pipeline.gold._risk_rows import CADENCES, nine_tenths, two_thirds
from crypto_pipeline.gold.risk_metrics import TABLE, between_ids, of_portfolios, of_symbols
from crypto_pipeline.refresh import Refreshed, refresh
from crypto_pipeline.silver import ohlcv, quiet_intervals
from crypto_pipeline.silver.candles import INTERVALS
from tests.crypto_pipeline.market import market
from tests.crypto_pipeline.memory_lake import MemoryLake

END = pd.Timestamp("2026-11-26")
KEY = list(TABLE.key)
EVER = pd.Timestamp("2000-01-01")
NONE_QUIET = pd.DataFrame({"exchange": [], "symbol": [], "interval_start": pd.DatetimeIndex([])})


def candles(symbol: str, count: int, interval: str = "1d", seed: int = 3, **changes: Any) -> pd.DataFrame:
    """Candles of a market at random up to END, each with two trades, whose ids follow each other."""
    seconds = INTERVALS[interval]
    starts = END - pd.to_timedelta((count - np.arange(count)) * seconds, unit="s")
    first = 2 * np.arange(count)
    names: dict[str, Any] = {
        "exchange": "binance",
        "symbol": symbol,
        "base_asset": symbol.removesuffix("USDT"),
        "quote_asset": "USDT",
        "status": "complete",
        "first_trade_id": first,
        "last_trade_id": first + 1,
    }
    return market(count, seed=seed, seconds=seconds).assign(interval_start=starts, **{**names, **changes})


def closes(values: list[float], interval: str = "1d", symbol: str = "BTCUSDT") -> pd.DataFrame:
    """Candles that have these closes; one that is NaN is absent, and its two trades are missing."""
    prices = np.array(values, dtype=float)
    flat = dict.fromkeys(("open", "high", "low", "close"), prices)
    return candles(symbol, len(values), interval, **flat).dropna(subset=["close"]).reset_index(drop=True)


def change(symbol: str, first: pd.Timestamp, last: pd.Timestamp | None = None) -> pd.DataFrame:
    span = {"first_changed": first, "last_changed": END if last is None else last}
    return pd.DataFrame([{"exchange": "binance", "subject_kind": "symbol", "subject": symbol, **span}])


def rows_of(
    frame: pd.DataFrame, interval: str = "1d", since: pd.Timestamp = EVER, quiet: pd.DataFrame = NONE_QUIET
) -> pd.DataFrame:
    """The rows that rest on the candles from `since` on, in every hour."""
    changed = pd.concat([change(symbol, since) for symbol in frame["symbol"].unique()])
    ordered = frame.sort_values(["exchange", "symbol", "interval_start"], ignore_index=True)
    return of_symbols(ordered, quiet, changed, interval, EVER).set_index(KEY).sort_index()


def last_of(rows: pd.DataFrame, metric: str, window: str, confidence: int = 0, symbol: str = "BTCUSDT") -> pd.Series:
    flat = rows.reset_index()
    is_it = (flat["metric"] == metric) & (flat["window_length"] == window) & (flat["confidence"] == confidence)
    return flat[is_it & (flat["subject"] == symbol)].sort_values("as_of").iloc[-1]


BOTH = pd.concat([candles("BTCUSDT", 400), candles("ETHUSDT", 400, seed=4)], ignore_index=True)


def test_daily_ratios_are_those_of_empyrical_over_the_last_ninety_days() -> None:
    rows = rows_of(BOTH)
    prices = BOTH[BOTH["symbol"] == "ETHUSDT"]["close"].to_numpy()
    bitcoin = BOTH[BOTH["symbol"] == "BTCUSDT"]["close"].to_numpy()
    returns, reference = (values[1:] / values[:-1] - 1 for values in (prices, bitcoin))
    for window, n in (("90d", 90), ("365d", 365)):
        of_window = returns[-n:]
        for metric, expected in {
            "sharpe": empyrical.sharpe_ratio(of_window, annualization=365),
            "sortino": empyrical.sortino_ratio(of_window, annualization=365),
            "calmar": empyrical.calmar_ratio(of_window, annualization=365),
            "max_drawdown": -empyrical.max_drawdown(of_window),
            "beta_to_btc": empyrical.beta(of_window, reference[-n:]),
            "correlation_to_btc": np.corrcoef(of_window, reference[-n:])[0, 1],
            "realised_volatility": np.sqrt(365 * (np.log1p(of_window) ** 2).mean()),
        }.items():
            row = last_of(rows, metric, window, symbol="ETHUSDT")
            assert row["value"] == pytest.approx(expected, rel=1e-9), metric
            assert (row["observations"], row["reason"]) == (n, None)
    for confidence in (95, 99):
        row = last_of(rows, "historical_var", "365d", confidence, "ETHUSDT")
        assert row["value"] == pytest.approx(-empyrical.value_at_risk(returns[-365:], 1 - confidence / 100), rel=1e-9)
        row = last_of(rows, "historical_cvar", "365d", confidence, "ETHUSDT")
        expected = -empyrical.conditional_value_at_risk(returns[-365:], 1 - confidence / 100)
        assert row["value"] == pytest.approx(expected, rel=1e-9)


def test_ranges_of_complete_hours_alone_count() -> None:
    hours = candles("BTCUSDT", 26, "1h")
    hours.loc[25, "status"] = "partial"
    row = last_of(rows_of(hours, "1h"), "parkinson_volatility", "24h")
    complete = hours.iloc[2:25]
    mean = (np.log(complete["high"] / complete["low"]) ** 2).mean()
    assert row["value"] == pytest.approx(np.sqrt(24 * 365 * mean / (4 * np.log(2))), rel=1e-12)
    assert row["observations"] == 23
    assert last_of(rows_of(hours, "1h"), "realised_volatility", "24h")["observations"] == 24


def test_illiquidity_is_the_mean_return_by_what_traded() -> None:
    frame = candles("BTCUSDT", 91)
    each = (frame["close"].pct_change().abs() / frame["quote_volume"]).iloc[1:]
    row = last_of(rows_of(frame), "amihud_illiquidity", "90d")
    assert row["value"] == pytest.approx(each.mean() * 1e6, rel=1e-12)


def test_constant_prices_have_no_risk_and_no_ratios() -> None:
    rows = rows_of(closes([100.0] * 400))
    for metric in ("realised_volatility", "max_drawdown", "max_drawdown_duration_days"):
        assert last_of(rows, metric, "90d")["value"] == 0
    assert last_of(rows, "historical_var", "365d", 95)["value"] == 0
    for metric, reason in {
        "sharpe": "no_variation",
        "sortino": "no_losses",
        "calmar": "no_drawdown",
        "beta_to_btc": "no_variation",
    }.items():
        row = last_of(rows, metric, "90d")
        assert (np.isnan(row["value"]), row["reason"]) == (True, reason)


def test_a_linear_rise_has_no_drawdown_and_gains_at_risk() -> None:
    rows = rows_of(closes(list(range(100, 500))))
    assert last_of(rows, "max_drawdown", "365d")["value"] == 0
    assert last_of(rows, "historical_var", "365d", 99)["value"] < 0
    assert last_of(rows, "sortino", "90d")["reason"] == "no_losses"


def test_one_fall_is_the_drawdown_and_lasts_to_the_end() -> None:
    rows = rows_of(closes([100.0] * 350 + [80.0] * 50))
    assert last_of(rows, "max_drawdown", "90d")["value"] == pytest.approx(0.2)
    assert last_of(rows, "max_drawdown_duration_days", "90d")["value"] == 50
    assert last_of(rows, "historical_cvar", "365d", 99)["value"] == pytest.approx(0.2 / 4)


def test_too_little_history_is_null_with_the_date_on_which_it_is_enough() -> None:
    rows = rows_of(candles("BTCUSDT", 59))
    for metric, window, confidence, days in (
        ("sharpe", "90d", 0, 90 - 59),
        ("sharpe", "365d", 0, 365 - 59),
        ("historical_var", "365d", 95, 250 - 58),
    ):
        row = last_of(rows, metric, window, confidence)
        assert (np.isnan(row["value"]), row["reason"]) == (True, "too_little_history")
        assert row["fills_at"] == END + pd.Timedelta(days=days)


@pytest.mark.parametrize(
    ("count", "metric", "window", "confidence"),
    [
        (90, "sharpe", "90d", 0),
        (365, "realised_volatility", "365d", 0),
        (251, "historical_var", "365d", 95),
        (74, "ewma_volatility", "74d", 0),
    ],
)
def test_what_is_said_to_fill_fills_then_and_not_before(count: int, metric: str, window: str, confidence: int) -> None:
    flat = rows_of(candles("BTCUSDT", count)).reset_index()
    mine = flat[(flat["metric"] == metric) & (flat["window_length"] == window) & (flat["confidence"] == confidence)]
    mine = mine.sort_values("as_of")
    assert mine["value"].isna().tolist() == [True] * (count - 1) + [False]
    assert (mine["fills_at"].iloc[:-1] == END).all()
    assert pd.isna(mine["fills_at"].iloc[-1])


def test_a_back_test_fills_when_it_is_said_to() -> None:
    rows = rows_of(candles("BTCUSDT", 760)).reset_index()
    for confidence, needed in ((95, 250), (99, 500)):
        mine = rows[(rows["metric"] == "parametric_var") & (rows["confidence"] == confidence)].sort_values("as_of")
        # 251 candles for the first forecast, and then as many as are needed
        full = END - pd.Timedelta(days=760 - 251 - needed)
        is_short = mine["as_of"] < full
        assert (mine["backtest_reason"].notna() == is_short).all()
        assert (mine["kupiec_p_value"].isna() == is_short).all()
        assert (mine.loc[is_short & (mine["as_of"] >= mine["as_of"].min()), "backtest_fills_at"] == full).all()
        last = mine.iloc[-1]
        assert last["backtest_forecasts"] == 760 - 251
        assert last["backtest_exceptions_expected"] == pytest.approx((760 - 251) * (100 - confidence) / 100)
        assert 0 <= last["conditional_coverage_p_value"] <= 1


def walk(sizes: list[float], seed: int = 1) -> pd.DataFrame:
    """Daily closes whose returns are normal, each with its size."""
    return closes((100 * np.cumprod(1 + np.random.default_rng(seed).normal(0, sizes))).tolist())


def test_the_back_test_is_a_plain_loop_over_forecasts_made_before_their_returns() -> None:
    frame = walk([0.01] * 900)
    returns = frame["close"].pct_change().to_numpy()
    for confidence in (95, 99):
        forecasts = exceptions = 0
        for day in range(900 - 750, 900):
            before = returns[max(day - 365, 0) : day]
            before = before[np.isfinite(before)]
            if len(before) >= 250:
                forecasts += 1
                exceptions += -returns[day] > -np.percentile(before, 100 - confidence)
        row = last_of(rows_of(frame, since=END - pd.Timedelta(days=1)), "historical_var", "365d", confidence)
        assert (row["backtest_forecasts"], row["backtest_exceptions"]) == (forecasts, exceptions)
        assert forecasts > 500


def test_forecasts_of_a_steady_market_pass_and_those_of_one_that_grew_wild_do_not() -> None:
    last = END - pd.Timedelta(days=1)
    steady, wild = (rows_of(walk(sizes), since=last) for sizes in ([0.01] * 900, [0.01] * 700 + [0.05] * 200))
    for method in ("historical_var", "parametric_var"):
        assert last_of(steady, method, "365d", 95)["conditional_coverage_p_value"] > 0.05
        row = last_of(wild, method, "365d", 95)
        assert row["kupiec_p_value"] < 0.001
        assert row["conditional_coverage_p_value"] < 0.001


def test_holes_in_a_long_history_are_called_so() -> None:
    prices = [100.0 + day % 7 if day % 2 else np.nan for day in range(500)]
    row = last_of(rows_of(closes(prices)), "sharpe", "90d")
    assert (row["observations"], row["reason"]) == (0, "missing_returns")
    assert pd.isna(row["fills_at"])


@pytest.mark.parametrize("interval", ["1h", "1d"])
def test_a_history_that_began_anew_is_told_alike_from_a_part_and_from_the_whole(interval: str) -> None:
    cadence = CADENCES[interval]
    count = 2 * cadence.reach
    frame = candles("BTCUSDT", count, interval).drop(index=range(300, count - 60)).reset_index(drop=True)
    since = END - pd.Timedelta(seconds=30 * cadence.seconds)
    part = frame[frame["interval_start"] >= since - pd.Timedelta(seconds=(cadence.reach + 2) * cadence.seconds)]
    pd.testing.assert_frame_equal(rows_of(part, interval, since), rows_of(frame, interval, since), check_exact=True)
    assert last_of(rows_of(part, interval, since), "historical_var", cadence.tail[0], 95)["fills_at"] > END


def test_an_absence_between_ids_that_follow_each_other_is_a_return_of_zero_and_another_is_missing() -> None:
    hours = candles("BTCUSDT", 30, "1h").drop(index=[10, 11, 20]).reset_index(drop=True)
    unknown = last_of(rows_of(hours, "1h"), "realised_volatility", "24h")
    assert unknown["observations"] == 24 - 3 - 2
    follows = 2 * np.arange(len(hours))
    proven = hours.assign(first_trade_id=follows, last_trade_id=follows + 1)
    assert between_ids(proven, 3600)["interval_start"].tolist() == [
        END - pd.Timedelta(hours=30 - n) for n in (10, 11, 20)
    ]
    known = last_of(rows_of(proven, "1h"), "realised_volatility", "24h")
    assert known["observations"] == 24
    assert last_of(rows_of(proven, "1h"), "parkinson_volatility", "24h")["observations"] == 24


def test_without_trade_ids_an_interval_is_quiet_where_the_exchange_says_so() -> None:
    hours = candles("BTCUSDT", 30, "1h", first_trade_id=np.nan, last_trade_id=np.nan).drop(index=[10])
    hours = hours.reset_index(drop=True)
    assert between_ids(hours, 3600).empty
    said = pd.DataFrame([{"exchange": "binance", "symbol": "BTCUSDT", "interval_start": END - pd.Timedelta(hours=20)}])
    assert last_of(rows_of(hours, "1h"), "realised_volatility", "24h")["observations"] == 22
    assert last_of(rows_of(hours, "1h", quiet=said), "realised_volatility", "24h")["observations"] == 24


def test_bitcoin_is_that_of_the_same_exchange_and_quote_asset() -> None:
    other = candles("ETHEUR", 100, base_asset="ETH", quote_asset="EUR")
    rows = rows_of(pd.concat([candles("BTCUSDT", 100), other]))
    row = last_of(rows, "beta_to_btc", "90d", symbol="ETHEUR")
    assert (np.isnan(row["value"]), row["reason"]) == (True, "no_reference")
    assert last_of(rows, "beta_to_btc", "90d")["value"] == pytest.approx(1)


def test_beta_counts_the_returns_that_are_known_of_both() -> None:
    holed = candles("BTCUSDT", 100).drop(index=[50])
    rows = rows_of(pd.concat([holed, candles("ETHUSDT", 100, seed=4)]))
    assert last_of(rows, "beta_to_btc", "90d", symbol="ETHUSDT")["observations"] == 88
    assert last_of(rows, "sharpe", "90d", symbol="ETHUSDT")["observations"] == 90


@pytest.mark.parametrize("interval", ["1h", "1d"])
def test_what_comes_later_changes_no_row(interval: str) -> None:
    frame = pd.concat([candles("BTCUSDT", 300, interval), candles("ETHUSDT", 300, interval, seed=4)])
    is_later = (frame["symbol"] == "BTCUSDT") & (frame["interval_start"] < frame["interval_start"].iloc[120])
    frame = frame[(np.random.default_rng(1).random(len(frame)) > 0.05) & ~is_later]
    whole = rows_of(frame, interval)
    for before in (40, 100, 299):
        cut = END - pd.Timedelta(seconds=(300 - before) * INTERVALS[interval])
        until = rows_of(frame[frame["interval_start"] < cut], interval)
        expected = whole[whole.index.get_level_values("as_of") <= cut]
        pd.testing.assert_frame_equal(until, expected, check_exact=True)


@pytest.mark.parametrize(("interval", "count"), [("1h", 400), ("1d", 1400)])
def test_a_late_candle_changes_what_lies_after_it_and_a_part_is_made_like_the_whole(interval: str, count: int) -> None:
    frame = pd.concat([candles("BTCUSDT", count, interval), candles("ETHUSDT", count, interval, seed=4)])
    seconds = INTERVALS[interval]
    late = END - pd.Timedelta(seconds=200 * seconds)
    before = rows_of(frame[(frame["interval_start"] != late) | (frame["symbol"] == "ETHUSDT")], interval)
    after = rows_of(frame, interval)
    differ = after.index.difference(before.index[before.index.isin(after.index)])
    both = before.index.intersection(after.index)
    is_same = (before.loc[both].fillna(-1).astype(str) == after.loc[both].fillna(-1).astype(str)).all(axis=1)
    changed = both[~is_same].append(differ)
    assert changed.get_level_values("as_of").min() == late + pd.Timedelta(seconds=seconds)
    ordered = frame.sort_values(["symbol", "interval_start"], ignore_index=True)
    reach = CADENCES[interval].reach
    needed = ordered[ordered["interval_start"] >= late - pd.Timedelta(seconds=(reach + 2) * seconds)]
    made = of_symbols(
        needed.reset_index(drop=True), NONE_QUIET, change("BTCUSDT", late, late), interval, EVER
    ).set_index(KEY)
    assert set(changed) <= set(made.index)
    pd.testing.assert_frame_equal(made.sort_index(), after.loc[made.index].sort_index(), check_exact=True)
    assert {"BTCUSDT", "ETHUSDT"} == set(made.index.get_level_values("subject"))


@pytest.mark.parametrize("interval", ["1h", "1d"])
def test_a_candle_is_felt_no_further_than_its_reach(interval: str) -> None:
    count = CADENCES[interval].reach + 30
    frame = candles("BTCUSDT", count, interval)
    other = frame.copy()
    other.loc[2, ["open", "high", "low", "close"]] *= 0.7
    late = frame["interval_start"][2]
    until = late + pd.Timedelta(seconds=CADENCES[interval].reach * INTERVALS[interval])
    changed = [
        of_symbols(one, NONE_QUIET, change("BTCUSDT", until), interval, EVER).set_index(KEY) for one in (frame, other)
    ]
    beyond = [
        rows[rows.index.get_level_values("as_of") > until + pd.Timedelta(seconds=INTERVALS[interval])]
        for rows in changed
    ]
    pd.testing.assert_frame_equal(*beyond, check_exact=True)


def test_between_two_changes_far_from_each_other_nothing_is_made_anew() -> None:
    hour = pd.Timedelta(hours=1)
    reach = CADENCES["1h"].reach * hour
    starts = pd.date_range(END - 3 * reach, END, freq="h")
    changed = pd.concat([change("ETHUSDT", starts[0], starts[0]), change("BTCUSDT", END, END)], ignore_index=True)
    subjects = [("binance", "symbol", symbol) for symbol in ("ETHUSDT", "BTCUSDT")]
    reached = risk_metrics._Spans(changed, "1h").reach(starts, *subjects)
    assert list(starts[reached]) == [*starts[starts <= starts[0] + reach], END]


def test_old_hours_have_rows_at_midnight_and_where_there_are_some() -> None:
    hours = candles("BTCUSDT", 240, "1h")
    since = END - pd.Timedelta(days=2)
    kept = END - pd.Timedelta(days=5, hours=3)
    made = pd.DataFrame([{"exchange": "binance", "subject_kind": "symbol", "subject": "BTCUSDT", "as_of": kept}])
    rows = of_symbols(hours, NONE_QUIET, change("BTCUSDT", EVER), "1h", since, made)
    times = pd.DatetimeIndex(sorted(rows["as_of"].unique()))
    assert (times > since).sum() == 48
    old = times[times <= since]
    assert kept in old
    assert (old.drop(kept) == old.drop(kept).normalize()).all()


def test_one_candle_gives_rows_without_values() -> None:
    rows = rows_of(candles("BTCUSDT", 1))
    assert len(rows) > 20
    assert rows["value"].isna().all()
    assert (rows["reason"] == "too_little_history").all()
    assert rows["fills_at"].notna().sum() == len(rows)


def test_without_candles_there_are_no_rows() -> None:
    none = candles("BTCUSDT", 2).iloc[:0]
    assert of_symbols(none, NONE_QUIET, change("BTCUSDT", EVER), "1d", EVER).empty


def test_sixty_of_ninety_days_are_enough() -> None:
    assert (two_thirds(90), two_thirds(365), nine_tenths(24)) == (60, 244, 22)


def days_of(frame: pd.DataFrame, name: str = "mine") -> pd.DataFrame:
    """The days of a portfolio that holds what these candles are of from the second one on."""
    returns = frame["close"].pct_change().iloc[1:]
    return pd.DataFrame(
        {
            "exchange": "binance",
            "portfolio": name,
            "day": frame["interval_start"].iloc[1:],
            "return_day": returns,
            "growth": (1 + returns).cumprod(),
            "reason": None,
        }
    )


def portfolio_change(first: pd.Timestamp) -> pd.DataFrame:
    return change("mine", first).assign(subject_kind="portfolio")


def test_a_portfolio_of_bitcoin_alone_is_as_risky_as_bitcoin() -> None:
    frame = candles("BTCUSDT", 800)
    market_rows = rows_of(frame).reset_index()
    rows = of_portfolios(days_of(frame), frame, NONE_QUIET, portfolio_change(EVER))
    assert set(rows["subject_kind"]) == {"portfolio"}
    assert set(market_rows["metric"]) - set(rows["metric"]) == {"amihud_illiquidity"}
    key = ["as_of", "metric", "return_interval", "horizon", "window_length", "confidence"]
    of_both = rows.merge(market_rows, on=key, suffixes=("", "_market"))
    assert len(of_both) == len(rows)
    for name in ("value", "standard_error", "kupiec_p_value", "backtest_exceptions"):
        np.testing.assert_allclose(of_both[name], of_both[f"{name}_market"], rtol=1e-6, atol=1e-7, err_msg=name)
    for name in ("observations", "fills_at", "reason", "backtest_forecasts", "backtest_fills_at"):
        pd.testing.assert_series_equal(of_both[name], of_both[f"{name}_market"], check_names=False)


def test_the_fall_of_a_portfolio_s_first_day_counts() -> None:
    days = days_of(closes([100.0, 50.0, *[60.0] * 100]))
    rows = of_portfolios(days, candles("BTCUSDT", 102), NONE_QUIET, portfolio_change(EVER))
    fall = rows[(rows["metric"] == "max_drawdown") & (rows["window_length"] == "90d")].set_index("as_of")["value"]
    assert fall[days["day"].min() + pd.Timedelta(days=90)] == pytest.approx(0.5)
    assert fall.iloc[-1] == 0


def test_a_portfolio_follows_its_own_days_and_bitcoin_s_candles() -> None:
    frame = candles("BTCUSDT", 100)
    last = END - pd.Timedelta(days=1)
    for changed in (portfolio_change(last), change("BTCUSDT", last)):
        rows = of_portfolios(days_of(frame), frame, NONE_QUIET, changed)
        assert set(rows["as_of"]) == {END}
    assert of_portfolios(days_of(frame), frame, NONE_QUIET, change("ETHUSDT", last)).empty
    without = of_portfolios(days_of(frame), frame.iloc[:0], NONE_QUIET, portfolio_change(last))
    assert (without.loc[without["metric"] == "beta_to_btc", "reason"] == "no_reference").all()


def test_of_a_day_that_a_portfolio_has_no_more_nothing_is_said() -> None:
    frame = candles("BTCUSDT", 400)
    days = days_of(frame)
    days.loc[days.index[-1:], ["return_day", "growth"]] = np.nan
    days.loc[days.index[-1:], "reason"] = "retracted"
    rows = of_portfolios(days, frame, NONE_QUIET, portfolio_change(EVER))
    gone = rows[rows["as_of"] == END]
    assert gone["value"].isna().all()
    assert gone["standard_error"].isna().all()
    assert gone["fills_at"].isna().all()
    assert (gone["reason"] == "retracted").all()
    assert (rows.loc[rows["as_of"] < END, "reason"] != "retracted").all()


NOW = datetime(2026, 11, 26, 0, 4, tzinfo=UTC)
DECIMALS = ("open", "high", "low", "close", "volume", "quote_volume")


def stored(frame: pd.DataFrame, interval: str, **changes: Any) -> list[Mapping[str, Any]]:
    """Candles as `silver.ohlcv` has them."""
    rows = frame.to_dict("records")
    for row in rows:
        row |= {name: Decimal(f"{row[name]:.12f}") for name in DECIMALS}
        row |= {"interval": interval, "interval_start": row["interval_start"].to_pydatetime(), "is_closed": True}
        row |= {"month": f"{row['interval_start']:%Y-%m}", **changes}
    return rows


class Followed:
    """A lake with candles of two markets, and the table that follows them."""

    def __init__(self, spark: SparkSession) -> None:
        self.lake = MemoryLake(spark)
        for seed, symbol in enumerate(("BTCUSDT", "ETHUSDT")):
            self.put(candles(symbol, 100, "1d", seed), "1d")
            self.put(candles(symbol, 6, "1h", seed).drop(index=[3]), "1h", first_trade_id=None)

        days = days_of(candles("BTCUSDT", 9)).to_dict("records")
        for day in days:
            day |= {"asset": "TOTAL", "is_closed": True, "day": day["day"].to_pydatetime()}
            day |= {"month": f"{day['day']:%Y-%m}"}
        days[-1]["is_closed"] = False
        self.lake.put(portfolio_performance.TABLE, days)

    def put(self, frame: pd.DataFrame, interval: str, **changes: Any) -> None:
        self.lake.put(ohlcv.TABLE, stored(frame, interval, **changes))

    def run(self, **options: bool) -> Refreshed:
        self.lake.set_clock(NOW)
        return refresh(self.lake, risk_metrics, NOW, **options)

    def rows(self) -> list[dict[str, Any]]:
        return [{**row.asDict(), "ingestion_ts": None} for row in self.lake.rows(TABLE)]


def test_it_follows_its_candles_and_comes_out_the_same_from_scratch(spark: SparkSession) -> None:
    table = Followed(spark)
    first = table.run()
    assert first.is_sound
    assert first.rows == len(table.rows()) > 2 * 27 * 30
    mine = {row["as_of"] for row in table.rows() if row["subject_kind"] == "portfolio"}
    assert mine == {(END - timedelta(days=days)).to_pydatetime() for days in range(1, 8)}

    writes = len(table.lake.written)
    assert table.run().rows == 0
    open_hour = candles("ETHUSDT", 1, "1h").assign(interval_start=END)
    table.put(open_hour, "1h", is_closed=False)
    assert table.run().rows == 0
    assert sum(len(rows) for _, rows in table.lake.written[writes:]) == 0

    late = candles("ETHUSDT", 100, "1d", 1).iloc[[95]].assign(close=lambda frame: frame["low"])
    table.put(late, "1d")
    again = table.run()
    assert again.is_sound
    written = table.lake.written[-1][1]
    assert {(row.subject, row.return_interval) for row in written} == {("ETHUSDT", "1d")}
    assert min(row.as_of for row in written) == END - timedelta(days=4)
    assert again.rows == len(written) < 27 * 5

    at = (END - timedelta(hours=3)).to_pydatetime()
    quiet = {"exchange": "binance", "symbol": "BTCUSDT", "interval": "1h", "interval_start": at, "month": f"{at:%Y-%m}"}
    table.lake.put(quiet_intervals.TABLE, [quiet])
    table.run()
    written = table.lake.written[-1][1]
    assert {(row.subject, row.return_interval) for row in written} == {("BTCUSDT", "1h")}
    assert {row.as_of for row in written} == {(END - timedelta(hours=hours)).to_pydatetime() for hours in (0, 1)}

    table.lake.put(quiet_intervals.TABLE, [quiet | {"symbol": "XRPUSDT"}])
    assert table.run().rows == 0  # it has no candles

    followed = table.rows()
    writes = len(table.lake.written)
    table.run(from_scratch=True)
    assert sum(len(rows) for _, rows in table.lake.written[writes:]) == 0
    fresh = Followed(spark)
    fresh.lake.like(table.lake, risk_metrics.SOURCES)
    fresh.run()
    assert fresh.rows() == followed
