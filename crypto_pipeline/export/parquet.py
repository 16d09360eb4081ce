"""Parquet as the lake's tables are: all their columns, decimals exact (`decimal(38,18)`), times in UTC.

A file a day of trades and books, a file a month of candles: `BTCUSDT-trades-2026-11-20.parquet`,
`BTCUSDT-5m-2026-11.parquet`. `crypto import` takes trades, books and candles of 1m back.
"""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from crypto_pipeline.export._format import DATA, File, Format, Read, Wanted


def files(wanted: Wanted) -> Iterator[File]:
    """One a day or month."""
    for period, range_ in wanted.pieces:
        yield File(Path(f"{wanted.symbol}-{wanted.word}-{period}.parquet"), range_)


def write(place: Path, file: File, wanted: Wanted, read: Read) -> int:
    """The file."""
    count = 0
    writer = None
    for rows in read(wanted.data, None, file.range):
        writer = writer or pq.ParquetWriter(place, rows.schema, compression="zstd", use_dictionary=_texts(rows.schema))
        writer.write_table(rows)
        count += rows.num_rows
    if writer:
        writer.close()
    return count


def _texts(schema: pa.Schema) -> list[str]:
    """The columns whose values come again and again: a dictionary of prices costs more than it saves."""
    return [field.name for field in schema if pa.types.is_string(field.type)]


FORMAT = Format(DATA, files, write)
