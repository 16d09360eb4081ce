"""Silver and gold: bring a table up to date with its sources, at the cost of what is new in them."""

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial, reduce
from types import ModuleType
from typing import Any

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.lakehouse import BEGINNING, Lakehouse, hours_between, marks, of_hours
from shared.tables import Table

_FEW = 10_000
"""So many touched rows at most go by way of this process: some hundred kilobytes."""
MARKS = "marks"
"""The note that keeps, in each commit, how far each source was followed."""


@dataclass
class Refreshed:
    """What one run did to one table."""

    rows: int = 0
    broken: dict[str, int] = field(default_factory=dict)
    """Rows that break a rule of the table, by rule. Where there is one, nothing was written."""
    repeated: int = 0
    """Rows whose key stands twice. Where there is one, nothing was written."""
    followed: str = ""
    seconds: float = 0.0

    @property
    def is_sound(self) -> bool:
        return not self.repeated and not any(self.broken.values())


def refresh(lake: Lakehouse, module: ModuleType, now: datetime, *, from_scratch: bool = False) -> Refreshed:
    """Build again what new rows of the sources touch, and write what differs.

    A module says what is touched (`touched`), which spans of its sources that needs (`needs`), and how rows are made of
    them (`build`). That is given the table's own rows of all these spans, or of those that name the table itself, where
    there are such. One whose need depends on what is there looks at that first (`reached`). The marks up to which the
    sources were followed go into the same commit, so that a run that dies is repeated, and one that is repeated changes
    nothing. `from_scratch` follows the sources from their beginning.
    """
    began = time.monotonic()
    table: Table = module.TABLE
    sources: tuple[Table, ...] = module.SOURCES
    note = None if from_scratch else lake.note(table, MARKS)
    since: Mapping[str, str] = json.loads(note) if note else {}
    changes = {s.full_name: lake.changes(s, since.get(s.full_name, BEGINNING)) for s in sources}
    followed = marks(changes)
    recent = _recent(since.values(), now)
    # What is read is pinned: each use of rows that are not has Hudi open some dozen log files for each file again.
    with lake.pinned(_of(lake, table, recent)) as current:
        touched = module.touched({name: change.rows for name, change in changes.items()}, current, now)
        with _keys(lake, touched) as keys:
            if keys is not None and hasattr(module, "reached"):
                # Not the pinned rows: of its own it reads a few columns, once.
                keys = module.reached(keys, _of(lake, table, recent), partial(_windows, lake, sources), now)
            spans = module.needs(keys, now).collect() if keys is not None else []
            if keys is None or not spans:
                if followed != note:
                    lake.write(table, lake.no_rows(table), {MARKS: followed})
                return Refreshed(followed=followed, seconds=time.monotonic() - began)
            windows = _windows(lake, sources, spans)
            own = [span for span in spans if span.source == table.full_name] or spans
            hours = _hours(own) if table.partitions else set()
            is_there = not table.partitions or (recent and min(recent) <= min(hours) and max(hours) <= max(recent))
            with (
                nullcontext(current) if is_there else lake.pinned(_of(lake, table, hours)) as known,
                lake.pinned(module.build(keys, windows, known, now)) as rows,
            ):
                result = _checked(rows, table)
                if result.is_sound:
                    lake.write(table, rows, {MARKS: followed})
    if result.is_sound:
        lake.compact_after_bulk(table, result.rows, now)
    result.followed, result.seconds = followed, time.monotonic() - began
    return result


@contextmanager
def _keys(lake: Lakehouse, touched: DataFrame) -> Iterator[DataFrame | None]:
    """What is touched, computed once; none where that is nothing.

    A few rows go by way of this process: then they are a leaf of each plan that they stand in. Pinned ones bring along
    the plan that made them, four times into that of the candles, and Spark analyses it each time.
    """
    few = touched.limit(_FEW + 1).toPandas()
    if len(few) <= _FEW:
        yield lake.spark.createDataFrame(few) if len(few) else None
    else:
        with lake.pinned(touched, at_once=True) as keys:
            yield keys


def _recent(since: Iterable[str], now: datetime) -> Sequence[datetime]:
    """The hours in which a candle may lie that was open when the sources were last followed: none lasts over a day.

    And those in which it may end, so that they are all of its days.
    """
    last = [_completed(mark) for mark in since if mark != BEGINNING]
    return hours_between(min(last) - timedelta(days=1), now + timedelta(days=1)) if last else []


def _completed(mark: str) -> datetime:
    return datetime.strptime(f"{mark}000", "%Y%m%d%H%M%S%f").replace(tzinfo=UTC)


def _of(lake: Lakehouse, table: Table, hours: Iterable[datetime]) -> DataFrame:
    return lake.read(table, hours) if table.partitions else lake.read(table)


def _windows(lake: Lakehouse, sources: Sequence[Table], spans: Sequence[Row]) -> Mapping[str, DataFrame]:
    return {source.full_name: _window(lake, source, spans) for source in sources}


def _window(lake: Lakehouse, source: Table, spans: Sequence[Row]) -> DataFrame:
    """The rows of a source in the partitions that the spans name."""
    mine = [span for span in spans if span.source == source.full_name]
    if not mine:
        return lake.no_rows(source)
    by_interval: dict[str | None, list[Row]] = {}
    for span in mine:
        by_interval.setdefault(span.interval, []).append(span)
    # One scan for all intervals: each of several would have its files looked for by itself.
    wanted = [
        (of_hours(source, list(_hours(spans))) if source.partitions else F.lit(True))
        & (F.lit(True) if interval is None else F.col("interval") == interval)
        for interval, spans in by_interval.items()
    ]
    return lake.read(source).filter(reduce(lambda left, right: left | right, wanted))


def _hours(spans: Iterable[Row]) -> set[datetime]:
    return {hour for span in spans for hour in hours_between(_utc(span.start), _utc(span.end))}


def _utc(moment: datetime) -> datetime:
    """Spark Connect gives naive times in the session's zone, which is UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _checked(rows: DataFrame, table: Table) -> Refreshed:
    """How many rows there are, and how many break each rule."""
    breaks = [
        F.sum((~F.coalesce(F.expr(rule), F.lit(False))).cast("int")).alias(name) for name, rule in table.rules.items()
    ]
    distinct = F.countDistinct(*table.key).alias("distinct_keys")
    counts: Any = rows.agg(F.count("*").alias("rows"), distinct, *breaks).first()
    return Refreshed(
        rows=counts.rows,
        broken={name: counts[name] or 0 for name in table.rules},
        repeated=counts.rows - counts.distinct_keys,
    )
