"""Candles as the page and the API know them, and how minutes become longer ones."""

from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

MINUTE = 60_000_000
"""Microseconds."""
INTERVALS = {"1m": 60, "5m": 300, "15m": 900, "1h": 3600, "4h": 14_400, "1d": 86_400}
"""Seconds of each timeframe."""


class Bar(NamedTuple):
    """A candle: `start` in microseconds since 1970, prices in the quote asset, volume in the base asset."""

    start: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    quote_volume: Decimal
    trade_count: int
    is_closed: bool


def length(interval: str) -> int:
    """Microseconds of a timeframe."""
    return INTERVALS[interval] * 1_000_000


def bucket(at: int, span: int) -> int:
    """The start of the interval of `span` microseconds in which `at` lies."""
    return at - at % span


def extended(first: Bar, then: Bar) -> Bar:
    """One bar of two that follow each other; it starts where the first does and is closed where the second is."""
    return Bar(
        first.start,
        first.open,
        max(first.high, then.high),
        min(first.low, then.low),
        then.close,
        first.volume + then.volume,
        first.quote_volume + then.quote_volume,
        first.trade_count + then.trade_count,
        then.is_closed,
    )


def rolled_up(bars: Iterable[Bar], interval: str, over_at: int) -> list[Bar]:
    """The bars of a timeframe from shorter ones in order; closed are those that are over at `over_at`."""
    span = length(interval)
    made: list[Bar] = []
    for bar in bars:
        start = bucket(bar.start, span)
        bar = bar._replace(start=start, is_closed=start + span <= over_at)
        if made and made[-1].start == start:
            made[-1] = extended(made[-1], bar)
        else:
            made.append(bar)
    return made
