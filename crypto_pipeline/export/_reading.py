"""The lake's rows for an export: which there are, and how they are read piece by piece, so that memory stays small."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta

import pyarrow as pa
import pyarrow.compute as pc

from crypto_pipeline import lake_part, utc
from crypto_pipeline.export._format import Data, Range, Wanted
from crypto_pipeline.lake_part import NotStoredError, Part, Span
from crypto_pipeline.reader import open_table
from crypto_pipeline.silver.candles import STATUSES
from shared.settings import settings

PROVEN = STATUSES[: STATUSES.index("repaired") + 1]
"""The statuses of candles that are exported: others are not known to be true."""
_EVER = Span(None, None)


def part_of(symbol: str, exchange: str, data: Data, interval: str, range_: Range) -> Part:
    """The rows of such data, candles of whatever status."""
    if data == "candles":
        return lake_part.candles(symbol, interval, Span(*range_), exchange)
    return (lake_part.trades if data == "trades" else lake_part.depth)(symbol, Span(*range_), exchange)


def wanted(symbol: str, exchange: str, data: Data, interval: str, asked: Range) -> Wanted:
    """What there is of a range: its ends are drawn to those of what the lake has of the symbol, by days and hours.

    Raises `NotStoredError` with what there is, where the range has nothing of it, and `LakeError`.
    """
    names = ["base_asset", "quote_asset", "interval_start", "interval_end"]
    days = lake_part.found(lake_part.candles(symbol, "1d", _EVER, exchange), names)
    part = part_of(symbol, exchange, data, interval, asked)
    start, end = _reach(part, days)
    there = Range(max(asked.start, start), min(asked.end, end))
    if there.start >= there.end:
        gone = lake_part.expired_of(part)
        raise NotStoredError(gone) if gone else nothing(part)
    base, quote = (str(days[name][0]) for name in names[:2])
    return Wanted(symbol, base, quote, exchange, data, interval, asked, there)


def nothing(part: Part, left_out: int = 0) -> NotStoredError:
    """Why there are no such rows; so many candles were left out."""
    if left_out:
        return NotStoredError(
            f"Of {lake_part.named(part)} there are only {left_out:,} candles that are not proven, and such are never "
            "exported: crypto status says what is missing."
        )
    try:
        lake_part.explain(part)
    except NotStoredError as error:
        return error
    return NotStoredError(f"There is nothing of {lake_part.named(part)}.")


def missing(wanted: Wanted) -> str:
    """What is not stored of the range that was asked for, as a sentence; empty where all of it may be."""
    if wanted.range == wanted.asked:
        return ""
    part = part_of(wanted.symbol, wanted.exchange, wanted.data, wanted.interval, wanted.asked)
    start, end = map(lake_part.shown, wanted.range)
    because = ", for what was before has expired by config/retention.yaml" if lake_part.expired_of(part) else ""
    return f"Of {lake_part.named(part)} the lake has what lies from {start} to {end}, and that is exported{because}."


def _reach(part: Part, days: pa.Table) -> Range:
    """From when to when rows may be there, by the days of candles and, of tables by the hour, by the first and last
    hour of any symbol."""
    lives = Range(pc.min(days["interval_start"]).as_py(), pc.max(days["interval_end"]).as_py())
    if "hour" not in part.table.partitions:
        return lives
    there = open_table(part.table, settings()).partitions()
    hours = sorted(utc.moment(f"{each['date']}T{each['hour']}:00") for each in there)
    if not hours:
        return Range(lives.end, lives.end)
    return Range(max(lives.start, hours[0]), min(lives.end, hours[-1] + timedelta(hours=1)))


def pieces(data: Data, range_: Range) -> list[Range]:
    """What is read at once: a month of candles, or an hour of all else."""
    return list(range_.months() if data == "candles" else range_.hours())


@dataclass
class Reader:
    """Reads what is exported of one symbol."""

    wanted: Wanted
    did: Callable[[], None]
    """Is told of each piece that was read and used."""
    left_out: int = 0
    """Candles so far that are not proven."""

    def read(self, data: Data, columns: Sequence[str] | None, range_: Range) -> Iterator[pa.Table]:
        """As `_format.Read`, all of one snapshot. While a piece is used the next one is read. Raises `LakeError`."""
        mine = self.wanted
        part = part_of(mine.symbol, mine.exchange, data, mine.interval, range_)
        snapshot = open_table(part.table, settings())
        names = part.offered if columns is None else list(columns)
        needed = [*names, "status"] if data == "candles" and "status" not in names else names
        parts = [replace(part, span=Span(*each)) for each in pieces(data, range_)]
        with ThreadPoolExecutor(1) as ahead:
            coming = ahead.submit(lake_part.stored, snapshot, parts[0], needed)
            for following in [*parts[1:], None]:
                rows = coming.result()
                if following:
                    coming = ahead.submit(lake_part.stored, snapshot, following, needed)
                if data == "candles":
                    found = rows.num_rows
                    rows = rows.filter(pc.field("status").isin(PROVEN))
                    self.left_out += found - rows.num_rows
                if rows.num_rows:
                    yield rows.select(names)
                self.did()
