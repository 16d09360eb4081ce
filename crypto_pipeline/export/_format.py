"""What a format is, and what is asked of it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal, NamedTuple

import pyarrow as pa

Data = Literal["candles", "trades", "depth"]
DATA: tuple[Data, ...] = ("candles", "trades", "depth")


class Range(NamedTuple):
    start: datetime
    end: datetime
    """Exclusive."""

    def hours(self) -> Iterator["Range"]:
        """The hours that it touches, as far as they lie in it."""
        return self._cut(lambda at: (at + timedelta(hours=1)).replace(minute=0, second=0, microsecond=0))

    def days(self) -> Iterator["Range"]:
        """The UTC days that it touches, as far as they lie in it."""
        return self._cut(lambda at: _midnight(at + timedelta(days=1)))

    def months(self) -> Iterator["Range"]:
        """The UTC months that it touches, as far as they lie in it."""
        return self._cut(lambda at: _midnight(at.replace(day=1) + timedelta(days=31)).replace(day=1))

    def _cut(self, following: Callable[[datetime], datetime]) -> Iterator["Range"]:
        at = self.start
        while at < self.end:
            until = min(following(at), self.end)
            yield Range(at, until)
            at = until


def _midnight(at: datetime) -> datetime:
    return at.replace(hour=0, minute=0, second=0, microsecond=0)


@dataclass(frozen=True)
class Wanted:
    """What is exported of one symbol: these rows, as they lie in time."""

    symbol: str
    base: str
    quote: str
    exchange: str
    data: Data
    interval: str
    """Of candles."""
    asked: Range
    range: Range
    """What there is of it."""

    @property
    def word(self) -> str:
        """What names such files: the interval of candles, or `trades` or `depth`."""
        return self.interval if self.data == "candles" else self.data

    @property
    def pieces(self) -> list[tuple[str, Range]]:
        """The months of candles (`2026-11`), or the days of all else (`2026-11-20`): what one file holds."""
        if self.data == "candles":
            return [(f"{each.start:%Y-%m}", each) for each in self.range.months()]
        return [(f"{each.start:%Y-%m-%d}", each) for each in self.range.days()]


class File(NamedTuple):
    path: Path
    """Below the folder of the export."""
    range: Range
    """Whose rows it holds."""


Read = Callable[[Data, Sequence[str] | None, Range], Iterator[pa.Table]]
"""The rows of a range in time, piece by piece, with these columns or all of them. Decimals are exact."""


@dataclass(frozen=True)
class Format:
    """A form in which another tool reads market data."""

    data: tuple[Data, ...]
    """What it can hold; the first is what is meant where nothing is said."""
    files: Callable[[Wanted], Iterable[File]]
    """Those of a range, in time."""
    write: Callable[[Path, File, Wanted, Read], int]
    """Writes a file to a path, and gives back how many rows of the lake went into it; where none, the file is not
    kept."""
    beside: tuple[Data, ...] = ()
    """What it reads besides, for the same file."""
