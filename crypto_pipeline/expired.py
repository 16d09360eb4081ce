"""What retention has let go of, by its record (`bronze.expired`), and what is said of it."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Protocol

import pyarrow as pa

from crypto_pipeline import contracts
from crypto_pipeline.reader import NotThereYetError, open_table
from shared.settings import Settings
from shared.tables import Table

RAW = "raw"
TABLES = ("bronze.depth", "bronze.tickers")
"""The tables of which days may go."""
NAMES = ("what", "exchange", "symbol", "day")
"""The columns of the record that name a day."""
DAY = timedelta(days=1)

Days = dict[tuple[str, str, str], set[date]]
"""The days by what, exchange and symbol."""


class Rows(Protocol):
    """A table that was opened; `reader.Snapshot` is one."""

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows, with these columns."""


@dataclass(frozen=True)
class Expired:
    """The record as it was when it was read."""

    days: Days = field(default_factory=dict)

    @classmethod
    def of(cls, rows: Iterable[tuple[str, str, str, str]]) -> "Expired":
        """Of rows: what, exchange, symbol, day."""
        days: Days = {}
        for what, exchange, symbol, day in rows:
            days.setdefault((what, exchange, symbol), set()).add(date.fromisoformat(day))
        return cls(days)

    def of_table(self, name: str) -> Collection[date]:
        """The days of a table that have expired."""
        return self.days.get((name, "", ""), set())

    def of_raw(self, exchange: str | None = None, symbols: Collection[str] = ()) -> Collection[date]:
        """Those of which the raw archive of an exchange or of symbols, or of any, has something expired."""
        return {
            day
            for (what, of_exchange, of_symbol), days in self.days.items()
            if what == RAW and exchange in (None, of_exchange) and of_symbol in (symbols or (of_symbol,))
            for day in days
        }

    def since(self, names: Iterable[str]) -> datetime | None:
        """From when on what rests on these tables can be made again; none: nothing of them has expired.

        What holds into an hour may have expired with the day before: so it is an hour after the last day of all.
        """
        last = max((max(days) for name in names if (days := self.of_table(name))), default=None)
        return midnight(last) + DAY + timedelta(hours=1) if last else None


def expired(settings: Settings, opened: Callable[[Table, Settings], Rows] = open_table) -> Expired:
    """The record; empty where nothing has expired. Raises `LakeError`."""
    try:
        rows = opened(contracts.tables()["bronze.expired"], settings).read(NAMES)
    except NotThereYetError:  # the lake was made before there was one
        return Expired()
    return Expired.of(zip(*(rows[name].to_pylist() for name in NAMES), strict=True))


def told(what: str, days: Collection[date], start: datetime, end: datetime) -> str:
    """That something of `[start, end)` has expired, and what is still there of it, in a sentence; empty where nothing
    has.
    """
    wanted = [start.date() + n * DAY for n in range((_last(end) - start.date()).days + 1)]
    gone = sorted(set(wanted) & set(days))
    if not gone:
        return ""
    spans = ", ".join(f"{_shown(max(first, start))} to {_shown(min(last, end))}" for first, last in _runs(gone))
    kept = [day for day in wanted if day not in days]
    left = ", ".join(f"{_shown(max(first, start))} to {_shown(min(last, end))}" for first, last in _runs(kept))
    still = f"of what was asked for, {left} is still kept" if left else f"what is kept begins at {_after(days)}"
    return f"Of {what}, {spans} has expired by config/retention.yaml; {still}."


def _last(end: datetime) -> date:
    return (end - timedelta(microseconds=1)).date()


def _after(days: Collection[date]) -> str:
    return _shown(midnight(max(days)) + DAY)


def _runs(days: Iterable[date]) -> list[tuple[datetime, datetime]]:
    """Days that follow each other as spans of time."""
    runs: list[tuple[datetime, datetime]] = []
    for day in map(midnight, days):
        if runs and runs[-1][1] == day:
            runs[-1] = runs[-1][0], day + DAY
        else:
            runs.append((day, day + DAY))
    return runs


def midnight(day: date) -> datetime:
    """Its begin, in UTC."""
    return datetime.combine(day, time(), UTC)


def _shown(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
