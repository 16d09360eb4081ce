"""Silver and gold: bring a table up to date with its sources, at the cost of what is new in them."""

import json
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import partial, reduce
from itertools import groupby
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pyarrow as pa
from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.frames import BULK, staged_by, to_pandas
from crypto_pipeline.history.staging import Staging
from crypto_pipeline.lakehouse import BEGINNING, COMPACTION, Lakehouse, hours_between, lies_by_time, marks, of_hours
from crypto_pipeline.memory import AtHand, Written, note_place, place, recall, remember
from crypto_pipeline.reader import arrow_schema
from shared.tables import Table

_FEW = 10_000
"""So many touched rows at most go by way of this process: some hundred kilobytes."""
_FEW_KEYS = 1_000
"""What so many touched rows at most give goes by way of this process too."""
_FEW_PARTS = 4
"""So many ranges of time at most are asked of a table one by one."""
_NOTED_WITHIN = timedelta(minutes=30)
"""So old at most gets the note of a table that needs nothing new."""
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


class Built(NamedTuple):
    """What is touched, in the terms of the module, and the rows that were made of it."""

    keys: DataFrame
    rows: DataFrame
    is_pinned: bool = True
    """They are computed once, however often they are asked for."""


def refresh(
    lake: Lakehouse, module: ModuleType, now: datetime, *, from_scratch: bool = False, memory: Path | None = None
) -> Refreshed:
    """Build again what new rows of the sources touch, and write what differs.

    A module says what is touched (`touched`), which spans of its sources that needs (`needs`), and how rows are made of
    them (`build`). That is given the table's own rows of all these spans, or of those that name the table itself, where
    there are such. One whose need depends on what is there looks at that first (`reached`): at the table's own rows of
    the latest commit, which are quick to read, and then at all of them; at none where they may be what is to mend. The
    marks up to which the sources were followed go into the same commit, so that a run that dies is repeated, and one
    that is repeated changes nothing. `from_scratch` follows the sources from their beginning.
    """
    remembering = replace(lake, kept=Written(memory)) if memory else lake
    with remembering.loaded() as as_it_is:
        return _refreshed(as_it_is, module, now, memory, from_scratch=from_scratch)


def _refreshed(
    lake: Lakehouse, module: ModuleType, now: datetime, memory: Path | None, *, from_scratch: bool
) -> Refreshed:
    began = time.monotonic()
    table: Table = module.TABLE
    last = _last_write(lake, table)
    note = None if from_scratch else lake.note(table, MARKS)
    is_of_it = bool(note and last) and _last_write(lake, table) == last  # no commit came between the two
    marks_file = memory / f"{table.full_name}.marks" if memory and is_of_it else None
    since_marks = (marks_file and place(marks_file, last)) or note
    since: Mapping[str, str] = json.loads(since_marks) if since_marks else {}
    changes = {s.full_name: lake.changes(s, since.get(s.full_name, BEGINNING)) for s in module.SOURCES}
    followed = marks(changes)
    new = {name: change.rows for name, change in changes.items()}
    hours = recent(since.values(), now)
    file = memory / f"{table.full_name}.arrow" if memory and hasattr(module, "at_hand") else None
    kept = recall(file, since_marks) if file and since_marks else None
    at_hand: AtHand | None = None
    if file and since_marks:
        at_hand = module.at_hand(new, kept, partial(_windows, lake, module.SOURCES), now)
    is_next = note is not None and all(change.commits is not None for change in changes.values())
    with nullcontext(at_hand) if at_hand else built(lake, module, new, hours, now, pins_few=not is_next) as made:
        rows = made.rows if made else None
        is_pinned = isinstance(made, Built) and made.is_pinned
        known: pa.Table | None = arrow_schema(table).empty_table()
        if rows is not None:
            known = None if is_pinned else lake.collected(table, rows, BULK)
        if known is not None:
            result = _checked_here(lake, table, known)
        elif rows is not None:
            with nullcontext(rows) if is_pinned else lake.pinned(rows) as every:
                result = _checked(every, table)
                if result.is_sound:
                    lake.write(table, every, {MARKS: followed}, is_unique=True, count=result.rows)
    if result.is_sound:
        if known is None:
            pass  # it was written
        elif note and marks_file and not result.rows and _may_wait(table, note, followed):
            if followed != since_marks:
                note_place(marks_file, last, followed)
        elif result.rows or followed != note:
            lake.write_known(table, known, {MARKS: followed})
        if file and at_hand and (kept is None or followed != since_marks):
            remember(file, followed, at_hand.kept)
        elif file and from_scratch:
            file.unlink(missing_ok=True)  # who makes all again trusts nothing that was there
        lake.compact_after_bulk(table, result.rows, now)
    result.followed, result.seconds = followed, time.monotonic() - began
    return result


def _last_write(lake: Lakehouse, table: Table) -> str:
    """When the latest commit was done that brought rows or let go of some; empty where there is none."""
    return next((one.completed for one in lake.commits(table) if one.action != COMPACTION), "")


def _may_wait(table: Table, note: str, followed: str) -> bool:
    """Whether it may be noted later, with rows, that a table has followed its sources so far and needs nothing new.

    To commit that alone takes as long as to write a few rows, and most tables of gold need nothing of most minutes.
    Silver's notes are what is judged by (`crypto_pipeline.verify`). A note that grew old would outlive the timelines of
    its sources, which are of an hour.
    """
    before = json.loads(note)
    new = [(before.get(name, BEGINNING), mark) for name, mark in json.loads(followed).items()]
    return table.layer == "gold" and all(
        mark == old or (old != BEGINNING and _completed(mark) - _completed(old) < _NOTED_WITHIN) for old, mark in new
    )


def rebuild(lake: Lakehouse, module: ModuleType, hours: Sequence[datetime], now: datetime) -> Refreshed:
    """Build again what the sources' rows of these hours touch, new or not, and write what differs.

    It follows nothing: its commit bears the marks that stood before anything was read. So what another run followed and
    wrote meanwhile is followed once more by the next, also where a row made of older sources has just replaced its own.
    """
    with lake.loaded() as as_it_is:
        return _rebuilt(as_it_is, module, hours, now)


def _rebuilt(lake: Lakehouse, module: ModuleType, hours: Sequence[datetime], now: datetime) -> Refreshed:
    began = time.monotonic()
    table: Table = module.TABLE
    note = lake.note(table, MARKS)
    result = Refreshed(followed=note or "")
    until = max(hours) + timedelta(hours=1)
    with built(lake, module, rows_of(lake, module.SOURCES, hours), hours, now, until=until) as made:
        if made is not None:
            result = replace(_checked(made.rows, table), followed=note or "")
            if result.is_sound and result.rows:
                lake.write(table, made.rows, {MARKS: note} if note else {}, is_unique=True, count=result.rows)
    if result.is_sound:
        lake.compact_after_bulk(table, result.rows, now)
    result.seconds = time.monotonic() - began
    return result


def steps(
    module: ModuleType, start: datetime, end: datetime, busy: Collection[date] | None = None
) -> list[Sequence[datetime]]:
    """The hours of `[start, end)` in the parts in which they are rebuilt, so that memory does not grow with the range.

    A day where a source lies by the hour, as single trades do, of the days that are `busy` if these are known; else a
    month.
    """
    is_by_hour = any("hour" in source.partitions for source in module.SOURCES)

    def part_of(hour: datetime) -> str:
        is_busy = is_by_hour and (busy is None or hour.date() in busy)
        return hour.strftime("%Y-%m-%d" if is_busy else "%Y-%m")

    return [list(hours) for _, hours in groupby(hours_between(start, end - timedelta(microseconds=1)), part_of)]


def rows_of(lake: Lakehouse, sources: Sequence[Table], hours: Sequence[datetime]) -> dict[str, DataFrame]:
    """The rows of each source in these hours. One that does not lie by time has none: what it says is of no hour."""
    return {s.full_name: lake.read(s, hours) if lies_by_time(s) else lake.no_rows(s) for s in sources}


@contextmanager
def built(
    lake: Lakehouse,
    module: ModuleType,
    changes: Mapping[str, DataFrame],
    hours: Sequence[datetime],
    now: datetime,
    *,
    until: datetime | None = None,
    anew: bool = False,
    pins_few: bool = True,
) -> Iterator[Built | None]:
    """What rows of the sources touch, made again; none where they touch nothing.

    `hours`: where the table's rows lie that may be touched although no source says so. `until`: nothing that begins
    then or later. `anew`: all rows, as they would be in an empty table; else those that differ from what is there.
    Without `pins_few` what little is touched gives is not pinned: it is for who asks for it once.
    """
    table: Table = module.TABLE
    # What is read is pinned: each use of rows that are not has Hudi open some dozen log files for each file again.
    with _staging(lake), lake.pinned(_of(lake, table, hours)) as current:
        touched = module.touched(changes, current, now)
        if until and table.time in touched.columns:
            touched = touched.filter(F.col(str(table.time)) < F.lit(until))
        with _keys(lake, touched) as (keys, are_few):
            if keys is not None and hasattr(module, "reached"):
                # Not the pinned rows: of its own it reads a few columns, once.
                own_rows = [] if until or anew else [lake.latest(table, hours), _of(lake, table, hours)]
                keys = module.reached(keys, own_rows, partial(_windows, lake, module.SOURCES), now)
            spans = module.needs(keys, now).collect() if keys is not None else []
            if keys is None or not spans:
                yield None
                return
            windows = _windows(lake, module.SOURCES, spans)
            own = [span for span in spans if span.source == table.full_name] or spans
            reach = _hours(table, own) if table.partitions else set()
            is_there = not table.partitions or (hours and min(hours) <= min(reach) and max(reach) <= max(hours))
            if anew:
                known: AbstractContextManager[DataFrame] = nullcontext(lake.no_rows(table))
            else:
                known = nullcontext(current) if is_there else lake.pinned(_of(lake, table, reach))
            with known as before:
                made = module.build(keys, windows, before, now)
                if are_few and not pins_few:
                    yield Built(keys, made, is_pinned=False)
                    return
                with lake.pinned(made) as rows:
                    yield Built(keys, rows)


@contextmanager
def _staging(lake: Lakehouse) -> Iterator[None]:
    """Bulky rows of this process come to Spark by files in the bucket, which are there as long as the block."""
    with ExitStack() as files, staged_by(lambda rows: files.enter_context(Staging(lake.settings).of(rows))):
        yield


@contextmanager
def _keys(lake: Lakehouse, touched: DataFrame) -> Iterator[tuple[DataFrame | None, bool]]:
    """What is touched, computed once, none where that is nothing; and whether it is little.

    A few rows go by way of this process: then they are a leaf of each plan that they stand in. Pinned ones bring along
    the plan that made them, four times into that of the candles, and Spark analyses it each time.
    """
    few = to_pandas(touched.limit(_FEW + 1))
    if len(few) <= _FEW:
        yield lake.spark.createDataFrame(few) if len(few) else None, len(few) <= _FEW_KEYS
    else:
        with lake.pinned(touched, at_once=True) as keys:
            yield keys, False


def recent(since: Iterable[str], now: datetime) -> Sequence[datetime]:
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
    """The rows of a source in the hours of the spans; of one without a time, in the partitions that these name."""
    mine = [span for span in spans if span.source == source.full_name]
    if not mine:
        return lake.no_rows(source)
    is_of_all = any(span.interval is None for span in mine)
    by_interval: dict[str | None, list[Row]] = {}
    for span in mine:
        by_interval.setdefault(None if is_of_all else span.interval, []).append(span)
    # A scan for those that reach about as far back. One for all would read each as far as the furthest of them: within
    # a file Parquet's own filter knows the times, and not the interval, which is a partition. One for each would have
    # its files looked for by itself.
    alike: dict[int, list[Column]] = {}
    for interval, spans in by_interval.items():
        days = (max(span.end for span in spans) - min(span.start for span in spans)).days
        lies = _lies_in(source, spans)
        wanted = lies if interval is None else lies & (F.col("interval") == interval)
        alike.setdefault(days.bit_length(), []).append(wanted)
    scans = [lake.read(source).filter(reduce(lambda left, right: left | right, each)) for each in alike.values()]
    return reduce(lambda left, right: left.unionByName(right), scans)


def _lies_in(source: Table, spans: Sequence[Row]) -> Column:
    """The condition that a row lies in the hours of the spans; of what lies between far ones, nothing is read."""
    if not source.partitions:
        return F.lit(True)
    lies = of_hours(source, list(_hours(source, spans)))
    parts = _apart(spans)
    if not source.time or not 1 < len(parts) <= _FEW_PARTS:
        return lies
    each = [
        (F.col(source.time) >= F.lit(_hour(start))) & (F.col(source.time) < F.lit(_hour(end) + timedelta(hours=1)))
        for start, end in parts
    ]
    return lies & reduce(lambda left, right: left | right, each)


def _apart(spans: Iterable[Row]) -> list[tuple[datetime, datetime]]:
    """The spans, those joined between which less than a day lies."""
    parts: list[tuple[datetime, datetime]] = []
    for start, end in sorted((_utc(span.start), _utc(span.end)) for span in spans):
        if parts and start - parts[-1][1] < timedelta(days=1):
            start, end = parts[-1][0], max(end, parts.pop()[1])
        parts.append((start, end))
    return parts


def _hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def _hours(table: Table, spans: Iterable[Row]) -> set[datetime]:
    """The hours of the spans; of a table that does not lie by the hour one of each day, with the first and the last."""
    step = 1 if "hour" in table.partitions else 24
    ranges = {(_utc(span.start), _utc(span.end)) for span in spans}
    return {hour for start, end in ranges for hour in hours_between(start, end, step)}


def _utc(moment: datetime) -> datetime:
    """Spark Connect gives naive times in the session's zone, which is UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _breaks(table: Table) -> Iterator[Column]:
    """Whether a row breaks each rule, by its name. What is neither true nor false breaks it."""
    for name, rule in table.rules.items():
        yield (~F.coalesce(F.expr(rule), F.lit(False))).cast("int").alias(name)


def _checked_here(lake: Lakehouse, table: Table, rows: pa.Table) -> Refreshed:
    """`_checked`, of rows in this process: without a job of Spark's, which works the rules out where it plans."""
    named = rows.select(table.key).drop_null()  # as SQL counts distinct: a key with a null names no row
    distinct = named.group_by(list(table.key)).aggregate([]).num_rows
    broken = dict.fromkeys(table.rules, 0)
    if rows.num_rows and broken:
        told = to_pandas(lake.local(table, rows).select(*_breaks(table)))
        broken = {name: int(told[name].sum()) for name in broken}
    return Refreshed(rows=rows.num_rows, broken=broken, repeated=rows.num_rows - distinct)


def _checked(rows: DataFrame, table: Table) -> Refreshed:
    """How many rows there are, and how many break each rule."""
    breaks = [F.sum(one).alias(name) for name, one in zip(table.rules, _breaks(table), strict=True)]
    distinct = F.countDistinct(*table.key).alias("distinct_keys")
    counts: Any = rows.agg(F.count("*").alias("rows"), distinct, *breaks).first()
    return Refreshed(
        rows=counts.rows,
        broken={name: counts[name] or 0 for name in table.rules},
        repeated=counts.rows - counts.distinct_keys,
    )
