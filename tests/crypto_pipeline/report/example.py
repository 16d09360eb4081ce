"""A report in which every part has something to show; a test changes what it is about."""

import math
from datetime import UTC, date, datetime, timedelta

from crypto_pipeline.report import content

DAY = date(2026, 11, 25)
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "BNBUSDT", "XRPUSDT")


def at(hour: int, minute: int = 0) -> datetime:
    return datetime(DAY.year, DAY.month, DAY.day, hour, minute, tzinfo=UTC)


def curve(days: int = 30) -> list[content.CurvePoint]:
    """A portfolio that swings upwards."""
    points, peak = [], 1.0
    for place in range(days):
        total = 0.002 * place + 0.025 * math.sin(place / 3)
        peak = max(peak, 1 + total)
        points.append(
            content.CurvePoint(
                DAY - timedelta(days=days - 1 - place),
                100_000 * (1 + total),
                total,
                0.0015 * place + 0.03 * math.sin(place / 4),
                (1 + total) / peak - 1,
            )
        )
    return points


def performance(
    *,
    days: int = 30,
    day: float | None = 0.0124,
    benchmark_day: float | None = 0.0093,
    reason: str = "",
    benchmark: str = "BTC",
    asset: str = "BTC",
    note: str = "The price of XRP is of 21:14: nothing has been traded since.",
) -> content.Performance:
    return content.Performance(
        currency="USDT",
        benchmark=benchmark,
        value=104231.204,
        profit=1276.5,
        spans=(
            content.Span("Day", day, benchmark_day, reason),
            content.Span("Since Monday", -0.0031, -0.0102),
            content.Span("Since 1 November", None, None, "no price is known yet"),
            content.Span("Since 2026-10-27", 0.0423, 0.0301),
        ),
        curve=curve(days),
        positions=(
            content.Position(asset, 0.5, 47_123.45, 0.452, 612.3, 0.0059),
            content.Position("SOL", 120.25, 24_000.1, 0.23, 644.2, 0.0062),
            content.Position("XRP", 1500, 4_195.5, 0.04, -11.4, -0.00011, "stale price"),
            content.Position("USDT", 28_912.15, 28_912.15, 0.278, 0.0, 0.0),
        ),
        notes=(note,),
    )


def risk() -> content.Risk:
    ratio, lacks = (
        content.Figure(1.234),
        content.Figure(None, reason="too little history: fills on 2026-12-26"),
    )
    return content.Risk(
        ("main", "BTCUSDT", "ETHUSDT"),
        (
            content.Measure("Volatility, 30 d", tuple(content.Figure(v, "percent") for v in (0.412, 0.38, 0.5))),
            content.Measure("VaR 95 %, 1 hour", tuple(content.Figure(v, "percent") for v in (0.0081, 0.0075, 0.0102))),
            content.Measure("Sharpe, 90 d", (lacks, lacks, lacks)),
            content.Measure("Beta to BTC", (ratio, content.Figure(1.0), ratio)),
            content.Measure("Amihud", (content.Figure(1.2e-9, "scientific"),) * 3),
        ),
    )


def correlations() -> content.Correlations:
    matrix = [
        [None if row == column else round(0.9 - 0.3 * abs(row - column), 2) for column in range(len(SYMBOLS))]
        for row in range(len(SYMBOLS))
    ]
    return content.Correlations("1h returns over 30 days", SYMBOLS, matrix, (712, 719))


def mover(symbol: str, change: float, close: float, *, is_whole: bool = True) -> content.Mover:
    turnover, trades = 1.234e8, 81_234
    return content.Mover(
        "binance", symbol, close, change, close * 1.02, close * 0.97, turnover, "USDT", trades, is_whole
    )


def condition(symbol: str, name: str = "available", **minutes: int) -> content.Condition:
    counts = {"expected": 1440, "proven": 1440, "pending": 0, "partial": 0, "missing": 0, "quiet": 12, "repaired": 3}
    return content.Condition("binance", symbol, name, percent_received=100.0, **{**counts, **minutes})


def report(**changes: object) -> content.Report:
    values: dict[str, object] = {
        "portfolio": "main",
        "day": DAY,
        "mode": "demo",
        "made_at": datetime(2026, 11, 26, 0, 12, tzinfo=UTC),
        "performance": performance(),
        "risk": risk(),
        "correlations": (correlations(),),
        "movers": (
            mover("BTCUSDT", 0.0093, 100_460.38),
            mover("ETHUSDT", -0.0241, 3_412.07),
            mover("SOLUSDT", 0.0271, 203.97),
            mover("BNBUSDT", 0.0, 612.4),
            mover("XRPUSDT", -0.0035, 2.797),
        ),
        "signals": (
            content.Signal(at(4, 15), "BTCUSDT", "15m", "golden_cross", "buy", 0.42, "sma_20 61.2 > sma_50 61.1"),
            content.Signal(at(9), "ETHUSDT", "1h", "rsi_high", "sell", None, "rsi_14 was 71.4", is_retracted=True),
        ),
        "anomalies": (
            content.Anomaly(at(13, 7), "SOLUSDT", "volume", 9.41, "Volume 14 times its median for Wednesday 13 h", 3),
        ),
        "forecasts": (
            content.Forecast("BTCUSDT", "volatility, 1 h", "har", at(23), 0.0041, 0.0044, "beats the baseline"),
        ),
        "condition": content.DataCondition(
            (
                condition("BTCUSDT"),
                condition("ETHUSDT", "degraded", proven=1400, partial=25, missing=15),
                condition("SOLUSDT", "pending", proven=1380, pending=60),
            ),
            (content.TableHealth("bronze.trades", 512_345, 12, 0, 0, 412.0, 99.98, "available"),),
            1,
        ),
    }
    return content.Report(**{**values, **changes})  # type: ignore[arg-type]
