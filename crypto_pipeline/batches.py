"""The id that follows a batch of messages from its offsets in Kafka to gold.

It is the id of the Dagster run that took them in. That run's log carries it, as does the log of each later run whose
tables hold the batch, and each commit notes the newest batch that its sources held. So a table holds a batch from the
first of its commits on that notes it, or one that was taken in later.
"""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import NamedTuple

from crypto_pipeline import catalog
from crypto_pipeline.bronze import klines
from crypto_pipeline.reader import LakeError, NotThereYetError, Write, done_at, notes, open_table
from crypto_pipeline.silver import ohlcv_1m
from shared.settings import Settings, settings
from shared.tables import BATCH_ID, OFFSETS, Layer, Table

IN_EVERY_BATCH = klines.TABLE
"""An exchange says how its klines stand every few seconds, whether something trades or not."""
_taken_in: set[str] = set()
"""The runs of this process that took in messages."""


class UnknownBatchError(Exception):
    """No commit notes this batch; the message says what there is."""


def held(asset: str, run_id: str) -> str:
    """The newest batch that what a run makes for an asset holds; nothing where that is not known."""
    if asset == "bronze":
        _taken_in.add(run_id)
    if run_id in _taken_in:
        return run_id
    table = catalog.tables().get(asset)
    return _newest(table.layer, run_id) if table else ""


@cache
def _newest(layer: Layer, _run_id: str) -> str:
    """What the sources of a layer hold, looked up once a run: to note less than is held is right."""
    try:
        noted = notes(ohlcv_1m.TABLE if layer == "gold" else IN_EVERY_BATCH, BATCH_ID, settings())
    except LakeError:
        return ""
    return noted.values[BATCH_ID] if noted else ""


class Span(NamedTuple):
    """The messages of a partition that belong to a batch: the offset of the first, and the one after the last."""

    topic: str
    partition: int
    first: int
    until: int


@dataclass(frozen=True)
class Held:
    """From when on a table holds a batch, and the rows of the commit that brought it."""

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
        raise UnknownBatchError(f"No batch {batch_id!r} is known: {there}. The last hundred commits are looked at.")
    its_own = [place for place, one in enumerate(writes) if one.notes.get(BATCH_ID) == wanted]
    before = writes[its_own[-1] + 1 :][:1]
    ends = json.loads(writes[its_own[0]].notes[OFFSETS])
    begins = json.loads(before[0].notes[OFFSETS]) if before else {}
    messages = [
        span
        for topic, partitions in sorted(ends.items())
        for number, until in partitions.items()
        if (span := Span(topic, int(number), begins.get(topic, {}).get(number, 0), until)).first < until
    ]
    since = set(order[: order.index(wanted) + 1])
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda table: _first_held(table, since, settings), catalog.tables().values())
    return Batch(wanted, messages, sorted((one for one in found if one), key=lambda one: one.since))


def _first_held(table: Table, since: set[str], settings: Settings) -> Held | None:
    try:
        first = _first(open_table(table, settings).writes(), since)
        done = done_at(table, settings)[first.requested] if first else ""
    except NotThereYetError:
        return None
    return Held(table.full_name, _moment(done), first.rows) if first else None


def _first(writes: Iterator[Write], since: set[str]) -> Write | None:
    """The earliest of the writes, which come the latest first, before which none notes one of these batches."""
    first = None
    for one in writes:
        noted = one.notes.get(BATCH_ID)
        if noted in since:
            first = one
        elif noted:
            break
    return first


def _moment(instant: str) -> datetime:
    """Of a time as Hudi writes it, with milliseconds: 20261127073224475."""
    return datetime.strptime(instant[:14], "%Y%m%d%H%M%S").replace(tzinfo=UTC, microsecond=int(instant[14:17]) * 1000)
