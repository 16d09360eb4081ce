"""hftbacktest's event array, `data` in an `.npz` a day, of books and trades together: `BTCUSDT_20261120.npz`.

    BacktestAsset().data(["BTCUSDT_20261120.npz", "BTCUSDT_20261121.npz"]).tick_size(0.01).lot_size(0.00001)

**Books.** The lake has snapshots of the best five levels, about one a second, and no changes between them. Each becomes
one `DEPTH_CLEAR_EVENT` of both sides, and a `DEPTH_SNAPSHOT_EVENT` for each level, the best first: what lies deeper is
not known and not there, and a queue position is only as fine as a second. **Trades** are `TRADE_EVENT`, with the side
of the taker.

**Times** are nanoseconds. `exch_ts` is the exchange's time of the trade; a book of which the exchange tells no time has
the time of its receipt. `local_ts` is when it was received, and `exch_ts` where it was not received live or a clock
was behind. Where the two orders differ, an event stands twice, once for each side (`EXCH_EVENT`, `LOCAL_EVENT`), as
hftbacktest wants it. Prices and quantities are the nearest float64 of our exact decimals.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from crypto_pipeline.export._format import Data, File, Format, Read, Wanted
from crypto_pipeline.reader import as_floats

EVENT = np.dtype(
    [
        ("ev", "u8"),
        ("exch_ts", "i8"),
        ("local_ts", "i8"),
        ("px", "f8"),
        ("qty", "f8"),
        ("order_id", "u8"),
        ("ival", "i8"),
        ("fval", "f8"),
    ],
    align=True,
)
TRADE, CLEAR, SNAPSHOT = 2, 3, 4
EXCH, LOCAL, BUY, SELL = 1 << 31, 1 << 30, 1 << 29, 1 << 28
Events = NDArray[Any]


def files(wanted: Wanted) -> Iterator[File]:
    """One a day."""
    for _, range_ in wanted.pieces:
        yield File(Path(f"{wanted.symbol}_{range_.start:%Y%m%d}.npz"), range_)


def write(place: Path, file: File, _wanted: Wanted, read: Read) -> int:
    """The file. A day is in memory at once."""
    count = 0
    events = []
    for data, columns, shaped in _SOURCES:
        for rows in read(data, columns, file.range):
            events.append(shaped(as_floats(rows)))
            count += rows.num_rows
    if count:
        # As numpy's savez_compressed, which leaves the archive open where it cannot be written.
        with ZipFile(place, "w", ZIP_DEFLATED) as out, out.open("data.npy", "w", force_zip64=True) as array:
            np.save(array, ordered(np.concatenate(events)))
    return count


def trades(rows: pa.Table) -> Events:
    """An event a trade."""
    events = np.zeros(rows.num_rows, EVENT)
    events["ev"] = TRADE | np.where(rows["is_buyer_maker"].to_numpy(), SELL, BUY)
    events["exch_ts"], events["local_ts"] = _times(rows["event_time"], rows["received_at"])
    events["px"], events["qty"] = rows["price"].to_numpy(), rows["quantity"].to_numpy()
    return events


def books(rows: pa.Table) -> Events:
    """For each book one event that clears it, and one for each level."""
    sides = [(BUY, rows["bids"].combine_chunks()), (SELL, rows["asks"].combine_chunks())]
    levels = [np.asarray(pc.list_value_length(lists)).astype(np.int64) for _, lists in sides]
    lengths = 1 + levels[0] + levels[1]
    starts = np.cumsum(lengths) - lengths
    events = np.zeros(int(lengths.sum()), EVENT)
    times = _times(pc.coalesce(rows["event_time"], rows["received_at"]), rows["received_at"])
    events["exch_ts"], events["local_ts"] = (np.repeat(each, lengths) for each in times)
    events["ev"][starts] = CLEAR
    after = starts + 1
    for (side, lists), count in zip(sides, levels, strict=True):
        flat = lists.flatten()
        # The places of a book's levels follow each other.
        places = np.repeat(after - (np.cumsum(count) - count), count) + np.arange(len(flat))
        events["ev"][places] = SNAPSHOT | side
        events["px"][places] = flat.field("price").to_numpy()
        events["qty"][places] = flat.field("quantity").to_numpy()
        after = after + count
    return events


def ordered(events: Events) -> Events:
    """The same such that those for the exchange are in the order of its time, and the local ones in that of theirs.

    An event that the exchange had before another which we received earlier stands twice.
    """
    events = events[np.argsort(events["local_ts"], kind="stable")]
    is_late = events["exch_ts"] < np.maximum.accumulate(events["exch_ts"])
    again = events[is_late]
    again = again[np.argsort(again["exch_ts"], kind="stable")]
    events["ev"] |= np.where(is_late, LOCAL, LOCAL | EXCH).astype(np.uint64)
    again["ev"] |= np.uint64(EXCH)
    in_time = np.flatnonzero(~is_late)
    places = in_time[np.searchsorted(events["exch_ts"][in_time], again["exch_ts"], side="right")]
    return np.insert(events, places, again)


def _times(at: pa.ChunkedArray, received: pa.ChunkedArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Nanoseconds of the exchange, and ours, which are never before."""
    exchange = at.cast(pa.int64()).to_numpy()
    ours = pc.fill_null(received.cast(pa.int64()), 0).to_numpy()
    return exchange * 1000, np.maximum(exchange, ours) * 1000


_SOURCES: tuple[tuple[Data, tuple[str, ...], Callable[[pa.Table], Events]], ...] = (
    ("trades", ("event_time", "received_at", "is_buyer_maker", "price", "quantity"), trades),
    ("depth", ("event_time", "received_at", "bids", "asks"), books),
)

FORMAT = Format(("depth",), files, write, beside=("trades",))
