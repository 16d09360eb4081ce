"""What a run remembers for the next one on this machine: a file that may be lost at any time, and costs a read then."""

import json
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
from pyarrow import feather
from pyspark.sql import DataFrame

from crypto_pipeline.frames import BULK
from crypto_pipeline.reader import arrow_schema
from shared.tables import Table

log = logging.getLogger(__name__)

_MARKS = b"marks"
_COMMITS = 70
"""Of so many commits of a table the rows are kept: as long as a timeline is."""


class AtHand(NamedTuple):
    """What a module made of changes and of what it had kept, and what it keeps for the next time."""

    rows: DataFrame | None
    """None where nothing is to be written."""
    kept: pa.Table


def recall(file: Path, marks: str) -> pa.Table | None:
    """What was remembered when the sources were followed so far; none where it was another time, or cannot be read."""
    with suppress(OSError, MemoryError, pa.ArrowException):
        table = feather.read_table(file)
        if (table.schema.metadata or {}).get(_MARKS) == marks.encode():
            return table
    return None


def remember(file: Path, marks: str, table: pa.Table) -> None:
    """Keep a table for the run that finds its sources followed so far."""
    metadata = {**(table.schema.metadata or {}), _MARKS: marks.encode()}
    _put(file, table.replace_schema_metadata(metadata))


@dataclass(frozen=True)
class Written:
    """The rows of each table's latest small commits, kept by who wrote them: who follows it need not read them."""

    folder: Path

    def keep(self, table: Table, mark: str, rows: pa.Table) -> None:
        """Keep all that a commit wrote; its mark is when it was done."""
        mine = self.folder / "written" / table.full_name
        _put(mine / f"{mark}.arrow", rows)
        with suppress(OSError):
            for old in sorted(mine.glob("*.arrow*"))[:-_COMMITS]:
                old.unlink(missing_ok=True)

    def of(self, table: Table, marks: Sequence[str]) -> pa.Table | None:
        """What these commits, in this order, made of the rows that they wrote.

        None where one of them is not kept, and where the rows are too many to go with a plan.
        """
        parts = []
        for mark in marks:
            with suppress(OSError, MemoryError, pa.ArrowException):
                parts.append(feather.read_table(self.folder / "written" / table.full_name / f"{mark}.arrow"))
        schema = arrow_schema(table)
        if table.ordering or not parts or len(parts) < len(marks) or any(part.schema != schema for part in parts):
            return None
        rows = pa.concat_tables(parts)
        if rows.num_rows > BULK:
            return None
        return rows.filter(pa.array(~rows.select(table.key).to_pandas().duplicated(keep="last")))


def place(file: Path, commit: str) -> str | None:
    """The marks up to which a table is known to need nothing new, while this is its latest commit; else none."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        known = json.loads(file.read_text())
        if known["commit"] == commit and isinstance(json.loads(known["followed"]), dict):
            return str(known["followed"])
    return None


def note_place(file: Path, commit: str, followed: str) -> None:
    """Keep the marks up to which a table needs nothing new, as long as no other commit comes to it."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        new = file.with_name(f"{file.name}.new")
        new.write_text(json.dumps({"commit": commit, "followed": followed}))
        new.replace(file)
    except OSError as error:
        log.warning("the next run will look again at what needs nothing: %s", error)


def _put(file: Path, table: pa.Table) -> None:
    """A reader sees the old file or the new one.

    Where it cannot be written, on a full disk, a warning says so, and nothing else is different.
    """
    new = file.with_name(f"{file.name}.new")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        feather.write_feather(table, str(new), compression="zstd", compression_level=1)
        new.replace(file)
    except (OSError, MemoryError, pa.ArrowException) as error:
        log.warning("the next run will read again what %s is for: %s", file, error)
        with suppress(OSError):
            new.unlink(missing_ok=True)
