"""Some rows of a table: which files are read for them, and what is said where there are none."""

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import reduce
from operator import and_, or_
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from crypto_pipeline import contracts, utc
from crypto_pipeline.expired import TABLES, expired, told
from crypto_pipeline.reader import Filter, LakeError, Snapshot, open_table
from crypto_pipeline.silver.candles import STATUSES
from shared.settings import settings
from shared.tables import Table

SUBJECTS = ("symbol", "symbol_a", "symbol_b", "subject")
"""The columns in which a table names a symbol."""
_MANY = 20
"""So many names stand in an error."""
_INTERNAL = ("ordering", "superseded")
"""Columns that serve the lake itself."""


Lives = Mapping[tuple[str, str], tuple[datetime, datetime]]
"""Every exchange and symbol of the lake, with the begin of its first and the end of its last day of candles."""


class NotStoredError(LakeError):
    """The lake has nothing of what was asked for; the message says what it has."""


class Known(NamedTuple):
    """As when the candles are wanted: microseconds, and whether imported ones count as known when they ended."""

    micros: int
    assume_live: bool


class Span(NamedTuple):
    start: datetime | None
    end: datetime | None
    """Exclusive."""


@dataclass(frozen=True)
class Part:
    """Which rows of a table are wanted, in which order."""

    table: Table
    symbol: str | None
    values: Mapping[str, str]
    """What other columns must be."""
    span: Span
    times: tuple[str, ...]
    """The columns that place a row in time, of which the first that is not null does."""
    order: tuple[str, ...]
    statuses: Sequence[str] = STATUSES
    known: Known | None = None
    is_steady: bool = True
    """Rows come all the time: where a range has none, it most likely lies beyond what is stored."""

    @property
    def offered(self) -> list[str]:
        """The columns that a reader may ask for."""
        hidden = {*_INTERNAL, *self.table.partitions} - {*self.table.key}
        return [name for name in self.table.column_names if name not in hidden]

    @property
    def subjects(self) -> list[str]:
        """The columns of which one must be the symbol."""
        return [name for name in SUBJECTS if name in self.table.column_names] if self.symbol else []

    @property
    def needs(self) -> set[str]:
        """The columns that are looked at to tell which rows are wanted."""
        of_status = {"status"} if self.is_choosy else set()
        return {*self.subjects, *self.values, *self.times, *of_status}

    @property
    def is_choosy(self) -> bool:
        """Rows of some status are left out."""
        return len(self.statuses) < len(STATUSES)

    @property
    def condition(self) -> pc.Expression:
        """What holds for a wanted row, on the columns that it `needs`."""
        holds = [pc.field(name) == value for name, value in self.values.items()]
        if self.subjects:
            holds.append(reduce(or_, [pc.field(name) == self.symbol for name in self.subjects]))
        if self.times:
            first, *others = map(pc.field, self.times)
            at = pc.coalesce(first, *others) if others else first  # of a column alone a file's statistics tell
            holds += [at >= self.span.start] if self.span.start else []
            holds += [at < self.span.end] if self.span.end else []
        if self.is_choosy:
            holds.append(pc.field("status").isin(self.statuses))
        return reduce(and_, holds, pc.scalar(True))

    def filters(self) -> list[list[Filter]]:
        """The partitions, and the files in them, that may hold such rows; of several lists each names others."""
        fixed = [(name, "IN", value) for name, value in self.values.items() if name in self.table.partitions]
        if self.symbol and self.subjects == [self.table.bucket]:
            fixed.append((self.table.bucket, "IN", self.symbol))
        return [[*fixed, *each] for each in partitions_of(self.table.partitions, self.span)]


def candles(
    symbol: str,
    interval: str,
    span: Span,
    exchange: str,
    statuses: Sequence[str] = STATUSES,
    known: Known | None = None,
) -> Part:
    """Candles of these statuses in time."""
    return Part(
        contracts.tables()["silver.ohlcv_1m" if interval == "1m" else "silver.ohlcv"],
        symbol,
        {"exchange": exchange, "interval": interval},
        span,
        ("interval_start",),
        order=("interval_start",),
        statuses=statuses,
        known=known,
    )


def trades(symbol: str, span: Span, exchange: str) -> Part:
    """Trades in time, those of one moment by their ids."""
    order = ("event_time", "trade_id")
    return Part(contracts.tables()["bronze.trades"], symbol, {"exchange": exchange}, span, ("event_time",), order=order)


def depth(symbol: str, span: Span, exchange: str) -> Part:
    """Snapshots of the book in order, placed where they were received if the exchange gives them no time."""
    times = ("event_time", "received_at")
    return Part(
        contracts.tables()["bronze.depth"], symbol, {"exchange": exchange}, span, times, order=("update_id", "levels")
    )


def partitions_of(partitions: Collection[str], span: Span) -> list[list[Filter]]:
    """The conditions on months, or on days and hours, that the rows of a span lie in; one list where it has no end."""
    if not (span.start and span.end) or not {"month", "date"} & set(partitions):
        return [[]]
    last = span.end - timedelta(microseconds=1)
    days = [span.start.date() + timedelta(days=n) for n in range((last.date() - span.start.date()).days + 1)]
    if "month" in partitions:
        return [[("month", "IN", ",".join(dict.fromkeys(f"{day:%Y-%m}" for day in days)))]]
    if "hour" not in partitions:
        return [[("date", "IN", ",".join(map(str, days)))]]
    hours: dict[str, list[str]] = {}
    """The days by the hours of them that are wanted: of those between the first and the last, all."""
    for day in days:
        first = span.start.hour if day == days[0] else 0
        until = last.hour if day == days[-1] else 23
        hours.setdefault(",".join(f"{hour:02}" for hour in range(first, until + 1)), []).append(str(day))
    return [[("date", "IN", ",".join(those)), ("hour", "IN", of_them)] for of_them, those in hours.items()]


def found(part: Part, names: Sequence[str]) -> pa.Table:
    """The rows in their order. Raises `LakeError`."""
    if gone := expired_of(part):
        raise NotStoredError(gone)
    if part.known:
        rows = _known_rows(part, part.known)
    else:
        rows = _stored(part, {*names, *part.order})
        if part.is_choosy and not rows.num_rows:
            _refuse_worse(part, _stored(replace(part, statuses=STATUSES), ["status"]))
    if not rows.num_rows:
        explain(part)
    return _ordered(rows, part.order).select(names)


def _known_rows(part: Part, known: Known) -> pa.Table:
    """Those of the wanted statuses among the versions of then."""
    stored = _stored(replace(part, statuses=STATUSES), part.table.column_names)
    rows = _as_known(part, known, stored)
    if stored.num_rows and not rows.num_rows:
        raise NotStoredError(
            f"Of {named(part)} nothing was known at {shown(utc.moment_of(known.micros))}: what was imported is known "
            "from its import, or with assume_live=True from the end of its interval."
        )
    kept = rows.filter(pc.field("status").isin(part.statuses))
    if not kept.num_rows:
        _refuse_worse(part, rows)
    return kept


def _refuse_worse(part: Part, rows: pa.Table) -> None:
    """Raises `NotStoredError` where there are rows, of whatever status."""
    if not rows.num_rows:
        return
    counts = {row["values"]: row["counts"] for row in rows["status"].value_counts().to_pylist()}
    worst = max(counts, key=STATUSES.index)
    said = ", ".join(f"{counts[name]} {name}" for name in STATUSES if name in counts)
    raise NotStoredError(
        f"Of {named(part)} there are only candles worse than {part.statuses[-1]!r}: {said}. "
        f"Ask for min_status={worst!r}."
    )


def expired_of(part: Part) -> str:
    """What of the range has expired, and what is still there, in a sentence; empty where nothing has."""
    name, (start, end) = part.table.full_name, part.span
    if name not in TABLES or not (start and end):
        return ""
    return told(name, expired(settings(), open_table).of_table(name), start, end)


def stored(snapshot: Snapshot, part: Part, names: Sequence[str]) -> pa.Table:
    """The rows in their order, of whatever status, as a snapshot has them. Raises `LakeError`."""
    part = replace(part, statuses=STATUSES)
    return _ordered(_read(snapshot, part, {*names, *part.order}), part.order).select(names)


def _stored(part: Part, columns: Collection[str]) -> pa.Table:
    return _read(open_table(part.table, settings()), part, columns)


def _read(snapshot: Snapshot, part: Part, columns: Collection[str]) -> pa.Table:
    wanted = [name for name in part.table.column_names if name in columns]
    found = [snapshot.read(wanted, filters, part.condition, part.needs) for filters in part.filters()]
    return pa.concat_tables(found)


def _as_known(part: Part, known: Known, stored: pa.Table) -> pa.Table:
    """The versions of then of the candles."""
    from crypto_pipeline import as_of
    from crypto_pipeline.lake_sql import Lake

    views = as_of.views(known.micros, assume_live=known.assume_live)
    with Lake(as_of.STORED, views, lambda _table: _Given(stored), exact=True) as lake:
        return lake.query(f"FROM {part.table.full_name}")


@dataclass(frozen=True)
class _Given:
    """A part of a table that has been read, as `lake_sql.Lake` takes it."""

    rows: pa.Table

    def read(self, columns: Sequence[str] | None = None, filters: Sequence[Filter] = ()) -> pa.Table:  # noqa: ARG002
        return self.rows.select(columns or self.rows.column_names)

    def partitions(self) -> list[dict[str, str]]:
        return [{}]


def _ordered(rows: pa.Table, order: Sequence[str]) -> pa.Table:
    """By these columns. Mostly they are in order already, and to see that takes a tenth of sorting them."""
    if _is_in_order(rows, order):
        return rows
    return rows.take(pc.sort_indices(rows, sort_keys=[(name, "ascending") for name in order]))


def _is_in_order(rows: pa.Table, order: Sequence[str]) -> bool:
    """Each row is greater than the one before by these columns, none of which is null."""
    tied = np.ones(max(rows.num_rows - 1, 0), bool)
    """Which rows the columns until now do not tell from the next one."""
    for name in order:
        if not tied.any():
            break
        column = rows[name].combine_chunks()
        if column.null_count:
            return False
        here, following = column.slice(0, len(tied)), column.slice(1)
        if (pc.greater(here, following).to_numpy(zero_copy_only=False) & tied).any():
            return False
        tied &= pc.equal(here, following).to_numpy(zero_copy_only=False)
    return not tied.any()


def explain(part: Part) -> None:
    """Raises `NotStoredError` where there can be no such rows; none are right where just nothing happened."""
    lives = _lives()
    if not lives:
        raise NotStoredError("The lake has no candles yet: the first come about two minutes after ./deploy.sh.")
    exchange = part.values.get("exchange")
    exchanges = {each for each, _ in lives}
    if exchange and exchange not in exchanges:
        raise NotStoredError(f"The lake has no exchange {exchange!r}. It has: {likely(exchange, exchanges)}.")
    symbols = {symbol for each, symbol in lives if exchange in (None, each)}
    if part.symbol and part.symbol not in symbols | _subjects(part):
        raise NotStoredError(f"The lake has no symbol {part.symbol!r}. It has: {likely(part.symbol, symbols)}.")
    if not part.is_steady:
        return
    reach = _reach(part, lives)
    if reach is None:
        raise NotStoredError(f"There is nothing of {part.symbol} in {part.table.full_name} yet.")
    first, last = reach
    if part.span.start and part.span.end and (part.span.end <= first or part.span.start > last):
        raise NotStoredError(
            f"There is nothing of {named(part)}: what is there reaches from {shown(first)} to {shown(last)}."
        )


def _lives() -> Lives:
    columns = ["exchange", "symbol", "interval_start", "interval_end"]
    days = open_table(contracts.tables()["silver.ohlcv"], settings()).read(columns, [("interval", "IN", "1d")])
    ends = days.group_by(columns[:2]).aggregate([("interval_start", "min"), ("interval_end", "max")])
    return {
        (row["exchange"], row["symbol"]): (row["interval_start_min"], row["interval_end_max"])
        for row in ends.to_pylist()
    }


def _subjects(part: Part) -> set[str]:
    """The symbols, or portfolios, of which a table of gold has rows."""
    if part.table.layer != "gold":
        return set()
    rows = open_table(part.table, settings()).read(part.subjects)
    return {value for name in part.subjects for value in rows[name].unique().to_pylist()}


def _reach(part: Part, lives: Lives) -> tuple[datetime, datetime] | None:
    """From when to when there are rows; of tables by the hour, without reading them, from the first to the last hour
    within the days of which there are candles. None where there is no row.
    """
    if "hour" not in part.table.partitions:
        every = _stored(replace(part, span=Span(None, None), statuses=STATUSES), part.times)
        ends = pc.min_max(every[part.times[0]]).as_py()
        return (ends["min"], ends["max"]) if ends["min"] else None
    there = open_table(part.table, settings()).partitions()
    hours = sorted(utc.moment(f"{each['date']}T{each['hour']}:00") for each in there)
    begin, end = lives[part.values["exchange"], str(part.symbol)]
    first, last = max([*hours[:1], begin]), min([*(hour + timedelta(hours=1) for hour in hours[-1:]), end])
    return (first, last) if hours and first < last else None


def named(part: Part) -> str:
    """What it is, in an error."""
    return f"{part.symbol} in {part.table.full_name} from {shown(part.span.start)} to {shown(part.span.end)}"


def shown(at: datetime | None) -> str:
    return at.isoformat().replace("+00:00", "Z") if at else "…"


def likely(wanted: str, names: Iterable[str]) -> str:
    """The names, those most like the wanted one first, as many as stand in an error."""

    def likeness(name: str) -> float:
        return difflib.SequenceMatcher(None, wanted.upper(), name.upper()).ratio()

    ordered = sorted(sorted(names), key=likeness, reverse=True)
    more = f" and {len(ordered) - _MANY} more" if len(ordered) > _MANY else ""
    return ", ".join(ordered[:_MANY]) + more
