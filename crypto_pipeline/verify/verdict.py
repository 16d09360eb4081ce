"""A range of days, looked at one after the other, and what was found."""

# ruff: noqa: S608 (the SQL is put together of names and numbers of our own)

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import partial
from itertools import groupby
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crypto_pipeline.bronze import agg_trades, connections, depth, expired, gaps, klines, quarantine, tickers, trades
from crypto_pipeline.catalog import table_modules
from crypto_pipeline.catalog import tables as contracts
from crypto_pipeline.expired import Expired
from crypto_pipeline.lakehouse import Lakehouse
from crypto_pipeline.reader import Filter, NotThereYetError
from crypto_pipeline.refresh import MARKS
from crypto_pipeline.silver import completeness, ohlcv, ohlcv_1m, quiet_intervals
from crypto_pipeline.verify import candles, rebuilt
from crypto_pipeline.verify.candles import ASSETS, DAY, IN_DAY, KEY, MINUTE, SAYS
from crypto_pipeline.verify.promises import CHECKS
from crypto_pipeline.verify.workbench import Tables, Workbench
from shared.tables import OFFSETS, Table

EXAMPLES = 5
"""Offenders that are kept of each check."""
COMPLETENESS = completeness.TABLE.full_name
_BY_HOUR = (trades.TABLE, agg_trades.TABLE, tickers.TABLE, depth.TABLE)
_BY_MONTH = (klines.TABLE, ohlcv_1m.TABLE, ohlcv.TABLE, completeness.TABLE)
"""With those by the hour, what may have something of a day: days without anything are passed over."""
_SETTLING = 2 * MINUTE
"""Between what a pass followed last and the time at which it judges; what is younger is not judged."""
_TRADES = (
    *("exchange", "symbol", *ASSETS, "event_time", "source", "connection_id", "trade_id", "price", "quantity"),
    *("quote_quantity", "is_buyer_maker", "date", "hour"),
)
_MERGED = (
    *("exchange", "symbol", *ASSETS, "event_time", "source", "first_trade_id", "last_trade_id", "price", "quantity"),
    *("quote_quantity", "is_buyer_maker"),
)
_KLINES = ("exchange", "symbol", "interval", "open_time", "source", "is_closed", "ordering", *SAYS)
_CANDLES = (
    *("exchange", "symbol", "interval", "interval_start", *candles.CANDLE, "month", "revision", "known_at"),
    "superseded",
)
_COMPLETENESS = ("exchange", "symbol", "interval_start", "status", "reason")
_GAPS = (
    *("exchange", "symbol", "event_time", "gap_stream", "first_missing", "last_missing", "status", "cause", "detail"),
    "updated_at",
)
_CONNECTIONS = ("exchange", "connection_id", "opened_at", "closed_at", "reason")


_RUNS = """
create or replace table runs (exchange varchar, symbol varchar, first_id bigint, last_id bigint, first_time bigint,
                              last_time bigint, first_connection varchar, last_connection varchar);
create or replace table seen (symbol varchar);
create or replace table refused as
select distinct r ->> '$.exchange' as exchange, r ->> '$.symbol' as symbol, (r ->> '$.trade_id')::bigint as trade_id
from (select row::json as r from quarantine)"""
_RUNS_OF_DAY = f"""
insert into runs
select exchange, symbol, min(trade_id), max(trade_id), arg_min(event_time, trade_id), arg_max(event_time, trade_id),
       arg_min(if(source = 'websocket', connection_id, ''), trade_id),
       arg_max(if(source = 'websocket', connection_id, ''), trade_id)
from (select *, trade_id - dense_rank() over (partition by exchange, symbol order by trade_id) as run from trades)
group by exchange, symbol, run;
insert into seen select distinct symbol from (
    select symbol from trades union all select symbol from candles where interval_start {IN_DAY}
    union all select symbol from klines where open_time {IN_DAY})"""
"""Ids that follow each other without a hole; of trades by REST or from an archive the connection does not count."""
_MOVING_OF_DAY = f"""
select count(*) from (select {KEY} from expected union
                      select exchange, symbol, interval_start from candles where interval_start {IN_DAY}) minutes
where minute >= getvariable('horizon') or exists (from moving m where (m.exchange, m.symbol, m.minute) =
                                                  (minutes.exchange, minutes.symbol, minutes.minute))"""
_SETTLED_HOLES = "status = 'repaired' and exchange <> 'kafka' and updated_at < getvariable('horizon')"
_REPAIRED = f"""
create or replace table repaired as
with extents as (
    select exchange, symbol, min(first_id) as low, max(last_id) as high from runs group by exchange, symbol
)
select g.*, last_missing - first_missing + 1 as expected, (
    select coalesce(sum(least(r.last_id, g.last_missing) - greatest(r.first_id, g.first_missing) + 1), 0)::bigint
    from runs r where r.exchange = g.exchange and r.symbol = g.symbol
    and r.first_id <= g.last_missing and r.last_id >= g.first_missing
) + (
    select count(*) from refused q where q.exchange = g.exchange and q.symbol = g.symbol
    and q.trade_id between g.first_missing and g.last_missing
) as found
from gaps g join extents using (exchange, symbol)
where gap_stream = 'trade' and {_SETTLED_HOLES} and event_time between getvariable('start') and getvariable('stop') - 1
and last_missing >= first_missing and first_missing >= low and last_missing <= high"""
"""Holes that lie between trades that were read."""
_REPAIRED_KLINES = f"""
create or replace table repaired_klines as
select exchange, symbol, minute from (
    select exchange, symbol, unnest(generate_series(first_missing, last_missing, {MINUTE})) as minute
    from gaps where gap_stream = 'kline_1m' and {_SETTLED_HOLES})
where minute between getvariable('month') and getvariable('month_end') - 1 and minute < getvariable('horizon')"""


class VerifyError(Exception):
    """There is nothing to look at, or not that; the message says what there is."""


@dataclass
class Found:
    """What a check has found."""

    promise: int
    sentence: str
    unit: str
    looked_at: int | None = 0
    """None where it could not be looked."""
    offenders: int = 0
    examples: list[dict[str, Any]] = field(default_factory=list)
    """The first ones: `exchange`, `symbol`, `at` (UTC; none where it is of no time), `says`."""
    why_not: str = ""
    """Why it could not be looked."""

    def add(self, looked_at: int, offenders: Sequence[dict[str, Any]], count: int) -> None:
        """Count more."""
        self.looked_at = (self.looked_at or 0) + looked_at
        self.offenders += count
        self.examples += offenders[: EXAMPLES - len(self.examples)]


@dataclass
class Verdict:
    """What was looked at, and what was found."""

    start: date
    end: date
    """The last day."""
    symbols: tuple[str, ...]
    """Empty: all."""
    as_of: datetime
    """Up to when silver has followed bronze."""
    moving: int
    """Minutes for which bronze got something since, or that had just ended: they were not judged."""
    found: list[Found]

    @property
    def broken(self) -> list[int]:
        """The promises of which an offender was found."""
        return sorted({one.promise for one in self.found if one.offenders})


@dataclass(frozen=True)
class Followed:
    """How far a table of silver has followed its sources, by its marks."""

    table: Table
    marks: dict[str, str]

    @classmethod
    def by(cls, tables: Tables, table: Table) -> "Followed":
        """As its latest commit with marks says."""
        notes = tables.notes(table, MARKS)
        return cls(table, json.loads(notes.values[MARKS]) if notes else {})

    @property
    def until(self) -> int:
        """Microseconds: when the last commit was done that it has followed; 0 where it was never made."""
        mark = max(self.marks.values(), default="0")
        return 0 if mark == "0" else _micros(datetime.strptime(f"{mark}000", "%Y%m%d%H%M%S%f").replace(tzinfo=UTC))

    @property
    def horizon(self) -> int:
        """Microseconds: what ends by then was judged as over."""
        return max((self.until - _SETTLING) // MINUTE * MINUTE, 0)


def verify(
    tables: Tables,
    lake: Lakehouse | None,
    start: date | None = None,
    end: date | None = None,
    symbols: Sequence[str] = (),
    progress: Callable[[str, float], None] = lambda _line, _done: None,
) -> Verdict:
    """Look at the days `start` to `end`, all there are where that is not said. Raises `VerifyError`.

    Without a `lake`, in which Spark makes tables again, that part is left out, and the verdict says so. `progress` is
    told what is done now, and how much of the whole is done.
    """
    of_table = {table.full_name: _days_by_partition(tables, table) for table in _BY_HOUR}
    days = sorted(set().union(*of_table.values(), *(_days_by_rows(tables, table) for table in _BY_MONTH)))
    if not days:
        raise VerifyError("There is nothing yet: the first candles are there about two minutes after ./deploy.sh.")
    first, last = days[0], days[-1]
    span = max(start or first, first), min(end or last, last)
    days = [day for day in days if span[0] <= day <= span[1]]
    if not days:
        raise VerifyError(f"There is nothing from {start or first} to {end or last}: there is {first} to {last}.")
    share = 0.5 if lake else 1.0
    record = _expired(tables)
    with Workbench(tables, symbols) as bench:
        look = _Look(bench, tables, span, days, tuple(symbols), lambda line, done: progress(line, done * share))
        verdict = look.all()
    verdict.found += _made_again(
        lake, days, of_table, symbols, record, lambda line, done: progress(line, share + done * (1 - share))
    )
    return verdict


def _made_again(
    lake: Lakehouse | None,
    days: Sequence[date],
    of_table: Mapping[str, Collection[date]],
    symbols: Sequence[str],
    record: Expired,
    progress: Callable[[str, float], None],
) -> list[Found]:
    """Every other table of silver, made again by its own code; not before what it rests on has expired."""
    now = datetime.now(UTC)
    modules = rebuilt.modules()
    every = []
    for number, module in enumerate(modules):
        name = module.TABLE.full_name
        found = Found(10, f"{name} equals what its sources give today", "rows")
        every.append(found)
        if lake is None:
            found.looked_at, found.why_not = None, "Spark was not asked"
            continue
        parts = rebuilt.parts(module, days, now, of_table)
        if since := record.since(source.full_name for source in module.SOURCES):
            parts = [late for hours in parts if (late := [hour for hour in hours if hour >= since])]
            what = f"before {since:%Y-%m-%d %H:%M} what it is made from has expired by config/retention.yaml"
            if not parts:
                found.looked_at, found.why_not = None, what
                continue
            found.sentence += f"; {what}, and nothing is looked at"
        for part, hours in enumerate(parts):
            of_hours = f" of {hours[0]:%Y-%m-%d}" if hours else ""
            progress(f"{name}{of_hours}, made again", (number + part / len(parts)) / len(modules))
            done = rebuilt.compared(lake, module, hours, symbols, partial(datetime.now, UTC), EXAMPLES)
            found.add(done.rows, done.examples, done.differing)
    return every


def _expired(tables: Tables) -> Expired:
    try:
        names = ["what", "exchange", "symbol", "day"]
        batches = tables.opened(expired.TABLE).batches(names)
        rows = (row for batch in batches for row in batch.select(names).to_pylist())
        return Expired.of((row["what"], row["exchange"], row["symbol"], row["day"]) for row in rows)
    except NotThereYetError:  # the lake was made before it was known
        return Expired()


def _days_by_partition(tables: Tables, table: Table) -> set[date]:
    """The days that a table which lies by day has a partition of."""
    return {date.fromisoformat(one["date"]) for one in tables.opened(table).partitions()}


def _days_by_rows(tables: Tables, table: Table) -> set[date]:
    """The days that a table which lies by month has a row of."""
    times = (batch.column(0) for batch in tables.opened(table).batches([str(table.time)]))
    return {day for time in times for day in pc.unique(pc.cast(time, pa.date32(), safe=False)).to_pylist()}


class _Look:
    """One look at a range."""

    def __init__(
        self,
        bench: Workbench,
        tables: Tables,
        span: tuple[date, date],
        days: Sequence[date],
        symbols: tuple[str, ...],
        progress: Callable[[str, float], None],
    ) -> None:
        self._bench, self._tables, self._symbols, self._progress = bench, tables, symbols, progress
        (self._start, self._end), self._days = span, days
        self._found = {check: Found(check.promise, check.sentence, check.unit) for check in CHECKS}
        self._contracts = contracts()
        self._moving = 0
        self._until = 0

    def all(self) -> Verdict:
        """Every day, and then the whole."""
        bench = self._bench
        bench.say(start=_day(self._start), stop=_day(self._end) + DAY)
        # First: a hole that is repaired by now has its trades in what is read later.
        bench.bring("gaps", gaps.TABLE, _GAPS)
        bench.bring("connections", connections.TABLE, _CONNECTIONS)
        bench.bring("quarantine", quarantine.TABLE, ("table_name", "row"), where="table_name = 'bronze.trades'")
        bench.run(_RUNS)
        done = 0
        for _, days in groupby(self._days, key=lambda day: (day.year, day.month)):
            of_month = list(days)
            self._progress(f"{of_month[0]:%Y-%m}: candles and klines", done / len(self._days))
            followed = self._bring_month(of_month)
            for day in of_month:
                self._progress(f"{day}: trades", done / len(self._days))
                self._look_at(day, followed)
                done += 1
            self._ask("month")
        self._progress("the whole range", 1.0)
        bench.run(_REPAIRED)
        self._about_tables()
        self._ask("range")
        self._check_symbols()
        as_of = datetime.fromtimestamp(self._until / 1_000_000, UTC)
        return Verdict(self._start, self._end, self._symbols, as_of, self._moving, list(self._found.values()))

    def _bring_month(self, days: Sequence[date]) -> dict[str, Followed]:
        """What rests on something is brought before it: so all that it knew of is there, and perhaps more."""
        bench, tables = self._bench, self._tables
        here: list[Filter] = [("month", "=", f"{days[0]:%Y-%m}")]
        around = sorted({f"{day:%Y-%m}" for day in (days[0] - timedelta(days=1), *days, days[-1] + timedelta(days=1))})
        followed = {}
        for table in (self._contracts[COMPLETENESS], ohlcv.TABLE, quiet_intervals.TABLE, ohlcv_1m.TABLE):
            followed[table.full_name] = Followed.by(tables, table)
            if table is ohlcv_1m.TABLE:
                bench.bring("candles", table, _CANDLES, [("month", "IN", ",".join(around))])
            elif table is ohlcv.TABLE:
                bench.bring("longer", table, _CANDLES, here)
            elif table is quiet_intervals.TABLE:
                bench.bring("quiet_minutes", table, table.key, [("interval", "=", "1m"), *here])
            else:
                bench.bring("completeness", table, _COMPLETENESS, here)
        bench.bring("klines", klines.TABLE, _KLINES, here, "is_closed and interval = '1m'")
        mine = followed[ohlcv_1m.TABLE.full_name]
        self._until = mine.until
        months = {one["month"] for one in tables.opened(ohlcv_1m.TABLE).partitions()}
        bench.say(
            as_of=mine.until,
            horizon=mine.horizon,
            longer_horizon=followed[ohlcv.TABLE.full_name].horizon,
            completeness_horizon=followed[COMPLETENESS].horizon,
            has_earlier=int(min(months, default=around[0]) < around[0]),
            has_later=int(max(months, default=around[-1]) > around[-1]),
            month=_day(days[0]),
            month_end=_day(days[-1]) + DAY,
        )
        bench.run(_REPAIRED_KLINES)
        return followed

    def _look_at(self, day: date, followed: dict[str, Followed]) -> None:
        bench = self._bench
        bench.say(day=_day(day), day_end=_day(day) + DAY)
        of_day: list[Filter] = [("date", "=", day.isoformat())]
        bench.bring("trades", trades.TABLE, _TRADES, of_day)
        bench.bring("merged", agg_trades.TABLE, _MERGED, of_day)
        bench.bring("tickers", tickers.TABLE, tickers.TABLE.key, of_day)
        bench.bring("snapshots", depth.TABLE, (*depth.TABLE.key, "event_time", "received_at"), of_day)
        self._note_unfollowed(followed)
        bench.run(_RUNS_OF_DAY)
        candles.make(bench)
        candles.make_completeness(bench)
        self._moving += bench.value(_MOVING_OF_DAY)
        self._ask("day")

    def _note_unfollowed(self, followed: dict[str, Followed]) -> None:
        """Which commits each table of silver has not followed: of all that was read, so after it was read."""
        self._bench.run("create or replace table unfollowed (follower varchar, source varchar, written_by varchar)")
        for name, place in followed.items():
            for source, mark in place.marks.items():
                for commit in self._tables.done_after(self._contracts[source], mark):
                    self._bench.run(f"insert into unfollowed values ('{name}', '{source}', '{commit}')")

    def _about_tables(self) -> None:
        """What the commits and files of the tables say: `bronze` and `log_files`."""
        self._bench.run("create or replace table bronze (name varchar, has_rows boolean, has_offsets boolean)")
        self._bench.run("create or replace table log_files (name varchar, files bigint, most bigint)")
        for name, module in table_modules().items():
            if not hasattr(module, "TABLE"):
                continue
            files = self._tables.opened(module.TABLE).log_files()
            self._bench.run(f"insert into log_files values ('{name}', {len(files)}, {max(files, default=0)})")
            if hasattr(module, "EVENT"):
                has_offsets = self._tables.notes(module.TABLE, OFFSETS) is not None
                self._bench.run(f"insert into bronze values ('{name}', {bool(files)}, {has_offsets})")

    def _ask(self, each: str) -> None:
        for check, found in self._found.items():
            if check.each != each:
                continue
            looked_at = self._bench.value(check.looked_at)
            shown = self._bench.rows(
                f"select *, count(*) over () as all_of_them from ({check.offenders}) order by moment, symbol, says "
                f"limit {EXAMPLES}"
            )
            count = shown[0]["all_of_them"] if shown else 0
            found.add(looked_at, [_example(row) for row in shown], count)

    def _check_symbols(self) -> None:
        seen = {one["symbol"] for one in self._bench.rows("select distinct symbol from seen")}
        unseen = [symbol for symbol in self._symbols if symbol not in seen]
        if unseen:
            every = sorted(
                {
                    symbol
                    for batch in self._tables.opened(ohlcv_1m.TABLE).batches(["symbol"])
                    for symbol in batch.column(0).unique().to_pylist()
                }
            )
            raise VerifyError(
                f"There is nothing of {', '.join(unseen)} from {self._start} to {self._end}; the lake has "
                f"{', '.join(every)}."
            )


def _example(row: dict[str, Any]) -> dict[str, Any]:
    at = datetime.fromtimestamp(row["moment"] / 1_000_000, UTC) if row["moment"] else None
    return {"exchange": row["exchange"], "symbol": row["symbol"], "at": at, "says": row["says"]}


def _day(day: date) -> int:
    return _micros(datetime(day.year, day.month, day.day, tzinfo=UTC))


def _micros(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
