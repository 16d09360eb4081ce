"""The kinds that ask the serving database."""

from math import log

import pytest

from alerts.kinds._kind import SourceError
from alerts.kinds.anomaly import THRESHOLDS, Anomaly
from alerts.kinds.completeness import Completeness
from alerts.kinds.drawdown import Drawdown
from alerts.kinds.gap import Gap
from alerts.kinds.signal import Signal
from alerts.kinds.var_breach import VarBreach
from alerts.sources import Asked
from crypto_pipeline.gold import _unusual
from shared.settings import Settings
from tests.alerts.kinds.conftest import COMPLETENESS, FACT_OHLCV, HOUR, MINUTE, NOW, Lake, at

BTC = {"exchange": "binance", "symbol": "BTCUSDT"}
ETH = {"exchange": "binance", "symbol": "ETHUSDT"}
EIGHT = NOW - 45 * MINUTE


def test_a_database_that_does_not_answer_is_no_finding() -> None:
    sources = Asked(Settings(postgres_port=1), {})
    with pytest.raises(SourceError, match="the serving database: "):
        list(Drawdown(name="d", kind="drawdown").ask(sources, NOW))


def test_less_complete_than_wanted_fires_by_symbol_over_the_hours_that_have_settled(lake: Lake) -> None:
    hour = {"minutes_expected": 60, "minutes_repaired": 10}
    lake.add(COMPLETENESS, **BTC, hour_start=at(EIGHT - HOUR), minutes_complete=40, **hour)
    lake.add(COMPLETENESS, **ETH, hour_start=at(EIGHT - HOUR), minutes_complete=50, **hour)
    lake.add(COMPLETENESS, **ETH, hour_start=at(EIGHT), minutes_complete=0, **hour)  # it is not over
    rule = Completeness(name="c", kind="completeness", percent=90, hours=1)
    found = lake.find(rule)
    assert {subject: one.holds for subject, one in found.items()} == {"binance BTCUSDT": True, "binance ETHUSDT": False}
    assert "83.333333 % of the minutes are proven complete (50 of 60; wanted: 90 %)" in found["binance BTCUSDT"].text
    assert set(lake.find(rule.model_copy(update={"symbols": ("ETHUSDT",)}))) == {"binance ETHUSDT"}
    assert lake.find(rule, NOW - 31 * MINUTE) == {}


def gap(lake: Lake, minutes_ago: int, status: str = "open", stream: str = "trade") -> None:
    lake.add(
        "bronze.gaps", **BTC, gap_stream=stream, status=status, event_time=at(NOW - minutes_ago * MINUTE),
        updated_at=at(NOW), first_missing=minutes_ago, detail="REST does not answer.",
    )  # fmt: skip


def test_a_gap_fires_when_it_is_not_repaired_in_time(lake: Lake) -> None:
    rule = Gap(name="g", kind="gap", minutes=10)
    gap(lake, 9)
    gap(lake, 30, "repaired")
    gap(lake, 30, stream="depth5")
    assert lake.find(rule) == {}
    gap(lake, 11)
    gap(lake, 12, "lost")
    found = lake.find(rule)["binance BTCUSDT"]
    assert (found.holds, found.value) == (True, 2)
    assert found.text == "BTCUSDT of binance has 2 gaps not repaired, 1 of them lost. trade: REST does not answer."
    assert lake.find(rule.model_copy(update={"symbols": ("ETHUSDT",)})) == {}


def signal(lake: Lake, minutes_ago: int, revision: int = 1, retracted: bool = False, **other: object) -> None:
    end = NOW - minutes_ago * MINUTE
    lake.add("gold.signals", **{
        **BTC, "interval": "15m", "rule": "golden_cross", "side": "buy", "close": 100, "strength": 0.5,
        "interval_start": at(end - 15 * MINUTE), "interval_end": at(end), "revision": revision,
        "is_retraction": retracted, "reason": "late_data" if retracted else None, **other,
    })  # fmt: skip


def test_each_signal_fires_by_itself_from_its_candles_close(lake: Lake) -> None:
    signal(lake, 15)
    signal(lake, 75)
    rule = Signal(name="s", kind="signal", intervals=("15m",), rules=("golden_cross",), side="buy")
    [(name, found)] = lake.find(rule).items()
    assert name == "binance BTCUSDT 15m golden_cross 2026-11-21 08:15"
    assert (found.holds, found.at) == (True, NOW - 15 * MINUTE)
    assert found.text == "Buy: golden_cross on BTCUSDT 15m of 2026-11-21 08:15 UTC, close 100."
    for other in ({"intervals": ("1h",)}, {"rules": ("x",)}, {"side": "sell"}, {"symbols": ("ETHUSDT",)}):
        assert lake.find(rule.model_copy(update=other)) == {}


def test_a_signal_that_late_data_overturned_is_over(lake: Lake) -> None:
    signal(lake, 15)
    signal(lake, 15, revision=2, retracted=True)
    (found,) = lake.find(Signal(name="s", kind="signal")).values()
    assert found.holds is False
    assert found.text.startswith("Retracted (late_data): golden_cross")


def anomaly(lake: Lake, score: float, retracted: bool = False, kind: str = "return") -> None:
    lake.add(
        "gold.anomalies", **BTC, interval="1m", interval_start=at(NOW - 5 * MINUTE), kind=kind, score=score,
        threshold=10, is_retracted=retracted, explanation="It fell by 2 %.",
    )  # fmt: skip


def test_an_anomaly_fires_so_many_times_beyond_its_threshold(lake: Lake) -> None:
    anomaly(lake, -25)
    anomaly(lake, 15, kind="volume")
    rule = Anomaly(name="a", kind="anomaly", times=2)
    [(name, found)] = lake.find(rule).items()
    assert name == "binance BTCUSDT return 2026-11-21 08:40"
    assert (found.holds, found.at, found.value) == (True, NOW - 4 * MINUTE, -25)
    assert found.text == "BTCUSDT, 2026-11-21 08:40 UTC: It fell by 2 %."
    assert len(lake.find(rule.model_copy(update={"times": 1}))) == 2
    assert lake.find(rule.model_copy(update={"measures": ("spread",)})) == {}
    assert lake.find(rule, NOW + HOUR) == {}


def test_an_anomaly_that_late_data_overturned_is_over(lake: Lake) -> None:
    anomaly(lake, -25, retracted=True)
    (found,) = lake.find(Anomaly(name="a", kind="anomaly")).values()
    assert found.holds is False


def minute(lake: Lake, start: int, close: float, volume: float = 100, **other: object) -> None:
    said = {"close": close, "volume": volume, "trade_count": 10, "is_closed": True}
    lake.add(FACT_OHLCV, **{**BTC, **said, "interval": "1m", "interval_start": at(start), **other})


def usual(lake: Lake, measure: str, hour: int = EIGHT, **values: object) -> None:
    said = {"measure": measure, "hour_start": at(hour), "median": 0.0, "scale": 0.001, "observations": 600}
    lake.add("gold.anomaly_baselines", **{**BTC, **said, **values})


def test_a_candle_unlike_its_hour_is_told_before_gold_has_its_row_and_once(lake: Lake) -> None:
    rule = Anomaly(name="a", kind="anomaly")
    for measure, median, scale in (("volume", log(100), 0.5), ("trade_size", log(10), 0.2)):
        usual(lake, measure, median=median, scale=scale)
    usual(lake, "return")
    five = NOW - 5 * MINUTE
    minute(lake, five - MINUTE, 100)
    assert lake.find(rule) == {}
    minute(lake, five, 98)
    minute(lake, five + MINUTE, 98, volume=2500)
    early = lake.find(rule)
    assert set(early) == {
        "binance BTCUSDT return 2026-11-21 08:40",
        "binance BTCUSDT volume 2026-11-21 08:41",
        "binance BTCUSDT trade_size 2026-11-21 08:41",
    }
    fall = early["binance BTCUSDT return 2026-11-21 08:40"]
    assert (fall.holds, fall.at, round(fall.value, 3)) == (True, NOW - 4 * MINUTE, round(log(0.98) / 0.001, 3))
    assert fall.text == (
        "BTCUSDT, 2026-11-21 08:40 UTC: return -2 % in the minute "
        "(robust z -20.2 by 600 minutes that are usual for the hour)"
    )
    assert "volume 25 times the median" in early["binance BTCUSDT volume 2026-11-21 08:41"].text
    assert set(lake.find(rule.model_copy(update={"times": 2.1, "measures": ("return",)}))) == set()
    assert set(lake.find(rule.model_copy(update={"symbols": ("ETHUSDT",)}))) == set()

    anomaly(lake, -20.2)  # gold's own row of the same minute and kind
    found = lake.find(rule)
    assert found.keys() == early.keys()
    assert found["binance BTCUSDT return 2026-11-21 08:40"].text.endswith("It fell by 2 %.")


def test_what_gold_has_retracted_is_not_told_from_the_candle(lake: Lake) -> None:
    usual(lake, "return")
    minute(lake, NOW - 6 * MINUTE, 100)
    minute(lake, NOW - 5 * MINUTE, 98)
    anomaly(lake, -20.2, retracted=True)
    assert [one.holds for one in lake.find(Anomaly(name="a", kind="anomaly")).values()] == [False]


def test_an_open_candle_a_gap_and_an_hour_without_a_baseline_say_nothing(lake: Lake) -> None:
    rule = Anomaly(name="a", kind="anomaly")
    usual(lake, "return")
    usual(lake, "volume", median=None, scale=None)
    minute(lake, NOW - 10 * MINUTE, 100, volume=1e9)
    minute(lake, NOW - 8 * MINUTE, 50)  # the minute before it is absent
    minute(lake, NOW - 7 * MINUTE, 40, is_closed=False)
    minute(lake, EIGHT - 2 * MINUTE, 100)
    minute(lake, EIGHT - MINUTE, 50)
    minute(lake, NOW - 6 * MINUTE, 0.1, volume=0, trade_count=0)
    assert lake.find(rule) == {}


def test_the_thresholds_of_candles_are_those_of_gold() -> None:
    assert {name: _unusual.THRESHOLDS[name] for name in THRESHOLDS} == THRESHOLDS


def performance(lake: Lake, portfolio: str, days_ago: int, asset: str = "TOTAL", **values: object) -> None:
    day = at(NOW // (24 * HOUR) * 24 * HOUR - days_ago * 24 * HOUR)
    lake.add(
        "gold.portfolio_performance", **{"portfolio": portfolio, "day": day, "asset": asset, "value": 9000} | values
    )


def held(lake: Lake, **total: object) -> None:
    """A portfolio of 9,000 USDT as gold valued it five minutes ago: 80 of BTC and 1,000 in cash."""
    said = {"exchange": "binance", "as_of": at(NOW - 5 * MINUTE), "is_closed": False}
    performance(lake, "balanced", 0, **said, **total)
    performance(lake, "balanced", 0, "BTC", units=80, price=100, **{**said, "value": 8000})
    performance(lake, "balanced", 0, "USDT", units=1000, price=1, **{**said, "value": 1000})


def test_a_drawdown_and_a_loss_go_on_from_golds_valuation_with_the_newest_candle(lake: Lake) -> None:
    held(lake, drawdown=-0.05, return_day=-0.04)
    risk(lake, NOW // (24 * HOUR) * 24 * HOUR, 0.1, subject_kind="portfolio", subject="balanced", horizon="1d")
    down, breach = Drawdown(name="d", kind="drawdown", percent=10), VarBreach(name="v", kind="var_breach")
    minute(lake, NOW - 6 * MINUTE, 1)  # gold had it
    assert [round(one.value, 9) for rule in (down, breach) for one in lake.find(rule).values()] == [5, 4]
    minute(lake, NOW - 5 * MINUTE, 95)
    minute(lake, NOW - 4 * MINUTE, 90)
    minute(lake, NOW - 3 * MINUTE, 10, is_closed=False)
    (lies,), (lost,) = lake.find(down).values(), lake.find(breach).values()
    ratio = 8200 / 9000
    assert (lies.holds, round(lies.value, 6)) == (True, round(100 - 95 * ratio, 6))
    assert lies.text == "balanced lies 13.44 % below its peak; its value is 8,200.00 USDT."
    assert (lost.holds, round(lost.value, 6)) == (True, round(100 - 96 * ratio, 6))
    minute(lake, NOW - 2 * MINUTE, 200)
    assert [one.value for one in lake.find(down).values()] == [0]


def test_a_portfolio_of_which_one_price_is_not_known_stays_as_gold_valued_it(lake: Lake) -> None:
    held(lake, drawdown=-0.05)
    performance(lake, "balanced", 0, "XYZ", units=5, price=None, value=None, as_of=at(NOW), exchange="binance")
    minute(lake, NOW - 4 * MINUTE, 1)
    (found,) = lake.find(Drawdown(name="d", kind="drawdown")).values()
    assert round(found.value, 9) == 5


def test_a_day_that_is_over_has_the_loss_that_it_had(lake: Lake) -> None:
    said = {"exchange": "binance", "as_of": at(NOW - 5 * MINUTE), "is_closed": True}
    performance(lake, "balanced", 0, **said, return_day=-0.04, drawdown=-0.05)
    performance(lake, "balanced", 0, "BTC", units=90, price=100, **said)
    risk(lake, NOW // (24 * HOUR) * 24 * HOUR, 0.1, subject_kind="portfolio", subject="balanced", horizon="1d")
    minute(lake, NOW - 4 * MINUTE, 50)
    (found,) = lake.find(VarBreach(name="v", kind="var_breach")).values()
    assert (found.holds, round(found.value, 9)) == (False, 4)


def test_a_drawdown_is_that_of_a_portfolios_latest_day(lake: Lake) -> None:
    performance(lake, "balanced", 1, drawdown=-0.3)
    performance(lake, "balanced", 0, drawdown=-0.05)
    performance(lake, "wallet", 0, drawdown=-0.125)
    found = lake.find(Drawdown(name="d", kind="drawdown", percent=10))
    assert {name: one.holds for name, one in found.items()} == {"portfolio balanced": False, "portfolio wallet": True}
    assert found["portfolio wallet"].text == "wallet lies 12.50 % below its peak; its value is 9,000.00 USDT."
    assert set(lake.find(Drawdown(name="d", kind="drawdown", portfolios=("balanced",)))) == {"portfolio balanced"}


def risk(lake: Lake, as_of: int, value: float, **of: object) -> None:
    lake.add("gold.risk_metrics", **{
        "exchange": "binance", "subject_kind": "symbol", "subject": "BTCUSDT", "as_of": at(as_of), "horizon": "1h",
        "metric": "historical_var", "confidence": 99, "value": value, **of,
    })  # fmt: skip


def candle(lake: Lake, start: int, close: float) -> None:
    lake.add(FACT_OHLCV, **BTC, interval="1m", interval_start=at(start), interval_end=at(start + MINUTE), close=close)


def test_a_loss_of_the_hour_that_is_greater_than_foretold_is_a_breach(lake: Lake) -> None:
    rule = VarBreach(name="v", kind="var_breach", confidence=99)
    risk(lake, EIGHT - HOUR, 0.5)
    risk(lake, EIGHT, 0.02)
    risk(lake, EIGHT, 0.001, confidence=95)
    assert lake.find(rule)["binance BTCUSDT 2026-11-21 08:00"].holds is None
    candle(lake, EIGHT - MINUTE, 100)
    candle(lake, EIGHT + 9 * MINUTE, 99)
    assert lake.find(rule)["binance BTCUSDT 2026-11-21 08:00"].holds is False
    candle(lake, EIGHT + 10 * MINUTE, 97.5)
    candle(lake, EIGHT + HOUR, 50)  # of the next hour
    found = lake.find(rule)["binance BTCUSDT 2026-11-21 08:00"]
    assert (found.holds, round(found.value, 6)) == (True, 2.5)
    assert "lost 2.50 % since 2026-11-21 08:00 UTC; the historical value at risk of 1h at 99 % is 2.00 %." in found.text
    assert lake.find(rule.model_copy(update={"symbols": ("ETHUSDT",)})) == {}


def test_a_portfolios_loss_of_the_day_is_compared_with_that_days_value_at_risk(lake: Lake) -> None:
    midnight = NOW // (24 * HOUR) * 24 * HOUR
    risk(lake, midnight, 0.03, subject_kind="portfolio", subject="balanced", horizon="1d")
    performance(lake, "balanced", 0, return_day=-0.04)
    (found,) = lake.find(VarBreach(name="v", kind="var_breach")).values()
    assert (found.subject, found.holds) == ("portfolio balanced", True)
    assert lake.find(VarBreach(name="v", kind="var_breach", portfolios=())) == {}
