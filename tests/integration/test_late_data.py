"""A trade that comes days late, on the real lake: what Hudi's own commits say was written because of it."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from deployment import probes
from tests.integration.test_verify import python
from tests.system import System, wait_for

PAIR = "ADAUSDT"
"""One that symbols.yaml does not stream, and that no other test imports."""
DAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=3)
LATE = timedelta(hours=12, minutes=1)
MINUTES = (timedelta(hours=12), LATE, timedelta(hours=12, minutes=2), timedelta(hours=13, minutes=10))
"""In each of them two trades were in time; the late one is between those of the second."""

COMMITS = """
import json
from crypto_pipeline.catalog import derived
from crypto_pipeline.cli._lake import connected
from shared.settings import settings
with connected(settings(), "test") as lake:
    tables = [module.TABLE for module in derived("silver")]
    print(json.dumps({t.full_name: [(c.completed, c.rows) for c in lake.commits(t)] for t in tables}))
"""


def commits(system: System) -> dict[str, dict[str, int]]:
    """Of each table of silver: how many rows each finished commit wrote, by its completion, as its statistics say."""
    return {name: dict(found) for name, found in json.loads(python(system, COMMITS)).items()}


def runs_under_way(system: System) -> bool:
    asked = "{ runsOrError(filter: {statuses: [STARTED, STARTING]}) { ... on Runs { results { runId } } } }"
    try:
        return bool(probes.graphql(system.settings(), asked)["runsOrError"]["results"])
    except probes.UnhealthyError:
        return True


@pytest.fixture(scope="module", autouse=True)
def _nothing_else_writes(system: System) -> Iterator[None]:
    """What comes into a table while these tests run is theirs: the pipeline waits."""
    system.supervisor().stop(["dagster-daemon"])
    wait_for("no run is under way", lambda: not runs_under_way(system), seconds=300)
    yield
    system.script("deploy.sh", "--demo", "--local")


def imported(system: System, folder: Path, ids: dict[timedelta, tuple[int, ...]]) -> None:
    """Import trades of these ids, by the time of day that their minutes begin."""
    lines = [
        f"{i},{100 + i},1.5,{150 + 1.5 * i},{int((DAY + minute).timestamp() * 1e6) + i},true,true\n"
        for minute, numbers in ids.items()
        for i in numbers
    ]
    path = folder / f"{PAIR}-trades-{DAY:%Y-%m-%d}.csv"
    path.write_text("".join(lines))
    done = system.crypto("import", "trades", str(path), "--symbol", PAIR, seconds=400)
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
    written = {
        name: sum(rows for completed, rows in found.items() if completed not in before[name])
        for name, found in commits(system).items()
    }
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
              where symbol = '{PAIR}' and interval_end > timestamptz '{(DAY + LATE).isoformat()}'"""
    assert late.written["silver.indicators"] == system.query(sql)[0]["n"] > len(MINUTES)


def test_elsewhere_one_row_a_table_is_written_at_most(late: Late) -> None:
    told = ("silver.ohlcv", "silver.indicators")
    assert {name: rows for name, rows in late.written.items() if rows > 1 and name not in told} == {}


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
