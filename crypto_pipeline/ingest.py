"""From Kafka to bronze: exactly once, each table's offsets in its own commit."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from time import monotonic
from types import ModuleType

from pyspark.sql import DataFrame

from crypto_pipeline import catalog, kafka_source
from crypto_pipeline.bronze import gaps, quarantine
from crypto_pipeline.bronze.common import CANNOT_BE_PARSED
from crypto_pipeline.kafka_source import ExpiredOffsetsError, Ids, Lost, Offsets
from crypto_pipeline.lakehouse import Lakehouse
from shared.broker import Broker
from shared.symbol_manager import symbol_of
from shared.tables import OFFSETS, TOPIC_IDS, Notes, Table

CHUNK = 200_000
"""Messages a commit at most: a long backlog is caught up in steps that each stay done."""
UNMERGED = 250_000
"""Rows of a backlog that a table has in log files at most: a million in those of one hour fill the executor's heap."""
_BUSY = 15_000
"""Rows of a run. A table that gets so many each minute would have as many as UNMERGED before maintenance comes."""
_UNMERGED_BYTES = 64 * 1024 * 1024
"""What some 200,000 trades are in log files."""
NOTED_AT = "noted_at"
"""When a table's own offsets were noted, to the microsecond: it names them, also in the commits that hand them on."""
QUIET = "quiet"
"""The note by which a commit says of other tables that nothing came for them between their own offsets, noted then, and
the offsets of this one: so a table that has no rows need not be written. docs/decisions/hudi.md proves it."""
NOTED_EVERY = timedelta(hours=1)
"""A quiet table is written all the same so often, so that its own offsets never come near Kafka's retention."""
_AT_ONCE = 2
"""Tables under work at the same time: most of a small commit is waiting for the object store."""
_quarantine = threading.Lock()


@dataclass
class Ingested:
    """What one run brought into one table."""

    rows: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    """Rows that went to quarantine, by rule."""
    marked: dict[str, int] = field(default_factory=dict)
    """Rows that went on although they break a mark, by mark."""
    offsets: Offsets = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True)
class Place:
    """How far a table is: the next offsets, and when its own were noted (empty where it has none)."""

    offsets: Offsets
    noted_at: str
    ids: Ids = field(default_factory=dict)
    """Of the topics; none of those that were last read before ids were noted."""

    def noted(self) -> dict[str, str]:
        """As a commit keeps it."""
        return {OFFSETS: json.dumps(self.offsets), TOPIC_IDS: json.dumps(self.ids), NOTED_AT: self.noted_at}


def sources() -> list[ModuleType]:
    """The modules of the tables that are made from Kafka: each names its event."""
    return [module for module in catalog.table_modules("bronze").values() if hasattr(module, "EVENT")]


def ingest(
    lake: Lakehouse,
    modules: Sequence[ModuleType],
    broker: Broker,
    topic: str = "",
    *,
    skip_expired: bool = False,
    left: Ids | None = None,
    progress: Callable[[str], None] = lambda _line: None,
    working_on: Callable[[str], AbstractContextManager[None]] = lambda _table: nullcontext(),
) -> dict[str, Ingested]:
    """Bring all that is in Kafka now into the tables of `modules`, and say what came into each.

    Kafka is read once for all of them, from the smallest of their offsets; rows that a table already has are upserts.
    `left` are the topics of an earlier Kafka, which a restored lake was filled from: where others bear their names now,
    it goes on at the beginning of those, and `bronze.gaps` says so.
    `working_on` is entered with a table's name around its work, so that its jobs can carry that name.
    """
    ids = kafka_source.topic_ids(broker)  # before the offsets: of a topic made anew in between they are not its own
    first, end = kafka_source.bounds(broker, topic, *_named_topics())
    run = _Run(lake, modules, broker, ids, left or {}, working_on)
    # What earlier runs left, that were killed in their backlog, nobody has counted: it is merged after the first step.
    merged = {_name(module): -UNMERGED for module in modules}
    while not run.step(first, end, skip_expired=skip_expired):
        progress(f"read to {json.dumps(run.read_to)}")
        for module in modules:
            name = _name(module)
            if run.done[name].rows - merged[name] >= UNMERGED:
                lake.merge_large(module.TABLE)
                merged[name] = run.done[name].rows
    for module in modules:
        if run.done[_name(module)].rows - max(merged[_name(module)], 0) >= _BUSY:
            lake.merge_large(module.TABLE, _UNMERGED_BYTES)
    return run.done


class _Run:
    """One run over all tables; each step reads its places again, as a run of its own would."""

    def __init__(
        self,
        lake: Lakehouse,
        modules: Sequence[ModuleType],
        broker: Broker,
        ids: Ids,
        left: Ids,
        working_on: Callable[[str], AbstractContextManager[None]],
    ) -> None:
        self._lake, self._modules, self._broker, self._working_on = lake, modules, broker, working_on
        self._ids, self._left = ids, left
        self.done = {_name(module): Ingested() for module in modules}
        self.read_to: Offsets = {}

    def step(self, first: Offsets, end: Offsets, *, skip_expired: bool) -> bool:
        """Bring in one chunk. True where it was the last."""
        topics = {_name(module): _topics(module, end) for module in self._modules}
        read = places(self._lake, self._modules)
        begins = {}
        lost: dict[str, Sequence[Lost]] = {}
        for name, place in read.items():
            mine, its_end = kafka_source.only(first, topics[name]), kafka_source.only(end, topics[name])
            anew = kafka_source.made_anew(place.ids, self._ids)
            try:
                begins[name] = kafka_source.starting(place.offsets, mine, its_end, anew=anew)
            except ExpiredOffsetsError as error:
                lost[name] = error.lost
                begins[name] = kafka_source.starting(place.offsets, mine, its_end, anew=anew, skip_expired=True)
        if lost:
            self._record(lost, read)
            if not skip_expired and not is_left_behind(lost, read, self._left):
                raise ExpiredOffsetsError(sorted({one for losses in lost.values() for one in losses}, key=str))
        start = kafka_source.smallest(list(begins.values()))
        wanted = kafka_source.only(end, start)
        stop = self.read_to = kafka_source.chunk_end(start, wanted, CHUNK)
        # The places of topics that are not there now are kept; those of the others are where this step ends.
        ends = {
            name: kafka_source.furthest({**place.offsets, **begins[name]}, kafka_source.only(stop, topics[name]))
            for name, place in read.items()
        }
        for name, its_end in ends.items():
            self.done[name].offsets = its_end
        if start != stop or lost:
            self._bring(start, stop, read, ends, topics, skipped=set(lost))
        return stop == wanted

    def _bring(
        self,
        start: Offsets,
        stop: Offsets,
        read: Mapping[str, Place],
        ends: Mapping[str, Offsets],
        topics: Mapping[str, Collection[str]],
        skipped: Collection[str],
    ) -> None:
        with self._lake.pinned(
            kafka_source.messages(self._lake.spark, self._broker, start, stop), at_once=True
        ) as messages:
            found = {row.stream: int(row["count"]) for row in messages.groupBy("stream").count().collect()}
            known = [_stream(module) for module in sources()]
            if set(found) - set(known):
                self._lake.write(quarantine.TABLE, quarantine.unknown(messages, known), {})
            streams = {_name(module): _stream(module) for module in self._modules}
            now = datetime.now(UTC)
            # A table that goes on after a loss says so itself.
            written = to_write(streams, found, read, ends, topics, now).union(skipped)
            work = []
            for module in self._modules:
                name = _name(module)
                if name in written:
                    quiet = {
                        other: read[other].noted_at
                        for other in read
                        if other not in written and _can_tell(name, other, ends, topics)
                    }
                    ids = {**read[name].ids, **{one: self._ids[one] for one in ends[name] if one in self._ids}}
                    notes = {**Place(ends[name], _stamp(now), ids).noted(), QUIET: json.dumps(quiet)}
                    work.append((module, messages, bool(found.get(streams[name])), notes))
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                list(pool.map(lambda job: self._write(*job), work))

    def _write(self, module: ModuleType, messages: DataFrame, has_rows: bool, notes: Mapping[str, str]) -> None:
        table: Table = module.TABLE
        began = monotonic()
        done = self.done[table.full_name]
        with self._working_on(table.full_name):
            if has_rows:
                self._write_rows(module, messages, notes, done)
            else:
                self._lake.write(table, self._lake.no_rows(table), notes, is_unique=True, count=0)
        done.seconds += monotonic() - began

    def _write_rows(self, module: ModuleType, messages: DataFrame, notes: Mapping[str, str], done: Ingested) -> None:
        table: Table = module.TABLE
        with self._lake.pinned(module.build(messages)) as rows:
            counted = quarantine.counted(rows, table)
            refused = {name: counted[name] for name in (*table.rules, CANNOT_BE_PARSED) if counted[name]}
            if refused:
                with _quarantine:
                    self._lake.write(quarantine.TABLE, quarantine.build(rows, table), {})
            is_unique, kept = not counted[quarantine.REPEATED], counted[quarantine.KEPT]
            self._lake.write(table, quarantine.kept(rows, table), notes, is_unique=is_unique, count=kept)
        done.rows += counted[quarantine.KEPT]
        done.refused = dict(Counter(done.refused) + Counter(refused))
        done.marked = dict(Counter(done.marked) + Counter({name: counted[name] for name in table.marks}))

    def _record(self, lost: Mapping[str, Sequence[Lost]], read: Mapping[str, Place]) -> None:
        """Write down as gaps what Kafka dropped unread, once however often the run is repeated."""
        name = gaps.TABLE.full_name
        place = read.get(name) or places(self._lake, [gaps])[name]
        now = datetime.now(UTC)
        rows = [expired(table, one, read[table].noted_at, now) for table, losses in lost.items() for one in losses]
        columns = gaps.TABLE.columns
        frame = self._lake.spark.createDataFrame(rows, ", ".join(f"`{c.name}` {c.type}" for c in columns))
        self._lake.write(gaps.TABLE, frame, replace(place, noted_at=_stamp(now)).noted())


def places(lake: Lakehouse, modules: Sequence[ModuleType]) -> dict[str, Place]:
    """How far each table is, by what the commits in the lake say."""
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda module: lake.notes(module.TABLE, OFFSETS), modules))
    return places_by_notes({_name(module): notes for module, notes in zip(modules, found, strict=True)})


def places_by_notes(notes: Mapping[str, Notes | None]) -> dict[str, Place]:
    """How far each table is: by its own latest commit, and by what those of others say of it since."""
    offsets_of: Mapping[str, Offsets] = {
        name: json.loads(noted.values[OFFSETS]) if noted else {} for name, noted in notes.items()
    }
    there = {topic for offsets in offsets_of.values() for topic in offsets}
    result = {}
    for module in sources():
        name = _name(module)
        if name not in notes:
            continue
        own = notes[name]
        # Before there was a note of the time, the commit's name stood for it.
        noted_at = own.values.get(NOTED_AT, own.commit) if own else ""
        offsets, ids = offsets_of[name], _ids(own)
        for other, noted in notes.items():
            if noted and json.loads(noted.values.get(QUIET, "{}")).get(name) == noted_at:
                said = kafka_source.only(offsets_of[other], _topics(module, there))
                offsets = kafka_source.furthest(offsets, said)
                ids |= {topic: number for topic, number in _ids(noted).items() if topic in said}
        result[name] = Place(offsets, noted_at, ids)
    return result


def is_left_behind(lost: Mapping[str, Sequence[Lost]], read: Mapping[str, Place], left: Ids) -> bool:
    """Is all that is lost of topics which the table last read in an earlier Kafka, the one of `left`?"""
    return all(
        one.topic in left and read[table].ids.get(one.topic) == left[one.topic]
        for table, losses in lost.items()
        for one in losses
    )


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y%m%d%H%M%S%f")


def _ids(notes: Notes | None) -> dict[str, str]:
    found: dict[str, str] = json.loads(notes.values.get(TOPIC_IDS, "{}")) if notes else {}
    return found


def to_write(
    streams: Mapping[str, str],
    found: Mapping[str, int],
    read: Mapping[str, Place],
    ends: Mapping[str, Offsets],
    topics: Mapping[str, Collection[str]],
    now: datetime,
) -> set[str]:
    """The tables that must have a commit: those with rows, and those whose own offsets are old.

    Where others moved on without a row and none that reads the same topics is written, one of them is, to say so.
    """
    moved = [name for name in streams if ends[name] != read[name].offsets]
    oldest = (now - NOTED_EVERY).strftime("%Y%m%d%H%M%S")
    written = {name for name in streams if found.get(streams[name]) or (name in moved and read[name].noted_at < oldest)}
    for name in moved:
        if not any(_can_tell(other, name, ends, topics) for other in written):
            written.add(name)
    return written


def _can_tell(name: str, other: str, ends: Mapping[str, Offsets], topics: Mapping[str, Collection[str]]) -> bool:
    """May the commit of one table say of another that nothing came for it? Only up to where this run has looked."""
    reads_all = set(topics[other]) <= set(topics[name])
    return reads_all and kafka_source.is_within(kafka_source.only(ends[name], topics[other]), ends[other])


def expired(table: str, lost: Lost, since: str, now: datetime) -> tuple[object, ...]:
    """The row of `bronze.gaps` for messages that Kafka dropped before a table read them.

    Its hole begins when the table's offsets were noted (`since`), which does not change while the table stands still:
    so the row is the same however often the run is repeated.
    """
    begin = datetime.strptime(since[:14] or "19700101000000", "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    stream = next(_stream(module) for module in sources() if _name(module) == table)
    try:
        symbol = symbol_of(lost.topic)
    except ValueError:
        symbol = f"{lost.topic}[{lost.partition}]"
    values: dict[str, object] = {
        "exchange": "kafka",
        "symbol": symbol,
        "base_asset": "",
        "quote_asset": "",
        "event_time": begin,
        "ingested_at": now,
        "source": "kafka",
        "connection_id": "",
        "gap_stream": stream,
        "first_missing": lost.first,
        "last_missing": max(lost.end - 1, lost.first),
        "cause": "offsets_expired",
        "status": "lost",
        "repaired_from": "",
        "detail": f"Kafka dropped messages before {table} read them: {lost}. They may have been of any exchange.",
        "updated_at": now,
        "date": begin.strftime("%Y-%m-%d"),
        "broken_rules": [],
    }
    return tuple(values.get(name) for name in gaps.TABLE.column_names)


def _name(module: ModuleType) -> str:
    table: Table = module.TABLE
    return table.full_name


def _stream(module: ModuleType) -> str:
    return str(module.EVENT.__struct_config__.tag)


def _named_topics() -> list[str]:
    return sorted({module.TOPIC for module in sources() if hasattr(module, "TOPIC")})


def _topics(module: ModuleType, there: Collection[str]) -> frozenset[str]:
    """The topics that a table reads: the one that its module names, else those of the symbols."""
    if hasattr(module, "TOPIC"):
        return frozenset([module.TOPIC])
    return frozenset(there) - frozenset(_named_topics())
