"""Files and pages into bronze in batches, and then the silver tables that rest on them."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import ModuleType

import pyarrow as pa
import pyarrow.compute as pc

from crypto_pipeline.catalog import derived
from crypto_pipeline.conflicts import ANOTHER_WRITER, conflicts_retried
from crypto_pipeline.history.archives import Archive, Part
from crypto_pipeline.history.exports import Exported
from crypto_pipeline.history.layouts import Kind
from crypto_pipeline.history.load import MODULES, Loaded, load, moments
from crypto_pipeline.history.staging import Staging
from crypto_pipeline.lakehouse import Lakehouse
from crypto_pipeline.refresh import refresh
from shared.tables import Table

BATCH = 500_000
"""Rows of one commit, or one part more."""


@dataclass
class Done(Loaded):
    """What became of everything that was read."""

    repeated: int = 0
    built: Counter[str] = field(default_factory=Counter)
    """Rows written to silver, by table."""


def import_parts(
    lake: Lakehouse,
    staging: Staging,
    kind: Kind,
    parts: Iterable[Part],
    progress: Callable[[str], None] = lambda _line: None,
) -> Done:
    """Bring all parts into bronze, a batch a commit; while the disk has no room for imports, it waits."""
    done = Done()

    def with_room() -> Iterator[Part]:
        remaining = iter(parts)
        while True:
            # before a part is had: an archive may be about to be downloaded
            staging.wait_for_room(progress, lambda: lake.spark.sql("SELECT 1").collect())
            try:
                yield next(remaining)
            except StopIteration:
                return

    for batch in batches(with_room(), kind):
        rows = pa.concat_tables([part.rows for part in batch], promote_options="default")
        refused = pa.concat_tables([part.refused for part in batch], promote_options="default")
        done.repeated += sum(part.repeated for part in batch)
        done.add(load(lake, staging, kind, rows, refused, on_conflict=lambda _state: progress(ANOTHER_WRITER)))
    lake.compact_after_bulk(MODULES[kind].TABLE, done.new, datetime.now(UTC))
    return done


def batches(parts: Iterable[Part], kind: Kind, size: int = BATCH) -> Iterator[list[Part]]:
    """Parts together until there are `size` rows.

    Two of one symbol that overlap in time are never together, so that the later meets the former in the table.
    """
    batch: list[Part] = []
    spans: list[tuple[str, datetime, datetime]] = []
    for part in parts:
        if not part.rows.num_rows:
            continue
        symbol, found = part.rows["symbol"][0].as_py(), pc.min_max(moments(kind, part.rows)).as_py()
        first, last = found["min"], found["max"]
        overlaps = any(symbol == other and first <= end and start <= last for other, start, end in spans)
        if batch and (overlaps or sum(one.rows.num_rows for one in batch) >= size):
            yield batch
            batch, spans = [], []
        batch.append(part)
        spans.append((symbol, first, last))
    if batch:
        yield batch


def resting_on(table: Table) -> list[ModuleType]:
    """The modules of silver that are made from a table, directly or not, each after what it is made from."""
    reached = {table.full_name}
    ordered = []
    for module in derived("silver"):
        if reached.intersection(source.full_name for source in module.SOURCES):
            reached.add(module.TABLE.full_name)
            ordered.append(module)
    return ordered


def build_on(lake: Lakehouse, kind: Kind, done: Done, progress: Callable[[str], None] = lambda _line: None) -> None:
    """Bring up to date what is made from the kind's table, and count it in `done`.

    Raises `ValueError` where a table was left as it was because a rule is broken.
    """
    for module in resting_on(MODULES[kind].TABLE):
        name = module.TABLE.full_name
        progress(f"building {name}")
        retried = conflicts_retried(lambda _state: progress(ANOTHER_WRITER))
        result = retried(refresh, lake, module, datetime.now(UTC))
        if not result.is_sound:
            rules = ", ".join(rule for rule, count in result.broken.items() if count) or "one row a key"
            raise ValueError(f"{name} was left as it was: rows break its rule {rules}.")
        done.built[name] += result.rows


def import_archives(
    lake: Lakehouse,
    staging: Staging,
    archives: Sequence[Archive | Exported],
    progress: Callable[[str], None] = lambda _line: None,
    read: Callable[[Archive | Exported], None] = lambda _archive: None,
) -> Done:
    """Bring files of one kind into bronze; `read` is told of each that was read to its end."""

    def parts() -> Iterator[Part]:
        for archive in archives:
            yield from archive.parts()
            read(archive)

    return import_parts(lake, staging, archives[0].kind, parts(), progress)
