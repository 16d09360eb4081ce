"""The daily digest: what fired, how complete yesterday's data is, and which gaps are open."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from alerts.kinds._kind import DAY, Sources, plain

MOST_LINES = 20
"""Of each part; what is more is counted."""
_FIRED = """
    select severity, rule, subject, text, resolved_at is null as is_active, count(*) over () as n
    from alerts.alerts where fired_at > to_timestamp(%(since)s) order by id desc limit %(most)s
"""
_COMPLETENESS = """
    select exchange, symbol, sum(minutes_expected) as expected, sum(minutes_complete + minutes_repaired) as proven
    from silver.completeness_hourly
    where hour_start >= to_timestamp(%(begin)s) and hour_start < to_timestamp(%(end)s)
    group by exchange, symbol having sum(minutes_expected) > 0 order by exchange, symbol
"""
_GAPS = """
    select exchange, symbol, gap_stream, detail, to_char(event_time at time zone 'UTC', 'YYYY-MM-DD HH24:MI') as begins,
           count(*) over () as n
    from bronze.gaps where status = 'open' order by event_time limit %(most)s
"""

Rows = Sequence[Mapping[str, Any]]


class Facts(NamedTuple):
    """What a digest tells."""

    yesterday: str
    fired: Rows
    completeness: Rows
    gaps: Rows


def due(now: int, hour: int) -> str:
    """The UTC day whose digest is due by `now`, as `2026-11-26`."""
    return f"{datetime.fromtimestamp(now / 1_000_000, UTC) - timedelta(hours=hour):%Y-%m-%d}"


def read(sources: Sources, now: int) -> Facts:
    """What to tell. Raises `SourceError`."""
    today = now // DAY * DAY
    return Facts(
        f"{datetime.fromtimestamp((today - DAY) / 1_000_000, UTC):%Y-%m-%d}",
        sources.rows(_FIRED, since=(now - DAY) / 1_000_000, most=MOST_LINES),
        sources.rows(_COMPLETENESS, begin=(today - DAY) // 1_000_000, end=today // 1_000_000),
        sources.rows(_GAPS, most=MOST_LINES),
    )


def text(facts: Facts) -> str:
    """The digest in plain text."""
    fired = [
        f"{row['severity']} {row['rule']}, {row['subject']}{' (active)' * row['is_active']}: {row['text']}"
        for row in facts.fired
    ]
    complete = [
        f"{row['exchange']} {row['symbol']}: {plain(100 * int(row['proven']) / int(row['expected']))} % "
        f"({row['proven']} of {row['expected']} minutes)"
        for row in facts.completeness
    ]
    gaps = [
        f"{row['exchange']} {row['symbol']} {row['gap_stream']} since {row['begins']}: {row['detail']}"
        for row in facts.gaps
    ]
    parts = (
        ("Alerts in the last 24 hours", fired, _count(facts.fired)),
        (f"Markets and their minutes proven complete on {facts.yesterday}", complete, len(complete)),
        ("Open gaps", gaps, _count(facts.gaps)),
    )
    return "\n\n".join(_part(*part) for part in parts)


def _count(rows: Rows) -> int:
    return int(rows[0]["n"]) if rows else 0


def _part(title: str, lines: Sequence[str], count: int) -> str:
    more = [f"… and {count - len(lines)} more"] if count > len(lines) else []
    return "\n".join([f"{title}: {count or 'none'}", *(f"- {line}" for line in lines), *more])
