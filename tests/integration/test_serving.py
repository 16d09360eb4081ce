"""PostgreSQL's rows are the lake's on the deployed system: also after late data, and after a run is killed."""

import io
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import psutil
import psycopg
import pytest

from crypto_pipeline.cli._answers import write_json
from serving import reader
from serving.tables import Served, served
from shared.settings import Settings
from tests.system import System, wait_for

ALWAYS_THERE = ("silver.fact_ohlcv", "silver.indicators", "bronze.bronze_ohlcv_native")
WRITTEN_AT = ("ingestion_ts", "ingested_at")
NATIVE = """(select * from bronze.klines where is_closed qualify row_number() over (
    partition by exchange, symbol, interval, open_time
    order by list_position(['archive', 'rest', 'websocket'], source) desc, ordering desc) = 1)"""


def in_postgres(settings: Settings, sql: str) -> list[dict[str, Any]]:
    printed = io.StringIO()
    write_json(reader.query(sql, settings), printed)
    rows: list[dict[str, Any]] = json.loads(printed.getvalue())
    return rows


def differing(system: System, table: Served, before: datetime) -> set[str]:
    """The rows that one of them has and the other has not, of those that were written before a time.

    What is written again meanwhile is in neither: so they become equal as PostgreSQL follows.
    """
    columns = [column.name for column in table.columns if "<" not in column.type]
    written_at = next((name for name in WRITTEN_AT if name in columns), None)
    condition = f"where {written_at} < timestamptz '{before.isoformat()}'" if written_at else ""
    select = f"select {', '.join(columns)} from"
    source = NATIVE if table.shows != table.full_name else table.shows
    lake = system.query(f"{select} {source} {condition}", exact=True)
    ours = in_postgres(system.settings(), f"{select} {table.full_name} {condition}")
    assert lake or table.full_name not in ALWAYS_THERE
    return {json.dumps(row, sort_keys=True) for row in lake} ^ {json.dumps(row, sort_keys=True) for row in ours}


def wait_until_equal(system: System, names: Sequence[str]) -> None:
    before = datetime.now(UTC)
    for name in names:
        wait_for(
            f"{name} has the lake's rows", lambda name=name: not differing(system, served()[name], before), every=5
        )


@pytest.fixture(scope="module", autouse=True)
def _filled(system: System) -> None:
    wait_for(
        "candles in PostgreSQL",
        lambda: in_postgres(system.settings(), "select 1 from silver.fact_ohlcv where is_closed limit 1"),
    )


@pytest.mark.parametrize("name", [name for name in served() if not name.startswith("silver.completeness_")])
def test_the_rows_of_postgresql_become_those_of_the_lake(system: System, name: str) -> None:
    wait_until_equal(system, [name])


@pytest.mark.parametrize(("name", "span"), [("hourly", "hour_start"), ("daily", "day")])
def test_the_hours_and_days_are_those_of_the_lakes_view(system: System, name: str, span: str) -> None:
    counted = f"select exchange, symbol, {span}, minutes, percent_proven, condition from silver.completeness_{name}"
    wait_for(
        "the same counts",
        lambda: sorted(map(str, system.query(counted))) == sorted(map(str, in_postgres(system.settings(), counted))),
        every=5,
    )


def writer_at_work(system: System) -> psutil.Process | None:
    """The process of the run that has written in a transaction that is not committed."""
    asked = (
        "SELECT client_port FROM pg_stat_activity WHERE usename = current_user AND backend_xid IS NOT NULL "
        "AND pid <> pg_backend_pid()"
    )
    with psycopg.connect(system.settings().serving_writer_url, autocommit=True) as connection:
        ports = {port for (port,) in connection.execute(asked)}
    for process, connections in system.asked(psutil.Process.net_connections) if ports else ():
        if any(one.laddr and one.laddr.port in ports for one in connections):
            return process
    return None


@pytest.mark.long
def test_late_data_comes_over_also_when_the_run_that_brings_it_is_killed(system: System) -> None:
    day = (datetime.now(UTC) - timedelta(days=1)).date().isoformat()
    done = system.crypto("backfill", "--kind", "klines", "--symbol", "XRPUSDT", "--from", day, "--to", day)
    assert done.returncode == 0, done.stdout + done.stderr
    late = f"select 1 from silver.ohlcv_1m where symbol = 'XRPUSDT' and interval_start < timestamptz '{day} 23:00Z'"
    wait_for("the candles of the day", lambda: len(system.query(late)) > 1000)
    wait_for("a run that writes", lambda: writer_at_work(system), every=0.02).kill()
    wait_until_equal(system, ALWAYS_THERE)


def test_a_full_reload_mends_what_was_changed_by_hand(system: System) -> None:
    with psycopg.connect(system.settings().serving_writer_url) as connection:
        connection.execute("UPDATE silver.fact_ohlcv SET close = close + 1 WHERE symbol = 'XRPUSDT'")
        connection.execute("DELETE FROM silver.fact_ohlcv WHERE symbol = 'BNBUSDT'")
    system.run("serving", {"ops": {"served_tables": {"config": {"reload": ["silver.fact_ohlcv"]}}}}, {})
    wait_until_equal(system, ["silver.fact_ohlcv"])


@pytest.mark.parametrize(
    "sql",
    [
        "select symbol, interval, count(*) as candles from silver.fact_ohlcv where interval_start < {} group by 1, 2",
        "select symbol, max(high) as highest, sum(trade_count) as trades from silver.fact_ohlcv "
        "where interval = '1m' and interval_start < {} group by 1",
    ],
)
def test_all_engines_give_the_same_answer(system: System, sql: str) -> None:
    text = sql.format(f"timestamp '{datetime.now(UTC) - timedelta(minutes=5):%Y-%m-%d %H:%M}:00'") + " order by 1, 2"

    def answers() -> list[str]:
        asked = [
            system.crypto("query", text, "--engine", name, "--format", "csv")
            for name in ("duckdb", "spark", "postgres")
        ]
        assert [done.returncode for done in asked] == [0, 0, 0], [done.stderr for done in asked]
        return [done.stdout for done in asked]

    wait_for("one answer", lambda: len(set(answers())) == 1)
