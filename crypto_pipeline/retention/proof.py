"""Why something must stay: what was made of it in silver is not complete, or not equal to what would be made of it now.

Of the raw archive: each minute of the symbol's day is complete, repaired, or not expected by `silver.completeness`, and
`crypto verify` finds no fault in the day's candles. Of a table: what is made of it again equals what silver has. Frames
that are about no symbol are made into nothing, and go by their age.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial
from itertools import groupby

import pyarrow as pa
import pyarrow.compute as pc

from crypto_pipeline.expired import DAY, RAW, Expired, midnight
from crypto_pipeline.lakehouse import Lakehouse
from crypto_pipeline.reader import Filter
from crypto_pipeline.retention.decision import Unit
from crypto_pipeline.silver import completeness
from crypto_pipeline.verify import rebuilt, verdict
from crypto_pipeline.verify.workbench import Tables
from streaming.archive import OTHER

_PROVEN = ("complete", "repaired", "not_expected")
_ABOUT_CANDLES = frozenset({1, 2, 3, 4, 5, 6, 7, 10})
"""The promises that a day must keep; the others are of connections, and of how quick reads are."""
_HOUR = timedelta(hours=1)
_MINUTES = 1440
"""Of a day."""


def unproven(tables: Tables, lake: Lakehouse, record: Expired, units: Sequence[Unit]) -> dict[Unit, str]:
    """Which of them must stay, and why."""
    why = raw_unproven(tables, [unit for unit in units if unit.what == RAW and unit.symbol != OTHER])
    for unit in units:
        if unit.what != RAW and (fault := _not_equal(lake, record, unit)):
            why[unit] = fault
    return why


def raw_unproven(tables: Tables, units: Sequence[Unit]) -> dict[Unit, str]:
    """Which of them must stay, and why: they are of the raw archive."""
    why: dict[Unit, str] = {}
    for month, some in groupby(sorted(units, key=lambda unit: unit.day), key=lambda unit: f"{unit.day:%Y-%m}"):
        of_month = list(some)
        counts = statuses(tables, month)
        why |= {unit: said for unit in of_month if (said := incomplete(counts.get(unit[1:], {})))}
    faulty = unequal(tables, sorted({unit.day for unit in units if unit not in why}))
    return why | {unit: faulty[unit.day] for unit in units if unit not in why and unit.day in faulty}


Statuses = dict[tuple[str, str, date], Counter[str]]


def statuses(tables: Tables, month: str) -> Statuses:
    """How many minutes of each exchange, symbol and day of a month are of which status."""
    found: Statuses = {}
    only: Sequence[Filter] = [("month", "=", month)]
    columns = ["exchange", "symbol", "status", "interval_start"]
    for batch in tables.opened(completeness.TABLE).batches(columns, only):
        rows = pa.Table.from_batches([batch])
        rows = rows.append_column("day", pc.cast(rows["interval_start"], pa.date32(), safe=False))
        for row in rows.group_by(["exchange", "symbol", "day", "status"]).aggregate([([], "count_all")]).to_pylist():
            of_day = found.setdefault((row["exchange"], row["symbol"], row["day"]), Counter())
            of_day[row["status"]] += row["count_all"]
    return found


def incomplete(counts: Mapping[str, int]) -> str:
    """Why a day of a symbol is not complete; empty where it is."""
    if not counts:
        return "silver.completeness has no word on it"
    if (known := sum(counts.values())) < _MINUTES:
        return f"silver.completeness knows {known:,} of its {_MINUTES:,} minutes"
    bad = {status: count for status, count in sorted(counts.items()) if status not in _PROVEN}
    return f"of its minutes {', '.join(f'{count:,} are {status}' for status, count in bad.items())}" if bad else ""


def unequal(tables: Tables, days: Iterable[date]) -> dict[date, str]:
    """The days in whose candles `crypto verify` finds a fault, and which. Days that follow each other are looked at
    together, and alone where that finds one.
    """
    found: dict[date, str] = {}
    for run in _runs(days):
        if _fault(tables, run[0], run[-1]):
            found |= {day: fault for day in run if (fault := _fault(tables, day, day))}
    return found


def _fault(tables: Tables, first: date, last: date) -> str:
    try:
        looked = verdict.verify(tables, None, first, last)
    except verdict.VerifyError as error:
        return str(error)
    if looked.moving:
        return f"silver has not followed {looked.moving:,} of its minutes yet"
    for one in looked.found:
        if one.offenders and one.promise in _ABOUT_CANDLES:
            example = one.examples[0] if one.examples else {"symbol": "", "says": ""}
            return f"crypto verify: {one.sentence} does not hold ({example['symbol']}: {example['says']})"
    return ""


def _runs(days: Iterable[date]) -> Iterator[list[date]]:
    run: list[date] = []
    for day in days:
        if run and day - run[-1] > DAY:
            yield run
            run = []
        run.append(day)
    if run:
        yield run


def _not_equal(lake: Lakehouse, record: Expired, unit: Unit) -> str:
    """Why what silver has of a table's day cannot be vouched for; empty where it can.

    Looked at are its hours and the first one of the next day, into which what is last in it holds. Of the day after one
    that has expired the first hour was looked at then, and cannot be made again.
    """
    gone = record.of_table(unit.what)
    first, last = int(unit.day - DAY in gone), 23 if unit.day + DAY in gone else 24
    hours = [midnight(unit.day) + number * _HOUR for number in range(first, last + 1)]
    for module in rebuilt.modules():
        if unit.what in {source.full_name for source in module.SOURCES}:
            found = rebuilt.compared(lake, module, hours, (), partial(datetime.now, UTC), 1, also_due=True)
            if found.differing:
                of = found.examples[0]
                return (
                    f"{found.differing:,} rows of {module.TABLE.full_name} differ from what it gives, first "
                    f"{of['symbol']} at {of['at']:%H:%M}: {of['says']}"
                )
    return ""
