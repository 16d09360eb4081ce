"""CSV with a header line, a file a day of trades and books, a file a month of candles, each with its `.CHECKSUM`.

**Trades and candles** have the columns of Binance's public archive, in its order and units (times in microseconds), so
that `crypto import` takes them, and whatever else reads that archive: `BTCUSDT-trades-2026-11-20.csv`,
`BTCUSDT-1m-2026-11.csv`. Of candles it takes those of 1m, as there. **Books** have the columns of Tardis's
`book_snapshot_5`: `BTCUSDT-book_snapshot_5-2026-11-20.csv`; `timestamp` is when the book was received where the
exchange gives no time.

Decimals are exact: eight places, as there, or more where a value has more.
"""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from crypto_pipeline.export._files import whole
from crypto_pipeline.export._format import DATA, File, Format, Read, Wanted
from crypto_pipeline.history.layouts import DECIMAL, IGNORED, LAYOUTS, SAID, Kind, file_name

_LEVELS = 5
"""Of each side of a book, as they are streamed."""
_SIDES = ("asks", "bids")
_TRUE, _FALSE = "True", "False"
_PLACES = (8, 16)
"""Those of the archive, and of a product of two of its numbers."""
_OPTIONS = csv.WriteOptions(quoting_style="none")


def files(wanted: Wanted) -> Iterator[File]:
    """One a day or month."""
    word = f"book_snapshot_{_LEVELS}" if wanted.data == "depth" else wanted.word
    for period, range_ in wanted.pieces:
        yield File(Path(file_name(wanted.symbol, word, period, "csv")), range_)


def write(place: Path, file: File, wanted: Wanted, read: Read) -> int:
    """The file, and its checksum beside where it will be."""
    shaped = {"candles": klines, "trades": trades, "depth": books}[wanted.data]
    count = append(place, map(shaped, read(wanted.data, None, file.range)))
    if count:
        with place.open("rb") as written:
            digest = hashlib.file_digest(written, "sha256").hexdigest()
        with whole(place.with_name(f"{file.path.name}.CHECKSUM")) as beside:
            beside.write_text(f"{digest}  {file.path.name}\n", encoding="utf-8")
    return count


def append(place: Path, pieces: Iterator[pa.Table]) -> int:
    """Write tables of one schema as lines, under one header line. Gives back how many rows there were."""
    count = 0
    writer = None
    for rows in pieces:
        writer = writer or csv.CSVWriter(place, rows.schema, write_options=_OPTIONS)
        writer.write_table(rows)
        count += rows.num_rows
    if writer:
        writer.close()
    return count


def trades(rows: pa.Table) -> pa.Table:
    """As a file of trades of the archive."""
    return _archived("trades", rows, {SAID: "quote_quantity"})


def klines(rows: pa.Table) -> pa.Table:
    """As a file of klines of the archive."""
    last = pc.subtract(rows["interval_end"].cast(pa.int64()), 1)
    rows = rows.append_column("close_time", last)
    return _archived("klines", rows, {"open_time": "interval_start"})


def _archived(kind: Kind, rows: pa.Table, ours: Mapping[str, str]) -> pa.Table:
    """The columns of the archive, of which `ours` are called otherwise in the lake."""
    columns = {}
    for name, type_ in LAYOUTS[kind].columns.items():
        if name in IGNORED:
            columns[name] = pa.repeat(_TRUE if kind == "trades" else "0", rows.num_rows)
            continue
        values = rows[ours.get(name, name)]
        if pa.types.is_boolean(type_):
            columns[name] = pc.if_else(values, _TRUE, _FALSE)
        elif type_ == DECIMAL:
            columns["quote_quantity" if name == SAID else name] = plain(values)
        else:
            columns[name] = values.cast(type_)
    return pa.table(columns)


def books(rows: pa.Table) -> pa.Table:
    """As a file of book snapshots of Tardis."""
    columns = {
        "exchange": rows["exchange"],
        "symbol": rows["symbol"],
        "timestamp": pc.coalesce(rows["event_time"], rows["received_at"]).cast(pa.int64()),
        "local_timestamp": rows["received_at"].cast(pa.int64()),
    }
    for level in range(_LEVELS):
        for side in _SIDES:
            prices, amounts = level_of(rows[side], level)
            columns |= {f"{side}[{level}].price": plain(prices), f"{side}[{level}].amount": plain(amounts)}
    return pa.table(columns)


def level_of(side: pa.ChunkedArray, level: int) -> tuple[pa.Array, pa.Array]:
    """Price and quantity of one level (0: the best) of each book; null where a book has none."""
    lists = side.combine_chunks()
    has = pc.greater(pc.list_value_length(lists), level)
    places = pc.if_else(has, pc.add(lists.offsets[:-1], level), pa.scalar(None, pa.int32()))
    return tuple(lists.values.field(name).take(places) for name in ("price", "quantity"))


def plain(decimals: pa.ChunkedArray) -> pa.ChunkedArray:
    """With eight places, or more where a value has more."""
    for places in _PLACES:
        try:
            return decimals.cast(pa.decimal128(38, places))
        except pa.ArrowInvalid:
            continue
    return decimals


FORMAT = Format(DATA, files, write)
