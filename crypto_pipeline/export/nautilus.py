"""NautilusTrader's catalog of Parquet files, which its `ParquetDataCatalog(OUT)` reads: bars and trade ticks.

The files are as NautilusTrader 1.2xx writes them, made without its classes, so that it need not be installed here:
`data/bar/BTCUSDT.BINANCE-5-MINUTE-LAST-EXTERNAL/` and `data/trade_tick/BTCUSDT.BINANCE/`, a file a month or a day.
Prices and quantities are exact, in its own 128-bit integers (`high-precision`, as its wheels for Linux and macOS have
them), with the places of the pair's tick and step size, or more where a value has more.

`ts_event` and `ts_init` are the end of a bar, and the exchange's time of a trade. The instrument itself is not in the
catalog: a back-test adds it (docs/recipes/export.md).
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crypto_pipeline import contracts
from crypto_pipeline.export._format import Data, File, Format, Read, Wanted
from crypto_pipeline.history.layouts import period_of
from crypto_pipeline.reader import NotThereYetError
from crypto_pipeline.reader import read as read_table
from crypto_pipeline.silver.candles import INTERVALS
from shared.settings import settings

_PLACES = 16
"""Of its integers."""
_FIXED = pa.binary(16)
_BUYER, _SELLER = 1, 2
_UNITS = {"m": "MINUTE", "h": "HOUR", "d": "DAY"}


def files(wanted: Wanted) -> Iterator[File]:
    """One a month or day, named by the first and the last moment that may be in it."""
    is_bar = wanted.data == "candles"
    folder = Path("data", "bar", _bar_type(wanted)) if is_bar else Path("data", "trade_tick", _instrument(wanted))
    for period, range_ in wanted.pieces:
        first, after = (datetime.combine(day, time(), UTC) for day in period_of(period))
        if is_bar:  # it is placed by its end
            first, last = first + timedelta(seconds=INTERVALS[wanted.interval]), after
        else:
            last = after - timedelta(microseconds=1)
        yield File(folder / f"{_stamp(first)}_{_stamp(last)}.parquet", range_)


def write(place: Path, file: File, wanted: Wanted, read: Read) -> int:
    """The file. How many places its values have is known, and written, at its end."""
    shape = _SHAPES[wanted.data]
    price_places, size_places = _steps(wanted)
    count = 0
    writer = None
    for rows in read(wanted.data, (*shape.prices, shape.size, *shape.others), file.range):
        price_places = max(_places(rows[name], price_places) for name in shape.prices)
        size_places = _places(rows[shape.size], size_places)
        values = shape.made(rows)
        writer = writer or pq.ParquetWriter(place, values.schema, compression="zstd", use_dictionary=False)
        writer.write_table(values)
        count += rows.num_rows
    if writer:
        named = {"bar_type": _bar_type(wanted)} if wanted.data == "candles" else {"instrument_id": _instrument(wanted)}
        places = {"price_precision": str(price_places), "size_precision": str(size_places)}
        writer.add_key_value_metadata(named | places)
        writer.close()
    return count


def _bars(rows: pa.Table) -> pa.Table:
    values = {name: _fixed(rows[name]) for name in ("open", "high", "low", "close", "volume")}
    return _table(values, rows["interval_end"])


def _ticks(rows: pa.Table) -> pa.Table:
    values = {
        "price": _fixed(rows["price"]),
        "size": _fixed(rows["quantity"]),
        "aggressor_side": pc.if_else(rows["is_buyer_maker"], _SELLER, _BUYER).cast(pa.uint8()),
        "trade_id": rows["trade_id"].cast(pa.string()),
    }
    return _table(values, rows["event_time"])


def _table(columns: Mapping[str, pa.ChunkedArray], times: pa.ChunkedArray) -> pa.Table:
    nanoseconds = pc.multiply(times.cast(pa.int64()), 1000).cast(pa.uint64())
    every = {**columns, "ts_event": nanoseconds, "ts_init": nanoseconds}
    schema = pa.schema([pa.field(name, values.type, nullable=False) for name, values in every.items()])
    return pa.table(list(every.values()), schema=schema)


class _Shape(NamedTuple):
    """What is made of rows, and of which of their columns."""

    made: Callable[[pa.Table], pa.Table]
    prices: tuple[str, ...]
    size: str
    others: tuple[str, ...]


_SHAPES: Mapping[Data, _Shape] = {
    "candles": _Shape(_bars, ("open", "high", "low", "close"), "volume", ("interval_end",)),
    "trades": _Shape(_ticks, ("price",), "quantity", ("event_time", "trade_id", "is_buyer_maker")),
}


def _fixed(decimals: pa.ChunkedArray) -> pa.ChunkedArray:
    """NautilusTrader's integers, little-endian: those that a decimal of as many places is in memory."""
    whole = decimals.cast(pa.decimal128(38, _PLACES))
    raw = [pa.Array.from_buffers(_FIXED, len(one), one.buffers(), offset=one.offset) for one in whole.chunks]
    return pa.chunked_array(raw, _FIXED)


def _places(decimals: pa.ChunkedArray, least: int) -> int:
    """How many places the values need, `least` or more."""
    for places in range(least, _PLACES):
        try:
            decimals.cast(pa.decimal128(38, places))
        except pa.ArrowInvalid:
            continue
        return places
    return _PLACES


def _steps(wanted: Wanted) -> tuple[int, int]:
    """The places of the exchange's present tick and step size; 0 where the lake does not know them."""
    names = ["exchange", "symbol", "valid_from", "tick_size", "step_size"]
    try:
        every = read_table(contracts.tables()["silver.instruments"], settings(), names)
    except NotThereYetError:
        return 0, 0
    mine = (pc.field("exchange") == wanted.exchange) & (pc.field("symbol") == wanted.symbol)
    rows = every.filter(mine).sort_by("valid_from").to_pylist()
    if not rows:
        return 0, 0
    return _digits(rows[-1]["tick_size"]), _digits(rows[-1]["step_size"])


def _digits(step: Decimal | None) -> int:
    return max(0, -int(step.normalize().as_tuple().exponent)) if step else 0


def _bar_type(wanted: Wanted) -> str:
    number, unit = wanted.interval[:-1], wanted.interval[-1]
    return f"{_instrument(wanted)}-{number}-{_UNITS[unit]}-LAST-EXTERNAL"


def _instrument(wanted: Wanted) -> str:
    return f"{wanted.symbol}.{wanted.exchange.upper()}"


def _stamp(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H-%M-%S}-{at.microsecond * 1000:09}Z"


FORMAT = Format(("candles", "trades"), files, write)
