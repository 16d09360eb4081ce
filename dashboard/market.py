"""What the database knows of markets: symbols, candles, the present day, sparklines."""

from bisect import bisect_left
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from dashboard.bars import MINUTE, Bar, length
from dashboard.database import Database, DatabaseAwayError
from dashboard.formats import exact_text
from dashboard.hub import Hub, Key, LakeDay
from shared.tables import DECIMAL, Column

CANDLE = (
    Column("interval_start", "timestamp", "UTC, inclusive; a candle is named by it"),
    *(Column(name, DECIMAL, "") for name in ("open", "high", "low", "close", "volume", "quote_volume")),
    Column("trade_count", "bigint", "number of trades"),
    Column("is_closed", "boolean", "the interval is over"),
    Column("status", "string", "as the lake says: complete, repaired, pending or partial; live: not in the lake yet"),
    Column("proof", "string", "what it rests on; null: live"),
    Column("revision", "int", "counts up when a closed candle's values change; null: live"),
)
"""The columns of a candle."""

_LATE_PASS = timedelta(hours=3)
"""How long after midnight the bars of the day before may still be missing in the lake."""

_CANDLES = """
SELECT interval_start, trim_scale(open)::text, trim_scale(high)::text, trim_scale(low)::text, trim_scale(close)::text,
       trim_scale(volume)::text, trim_scale(quote_volume)::text, trade_count, is_closed, status, proof, revision
FROM silver.fact_ohlcv
WHERE exchange = %(exchange)s AND symbol = %(symbol)s AND "interval" = %(interval)s
  AND interval_start >= %(start)s AND interval_start < %(end)s
ORDER BY interval_start DESC LIMIT %(limit)s
"""
_SYMBOLS = """
SELECT exchange, symbol, base_asset, quote_asset, status, trim_scale(tick_size)::text AS tick_size,
       trim_scale(step_size)::text AS step_size, listed_at
FROM silver.instruments AS i WHERE valid_to IS NULL
  AND EXISTS (SELECT FROM silver.fact_ohlcv AS f WHERE f.exchange = i.exchange AND f.symbol = i.symbol)
"""
_BARS = """
SELECT k.exchange, k.symbol, c.interval_start, c.open, c.high, c.low, c.close, c.volume, c.quote_volume, c.trade_count
FROM unnest(%(exchanges)s::text[], %(symbols)s::text[]) AS k(exchange, symbol)
CROSS JOIN LATERAL (
    SELECT * FROM silver.fact_ohlcv f
    WHERE f.exchange = k.exchange AND f.symbol = k.symbol AND f."interval" = %(interval)s AND f.is_closed
      AND f.interval_start >= %(start)s
) AS c
ORDER BY c.interval_start
"""
_SPARKLINES = """
SELECT k.exchange, k.symbol, c.closes
FROM unnest(%(exchanges)s::text[], %(symbols)s::text[]) AS k(exchange, symbol)
CROSS JOIN LATERAL (
    SELECT array_agg(f.close::float8 ORDER BY f.interval_start) AS closes FROM silver.fact_ohlcv f
    WHERE f.exchange = k.exchange AND f.symbol = k.symbol AND f."interval" = '15m' AND f.interval_start >= %(start)s
) AS c
"""


async def symbols(database: Database, hub: Hub) -> dict[Key, dict[str, Any]]:
    """Every symbol of which the lake has candles, or that streams now; without the database, those that stream.

    Raises `DatabaseAwayError` where neither knows any.
    """
    live = {
        key: {"exchange": key[0], "symbol": key[1], "base_asset": market.base_asset, "quote_asset": market.quote_asset}
        for key, market in hub.markets.items()
    }
    try:
        listed = await database.dicts(_SYMBOLS)
    except DatabaseAwayError:
        if not live:
            raise
        listed = []
    known = {(row["exchange"], row["symbol"]): row for row in listed}
    unlisted = {"status": None, "tick_size": None, "step_size": None, "listed_at": None}
    return {key: unlisted | (known.get(key) or live[key]) for key in sorted({*live, *known})}


async def candles(
    database: Database, hub: Hub, key: Key, interval: str, start: datetime, end: datetime, limit: int
) -> list[tuple[Any, ...]]:
    """The newest `limit` candles of the range in order, as `CANDLE`: the lake's, and what streams where it has none."""
    rows = await database.tuples(
        _CANDLES,
        {
            "exchange": key[0], "symbol": key[1], "interval": interval, "start": start, "end": end, "limit": limit,
        },
    )  # fmt: skip
    rows.reverse()
    return joined(rows, hub.bars(key, interval), start, end)[-limit:]


def joined(rows: list[tuple[Any, ...]], bars: Iterable[Bar], start: datetime, end: datetime) -> list[tuple[Any, ...]]:
    """The lake's candles and those that stream, each start once: the lake's row counts where it is closed."""
    first, last = _micros(start), _micros(end)
    if rows:  # of a range that the limit cuts, what is older than its oldest row is not asked for
        first = max(first, _micros(rows[0][0]))
    live = {bar.start: bar for bar in bars if first <= bar.start < last}
    if not live:
        return rows
    seam = bisect_left(rows, min(live), key=lambda row: _micros(row[0]))
    newer = {_micros(row[0]): row for row in rows[seam:]}
    for at, bar in live.items():
        if at not in newer or not newer[at][8]:
            newer[at] = _row(bar)
    return [*rows[:seam], *(newer[at] for at in sorted(newer))]


def live_bar(bar: Bar) -> dict[str, Any]:
    """A bar as the page gets it over the socket; `at` in seconds since 1970."""
    return {
        "at": bar.start // 1_000_000,
        "open": exact_text(bar.open),
        "high": exact_text(bar.high),
        "low": exact_text(bar.low),
        "close": exact_text(bar.close),
        "volume": exact_text(bar.volume),
        "trade_count": bar.trade_count,
        "is_closed": bar.is_closed,
    }


async def lake_days(database: Database, keys: list[Key], now: datetime) -> dict[Key, LakeDay]:
    """What the lake has of the present day, by symbol."""
    names = {"exchanges": [exchange for exchange, _ in keys], "symbols": [symbol for _, symbol in keys]}
    midnight = (now - _LATE_PASS).replace(hour=0, minute=0, second=0, microsecond=0)
    hours = await database.tuples(_BARS, {**names, "interval": "1h", "start": midnight})
    ends = _ends(hours, length("1h"))
    since = min((ends.get(exchange, _micros(midnight)) for exchange, _ in keys), default=_micros(midnight))
    minutes = await database.tuples(_BARS, {**names, "interval": "1m", "start": _moment(since)})
    until = _ends(minutes, MINUTE)
    by_hour, by_minute = _by_key(hours), _by_key(minutes)
    days = {}
    for key in keys:
        hours_until = ends.get(key[0], _micros(midnight))
        days[key] = LakeDay(
            tuple(by_hour.get(key, ())),
            tuple(bar for bar in by_minute.get(key, ()) if bar.start >= hours_until),
            hours_until,
            max(until.get(key[0], 0), ends.get(key[0], 0)),
        )
    return days


async def sparklines(database: Database, keys: list[Key], now: datetime) -> dict[Key, list[float]]:
    """The closes of the quarters of the last 24 hours."""
    rows = await database.tuples(
        _SPARKLINES,
        {
            "exchanges": [exchange for exchange, _ in keys],
            "symbols": [symbol for _, symbol in keys],
            "start": now - timedelta(hours=24),
        },
    )
    return {(exchange, symbol): closes or [] for exchange, symbol, closes in rows}


def _ends(rows: Iterable[tuple[Any, ...]], span: int) -> dict[str, int]:
    """By exchange, the end of its newest bar."""
    ends: dict[str, int] = {}
    for row in rows:
        ends[row[0]] = max(ends.get(row[0], 0), _micros(row[2]) + span)
    return ends


def _by_key(rows: Iterable[tuple[Any, ...]]) -> dict[Key, list[Bar]]:
    found: dict[Key, list[Bar]] = {}
    for row in rows:
        found.setdefault((row[0], row[1]), []).append(_bar(row))
    return found


def _bar(row: tuple[Any, ...]) -> Bar:
    opened, high, low, close, volume, quote_volume, count = row[3:]
    return Bar(_micros(row[2]), opened, high, low, close, volume, quote_volume, count, True)


def _row(bar: Bar) -> tuple[Any, ...]:
    prices = (exact_text(value) for value in bar[1:7])
    return (_moment(bar.start), *prices, bar.trade_count, bar.is_closed, "live", None, None)


def _micros(at: datetime) -> int:
    return int(at.timestamp() * 1000) * 1000


def _moment(micros: int) -> datetime:
    return datetime.fromtimestamp(micros / 1_000_000, UTC)
