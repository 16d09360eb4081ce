"""A trade that comes days late, on the real lake: what Hudi's own commits say was written because of it."""

import json
from collections.abc import Collection, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from crypto_pipeline.reader import WRITTEN_BY, open_table
from crypto_pipeline.silver import indicators, ohlcv, ohlcv_1m
from shared.tables import Table
from tests.system import System

pytestmark = pytest.mark.long
PAIR = "ADAUSDT"
"""One that symbols.yaml does not stream, and that no other test imports."""
DAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=3)
LATE = timedelta(hours=12, minutes=1)
MINUTES = (timedelta(hours=12), LATE, timedelta(hours=12, minutes=2), timedelta(hours=13, minutes=10))
"""In each of them two trades were in time; the late one is between those of the second."""

TABLES = (ohlcv_1m.TABLE, ohlcv.TABLE, indicators.TABLE)


def commits(system: System) -> dict[str, dict[str, int]]:
    """Of each table: how many rows each finished commit wrote, by its name, as its own statistics say."""
    where = system.settings()
    return {table.full_name: {one.requested: one.rows for one in open_table(table, where).writes()} for table in TABLES}


def streamed(system: System, table: Table, of: Collection[str]) -> int:
    """How many rows of other symbols stand in a table since these commits: a minute of theirs may have closed."""
    known = replace(table, columns=(*table.columns, WRITTEN_BY))
    rows = open_table(known, system.settings()).read(["symbol", WRITTEN_BY.name]).to_pylist()
    return sum(row[WRITTEN_BY.name] in of and row["symbol"] != PAIR for row in rows)


@pytest.fixture(scope="module", autouse=True)
def _nothing_else_writes(system: System) -> Iterator[None]:
    """What comes into a table while these tests run is theirs: the pipeline waits."""
    with system.nothing_launched():
        yield


def imported(system: System, folder: Path, ids: dict[timedelta, tuple[int, ...]]) -> None:
    """Import trades of these ids, by the time of day that their minutes begin."""
    lines = [
        f"{i},{100 + i},1.5,{150 + 1.5 * i},{int((DAY + minute).timestamp() * 1e6) + i},true,true\n"
        for minute, numbers in ids.items()
        for i in numbers
    ]
    path = folder / f"{PAIR}-trades-{DAY:%Y-%m-%d}.csv"
    path.write_text("".join(lines))
    done = system.crypto("import", "trades", str(path), "--symbol", PAIR)
    assert done.returncode == 0, done.stdout + done.stderr


class Late(NamedTuple):
    """What one late trade did."""

    written: dict[str, int]
    """How many rows each table of silver was written for its sake."""
    came: datetime
    """It came after this."""


@pytest.fixture(scope="module")
def late(system: System, tmp_path_factory: pytest.TempPathFactory) -> Late:
    numbers = {minute: (10 * n, 10 * n + 2) for n, minute in enumerate(MINUTES, start=1)}
    imported(system, tmp_path_factory.mktemp("in_time"), numbers)
    before, now = commits(system), datetime.now(UTC)
    imported(system, tmp_path_factory.mktemp("late"), {LATE: (21,)})
    after = commits(system)
    written = {}
    for table in TABLES:
        new = {one: rows for one, rows in after[table.full_name].items() if one not in before[table.full_name]}
        written[table.full_name] = sum(new.values()) - streamed(system, table, new)
    return Late(written, now)


def test_its_minute_and_the_five_candles_above_are_written_and_no_other(system: System, late: Late) -> None:
    assert (late.written["silver.ohlcv_1m"], late.written["silver.ohlcv"]) == (1, 5)
    found = system.query(
        f"select interval, trade_count from silver.fact_ohlcv where symbol = '{PAIR}' and revision = 2 order by 1"
    )
    assert {row["interval"]: row["trade_count"] for row in found} == {
        "1m": 3,
        "5m": 7,
        "15m": 7,
        "1h": 7,
        **dict.fromkeys(("4h", "1d"), 9),
    }


def test_the_indicators_from_there_on_are_written_and_no_other(system: System, late: Late) -> None:
    sql = f"""select count(*) as n from silver.indicators
              join silver.fact_ohlcv c using (exchange, symbol, interval, interval_start)
              where symbol = '{PAIR}' and c.interval_end > timestamptz '{(DAY + LATE).isoformat()}'"""
    assert late.written["silver.indicators"] == system.query(sql)[0]["n"] > len(MINUTES)


@pytest.mark.parametrize("engine", ["duckdb", "spark"])
def test_as_of_a_time_before_it_nobody_knew_of_it(system: System, late: Late, engine: str) -> None:
    minute = f"interval_start = timestamp '{DAY + LATE:%Y-%m-%d %H:%M:%S}'"
    sql = (
        f"select trade_count, revision from silver.fact_ohlcv where symbol = '{PAIR}' and interval = '1m' and {minute}"
    )

    def known(moment: datetime) -> list[dict[str, int]]:
        as_of = ("--as-of", moment.isoformat())
        done = system.crypto("query", sql, *as_of, "--engine", engine, "--format", "json")
        assert done.returncode == 0, done.stderr
        rows: list[dict[str, int]] = json.loads(done.stdout)
        return rows

    assert known(late.came) == [{"trade_count": 2, "revision": 1}]
    assert known(datetime.now(UTC)) == [{"trade_count": 3, "revision": 2}]
