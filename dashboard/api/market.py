"""Symbols, candles, indicators, and what is marked on a chart."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Depends, Query, Response
from psycopg.sql import SQL, Identifier

from crypto_pipeline.catalog import tables
from dashboard import market
from dashboard.bars import INTERVALS
from dashboard.context import Here
from dashboard.errors import unknown
from dashboard.formats import Format, exact_text, json_response, rows_response
from dashboard.parameters import (
    End,
    Exchange,
    Interval,
    Limit,
    Start,
    Symbol,
    Written,
    known_interval,
    known_symbol,
    span,
)  # fmt: skip

router = APIRouter(tags=["market"])

INDICATORS = tables("silver")["silver.indicators"]
PLAIN = (
    "exchange",
    "symbol",
    "interval",
    "interval_start",
    "close",
    "is_closed",
    "bridged",
    "rests_from",
    "ingestion_ts",
    "month",
)
"""Columns of `silver.indicators` that are none."""
NAMES = [name for name in INDICATORS.column_names if name not in PLAIN]

_SIGNALS = """
SELECT * FROM (
    SELECT DISTINCT ON (interval_start, rule) interval_start, rule AS name, side, strength, is_retraction, bridged
    FROM gold.signals
    WHERE exchange = %(exchange)s AND symbol = %(symbol)s AND "interval" = %(interval)s
      AND interval_start >= %(start)s AND interval_start < %(end)s
    ORDER BY interval_start DESC, rule, revision DESC
) AS newest WHERE NOT is_retraction ORDER BY interval_start DESC LIMIT 500
"""
_ANOMALIES = """
SELECT interval_start, kind AS name, score, explanation FROM gold.anomalies
WHERE exchange = %(exchange)s AND symbol = %(symbol)s AND NOT is_retracted
  AND interval_start >= %(start)s AND interval_start < %(end)s
ORDER BY interval_start DESC LIMIT 500
"""


class Series(NamedTuple):
    """Of which market, in which timeframe, from when to when."""

    exchange: str
    symbol: str
    interval: str
    start: datetime
    end: datetime

    @property
    def about(self) -> dict[str, str]:
        """What an answer says of itself."""
        return {"exchange": self.exchange, "symbol": self.symbol, "interval": self.interval}


def _series(*, is_limited: bool) -> Callable[..., Awaitable[Series]]:
    """What reads it from a request; with `is_limited`, no more rows may lie in it than one answer gives."""

    async def series(
        here: Here,
        symbol: Symbol,
        interval: Interval = "1m",
        exchange: Exchange = "binance",
        start: Start = None,
        end: End = None,
    ) -> Series:
        await known_symbol(here, exchange, symbol)
        seconds = INTERVALS[known_interval(interval)]
        return Series(exchange, symbol, interval, *span(start, end, seconds if is_limited else 0))

    return series


Rows = Annotated[Series, Depends(_series(is_limited=True))]
Span = Annotated[Series, Depends(_series(is_limited=False))]


@router.get("/symbols")
async def symbols(here: Here) -> Response:
    """Every symbol with its tick and step size (strings, exact), and its price now where it streams."""
    rows = []
    for key, known in (await here.symbols()).items():
        live = here.hub.markets.get(key)
        price = live.price if live else None
        rows.append(known | {"price": exact_text(price) if price is not None else None})
    return json_response({"symbols": rows})


@router.get("/candles")
async def candles(here: Here, series: Rows, limit: Limit = 500, written: Written = Format.JSON) -> Response:
    """The newest candles of the range, in order. Prices are strings in JSON, exact, in the quote asset.

    What the lake does not have yet comes from the stream, with the status `live`: the closed candle is there within
    two seconds of the exchange's close, and the lake's row replaces it when it comes.
    """
    key = (series.exchange, series.symbol)
    rows = await market.candles(here.database, here.hub, key, series.interval, series.start, series.end, limit)
    return rows_response(market.CANDLE, rows, written, series.about)


@router.get("/indicators")
async def indicators(
    here: Here,
    series: Rows,
    columns: Annotated[str, Query(description="which, comma-separated; without it, all", max_length=1000)] = "",
    limit: Limit = 500,
    written: Written = Format.JSON,
) -> Response:
    """Indicators by candle, in order, as the lake has them. What each is and how long it warms up: docs/tables.md."""
    wanted = [name.strip() for name in columns.split(",") if name.strip()] or NAMES
    for name in wanted:
        if name not in NAMES:
            raise unknown("indicator", name, NAMES)
    shown = ["interval_start", "is_closed", "bridged", *wanted]
    query = SQL(
        "SELECT {columns} FROM silver.indicators WHERE exchange = %(exchange)s AND symbol = %(symbol)s "
        'AND "interval" = %(interval)s AND interval_start >= %(start)s AND interval_start < %(end)s '
        "ORDER BY interval_start DESC LIMIT %(limit)s"
    ).format(columns=SQL(", ").join(map(Identifier, shown)))
    rows = await here.database.tuples(query, series._asdict() | {"limit": limit})
    kept = {column.name: column for column in INDICATORS.columns}
    return rows_response([kept[name] for name in shown], rows[::-1], written, series.about)


@router.get("/marks")
async def marks(here: Here, series: Span) -> Response:
    """The signals that stand on candles of the timeframe, and the anomalies of the symbol; the newest 500 of each."""
    values = series._asdict()
    return json_response(
        {
            "signals": await here.database.dicts(_SIGNALS, values),
            "anomalies": await here.database.dicts(_ANOMALIES, values),
        }
    )


@router.get("/watch")
async def watch(here: Here) -> Response:
    """For a watch list: each symbol's price, change in 24 hours in percent, and the closes of its last 96 quarters."""
    closes: dict[tuple[str, str], list[float]] = await here.kept["sparklines"]()
    rows: list[dict[str, Any]] = []
    for key, known in (await here.symbols()).items():
        live = here.hub.markets.get(key)
        ticker = live.ticker if live else None
        rows.append(
            {
                "exchange": key[0],
                "symbol": key[1],
                "base_asset": known["base_asset"],
                "quote_asset": known["quote_asset"],
                "tick_size": known["tick_size"],
                "price": exact_text(live.price) if live and live.price is not None else None,
                "change_24h_percent": float(ticker.price_change_percent) if ticker else None,
                "closes": closes.get(key, []),
            }
        )
    return json_response({"markets": rows, "at": datetime.now(UTC)})
