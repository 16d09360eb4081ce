"""The lake's tables in Arrow, without Spark and its JVM: all that knows hudi-rs, and how Hudi names its files."""

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial, reduce
from operator import or_
from typing import TYPE_CHECKING, NamedTuple, TypeVar
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from hudi import HudiFileSlice, HudiReadOptions, HudiTable

from crypto_pipeline.hudi_files import TIMELINE
from shared.settings import Settings
from shared.tables import BUCKETS, NOTE_PREFIX, Column, Notes, Table

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from pyarrow.dataset import ParquetFileFragment
    from pyarrow.fs import S3FileSystem
    from pyarrow.parquet import RowGroupMetaData

Filter = tuple[str, str, str]
"""A condition on a partition column: `("month", "=", "2026-11")`, `("hour", "IN", "08,09")`.

One on the table's bucket column, `("symbol", "IN", "BTCUSDT")`, leaves out the files that cannot hold such rows; in the
others, rows for which it is false may stay.
"""

Answer = TypeVar("Answer")

_TYPES = {
    "string": pa.string(),
    "boolean": pa.bool_(),
    "int": pa.int32(),
    "bigint": pa.int64(),
    "double": pa.float64(),
    "timestamp": pa.timestamp("us", "UTC"),
}


WRITTEN_BY = Column("_hoodie_commit_time", "string", "the commit that wrote the row: when it was asked for")
"""A column that Hudi adds to each table; a contract with it, as `dataclasses.replace` makes it, reads it too."""
_AT_ONCE = 8
"""So many files are read side by side."""
_HOLE = 2**20
"""So many bytes that nobody asked for are read rather than asking a second time."""
_DONE = re.compile(r"(\d+)_(\d+)\.deltacommit")
"""How Hudi names the file of a finished write: when it was asked for, and when it was done."""


class LakeError(Exception):
    """The lake cannot be read; the message says why, and the cure."""


class NotThereYetError(LakeError):
    """A table that has not been made yet."""


class Write(NamedTuple):
    """A finished write of a table: when it was asked for, which names it, its rows, and what it notes beside them."""

    requested: str
    rows: int
    notes: Mapping[str, str]


@dataclass(frozen=True)
class Snapshot:
    """A table as it is when it is opened; later commits do not show."""

    table: Table
    settings: Settings
    _hudi: HudiTable

    def read(
        self,
        columns: Sequence[str] | None = None,
        filters: Sequence[Filter] = (),
        where: pc.Expression | None = None,
        where_on: Collection[str] = (),
    ) -> pa.Table:
        """The rows, with these columns of the contract (none: all) and of these partitions.

        `where` is asked of each file's rows, so that others need not be in memory together; it is on `where_on`, or
        where that is not given on these columns.
        """
        wanted = arrow_schema(self.table, columns)

        found = self._asked(lambda: self._read(wanted, filters, where, where_on))
        return pa.concat_tables([wanted.empty_table(), *found])

    def _read(
        self, wanted: pa.Schema, filters: Sequence[Filter], where: pc.Expression | None, where_on: Collection[str]
    ) -> list[pa.Table]:
        options = HudiReadOptions(filters=[one for one in filters if one[0] in self.table.partitions])
        needed = arrow_schema(self.table, list(dict.fromkeys([*wanted.names, *where_on])))
        options = options.with_projection(needed.names)
        asked = [value for name, _, values in filters if name == self.table.bucket for value in values.split(",")]
        if not asked:
            every = (_shaped(pa.Table.from_batches([rows]), needed, where) for rows in self._hudi.read(options))
            return [rows.select(wanted.names) for rows in every]
        pieces = self._hudi.get_file_slices(options)
        if any(_bucket(piece) for piece in pieces) and (buckets := self._buckets()):
            holding = {bucket_of(value, buckets) for value in asked}
            pieces = [piece for piece in pieces if _bucket(piece) in holding]
        # Partitions are of time, so that rows mostly are in order then, which takes a tenth of sorting them.
        pieces = sorted(pieces, key=lambda piece: (piece.partition_path, piece.file_id))
        files = self._hudi.create_file_group_reader_with_options(options)
        store = object_store(self.settings)
        root = f"{self.settings.bucket}/{self.table.folder}"
        of_bucket = reduce(or_, [pc.field(self.table.bucket) == value for value in asked])

        def read(piece: HudiFileSlice) -> pa.Table:
            if piece.has_log_files():
                merged = pa.Table.from_batches([files.read_file_slice(piece, options)])
                return _shaped(merged, needed, where).select(wanted.names)
            path = f"{root}/{piece.base_file_relative_path()}"
            on = where_on or wanted.names
            return _parquet(path, piece.base_file_size, store, wanted, where, on, of_bucket)

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(pool.map(read, pieces))

    def _buckets(self) -> int:
        """Over how many files a partition is spread; 0 where no commit says it."""
        notes = self.notes(BUCKETS)
        return int(notes.values[BUCKETS]) if notes else 0

    def batches(self, columns: Sequence[str] | None = None, filters: Sequence[Filter] = ()) -> Iterator[pa.RecordBatch]:
        """The same as `read`, piece by piece, so that they need not be in memory together."""
        wanted = arrow_schema(self.table, columns)
        options = HudiReadOptions(filters=list(filters)).with_projection(wanted.names)
        stream = self._asked(lambda: self._hudi.read_stream(options))
        while (batch := self._asked(lambda: next(stream, None))) is not None:
            yield from pa.Table.from_batches([batch]).select(wanted.names).cast(wanted).to_batches()

    def log_files(self) -> list[int]:
        """How many log files wait to be merged, for every file of the table."""
        return [len(piece.log_file_names) for piece in self._asked(self._hudi.get_file_slices)]

    def partitions(self) -> list[dict[str, str]]:
        """The value of each partition column, for every partition that holds data."""
        paths = {piece.partition_path for piece in self._asked(self._hudi.get_file_slices)}
        return [dict(part.split("=", 1) for part in path.split("/") if "=" in part) for path in sorted(paths)]

    def notes(self, name: str) -> Notes | None:
        """All notes of the latest commit that carries the one of this name; none where no commit has it."""
        return next((Notes(one.requested, one.notes) for one in self.writes() if name in one.notes), None)

    def writes(self, requested: str | None = None) -> Iterator[Write]:
        """The finished writes that the timeline still has, the latest first by the time when they were asked for.

        With `requested` only the one that was asked for then.
        """
        timeline = self._hudi.get_timeline()
        for commit in self._asked(lambda: timeline.get_completed_deltacommits(desc=True)):
            if requested not in (None, commit.timestamp):
                continue
            metadata = json.loads(self._asked(partial(timeline.get_instant_metadata_in_json, commit)))
            written = (metadata.get("partitionToWriteStats") or {}).values()
            named = metadata.get("extraMetadata") or {}
            yield Write(
                commit.timestamp,
                sum(file["numWrites"] for files in written for file in files),
                {key.removeprefix(NOTE_PREFIX): str(named[key]) for key in named if key.startswith(NOTE_PREFIX)},
            )

    def _asked(self, question: Callable[[], Answer]) -> Answer:
        return _asked(question, self.table, self.settings)


def _shaped(rows: pa.Table, wanted: pa.Schema, where: pc.Expression | None = None) -> pa.Table:
    given = rows.select(wanted.names).cast(wanted)
    return given if where is None else given.filter(where)


def object_store(settings: Settings) -> "S3FileSystem":
    """The object store as Arrow reads it."""
    from pyarrow.fs import S3FileSystem

    url = urlsplit(settings.s3_url)
    return S3FileSystem(
        access_key=settings.s3_access_key,
        secret_key=settings.s3_secret_key.get_secret_value(),
        endpoint_override=url.netloc,
        scheme=url.scheme,
        region=settings.s3_region,
    )


def _parquet(
    path: str,
    size: int,
    store: "S3FileSystem",
    wanted: pa.Schema,
    where: pc.Expression | None,
    on: Collection[str],
    of_bucket: pc.Expression,
) -> pa.Table:
    """The rows of a base file to which no log file adds any. hudi-rs reads it whole; Arrow the columns and row groups
    that are needed. A column that the table got after it is null.
    """
    import pyarrow.dataset as ds  # it takes a while

    at_once = ds.ParquetFragmentScanOptions(cache_options=pa.CacheOptions(hole_size_limit=_HOLE))
    # A fragment keeps the footer that its schema was read from; a dataset of the path would fetch it once more.
    file = ds.ParquetFileFormat(default_fragment_scan_options=at_once).make_fragment(path, store, file_size=size)
    there = [name for name in wanted.names if name in file.physical_schema.names]
    if where is not None:
        # First by that one column alone: to ask all row groups of a file for all of `where` takes twice as long.
        file, where = _pruned(file.subset(of_bucket), where, on)
    rows = file.to_table(columns=there, filter=where)
    for name in set(wanted.names) - set(there):
        rows = rows.append_column(name, pa.nulls(rows.num_rows, wanted.field(name).type))
    return _shaped(rows, wanted)


def _pruned(
    file: "ParquetFileFragment", where: pc.Expression, on: Collection[str]
) -> tuple["ParquetFileFragment", pc.Expression | None]:
    """The row groups that may hold such rows by their statistics, and what is still to be asked of these: nothing where
    all their rows are such, of which the columns of `where`, which are `on`, need not be read then.
    """
    may = file.subset(where)
    may_not = {group.id for group in may.subset(~where).row_groups}
    groups = (file.metadata.row_group(group.id) for group in may.row_groups if group.id not in may_not)
    is_sure = sum(_has_all(group, on) for group in groups) == len(may.row_groups)
    return may, None if is_sure else where


def _has_all(group: "RowGroupMetaData", names: Collection[str]) -> bool:
    """None of these columns has a null in it: of which a condition is neither true nor false."""
    told = (group.column(number) for number in range(group.num_columns))
    nulls = {one.path_in_schema: one.statistics and one.statistics.null_count for one in told}
    return all(nulls.get(name) == 0 for name in names)


def bucket_of(value: str, buckets: int) -> int:
    """The file of a partition, of so many, that holds the rows whose bucket column has this value.

    As Hudi's simple bucket index hashes it: the hash of a Java list that has this string alone.
    """
    code = 0
    units = value.encode("utf-16-le")
    for low, high in zip(units[::2], units[1::2], strict=True):
        code = (31 * code + low + 256 * high) & 0xFFFFFFFF
    return ((31 + code) & 0x7FFFFFFF) % buckets


def _bucket(piece: HudiFileSlice) -> int:
    """The bucket that a file's name begins with."""
    return int(piece.file_id[:8])


def open_table(table: Table, settings: Settings) -> Snapshot:
    """The table as it is now. Raises `LakeError`."""
    options = {
        "aws_endpoint": settings.s3_url,
        "aws_region": settings.s3_region,
        "aws_access_key_id": settings.s3_access_key,
        "aws_secret_access_key": settings.s3_secret_key.get_secret_value(),
        "aws_allow_http": "true",
    }
    path = f"s3://{settings.bucket}/{table.folder}"
    return Snapshot(table, settings, _asked(lambda: HudiTable(path, options), table, settings))


def read(
    table: Table, settings: Settings, columns: Sequence[str] | None = None, filters: Sequence[Filter] = ()
) -> pa.Table:
    """The table's rows as they are now. Raises `LakeError`."""
    return open_table(table, settings).read(columns, filters)


def notes(table: Table, name: str, settings: Settings) -> Notes | None:
    """All notes of the latest commit that carries the one of this name; none where no commit has it.

    Raises `LakeError`.
    """
    return open_table(table, settings).notes(name)


def done_after(table: Table, mark: str, settings: Settings) -> list[str]:
    """The commits, as `WRITTEN_BY` names them, that were done after `mark`, a time of completion.

    hudi-rs does not tell when a commit was done. Raises `LakeError`.
    """
    done = (_DONE.fullmatch(name) for name in timeline_of(table, settings))
    return sorted(found[1] for found in done if found and found[2] > mark)


def timeline_of(table: Table, settings: Settings) -> list[str]:
    """The names of the files in the table's timeline, without its archive. Raises `LakeError`."""

    def names() -> list[str]:
        folder = f"{table.folder}/{TIMELINE}"
        asked = _s3(settings).get_paginator("list_objects_v2")
        pages = asked.paginate(Bucket=settings.bucket, Prefix=folder, Delimiter="/")
        return [str(one["Key"]).removeprefix(folder) for page in pages for one in page.get("Contents", [])]

    return _asked(names, table, settings)


@cache
def _s3(settings: Settings) -> "S3Client":
    """One for each store: to make it takes longer than to ask."""
    from streaming.object_store import s3_client  # it takes a while, and a query needs none of it

    return s3_client(settings, attempts=4)


def arrow_schema(table: Table, columns: Sequence[str] | None = None) -> pa.Schema:
    """The contract's columns, or these of them in this order, as Arrow names their types."""
    types = {column.name: column.type for column in table.columns}
    return pa.schema([(name, arrow_type(types[name])) for name in columns or types])


def arrow_type(spark_type: str) -> pa.DataType:
    """The Arrow type of a Spark SQL type: `array<struct<price:decimal(38,18)>>`. Raises `ValueError`."""
    if spark_type in _TYPES:
        return _TYPES[spark_type]
    if decimal := re.fullmatch(r"decimal\((\d+), *(\d+)\)", spark_type):
        return pa.decimal128(int(decimal[1]), int(decimal[2]))
    if array := re.fullmatch(r"array<(.+)>", spark_type):
        return pa.list_(arrow_type(array[1]))
    if struct := re.fullmatch(r"struct<(.+)>", spark_type):
        fields = [field.split(":", 1) for field in re.split(r",(?![^(<]*[)>])", struct[1])]
        return pa.struct([(name.strip(), arrow_type(kind.strip())) for name, kind in fields])
    raise ValueError(f"no Arrow type is known for {spark_type}")


def floats(kind: pa.DataType) -> pa.DataType:
    """The type with float64 in the place of every decimal; those without a scale, such as DuckDB's sums, stay."""
    return _replaced(kind, pa.float64())


def as_floats(values: pa.Table) -> pa.Table:
    """The table with the nearest float64 in the place of each decimal that has a scale.

    Arrow's own cast from decimal is off by one in the last place now and then, and would print 63000.119999999995.
    """
    plain = [floats(field.type) for field in values.schema]
    if plain == values.schema.types:
        return values

    def made(index: int) -> pa.ChunkedArray:
        column = values.column(index)
        return column if column.type == plain[index] else _as_floats(column, plain[index])

    with ThreadPoolExecutor() as pool:
        columns = list(pool.map(made, range(values.num_columns)))
    return pa.table(columns, values.column_names)


_PLACES = 8
"""So many decimals do prices and quantities have on most markets."""
_EXACT = 2**53
"""Whole numbers below it are floats without a loss."""


def _as_floats(column: pa.ChunkedArray, plain: pa.DataType) -> pa.ChunkedArray:
    if plain == pa.float64() and column.type.scale == 18 and column.type.bit_width == 128:
        pieces = [_divided(piece) for piece in column.chunks if len(piece)]
        if all(piece is not None for piece in pieces):
            return pa.chunked_array(pieces, plain)
    return column.cast(_replaced(column.type, pa.string())).cast(plain)


def _divided(decimals: pa.Array) -> pa.Array | None:
    """The floats of decimals of 18 places, some ten times as fast as by way of text: by one division of whole numbers
    that floats hold exactly. None where there are more digits.
    """
    words = np.frombuffer(decimals.buffers()[1], np.int64).reshape(-1, 2)
    low, high = words[decimals.offset : decimals.offset + len(decimals)].T
    unit = 10 ** (18 - _PLACES)
    # It is the right one, or none is: floats are off by less than a unit, and below 2**53 no two share their low word.
    with np.errstate(invalid="ignore"):
        whole = np.rint((high * 2.0**64 + low.view(np.uint64)) / unit).astype(np.int64)
    is_exact = (whole < _EXACT) & (whole > -_EXACT) & (whole * unit == low)
    is_null = decimals.is_null().to_numpy(zero_copy_only=False)
    return pa.array(whole / 10.0**_PLACES, mask=is_null) if (is_exact | is_null).all() else None


def _replaced(kind: pa.DataType, by: pa.DataType) -> pa.DataType:
    if pa.types.is_decimal(kind) and kind.scale:
        return by
    if pa.types.is_list(kind):
        return pa.list_(_replaced(kind.value_type, by))
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, _replaced(field.type, by)) for field in kind])
    return kind


def not_running(settings: Settings) -> str:
    """What is said where no object store answers."""
    return f"The lake is not running: nothing answers at {settings.s3_url}. Start it with ./deploy.sh"


def keys_refused(settings: Settings) -> str:
    """What is said where it answers, and not to us."""
    cure = "mend S3_ACCESS_KEY and S3_SECRET_KEY in .env" if settings.s3_endpoint else "./deploy.sh makes it anew"
    return f"The object store {settings.s3_url} refuses our account: {cure}."


_REFUSED = ("privileges", "InvalidAccessKeyId", "SignatureDoesNotMatch", "403 Forbidden")
"""What hudi-rs and botocore say where the keys are not taken: 403 alone is also in "in 5.403123s, after 10 retries"."""
_UNANSWERED = ("error sending request", "Generic S3 error", "Could not connect to the endpoint")
"""What they say where nothing answers."""


def _asked(question: Callable[[], Answer], table: Table, settings: Settings) -> Answer:
    """The answer of hudi-rs. Raises `LakeError` in our own words: its errors may carry what S3 was told."""
    try:
        return question()
    except Exception as error:  # noqa: BLE001 (hudi-rs does not export the class of its errors)
        text = str(error)
    if "not found" in text:
        raise NotThereYetError(
            f"{table.full_name} is not there yet, in bucket {settings.bucket}: ./deploy.sh makes the tables, and the "
            "first rows come about two minutes later."
        )
    if any(said in text for said in _REFUSED):
        why = keys_refused(settings)
    elif any(said in text for said in _UNANSWERED):
        why = not_running(settings)
    else:
        why = f"{table.full_name} cannot be read: {text.splitlines()[0]}"
    secret = settings.s3_secret_key.get_secret_value()
    raise LakeError(why.replace(secret, "***") if secret else why)
