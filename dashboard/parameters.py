"""What a request may say, checked: each refusal is a sentence that names what is right."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import Query

from dashboard.bars import INTERVALS
from dashboard.context import Context
from dashboard.errors import RequestError, unknown
from dashboard.formats import Format
from dashboard.hub import Key

MAX_ROWS = 5000
"""Of one answer."""

Exchange = Annotated[str, Query(description="the market", examples=["binance"], max_length=40)]
Symbol = Annotated[str, Query(description="canonical: base and quote in upper case, joined", max_length=80)]
Interval = Annotated[str, Query(description=f"the timeframe: {', '.join(INTERVALS)}", max_length=20)]
Start = Annotated[datetime | None, Query(description="UTC, inclusive: 2026-11-21T10:00:00Z, or seconds since 1970")]
End = Annotated[datetime | None, Query(description="UTC, exclusive; without it, now")]
Limit = Annotated[int, Query(ge=1, le=MAX_ROWS, description="the newest so many rows of the range")]
Written = Annotated[Format, Query(alias="format", description="how the answer is written")]


async def known_symbol(here: Context, exchange: str, symbol: str) -> tuple[Key, dict[str, Any]]:
    """Key and instrument. Raises `RequestError` where there is none of the name."""
    symbols = await here.symbols()
    key = (exchange, symbol)
    if key in symbols:
        return key, symbols[key]
    exchanges = {name for name, _ in symbols}
    if exchange not in exchanges:
        raise unknown("exchange", exchange, exchanges)
    raise unknown("symbol", symbol, (name for market, name in symbols if market == exchange))


def known_interval(interval: str) -> str:
    """The timeframe. Raises `RequestError`."""
    if interval not in INTERVALS:
        raise unknown("timeframe", interval, INTERVALS)
    return interval


def span(start: datetime | None, end: datetime | None, seconds: float = 0) -> tuple[datetime, datetime]:
    """The range in UTC; open ends are the oldest and the newest there can be.

    With the `seconds` of a row, raises `RequestError` where both ends are given and hold more rows than one answer may.
    """
    begin = _utc(start) if start else datetime(2009, 1, 3, tzinfo=UTC)
    until = _utc(end) if end else datetime.now(UTC) + timedelta(days=1)
    if begin >= until:
        raise RequestError(
            400, f"The range is empty: start {begin:%Y-%m-%d %H:%M} must lie before end {until:%Y-%m-%d %H:%M}."
        )
    if start and seconds and (rows := (min(until, datetime.now(UTC)) - begin).total_seconds() / seconds) > MAX_ROWS:
        raise RequestError(
            400,
            f"The range holds up to {rows:.0f} rows, and {MAX_ROWS} is the most at once: shorten it, take a longer "
            "timeframe, or leave start out and page back by end and limit.",
        )
    return begin, until


def _utc(at: datetime) -> datetime:
    try:
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except OverflowError:
        raise RequestError(400, f"{at.isoformat()} lies, in UTC, outside the years 1 to 9999.") from None
