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
        if any(said in text for said in _REFUSED):
        why = keys_refused(settings)
    elif any(said in text for said in _UNANSWERED):
        why = not_running(settings)
    else:
        why = f"{table.full_name} cannot be read: {text.splitlines()[0]}"
    secret = settings.s3_secret_key.get_secret_value()
    raise LakeError(why.replace(secret, "***") if secret else why)
