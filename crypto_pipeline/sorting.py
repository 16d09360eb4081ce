"""Closed partitions in the order in which they are read: a file's rows by symbol, each symbol in row groups of its own.

Rows lie in a base file as they came, those of all symbols mixed. A reader of one symbol would decode all of them. So a
partition that is over for a day, and that nothing is written to any more, gets its file anew, as a younger version of
the same file with the same rows: docs/decisions/hudi.md says why Hudi's own clustering cannot do it.
"""

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from crypto_pipeline.hudi_files import METADATA, parsed, settled, sorted_name
from crypto_pipeline.reader import object_store
from crypto_pipeline.usage import Object, span_of
from shared.settings import Settings
from shared.tables import Table
from streaming.object_store import s3_client

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

OVER_FOR = timedelta(days=1)
"""What comes late mostly comes within it."""
READ_FOR = timedelta(hours=1)
"""So long a reader may still read the version that was replaced."""
BUDGET = 4 << 30
"""Bytes of a table that are sorted in one run: until the next, they take their room twice."""
WORTH = 1 << 20
"""Bytes; smaller files are read whole in no time."""
_ROWS = 200_000
"""So many rows are held in memory, or those of one symbol."""
_GROUP = 20_000
"""Rows at least of a row group; symbols with fewer share one."""
_LONGEST = 1 << 17
"""Rows at most of one."""
_FOOTER_NOT_KEPT = {b"ARROW:schema", b"org.apache.hudi.bloomfilter", b"hoodie_bloom_filter_type_code"}
"""The filter is for an index that the tables do not have; files of before `lakehouse` said so bear 430 kB of it."""
_DISTINCT = ("_hoodie_record_key", "_hoodie_commit_seqno")
"""Columns of text of which no value comes twice."""


@dataclass(frozen=True)
class Done:
    """What was done to a table: base files that were sorted, and older versions that were removed."""

    sorted: int = 0
    removed: int = 0


def sort_closed(table: Table, settings: Settings, now: datetime) -> Done:
    """Sort what is closed and not sorted yet, and remove the versions that were replaced so an hour ago.

    It may end at any moment: a file is there whole or not at all, and what is not done yet is done the next time.
    """
    if not order_of(table):
        return Done(0, 0)
    client, store = s3_client(settings), object_store(settings)
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=settings.bucket, Prefix=f"{table.folder}/")
    files = [
        Object(each["Key"].removeprefix(f"{table.folder}/"), each["Size"], each["LastModified"])
        for page in pages
        for each in page.get("Contents", [])
    ]
    if any(file.path.startswith(METADATA) for file in files):
        raise RuntimeError(f"{table.full_name} has Hudi's metadata table, which does not know of sorted files.")
    root = f"{settings.bucket}/{table.folder}"
    old = list(outlived(files, now))
    for path in old:
        client.delete_object(Bucket=settings.bucket, Key=f"{table.folder}/{path}")
    unsorted = list(within(BUDGET, due(files, now), {file.path: file.size for file in files}))
    for path in unsorted:
        with tempfile.TemporaryDirectory(dir=settings.state, prefix="sorting-") as folder:
            made = Path(folder) / "sorted.parquet"
            write_sorted(table, f"{root}/{path}", store, made, Path(sorted_name(path)).name)
            client.upload_file(str(made), settings.bucket, f"{table.folder}/{sorted_name(path)}")
    return Done(len(unsorted), len(old))


def order_of(table: Table) -> list[str]:
    """By which columns a table's rows are sorted; none where it is not by symbol and time."""
    if table.bucket not in table.key or not {"month", "date"} & set(table.partitions):
        return []
    named = [name for name in ("exchange", "interval") if name in table.key]
    return list(dict.fromkeys([table.bucket, *named, *([table.time] if table.time else []), *table.key]))


def due(files: Iterable[Object], now: datetime) -> Iterator[str]:
    """The base files that are to be sorted now."""
    sizes = {file.path: file.size for file in files}
    for path, name in settled(sizes):
        span = span_of(name.partition)
        if span and span.end <= now - OVER_FOR and sizes[path] >= WORTH and not name.is_sorted:
            yield path


def within(budget: int, paths: Iterable[str], sizes: Mapping[str, int]) -> Iterator[str]:
    """The first of the paths, so many that their sizes stay within the budget, and one at least."""
    used = 0
    for path in paths:
        if used and used + sizes[path] > budget:
            return
        used += sizes[path]
        yield path


def outlived(files: Iterable[Object], now: datetime) -> Iterator[str]:
    """The base files whose rows a sorted copy has had for long enough. Hudi's cleaning looks only where something was
    committed, and would leave them.

    The very version that was sorted, and no log file: whatever else is under way, the copy has its rows.
    """
    written = {file.path: file.at for file in files}
    copied = {parsed(path): at for path, at in written.items() if (name := parsed(path)) and name.is_sorted}
    for path in written:
        name = parsed(path)
        if name and name.is_base and not name.is_sorted:
            at = copied.get(parsed(sorted_name(path)))
            if at and at <= now - READ_FOR:
                yield path


def write_sorted(table: Table, source: str, store: "FileSystem", target: Path, name: str) -> None:
    """The rows of a base file into another, a local one, in order; a part of the symbols at a time."""
    file = pq.ParquetFile(source, filesystem=store)
    schema, footer = file.schema_arrow, file.metadata.metadata or {}
    texts = [field.name for field in schema if pa.types.is_string(field.type) and field.name not in _DISTINCT]
    rows = ds.FileSystemDataset.from_paths(
        [source], schema, ds.ParquetFileFormat(dictionary_columns=texts), filesystem=store
    )
    counts = file.read([table.bucket])[table.bucket].value_counts().to_pylist()
    with pq.ParquetWriter(target, schema.remove_metadata(), compression="zstd", store_schema=False) as writer:
        for symbols in parts({one["values"]: one["counts"] for one in counts}):
            some = rows.to_table(filter=pc.field(table.bucket).isin(symbols))
            some = some.sort_by([(column, "ascending") for column in order_of(table)])
            at = some.schema.get_field_index("_hoodie_file_name")
            some = some.set_column(at, "_hoodie_file_name", pa.repeat(name, some.num_rows))
            runs = pc.run_end_encode(some[table.bucket].cast(pa.string()).combine_chunks())
            for start, length in row_groups(runs.run_ends.to_pylist()):
                writer.write_table(some.slice(start, length).cast(schema), row_group_size=_LONGEST)
        writer.add_key_value_metadata({key: footer[key] for key in footer.keys() - _FOOTER_NOT_KEPT})
    written = pq.read_metadata(target).num_rows
    if written != file.metadata.num_rows:
        raise RuntimeError(f"{source} has {file.metadata.num_rows} rows, and sorted it would have {written}.")


def parts(counts: Mapping[str, int]) -> Iterator[list[str]]:
    """The symbols in order, as many together as may be in memory at once."""
    some: list[str] = []
    held = 0
    for symbol in sorted(counts):
        if some and held + counts[symbol] > _ROWS:
            yield some
            some, held = [], 0
        some.append(symbol)
        held += counts[symbol]
    if some:
        yield some


def row_groups(ends: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Begin and length of each run of rows that stand together: whole symbols, which end there, so many as it takes."""
    start = end = 0
    for end in ends:
        if end - start >= _GROUP:
            yield start, end - start
            start = end
    if end > start:
        yield start, end - start
