"""What is new in the lake for a served table, as Arrow, in pieces that fit into any memory."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.lakehouse import BEGINNING, Changes, Commit, Lakehouse, hours_between, lies_by_time, of_hours
from crypto_pipeline.silver import completeness_daily, completeness_hourly
from crypto_pipeline.silver.rollup import counted
from serving.tables import Served
from shared.tables import Table

MANY = 250_000
"""Spark's driver keeps the rows of an answer until they are fetched: of more than these it is asked day by day."""
_SPANS = {module.VIEW.full_name: module.SPAN for module in (completeness_hourly, completeness_daily)}


@dataclass(frozen=True)
class ChangeFeed:
    """Rows for a served table, and how far its sources are followed once they are written."""

    pieces: Iterator[pa.Table]
    followed: Mapping[str, str]


class _Part(NamedTuple):
    """Rows from one source, by `commits` where these are known, with the column that places them in time."""

    rows: DataFrame
    commits: tuple[Commit, ...] | None
    time: str | None
    source: Table

    def are_few(self, lake: Lakehouse) -> bool:
        """Whether there are surely no more than `MANY`."""
        return self.commits is not None and lake.rows_written(self.source, self.commits) <= MANY


def follow(lake: Lakehouse, table: Served, since: Mapping[str, str]) -> ChangeFeed:
    """What the commits after the marks `since` bring to a table; of a source without a mark, all that it holds.

    Rows that are there already may come again, in the state of now. Nothing is read until the pieces are asked for.
    """
    changes = {s.full_name: lake.changes(s, since.get(s.full_name, BEGINNING)) for s in table.sources}
    followed = {name: change.until for name, change in changes.items()}
    pieces = (
        piece
        for source in table.sources
        if changes[source.full_name].commits != ()
        for piece in _in_pieces(lake, _part(lake, table, source, changes[source.full_name]))
    )
    return ChangeFeed(pieces, followed)


def _part(lake: Lakehouse, table: Served, source: Table, change: Changes) -> _Part:
    """What changed rows of a source mean for the table."""
    if table.shows in _SPANS:
        start, name = _SPANS[table.shows]
        days = change.rows.select(F.date_trunc("day", str(source.time)).alias("day")).distinct().collect()
        minutes = lake.read(source, [_utc(row.day) + timedelta(hours=hour) for row in days for hour in range(24)])
        return _Part(counted(minutes, start, name).select(table.column_names), change.commits, name, source)
    rows = change.rows if table.full_name == table.shows else change.rows.filter("is_closed")
    time = source.time if source.time in table.key else None
    return _Part(rows.select(table.column_names), change.commits, time, source)


def _in_pieces(lake: Lakehouse, part: _Part) -> Iterator[pa.Table]:
    if not part.time or part.are_few(lake):
        yield from lake.arrow(part.rows)
        return
    day = F.date_trunc("day", part.time).alias("day")
    counts = {_utc(row.day): row["count"] for row in part.rows.groupBy(day).count().collect()}
    for start, end in spans(counts, MANY):
        is_within = (F.col(part.time) >= F.lit(start)) & (F.col(part.time) < F.lit(end))
        if part.time == part.source.time and lies_by_time(part.source):  # spares the partitions of other times
            is_within = of_hours(part.source, hours_between(start, end - timedelta(hours=1)))
        yield from lake.arrow(part.rows.filter(is_within))


def spans(counts: Mapping[datetime, int], many: int) -> Sequence[tuple[datetime, datetime]]:
    """Days with their rows, joined to spans of at most so many rows; a day with more is a span of its own."""
    joined: list[tuple[datetime, datetime, int]] = []
    for day, count in sorted(counts.items()):
        end = day + timedelta(days=1)
        if joined and joined[-1][2] + count <= many:
            start, _, before = joined.pop()
            joined.append((start, end, before + count))
        else:
            joined.append((day, end, count))
    return [(start, end) for start, end, _ in joined]


def _utc(moment: datetime) -> datetime:
    """Spark Connect gives naive times in the session's zone, which is UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
