"""One CSV of candles for backtesting.py: `Date,Open,High,Low,Close,Volume`, `Date` the start of the candle in UTC.

    candles = pandas.read_csv("BTCUSDT-5m.csv", index_col="Date", parse_dates=True)
    Backtest(candles, MyStrategy).run()

Decimals are exact in the file; pandas reads the nearest float64. A candle in which nothing traded is not there.
"""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from crypto_pipeline.export._format import File, Format, Read, Wanted
from crypto_pipeline.export.csv import append, plain

_VALUES = ("open", "high", "low", "close", "volume")


def files(wanted: Wanted) -> Iterator[File]:
    """One for all."""
    yield File(Path(f"{wanted.symbol}-{wanted.interval}.csv"), wanted.range)


def write(place: Path, file: File, wanted: Wanted, read: Read) -> int:
    """The file."""
    return append(place, map(_shaped, read(wanted.data, ["interval_start", *_VALUES], file.range)))


def _shaped(rows: pa.Table) -> pa.Table:
    dates = pc.strftime(rows["interval_start"].cast(pa.timestamp("s", "UTC")), "%Y-%m-%d %H:%M:%S")
    return pa.table({"Date": dates, **{name.capitalize(): plain(rows[name]) for name in _VALUES}})


FORMAT = Format(("candles",), files, write)
