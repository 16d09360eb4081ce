"""The calm before what is judged, and the one after it."""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from crypto_pipeline.catalog import tables
from crypto_pipeline.lake_sql import Lake
from crypto_pipeline.reader import LakeError, open_table
from tests.chaos.facts import MINUTE, clock
from tests.system import SYMBOLS, System

TICK = 0.1
STARTED_WITHIN = 240.0
"""Seconds that are granted at most."""
SETTLED = """
    with candles as (
        select symbol, max(interval_start) filter (where is_closed) as newest,
               count(*) filter (where status in ('pending', 'partial') and interval_start < {until}) as unproven
        from silver.ohlcv_1m group by symbol
    ), holes as (
        -- Where merged fills stand in, the archive of the next day closes it. That no kline comes of a minute in which
        -- trading was halted is believed only minutes later.
        select count(*) as n from bronze.gaps
        where status = 'open' and gap_stream in ('trade', 'kline_1m') and event_time < {until}
        and repaired_from <> 'agg_trades' and not (gap_stream = 'kline_1m' and first_missing in ({halted}))
    )
    select (select count(*) from candles where newest >= {until}) as symbols,
           (select sum(unproven) from candles) as unproven, (select n from holes) as open_gaps
"""


def now() -> int:
    """Microseconds since 1970."""
    return time.time_ns() // 1000


def wait_for_a_clean_minute(system: System, say: Callable[[str], None]) -> None:
    """A whole minute of every symbol, so that there is one in which nothing went wrong."""
    deadline = time.monotonic() + STARTED_WITHIN
    while not all(sent := [_first_sent(system, symbol) for symbol in SYMBOLS]):
        assert time.monotonic() < deadline, "the streaming service did not subscribe to every symbol"
        time.sleep(TICK)
    whole = (max(sent) // MINUTE + 2) * MINUTE
    say(f"all symbols are streamed; a whole minute ends at {clock(whole)}")
    while now() < whole:
        time.sleep(TICK)


def unsettled_after(system: System, until: int, granted: float, say: Callable[[str], None], halted: str = "") -> str:
    """What of all until a minute is not settled after so many seconds; empty as soon as all is.

    `halted` are the minutes, with commas, in which a symbol was.
    """
    say(f"calm; all until {clock(until)} is to settle")
    began = time.monotonic()
    said = ""
    while (found := _unsettled(system, until, halted)) and time.monotonic() - began < granted:
        if found != said:
            say(f"not settled: {found}")
            said = found
        time.sleep(5)
    say(f"after {time.monotonic() - began:.0f} s: {found or 'settled'}")
    return found


def _first_sent(system: System, symbol: str) -> int:
    """When the first trade that was sent happened; 0 where none was sent yet."""
    ranges = system.simulator(f"/truth/sent?symbol={symbol}")["trade"]
    if not ranges:
        return 0
    [trade] = system.truth(f"trades?symbol={symbol}&fromId={ranges[0][0]}&limit=1")
    return int(trade["time"])


def _unsettled(system: System, until: int, halted: str) -> str:
    moment = f"timestamptz '{datetime.fromtimestamp(until / 1e6, UTC)}'"
    try:
        [found] = _ask_lake(system, SETTLED.format(until=moment, halted=halted or "null"))
    except LakeError as error:
        return str(error)
    if found["symbols"] < len(SYMBOLS):
        return f"{found['symbols']} of {len(SYMBOLS)} symbols have a closed candle after it"
    if found["unproven"] or found["open_gaps"]:
        return f"{found['unproven']} minutes pending, {found['open_gaps']} gaps open"
    return ""


def _ask_lake(system: System, sql: str) -> list[Mapping[str, Any]]:
    settings = system.settings()
    wanted = {name: tables()[name] for name in ("silver.ohlcv_1m", "bronze.gaps")}
    with Lake(wanted, {}, lambda table: open_table(table, settings)) as lake:
        rows: list[Mapping[str, Any]] = lake.query(sql).to_pylist()
        return rows
