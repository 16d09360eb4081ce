"""What a report says, in plain values: numbers are fractions and amounts, times are in UTC.

A part that cannot be shown is `Absent`, with the reason. A number that is not known is None.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

READS = (
    "gold.portfolio_performance",
    "gold.risk_metrics",
    "gold.correlations",
    "silver.ohlcv",
    "gold.signals",
    "gold.anomalies",
    "gold.forecasts",
    "gold.forecast_scores",
    "silver.completeness_daily",
    "gold.data_quality",
    "bronze.gaps",
)
"""The tables and views that a report is made of; one that is not there is a part without data."""


@dataclass(frozen=True)
class Absent:
    """A part that has no data."""

    why: str
    """A sentence: why it has none, and when it will."""


@dataclass(frozen=True)
class CurvePoint:
    """A portfolio at the end of a UTC day."""

    day: date
    value: float | None
    """In the portfolio's currency."""
    total_return: float | None
    """Time-weighted, since its start."""
    benchmark_return: float | None
    """Of the benchmark, over the same time."""
    drawdown: float | None
    """Below its highest point so far: 0, or negative."""


@dataclass(frozen=True)
class Position:
    """What a portfolio holds of an asset, and what that brought on the day."""

    asset: str
    quantity: float | None
    value: float | None
    weight: float | None
    profit: float | None
    """Of the day, in the portfolio's currency."""
    contribution: float | None
    """To the portfolio's return of the day."""
    note: str = ""


@dataclass(frozen=True)
class Span:
    """What a span of time brought, up to the end of the day."""

    name: str
    portfolio: float | None
    benchmark: float | None
    reason: str = ""
    """Why the portfolio's is not known."""


@dataclass(frozen=True)
class Performance:
    """How a portfolio did."""

    currency: str
    benchmark: str
    value: float | None
    profit: float | None
    """Of the day."""
    spans: Sequence[Span]
    """Day, week, month, since its start."""
    curve: Sequence[CurvePoint]
    """A point a day, in their order."""
    positions: Sequence[Position] = ()
    notes: Sequence[str] = ()
    """What a reader must know of these figures, a sentence each: such as which valuations are stale."""


@dataclass(frozen=True)
class Figure:
    """A number of a table, or why it is not known."""

    value: float | None
    kind: Literal["percent", "ratio", "count", "scientific"] = "ratio"
    reason: str = ""


@dataclass(frozen=True)
class Measure:
    """A measure of risk, for each column of the table."""

    name: str
    figures: Sequence[Figure]
    explained: str = ""


@dataclass(frozen=True)
class Risk:
    """Measures of the portfolio and of the markets, beside each other."""

    subjects: Sequence[str]
    measures: Sequence[Measure]


@dataclass(frozen=True)
class Correlations:
    """Pairwise correlations over one window."""

    window: str
    symbols: Sequence[str]
    matrix: Sequence[Sequence[float | None]]
    observations: tuple[int, int]
    """The fewest and the most of a pair."""
    notes: Sequence[str] = ()
    """Sentences: of pairs in which one leads the other, and of what is not shown."""


@dataclass(frozen=True)
class Mover:
    """What a market did on the day."""

    exchange: str
    symbol: str
    close: float
    change: float
    high: float
    low: float
    quote_volume: float
    quote_asset: str
    trades: int
    is_whole: bool
    """Its candle of the day is closed and complete."""


@dataclass(frozen=True)
class Signal:
    """A rule that fired."""

    at: datetime
    symbol: str
    interval: str
    rule: str
    side: str
    strength: float | None
    why: str
    is_retracted: bool = False


@dataclass(frozen=True)
class Anomaly:
    """Something unusual."""

    at: datetime
    symbol: str
    kind: str
    score: float | None
    why: str
    count: int = 1
    """How many of this kind the day had of this symbol; this one is the strongest."""


@dataclass(frozen=True)
class Forecast:
    """What a model says of the next hour."""

    symbol: str
    target: str
    model: str
    at: datetime
    value: float | None
    baseline: float | None
    verdict: str = ""
    """Whether the model has beaten the baseline so far."""


@dataclass(frozen=True)
class Condition:
    """How complete a market's data of the day is."""

    exchange: str
    symbol: str
    condition: str
    expected: int
    proven: int
    pending: int
    partial: int
    missing: int
    quiet: int
    repaired: int
    percent_received: float | None
    """Of the expected trades, from 0 to 100."""


@dataclass(frozen=True)
class TableHealth:
    """What a table's rows of the day are like."""

    table: str
    rows: int | None
    late: int | None
    quarantined: int | None
    duplicates: int | None
    latency_ms: float | None
    """From the exchange into the table, the 95th percentile, of the slowest market."""
    percent: float | None = None
    """Of what should be there, from 0 to 100, of the market with the least."""
    condition: str = ""


@dataclass(frozen=True)
class DataCondition:
    """How much the other parts may be relied on."""

    markets: Sequence[Condition]
    tables: Sequence[TableHealth] | Absent
    open_gaps: int | None


@dataclass(frozen=True)
class Report:
    """All of it."""

    portfolio: str
    day: date
    mode: str
    made_at: datetime
    performance: Performance | Absent
    risk: Risk | Absent
    correlations: Sequence[Correlations] | Absent
    movers: Sequence[Mover] | Absent
    signals: Sequence[Signal] | Absent
    anomalies: Sequence[Anomaly] | Absent
    forecasts: Sequence[Forecast] | Absent
    condition: DataCondition | Absent
