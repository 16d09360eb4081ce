"""What a report takes from the tables, of rows that are known, asked by DuckDB."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from crypto_pipeline.lake_sql import Rows
from crypto_pipeline.reader import LakeError
from crypto_pipeline.report import page, reading
from crypto_pipeline.report.content import Absent, DataCondition, Performance, Report, TableHealth
from crypto_pipeline.report.reading import Asked
from shared.tables import Table
from tests.crypto_pipeline.report.lake import LakeInMemory

DAY = date(2026, 11, 25)
NOW = datetime(2026, 11, 26, 0, 16, tzinfo=UTC)
MARKET = {"exchange": "binance", "symbol": "BTCUSDT"}


def at(hour: int = 0, minute: int = 0, *, day: date = DAY) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(hours=hour, minutes=minute)


def report(portfolio: str = "main", day: date = DAY, **rows: list[dict[str, Any]]) -> Report:
    return reading.collected(Asked(LakeInMemory(**rows)), portfolio, day, "demo", NOW)


def day_candle(symbol: str = "BTCUSDT", open_: int = 100, close: int = 110, **changes: Any) -> dict[str, Any]:
    values = {
        "exchange": "binance", "symbol": symbol, "quote_asset": "USDT", "interval": "1d", "interval_start": at(),
        "open": Decimal(open_), "high": Decimal(120), "low": Decimal(90), "close": Decimal(close),
        "quote_volume": Decimal(5000), "trade_count": 7, "is_closed": True, "status": "complete", "month": "2026-11",
    }  # fmt: skip
    return {**values, **changes}


def minute(number: int, status: str = "complete", **changes: Any) -> dict[str, Any]:
    return {**MARKET, "interval_start": at(minute=number), "status": status, "month": "2026-11", **changes}


def total(day: date, growth: float, **changes: Any) -> dict[str, Any]:
    values = {
        "portfolio": "main", "day": at(day=day), "asset": "TOTAL", "started_on": at(day=date(2026, 11, 20)),
        "is_closed": True, "as_of": at(24, day=day), "value": Decimal(1000), "profit_day": Decimal("12.5"),
        "return_day": 0.01, "return_week": 0.02, "return_month": 0.03, "return_since_start": growth - 1,
        "drawdown": -0.005, "benchmark": "BTC", "benchmark_return_day": 0.004, "benchmark_growth": growth,
        "benchmark_return_since_start": growth - 1, "month": f"{day:%Y-%m}",
    }  # fmt: skip
    return {**values, **changes}


def holding(asset: str, value: int, **changes: Any) -> dict[str, Any]:
    values = {
        "portfolio": "main", "day": at(), "asset": asset, "units": Decimal(2), "value": Decimal(value), "weight": 0.5,
        "profit_day": Decimal(1), "contribution_day": 0.001, "is_stale": False, "priced_at": at(24), "month": "2026-11",
    }  # fmt: skip
    return {**values, **changes}


def test_where_nothing_is_there_yet_every_part_says_so_and_the_page_stands() -> None:
    found = report()
    parts = (found.performance, found.risk, found.correlations, found.movers, found.signals, found.anomalies)
    for part in (*parts, found.forecasts, found.condition):
        assert isinstance(part, Absent)
        assert "is not there yet" in part.why
    assert "is not there yet" in page.rendered(found)


def test_a_table_that_this_version_does_not_make_is_a_part_without_data() -> None:
    asked = Asked(LakeInMemory(), tables={}, views={})
    assert reading.names_of_portfolios(asked) == []
    found = reading.collected(asked, "", DAY, "live", NOW)
    assert found.movers == Absent("silver.ohlcv is not there yet: this version of the project does not make it.")


def test_a_lake_that_does_not_answer_is_an_error_and_not_an_empty_report() -> None:
    def down(table: Table) -> Rows:
        raise LakeError("The lake is not running.")

    with pytest.raises(LakeError, match="not running"):
        reading.collected(Asked(down), "main", DAY, "demo", NOW)


def test_movers_are_the_candles_of_that_day_alone() -> None:
    found = report(
        silver__ohlcv=[
            day_candle(),
            day_candle("ETHUSDT", 200, 150, status="partial"),
            day_candle("OLDUSDT", interval_start=at(-24)),
            day_candle("HOURUSDT", interval="1h"),
        ]
    )
    assert isinstance(found.movers, list)
    by_symbol = {one.symbol: one for one in found.movers}
    assert set(by_symbol) == {"BTCUSDT", "ETHUSDT"}
    assert by_symbol["BTCUSDT"].change == pytest.approx(0.1)
    assert by_symbol["ETHUSDT"].change == pytest.approx(-0.25)
    assert (by_symbol["BTCUSDT"].is_whole, by_symbol["ETHUSDT"].is_whole) == (True, False)


def test_of_a_day_without_rows_it_says_which_there_are() -> None:
    found = report(day=date(2026, 11, 1), silver__ohlcv=[day_candle(), day_candle(interval_start=at(-24))])
    assert found.movers == Absent(
        "silver.ohlcv has nothing of 2026-11-01: it has 2026-11-24 00:00 to 2026-11-25 00:00 UTC."
    )
    assert report(silver__ohlcv=[]).movers == Absent("silver.ohlcv has no rows yet.")


def test_the_condition_counts_the_minutes_of_the_day_and_the_holes_that_are_open() -> None:
    minutes = [
        minute(0),
        minute(1, "repaired"),
        minute(2, reason="no_trades"),
        minute(3, "partial"),
        minute(-1, "missing"),
    ]
    hole = {"exchange": "binance", "symbol": "BTCUSDT", "date": "2026-11-25"}
    found = report(
        silver__completeness=minutes,
        bronze__gaps=[
            {**hole, "status": "open"},
            {**hole, "status": "repaired"},
            {**hole, "status": "open", "date": "2026-11-24"},
        ],
    ).condition
    assert isinstance(found, DataCondition)
    [market] = found.markets
    assert (market.condition, market.expected, market.proven, market.partial) == ("degraded", 4, 3, 1)
    assert (market.repaired, market.quiet, market.missing) == (1, 1, 0)
    assert found.open_gaps == 1


def test_without_the_table_of_gaps_the_condition_stands() -> None:
    found = report(silver__completeness=[minute(0)]).condition
    assert isinstance(found, DataCondition)
    assert found.open_gaps is None


class TestPortfolio:
    def rows(self) -> list[dict[str, Any]]:
        days = [DAY - timedelta(days=n) for n in (5, 4, 3, 2, 1, 0)]  # from a Friday on
        growths = (1.0, 1.1, 1.2, 1.25, 1.3, 1.5)
        return [
            *(total(day, growth) for day, growth in zip(days, growths, strict=True)),
            total(DAY + timedelta(days=1), 9.0),
            total(DAY, 5.0, portfolio="it's another"),
            total(DAY - timedelta(days=9), 7.0, reason="retracted", value=None),
            holding("BTC", 700),
            holding("XRP", 100, is_stale=True, priced_at=at(21, 14)),
            holding("OLD", 0, units=Decimal(0), profit_day=Decimal(0)),
            holding("ETH", 5, day=at(-24)),
        ]

    def performance(self, portfolio: str = "main", day: date = DAY) -> Performance | Absent:
        return report(portfolio, day, gold__portfolio_performance=self.rows()).performance

    def test_its_value_and_returns_are_those_of_the_day(self) -> None:
        found = self.performance()
        assert isinstance(found, Performance)
        assert (found.value, found.profit, found.benchmark) == (1000.0, 12.5, "BTC")
        assert [span.name for span in found.spans] == ["Day", "Since Monday", "Since 1 November", "Since 2026-11-20"]
        assert [span.portfolio for span in found.spans] == pytest.approx([0.01, 0.02, 0.03, 0.5])
        assert [span.benchmark for span in found.spans] == pytest.approx([0.004, 1.5 / 1.2 - 1, 0.5, 0.5])

    def test_its_curve_ends_with_the_day_and_leaves_out_what_was_retracted(self) -> None:
        found = self.performance()
        assert isinstance(found, Performance)
        assert [point.total_return for point in found.curve] == pytest.approx([0.0, 0.1, 0.2, 0.25, 0.3, 0.5])
        assert found.curve[-1].day == DAY

    def test_its_positions_are_what_it_held_the_largest_first(self) -> None:
        found = self.performance()
        assert isinstance(found, Performance)
        assert [one.asset for one in found.positions] == ["BTC", "XRP"]
        assert found.positions[1].note == "stale price"
        assert found.notes == ["XRP was last traded at 2026-11-25 21:14 UTC, and counts at that price."]

    def test_a_name_with_a_quote_is_found(self) -> None:
        found = self.performance("it's another")
        assert isinstance(found, Performance)
        assert found.spans[3].portfolio == pytest.approx(4.0)

    def test_a_day_on_which_it_was_not_valued_says_what_there_is(self) -> None:
        assert "was not valued on 2026-11-19, nor on a day before" in self.performance(day=date(2026, 11, 19)).why  # type: ignore[union-attr]
        assert "the latest before is of 2026-11-26" in self.performance(day=date(2026, 11, 28)).why  # type: ignore[union-attr]

    def test_the_names_are_those_with_a_valuation_that_counts(self) -> None:
        rows = [*self.rows(), total(DAY, 1.0, portfolio="gone", reason="retracted")]
        asked = Asked(LakeInMemory(gold__portfolio_performance=rows))
        assert reading.names_of_portfolios(asked) == ["it's another", "main"]


def metric(name: str, value: float | None, **changes: Any) -> dict[str, Any]:
    values = {
        "exchange": "binance", "subject_kind": "symbol", "subject": "BTCUSDT", "as_of": at(24), "metric": name,
        "return_interval": "1h", "horizon": "1y", "window_length": "30d", "confidence": 0, "value": value,
        "month": "2026-11",
    }  # fmt: skip
    return {**values, **changes}


def test_risk_is_as_of_the_days_end_the_portfolio_first_and_then_by_turnover() -> None:
    found = report(
        silver__ohlcv=[day_candle(), day_candle("ETHUSDT", quote_volume=Decimal(9000))],
        gold__risk_metrics=[
            metric("realised_volatility", 0.4),
            metric("realised_volatility", 0.3, as_of=at(23)),
            metric("realised_volatility", 0.5, subject="ETHUSDT"),
            metric("realised_volatility", 0.2, subject="main", subject_kind="portfolio"),
            metric("realised_volatility", 0.1, subject="other", subject_kind="portfolio"),
            metric("realised_volatility", 0.9, as_of=at(25)),
            metric(
                "sharpe", None, return_interval="1d", window_length="90d", reason="too_little_history",
                fills_at=at(day=date(2027, 1, 3)),
            ),
        ],
    ).risk  # fmt: skip
    assert not isinstance(found, Absent), found
    assert list(found.subjects) == ["main", "ETHUSDT", "BTCUSDT"]
    volatility, sharpe = found.measures
    assert [figure.value for figure in volatility.figures] == [0.2, 0.5, 0.4]
    assert sharpe.figures[2].reason == "too little history: fills on 2027-01-03 00:00 UTC"


def pair(a: str, b: str, pearson: float | None, **changes: Any) -> dict[str, Any]:
    values = {
        "exchange": "binance", "quote_asset": "USDT", "symbol_a": a, "symbol_b": b, "return_interval": "1h",
        "window_length": "30d", "confidence": 0.95, "as_of": at(24), "observations": 700, "pearson": pearson,
        "month": "2026-11",
    }  # fmt: skip
    return {**values, **changes}


def test_a_map_of_correlations_is_symmetrical_and_ordered_by_turnover() -> None:
    found = report(
        silver__ohlcv=[day_candle(), day_candle("ETHUSDT", quote_volume=Decimal(9000))],
        gold__correlations=[
            pair("BTCUSDT", "ETHUSDT", 0.8, lead_lag_seconds=-60, lead_lag_correlation=0.12, lead_lag_p=0.003),
            pair("BTCUSDT", "ETHUSDT", 0.1, as_of=at(23)),
            pair("BTCUSDT", "SOLUSDT", -0.5, observations=650),
            pair("ETHUSDT", "SOLUSDT", None, reason="constant"),
            pair("ADABTC", "ETHBTC", 0.9, quote_asset="BTC"),
            pair("BTCUSDT", "ETHUSDT", None, return_interval="1d", window_length="90d", reason="too_few_observations",
                 fills_at=at(day=date(2026, 12, 11))),
        ],
    ).correlations  # fmt: skip
    assert isinstance(found, list), found
    [one] = found
    assert one.window == "1h returns over 30 days"
    assert list(one.symbols) == ["ETHUSDT", "BTCUSDT", "SOLUSDT"]
    assert one.matrix == [[None, 0.8, None], [0.8, None, -0.5], [None, -0.5, None]]
    assert one.observations == (650, 700)
    assert list(one.notes) == [
        "In 1h returns over 30 days ETHUSDT leads BTCUSDT by 60 s: correlation 0.12, adjusted p 0.003.",
        "1d returns over 90 days: too few observations: fills on 2026-12-11 00:00 UTC.",
    ]


def test_without_one_correlation_it_says_when_there_will_be() -> None:
    short = {"reason": "too_few_observations", "fills_at": at(day=date(2026, 12, 11))}
    never = pair("A", "C", None, reason="constant")
    rows = [never, pair("A", "B", None, **short), never | {"symbol_b": "D"}]
    found = report(gold__correlations=rows, silver__ohlcv=[]).correlations
    assert found == Absent("1h returns over 30 days: too few observations: fills on 2026-12-11 00:00 UTC.")


def signal(**changes: Any) -> dict[str, Any]:
    values = {
        **MARKET, "interval": "1h", "interval_start": at(3), "interval_end": at(4), "rule": "rsi_low", "revision": 1,
        "is_retraction": False, "side": "buy", "strength": 0.1, "caused_by": '{"rsi_14": [28.12345678, 31.4]}',
        "month": "2026-11",
    }  # fmt: skip
    return {**values, **changes}


def test_of_a_signal_its_last_revision_counts() -> None:
    found = report(
        gold__signals=[
            signal(),
            signal(revision=2, is_retraction=True, reason="late_data"),
            signal(rule="macd", interval="4h", interval_start=at(4), interval_end=at(8)),
            signal(rule="of yesterday", interval_end=at(-1)),
            signal(rule="of tomorrow", interval_end=at(24)),
        ]
    ).signals
    assert isinstance(found, list)
    assert [(one.rule, one.is_retracted, one.why) for one in found] == [
        ("macd", False, "rsi_14 28.1235 → 31.4"),
        ("rsi_low", True, "late data overturned it"),
    ]


@pytest.mark.parametrize("text", ["no JSON", "[1]", '{"a": null}', '{"a": ["x"]}', None])
def test_values_that_cannot_be_read_are_shown_as_they_are(text: str | None) -> None:
    assert reading.caused(text) == ("" if text is None else text)


def anomaly(kind: str, score: float, **changes: Any) -> dict[str, Any]:
    values = {
        **MARKET, "interval": "1m", "interval_start": at(3), "kind": kind, "score": score, "threshold": 6.0,
        "explanation": f"{kind} at {score}", "is_retracted": False, "month": "2026-11",
    }  # fmt: skip
    return {**values, **changes}


def test_of_each_kind_of_anomaly_the_strongest_is_shown_and_how_many_there_were() -> None:
    found = report(
        gold__anomalies=[
            anomaly("volume", 7.0),
            anomaly("volume", 9.0, interval_start=at(5)),
            anomaly("return", -12.0),
            anomaly("isolation_forest", 0.9, threshold=0.6),
            anomaly("spread", 99.0, is_retracted=True),
            anomaly("spread", 99.0, interval_start=at(-1)),
        ]
    ).anomalies
    assert isinstance(found, list)
    assert [(one.kind, one.score, one.count) for one in found] == [
        ("return", -12.0, 1),
        ("isolation_forest", 0.9, 1),
        ("volume", 9.0, 2),
    ]


def test_a_forecast_stands_beside_its_baseline_with_what_the_scores_say() -> None:
    of = {**MARKET, "target": "volatility", "horizon": "1h", "month": "2026-11"}
    score = {**of, "model": "har", "loss": "qlike", "baseline": "last_hour"}
    hour = {"interval_start": at(24), "month": "2026-11"}
    found = report(
        gold__forecasts=[
            {**of, **hour, "model": "har", "is_baseline": False, "forecast": 0.004},
            {**of, **hour, "model": "last_hour", "is_baseline": True, "forecast": 0.005},
            {**of, "interval_start": at(20), "model": "har", "is_baseline": False, "forecast": 0.9},
            {**of, **hour, "symbol": "ETHUSDT", "model": "har", "is_baseline": False, "reason": "last_hour_unknown"},
        ],
        gold__forecast_scores=[
            {**score, "observations": 160, "verdict": "of 7 d"},
            {**score, "observations": 100, "verdict": "of 4 d"},
            {**score, "observations": 200, "verdict": "too few", "reason": "too_few_hours"},
            {**score, "observations": 700, "loss": "mse", "verdict": "not the one"},
        ],
    ).forecasts
    assert isinstance(found, list)
    assert [(one.symbol, one.value, one.baseline, one.verdict) for one in found] == [
        ("BTCUSDT", 0.004, 0.005, "of 7 d"),
        ("ETHUSDT", None, None, "last hour unknown"),
    ]


def test_of_a_tables_markets_counts_are_summed_and_the_worst_figure_stands() -> None:
    of = {"exchange": "binance", "day": at(), "month": "2026-11"}
    trades = {**of, "table_name": "bronze.trades", "rows": 100, "late": 1, "quarantined": 0, "duplicates": 0}
    books = {**of, "table_name": "silver.order_book_1m", "symbol": "BTCUSDT", "rows": 5}
    found = report(
        silver__completeness=[minute(0)],
        gold__data_quality=[
            {**trades, "symbol": "BTCUSDT", "completeness_percent": 100.0, "condition": "available",
             "latency_bronze_p95_ms": 300.0, "latency_silver_p95_ms": 9999.0},
            {**trades, "symbol": "ETHUSDT", "completeness_percent": 98.5, "condition": "degraded",
             "latency_bronze_p95_ms": 900.0},
            {**trades, "symbol": "OLDUSDT", "day": at(-24), "condition": "missing"},
            {**books, "latency_silver_p95_ms": 70.0},
        ],
    ).condition  # fmt: skip
    assert isinstance(found, DataCondition)
    assert found.tables == [
        TableHealth("bronze.trades", 200, 2, 0, 0, 900.0, 98.5, "degraded"),
        TableHealth("silver.order_book_1m", 5, None, None, None, 70.0, None, ""),
    ]


def test_only_the_columns_that_are_needed_are_read() -> None:
    class Watched(LakeInMemory):
        def __call__(self, table: Table, settings: object = None) -> Rows:
            rows = super().__call__(table)

            class Spy:
                def read(self, columns: Any = None, filters: Any = ()) -> pa.Table:
                    assert set(columns) < set(table.column_names), table.full_name
                    return rows.read(columns, filters)

                def partitions(self) -> list[dict[str, str]]:
                    return rows.partitions()

            return Spy()

    lake = Watched(silver__ohlcv=[day_candle()], silver__completeness=[minute(0)], bronze__gaps=[])
    found = reading.collected(Asked(lake), "main", DAY, "demo", NOW)
    assert not isinstance(found.condition, Absent)
    assert not isinstance(found.movers, Absent)
