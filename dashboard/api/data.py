"""Is the data whole: completeness, gaps and their repair, and what changed."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response

from crypto_pipeline.catalog import tables
from dashboard.context import Here
from dashboard.errors import RequestError
from dashboard.formats import Format, json_response, rows_response
from dashboard.parameters import End, Limit, Start, Written, known_symbol, span
from shared.tables import Column

router = APIRouter(tags=["data"])

COUNTS = (
    "minutes", "minutes_expected", "minutes_complete", "minutes_repaired", "minutes_pending", "minutes_partial",
    "minutes_missing", "minutes_no_trades", "minutes_halt", "minutes_not_listed", "minutes_our_outage",
    "minutes_expired", "minutes_venue_gap", "minutes_not_collected", "trades_expected", "trades_received",
    "trades_missing", "trades_rest", "trades_archive", "trades_merged",
)  # fmt: skip
GAPS = tables("bronze")["bronze.gaps"]
_SHOWN_GAPS = (
    "exchange", "symbol", "gap_stream", "event_time", "first_missing", "last_missing", "missing", "cause", "status",
    "repaired_from", "detail", "updated_at",
)  # fmt: skip

_SPAN_COLUMNS = (
    Column("exchange", "string", ""),
    Column("symbol", "string", ""),
    *(Column(name, "bigint", "") for name in COUNTS),
    Column("percent_proven", "double", ""),
    Column("condition", "string", ""),
)
_COMPLETENESS = f"""
SELECT {{time}}, exchange, symbol, {", ".join(COUNTS)}, percent_proven, condition
FROM silver.{{table}}
WHERE {{time}} >= %(start)s AND {{time}} < %(end)s
  AND (%(exchange)s::text IS NULL OR exchange = %(exchange)s) AND (%(symbol)s::text IS NULL OR symbol = %(symbol)s)
ORDER BY {{time}} DESC, exchange, symbol LIMIT %(limit)s
"""  # noqa: S608 (our own names)
_HOURLY = _COMPLETENESS.format(time="hour_start", table="completeness_hourly")
_DAILY = _COMPLETENESS.format(time="day", table="completeness_daily")
_GAPS = f"""
SELECT {", ".join(_SHOWN_GAPS)} FROM bronze.gaps
WHERE (%(status)s::text IS NULL OR status = %(status)s) AND (%(symbol)s::text IS NULL OR symbol = %(symbol)s)
  AND (%(exchange)s::text IS NULL OR exchange = %(exchange)s)
  AND updated_at >= %(start)s AND updated_at < %(end)s
ORDER BY updated_at DESC LIMIT %(limit)s
"""  # noqa: S608
_REVISED = """
SELECT exchange, symbol, "interval", interval_start, revision, trim_scale(close)::text AS close, status, known_at
FROM silver.fact_ohlcv
WHERE revision > 1 AND known_at >= %(since)s AND interval_start >= %(since)s - interval '7 days' AND "interval" = '1m'
ORDER BY known_at DESC LIMIT %(limit)s
"""
_LISTED = """
SELECT exchange, symbol, status, valid_from, listed_at, delisted_at FROM silver.instruments
WHERE valid_from >= %(since)s ORDER BY valid_from DESC LIMIT %(limit)s
"""
CHANGES_SHOWN = 200
LONGEST_SINCE = timedelta(days=7)


@router.get("/completeness")
async def completeness(
    here: Here,
    by: Annotated[Literal["minute", "hour", "day"], Query(description="a row for each")] = "hour",
    symbol: Annotated[str | None, Query(max_length=80, description="of `minute` it must be given")] = None,
    exchange: Annotated[str | None, Query(max_length=40)] = None,
    start: Start = None,
    end: End = None,
    limit: Limit = 5000,
    written: Written = Format.JSON,
) -> Response:
    """How complete each minute, hour or day is, the newest first, and why not.

    Minutes are read from the lake itself, an hour at most: what was expected, what came, the hole on record and how it
    was repaired.
    """
    if symbol is not None:
        await known_symbol(here, exchange or "binance", symbol)
    begin, until = span(start, end)
    if by == "minute":
        if symbol is None or start is None or end is None or until - begin > timedelta(hours=1):
            raise RequestError(400, "Minutes are given for one symbol and an hour at most: name symbol, start and end.")
        columns, found = await asyncio.to_thread(
            here.hour_of, here.settings, exchange or "binance", symbol, begin, until
        )
        return rows_response(columns, found, written, {"by": by})
    query, time = (
        (_HOURLY, Column("hour_start", "timestamp", "")) if by == "hour" else (_DAILY, Column("day", "date", ""))
    )
    values = {"start": begin, "end": until, "exchange": exchange, "symbol": symbol, "limit": limit}
    return rows_response((time, *_SPAN_COLUMNS), await here.database.tuples(query, values), written, {"by": by})


@router.get("/gaps")
async def gaps(
    here: Here,
    status: Annotated[Literal["open", "repaired", "lost", "venue_gap"] | None, Query()] = None,
    symbol: Annotated[str | None, Query(max_length=80)] = None,
    exchange: Annotated[str | None, Query(max_length=40)] = None,
    start: Start = None,
    end: End = None,
    limit: Limit = 200,
    written: Written = Format.JSON,
) -> Response:
    """Holes in the streams, the last looked at first: cause, what is missing, and how it was repaired or why not.

    `start` and `end` are of `updated_at`.
    """
    if symbol is not None:
        await known_symbol(here, exchange or "binance", symbol)
    begin, until = span(start, end)
    values = {"status": status, "symbol": symbol, "exchange": exchange, "start": begin, "end": until, "limit": limit}
    columns = {column.name: column for column in GAPS.columns}
    rows = await here.database.tuples(_GAPS, values)
    return rows_response([columns[name] for name in _SHOWN_GAPS], rows, written, {})


@router.get("/changes")
async def changes(
    here: Here, since: Annotated[datetime, Query(description="UTC; seven days ago at most counts")]
) -> Response:
    """What is otherwise than at `since`: minutes revised, gaps repaired or lost, pairs listed, halted or delisted."""
    begin, _ = span(max(since if since.tzinfo else since.replace(tzinfo=UTC), datetime.now(UTC) - LONGEST_SINCE), None)
    values: dict[str, Any] = {"since": begin, "limit": CHANGES_SHOWN}
    ended = {
        "status": None,
        "symbol": None,
        "exchange": None,
        "start": begin,
        "end": datetime.now(UTC),
        "limit": CHANGES_SHOWN,
    }
    holes = [dict(zip(_SHOWN_GAPS, row, strict=True)) for row in await here.database.tuples(_GAPS, ended)]
    return json_response(
        {
            "since": begin,
            "revisions": await here.database.dicts(_REVISED, values),
            "repairs": [hole for hole in holes if hole["status"] != "open"],
            "listings": await here.database.dicts(_LISTED, values),
        }
    )
