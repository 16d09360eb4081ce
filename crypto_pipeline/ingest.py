"""From Kafka to bronze: exactly once, each table's offsets in its own commit."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from types import ModuleType

from pyspark.sql import DataFrame

from crypto_pipeline import kafka_source
from crypto_pipeline.bronze import quarantine
from crypto_pipeline.kafka_source import Offsets
from crypto_pipeline.lakehouse import Lakehouse
from shared.tables import OFFSETS, Table

CHUNK = 500_000
"""Messages a commit at most: a long backlog is caught up in steps that each stay done."""


@dataclass
class Ingested:
    """What one run brought into one table."""

    rows: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    """Rows that went to quarantine, by rule."""
    offsets: Offsets = field(default_factory=dict)
    seconds: float = 0.0


def ingest(
    lake: Lakehouse,
    modules: Sequence[ModuleType],
    servers: str,
    topic: str = "",
    *,
    skip_expired: bool = False,
    progress: Callable[[str], None] = lambda _line: None,
    working_on: Callable[[str], AbstractContextManager[None]] = lambda _table: nullcontext(),
) -> dict[str, Ingested]:
    """Bring all that is in Kafka now into the tables of `modules`, and say what came into each.

    Kafka is read once for all of them, from the smallest of their offsets; rows that a table already has are upserts.
    `working_on` is entered with a table's name around its work, so that its jobs can carry that name.
    """
    first, end = kafka_source.bounds(servers, topic)
    done = {module.TABLE.full_name: Ingested() for module in modules}
    read = {module.TABLE.full_name: json.loads(lake.note(module.TABLE, OFFSETS) or "{}") for module in modules}
    places = {name: kafka_source.starting(place, first, end, skip_expired=skip_expired) for name, place in read.items()}
    start = kafka_source.smallest(list(places.values()))
    # The places of topics that are not there now are kept; those of the others are where this run begins.
    read = {name: {**read[name], **place} for name, place in places.items()}
    while True:
        stop = kafka_source.chunk_end(start, end, CHUNK)
        with lake.pinned(kafka_source.messages(lake.spark, servers, start, stop), at_once=True) as messages:
            for module in modules:
                with working_on(module.TABLE.full_name):
                    name = module.TABLE.full_name
                    read[name] = kafka_source.furthest(read[name], stop)
                    _ingest_one(lake, module, messages, read[name], done[name])
        if stop == end:
            return done
        progress(f"read to {json.dumps(stop)}")
        start = stop


def _ingest_one(lake: Lakehouse, module: ModuleType, messages: DataFrame, stop: Offsets, done: Ingested) -> None:
    table: Table = module.TABLE
    began = time.monotonic()
    with lake.pinned(module.build(messages)) as rows:
        refused = quarantine.build(rows, table)
        counts: Mapping[str, int] = {row.rule: row["count"] for row in refused.groupBy("rule").count().collect()}
        if counts:
            lake.write(quarantine.TABLE, refused, {})
        kept = quarantine.kept(rows, table)
        lake.write(table, kept, {OFFSETS: json.dumps(stop)})
        done.rows += int(kept.count())
    for rule, count in counts.items():
        done.refused[rule] = done.refused.get(rule, 0) + count
    done.offsets = stop
    done.seconds += time.monotonic() - began
