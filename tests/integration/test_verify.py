"""`crypto verify` over the running system, a rebuild beside the pipeline, and a candle that is made to differ."""

import json
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_pipeline import candles_closed
from tests.system import PROJECT, SYMBOLS, System, wait_for


def first_day() -> str:
    """The day on which the system was streaming, at least for an hour: earlier ones are other tests' history."""
    return str((datetime.now(UTC) - timedelta(hours=1)).date())


def looked(system: System, *arguments: str) -> tuple[int, dict[str, Any]]:
    """How `crypto verify --json` of what was streamed ends, and what it says."""
    of_stream = ("--from", first_day(), "--symbol", ",".join(SYMBOLS))
    done = system.crypto("verify", "--json", *of_stream, *arguments, seconds=900)
    assert done.stdout, done.stderr[-3000:]
    verdict: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, verdict


def told(verdict: dict[str, Any]) -> list[Any]:
    """What is broken, with examples."""
    return [(one["sentence"], one["offenders"], one["examples"]) for one in verdict["checks"] if one["offenders"]]


@pytest.fixture(scope="module", autouse=True)
def some_minutes(system: System) -> None:
    """There are candles to look at."""
    wait_for("five closed minutes", lambda: candles_closed(system) >= 5, every=5)


def test_no_promise_is_broken_and_everything_there_is_was_looked_at(system: System) -> None:
    with system.nothing_launched():  # it takes half the time; without Spark it looks beside the pipeline below
        code, verdict = looked(system)
    assert not told(verdict)
    assert (code, verdict["broken"]) == (0, [])
    counts = {one["sentence"]: one["looked_at"] for one in verdict["checks"]}
    unseen = {one["sentence"]: one["why_not"] for one in verdict["checks"] if one["looked_at"] is None}
    assert not unseen
    assert counts["a trade stands once"] > 1000
    assert counts["silver.ohlcv_1m equals bronze in every field"] >= 3 * len(SYMBOLS)
    assert counts["and equals them in every field"] >= len(SYMBOLS)
    assert counts["silver.indicators equals what its sources give today"] >= 3 * len(SYMBOLS)


def test_a_person_reads_a_table_and_what_it_comes_to(system: System) -> None:
    wide = replace(system, environment={**system.environment, "COLUMNS": "200"})
    done = wide.crypto("verify", "--without-spark", "--symbol", "BTCUSDT")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Spark was not asked" in done.stdout
    assert "1  A trade is in bronze exactly once" in done.stdout
    assert done.stdout.rstrip().endswith("No promise is broken.")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--from", "2020-01-01", "--to", "2020-01-31"), "There is nothing from 2020-01-01 to 2020-01-31: there is 20"),
        (("--symbol", "NOSUCHUSDT"), "There is nothing of NOSUCHUSDT"),
    ],
)
def test_what_is_not_there_is_answered_with_what_is(system: System, arguments: tuple[str, ...], says: str) -> None:
    done = system.crypto("verify", "--without-spark", *arguments)
    assert done.returncode == 1
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def rebuild(system: System, config: dict[str, Any]) -> None:
    """Have Dagster rebuild what was streamed in one run, and wait for it."""
    last = str(datetime.now(UTC).date())
    tags = {"dagster/asset_partition_range_start": first_day(), "dagster/asset_partition_range_end": last}
    system.run("rebuild", {"ops": {"rebuild__silver": {"config": config}}}, tags)


def marks(system: System) -> dict[str, str]:
    """How far the candles have followed bronze."""
    script = (
        "import json; from crypto_pipeline.reader import notes; from crypto_pipeline.silver import ohlcv_1m; "
        "from shared.settings import settings; print(notes(ohlcv_1m.TABLE, 'marks', settings()).values['marks'])"
    )
    found: dict[str, str] = json.loads(python(system, script))
    return found


def python(system: System, script: str) -> str:
    """What a script prints, in the system's environment."""
    command = [str(PROJECT / ".venv" / "bin" / "python"), "-c", script]
    done = subprocess.run(command, env=system.environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()[-1]


@pytest.mark.long
def test_a_rebuild_beside_the_pipeline_changes_nothing_and_loses_nothing(system: System) -> None:
    closed = candles_closed(system)
    before = marks(system)
    settled = f"interval_start < timestamp '{(datetime.now(UTC) - timedelta(minutes=4)):%Y-%m-%d %H:%M:%S}'"
    sql = f"""select exchange, symbol, interval, interval_start, open, high, low, close, volume, trade_count, revision
              from silver.fact_ohlcv where is_closed and {settled} order by all"""
    there = {json.dumps(row) for row in system.query(sql, exact=True)}
    rebuild(system, {})
    assert there <= {json.dumps(row) for row in system.query(sql, exact=True)}
    wait_for("the runs of the minute go on", lambda: candles_closed(system) > closed + 1, every=5)
    after = marks(system)
    assert all(after[name] >= mark for name, mark in before.items())
    code, verdict = looked(system, "--without-spark")
    assert not told(verdict)
    assert code == 0


DAMAGE = Path(__file__).with_name("damage_script.py")


def test_a_candle_that_is_not_its_trades_is_found_and_a_rebuild_mends_it(system: System) -> None:
    done = subprocess.run(
        [str(PROJECT / ".venv" / "bin" / "python"), str(DAMAGE)],
        env=system.environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    code, verdict = looked(system, "--without-spark")
    assert code == 1
    assert 10 in verdict["broken"]
    assert any("high" in str(one["says"]) for check in verdict["checks"] for one in check["examples"])
    rebuild(system, {"tables": "silver.ohlcv_1m,silver.ohlcv"})

    def mended() -> bool:
        code, verdict = looked(system, "--without-spark")
        return code == 0 and not told(verdict)

    wait_for("nothing is broken any more", mended, every=10)
