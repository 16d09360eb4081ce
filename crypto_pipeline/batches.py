"""The id that follows a batch of messages from its offsets in Kafka to gold.

It is the id of the Dagster run that took them in. What that run says of its tables in the log carries it, as with each
later run whose tables hold the batch, and their commits note the newest batch that is in them. So a table holds a batch
from the first of its commits on that notes it, or one that was taken in later. Imports and repairs are of no batch.
"""

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import NamedTuple

from crypto_pipeline import catalog
from crypto_pipeline.bronze import klines
from crypto_pipeline.reader import LakeError, NotThereYetError, Write, notes, open_table
from crypto_pipeline.silver import ohlcv_1m
from shared.settings import Settings, settings
from shared.tables import BATCH_ID, OFFSETS, Table

IN_EVERY_BATCH = klines.TABLE
"""An exchange says how its klines stand every few seconds, whether something trades or not."""
_taken_in: set[str] = set()
"""The runs of this process that took in messages."""


class UnknownBatchError(Exception):
    """No commit notes this batch; the message says what there is."""


def held(asset: str, run_id: str) -> str:
    """The newest batch that what a run makes for an asset holds; nothing where that is not known.

    A run that took in messages holds them. Any other holds what is in the minute's candles, which are made after all of
    bronze.
    """
    if asset == "bronze":
        _taken_in.add(run_id)
    if run_id in _taken_in:
        return run_id
    return _newest(run_id) if asset in catalog.tables() else ""


@cache
def _newest(_run_id: str) -> str:
    """Looked up once a run, when it begins."""
    try:
        noted = notes(ohlcv_1m.TABLE, BATCH_ID, settings())
    except LakeError:
        return ""
    return noted.values[BATCH_ID] if noted else ""


class Span(NamedTuple):
    """The messages of a partition that belong to a batch: the offset of the first, and the one after the last."""

    topic: str
    partition: int
    first: int | None
    """None where no earlier commit says it: the batch is the oldest that is known, or the partition's first."""
    until: int


@dataclass(frozen=True)
class Held:
    """The commit that brought a batch to a table: when it began, and its rows."""

    table: str
    since: datetime
    rows: int


@dataclass(frozen=True)
class Batch:
    """A batch: which messages it is made of, and which tables hold it, in the order in which they came to."""

    batch_id: str
    messages: list[Span]
    held_by: list[Held]


def trace(settings: Settings, batch_id: str = "") -> Batch:
    """Where a batch is; without an id, the newest. An id may be cut short.

    Raises `UnknownBatchError`, or `LakeError` where the lake cannot be read.
    """
    writes = [one for one in open_table(IN_EVERY_BATCH, settings).writes() if OFFSETS in one.notes]
    order = list(dict.fromkeys(one.notes[BATCH_ID] for one in writes if BATCH_ID in one.notes))
    wanted = next((known for known in order if known.startswith(batch_id)), None)
    if wanted is None:
        there = f"the latest are {', '.join(order[:3])}" if order else "there is none yet"
        raise UnknownBatchError(f"No batch {batch_id!r} is known: {there}. The last sixty commits are looked at.")
    place = order.index(wanted)
    since, earlier = set(order[: place + 1]), set(order[place + 1 :])
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda table: _first_held(table, since, earlier, settings), catalog.tables().values())
    return Batch(wanted, _spans(writes, wanted), sorted((one for one in found if one), key=lambda one: one.since))


def _spans(writes: Sequence[Write], batch_id: str) -> list[Span]:
    """What a batch added to the offsets that commits note; `writes` come the latest first."""
    its_own = [place for place, one in enumerate(writes) if one.notes.get(BATCH_ID) == batch_id]
    before = writes[its_own[-1] + 1 :][:1]
    ends = json.loads(writes[its_own[0]].notes[OFFSETS])
    begins = json.loads(before[0].notes[OFFSETS]) if before else {}
    return [
        Span(topic, int(number), begins.get(topic, {}).get(number), until)
        for topic, partitions in sorted(ends.items())
        for number, until in partitions.items()
        if begins.get(topic, {}).get(number) != until
    ]


def _first_held(table: Table, since: set[str], earlier: set[str], settings: Settings) -> Held | None:
    try:
        first = _first(open_table(table, settings).writes(), since, earlier)
    except NotThereYetError:
        return None
    return Held(table.full_name, _moment(first.requested), first.rows) if first else None


def _first(writes: Iterator[Write], since: set[str], earlier: set[str]) -> Write | None:
    """The earliest of the writes, which come the latest first, that notes one of the batches `since` the wanted one."""
    first = None
    for one in writes:
        noted = one.notes.get(BATCH_ID)
        if noted in earlier:
            break
        if noted in since:
            first = one
    return first


def _moment(instant: str) -> datetime:
    """Of a time as Hudi writes it, with milliseconds: 20261127073224475."""
    return datetime.strptime(instant[:14], "%Y%m%d%H%M%S").replace(tzinfo=UTC, microsecond=int(instant[14:17]) * 1000)
