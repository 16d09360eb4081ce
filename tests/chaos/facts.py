"""What happened and what the lake says of it, side by side in one DuckDB session, so that a verdict is a query."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from crypto_pipeline.catalog import tables
from crypto_pipeline.lake_sql import Lake
from crypto_pipeline.reader import open_table
from tests.system import System

MINUTE = 60_000_000
"""All times here are microseconds."""
LAKE = (
    *("bronze.trades", "bronze.klines", "bronze.depth", "bronze.tickers", "bronze.agg_trades", "bronze.gaps"),
    *("bronze.dead_letters", "silver.ohlcv_1m"),
)
OFFENDERS_SHOWN = 8
DONE_SHOWN = 4
NEAR = 90_000_000
"""How far around an offender something that was done is named in the report."""
SENT = pa.schema([("symbol", pa.string()), ("stream", pa.string()), ("first", pa.int64()), ("last", pa.int64())])
JUDGED = pa.schema([("symbol", pa.string()), ("first_id", pa.int64()), ("since", pa.int64()), ("until", pa.int64())])
DONE = pa.schema(
    [
        ("kind", pa.string()),
        ("symbol", pa.string()),
        ("start", pa.int64()),
        ("stop", pa.int64()),
        ("is_outage", pa.bool_()),
        ("was_felt", pa.bool_()),
    ]
)


@dataclass(frozen=True)
class Disturbance:
    """Something that was done on purpose: a fault of the exchange, or a kill."""

    kind: str
    start: int
    stop: int
    symbols: tuple[str, ...] = ()
    """Empty where it concerns all, or none in particular."""
    is_outage: bool = False
    """It must be noticed that nothing at all came."""
    was_felt: bool = True
    """A connection was there to feel it."""
    detail: str = ""

    def __str__(self) -> str:
        lasted = f" for {(self.stop - self.start) / 1e6:.1f} s" if self.stop > self.start else ""
        return f"{self.kind} at {clock(self.start)}{lasted} {self.detail}"


class Facts:
    """Tables of the lake by their bare names, times in microseconds (`trades`, `gaps`, `ohlcv_1m`, …); what the
    simulator made (`made_trades`, `made_klines`) and sent (`sent`); what was done (`done`, a row for each symbol); and
    what is judged (`judged`: from which trade id on, and the minutes `[since, until)`).
    """

    def __init__(self, given: Mapping[str, pa.Table], done: Sequence[Disturbance]) -> None:
        self._done = sorted(done, key=lambda one: one.start)
        self._session = duckdb.connect()
        self._session.execute("set TimeZone = 'UTC'; set enable_progress_bar = false")
        symbols = given["judged"]["symbol"].to_pylist()
        rows = [
            (one.kind, name, one.start, one.stop, one.is_outage, one.was_felt)
            for one in self._done
            for name in one.symbols or symbols
        ]
        for name, table in {**given, "done": table_of(DONE, rows)}.items():
            self._session.register("given", table)
            self._session.execute(f"create table {name} as from given")
            self._session.unregister("given")

    def define(self, name: str, sql: str) -> None:
        """A table that several verdicts rest on."""
        self._session.execute(f"create table {name} as {sql}")

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """The answer of a query."""
        answer = self._session.sql(sql)
        return [dict(zip(answer.columns, row, strict=True)) for row in answer.fetchall()]

    def report(self, offenders: Sequence[Mapping[str, Any]]) -> str:
        """The first offenders, rows with `symbol` and `moment`, each with what was done near it."""
        lines = [f"{len(offenders)} found"]
        for row in offenders[:OFFENDERS_SHOWN]:
            at = row["moment"]
            what = {name: value for name, value in row.items() if name not in ("symbol", "moment")}
            lines.append(f"  {row['symbol']} {clock(at)} {json.dumps(what, default=str)}")
            lines += [f"    near it: {one}" for one in self._near(row["symbol"], at)]
        return "\n".join(lines)

    def _near(self, symbol: str, at: int) -> list[Disturbance]:
        """What was done nearest in time to a symbol."""
        distances = [
            (max(one.start - at, at - one.stop, 0), number)
            for number, one in enumerate(self._done)
            if not one.symbols or symbol in one.symbols
        ]
        return [self._done[number] for distance, number in sorted(distances)[:DONE_SHOWN] if distance < NEAR]


def clock(at: int) -> str:
    """A time of day in UTC."""
    return datetime.fromtimestamp(at / 1_000_000, UTC).strftime("%H:%M:%S.%f")[:-3]


def table_of(schema: pa.Schema, rows: Sequence[Sequence[Any]]) -> pa.Table:
    """Rows as an Arrow table."""
    columns = zip(*rows, strict=True) if rows else [() for _ in schema]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.table(arrays, schema=schema)


def gathered(
    system: System,
    symbols: Sequence[str],
    done: Sequence[Disturbance],
    until: int,
    sent_before: Sequence[tuple[str, str, int, int]] = (),
) -> Facts:
    """The facts of a system; what happened before `until`, a whole minute, is judged.

    `sent_before` is what the simulator sent and does not know any more, as it was killed.
    """
    sent = [*sent_before, *sent_so_far(system, symbols)]
    judged = []
    trades: list[pa.Table] = []
    klines: list[pa.Table] = []
    for symbol in symbols:
        first_id = min(first for name, stream, first, _ in sent if (name, stream) == (symbol, "trade"))
        mine = _made_trades(system, symbol, first_id, until)
        trades += mine
        began = mine[0]["time"][0].as_py()
        # The minute in which it began is no whole one.
        judged.append((symbol, first_id, (began // MINUTE + 1) * MINUTE, until))
        span = f"startTime={began // MINUTE * MINUTE}&endTime={until - MINUTE}"
        klines.append(_truth_table(symbol, system.simulator(f"/truth/klines?symbol={symbol}&{span}")))
    return Facts(
        {
            **_lake(system),
            "made_trades": pa.concat_tables(trades),
            "made_klines": pa.concat_tables(klines),
            "sent": table_of(SENT, sent),
            "judged": table_of(JUDGED, judged),
        },
        done,
    )


def sent_so_far(system: System, symbols: Sequence[str]) -> list[tuple[str, str, int, int]]:
    """What the simulator says that it sent, as rows of `sent`."""
    found = []
    for symbol in symbols:
        ranges = system.simulator(f"/truth/sent?symbol={symbol}")
        found += [(symbol, stream, *both) for stream in ("trade", "kline_1m") for both in ranges[stream]]
    return found


def _lake(system: System) -> dict[str, pa.Table]:
    settings = system.settings()
    contracts = {name: table for name, table in tables().items() if name in LAKE}
    found = {}
    with Lake(contracts, {}, lambda table: open_table(table, settings), exact=True) as lake:
        for name, contract in contracts.items():
            times = [column.name for column in contract.columns if column.type == "timestamp"]
            replaced = ", ".join(f"epoch_us({column}) as {column}" for column in times)
            found[contract.name] = lake.query(f"select * replace ({replaced}) from {name}")
    return found


def _made_trades(system: System, symbol: str, first_id: int, until: int) -> list[pa.Table]:
    """What was made from an id on until a time, in parts of what one answer holds."""
    parts: list[pa.Table] = []
    while True:
        answer = system.simulator(f"/truth/trades?symbol={symbol}&fromId={first_id}")
        rows = _truth_table(symbol, answer)
        early = rows.filter(pc.less(rows["time"], until))
        parts.append(early)
        if early.num_rows < rows.num_rows or not rows.num_rows:
            return parts
        first_id = early["trade_id"][-1].as_py() + 1


def _truth_table(symbol: str, answer: Mapping[str, Any]) -> pa.Table:
    """Rows of a truth table; texts of numbers become exact decimals."""
    columns = {"symbol": pa.array([symbol] * len(answer["rows"]), pa.string())}
    for number, name in enumerate(answer["columns"]):
        values = pa.array([row[number] for row in answer["rows"]])
        columns[name] = values.cast(pa.decimal128(38, 18)) if pa.types.is_string(values.type) else values
    return pa.table(columns)
