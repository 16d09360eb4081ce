"""Tables of silver made again by their own code, beside what is stored.

Rows that the table's next run will make anyway are passed over: of these silver has not followed its sources yet.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from types import ModuleType
from typing import Any

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.catalog import derived
from crypto_pipeline.frames import added
from crypto_pipeline.lakehouse import BEGINNING, Lakehouse, lies_by_time, of_hours
from crypto_pipeline.refresh import MARKS, built, recent, rows_of, steps
from crypto_pipeline.silver import ohlcv, ohlcv_1m
from crypto_pipeline.silver.candles import BOOKKEEPING
from shared.tables import Table

PRECISION = 1e-8
"""How far floats may lie apart, of their size or of the row's `close`: a series may begin elsewhere, and each of two
such is promised to 1e-9."""
_IN_SQL = (ohlcv_1m.TABLE, ohlcv.TABLE)
"""`candles.py` makes these."""

_TIMES = 4
"""A table is compared so often at most: a run of the minute that always comes between does not keep it for ever."""


@dataclass
class Compared:
    """How many rows were made again, how many of them are stored otherwise or not at all, and the first of these."""

    rows: int = 0
    differing: int = 0
    examples: list[dict[str, Any]] = field(default_factory=list)


def modules() -> list[ModuleType]:
    """The tables of silver that are made again by their own code."""
    return [module for module in derived("silver") if module.TABLE not in _IN_SQL]


def parts(
    module: ModuleType, days: Sequence[date], now: datetime, of_table: Mapping[str, Collection[date]]
) -> list[Sequence[datetime]]:
    """The hours of the days in the parts in which they are compared; one without hours where the table has no time.

    `of_table`: the days that each table which lies by the hour has something of.
    """
    if not lies_by_time(module.TABLE):
        return [()]
    busy = {day for source in module.SOURCES for day in of_table.get(source.full_name, ())}
    one = timedelta(days=1)
    firsts = [day for day in days if day - one not in days]
    lasts = [day for day in days if day + one not in days]
    return [
        hours
        for first, last in zip(firsts, lasts, strict=True)
        for hours in steps(module, _midnight(first), min(_midnight(last + one), now), busy)
    ]


def compared(
    lake: Lakehouse,
    module: ModuleType,
    hours: Sequence[datetime],
    symbols: Collection[str],
    clock: Callable[[], datetime],
    limit: int,
    *,
    also_due: bool = False,
) -> Compared:
    """The table's rows of some hours beside those that its sources give today; `limit` examples at most.

    With `also_due` a row differs also where the table's next run makes it.

    What a row says may depend on the time: it is made as of no earlier than the stored one was. Where a run of the
    table came between, what it has mended is not judged by how it was before: all is compared again.
    """
    for _ in range(_TIMES):
        note = lake.note(module.TABLE, MARKS)  # before the rows: what is followed meanwhile counts as still to come
        found = _compared(lake, module, hours, symbols, clock, limit, note, also_due=also_due)
        if not found.differing or lake.note(module.TABLE, MARKS) == note:
            break
    return found


def _compared(
    lake: Lakehouse,
    module: ModuleType,
    hours: Sequence[datetime],
    symbols: Collection[str],
    clock: Callable[[], datetime],
    limit: int,
    note: str | None,
    *,
    also_due: bool,
) -> Compared:
    table: Table = module.TABLE

    def of_symbols(rows: DataFrame) -> DataFrame:
        is_of_one = symbols and "symbol" in rows.columns
        return rows.filter(F.col("symbol").isin(*symbols)) if is_of_one else rows

    def mine(rows: DataFrame) -> DataFrame:
        return of_symbols(rows.filter(of_hours(table, hours)) if hours else rows)

    sources = rows_of(lake, module.SOURCES, hours) if hours else {s.full_name: lake.read(s) for s in module.SOURCES}
    changes = {name: of_symbols(rows) for name, rows in sources.items()}
    until = max(hours) + timedelta(hours=1) if hours else None
    with (
        lake.pinned(mine(lake.read(table, hours) if hours else lake.read(table)), at_once=True) as stored,
        built(lake, module, changes, hours, clock(), until=until, anew=True) as made,
    ):
        if made is None:
            return Compared()
        rows = mine(made.rows)
        count = int(rows.count())
        both = beside(rows, stored, module)
        # What no source of these hours asks for rests on others.
        is_asked = set(table.key) <= set(made.keys.columns)
        asked = made.keys.select(*table.key) if is_asked else stored.select(*table.key).limit(0)
        gone = both.filter("not is_made").join(asked, on=list(table.key), how="left_semi")
        unlike = both.filter("is_made").unionByName(gone.select(both.columns)).filter("differences <> ''")
        with lake.pinned(unlike, at_once=True) as found:
            if not found.limit(1).count():
                return Compared(count)
            if also_due:
                return _counted(table, found, count, limit)
            return _still(lake, module, found, note, clock(), count, limit)


def _still(
    lake: Lakehouse, module: ModuleType, found: DataFrame, note: str | None, now: datetime, count: int, limit: int
) -> Compared:
    """What the next run of the table does not make either."""
    table: Table = module.TABLE
    since: dict[str, str] = json.loads(note) if note else {}
    new = {s.full_name: lake.changes(s, since.get(s.full_name, BEGINNING)).rows for s in module.SOURCES}
    with built(lake, module, new, recent(since.values(), now), now) as due:
        if due is not None:
            found = found.join(due.rows.select(*table.key), on=list(table.key), how="left_anti")
        return _counted(table, found, count, limit)


def _counted(table: Table, found: DataFrame, count: int, limit: int) -> Compared:
    names = [table.time] if table.time else []
    rows = found.orderBy(*names, *table.key).limit(limit).collect()
    return Compared(count, int(found.count()), [_example(row.asDict(), table) for row in rows])


def beside(made: DataFrame, stored: DataFrame, module: ModuleType) -> DataFrame:
    """The keys of both, whether it `is_made`, and the `differences`: the columns in which they are not equal."""
    table: Table = module.TABLE
    # A module may name columns of its own that say something of the row, not of the market.
    passed_over = {*table.key, *BOOKKEEPING, *getattr(module, "BOOKKEEPING", ())}
    says = [column for column in table.columns if column.name not in passed_over]
    new = made.select(*table.key, F.struct(*[c.name for c in says]).alias("made"))
    old = stored.select(*table.key, F.struct(*[c.name for c in says]).alias("stored"))
    both = new.join(old, on=list(table.key), how="full")
    is_made, is_stored = F.col("made").isNotNull(), F.col("stored").isNotNull()
    close = F.lit(0.0)
    if any(column.name == "close" and column.type == "double" for column in says):
        close = F.coalesce(F.abs("made.close"), F.lit(0.0))
    unlike = [
        F.when(~_same(F.col(f"made.{c.name}"), F.col(f"stored.{c.name}"), c.type, close), F.lit(c.name)) for c in says
    ]
    differences = (
        F.when(~is_stored, F.lit("it is not there"))
        .when(~is_made, F.lit("nothing gives it any more"))
        .otherwise(F.concat_ws(", ", *unlike))
    )
    return added(both.select(*table.key, "made", "stored"), is_made=is_made, differences=differences)


def _same(made: Expression, stored: Expression, kind: str, close: Expression) -> Expression:
    if kind != "double":
        return made.eqNullSafe(stored)
    near = F.abs(made - stored) <= F.lit(PRECISION) * F.greatest(F.abs(made), F.abs(stored), close)
    return made.eqNullSafe(stored) | F.coalesce(near, F.lit(False))


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _example(row: dict[str, Any], table: Table) -> dict[str, Any]:
    at = row[table.time] if table.time else None
    named = [str(row[name]) for name in table.key if name not in ("exchange", "symbol", table.time)]
    says = row["differences"]
    known = says if row["made"] is None or row["stored"] is None else f"another {says}"
    return {
        "exchange": row["exchange"],
        "symbol": row["symbol"],
        "at": at.replace(tzinfo=UTC) if at else None,
        "says": ", ".join([*named, known]),
    }
