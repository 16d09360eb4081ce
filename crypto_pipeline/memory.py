"""What a run remembers for the next one on this machine: a file that may be lost at any time, and costs a read then."""

import logging
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
from pyarrow import feather
from pyspark.sql import DataFrame

log = logging.getLogger(__name__)

_MARKS = b"marks"


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
    """Keep a table for the run that finds its sources followed so far. A reader sees the old file or the new one.

    Where it cannot be written, on a full disk, a warning says so, and nothing else is different.
    """
    metadata = {**(table.schema.metadata or {}), _MARKS: marks.encode()}
    new = file.with_name(f"{file.name}.new")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        feather.write_feather(
            table.replace_schema_metadata(metadata), str(new), compression="zstd", compression_level=1
        )
        new.replace(file)
    except OSError as error:
        log.warning("the next run will read again what %s is for: %s", file, error)
        with suppress(OSError):
            new.unlink(missing_ok=True)
