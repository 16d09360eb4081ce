"""freqtrade's own files, in feather, which is its default: give `--out user_data/data/binance`.

Candles: `BTC_USDT-5m.feather` with `date` (the start, UTC), open, high, low, close and volume. Trades:
`BTC_USDT-trades.feather`, as `freqtrade download-data --dl-trades` makes them; `timestamp` is in milliseconds.

freqtrade wants floats: the nearest float64 of our exact decimals. It wants one file a pair, too, so that an export that
is interrupted begins that file anew. It fills candles in which nothing traded itself, when it loads them.
"""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from crypto_pipeline.export._format import File, Format, Read, Wanted
from crypto_pipeline.reader import as_floats

_VALUES = ("open", "high", "low", "close", "volume")
_MILLISECONDS = pa.timestamp("ms", "UTC")


def files(wanted: Wanted) -> Iterator[File]:
    """One for all."""
    yield File(Path(f"{wanted.base}_{wanted.quote}-{wanted.word}.feather"), wanted.range)


def write(place: Path, file: File, wanted: Wanted, read: Read) -> int:
    """The file."""
    columns, shaped = _SHAPES[wanted.data]
    count = 0
    writer = None
    for rows in map(shaped, map(as_floats, read(wanted.data, columns, file.range))):
        writer = writer or pa.ipc.new_file(place, rows.schema, options=pa.ipc.IpcWriteOptions(compression="lz4"))
        writer.write_table(rows)
        count += rows.num_rows
    if writer:
        writer.close()
    return count


def _candles(rows: pa.Table) -> pa.Table:
    return pa.table({"date": rows["interval_start"].cast(_MILLISECONDS), **{name: rows[name] for name in _VALUES}})


def _trades(rows: pa.Table) -> pa.Table:
    return pa.table(
        {
            "timestamp": pc.floor_temporal(rows["event_time"], unit="millisecond").cast(_MILLISECONDS).cast(pa.int64()),
            "id": rows["trade_id"].cast(pa.string()),
            "type": pa.nulls(rows.num_rows, pa.string()),
            "side": pc.if_else(rows["is_buyer_maker"], "sell", "buy"),
            "price": rows["price"],
            "amount": rows["quantity"],
            "cost": rows["quote_quantity"],
        }
    )


_TRADE = ("event_time", "trade_id", "is_buyer_maker", "price", "quantity", "quote_quantity")
_SHAPES = {"candles": (("interval_start", *_VALUES), _candles), "trades": (_TRADE, _trades)}

FORMAT = Format(("candles", "trades"), files, write)
